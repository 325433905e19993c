//! SANITIZE (SBC-4): OVERWRITE, BLOCK ERASE and EXIT FAILURE MODE.

use super::super::hindrance::{Hindrance, Work};
use super::super::outcome::{Condition, Effect, Outcome};
use super::super::sense::Sense;
use super::erase::Erase;
use super::{Background, DataDirection, Desk, LogicalUnit, LongStep, LongTask};

/// The CDB of a SANITIZE. ZNR says nothing to a disk without zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sanitize {
    /// What is to be done.
    pub action: SanitizeAction,
    /// The status comes before that is done.
    pub immed: bool,
    /// AUSE: should it fail, EXIT FAILURE MODE is allowed.
    pub may_exit: bool,
}

/// Service actions of SANITIZE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanitizeAction {
    /// OVERWRITE.
    Overwrite {
        /// Bytes of parameter list.
        parameter_list_length: u16,
    },
    /// BLOCK ERASE.
    BlockErase,
    /// EXIT FAILURE MODE.
    ExitFailureMode,
}

/// SERVICE ACTION.
const NOT_ALLOWED: Sense = Sense::invalid_field(1, Some(4));
/// PARAMETER LIST LENGTH.
const BAD_LENGTH: Sense = Sense::invalid_field(7, None);
/// Bytes before the pattern.
const HEADER_LEN: usize = 4;

/// A SANITIZE whose parameters are being read.
#[derive(Debug)]
struct Begin {
    cdb: Sanitize,
    erase: Erase,
    list_len: usize,
    block_size: u32,
}

impl Sanitize {
    pub(super) const fn direction(self) -> DataDirection {
        match self.action {
            SanitizeAction::Overwrite { parameter_list_length: 1.. } => DataDirection::Out,
            _ => DataDirection::None,
        }
    }
}

/// Begins a SANITIZE.
pub(super) fn begin(
    unit: &LogicalUnit,
    cdb: Sanitize,
    condition: &Condition<'_>,
) -> Result<Box<dyn LongTask>, Outcome> {
    let list_len = match cdb.action {
        SanitizeAction::ExitFailureMode => return Err(exit(condition)),
        SanitizeAction::BlockErase => 0,
        SanitizeAction::Overwrite { parameter_list_length } => {
            let len = usize::from(parameter_list_length);
            if len <= HEADER_LEN || len - HEADER_LEN > unit.block_size as usize {
                return Err(BAD_LENGTH.into());
            }
            len
        }
    };
    unit.check_writable()?;
    Ok(Box::new(Begin { cdb, erase: Erase::zeroes(unit), list_len, block_size: unit.block_size }))
}

/// EXIT FAILURE MODE: without a failure there is nothing to leave.
fn exit(condition: &Condition<'_>) -> Outcome {
    match condition.hindrance {
        Some(Hindrance::After(Work::Sanitize { may_exit: false })) => NOT_ALLOWED.into(),
        Some(Hindrance::After(Work::Sanitize { may_exit: true })) => Outcome::good_with(Effect::ExitFailureMode),
        _ => Outcome::GOOD,
    }
}

impl Begin {
    /// Takes the parameters of an OVERWRITE.
    fn read(&mut self, list: &[u8]) -> Result<(), Sense> {
        let (&[flags, reserved, high, low], pattern) =
            list.split_first_chunk().expect("as many bytes as were asked for");
        let (count, pattern_len) = (flags & 0x1f, usize::from(u16::from_be_bytes([high, low])));
        if flags & 0x60 != 0 {
            // TEST.
            return Err(Sense::invalid_parameter(0, Some(6)));
        }
        if count == 0 {
            return Err(Sense::invalid_parameter(0, Some(4)));
        }
        if reserved != 0 {
            return Err(Sense::invalid_parameter(1, None));
        }
        if pattern_len == 0 || pattern_len > self.block_size as usize {
            return Err(Sense::invalid_parameter(2, None));
        }
        if pattern_len != pattern.len() {
            return Err(BAD_LENGTH);
        }
        self.erase.overwrite(pattern, count, flags & 0x80 != 0);
        Ok(())
    }
}

