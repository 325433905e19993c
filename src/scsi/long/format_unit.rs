//! FORMAT UNIT (SBC-4), of a disk that has no defects: all its blocks become zeroes.

use super::super::hindrance::Work;
use super::super::outcome::Outcome;
use super::super::sense::Sense;
use super::erase::Erase;
use super::{Background, DataDirection, Desk, LogicalUnit, LongStep, LongTask};

/// The CDB of a FORMAT UNIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatUnit {
    /// FMTDATA: there is a parameter list.
    pub has_list: bool,
    /// LONGLIST: its header has 8 bytes, otherwise 4.
    pub long_list: bool,
    /// DEFECT LIST FORMAT.
    pub list_format: u8,
}

/// DEFECT LIST FORMAT.
const BAD_LIST_FORMAT: Sense = Sense::invalid_field(1, Some(2));

/// Bits of byte 1 of the header.
const FOV: u8 = 0x80;
const IP: u8 = 0x08;
const IMMED: u8 = 0x02;

/// A FORMAT UNIT whose parameters are being read.
#[derive(Debug)]
struct Format {
    cdb: FormatUnit,
    erase: Option<Erase>,
}

impl FormatUnit {
    pub(super) const fn direction(self) -> DataDirection {
        if self.has_list { DataDirection::Out } else { DataDirection::None }
    }

    const fn header_len(self) -> usize {
        match (self.has_list, self.long_list) {
            (false, _) => 0,
            (true, false) => 4,
            (true, true) => 8,
        }
    }
}

/// Begins a FORMAT UNIT.
pub(super) fn begin(unit: &LogicalUnit, cdb: FormatUnit) -> Result<Box<dyn LongTask>, Outcome> {
    unit.check_writable()?;
    // Short blocks, long blocks, bytes from index, physical sectors: a list of no defects is the same in all of them.
    if cdb.has_list && !matches!(cdb.list_format, 0 | 3..=5) {
        return Err(BAD_LIST_FORMAT.into());
    }
    Ok(Box::new(Format { cdb, erase: Some(Erase::zeroes(unit)) }))
}

/// Checks the header of the parameter list; whether it asks for the status at once.
fn is_immediate(header: &[u8]) -> Result<bool, Sense> {
    let Some(&[usage, flags]) = header.first_chunk() else { return Ok(false) };
    if usage != 0 {
        // PROTECTION FIELD USAGE is the only field there.
        return Err(Sense::invalid_parameter(0, Some(if usage > 7 { 7 - usage.leading_zeros() as u8 } else { 2 })));
    }
    // Without FOV none of DPRY, DCRT, STPF and IP may be set. There is no initialization pattern.
    let refused = if flags & FOV == 0 { 0x7d } else { IP | 0x05 };
    let wrong = flags & refused;
    if wrong != 0 {
        return Err(Sense::invalid_parameter(1, Some(7 - wrong.leading_zeros() as u8)));
    }
    let list_length = header.len() / 2;
    if let Some(at) = header[2..list_length].iter().position(|&byte| byte != 0) {
        // P_I_INFORMATION and PROTECTION INTERVAL EXPONENT.
        return Err(Sense::invalid_parameter(2 + at as u16, None));
    }
    if header[list_length..].iter().any(|&byte| byte != 0) {
        return Err(Sense::invalid_parameter(list_length as u16, None));
    }
    Ok(flags & IMMED != 0)
}

impl LongTask for Format {
    fn data_out_len(&self) -> u64 {
        self.cdb.header_len() as u64
    }

    fn memory_len(&self) -> usize {
        self.cdb.header_len()
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if self.cdb.has_list {
            desk.data.take(0, desk.memory);
        }
        match is_immediate(desk.memory) {
            Ok(immed) => LongStep::Background(Background { work: Work::Format, wait: !immed }),
            Err(sense) => sense.into(),
        }
    }

