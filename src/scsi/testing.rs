//! A disk to run commands on, for the tests of this room.

use bdev::{Info, WriteCache};

use super::{Command, Condition, Identity, LogicalUnit, Outcome, Reply, Sense, Step, decode};

/// 1,000 blocks of 512 bytes, write-back, at most 64 KiB a transfer.
pub fn info() -> Info {
    Info {
        block_size: 512,
        blocks: 1000,
        physical_exponent: 3,
        read_only: false,
        write_cache: WriteCache::WriteBack,
        thin: false,
        max_transfer: 65536,
        segments_max: 0,
        queue_depth: 0,
        optimal_transfer: 32768,
        transfer_granularity: 0,
        solid_state: true,
        discard: None,
        write_zeroes_max: 0,
        anchor: false,
        prefetch: false,
        verify_max: 0,
        compare: false,
        atomic: None,
        description: "test".into(),
    }
}

/// The disk of `info`, with a place for saved mode pages.
pub fn disk(info: &Info) -> LogicalUnit {
    LogicalUnit::new(Identity::derive("test").with_serial("S1").unwrap(), info).saving_modes(true)
}

/// Decodes a CDB that is right.
pub fn command(cdb: &[u8]) -> Command {
    decode(cdb).unwrap()
}

/// Starts a command on a running unit; the reply comes with the step.
pub fn start(unit: &LogicalUnit, cdb: &[u8]) -> (Step, Vec<u8>) {
    let mut reply = Reply::new();
    let step = unit.start(&command(cdb), &Condition::default(), &mut reply);
    (step, reply.as_bytes().to_vec())
}

/// The data of a command that succeeds at once.
pub fn data(unit: &LogicalUnit, cdb: &[u8]) -> Vec<u8> {
    let (step, data) = start(unit, cdb);
    assert_eq!(step, Step::Done(Outcome::GOOD));
    data
}

/// The sense data of a command that is refused when it starts.
pub fn refused(unit: &LogicalUnit, cdb: &[u8]) -> Sense {
    match start(unit, cdb) {
        (Step::Done(Outcome { sense: Some(sense), .. }), data) => {
            assert!(data.is_empty(), "a refused command has no data");
            sense
        }
        other => panic!("not refused: {other:?}"),
    }
}
