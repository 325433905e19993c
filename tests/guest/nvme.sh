# shellcheck shell=sh
# The target itself in a guest, on an NVMe disk: data is written and checked with the way of getting results that the
# target chooses, and read again with interrupts.
# shellcheck source=scripts/jobs/lib.sh
. /job/lib.sh
cd /job/files || exit
export LD_LIBRARY_PATH=/job/files
# Of a block, from whoever starts the job.
BLOCK=${BLOCK:-512}

# Interrupts of the disk's I/O queues so far.
interrupts() { awk '/nvme0q[1-9]/ { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

# serve KEYS: serves the disk with further keys of its string.
serve() {
    rm -f /tmp/vm0.sock; : >/tmp/out
    ./annulus serve --cpumask 0x1 --socket /tmp/vm0.sock --disk "$DISK$1" >/tmp/out 2>&1 &
    target=$!
    tenths=0
    until grep -q '^ready$' /tmp/out; do
        tenths=$((tenths + 1))
        if [ "$tenths" -gt 600 ] || ! kill -0 "$target"; then
            cat /tmp/out
            fail "the target does not start"
        fi
        sleep 0.1
    done
    result disk "$(grep 'target 0 lun 0' /tmp/out)"
}

stop() {
    kill "$target"
    wait "$target" || fail "the target ended with $?"
    cat /tmp/out
}

# Ends by the number of requests, however slow the processor is.
bench() {
    ./annulus-bench run --socket /tmp/vm0.sock --cpus 1 --verify --size 4M --runtime 200s --ramp 0s "$@" 2>&1 ||
        fail "load with $*"
}

# Reads, writes and flushes that the disk has completed, those counted that were merged on the way.
completed() { awk '{ print $1 + $2, $5 + $6, $16 }' "/sys/block/${DISK#/dev/}/stat"; }

serve ''
before=$(interrupts)
bench --rw write --bs 4k --number-ios 1024
bench --rw randrw --bs "$BLOCK" --number-ios 1024
result interrupts $(($(interrupts) - before))
# Memory that the kernel has to cut into several requests: it does not poll for those.
bench --rw randwrite --bs 64k --number-ios 64 --segments 3 --align-offset 20
stop
# Discards and flushes that the disk has completed.
changes() { awk '{ print $12, $16 }' "/sys/block/${DISK#/dev/}/stat"; }

serve ,iopoll=off
before=$(changes)
ANNULUS_TEST_INSIDE=/tmp/vm0.sock ./inside --exact what_compares_and_changes_reaches_the_disk --nocapture >/tmp/inside 2>&1 ||
    { cat /tmp/inside /tmp/out; fail "what compares and changes"; }
result changes "$before $(changes)"
bench --rw read --bs 64k --number-ios 64
stop
result completed "$(completed)"
if ./annulus serve --cpumask 0x1 --socket /tmp/vm0.sock --disk "$DISK,iopoll=on,ro,direct=off" >/tmp/out 2>&1; then
    fail "polled through the page cache"
fi
result refusal "$(grep iopoll /tmp/out)"
