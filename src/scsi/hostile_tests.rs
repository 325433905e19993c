//! Every operation code with every length and with zeros, ones and arbitrary bytes, from decoding to the last step.

use bdev::{Atomic, Discard, Info, IoError, OpKind};
use proptest::prelude::*;

use super::*;

const LUNS: [[u8; 8]; 2] = [[0; 8], [0, 1, 0, 0, 0, 0, 0, 0]];

/// The CDB's ALLOCATION LENGTH, found without the decoder under test; none if the command has no such field.
fn allocation_length(cdb: &[u8]) -> Option<u64> {
    let (first, len) = match cdb[0] {
        0x03 | 0x1a => (4, 1),
        0x12 => (3, 2),
        0x84 => (10, 4),
        0x4d | 0x5a => (7, 2),
        0xa0 | 0xa3 => (6, 4),
        0x9e | 0xb7 => (if cdb[0] == 0x9e { 10 } else { 6 }, 4),
        0x1c => (3, 2),
        0x37 => (7, 2),
        0x3c => (6, 3),
        _ => return None,
    };
    Some(cdb[first..first + len].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn check_outcome(outcome: &Outcome, reply: &Reply) {
    assert_eq!(outcome.status == Status::CHECK_CONDITION, outcome.sense.is_some());
    if outcome.status != Status::GOOD {
        assert_eq!(reply.as_bytes().len(), 0, "a command that fails has no data");
        assert_eq!(outcome.effect, None, "and changes nothing");
    }
}

fn check_block_op(op: &BlockOp, info: &Info) {
    let block_size = u64::from(info.block_size);
    assert!(op.offset.is_multiple_of(block_size) && op.len.is_multiple_of(block_size));
    assert!(op.offset.checked_add(op.len).is_some_and(|end| end <= info.size()));
    assert!(!op.kind.moves_data() || op.len <= u64::from(info.max_transfer));
    assert_eq!(op.kind == OpKind::Flush, op.len == 0);
    assert!(!(info.read_only && op.kind.is_change()));
}

/// Data-out of which every byte is the same, and data-in that goes nowhere.
struct Filled(u8);

impl DataBuffer for Filled {
    fn out_len(&self) -> u64 {
        1 << 17
    }

    fn take(&mut self, _at: u64, into: &mut [u8]) {
        into.fill(self.0);
    }

    fn give(&mut self, _at: u64, _from: &[u8]) {}
}

struct Nobody;

impl Neighbours for Nobody {
    fn find(&self, _: &Designator<'_>) -> Option<Neighbour> {
        None
    }

    fn random(&self, into: &mut [u8]) {
        into.fill(0x5a);
    }
}

/// Takes a long command to its end, on a disk whose blocks hold whatever is in memory.
fn run_long(unit: &Unit, command: &Command, condition: &Condition<'_>, info: &Info, fill: u8) {
    let mut task = match unit.begin(command, condition) {
        Ok(task) => task,
        Err(outcome) => return check_outcome(&outcome, &Reply::new()),
    };
    let is_setting = matches!(command, Command::Long(LongCommand::Setting(_) | LongCommand::Sharing(_)));
    assert!(unit.disk().is_some() && (!condition.stopped || is_setting));
    let mut memory = vec![0; task.memory_len()];
    for _ in 0..10_000 {
        match task.next(&mut Desk { memory: &mut memory, data: &mut Filled(fill), neighbours: &Nobody }) {
            LongStep::Done(outcome) => return check_outcome(&outcome, &Reply::new()),
            LongStep::Background(_) => {
                task = task.background();
                memory = vec![0; task.memory_len()];
            }
            LongStep::Share(_) => return,
            LongStep::Lock { offset, len } => assert!(info.contains(offset, len)),
            LongStep::Elsewhere(..) => panic!("there is nobody"),
            LongStep::Block(op, place) => {
                check_block_op(&op, info);
                assert!(!op.kind.moves_data() || place != OpMemory::Without);
            }
        }
    }
    panic!("{command:?} does not end");
}

/// Takes a CDB through a unit. A disk refuses exactly what `decode` refuses, and with its sense data.
fn run(unit: &Unit, cdb: &[u8], info: &Info, stopped: bool) {
    let mut reply = Reply::new();
    let command = match (unit.decode(cdb), decode(cdb)) {
        (Ok(command), expected) => {
            assert_eq!(Ok(command), expected);
            command
        }
        (Err(outcome), expected) => {
            let missing = Sense::illegal(Asc::LOGICAL_UNIT_NOT_SUPPORTED);
            let sense = expected.map_err(|sense| if unit.disk().is_some() { sense } else { missing });
            assert_eq!(outcome, Outcome::check(sense.expect_err("both refuse")));
            return;
        }
    };
    let attention = (command.attention_rule() == AttentionRule::AsData).then_some(Attention::PowerOn);
    let condition = Condition { stopped, attention, luns: &LUNS, ..Condition::default() };
    let mut step = unit.start(&command, &condition, &mut reply);
    let room = allocation_length(cdb).unwrap_or(8);
    assert!(reply.as_bytes().len() as u64 <= room, "{} bytes of {room}", reply.as_bytes().len());
    for result in [Ok(()), Ok(()), Err(IoError::Medium)] {
        match step {
            Step::Done(ref outcome) => return check_outcome(outcome, &reply),
            Step::Long => {
                assert!(command.is_long());
                return [0, 0xff].iter().for_each(|&fill| run_long(unit, &command, &condition, info, fill));
            }
            Step::Block(ref op) => {
                assert!(reply.as_bytes().is_empty());
                check_block_op(op, info);
                step = unit.resume(&command, op, result);
            }
        }
    }
    panic!("{command:?} does not end");
}

fn units() -> [(Unit, Info); 5] {
    let plain = testing::info();
    let protected = Info { read_only: true, block_size: 4096, ..testing::info() };
    let discard = Some(Discard { granularity: 4096, alignment: 0, max: 1 << 16, zeroes: true });
    let atomic = Some(Atomic { unit: 1024, max: 1 << 15, natural: true, boundary: 4096 });
    let able = Info { discard, write_zeroes_max: 1 << 16, atomic, ..testing::info() };
    let disk = |info: &Info| Unit::Disk(testing::disk(info));
    [
        (disk(&plain), plain.clone()),
        (disk(&protected), protected),
        (disk(&able), able),
        (Unit::Missing(MissingUnit::new(true)), plain.clone()),
        (Unit::Missing(MissingUnit::new(false)), plain),
    ]
}

fn run_everywhere(units: &[(Unit, Info)], cdb: &[u8]) {
    for (unit, info) in units {
        for stopped in [false, true] {
            run(unit, cdb, info, stopped);
        }
    }
}

#[test]
fn every_operation_code_and_length() {
    let units = units();
    for opcode in 0..=255 {
        for fill in [0x00, 0xff] {
            let mut cdb = [fill; 32];
            cdb[0] = opcode;
            for len in 0..=cdb.len() {
                run_everywhere(&units, &cdb[..len]);
            }
        }
    }
}

#[test]
fn operation_codes_that_are_supported() {
    let supported: Vec<u8> =
        (0..=255).filter(|opcode| decode(&[*opcode; 1]) != Err(Sense::illegal(Asc(0x2000)))).collect();
    let expected = [
        0x00, 0x03, 0x04, 0x07, 0x08, 0x0a, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x25, 0x28, 0x2a,
        0x2e, 0x2f, 0x34, 0x35, 0x37, 0x3b, 0x3c, 0x41, 0x42, 0x48, 0x4c, 0x4d, 0x55, 0x56, 0x57, 0x5a, 0x5e, 0x5f,
        0x83, 0x84, 0x88, 0x89, 0x8a, 0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x93, 0x9c, 0x9e, 0xa0, 0xa3, 0xa4, 0xa8, 0xaa,
        0xae, 0xaf, 0xb7,
    ];
    assert_eq!(supported, expected);
}

#[test]
fn attention_rules_and_directions() {
    use {AttentionRule as Rule, DataDirection as Direction};
    let expected: [(u8, Rule, Direction); 57] = [
        (0x00, Rule::Report, Direction::None),
        (0x03, Rule::AsData, Direction::In),
        (0x04, Rule::Report, Direction::None),
        (0x07, Rule::Report, Direction::Out),
        (0x08, Rule::Report, Direction::In),
        (0x0a, Rule::Report, Direction::Out),
        (0x12, Rule::Ignore, Direction::In),
        (0x15, Rule::Report, Direction::None),
        (0x16, Rule::Report, Direction::None),
        (0x17, Rule::Report, Direction::None),
        (0x1a, Rule::Report, Direction::In),
        (0x1b, Rule::Report, Direction::None),
        (0x1c, Rule::Report, Direction::In),
        (0x1d, Rule::Report, Direction::None),
        (0x1e, Rule::Report, Direction::None),
        (0x25, Rule::Report, Direction::In),
        (0x28, Rule::Report, Direction::In),
        (0x2a, Rule::Report, Direction::Out),
        (0x2e, Rule::Report, Direction::Out),
        (0x2f, Rule::Report, Direction::None),
        (0x34, Rule::Report, Direction::None),
        (0x35, Rule::Report, Direction::None),
        (0x37, Rule::Report, Direction::In),
        (0x3b, Rule::Report, Direction::None),
        (0x3c, Rule::Report, Direction::In),
        (0x41, Rule::Report, Direction::Out),
        (0x42, Rule::Report, Direction::None),
        (0x48, Rule::Report, Direction::None),
        (0x4c, Rule::Report, Direction::None),
        (0x4d, Rule::Report, Direction::In),
        (0x55, Rule::Report, Direction::None),
        (0x56, Rule::Report, Direction::None),
        (0x57, Rule::Report, Direction::None),
        (0x5a, Rule::Report, Direction::In),
        (0x5e, Rule::Report, Direction::In),
        (0x5f, Rule::Report, Direction::None),
        (0x83, Rule::Report, Direction::None),
        (0x84, Rule::Report, Direction::In),
        (0x88, Rule::Report, Direction::In),
        (0x89, Rule::Report, Direction::Out),
        (0x8a, Rule::Report, Direction::Out),
        (0x8b, Rule::Report, Direction::Out),
        (0x8e, Rule::Report, Direction::Out),
        (0x8f, Rule::Report, Direction::None),
        (0x90, Rule::Report, Direction::None),
        (0x91, Rule::Report, Direction::None),
        (0x93, Rule::Report, Direction::Out),
        (0x9c, Rule::Report, Direction::Out),
        (0x9e, Rule::Report, Direction::In),
        (0xa0, Rule::Ignore, Direction::In),
        (0xa3, Rule::Report, Direction::In),
        (0xa4, Rule::Report, Direction::None),
        (0xa8, Rule::Report, Direction::In),
        (0xaa, Rule::Report, Direction::Out),
        (0xae, Rule::Report, Direction::Out),
        (0xaf, Rule::Report, Direction::None),
        (0xb7, Rule::Report, Direction::In),
    ];
    for (opcode, rule, direction) in expected {
        let mut cdb = [0; 16];
        cdb[0] = opcode;
        cdb[1] = match opcode {
            0x48 => 0x02,
            0x84 => 0x03,
            0x9e => 0x10,
            0xa3 => 0x0c,
            0xa4 => 0x0f,
            _ => 0,
        };
        let command = testing::command(&cdb);
        assert_eq!((command.attention_rule(), command.direction()), (rule, direction), "{opcode:02x}");
    }
}

/// Mostly valid CDBs: a supported operation code, and bits that are mostly allowed.
fn likely_cdb() -> impl Strategy<Value = Vec<u8>> {
    let opcodes: Vec<u8> =
        (0..=255).filter(|opcode| decode(&[*opcode; 1]) != Err(Sense::illegal(Asc(0x2000)))).collect();
    let rest = proptest::collection::vec(prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], 0..=31);
    (proptest::sample::select(opcodes), rest).prop_map(|(opcode, rest)| [&[opcode][..], &rest].concat())
}

proptest! {
    #[test]
    fn arbitrary_cdbs(cdb in proptest::collection::vec(any::<u8>(), 0..=32)) {
        run_everywhere(&units(), &cdb);
    }

    #[test]
    fn likely_cdbs(cdb in likely_cdb()) {
        run_everywhere(&units(), &cdb);
    }
}
