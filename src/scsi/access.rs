//! Which commands a reservation of another nexus, or the access state of the port, stands in the way of (SPC-5 and SBC-4,
//! commands that are allowed in the presence of various reservations; SPC-5, target port asymmetric access states).

use super::command::{Command, RangeCommand};
use super::long::LongCommand;
use super::port_groups::AccessState;
use super::query::Query;
use super::reservations::Access;
use super::sense::Sense;
use super::sharing::Sharing;

impl Command {
    /// What the command does, as far as reservations care.
    pub const fn access(&self) -> Access {
        match self {
            Self::Inquiry { .. }
            | Self::ReportLuns { .. }
            | Self::RequestSense { .. }
            | Self::ReadCapacity10
            | Self::ReadCapacity16 { .. }
            | Self::PreventAllowMediumRemoval { prevent: false }
            | Self::StartStopUnit { start: true, .. } => Access::Always,
            Self::TestUnitReady => Access::Persistent,
            Self::Query(query) => query.access(),
            Self::Read { .. }
            | Self::PreFetch { .. }
            | Self::GetLbaStatus { .. }
            | Self::ReadDefectData(_)
            | Self::ReadBuffer(_)
            | Self::ReceiveDiagnosticResults { .. }
            | Self::ModeSense(_)
            | Self::Long(LongCommand::PopulateToken { .. })
            | Self::OnRange { what: RangeCommand::Verify(_), .. } => Access::Read,
            Self::Write { .. }
            | Self::SynchronizeCache { .. }
            | Self::OnRange { .. }
            | Self::PreventAllowMediumRemoval { prevent: true }
            | Self::StartStopUnit { start: false, .. } => Access::Write,
            Self::Long(LongCommand::Sharing(Sharing::PersistentOut { .. })) => Access::Persistent,
            Self::Long(LongCommand::Sharing(Sharing::Reserve | Sharing::Release)) => Access::Unit,
            Self::Long(_) => Access::Write,
        }
    }

    /// Whether the command is done through a port in this state. It matters for standby and unavailable alone.
    pub const fn is_done_in(&self, state: AccessState) -> bool {
        match state {
            AccessState::ActiveOptimized | AccessState::ActiveNonOptimized => true,
            AccessState::Standby => self.needs_no_port() || self.needs_no_medium(),
            AccessState::Unavailable => self.needs_no_port(),
        }
    }

    /// What works through every port: else nobody could see what state it is in, and change that.
    const fn needs_no_port(&self) -> bool {
        matches!(
            self,
            Self::Inquiry { .. }
                | Self::ReportLuns { .. }
                | Self::RequestSense { .. }
                | Self::ReadBuffer(_)
                | Self::Query(Query::PortGroups { .. })
                | Self::Long(LongCommand::Sharing(Sharing::SetPortGroups { .. }) | LongCommand::WriteBuffer(_))
        )
    }

    const fn needs_no_medium(&self) -> bool {
        matches!(
            self,
            Self::ModeSense(_)
                | Self::Query(_)
                | Self::ReceiveDiagnosticResults { .. }
                | Self::Long(
                    LongCommand::Setting(_)
                        | LongCommand::SelfTest { .. }
                        | LongCommand::Sharing(Sharing::PersistentOut { .. })
                )
        )
    }

    /// Why the command is not done through a port in this state; none if it is.
    pub const fn refused_in(&self, state: AccessState) -> Option<Sense> {
        if self.is_done_in(state) { None } else { state.refusal() }
    }
}

