//! DEVICE_SET_IRQS: from the wire to an [`IrqChange`].

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use zerocopy::FromBytes;

use super::device::{IrqAction, IrqChange, IrqIndex};
use super::spec::{
    IRQ_SET_ACTION_MASK, IRQ_SET_ACTION_TRIGGER, IRQ_SET_ACTION_UNMASK, IRQ_SET_DATA_BOOL, IRQ_SET_DATA_EVENTFD,
    IRQ_SET_DATA_NONE, IrqSet,
};

const DATA_TYPES: u32 = IRQ_SET_DATA_NONE | IRQ_SET_DATA_BOOL | IRQ_SET_DATA_EVENTFD;

/// Checks one message and gives what it asks for. `vectors` tells how many vectors a type has. Descriptors that do not
/// belong are closed.
///
/// # Errors
/// `EINVAL` for whatever breaks the rules of the specification, and for descriptors that are no eventfds.
pub fn decode(payload: &[u8], fds: Vec<OwnedFd>, vectors: impl FnOnce(IrqIndex) -> u32) -> Result<IrqChange, Errno> {
    let (set, data) = IrqSet::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
    let index = IrqIndex::from_wire(set.index).ok_or(Errno::INVAL)?;
    let action = action(set.flags)?;
    let data_type = set.flags & DATA_TYPES;
    // Errors and requests can only be told about, not held back.
    let only_trigger = matches!(index, IrqIndex::Err | IrqIndex::Req);
    if set.argsz as usize != payload.len() || (only_trigger && action != IrqAction::Trigger) {
        return Err(Errno::INVAL);
    }
    if set.count == 0 {
        let disables = action == IrqAction::Trigger && data_type == IRQ_SET_DATA_NONE && set.start == 0;
        return if disables && fds.is_empty() { Ok(IrqChange::DisableAll { index }) } else { Err(Errno::INVAL) };
    }
    let end = set.start.checked_add(set.count).ok_or(Errno::INVAL)?;
    if end > vectors(index) {
        return Err(Errno::INVAL);
    }
    let (start, count) = (set.start, set.count as usize);
    if data_type == IRQ_SET_DATA_EVENTFD {
        return Ok(IrqChange::SetEventfds { index, action, start, eventfds: eventfds(fds, count)? });
    }
    let selected = match data_type {
        IRQ_SET_DATA_NONE => vec![true; count],
        IRQ_SET_DATA_BOOL if data.len() == count => data.iter().map(|&byte| byte != 0).collect(),
        _ => return Err(Errno::INVAL),
    };
    if fds.is_empty() { Ok(IrqChange::Perform { index, action, start, selected }) } else { Err(Errno::INVAL) }
}

fn action(flags: u32) -> Result<IrqAction, Errno> {
    match flags & !DATA_TYPES {
        IRQ_SET_ACTION_MASK => Ok(IrqAction::Mask),
        IRQ_SET_ACTION_UNMASK => Ok(IrqAction::Unmask),
        IRQ_SET_ACTION_TRIGGER => Ok(IrqAction::Trigger),
        _ => Err(Errno::INVAL),
    }
}

/// One for each vector, or none at all, which takes away what was there.
fn eventfds(fds: Vec<OwnedFd>, count: usize) -> Result<Vec<Option<OwnedFd>>, Errno> {
    if fds.is_empty() {
        return Ok(std::iter::repeat_with(|| None).take(count).collect());
    }
    if fds.len() != count {
        return Err(Errno::INVAL);
    }
    fds.into_iter().map(|fd| tame(fd).map(Some)).collect()
}

/// Whoever signals this must never be held up by it: a pipe, a file or a blocking eventfd could do that.
fn tame(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| Errno::INVAL)?;
    if link.as_os_str() != "anon_inode:[eventfd]" {
        return Err(Errno::INVAL);
    }
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

#[cfg(test)]
#[path = "irq_tests.rs"]
mod tests;
