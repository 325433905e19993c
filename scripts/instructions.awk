# Instructions for each I/O, from two callgrind files of a reactor's thread: idle passes, then load.
# Neither strings nor positions are compressed. Variables: ios (of the load), top, lines, tree (the start
# of our own paths).

FNR == 1 { run++ }

/^fn=/ { fn = substr($0, 4); at = file; next }
/^fl=/ { file = substr($0, 4); at = file; next }
/^f[ie]=/ { at = substr($0, 4); next }
/^cfn=/ { callee = substr($0, 5); next }
/^calls=/ {
    split(substr($1, 7), count, " ")
    calls[run, callee] += count[1]
    # The next line is what the callee took, which is counted there.
    getline
    next
}
/^[0-9]/ {
    self[run, fn] += $2
    total[run] += $2
    names[fn]
    place = at ":" $1
    line[run, place] += $2
    places[place]
}

function calls_of(r, pattern,    key, part, sum) {
    for (key in calls) {
        split(key, part, SUBSEP)
        if (part[1] == r && part[2] ~ pattern) sum += calls[key]
    }
    if (!sum) {
        print "no call of " pattern " was seen: was it inlined?" > "/dev/stderr"
        exit 1
    }
    return sum
}

function short(place) {
    if (index(place, tree) == 1) return substr(place, length(tree) + 1)
    sub(/^\/rustc\/[0-9a-f]*\//, "", place)
    return place
}

# What the load took of `loaded`, less what idle passes do, for each I/O.
function share(loaded, idle) { return (loaded - idle_passes * idle / passes[1]) / ios }

function table(title, rows, limit,    command, row, shown) {
    print ""
    print title
    command = "sort -rn | head -n " limit
    for (row in rows) if (rows[row] > 0.005) printf "%9.2f  %s\n", rows[row], row | command
    close(command)
}

END {
    # Each pass polls the core, which takes from the ring if there is something to take.
    for (r = 1; r <= 2; r++) passes[r] = calls_of(r, "target::core::Core as .*Context>::poll")
    busy = calls_of(2, "RequestQueue>?::take")
    idle_passes = passes[2] - busy
    printf "%9.1f  instructions for each I/O\n", share(total[2], total[1])
    printf "%9.1f  I/Os in each busy pass\n", ios / busy
    printf "%9.1f  instructions of an idle pass\n", total[1] / passes[1]
    for (name in names) by_function[name] = share(self[2, name], self[1, name])
    table("By function, what was inlined included", by_function, top)
    if (lines) {
        for (place in places) by_line[short(place)] += share(line[2, place], line[1, place])
        table("By source line", by_line, top * 3)
    }
}
