//! The short self-test of SEND DIAGNOSTIC (SPC-5, self-test operations): the first, the middle and the last block are read. There is no
//! extended one, which would have to read a whole disk.
//!
//! It has ended when the command does, in the background mode, too: nobody could tell one that has not begun from one that is over. It
//! reads and no more, so other commands go on meanwhile in both modes.

use bdev::{IoError, OpKind};

use super::super::outcome::{BlockOp, Effect, Outcome};
use super::super::sense::Sense;
use super::super::spec::{Asc, SenseKey};
use super::{Desk, LogicalUnit, LongStep, LongTask, OpMemory};

/// SELF-TEST CODE: none is asked for by code.
const NO_CODE: u8 = 0b000;
/// SELF-TEST CODE: background short self-test.
const BACKGROUND_SHORT: u8 = 0b001;
/// SELF-TEST CODE: foreground short self-test.
const FOREGROUND_SHORT: u8 = 0b101;

/// SELF-TEST RESULTS: completed without error.
const NO_ERROR: u8 = 0x0;
/// SELF-TEST RESULTS: an unknown error kept it from its end.
const NOT_COMPLETED: u8 = 0x3;
/// SELF-TEST RESULTS: the first segment failed. That of the second is one more, and one further is for all others.
const FIRST_SEGMENT_FAILED: u8 = 0x5;

/// ADDRESS OF FIRST FAILURE where there is none.
const NO_ADDRESS: u64 = u64::MAX;

/// What came of a self-test, as the Self-Test Results log page tells it, but for when: in bytes, for it is a part of each
/// [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTestResult {
    /// SELF-TEST CODE in the upper 3 bits, SELF-TEST RESULTS in the lower 4.
    code_and_result: u8,
    /// SELF-TEST NUMBER: the segment that failed, from 1; 0 if none did.
    segment: u8,
    /// ADDRESS OF FIRST FAILURE.
    address: [u8; 8],
    /// SENSE KEY, ADDITIONAL SENSE CODE and its qualifier.
    sense: [u8; 3],
}

impl SelfTestResult {
    /// The value of its log parameter, for a test that ended after so many hours of power (SPC-5, Self-Test Results log
    /// parameters).
    pub(in crate::scsi) fn encode(&self, power_on_hours: u16) -> [u8; 16] {
        let mut out = [0; 16];
        (out[0], out[1]) = (self.code_and_result, self.segment);
        out[2..4].copy_from_slice(&power_on_hours.to_be_bytes());
        out[4..12].copy_from_slice(&self.address);
        out[12..15].copy_from_slice(&self.sense);
        out
    }
}

/// A self-test.
#[derive(Debug)]
struct SelfTest {
    code: u8,
    block_size: u64,
    /// The blocks that are read, one in each segment.
    segments: [u64; 3],
    /// The segment that is next.
    next: usize,
}

/// Begins SEND DIAGNOSTIC without a parameter list.
pub(super) fn begin(unit: &LogicalUnit, default: bool, code: u8) -> Result<Box<dyn LongTask>, Outcome> {
    match (default, code) {
        (false, NO_CODE) => return Err(Outcome::GOOD),
        (true, NO_CODE) | (false, BACKGROUND_SHORT | FOREGROUND_SHORT) => {}
        _ => return Err(Sense::invalid_field(1, Some(7)).into()),
    }
    let last = unit.blocks.saturating_sub(1);
    Ok(Box::new(SelfTest { code, block_size: unit.block_size.into(), segments: [0, last / 2, last], next: 0 }))
}

impl SelfTest {
    /// Its end, with a failure in the segment that was tried last, or without one.
    fn end(&self, failure: Option<(Outcome, IoError)>) -> Outcome {
        const FAILED: Sense = Sense::new(SenseKey::HARDWARE_ERROR, Asc::FAILED_SELF_TEST);
        let told = match failure {
            Some(_) if self.code != BACKGROUND_SHORT => Outcome::check(FAILED),
            _ => Outcome::GOOD,
        };
        let result = match failure {
            None => self.result(NO_ERROR, 0, Sense::NONE),
            Some((_, IoError::Busy | IoError::Cancelled)) => self.result(NOT_COMPLETED, 0, Sense::NONE),
            Some((outcome, _)) => {
                let segment = self.next.min(self.segments.len()) as u8;
                self.result(FIRST_SEGMENT_FAILED + segment - 1, segment, outcome.sense.unwrap_or(Sense::NONE))
            }
        };
        // The default self-test has no place in the log.
        let effect = (self.code != NO_CODE).then_some(Effect::SelfTest(result));
        Outcome { effect, ..told }
    }

    fn result(&self, result: u8, segment: u8, sense: Sense) -> SelfTestResult {
        let address = match sense.key {
            SenseKey::MEDIUM_ERROR => self.segments[usize::from(segment) - 1],
            _ => NO_ADDRESS,
        };
        let [asc, ascq] = sense.asc.0.to_be_bytes();
        SelfTestResult {
            code_and_result: self.code << 5 | result,
            segment,
            address: address.to_be_bytes(),
            sense: [sense.key.0, asc, ascq],
        }
    }
}

