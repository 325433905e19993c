//! Linux guests that share a disk: reservations keep the wrong one out, and one guest with two ways to a disk goes on when
//! one of them is taken away.

mod common;
mod guest;

use common::{Target, cpumask, directory};
use guest::Lab;

/// Two guests take turns: each waits until the file `turn` on the second disk, which only carries messages, says so. The
/// message disk has one block for each turn.
const TURNS: &str = r#"
mail=$(disk_at 1:0)
say() { printf '%-512s' "$2" | dd of="$mail" bs=512 seek="$1" oflag=direct conv=notrunc 2>/dev/null; }
hear() {
    tenths=0
    until dd if="$mail" bs=512 skip="$1" count=1 iflag=direct 2>/dev/null | grep -q "$2"; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 900 ] || fail "nobody says $2"
        sleep 0.1
    done
}
write_block() { dd if=/dev/zero of="$DISK" bs=4096 count=1 oflag=direct 2>/dev/null; }
"#;

/// The one who reserves, and is preempted.
const FIRST: &str = r#"
sg_persist --out --register --param-sark=0xa1 "$DISK" || fail "register"
sg_persist --out --reserve --param-rk=0xa1 --prout-type=1 "$DISK" || fail "reserve"
write_block || fail "the holder cannot write"
say 0 reserved
hear 1 preempted
result attention "$(sg_raw "$DISK" 00 00 00 00 00 00 2>&1 | tr '\n' ' ')"
if write_block; then fail "the preempted one can write"; fi
result first done
say 2 done
"#;

/// The one who is kept out, and preempts.
const SECOND: &str = r#"
hear 0 reserved
if write_block; then fail "the wrong one can write"; fi
dd if="$DISK" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || fail "it cannot read"
sg_persist --out --register --param-sark=0xb2 "$DISK" || fail "register"
sg_persist --in --read-keys "$DISK" | grep -q 0xa1 || fail "no key of the other"
sg_persist --out --preempt-abort --param-rk=0xb2 --param-sark=0xa1 --prout-type=3 "$DISK" || fail "preempt and abort"
write_block || fail "the new holder cannot write"
say 1 preempted
hear 2 done
sg_persist --out --clear --param-rk=0xb2 "$DISK" || fail "clear"
result second done
"#;

#[test]
fn reservations_keep_the_wrong_guest_out() {
    let lab = Lab::enter();
    let mask = cpumask(1);
    let disks = ["--disk", "mem:size=64M,target=0", "--disk", "mem:size=1M,target=1"];
    let sockets = ["--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(directory(), &[&["--cpumask", &mask], &disks[..], &sockets].concat());
    let first = lab.boot(&target, "first", &[TURNS, FIRST].concat(), &["--socket", "a.sock"]);
    let second = lab.boot(&target, "second", &[TURNS, SECOND].concat(), &["--socket", "b.sock"]);
    let (first, second) = (first.finish(), second.finish());
    assert_eq!((first.results("first"), second.results("second")), (vec!["done".into()], vec!["done".into()]));
    let attention = first.results("attention").concat();
    assert!(attention.contains("egistrations preempted"), "the preempted one was told: {attention}");
    target.stop();
}

/// The two ways to the disk.
const WAYS: &str = r#"
tenths=0
until ways=$(cd /sys/block && printf '/dev/%s ' sd*) && [ "$(printf '%s' "$ways" | wc -w)" -eq 2 ]; do
    tenths=$((tenths + 1))
    [ "$tenths" -lt 300 ] || fail "there is one way: $ways"
    sleep 0.1
done
# shellcheck disable=SC2086
set -- $ways
first=$1 second=$2
"#;

/// The two ways as two initiators: every type of reservation, and every way to take one over.
const PERSIST: &str = r#"
pr() {
    way=$1
    shift
    sg_persist --out "$@" "$way" >/tmp/persist.txt 2>&1 || fail "sg_persist $*: $(cat /tmp/persist.txt)"
}
register() { pr "$1" --register-ignore --param-sark="$2"; }
settle() {
    for _ in 1 2 3 4 5; do
        if sg_raw "$1" 00 00 00 00 00 00 >/dev/null 2>&1; then return; fi
    done
    fail "$1 is not ready"
}
# may WAY READS WRITES: each yes or no.
may() {
    settle "$1"
    reads=no writes=no
    if dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then reads=yes; fi
    if dd if=/dev/zero of="$1" bs=4096 count=1 oflag=direct conv=notrunc 2>/dev/null; then writes=yes; fi
    [ "$reads $writes" = "$2 $3" ] || fail "$4: $1 reads $reads, writes $writes, and not $2, $3"
}
for type in 1 3 5 6 7 8; do
    case $type in 1) registered='yes no' ;; 3) registered='no no' ;; *) registered='yes yes' ;; esac
    case $type in 1 | 5 | 7) stranger='yes no' ;; *) stranger='no no' ;; esac
    register "$first" 0xa1
    register "$second" 0xb2
    pr "$first" --reserve --param-rk=0xa1 --prout-type="$type"
    may "$first" yes yes "type $type"
    # shellcheck disable=SC2086
    may "$second" $registered "type $type, registered"
    pr "$second" --register --param-rk=0xb2 --param-sark=0
    # shellcheck disable=SC2086
    may "$second" $stranger "type $type, not registered"
    pr "$first" --release --param-rk=0xa1 --prout-type="$type"
    may "$second" yes yes "type $type, released"
    pr "$first" --clear --param-rk=0xa1
