//! What keeps commands from the medium of a disk: for everybody, that it is being formatted or sanitized, or that has failed
//! (SBC-4, FORMAT UNIT command and sanitize operations); for one nexus, that it has ejected a medium which can be removed.

use super::command::Command;
use super::long::LongCommand;
use super::outcome::Outcome;
use super::sense::Sense;
use super::spec::{Asc, SenseKey};

/// Work on the whole medium that goes on behind the command that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// FORMAT UNIT.
    Format,
    /// SANITIZE.
    Sanitize {
        /// AUSE: once it has failed, EXIT FAILURE MODE is allowed.
        may_exit: bool,
    },
}

/// Why the medium cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// The work is going on; so many parts of 65,536 are done.
    During(Work, u16),
    /// The work has failed.
    After(Work),
    /// There is none.
    NoMedium,
}

impl Work {
    /// How the command ends that began it, if it fails.
    pub const fn failure(self) -> Outcome {
        let asc = match self {
            Self::Format => Asc::FORMAT_COMMAND_FAILED,
            Self::Sanitize { .. } => Asc::SANITIZE_COMMAND_FAILED,
        };
        Outcome::check(Sense::new(SenseKey::MEDIUM_ERROR, asc))
    }
}

impl Hindrance {
    /// How it looks to an initiator.
    pub const fn sense(self) -> Sense {
        match self {
            Self::During(Work::Format, done) => {
                Sense::new(SenseKey::NOT_READY, Asc::FORMAT_IN_PROGRESS).with_progress(done)
            }
            Self::During(Work::Sanitize { .. }, done) => {
                Sense::new(SenseKey::NOT_READY, Asc::SANITIZE_IN_PROGRESS).with_progress(done)
            }
            Self::After(Work::Format) => Sense::new(SenseKey::MEDIUM_ERROR, Asc::MEDIUM_FORMAT_CORRUPTED),
            Self::After(Work::Sanitize { .. }) => Sense::new(SenseKey::MEDIUM_ERROR, Asc::SANITIZE_COMMAND_FAILED),
            Self::NoMedium => Sense::new(SenseKey::NOT_READY, Asc::MEDIUM_NOT_PRESENT),
        }
    }

    /// Whether a command is processed nevertheless. After a failure also what begins the work anew, and what initiators ask
    /// before they do.
    pub const fn allows(self, command: &Command) -> bool {
        match command {
            Command::Inquiry { .. } | Command::ReportLuns { .. } | Command::RequestSense { .. } | Command::Query(_) => {
                true
            }
            Command::ModeSense(_) => matches!(self, Self::After(_) | Self::NoMedium),
            Command::ReadCapacity10 | Command::ReadCapacity16 { .. } => matches!(self, Self::After(_)),
            Command::StartStopUnit { load_eject, .. } => matches!(self, Self::NoMedium) && *load_eject,
            Command::PreventAllowMediumRemoval { .. }
            | Command::Long(LongCommand::Sharing(_) | LongCommand::Setting(_)) => {
                matches!(self, Self::NoMedium)
            }
            Command::Long(LongCommand::FormatUnit(_)) => matches!(self, Self::After(Work::Format)),
            Command::Long(LongCommand::Sanitize(_)) => matches!(self, Self::After(_)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::command;
    use super::*;

    const SANITIZE: Work = Work::Sanitize { may_exit: false };

    #[test]
    fn senses() {
        let code = |hindrance: Hindrance| {
            let bytes = hindrance.sense().encode_fixed();
            (bytes[2], bytes[12], bytes[13], [bytes[15], bytes[16], bytes[17]])
        };
        assert_eq!(code(Hindrance::During(Work::Format, 0x1234)), (2, 0x04, 0x04, [0x80, 0x12, 0x34]));
        assert_eq!(code(Hindrance::During(SANITIZE, 0)), (2, 0x04, 0x1b, [0x80, 0, 0]));
        assert_eq!(code(Hindrance::After(Work::Format)), (3, 0x31, 0x00, [0; 3]));
        assert_eq!(code(Hindrance::After(SANITIZE)), (3, 0x31, 0x03, [0; 3]));
        assert_eq!(code(Hindrance::NoMedium), (2, 0x3a, 0x00, [0; 3]));
        let failed = |work: Work| work.failure().sense.unwrap().asc.0;
        assert_eq!((failed(Work::Format), failed(SANITIZE)), (0x3101, 0x3103));
    }

    #[test]
    fn without_a_medium_it_can_be_loaded_and_talked_about() {
        let allowed: [&[u8]; 6] = [
            &[0x12, 0, 0, 0, 36, 0],
            &[0x03, 0, 0, 0, 18, 0],
            &[0x1b, 0, 0, 0, 3, 0],
            &[0x1b, 0, 0, 0, 2, 0],
            &[0x1e, 0, 0, 0, 1, 0],
            &[0x1a, 0, 0x3f, 0, 255, 0],
        ];
        assert!(allowed.iter().all(|cdb| Hindrance::NoMedium.allows(&command(cdb))));
        let refused: [&[u8]; 5] =
            [&[0; 6], &[0x1b, 0, 0, 0, 1, 0], &[0x1b, 0, 0, 0, 0, 0], &[0x25; 1], &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]];
        assert!(!refused.iter().any(|cdb| Hindrance::NoMedium.allows(&command(&padded(cdb)))));
    }

    /// With the CDB's missing bytes.
    fn padded(cdb: &[u8]) -> Vec<u8> {
        [cdb, &[0; 16][cdb.len()..]].concat()
    }

    #[test]
    fn few_commands_are_processed_meanwhile_and_some_more_afterwards() {
        let during = [Hindrance::During(Work::Format, 0), Hindrance::During(SANITIZE, 0)];
        let after = [Hindrance::After(Work::Format), Hindrance::After(SANITIZE)];
        let always: [&[u8]; 3] =
            [&[0x12, 0, 0, 0, 36, 0], &[0x03, 0, 0, 0, 18, 0], &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]];
        for cdb in always {
            assert!(during.iter().chain(&after).all(|hindrance| hindrance.allows(&command(cdb))));
        }
        let never: [&[u8]; 3] = [&[0; 6], &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
        for cdb in never {
            assert!(!during.iter().chain(&after).any(|hindrance| hindrance.allows(&command(cdb))));
        }
        let (format, sanitize) = (command(&[4, 0, 0, 0, 0, 0]), command(&[0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(during.map(|hindrance| hindrance.allows(&format) || hindrance.allows(&sanitize)), [false; 2]);
        assert_eq!(
            after.map(|hindrance| (hindrance.allows(&format), hindrance.allows(&sanitize))),
            [(true, true), (false, true)]
        );
    }
}
