# Compares counts of instructions, "COUNT LOCKED NAME" in each line: the first file holds what was recorded, the second what
# was counted. Fails if a step takes more than 3 % more or locks more often, or is in one of them only. "- NAME" among what was
# counted is a step that needs io_uring, which is forbidden there.

/^#/ { next }
/^- / {
    name = substr($0, 3)
    forbidden[name]
    delete recorded[name]
    next
}
{
    name = $0
    sub(/^ *[0-9.]+ +[0-9.]+ +/, "", name)
}
NR == FNR {
    recorded[name] = $1
    locked[name] = $2
    next
}
!(name in recorded) {
    print "counts: \047" name "\047 is not recorded: scripts/counts --record"
    failed = 1
    next
}
{
    change = 100 * ($1 - recorded[name]) / recorded[name]
    printf "%9.1f  %+6.1f %%  %s\n", $1, change, name
    what = "from " recorded[name] " to " $1 " instructions"
    if (change > 3) worse[name] = "costs more, " what
    if (change < -3) better[name] = "has become cheaper, " what
    if ($2 > locked[name]) locks[name] = "locks more often, from " locked[name] " to " $2 " times"
    delete recorded[name]
}
END {
    for (name in forbidden) {
        print "counts: WARNING: \047" name "\047 WAS NOT COUNTED, for io_uring is forbidden here" > "/dev/stderr"
    }
    for (name in recorded) {
        print "counts: \047" name "\047 is recorded and was not counted: scripts/counts --record"
        failed = 1
    }
    for (name in better) print "counts: \047" name "\047 " better[name] ": scripts/counts --record keeps it so"
    for (name in worse) {
        print "counts: \047" name "\047 " worse[name] "; if it is worth that: scripts/counts --record"
        failed = 1
    }
    for (name in locks) {
        print "counts: \047" name "\047 " locks[name] "; if it must: scripts/counts --record"
        failed = 1
    }
    exit failed
}