impl LongTask for Begin {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        self.list_len
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if self.list_len > 0 {
            desk.data.take(0, desk.memory);
            if let Err(sense) = self.read(desk.memory) {
                return sense.into();
            }
        }
        let work = Work::Sanitize { may_exit: self.cdb.may_exit };
        LongStep::Background(Background { work, wait: !self.cdb.immed })
    }

    fn background(&mut self) -> Box<dyn LongTask> {
        Box::new(self.erase.clone())
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Discard, Info, IoError, OpKind};

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey, Status};
    use crate::scsi::testing::{command, info};

    const WRITE: OpKind = OpKind::Write { fua: false };

    fn cdb(byte_1: u8, list_length: u8) -> [u8; 10] {
        [0x48, byte_1, 0, 0, 0, 0, 0, 0, list_length, 0]
    }

    /// The first bytes of blocks that each write of a pass has left: the last pass.
    fn overwritten(rig: &Rig, pattern: &[u8]) {
        let block: Vec<u8> = pattern.iter().copied().cycle().take(512).collect();
        assert!(rig.bytes.chunks(512).all(|its| its == block));
    }

    #[test]
    fn overwrites_so_many_times() {
        for (flags, passes, left) in
            [(0x01, 1, [1, 2, 3]), (0x03, 3, [1, 2, 3]), (0x82, 2, [0xfe, 0xfd, 0xfc]), (0x83, 3, [1, 2, 3])]
        {
            let mut rig = Rig::plain();
            rig.good(&cdb(0x01, 7), &[flags, 0, 0, 3, 1, 2, 3]);
            let done = rig.done();
            assert_eq!((done.len(), done[8 * passes]), (8 * passes + 1, (OpKind::Flush, 0, 0)));
            for pass in done[..8 * passes].chunks(8) {
                assert_eq!((pass[0], pass[1], pass[7]), ((WRITE, 0, 128), (WRITE, 128, 128), (WRITE, 896, 104)));
            }
            overwritten(&rig, &left);
            assert_eq!(rig.works, [(Work::Sanitize { may_exit: false }, true)]);
        }
    }

    #[test]
    fn erases_blocks() {
        let discard = Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true });
        let mut rig = Rig::new(&Info { discard, write_zeroes_max: 1 << 40, ..info() });
        rig.good(&cdb(0xe2, 0), &[]);
        assert_eq!(rig.done(), [(OpKind::WriteZeroes { unmap: true, fua: false }, 0, 1000), (OpKind::Flush, 0, 0)]);
        assert_eq!(rig.works, [(Work::Sanitize { may_exit: true }, false)], "AUSE and IMMED");
        overwritten(&rig, &[0]);
    }

    #[test]
    fn a_failure_is_that_of_the_command() {
        let mut rig = Rig::plain();
        rig.fails = |_| Some(IoError::Medium);
        assert_eq!(rig.refused(&cdb(0x02, 0), &[]), Sense::new(SenseKey(3), Asc(0x3103)));
    }

    #[test]
    fn the_failure_mode_is_left_by_whom_was_allowed_to() {
        let unit = Rig::plain().unit;
        let exit = |hindrance| {
            let condition = Condition { hindrance, ..Condition::default() };
            unit.begin(&command(&cdb(0x1f, 0)), &condition).expect_err("it ends at once")
        };
        let failed = |may_exit| Some(Hindrance::After(Work::Sanitize { may_exit }));
        assert_eq!(exit(None), Outcome::GOOD);
        assert_eq!(exit(failed(true)), Outcome { effect: Some(Effect::ExitFailureMode), ..Outcome::GOOD });
        assert_eq!(exit(failed(false)), Outcome::check(Sense::invalid_field(1, Some(4))));
        assert_eq!(exit(Some(Hindrance::After(Work::Format))).status, Status::GOOD);
    }

    #[test]
    fn refusals_point_to_the_field() {
        let mut rig = Rig::plain();
        // CRYPTOGRAPHIC ERASE; a list of BLOCK ERASE; no list, none with a pattern, too long a pattern of OVERWRITE.
        let long = [0x48, 1, 0, 0, 0, 0, 0, 2, 5, 0];
        for (cdb, sense) in [
            (cdb(0x03, 0), Sense::invalid_field(1, Some(4))),
            (cdb(0x02, 1), Sense::invalid_field(8, Some(0))),
            (cdb(0x01, 0), Sense::invalid_field(7, None)),
            (cdb(0x01, 4), Sense::invalid_field(7, None)),
            (long, Sense::invalid_field(7, None)),
        ] {
            assert_eq!(rig.refused(&cdb, &[0; 600]), sense, "{cdb:02x?}");
        }
        for (list, sense) in [
            ([0x00, 0, 0, 1, 7], Sense::invalid_parameter(0, Some(4))),
            ([0x21, 0, 0, 1, 7], Sense::invalid_parameter(0, Some(6))),
            ([0x01, 1, 0, 1, 7], Sense::invalid_parameter(1, None)),
            ([0x01, 0, 0, 0, 7], Sense::invalid_parameter(2, None)),
            ([0x01, 0, 2, 1, 7], Sense::invalid_parameter(2, None)),
            ([0x01, 0, 0, 2, 7], Sense::invalid_field(7, None)),
        ] {
            assert_eq!(rig.refused(&cdb(0x01, 5), &list), sense, "{list:02x?}");
        }
        assert_eq!((rig.ops.len(), rig.works.len()), (0, 0));
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&cdb(0x02, 0), &[]), Sense::new(SenseKey(7), Asc(0x2700)));
    }
}
