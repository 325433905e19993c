# shellcheck shell=sh
# What jobs share in which the target runs in the guest and serves disks of the guest's kernel. Such a job begins with
# `. /job/files/serving.sh`; it finds the programs that it runs in /job/files.
# shellcheck source=scripts/jobs/lib.sh
. /job/lib.sh
cd /job/files || exit
export LD_LIBRARY_PATH=/job/files
# Where the target listens, and what it has said.
SERVED=/tmp/vm0.sock
SAID=/tmp/serve

# broken WHAT FILE...: fails, and shows these and what the target has said.
broken() {
    what=$1
    shift
    cat "$@" "$SAID"
    fail "$what"
}

# serve DISK...: until `stop`.
serve() {
    disks=
    for one in "$@"; do disks="$disks --disk $one"; done
    rm -f "$SERVED"
    : >"$SAID"
    # shellcheck disable=SC2086  # words of their own
    ./annulus serve --cpumask 0x1 --socket "$SERVED" $disks >"$SAID" 2>&1 &
    served=$!
    await "grep -q '^ready\$' $SAID || ! kill -0 $served 2>/dev/null"
    kill -0 "$served" || broken "nothing serves $*"
}

# How the target says that it serves the disk.
served_disk() { grep 'target 0 lun 0' "$SAID"; }

stop() {
    kill -INT "$served"
    wait "$served" || broken "the target ended with $?"
}

# stop_without COUNT: it ends, and says of so many that have gone that it could not flush them.
stop_without() {
    kill -INT "$served"
    code=0
    wait "$served" || code=$?
    gone=$(grep -c 'flushing at the end failed: device is gone' "$SAID") || true
    [ "$code $gone" = "1 $1" ] || broken "the target ended with $code, and missed $gone"
}

# refusal DISK: what the target says when it will not serve it.
refusal() {
    ! timeout 60 ./annulus serve --socket /tmp/other.sock --disk "$1" >/tmp/other 2>&1 || fail "$1 is served all the same"
    grep '^annulus: ' /tmp/other
}

# load ARGUMENT...: checks the data, and ends by the number of requests, however slow the processor is.
load() {
    ./annulus-bench run --socket "$SERVED" --cpus 1 --any-placement --verify --runtime 200s --ramp 0s "$@" >/tmp/load 2>&1 ||
        broken "load with $*" /tmp/load
}

# trace_commands: from now on the kernel tells of each command that it sends to an NVMe device.
trace_commands() {
    tracing=/sys/kernel/tracing
    [ -d "$tracing/events" ] || mount -t tracefs tracefs "$tracing"
    echo 1 >"$tracing/events/nvme/nvme_setup_cmd/enable"
}
# traced DISK COMMAND: those of one kind that it has told of so far, with what they say of themselves.
traced() { grep "disk=$1,.*cmd=(nvme_cmd_$2 " "$tracing/trace"; }
# traced_count DISK COMMAND [PATTERN]
traced_count() { traced "$1" "$2" | grep -c "${3:-}" || true; }
# traced_blocks DISK COMMAND: of all of them together. Each tells one less than it has.
traced_blocks() { traced "$1" "$2" | sed -n 's/.* len=\([0-9]*\),.*/\1/p' | awk '{ blocks += $1 + 1 } END { print blocks + 0 }'; }

# inside TEST: of the driver in user space, on what is served.
inside() {
    ANNULUS_TEST_INSIDE=$SERVED ./inside --exact "$1" --nocapture >/tmp/inside 2>&1 || broken "$1" /tmp/inside
    ! grep '^ANNULUS-RESULT' /tmp/inside || true
}
