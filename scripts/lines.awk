# Cache lines of 64 bytes that more than one core touches, from a trace of valgrind's lackey with the marks of the test
# target::tests::counted::lines in it:
#   @at ADDRESS   where the test's function `mark` is, to find instructions in the binary
#   @begin NAME   from here on the passes count; @end
#   @end COUNT    the same of a run in which so many lines are shared on purpose: that many have to be found
#   @forbidden    a run is left out, for it needs io_uring
#   @over         all runs have been made
#   @stack U...   addresses without their last four digits that are the stack of a core's thread, until the run ends
#   @0, @1        a core has its turn; @- it is over
# Prints "NAME TAB line TAB what TAB instruction of core 0 TAB instruction of core 1" for each line that one core writes
# and the other touches. Variable: at (a file that gets the address of `mark`).

BEGIN {
    for (i = 0; i < 16; i++) {
        digit = substr("0123456789abcdef", i + 1, 1)
        quarter[digit] = int(i / 4)
        value[digit] = i
        follows[digit] = substr("123456789abcdef0", i + 1, 1)
    }
}

# The number that follows one in hexadecimal digits.
function after(number,    zeros, digit) {
    while (number != "") {
        digit = substr(number, length(number))
        number = substr(number, 1, length(number) - 1)
        if (digit != "f") return number follows[digit] zeros
        zeros = zeros "0"
    }
    return "1" zeros
}

function touch(line) {
    if (access != "L" && !((line, core) in wrote)) wrote[line, core] = place
    if (!((line, core) in touched)) {
        touched[line, core] = place
        lines[line]
    }
}

/^I/ { if (active) place = $2; next }
/^ [LSM]/ {
    if (!active) next
    access = $1
    comma = index($2, ",")
    address = substr($2, 1, comma - 1)
    size = substr($2, comma + 1)
    len = length(address)
    if (substr(address, 1, len - 4) in stack) next
    page = substr(address, 1, len - 2)
    first = quarter[substr(address, len - 1, 1)]
    touch(page "/" first)
    within = (value[substr(address, len - 1, 1)] % 4) * 16 + value[substr(address, len, 1)]
    # It goes on in the lines that follow.
    for (size -= 64 - within; size > 0; size -= 64) {
        if (++first == 4) {
            first = 0
            page = after(page)
        }
        touch(page "/" first)
    }
    next
}
/^@at / { print $2 > at; close(at); next }
/^@stack / { for (i = 2; i <= NF; i++) stack[$i]; next }
/^@begin / { name = substr($0, 8); counts = 1; next }
/^@end/ { report(NF > 1, $2); counts = 0; split("", stack); next }
/^@forbidden/ { print "WARNING: A FILE WAS NOT LOOKED AT, for io_uring is forbidden here" > "/dev/stderr"; next }
/^@over/ { over = 1; next }
/^@[0-9]/ { core = substr($0, 2); active = counts; if (counts) turns++; next }
/^@-/ { active = 0; next }

function report(on_purpose, wanted,    line, key, seen, found, w0, w1, what) {
    for (line in lines) {
        seen++
        if (!((line, "0") in touched) || !((line, "1") in touched)) continue
        w0 = (line, "0") in wrote
        w1 = (line, "1") in wrote
        if (!w0 && !w1) continue
        found++
        if (on_purpose) continue
        what = w0 && w1 ? "both write" : w0 ? "0 writes, 1 reads" : "1 writes, 0 reads"
        printf "%s\t%s\t%s\t%s\t%s\n", name, line, what, w0 ? wrote[line, "0"] : touched[line, "0"],
            w1 ? wrote[line, "1"] : touched[line, "1"]
    }
    for (key in lines) delete lines[key]
    for (key in wrote) delete wrote[key]
    for (key in touched) delete touched[key]
    printf "%s: %d lines looked at in %d turns\n", name, seen, turns > "/dev/stderr"
    turns = 0
    if (!on_purpose) {
        shared += found
    } else if (found == wanted) {
        sees = 1
    } else {
        print "of " wanted " lines that are shared on purpose " found + 0 " were found" > "/dev/stderr"
    }
}

END {
    if (!over) print "the trace has no end" > "/dev/stderr"
    if (!over || !sees) exit 2
    exit shared > 0
}
