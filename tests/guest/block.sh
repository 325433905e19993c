# shellcheck shell=sh
# The target itself in a guest, on block devices of the guest's kernel: the suite of the backends on each, then a load with
# checked data through the target. What of it arrives, the devices tell themselves.
# shellcheck source=scripts/jobs/lib.sh
. /job/lib.sh
cd /job/files || exit
export LD_LIBRARY_PATH=/job/files
MIB=5
# Of a block, from whoever starts the job.
BLOCK=${BLOCK:-512}

: >/tmp/ublk
modprobe null_blk nr_devices=0
modprobe ublk_drv
modprobe dm_mod
mount -t configfs configfs /sys/kernel/config

# await COMMAND: until it says yes.
await() {
    tenths=0
    until eval "$1"; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 1200 ] || fail "waited for: $1"
        sleep 0.1
    done
}

# null_device NAME BLOCK: in memory, with a write cache.
null_device() {
    config=/sys/kernel/config/nullb/$1
    mkdir "$config"
    for pair in memory_backed=1 blocksize="$2" size=$MIB cache_size=4 discard=1 power=1; do
        echo "${pair#*=}" >"$config/${pair%%=*}"
    done
    await "[ -b /dev/$1 ]"
    disk=/dev/$1
}

# ublk_device BLOCK
ublk_device() {
    ./ublk $((MIB << 20)) "$1" >/tmp/ublk 2>&1 &
    ublk=$!
    await "grep -q ^/dev/ /tmp/ublk || ! kill -0 $ublk"
    disk=$(cat /tmp/ublk)
    [ -b "$disk" ] || fail "no ublk device: $disk"
}

