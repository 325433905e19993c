//! Linux guests that share a disk: reservations keep the wrong one out, what one sets the other is told of, and one guest with two ways to a disk goes on when
//! one of them is taken away.

mod common;
mod guest;

use std::path::Path;

use common::{Target, cpumask, directory, image};
use guest::Lab;
use rustix::process::Signal;

/// Two guests take turns: each waits until the file `turn` on the second disk, which only carries messages, says so. The
/// message disk has one block for each turn.
const TURNS: &str = r#"
mail=$(disk_at 1:0)
say() { printf '%-512s' "$2" | dd of="$mail" bs=512 seek="$1" oflag=direct conv=notrunc 2>/dev/null; }
hears() { dd if="$mail" bs=512 skip="$1" count=1 iflag=direct 2>/dev/null | grep -q "$2"; }
hear() { await "hears $1 $2"; }
write_block() { dd if=/dev/zero of="$DISK" bs=4096 count=1 oflag=direct 2>/dev/null; }
settle() {
    for _ in 1 2 3 4 5; do
        if sg_raw "$DISK" 00 00 00 00 00 00 >/dev/null 2>&1; then return; fi
    done
    fail "it is not ready"
}
# What the kernel has found by itself, because an event told it to look.
read_only() {
    tenths=0
    until [ "$(cat "/sys/block/${DISK##*/}/ro")" = "$1" ]; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 600 ] || fail "nobody has told that the mode pages have changed: $1"
        sleep 0.1
    done
}
"#;

/// The one who reserves, and is preempted; and protects the disk from writes for a while.
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
hear 3 cleared
settle
sdparm --quiet --set=SWP "$DISK" || fail "protect"
say 4 protected
hear 5 seen
settle
sdparm --quiet --clear=SWP "$DISK" || fail "take the protection back"
say 6 free
"#;

/// The one who is kept out, and preempts; and hears of the protection.
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
say 3 cleared
hear 4 protected
read_only 1
say 5 seen
hear 6 free
read_only 0
write_block || fail "it cannot write again"
result second done
"#;

#[test]
fn reservations_keep_the_wrong_guest_out_and_a_protection_is_one_for_both() {
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

/// Registers for good, and reserves.
const KEEPS: &str = r#"
sg_persist --out --register --param-sark=0xa1 --param-aptpl "$DISK" || fail "register"
sg_persist --out --reserve --param-rk=0xa1 --prout-type=1 "$DISK" || fail "reserve"
result reserved done
sleep 1000
"#;

/// What both find afterwards.
const FINDS: &str = r#"
write_block() { dd if=/dev/zero of="$DISK" bs=4096 count=1 oflag=direct 2>/dev/null; }
sg_persist --in --read-keys "$DISK" | grep -q 0xa1 || fail "no key"
sg_persist --in --read-reservation "$DISK" | grep -q 'Write Exclusive' || fail "no reservation"
dd if="$DISK" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || fail "it cannot read"
"#;
const HOLDER: &str = "write_block || fail 'the holder cannot write'\nresult holder writes";
const STRANGER: &str = "if write_block; then fail 'the wrong one can write'; fi\nresult stranger 'is kept out'";

#[test]
fn reservations_hold_for_new_guests_of_a_target_that_was_killed() {
    let (lab, dir, mask) = (Lab::enter(), directory(), cpumask(1));
    image(dir.path(), "disk.img", 64 << 20);
    let args = ["--cpumask", &mask, "--disk", "disk.img", "--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(dir.clone(), &args);
    let mut first = lab.boot(&target, "keeps", KEEPS, &["--socket", "a.sock"]);
    first.await_result("reserved", |_| true);
    target.kill();
    drop(first);
    let target = Target::serve(dir, &args);
    let boot = |name, script, socket| lab.boot(&target, name, &[FINDS, script].concat(), &["--socket", socket]);
    let (holder, stranger) = (boot("holder", HOLDER, "a.sock"), boot("stranger", STRANGER, "b.sock"));
    let (holder, stranger) = (holder.finish(), stranger.finish());
    let said = (holder.results("holder"), stranger.results("stranger"));
    assert_eq!(said, (vec!["writes".to_owned()], vec!["is kept out".to_owned()]));
    target.stop();
}

/// The two ways to the disk, told apart by their port groups: no other name of theirs stays the same.
const WAYS: &str = r#"
# way_of GROUP: the disk whose port is in it.
way_of() {
    for way in /sys/block/sd*; do
        way=/dev/${way##*/}
        if sg_vpd --page=di "$way" 2>/dev/null | grep -q "Target port group: 0x$1\$"; then echo "$way"; fi
    done
}
has_both() { first=$(way_of 1) && second=$(way_of 2) && [ -n "$first" ] && [ -n "$second" ]; }
await has_both
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

/// Both ways to the disk under multipathd, with a load that reads back what it has written. The host changes the state of
/// group 1 when it hears of it.
const MULTIPATH: &str = r#"
result groups "$(sg_rtpg --decode "$first" | grep -c 'target port group id')"
mkdir -p /etc/multipath /run/udev
cat >/etc/multipath.conf <<CONFIGURATION
defaults {
    find_multipaths yes
    path_grouping_policy group_by_prio
    failback immediate
    no_path_retry queue
    polling_interval 1
    max_polling_interval 1
}
CONFIGURATION
modprobe dm_multipath; modprobe dm_service_time; modprobe scsi_dh_alua
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block
udevadm settle --timeout=120 || fail "udevd does not settle"
multipathd -d >/tmp/multipathd.txt 2>&1 &
# What udevd knows the disk by is the name of the map.
name_of() { udevadm info --query=property --property=ID_SERIAL --value "$1"; }
wwid=$(name_of "$first")
[ "$wwid" = "$(name_of "$second")" ] || fail "the ways have different names: $wwid, $(name_of "$second")"
why() {
    multipathd show topology; multipathd show paths; dmsetup status
    tail -n 10 /tmp/multipathd.txt; tail -n 5 /tmp/fio.txt; dmesg | tail -n 20
}
# What multipathd knows of a way: its priority follows from the state of its port group (50 optimized, 10 not), and whether it
# is ready, standing by (ghost) or out of reach (faulty).
knows() { multipathd show paths raw format "%d $2" | grep -Eq "^${1#/dev/} +$3 *\$"; }
both_have() { knows "$first" %p "$1" && knows "$second" %p "$2"; }
has_map() { [ -b "/dev/mapper/$wwid" ]; }
await has_map
await "both_have 50 10"
# Both are with the kernel's handler for ALUA, which asks for a better state of the group that it turns to.
for way in "$first" "$second"; do
    result handler "$(cat "/sys/block/${way#/dev/}/device/dh_state")"
done
dm=$(readlink -f "/dev/mapper/$wwid")
result paths "$(multipathd show paths raw format '%w' | grep -c "^$wwid *\$")"
result path_groups "$(dmsetup table "$wwid" | grep -o 'service-time' | wc -l)"

fio --name=both --filename="$dm" --rw=randwrite --bs=4k --iodepth=8 --ioengine=io_uring --direct=1 --size=16m \
    --verify=crc32c --verify_backlog=256 --verify_fatal=1 --time_based --runtime=3600 >/tmp/fio.txt 2>&1 &
load=$!
completed() {
    read -r reads _ _ _ writes _ <"/sys/block/${1#/dev/}/stat"
    echo $((reads + writes))
}
# The load goes on, and its requests go this way.
goes_through() {
    before=$(completed "$1") whole=$(completed "$dm")
    await "went_on $1 $((before + 300))"
    await "went_on $dm $((whole + 300))"
}
went_on() {
    kill -0 "$load" || fail "the load ended: $(why 2>&1)"
    [ "$(completed "$1")" -gt "$2" ]
}
goes_through "$first"
# set_state GROUP STATE: more than once, for a unit attention may be in the way.
set_state() {
    for _ in 1 2 3 4 5; do
        if sg_stpg --tp="$1" --state="$2" "$second" >/tmp/stpg.txt 2>&1; then return; fi
    done
    fail "set the state $2 of group $1: $(cat /tmp/stpg.txt)"
}
# The handler makes the group optimized that it turns to, and may do so late: then it is told again which one is to be preferred.
prefers_first() {
    both_have 50 10 || { set_state 1 0; set_state 2 1; false; }
}
# An initiator takes a path away, and gives it back: standby, unavailable.
for state in 2:ghost 3:faulty; do
    set_state 1 "${state%:*}"
    await "knows $first %T ${state#*:}"
    goes_through "$second"
    await prefers_first
    goes_through "$first"
done
result initiator done
# The user of the target does.
result wanted standby
await "knows $first %T ghost"
goes_through "$second"
result wanted optimized
await "knows $first %T ready"
await prefers_first
goes_through "$first"
result told "$(dmesg | grep -c 'symmetric access state changed')"
# The path itself goes.
pci=$(readlink -f "/sys/block/${first#/dev/}/device/../../../..")
echo 1 >"$pci/remove"
goes_through "$second"
kill "$load"; wait "$load" || true
grep -q 'err= 0' /tmp/fio.txt || fail "the load saw an error: $(cat /tmp/fio.txt)"
result multipath done
"#;

/// Writes the configuration of two ports of a disk, of which the first is in this state.
fn configure(dir: &Path, state: &str) {
    let text = format!(
        "cpumask = \"{}\"\ndisks = [\"mem:size=64M\"]\n\
         [[controller]]\nsocket = \"a.sock\"\nport-group = 1\naccess-state = \"{state}\"\n\
         [[controller]]\nsocket = \"b.sock\"\nport-group = 2\naccess-state = \"non-optimized\"\n",
        cpumask(2)
    );
    std::fs::write(dir.join(FILE), text).expect("write the configuration");
}

const FILE: &str = "annulus.toml";

#[test]
fn a_guest_with_two_ways_goes_on_with_one() {
    let lab = Lab::enter();
    let dir = directory();
    configure(dir.path(), "optimized");
    let target = Target::serve(dir.clone(), &["--config", FILE]);
    let script = [WAYS, PERSIST, MULTIPATH].concat();
    let mut guest =
        lab.boot(&target, "multipath", &script, &["--multipath", "--socket", "a.sock", "--socket", "b.sock"]);
    // Each has its own time.
    for result in ["persist", "paths", "initiator"] {
        guest.await_result(result, |_| true);
    }
    for state in ["standby", "optimized"] {
        guest.await_result("wanted", |wanted| wanted == state);
        configure(dir.path(), state);
        target.signal(Signal::HUP);
    }
    let guest = guest.finish();
    let results = ["persist", "ports", "groups", "handler", "paths", "path_groups", "initiator", "multipath"];
    let results = results.map(|key| guest.results(key).concat());
    assert_eq!(results, ["done", "48", "2", "aluaalua", "2", "2", "done", "done"]);
    let told: u32 = guest.results("told").concat().parse().expect("a count");
    assert!(told > 0, "no unit attention told of a state");
    target.stop();
}
