//! Events (virtio 1.2, section 5.6.6.3): what the device tells the driver unasked, in buffers that wait for it.

use bdev::Segment;
use zerocopy::IntoBytes;

use super::gather::write_head;
use super::lun::{Address, LunAddress};
use super::spec;

/// Bytes of an event: what a buffer for one has to have.
pub const EVENT_LEN: usize = size_of::<spec::Event>();

/// What happened to a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was added (`VIRTIO_SCSI_F_HOTPLUG`).
    Added(Address),
    /// It was removed (`VIRTIO_SCSI_F_HOTPLUG`).
    Removed(Address),
    /// It was reset by somebody else.
    Reset(Address),
    /// One of its parameters changed (`VIRTIO_SCSI_F_CHANGE`).
    Changed {
        /// Whose.
        unit: Address,
        /// Additional sense code of the unit attention that says the same.
        asc: u8,
        /// Its qualifier.
        ascq: u8,
    },
    /// Something happened that the driver subscribed to.
    Notify {
        /// To whom.
        unit: Address,
        /// Set of `ASYNC` bits of [`spec`].
        events: u32,
    },
    /// Nothing: tells only that events were missed.
    None,
}

/// Writes an event; `missed` tells that others before it were lost for lack of buffers. Returns the bytes written, fewer
/// than 16 only if the buffer is shorter than `event_info_size`.
pub fn write_event(segments: &[Segment], event: Event, missed: bool) -> u32 {
    let (kind, unit, reason) = match event {
        Event::Added(unit) => (spec::EVENT_TRANSPORT_RESET, Some(unit), spec::RESET_RESCAN),
        Event::Removed(unit) => (spec::EVENT_TRANSPORT_RESET, Some(unit), spec::RESET_REMOVED),
        Event::Reset(unit) => (spec::EVENT_TRANSPORT_RESET, Some(unit), spec::RESET_HARD),
        Event::Changed { unit, asc, ascq } => {
            (spec::EVENT_PARAM_CHANGE, Some(unit), u32::from(asc) | u32::from(ascq) << 8)
        }
        Event::Notify { unit, events } => (spec::EVENT_ASYNC_NOTIFY, Some(unit), events),
        Event::None => (spec::EVENT_NONE, None, 0),
    };
    let missed = if missed { spec::EVENTS_MISSED } else { 0 };
    let wire = spec::Event {
        event: (kind | missed).into(),
        lun: unit.map(LunAddress::of).unwrap_or_default().0,
        reason: reason.into(),
    };
    write_head(segments, wire.as_bytes()) as u32
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
