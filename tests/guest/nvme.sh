# shellcheck shell=sh
# The target itself in a guest, on an NVMe disk: data is written and checked with the way of getting results that the
# target chooses, and read again with interrupts.
# shellcheck source=tests/guest/serving.sh
. /job/files/serving.sh
# Of a block, from whoever starts the job.
BLOCK=${BLOCK:-512}

# Interrupts of the disk's I/O queues so far.
interrupts() { awk '/nvme0q[1-9]/ { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

trace_commands
name=${DISK#/dev/}
serve "$DISK"
result disk "$(served_disk)"
before=$(interrupts)
load --size 4M --rw write --bs 4k --number-ios 1024
load --size 4M --rw randrw --bs "$BLOCK" --number-ios 1024
result interrupts $(($(interrupts) - before))
# Memory that the kernel has to cut into several requests: it does not poll for those.
load --size 4M --rw randwrite --bs 64k --number-ios 64 --segments 3 --align-offset 20
stop
serve "$DISK,iopoll=off"
result disk "$(served_disk)"
before="$(traced_count "$name" dsm) $(traced_count "$name" flush) $(traced_count "$name" write_zeroes)"
inside what_compares_and_changes_reaches_the_disk
result changes "$before $(traced_count "$name" dsm) $(traced_count "$name" flush) $(traced_count "$name" write_zeroes)"
# The one WRITE with FUA, of three blocks, and no other.
result forced "$(traced_count "$name" write 'ctrl=0x4') $(traced_count "$name" write 'len=2, ctrl=0x4')"
load --size 4M --rw read --bs 64k --number-ios 64
stop
result moved "$(traced_blocks "$name" read) $(traced_blocks "$name" write) $(traced_count "$name" flush)"
result refusal "$(refusal "$DISK,iopoll=on,ro,direct=off")"
