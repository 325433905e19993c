# shellcheck shell=sh
# What jobs share. A job begins with `. /job/lib.sh`, which stops it at the first error and sets DISK: the first SCSI disk
# whose vendor is ANNULUS, or the one that scripts/guest --env DISK=... names, or `none`, where a job makes its own.

set -eu
# shellcheck source=/dev/null
. /job/env

DISK_WAIT_TENTHS_MAX=300

say() { echo "job: $*"; }
fail() { echo "job: FAILED: $*"; exit 1; }

# A value that scripts/demo and tests read from the console.
result() { echo "ANNULUS-RESULT: $1 $2"; }

# why: what there is to say beside what was waited for in vain, from the job if it knows more.
why() { :; }

# await COMMAND: until it says yes, for two minutes.
await() {
    awaited_tenths=0
    until eval "$1"; do
        awaited_tenths=$((awaited_tenths + 1))
        [ "$awaited_tenths" -lt 1200 ] || fail "waited for: $1 $(why 2>&1)"
        sleep 0.1
    done
}

find_disk() {
    for vendor in /sys/block/sd*/device/vendor; do
        case $(cat "$vendor" 2>/dev/null) in ANNULUS*)
            vendor=${vendor#/sys/block/}
            echo "/dev/${vendor%%/*}"
            return ;;
        esac
    done
}

# disk_at TARGET:LUN: the disk there, as Linux counts LUNs. Names of disks change from boot to boot.
disk_at() {
    for block in "/sys/class/scsi_disk/"*":$1/device/block/"*; do
        [ ! -e "$block" ] || echo "/dev/${block##*/}"
    done
}

wait_for_disk() {
    tenths=0
    while :; do
        [ -n "${DISK:-}" ] || DISK=$(find_disk)
        [ -n "$DISK" ] && [ -b "$DISK" ] && [ "$(blockdev --getsize64 "$DISK")" -gt 0 ] && break
        tenths=$((tenths + 1))
        [ "$tenths" -lt "$DISK_WAIT_TENTHS_MAX" ] ||
            fail "no ANNULUS disk; the guest has: $(cat /proc/scsi/scsi 2>/dev/null; ls /sys/block)"
        sleep 0.1
    done
    export DISK
}

[ "${DISK:-}" = none ] || wait_for_disk

# pattern SEED RECORDS: bytes that tell both where they belong and which run wrote them: a count of 8-byte records.
# SEED from 0 to 999.
pattern() { seq "$((1000000 + $1 * 1000))" "$((1000000 + $1 * 1000 + $2 - 1))"; }

# How much of it the persist jobs write.
# shellcheck disable=SC2034
PATTERN_RECORDS=524288 PATTERN_BYTES=4194304