impl LongTask for SelfTest {
    fn memory_len(&self) -> usize {
        self.block_size as usize
    }

    fn next(&mut self, _desk: &mut Desk<'_>) -> LongStep {
        let Some(lba) = self.segments.get(self.next) else { return LongStep::Done(self.end(None)) };
        self.next += 1;
        let op = BlockOp { kind: OpKind::Read, offset: lba * self.block_size, len: self.block_size };
        LongStep::Block(op, OpMemory::Own { at: 0, len: self.block_size as usize })
    }

    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        LongStep::Done(self.end(Some((Outcome::of_io_error(op.kind, error), error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::long::testing::Rig;

    fn cdb(byte_1: u8) -> [u8; 6] {
        [0x1d, byte_1, 0, 0, 0, 0]
    }

    /// The log parameter that a test leaves which ends after 0x0102 hours.
    fn logged(outcome: Outcome) -> [u8; 16] {
        let Some(Effect::SelfTest(result)) = outcome.effect else { panic!("{outcome:?} leaves no result") };
        result.encode(0x0102)
    }

    const READS: [(OpKind, u64, u64); 3] = [(OpKind::Read, 0, 1), (OpKind::Read, 499, 1), (OpKind::Read, 999, 1)];

    #[test]
    fn a_test_reads_three_blocks_and_leaves_its_result() {
        for (byte_1, code) in [(0x20, 0x20), (0xa0, 0xa0)] {
            let mut rig = Rig::plain();
            let outcome = rig.run(&cdb(byte_1), &[]).outcome;
            assert_eq!((outcome.status.0, rig.done()), (0, READS.to_vec()));
            let nowhere = [0xff; 8];
            assert_eq!(logged(outcome), *[&[code, 0, 1, 2][..], &nowhere, &[0; 4]].concat());
        }
    }

    #[test]
    fn the_default_test_is_not_in_the_log() {
        let mut rig = Rig::plain();
        rig.good(&cdb(0x04), &[]);
        assert_eq!(rig.done(), READS);
        rig.good(&cdb(0x00), &[]);
        assert_eq!(rig.ops.len(), 3, "none is asked for");
    }

    /// The default test, the background and the foreground one.
    const TESTS: [u8; 3] = [0x04, 0x20, 0xa0];
    const FAILED: Sense = Sense::new(SenseKey(4), Asc(0x3e03));

    #[test]
    fn a_failure_is_told_in_the_foreground_and_logged_with_its_segment() {
        type Fails = fn(&BlockOp) -> Option<IoError>;
        let cases: [(Fails, [u8; 2], u16, [u8; 3]); 4] = [
            (|_| Some(IoError::Medium), [0x5, 1], 0, [3, 0x11, 0]),
            (|op| (op.offset == 499 * 512).then_some(IoError::Medium), [0x6, 2], 499, [3, 0x11, 0]),
            (|op| (op.offset == 999 * 512).then_some(IoError::Medium), [0x7, 3], 999, [3, 0x11, 0]),
            (|op| (op.offset == 499 * 512).then_some(IoError::Gone), [0x6, 2], 0xffff, [4, 0x3e, 1]),
        ];
        for (fails, [result, segment], lba, sense) in cases {
            let outcomes = TESTS.map(|byte_1| Rig { fails, ..Rig::plain() }.run(&cdb(byte_1), &[]).outcome);
            assert_eq!(outcomes[0], Outcome::check(FAILED), "without a result");
            assert_eq!((outcomes[1].status.0, outcomes[1].sense, outcomes[2].sense), (0, None, Some(FAILED)));
            let high = if lba == 0xffff { [0xff; 6] } else { [0; 6] };
            let rest = [&[segment, 1, 2][..], &high, &lba.to_be_bytes(), &sense, &[0]].concat();
            assert_eq!(logged(outcomes[1]), *[&[0x20 | result][..], &rest].concat());
            assert_eq!(logged(outcomes[2]), *[&[0xa0 | result][..], &rest].concat());
        }
    }

    #[test]
    fn a_test_that_could_not_be_done_says_no_more() {
        for error in [IoError::Busy, IoError::Cancelled] {
            let fails = if error == IoError::Busy {
                |_: &BlockOp| Some(IoError::Busy)
            } else {
                |_: &BlockOp| Some(IoError::Cancelled)
            };
            let outcome = Rig { fails, ..Rig::plain() }.run(&cdb(0xa0), &[]).outcome;
            assert_eq!((outcome.sense, &logged(outcome)[..4]), (Some(FAILED), &[0xa3, 0, 1, 2][..]), "{error}");
        }
    }

    #[test]
    fn tests_that_are_not_there_are_refused() {
        let mut rig = Rig::plain();
        for byte_1 in [0x40, 0x60, 0x80, 0xc0, 0xe0, 0x24, 0xa4] {
            assert_eq!(rig.refused(&cdb(byte_1), &[]), Sense::invalid_field(1, Some(7)), "{byte_1:02x}");
        }
        assert_eq!(rig.ops, []);
    }
}
