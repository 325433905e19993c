//! Task management requests and events (virtio 1.2, 5.6.6.2 and 5.6.6.3).

use super::scsi::Lun;
use super::spec::scsi;

/// Task management functions, with their subtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// End one command.
    AbortTask = 0,
    /// End all commands of this guest on a logical unit.
    AbortTaskSet = 1,
    /// End an auto contingent allegiance.
    ClearAca = 2,
    /// End all commands on a logical unit.
    ClearTaskSet = 3,
    /// End everything of this guest on a target.
    NexusReset = 4,
    /// Reset a logical unit.
    LogicalUnitReset = 5,
    /// Is this command there?
    QueryTask = 6,
    /// Is any command there?
    QueryTaskSet = 7,
}

/// A task management request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskManagement {
    /// What to do.
    pub function: Function,
    /// On which logical unit.
    pub lun: Lun,
    /// To which command, for the functions on one.
    pub id: u64,
}

impl TaskManagement {
    /// A function on a logical unit.
    pub fn on(function: Function, lun: Lun) -> Self {
        Self { function, lun, id: 0 }
    }

    /// The request's bytes, the response byte apart.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(scsi::TMF_LEN);
        bytes.extend_from_slice(&scsi::TYPE_TMF.to_le_bytes());
        bytes.extend_from_slice(&(self.function as u32).to_le_bytes());
        bytes.extend_from_slice(&self.lun.0);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes
    }
}

/// Something that the device tells without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Kind; bit 31 says that events were lost before.
    pub event: u32,
    /// Of which logical unit.
    pub lun: Lun,
    /// Depends on the kind.
    pub reason: u32,
}

impl Event {
    /// Kind: a LUN came, went or was reset.
    pub const TRANSPORT_RESET: u32 = 1;
    /// Kind: something that was subscribed to; the reason is a set of classes of events.
    pub const ASYNC_NOTIFY: u32 = 2;
    /// Kind: a parameter changed; the reason holds the additional sense code.
    pub const PARAM_CHANGE: u32 = 3;
    /// Events were lost.
    pub const MISSED: u32 = 1 << 31;

    /// Takes an event apart.
    pub fn parse(bytes: &[u8; scsi::EVENT_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Self { event: word(0), lun: Lun(bytes[4..12].try_into().expect("eight bytes")), reason: word(12) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_management_request_is_24_bytes() {
        let request = TaskManagement { function: Function::LogicalUnitReset, lun: Lun::new(2, 3), id: 0x55 };
        assert_eq!(request.encode(), [0, 0, 0, 0, 5, 0, 0, 0, 1, 2, 0x40, 3, 0, 0, 0, 0, 0x55, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_event_is_16_bytes() {
        let event = Event::parse(&[3, 0, 0, 0x80, 1, 2, 0x40, 3, 0, 0, 0, 0, 0x2A, 9, 0, 0]);
        assert_eq!(event.event, Event::MISSED | Event::PARAM_CHANGE);
        assert_eq!((event.lun, event.reason), (Lun::new(2, 3), 0x092A));
    }
}
