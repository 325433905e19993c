use super::*;
use crate::scsi::Asc;
use crate::scsi::long::testing::Rig;
use crate::scsi::mode::ModeValues;
use crate::scsi::testing::{command, disk, info};
use crate::scsi::{Command, Designator, LongCommand, Neighbour, Neighbours, Status};

const CACHE_OFF: [u8; 20] = [0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn outcome(cdb: &[u8], list: &[u8]) -> Outcome {
    Rig::new(&info()).run(cdb, list).outcome
}

fn refused(cdb: &[u8], list: &[u8]) -> Sense {
    Rig::new(&info()).refused(cdb, list)
}

/// What a MODE SELECT wants changed.
fn mode_change(rig: &mut Rig) -> ModeChange {
    match rig.demands.pop() {
        Some(Demand::Mode(change)) => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mode_select() {
    let turned_off = |cdb: &[u8], list: &[u8]| {
        let mut rig = Rig::new(&info());
        assert_eq!(rig.run(cdb, list).outcome, Outcome::GOOD);
        ModeState::default().changed_by(mode_change(&mut rig))
    };
    let six = [&[0; 4][..], &CACHE_OFF].concat();
    let after = turned_off(&[0x15, 0x10, 0, 0, 24, 0], &six);
    assert_eq!((after.current, after.saved), (ModeValues::WRITE_THROUGH, ModeValues::DEFAULT));
    let ten = [&[0; 8][..], &CACHE_OFF].concat();
    let after = turned_off(&[0x55, 0x11, 0, 0, 0, 0, 0, 0, 28, 0], &ten);
    assert_eq!((after.current, after.saved), (ModeValues::WRITE_THROUGH, ModeValues::WRITE_THROUGH));
    assert_eq!(refused(&[0x15, 0x10, 0, 0, 23, 0], &six), Sense::illegal(Asc(0x1a00)));
    assert_eq!(refused(&[0x15, 0x00, 0, 0, 24, 0], &six), Sense::invalid_field(1, Some(4)));
}

#[test]
fn what_was_cached_is_written_before_the_cache_is_off() {
    let list = [&[0; 4][..], &CACHE_OFF].concat();
    let off = |info: &bdev::Info, mode: ModeState| {
        let (mut rig, command) = (Rig::new(info), command(&[0x15, 0x10, 0, 0, 24, 0]));
        let task = rig.unit.begin(&command, &Condition { mode, ..Condition::default() }).expect("it begins");
        rig.drive(task, &command, &list);
        mode_change(&mut rig);
        rig.ops
    };
    assert_eq!(off(&info(), ModeState::default()), [BlockOp::FLUSH]);
    let already = ModeState { current: ModeValues::WRITE_THROUGH, saved: ModeValues::DEFAULT };
    assert_eq!(off(&info(), already), []);
    let without = bdev::Info { write_cache: bdev::WriteCache::WriteThrough, ..info() };
    assert_eq!(off(&without, ModeState::default()), []);
    let mut rig = Rig::new(&info());
    rig.fails = |_| Some(bdev::IoError::Medium);
    let ended = rig.run(&[0x15, 0x10, 0, 0, 24, 0], &list);
    assert_eq!((ended.outcome.status, rig.demands.len()), (Status::CHECK_CONDITION, 0));
}

#[test]
fn a_mode_select_sees_what_is_in_force() {
    let (unit, mode) = (disk(&info()), ModeState { current: ModeValues::SWP, saved: ModeValues::DEFAULT });
    let command = command(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0]);
    let condition = Condition { mode, stopped: true, ..Condition::default() };
    let task = unit.begin(&command, &condition).expect("a stopped unit takes it too");
    let swp_again = [&[0; 8][..], &[0x0a, 0x0a, 0x22, 0x10, 0x08, 0, 0, 0, 0xff, 0xff, 0, 0]].concat();
    let mut rig = Rig::new(&info());
    rig.drive(task, &command, &swp_again);
    assert!(mode_change(&mut rig).is_idle(mode));
}

#[test]
fn set_timestamp() {
    let cdb = |len| [0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, len, 0, 0];
    let list = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0xff, 0xff];
    let set = Outcome::good_with(Effect::Timestamp(0x0102_0304_0506));
    assert_eq!(outcome(&cdb(12), &list), set);
    assert_eq!(outcome(&cdb(14), &list), set, "what follows is not looked at");
    assert_eq!(refused(&cdb(11), &list), Sense::illegal(Asc(0x1a00)));
}

#[test]
fn set_identifying_information() {
    let cdb = |information_type: u8, len: u16| {
        let [high, low] = len.to_be_bytes();
        [0xa4, 0x06, 0, 0, 0, 0, 0, 0, high, low, information_type << 1, 0]
    };
    for (information_type, kind, list) in [
        (0, Identifying::Name, &b"vm\xff\0 "[..]),
        (2, Identifying::Text, b"text\0"),
        (0, Identifying::Name, &[7; 512]),
        (2, Identifying::Text, b""),
    ] {
        let demand = Rig::new(&info()).demand(&cdb(information_type, list.len() as u16), list);
        assert_eq!(demand, Demand::Identifying(kind, list.to_vec()));
    }
    for list in [&b"text"[..], b"\xff\0"] {
        assert_eq!(refused(&cdb(2, list.len() as u16), list), Sense::invalid_parameter(0, None));
    }
    assert_eq!(refused(&cdb(0, 513), &[0; 513]), Sense::invalid_field(6, None));
    assert_eq!(refused(&cdb(2, 257), &[0; 257]), Sense::invalid_field(6, None));
    assert_eq!(refused(&cdb(1, 1), &[0]), Sense::invalid_field(10, Some(7)));
}

#[test]
fn log_select() {
    let cdb = |page: u8, subpage: u8, len: u8| [0x4c, 0, 0x40 | page, subpage, 0, 0, 0, 0, len, 0];
    assert_eq!(outcome(&cdb(0x0d, 0, 4), &[0x0d, 0, 0, 0]), Outcome::GOOD, "no parameters");
    assert_eq!(outcome(&cdb(0, 0, 8), &[0x0d, 0, 0, 0, 0x8e, 0, 0, 0]), Outcome::GOOD);
    assert_eq!(refused(&cdb(0, 0, 10), &[0x0d, 0, 0, 6, 0, 0, 3, 2, 0, 9]), Sense::invalid_parameter(4, None));
    assert_eq!(refused(&cdb(0, 0, 4), &[0x0d, 0, 0, 6]), Sense::illegal(Asc(0x1a00)));
    assert_eq!(refused(&cdb(0, 0, 6), &[0x0d, 0, 0, 0, 0x0e, 0]), Sense::illegal(Asc(0x1a00)));
    assert_eq!(refused(&cdb(0x0d, 0, 4), &[0x0e, 0, 0, 0]), Sense::invalid_parameter(0, Some(5)));
    assert_eq!(refused(&cdb(0, 0, 4), &[0x3e, 0, 0, 0]), Sense::invalid_parameter(0, Some(5)));
    assert_eq!(refused(&cdb(0x3e, 0, 4), &[0x3e, 0, 0, 0]), Sense::invalid_field(2, Some(5)));
}

/// Without a list they have no data at all, and nothing is wrong.
#[test]
fn nothing_to_set() {
    let cdbs: [&[u8]; 5] = [
        &[0x15, 0x10, 0, 0, 0, 0],
        &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x4c, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
        &[0xa4, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for cdb in cdbs {
        let command = command(cdb);
        assert!(matches!(command, Command::Long(LongCommand::Setting(_))), "{cdb:02x?}");
        let mut task = disk(&info()).begin(&command, &Condition::default()).unwrap();
        assert_eq!((task.data_out_len(), task.memory_len()), (0, 0));
        let step = task.next(&mut Desk { memory: &mut [], data: &mut Nothing, neighbours: &Nothing });
        assert!(matches!(step, LongStep::Done(Outcome { sense: None, .. }) | LongStep::Share(_)), "{step:?}");
    }
}

struct Nothing;

impl Neighbours for Nothing {
    fn find(&self, _: &Designator<'_>) -> Option<Neighbour> {
        None
    }

    fn random(&self, _into: &mut [u8]) {
        unreachable!("it makes no tokens");
    }
}

impl crate::scsi::DataBuffer for Nothing {
    fn out_len(&self) -> u64 {
        0
    }

    fn take(&mut self, at: u64, into: &mut [u8]) {
        assert_eq!((at, into.len()), (0, 0));
    }

    fn give(&mut self, _: u64, _: &[u8]) {
        panic!("these commands have no data-in");
    }
}

#[test]
fn a_mode_select_cannot_save_where_there_is_no_place() {
    let unit = disk(&info()).saving_modes(false);
    let list = [&[0; 4][..], &CACHE_OFF].concat();
    for (sp, expected) in [(1, Some(Sense::invalid_field(1, Some(0)))), (0, None)] {
        let command = command(&[0x15, 0x10 | sp, 0, 0, 24, 0]);
        let task = unit.begin(&command, &Condition::default()).expect("it begins");
        assert_eq!(Rig::new(&info()).drive(task, &command, &list).outcome.sense, expected);
    }
}
