# shellcheck shell=sh
# Takes the disk's logical unit, driver and PCI function away from a running load, and brings them back. A part of a job.
# shellcheck source=scripts/jobs/lib.sh
. /job/lib.sh
export SIZE_MIB=16
cd /job/fio || exit

completed() {
    read -r reads _ _ _ writes _ <"/sys/block/${DISK#/dev/}/stat"
    echo $((reads + writes))
}

has_done_more_than() {
    kill -0 "$load" || fail "the load ended: $(cat /tmp/fio.txt)"
    [ "$(completed)" -gt "$1" ]
}

await_progress() { await "has_done_more_than $(($(completed) + 50))"; }

start_load() {
    fio forever.fio >/tmp/fio.txt 2>&1 &
    load=$!
    await_progress
}

# The disk is gone under it.
await_failed_load() {
    if wait "$load"; then fail "the load does not notice that its disk is gone"; fi
}

await_return() {
    DISK=
    wait_for_disk
}

# As long as the kernel still looks at the disk, it needs the module.
unload_driver() { await 'rmmod virtio_scsi'; }

start_load
for _ in 1 2 3 4 5; do
    sg_reset --device "$DISK"
    sg_reset --device --no-escalate "$DISK"
    await_progress
done
kill "$load"
wait "$load" || true
grep -q 'err= 0' /tmp/fio.txt || fail "a reset of the logical unit shows: $(cat /tmp/fio.txt)"
result resets "of the logical unit"

pci=$(readlink -f "/sys/block/${DISK#/dev/}/device/../../../..")
for _ in 1 2 3; do
    virtio=$(basename "$pci"/virtio*)
    start_load
    echo "$virtio" >/sys/bus/virtio/drivers/virtio_scsi/unbind
    await_failed_load
    echo "$virtio" >/sys/bus/virtio/drivers/virtio_scsi/bind
    await_return
    start_load
    echo 1 >"$pci/remove"
    await_failed_load
    echo 1 >/sys/bus/pci/rescan
    await_return
    unload_driver
    modprobe virtio_scsi
    await_return
done
result resets "of driver and function"

sh /job/jobs/verify
if dmesg | grep -E 'WARNING:|BUG:|Call Trace|blocked for more than'; then fail "the kernel complains"; fi
