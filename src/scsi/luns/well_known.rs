//! The well-known logical unit REPORT LUNS (SPC-5, REPORT LUNS well-known logical unit): it is there whatever disks are, and
//! tells which.

use super::super::command::Command;
use super::super::identity::Port;
use super::super::inquiry;
use super::super::outcome::{Condition, Outcome};
use super::super::reply::Reply;
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::super::vpd;
use super::report;

/// Answers at the well-known logical unit number C1 01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellKnownUnit {
    /// The target port through which it is reached.
    pub port: Port,
}

impl WellKnownUnit {
    /// How every command ends that this unit does not have.
    pub const NOT_SUPPORTED: Outcome = Outcome::check(Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE));

    /// Answers a command.
    pub fn answer(&self, command: &Command, condition: &Condition<'_>, reply: &mut Reply) -> Outcome {
        reply.begin(0);
        match *command {
            Command::TestUnitReady => {}
            Command::Inquiry { evpd, page, allocation_length } => {
                reply.begin(allocation_length.into());
                match (evpd, page) {
                    (false, 0) => reply.put(&inquiry::without_disk(inquiry::WELL_KNOWN)),
                    (true, _) => {
                        return vpd::well_known_page(&self.port, page, reply)
                            .map_or_else(Outcome::check, |()| Outcome::GOOD);
                    }
                    _ => return Outcome::check(inquiry::UNKNOWN_PAGE),
                }
            }
            Command::RequestSense { desc, allocation_length } => {
                reply.begin(allocation_length.into());
                reply.put_sense(&Sense::NONE, desc);
            }
            Command::ReportLuns { select_report, allocation_length } => {
                reply.begin(allocation_length);
                return report(select_report, condition.luns, reply).map_or_else(Outcome::check, |()| Outcome::GOOD);
            }
            _ => return Self::NOT_SUPPORTED,
        }
        Outcome::GOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::{BlockOp, Naa, Step, Unit};

    const UNIT: WellKnownUnit =
        WellKnownUnit { port: Port { relative: 0x0102, group: Some(3), naa: Naa::local(0x55) } };
    const LUNS: [[u8; 8]; 2] = [[1, 0, 0, 0, 0, 0, 0, 0], [1, 9, 0x41, 0x2c, 0, 0, 0, 0]];

    fn answer(cdb: &[u8]) -> (Outcome, Vec<u8>) {
        let unit = Unit::WellKnown(UNIT);
        let condition = Condition { luns: &LUNS, ..Condition::default() };
        let mut reply = Reply::new();
        let command = match unit.decode(cdb) {
            Ok(command) => command,
            Err(outcome) => return (outcome, vec![]),
        };
        match unit.start(&command, &condition, &mut reply) {
            Step::Done(outcome) => (outcome, reply.as_bytes().to_vec()),
            step => panic!("no device is behind this unit: {step:?}"),
        }
    }

    #[test]
    fn is_a_well_known_logical_unit() {
        let (outcome, data) = answer(&[0x12, 0, 0, 0, 255, 0]);
        assert_eq!((outcome, data[0], data.len()), (Outcome::GOOD, 0x1e, 36));
        assert_eq!(answer(&[0x12, 1, 0, 0, 255, 0]), (Outcome::GOOD, vec![0x1e, 0, 0, 2, 0, 0x83]));
        let refused = Outcome::check(Sense::invalid_field(2, None));
        assert_eq!(answer(&[0x12, 1, 0x80, 0, 255, 0]), (refused, vec![]));
    }

    /// SPC-5: of such a unit none is a name of the logical unit.
    #[test]
    fn has_the_names_of_its_port_and_its_target() {
        let mut expected = vec![0x1e, 0x83, 0, 56, 1, 0x13, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 0x55];
        expected.extend([1, 0x14, 0, 4, 0, 0, 0x01, 0x02, 1, 0x15, 0, 4, 0, 0, 0, 3]);
        expected.extend(b"\x03\x28\0\x18naa.3e72691c25c2f3c7\0\0\0\0");
        assert_eq!(answer(&[0x12, 1, 0x83, 0, 255, 0]), (Outcome::GOOD, expected));
        assert_eq!(answer(&[0x12, 1, 0x83, 0, 8, 0]).1.len(), 8);
    }

    #[test]
    fn is_always_ready() {
        assert_eq!(answer(&[0; 6]), (Outcome::GOOD, vec![]));
        assert_eq!(answer(&[0x03, 1, 0, 0, 252, 0]), (Outcome::GOOD, vec![0x72, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn reports_luns() {
        let list = [&[0, 0, 0, 16, 0, 0, 0, 0][..], LUNS.as_flattened()].concat();
        assert_eq!(answer(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0]), (Outcome::GOOD, list));
        let refused = Outcome::check(Sense::invalid_field(2, None));
        assert_eq!(answer(&[0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 64, 0, 0]), (refused, vec![]));
    }

    #[test]
    fn has_no_other_commands() {
        let cdbs: [&[u8]; 4] = [&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0x1b, 0, 0, 0, 1, 0], &[0xff; 16], &[0x25; 10]];
        for cdb in cdbs {
            let (outcome, data) = answer(cdb);
            assert!(data.is_empty());
            assert_eq!(outcome.sense.map(|sense| sense.key.0), Some(5), "{cdb:02x?}");
        }
        let finished = Unit::WellKnown(UNIT).resume(&Command::TestUnitReady, &BlockOp::FLUSH, Ok(()));
        assert_eq!(finished, Step::Done(WellKnownUnit::NOT_SUPPORTED));
    }
}
