# shellcheck shell=sh
# The target in a guest serves namespaces of two NVMe controllers by their own commands: the suite of the backends on some, then
# a load through the target, tests of what else it does, and what it says of itself beside what the kernel says.
# shellcheck source=tests/guest/serving.sh
. /job/files/serving.sh
# The kernel numbers controllers and namespaces in whatever order its scans end, so that nvme0n1 need not be the first.
# controller SERIAL: nvme0
controller() {
    for one in /sys/class/nvme/nvme*; do
        [ "$(tr -d ' ' <"$one/serial")" != "$1" ] || { echo "${one##*/}"; return; }
    done
    fail "no controller $1"
}
# node SERIAL NSID: the end that the names of a namespace's nodes share (0n1).
node() {
    controller=$(controller "$1")
    for disk in "/sys/block/${controller}n"*; do
        [ "$(cat "$disk/nsid")" != "$2" ] || { echo "${disk##*/nvme}"; return; }
    done
    fail "no namespace $2 of $1"
}
# nodes PREFIX NSID...: those above 10 are of the second controller.
nodes() {
    prefix=$1 comma=
    shift
    for nsid in "$@"; do
        serial=POLLED
        [ "$nsid" -lt 10 ] || serial=RINGING
        printf '%s/dev/%s%s' "$comma" "$prefix" "$(node "$serial" "$nsid")"
        comma=,
    done
}
# One after the other: they share namespaces, and the first wants them as they are.
{
    ANNULUS_TEST_NVME=$(nodes ng 1 2 11 12) ./suite --exact namespaces --nocapture &&
        ANNULUS_TEST_WRAPPED=$(nodes ng 3 14) ./suite --exact wrapped_namespaces --nocapture &&
        ANNULUS_TEST_ATOMIC=$(nodes nvme 1 11) ./suite --exact atomic_block_devices --nocapture
} >/tmp/suite 2>&1 || { cat /tmp/suite; fail "the suite"; }
cat /tmp/suite
result suite "$(grep -c '^NVMe namespace' /tmp/suite)"
result polled "$(grep -c '^NVMe namespace.*, iopoll,' /tmp/suite)"
result wrapped "$(grep -c '^wrapped: .*NVMe namespace' /tmp/suite)"
result atomic "$(grep -c '^block device .* atomic writes of up to ' /tmp/suite)"

# commands CONTROLLER KIND: those that the device counts, of whatever way they came.
commands() { nvme smart-log "/dev/$1" | sed -n "s/^[Hh]ost[_ ]$2[_ ][Cc]ommands[^:]*: *\([0-9,]*\).*/\1/p" | tr -d ,; }
# interrupts CONTROLLER: of its queues for I/O.
interrupts() { awk -v queue="$1q[1-9]" '$0 ~ queue { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

# tell NAME: what the device says of a namespace, for comparison. (Of QEMU's names the kernel keeps none in sysfs.)
tell() {
    nvme id-ns "/dev/$1" >/tmp/id
    nvme ns-descs "/dev/$1" >>/tmp/id
    for field in nguid eui64 uuid npwg npwa npdg npda nows dlfeat; do
        result "$field" "$(sed -n "s/^$field *: *//p" /tmp/id | head -n 1)"
    done
}

trace_commands
# try SERIAL NSID KIND: serves a namespace to a load, and to tests of what else it does.
try() {
    controller=$(controller "$1")
    node=$(node "$1" "$2")
    name=nvme$node
    before=$(commands "$controller" '[Ww]rite')
    serve "$3/dev/ng$node"
    result disk "$(served_disk)"
    result refused "$(refusal "/dev/$name" | grep -c 'in use')"
    rings=$(interrupts "$controller")
    load --rw randrw --bssplit 4k/50:64k/30:128k/20 --size 32m --number-ios 200
    result interrupts "$(($(interrupts "$controller") - rings))"
    inside what_compares_and_changes_reaches_the_disk
    result forced "$(traced_count "$name" write 'ctrl=0x4') $(traced_count "$name" write 'len=2, ctrl=0x4')"
    inside atomic_writes_reach_the_disk
    inside what_a_disk_says_of_itself
    stop
    tell "$name"
    result blocks "$(blockdev --getss "/dev/$name")"
    # The pattern of the load is on the device, as its block device shows.
    result holds_data "$(dd if="/dev/$name" bs=1M count=32 2>/dev/null | tr -d '\0' | head -c 1 | wc -c)"
    result writes "$(($(commands "$controller" '[Ww]rite') - before))"
}
try POLLED 3 nvme:
try POLLED 4 ''
try RINGING 13 nvme:
try RINGING 14 ''

# What one namespace is where nothing can be sent to it: its block device, by threads, and the same disk to a guest.
generic=/dev/ng$(node POLLED 3)
name=nvme$(node POLLED 3)
result key "$(refusal "$generic,direct=off")"
echo 2 >/proc/sys/kernel/io_uring_disabled
serve "$generic"
result instead "$(served_disk)"
result warnings "$(grep -c WARN "$SAID") $(grep WARN "$SAID")"
load --rw randrw --bssplit 4k/70:64k/30 --size 8m --number-ios 100
inside what_a_disk_says_of_itself
stop
result insisted "$(refusal "nvme:$generic")"
echo 0 >/proc/sys/kernel/io_uring_disabled

# What is only to be read, by request and by the kernel's word.
for disk in "nvme:$generic,ro" "/dev/$name,ro"; do
    serve "$disk"
    inside nothing_is_written_to_a_disk_that_is_read_only
    stop
    blockdev --setro "/dev/$name"
done
for disk in "$generic" "/dev/$name"; do
    result protected "$(refusal "$disk")"
done