impl Query {
    const fn access(&self) -> Access {
        match self {
            Self::LogSense(_) | Self::Timestamp { .. } | Self::Identifying(_) | Self::PortGroups { .. } => {
                Access::Always
            }
            Self::SupportedOpcodes(_) | Self::SupportedTaskFunctions { .. } => Access::Read,
            Self::PersistentIn { .. } => Access::Persistent,
            Self::Copy { .. } => Access::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::decode;
    use crate::scsi::reservations::Rights;

    fn command(cdb: &[u8]) -> Command {
        let mut padded = [0; 16];
        padded[..cdb.len()].copy_from_slice(cdb);
        decode(&padded).unwrap_or_else(|sense| panic!("{cdb:02x?}: {sense:?}"))
    }

    /// SPC-5 and SBC-4: beside a reservation that excludes writes, that excludes all, and RESERVE of another nexus.
    #[test]
    fn commands_beside_the_reservation_of_another() {
        let rows: &[(&[u8], [bool; 3])] = &[
            (&[0x00], [true, true, false]),
            (&[0x03], [true, true, true]),
            (&[0x12], [true, true, true]),
            (&[0xa0], [true, true, true]),
            (&[0x25], [true, true, true]),
            (&[0x9e, 0x10], [true, true, true]),
            (&[0x9e, 0x12], [true, false, false]),
            (&[0x28], [true, false, false]),
            (&[0x88], [true, false, false]),
            (&[0x2f], [true, false, false]),
            (&[0x34], [true, false, false]),
            (&[0x37, 0, 0x08], [true, false, false]),
            (&[0x1a, 0, 0x0a], [true, false, false]),
            (&[0x3c, 0x0a], [true, false, false]),
            (&[0xa3, 0x0c], [true, false, false]),
            (&[0xa3, 0x0a], [true, true, true]),
            (&[0xa3, 0x0f], [true, true, true]),
            (&[0x4d], [true, true, true]),
            (&[0x2a], [false, false, false]),
            (&[0x8a], [false, false, false]),
            (&[0x35], [false, false, false]),
            (&[0x41], [false, false, false]),
            (&[0x42], [false, false, false]),
            (&[0x89], [false, false, false]),
            (&[0x2e], [false, false, false]),
            (&[0x15, 0x10], [false, false, false]),
            (&[0x4c], [false, false, false]),
            (&[0x1d, 0x04], [false, false, false]),
            (&[0x3b, 0x0a], [false, false, false]),
            (&[0xa4, 0x0a], [false, false, false]),
            (&[0xa4, 0x0f], [false, false, false]),
            (&[0x1b, 0, 0, 0, 1], [true, true, true]),
            (&[0x1b], [false, false, false]),
            (&[0x1e], [true, true, true]),
            (&[0x1e, 0, 0, 0, 1], [false, false, false]),
            (&[0x04], [false, false, false]),
            (&[0x48, 0x1f], [false, false, false]),
            (&[0x83, 0], [false, false, false]),
            (&[0x84, 3], [false, false, false]),
            (&[0x5e], [true, true, false]),
            (&[0x5f], [true, true, false]),
            (&[0x16], [true, true, true]),
            (&[0x57], [true, true, true]),
        ];
        for (cdb, expected) in rows {
            let access = command(cdb).access();
            let allowed = [Rights::Read, Rights::None, Rights::Reserved].map(|rights| !rights.conflicts(access));
            assert_eq!(allowed, *expected, "{cdb:02x?}");
            assert!(!Rights::All.conflicts(access));
        }
    }

    #[test]
    fn commands_through_ports_that_do_not_reach_the_medium() {
        let rows: &[(&[u8], [bool; 2])] = &[
            (&[0x12], [true, true]),
            (&[0xa0], [true, true]),
            (&[0x03], [true, true]),
            (&[0xa3, 0x0a], [true, true]),
            (&[0xa4, 0x0a], [true, true]),
            (&[0x3c, 0x0a], [true, true]),
            (&[0x5e], [true, false]),
            (&[0x5f], [true, false]),
            (&[0x4d], [true, false]),
            (&[0x1a, 0, 0x0a], [true, false]),
            (&[0x15, 0x10], [true, false]),
            (&[0x00], [false, false]),
            (&[0x28], [false, false]),
            (&[0x2a], [false, false]),
            (&[0x25], [false, false]),
            (&[0x35], [false, false]),
            (&[0x16], [false, false]),
        ];
        for (cdb, expected) in rows {
            let command = command(cdb);
            let done = [AccessState::Standby, AccessState::Unavailable].map(|state| command.is_done_in(state));
            assert_eq!(done, *expected, "{cdb:02x?}");
            assert_eq!(command.refused_in(AccessState::ActiveNonOptimized), None);
        }
        let refused = command(&[0x28]).refused_in(AccessState::Unavailable).unwrap();
        assert_eq!((refused.key.0, refused.asc.0), (2, 0x040c));
    }
}