done
register "$first" 0xa1
register "$second" 0xb2
pr "$first" --reserve --param-rk=0xa1 --prout-type=3
pr "$second" --preempt --param-rk=0xb2 --param-sark=0xa1 --prout-type=1
may "$first" yes no "preempted"
may "$second" yes yes "it has preempted"
register "$first" 0xa1
pr "$first" --preempt-abort --param-rk=0xa1 --param-sark=0xb2 --prout-type=6
may "$second" no no "preempted and aborted"
may "$first" yes yes "it has preempted and aborted"
pr "$first" --clear --param-rk=0xa1
may "$second" yes yes "cleared"
result persist done
# A descriptor of 24 bytes for each port.
result ports "$(sg_vpd --page=0x88 --raw "$first" | od -An -tu1 -j3 -N1 | tr -d ' ')"
"#;

/// Both ways to the disk under dm-multipath, and a load on it. Port states are set through the first way.
const MULTIPATH: &str = r#"
modprobe dm_multipath; modprobe dm_round_robin
result groups "$(sg_rtpg --decode "$first" | grep -c 'target port group id')"
sectors=$(blockdev --getsz "$first")
dmsetup create both --table "0 $sectors multipath 1 queue_if_no_path 0 1 1 round-robin 0 2 1 $first 1 $second 1" ||
    fail "no multipath"
dm=$(cd /sys/block && printf '%s' dm-*)
fio --name=both --filename="/dev/$dm" --rw=randrw --bs=4k --iodepth=8 --ioengine=io_uring --direct=1 \
    --time_based --runtime=3600 --size=32m --verify=0 >/tmp/fio.txt 2>&1 &
load=$!
completed() {
    read -r reads _ _ _ writes _ <"/sys/block/$dm/stat"
    echo $((reads + writes))
}
await_progress() {
    before=$(completed) tenths=0
    until [ "$(completed)" -gt $((before + 200)) ]; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 600 ] || fail "the load stands still: $(dmsetup status both)"
        kill -0 "$load" || fail "the load ended: $(cat /tmp/fio.txt)"
        sleep 0.1
    done
}
await_progress
for state in 2 3; do
    sg_stpg --tp=2 --state="$state" "$first" || fail "set the state $state"
    await_progress
    if sg_raw "$second" 00 00 00 00 00 00 >/dev/null 2>&1; then fail "the second way is ready in state $state"; fi
    dmsetup status both | grep -q ' F ' || fail "no path failed: $(dmsetup status both)"
    sg_stpg --tp=2 --state=0 "$first" || fail "set the state back"
    sg_raw "$second" 00 00 00 00 00 00 >/dev/null 2>&1 || true
    dmsetup message both 0 "reinstate_path $(cat "/sys/block/${second#/dev/}/dev")"
    await_progress
done
result states done
pci=$(readlink -f "/sys/block/${second#/dev/}/device/../../../..")
echo 1 >"$pci/remove"
await_progress
kill "$load"; wait "$load" || true
grep -q 'err= 0' /tmp/fio.txt || fail "the load saw an error: $(cat /tmp/fio.txt)"
result multipath done
"#;

#[test]
fn a_guest_with_two_ways_goes_on_with_one() {
    let lab = Lab::enter();
    let mask = cpumask(2);
    let args = ["--cpumask", &mask, "--disk", "mem:size=64M"];
    let ports = ["--socket", "a.sock", "--port-group", "1", "--socket", "b.sock", "--port-group", "2"];
    let target = Target::serve(directory(), &[&args[..], &ports].concat());
    let script = [WAYS, PERSIST, MULTIPATH].concat();
    let guest = lab.boot(&target, "multipath", &script, &["--socket", "a.sock", "--socket", "b.sock"]).finish();
    let results = ["persist", "ports", "groups", "multipath"].map(|key| guest.results(key).concat());
    assert_eq!(results, ["done", "48", "2", "done"]);
    target.stop();
}
