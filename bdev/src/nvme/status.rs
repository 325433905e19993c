//! NVMe status codes to [`IoError`]: which of a command's ends means what (NVM Express: SCSI Translation Reference, status
//! code translation). The SCSI room has the other half, from [`IoError`] to sense data.
//!
//! Sense data is the reference's wherever it has an entry, but for what it calls INVALID FIELD IN CDB: that has to say which
//! field, and the fields that the device means are those of commands that we have made. Its status is CHECK CONDITION for all of them: the reference ends
//! commands that the device has aborted (05h, 07h to 0Ah) with TASK ABORTED, which SAM-5 keeps for what another initiator
//! has ended, and only where the Control mode page says TAS; no device can know either. Of codes that it does not list it
//! says nothing; those have INTERNAL TARGET FAILURE unless their name says more: ILLEGAL REQUEST would blame the initiator
//! for a command that we have made.

use crate::op::IoError;

/// Status code types.
const GENERIC: i32 = 0x000;
const SPECIFIC: i32 = 0x100;
const MEDIA: i32 = 0x200;
const PATH: i32 = 0x300;

/// The meaning of the result of a passthrough command: 0, a positive status, or a negative errno.
pub(super) fn result_of(res: i32) -> Result<(), IoError> {
    match res {
        0 => Ok(()),
        // The driver took the command back from a device that it resets or gives up. It may have been done.
        _ if res == -libc::EINTR => Err(IoError::Cancelled),
        ..0 => Err(IoError::from_errno(res.saturating_neg())),
        _ => Err(IoError::from_nvme_status(res)),
    }
}

impl IoError {
    /// The meaning of the status of an NVMe command that did not succeed: the status code in bits 0 to 7, its type in bits 8
    /// to 10. What stands above is for others.
    pub fn from_nvme_status(status: i32) -> Self {
        let code = status & 0xff;
        match status & 0x700 {
            GENERIC => generic(code),
            SPECIFIC => specific(code),
            MEDIA => media(code),
            PATH => path(code),
            _ => Self::Internal,
        }
    }
}

fn generic(code: i32) -> IoError {
    match code {
        // Invalid Command Opcode.
        0x01 => IoError::Unsupported,
        // Atomic Write Unit Exceeded.
        0x14 => IoError::Misfit,
        // Data Transfer Error, Capacity Exceeded.
        0x04 | 0x81 => IoError::Transfer,
        // Commands Aborted due to Power Loss Notification.
        0x05 => IoError::PowerLoss,
        // Abort Requested, by deletion of the queue, by a failed or missing fused command, by preemption.
        0x07..=0x0a | 0x1b => IoError::Cancelled,
        // Invalid Namespace or Format, Operation Denied.
        0x0b | 0x15 => IoError::AccessDenied,
        // Namespace is Write Protected.
        0x20 => IoError::ReadOnly,
        // Command Interrupted, Transient Transport Error.
        0x21 | 0x22 => IoError::Busy,
        // LBA Out of Range.
        0x80 => IoError::BeyondEnd,
        // Namespace Not Ready.
        0x82 => IoError::NotReady,
        // Reservation Conflict.
        0x83 => IoError::ReservationConflict,
        // Format In Progress.
        0x84 => IoError::Formatting,
        // Sanitize In Progress.
        0x1d => IoError::Sanitizing,
        // Internal Error, and what only a driver could have got wrong: Invalid Field in Command.
        _ => IoError::Internal,
    }
}

fn specific(code: i32) -> IoError {
    match code {
        // Command Size Limit Exceeded.
        0x83 => IoError::Misfit,
        // Attempted Write to Read Only Range.
        0x82 => IoError::ReadOnly,
        // Namespace Insufficient Capacity.
        0x15 => IoError::NoSpace,
        // Among them Conflicting Attributes and Invalid Protection Information.
        _ => IoError::Internal,
    }
}

fn media(code: i32) -> IoError {
    match code {
        // Write Fault.
        0x80 => IoError::WriteFault,
        // Unrecovered Read Error, Deallocated or Unwritten Logical Block.
        0x81 | 0x87 => IoError::Unreadable,
        // End-to-end Guard, Application Tag and Reference Tag Check Error.
        0x82 => IoError::GuardCheck,
        0x83 => IoError::ApplicationTagCheck,
        0x84 => IoError::ReferenceTagCheck,
        // Compare Failure.
        0x85 => IoError::Miscompare,
        // Access Denied.
        0x86 => IoError::AccessDenied,
        _ => IoError::Medium,
    }
}

fn path(code: i32) -> IoError {
    match code {
        // Asymmetric Access Persistent Loss.
        0x01 => IoError::Gone,
        // Asymmetric Access Inaccessible, Asymmetric Access Transition.
        0x02 | 0x03 => IoError::NotReady,
        // Controller Pathing Error, Host Pathing Error, Command Aborted By Host: another try may find a way.
        0x60 | 0x70 | 0x71 => IoError::Cancelled,
        // Internal Path Error.
        _ => IoError::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        let table = [
            (0x001, IoError::Unsupported),
            (0x002, IoError::Internal),
            (0x003, IoError::Internal),
            (0x004, IoError::Transfer),
            (0x005, IoError::PowerLoss),
            (0x006, IoError::Internal),
            (0x007, IoError::Cancelled),
            (0x008, IoError::Cancelled),
            (0x009, IoError::Cancelled),
            (0x00a, IoError::Cancelled),
            (0x00b, IoError::AccessDenied),
            (0x014, IoError::Misfit),
            (0x015, IoError::AccessDenied),
            (0x01b, IoError::Cancelled),
            (0x01d, IoError::Sanitizing),
            (0x020, IoError::ReadOnly),
            (0x021, IoError::Busy),
            (0x022, IoError::Busy),
            (0x080, IoError::BeyondEnd),
            (0x081, IoError::Transfer),
            (0x082, IoError::NotReady),
            (0x083, IoError::ReservationConflict),
            (0x084, IoError::Formatting),
            (0x115, IoError::NoSpace),
            (0x180, IoError::Internal),
            (0x181, IoError::Internal),
            (0x182, IoError::ReadOnly),
            (0x183, IoError::Misfit),
            (0x280, IoError::WriteFault),
            (0x281, IoError::Unreadable),
            (0x282, IoError::GuardCheck),
            (0x283, IoError::ApplicationTagCheck),
            (0x284, IoError::ReferenceTagCheck),
            (0x285, IoError::Miscompare),
            (0x286, IoError::AccessDenied),
            (0x287, IoError::Unreadable),
            (0x2ff, IoError::Medium),
            (0x300, IoError::Internal),
            (0x301, IoError::Gone),
            (0x302, IoError::NotReady),
            (0x303, IoError::NotReady),
            (0x360, IoError::Cancelled),
            (0x370, IoError::Cancelled),
            (0x371, IoError::Cancelled),
            (0x7ff, IoError::Internal),
        ];
        for (status, meaning) in table {
            assert_eq!(result_of(status), Err(meaning), "{status:#x}");
            assert_eq!(result_of(status | 0x7800), Err(meaning), "{status:#x}, with hints and do not retry");
        }
        assert_eq!(result_of(0), Ok(()));
    }

    #[test]
    fn the_kernels_own_errors_keep_theirs() {
        assert_eq!(result_of(-libc::ENODEV), Err(IoError::Gone));
        assert_eq!(result_of(-libc::EAGAIN), Err(IoError::Busy));
        assert_eq!(result_of(-libc::EINTR), Err(IoError::Cancelled));
        assert_eq!(result_of(i32::MIN), Err(IoError::Medium));
    }
}