# scsi_debug_device BLOCK
scsi_debug_device() {
    modprobe scsi_debug dev_size_mb=$MIB sector_size="$1" lbpu=1 lbpws=1 lbpws10=1 lbprz=1 delay=0 num_tgts=1
    await "grep -q scsi_debug /sys/block/sd*/device/model"
    disk=$(grep -l scsi_debug /sys/block/sd*/device/model)
    disk=/dev/${disk#/sys/block/}
    disk=${disk%/device/model}
    await "[ -b $disk ]"
}

# The columns of stat: reads, writes, discards, flushes that the device has ended. What stands for another does not count its
# flushes: then that one, $lower, is asked.
lower=
count() {
    counted=${lower:-$disk}
    awk -v column="$1" '{ print $column }' "/sys/block/${counted#/dev/}/stat"
}

# serve DISK...
serve() {
    disks=
    for one in "$@"; do disks="$disks --disk $one"; done
    rm -f /tmp/vm0.sock; : >/tmp/out
    # shellcheck disable=SC2086  # words of their own
    ./annulus serve --cpumask 0x1 --socket /tmp/vm0.sock $disks >/tmp/out 2>&1 &
    target=$!
    await "grep -q '^ready$' /tmp/out || ! kill -0 $target"
    kill -0 "$target" || { cat /tmp/out; fail "nothing serves $*"; }
}

stop() {
    kill "$target"
    wait "$target" || { cat /tmp/out; fail "the target ended with $?"; }
}

# refused KEY NAME DISK
refused() {
    ! ./annulus serve --socket /tmp/other.sock --disk "$3" >/tmp/other 2>&1 || fail "$2 is served all the same"
    result "$1" "$2 $(grep '^annulus: ' /tmp/other)"
}

# load ARGUMENT...: ends by the number of requests, however slow the processor is.
load() {
    ./annulus-bench run --socket /tmp/vm0.sock --cpus 1 --verify --size 4M --runtime 200s --ramp 0s "$@" >/tmp/load 2>&1 ||
        { cat /tmp/load /tmp/out; fail "load with $*"; }
}

# try NAME WAYS: the device $disk, by the ring or in all ways.
try() {
    say "$1 is $disk"
    discards=$(count 12) flushes=$(count 16)
    ANNULUS_TEST_BLOCK=$disk ANNULUS_TEST_WAYS=$2 ./suite --nocapture >/tmp/suite 2>&1 || { cat /tmp/suite /tmp/ublk; fail "the suite on $1"; }
    grep '^suite on' /tmp/suite
    result "suite" "$1 $(grep -c '^suite on' /tmp/suite)"
    result discards "$1 $(($(count 12) - discards))"
    result flushes "$1 $(($(count 16) - flushes))"
    writes=$(count 5)
    serve "$disk"
    result disk "$1 $(grep 'target 0 lun 0' /tmp/out)"
    discards=$(count 12) flushes=$(count 16)
    ANNULUS_TEST_INSIDE=/tmp/vm0.sock ./inside --exact what_compares_and_changes_reaches_the_disk --nocapture >/tmp/inside 2>&1 ||
        { cat /tmp/inside /tmp/out; fail "what compares and changes on $1"; }
    result unmapped "$1 $(($(count 12) - discards))"
    result synchronized "$1 $(($(count 16) - flushes))"
    load --rw write --bs 64k --number-ios 64
    load --rw randrw --bssplit 4k/70:64k/30 --number-ios 200
    # The pattern of the load is on the device, whoever reads it.
    result holds "$1 $(dd if="$disk" bs=1M count=4 2>/dev/null | tr -d '\0' | head -c 1 | wc -c)"
    refused twice "$1" "$disk"
    stop
    result writes "$1 $(($(count 5) - writes))"
}

# A disk of the device mapper, and what it is made of.
part_of_another() {
    echo "0 $(((MIB << 11) - 16)) linear $disk 16" | dmsetup create lin
    refused claimed null_blk "$disk"
    lower=$disk
    # The only one that there is.
    for dm in /sys/block/dm-*; do disk=/dev/${dm##*/}; done
    await "[ -b $disk ]"
    try dm-linear ring
    # The kernel takes the ring of the target apart when that has ended, and lets the disk go then.
    await "dmsetup remove lin 2>/dev/null"
}

# vanishes NAME COMMAND: $disk is taken away under load by a shell command: nothing hangs, requests end with an error, and the
# other disk of the target goes on. Until the disk is gone the kernel ends requests in the words for a sick medium. It goes when
# the load has read so much that it cannot have rested.
vanishes() {
    serve "$disk" "mem:size=16M,block-size=$BLOCK"
    device=/sys/block/${disk#/dev/}
    busy="until [ \$(awk '{ print \$1 }' $device/stat) -gt $(($(count 1) + 1000)) ]; do sleep 0.1; done"
    ANNULUS_TEST_INSIDE=/tmp/vm0.sock ANNULUS_TEST_DISKS=2 ANNULUS_TEST_SICK_FIRST=1 \
        ANNULUS_TEST_PULL="$busy; $2; until [ ! -e $device ]; do sleep 0.1; done" \
        ./inside --exact pulled_disks_fail_and_the_other_goes_on --nocapture >/tmp/inside 2>&1 ||
        { cat /tmp/inside /tmp/out; fail "$1 is taken away"; }
    result pulled "$(sed -n 's/^\["\([0-9]*\) good, .*/\1/p' /tmp/inside) $1 $(grep ' good, ' /tmp/inside)"
    # A disk that is gone cannot be flushed.
    kill "$target"
    code=0
    wait "$target" || code=$?
    result unflushed "$1 $code $(grep -c 'flushing at the end failed: device is gone' /tmp/out)"
}

# Threads serve where io_uring is forbidden, with a warning.
forbidden() {
    echo 2 >/proc/sys/kernel/io_uring_disabled
    serve "$disk"
    result forbidden "$(grep 'target 0 lun 0' /tmp/out)"
    result warning "$(grep -c 'WARN.*kernel.io_uring_disabled' /tmp/out)"
    load --rw randrw --bssplit 4k/70:64k/30 --number-ios 100
    stop
    echo 0 >/proc/sys/kernel/io_uring_disabled
}

ublk_device "$BLOCK"
try ublk ring
vanishes ublk "kill -9 $ublk"
scsi_debug_device "$BLOCK"
try scsi_debug ring
# What the load has written has space; of what the suite has left behind it there may be some, too. Who frees all of it finds
# the disk let go.
result map "$(cat /sys/bus/pseudo/drivers/scsi_debug/map)"
await "blkdiscard $disk 2>/dev/null"
result map "$(cat /sys/bus/pseudo/drivers/scsi_debug/map)"
vanishes scsi_debug "echo 1 >/sys/block/${disk#/dev/}/device/delete"
null_device n0 "$BLOCK"
try null_blk all
forbidden
part_of_another
