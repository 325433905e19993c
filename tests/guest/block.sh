# shellcheck shell=sh
# The target itself in a guest, on block devices of the guest's kernel: the suite of the backends on each, then a load with
# checked data through the target. What of it arrives, the devices tell themselves.
# shellcheck source=tests/guest/serving.sh
. /job/files/serving.sh
MIB=5
# Of a block, from whoever starts the job.
BLOCK=${BLOCK:-512}

: >/tmp/ublk
modprobe null_blk nr_devices=0
modprobe ublk_drv
modprobe dm_mod
mount -t configfs configfs /sys/kernel/config

# null_device NAME BLOCK [SETTING...]: in memory, with a write cache.
null_device() {
    config=/sys/kernel/config/nullb/$1
    disk=/dev/$1
    block=$2
    shift 2
    mkdir "$config"
    for pair in memory_backed=1 blocksize="$block" size=$MIB cache_size=4 discard=1 "$@" power=1; do
        echo "${pair#*=}" >"$config/${pair%%=*}"
    done
    await "[ -b $disk ]"
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
    result disk "$1 $(served_disk)"
    discards=$(count 12) flushes=$(count 16)
    inside what_compares_and_changes_reaches_the_disk
    result unmapped "$1 $(($(count 12) - discards))"
    result synchronized "$1 $(($(count 16) - flushes))"
    load --size 4M --rw write --bs 64k --number-ios 64
    load --size 4M --rw randrw --bssplit 4k/70:64k/30 --number-ios 200
    # The pattern of the load is on the device, whoever reads it.
    result holds "$1 $(dd if="$disk" bs=1M count=4 2>/dev/null | tr -d '\0' | head -c 1 | wc -c)"
    result twice "$1 $(refusal "$disk")"
    stop
    result writes "$1 $(($(count 5) - writes))"
}

# A disk of the device mapper, and what it is made of.
part_of_another() {
    echo "0 $(((MIB << 11) - 16)) linear $disk 16" | dmsetup create lin
    result claimed "null_blk $(refusal "$disk")"
    lower=$disk
    # The only one that there is.
    for dm in /sys/block/dm-*; do disk=/dev/${dm##*/}; done
    await "[ -b $disk ]"
    try dm-linear ring
    # The kernel takes the ring of the target apart when that has ended, and lets the disk go then.
    await "dmsetup remove lin 2>/dev/null"
}

# A disk of scsi_debug, $disk, and one of the device mapper become twice as large while they are served. Behind what it has memory for
# scsi_debug begins again.
grow() {
    scsi=$disk
    virtual=/sys/bus/pseudo/drivers/scsi_debug/virtual_gb
    rescan=/sys/block/${disk#/dev/}/device/rescan
    echo 1 >$virtual
    echo 1 >"$rescan"
    await "[ \$(blockdev --getsize64 $scsi) = $((1 << 30)) ]"
    null_device g0 "$BLOCK"
    echo "0 4096 linear $disk 0" | dmsetup create growing
    for dm in /sys/block/dm-*; do dm=/dev/${dm##*/}; done
    await "[ -b $dm ]"
    serve "$dm" "$scsi"
    export ANNULUS_TEST_GROW="echo 0 8192 linear $disk 0 | dmsetup reload growing && dmsetup resume growing &&
        echo 2 >$virtual && echo 1 >$rescan"
    inside disks_that_grow_are_as_large_to_the_guest
    stop
    await "dmsetup remove growing 2>/dev/null"
    disk=$scsi
}

# A disk whose zones are written in order is none for guests.
zoned() {
    null_device z0 "$BLOCK" zoned=1 zone_size=1
    result zoned "$(refusal "$disk")"
}

# vanishes NAME COMMAND: $disk is taken away under load by a shell command: nothing hangs, requests end with an error, and the
# other disk of the target goes on. Until the disk is gone the kernel ends requests in the words for a sick medium. It goes when
# the load has read so much that it cannot have rested.
vanishes() {
    serve "$disk" "mem:size=16M,block-size=$BLOCK"
    device=/sys/block/${disk#/dev/}
    busy="until [ \$(awk '{ print \$1 }' $device/stat) -gt $(($(count 1) + 1000)) ]; do sleep 0.1; done"
    export ANNULUS_TEST_DISKS=2 ANNULUS_TEST_SICK_FIRST=1
    export ANNULUS_TEST_PULL="$busy; $2; until [ ! -e $device ]; do sleep 0.1; done"
    inside pulled_disks_fail_and_the_other_goes_on
    result pulled "$(sed -n 's/^\["\([0-9]*\) good, .*/\1/p' /tmp/inside) $1 $(grep ' good, ' /tmp/inside)"
    stop_without 1
}

# Threads serve where io_uring is forbidden, with a warning.
forbidden() {
    echo 2 >/proc/sys/kernel/io_uring_disabled
    serve "$disk"
    result forbidden "$(served_disk)"
    result warning "$(grep -c 'WARN.*kernel.io_uring_disabled' "$SAID")"
    load --size 4M --rw randrw --bssplit 4k/70:64k/30 --number-ios 100
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
grow
vanishes scsi_debug "echo 1 >/sys/block/${disk#/dev/}/device/delete"
null_device n0 "$BLOCK"
try null_blk all
forbidden
part_of_another
zoned
