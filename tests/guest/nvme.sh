# shellcheck shell=sh
# The target itself in a guest, on an NVMe disk: data is written and checked with the way of getting results that the
# target chooses, and read again with interrupts.
# shellcheck source=tests/guest/serving.sh
. /job/files/serving.sh
# Of a block, from whoever starts the job.
BLOCK=${BLOCK:-512}

# Interrupts of the disk's I/O queues so far.
interrupts() { awk '/nvme0q[1-9]/ { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

# Reads, writes and flushes that the disk has completed, those counted that were merged on the way.
completed() { awk '{ print $1 + $2, $5 + $6, $16 }' "/sys/block/${DISK#/dev/}/stat"; }

serve "$DISK"
result disk "$(served_disk)"
before=$(interrupts)
load --size 4M --rw write --bs 4k --number-ios 1024
load --size 4M --rw randrw --bs "$BLOCK" --number-ios 1024
result interrupts $(($(interrupts) - before))
# Memory that the kernel has to cut into several requests: it does not poll for those.
load --size 4M --rw randwrite --bs 64k --number-ios 64 --segments 3 --align-offset 20
stop
# Discards and flushes that the disk has completed.
changes() { awk '{ print $12, $16 }' "/sys/block/${DISK#/dev/}/stat"; }

serve "$DISK,iopoll=off"
result disk "$(served_disk)"
before=$(changes)
inside what_compares_and_changes_reaches_the_disk
result changes "$before $(changes)"
load --size 4M --rw read --bs 64k --number-ios 64
stop
result completed "$(completed)"
result refusal "$(refusal "$DISK,iopoll=on,ro,direct=off")"