    fn background(&mut self) -> Box<dyn LongTask> {
        Box::new(self.erase.take().expect("asked once"))
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Discard, Info, IoError, OpKind};

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey};
    use crate::scsi::testing::info;

    const PLAIN: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
    const SHORT: [u8; 6] = [0x04, 0x10, 0, 0, 0, 0];
    const LONG: [u8; 6] = [0x04, 0x30, 0, 0, 0, 0];
    const ZEROES: OpKind = OpKind::WriteZeroes { unmap: true, fua: false };
    const WRITE: OpKind = OpKind::Write { fua: false };

    /// A device that makes zeroes, 600 blocks at a time.
    fn thin() -> Info {
        let discard = Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true });
        Info { discard, write_zeroes_max: 600 * 512 + 511, ..info() }
    }

    #[test]
    fn every_shape_makes_all_blocks_zero() {
        let lists: [(&[u8], &[u8], bool); 8] = [
            (&PLAIN, &[], true),
            (&SHORT, &[0; 4], true),
            (&SHORT, &[0, 0x02, 0, 0], false),
            (&SHORT, &[0, 0xf2, 0, 0], false),
            (&LONG, &[0; 8], true),
            (&LONG, &[0, 2, 0, 0, 0, 0, 0, 0], false),
            (&[0x04, 0x18, 0, 0, 0, 0], &[0; 4], true),
            (&[0x04, 0x15, 0, 0, 0, 0], &[0; 4], true),
        ];
        for (cdb, list, waits) in lists {
            let mut rig = Rig::new(&thin());
            rig.good(cdb, list);
            assert_eq!(rig.done(), [(ZEROES, 0, 600), (ZEROES, 600, 400), (OpKind::Flush, 0, 0)]);
            assert!(rig.bytes.iter().all(|&byte| byte == 0));
            assert_eq!(rig.works, [(Work::Format, waits)], "{list:02x?}");
        }
    }

    #[test]
    fn a_device_that_makes_no_zeroes_is_given_them() {
        let written = |rig: &Rig| {
            assert!(rig.bytes.iter().all(|&byte| byte == 0));
            rig.done()
        };
        let mut rig = Rig::plain();
        rig.good(&PLAIN, &[]);
        let done = written(&rig);
        assert_eq!(
            (done.len(), done[0], done[7], done[8]),
            (9, (WRITE, 0, 128), (WRITE, 896, 104), (OpKind::Flush, 0, 0))
        );
        let mut rig = Rig::new(&thin());
        rig.fails = |op| (op.offset > 0 && op.kind == ZEROES).then_some(IoError::Unsupported);
        rig.good(&PLAIN, &[]);
        assert_eq!(written(&rig)[..3], [(ZEROES, 0, 600), (ZEROES, 600, 400), (WRITE, 600, 128)]);
    }

    #[test]
    fn a_failure_is_that_of_the_command() {
        let mut rig = Rig::plain();
        rig.fails = |op| (op.offset > 0).then_some(IoError::Medium);
        assert_eq!(rig.refused(&PLAIN, &[]), Sense::new(SenseKey(3), Asc(0x3101)));
        rig.fails = |op| (op.kind == OpKind::Flush).then_some(IoError::Medium);
        assert_eq!(rig.refused(&PLAIN, &[]), Sense::new(SenseKey(3), Asc(0x3101)));
    }

    #[test]
    fn refusals_point_to_the_field() {
        let mut rig = Rig::plain();
        for (cdb, sense) in [
            ([0x04, 0x40, 0, 0, 0, 0], Sense::invalid_field(1, Some(7))),
            ([0x04, 0x90, 0, 0, 0, 0], Sense::invalid_field(1, Some(7))),
            ([0x04, 0, 0, 0, 1, 0], Sense::invalid_field(4, Some(1))),
            ([0x04, 0x11, 0, 0, 0, 0], Sense::invalid_field(1, Some(2))),
        ] {
            assert_eq!(rig.refused(&cdb, &[0; 4]), sense, "{cdb:02x?}");
        }
        let mut parameter = |cdb: &[u8], list: &[u8], byte, bit| {
            assert_eq!(rig.refused(cdb, list), Sense::invalid_parameter(byte, bit), "{list:02x?}");
        };
        parameter(&SHORT, &[1, 0, 0, 0], 0, Some(2));
        parameter(&SHORT, &[0x80, 0, 0, 0], 0, Some(7));
        parameter(&SHORT, &[0, 0x88, 0, 0], 1, Some(3));
        parameter(&SHORT, &[0, 0x20, 0, 0], 1, Some(5));
        parameter(&SHORT, &[0, 0x84, 0, 0], 1, Some(2));
        parameter(&SHORT, &[0, 0, 0, 4], 2, None);
        parameter(&LONG, &[2, 0, 0, 0, 0, 0, 0, 0], 0, Some(2));
        parameter(&LONG, &[0, 8, 0, 0, 0, 0, 0, 0], 1, Some(3));
        parameter(&LONG, &[0, 0, 0, 0x10, 0, 0, 0, 0], 3, None);
        parameter(&LONG, &[0, 0, 0, 0, 0, 0, 0, 8], 4, None);
        assert_eq!((rig.ops.len(), rig.works.len()), (0, 0));
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&PLAIN, &[]), Sense::new(SenseKey(7), Asc(0x2700)));
    }
}
