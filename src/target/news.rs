//! What a driver is to be told of the logical units behind its adapter, until its event queue takes it.
//!
//! Whoever makes a change announces it, on whatever thread; the event queue's worker finds it here when a message has told its
//! reactor. Bounded: what there is no room for is missed, and the driver is told that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reactor::Handle;

use crate::scsi::Attention;
use crate::virtio_scsi::{Address, Event};

use super::message::Message;

/// Events that wait for the event queue, at most.
const NEWS_MAX: usize = 256;

/// Kinds of events that a driver wants, by the features that it chose (virtio 1.2, 5.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// `VIRTIO_SCSI_F_HOTPLUG`.
    pub(crate) hotplug: bool,
    /// `VIRTIO_SCSI_F_CHANGE`.
    pub(crate) change: bool,
}

/// The news of one adapter.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The lock is taken only when it is set.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    /// The reactor of the event queue; none while there is no such queue.
    reader: Option<Handle<Message>>,
    heard: Heard,
}

/// What the event queue takes at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// In the order in which they happened.
    pub(crate) events: Vec<Event>,
    /// There was no room for others.
    pub(crate) missed: bool,
}

/// What tells of an attention that somebody else has caused.
pub(crate) fn event_of(attention: Attention, unit: Address) -> Event {
    let [asc, ascq] = attention.asc().0.to_be_bytes();
    match attention {
        Attention::LogicalUnitReset => Event::Reset(unit),
        _ => Event::Changed { unit, asc, ascq },
    }
}

impl Wanted {
    fn has(self, event: Event) -> bool {
        match event {
            Event::Added(_) | Event::Removed(_) | Event::Reset(_) => self.hotplug,
            Event::Changed { .. } => self.change,
            // Only after a subscription, which is for whoever announces it to know.
            Event::Notify { .. } => true,
            Event::None => false,
        }
    }
}

impl News {
    /// A driver has an event queue now, on the reactor of `reader`.
    pub(crate) fn open(&self, wanted: Wanted, reader: Handle<Message>) {
        *self.state() = State { wanted, reader: Some(reader), heard: Heard::default() };
        self.any.store(false, Ordering::SeqCst);
    }

    /// There is nobody to tell any more.
    pub(crate) fn close(&self) {
        *self.state() = State::default();
        self.any.store(false, Ordering::SeqCst);
    }

    /// Tells the driver, if it wants to know. May be called on any thread, and does not block.
    pub(crate) fn announce(&self, events: &[Event]) {
        let mut state = self.state();
        let State { wanted, reader: Some(reader), heard } = &mut *state else { return };
        for &event in events.iter().filter(|&&event| wanted.has(event)) {
            if heard.events.len() < NEWS_MAX {
                heard.events.push(event);
            } else {
                heard.missed = true;
            }
        }
        if *heard != Heard::default() {
            self.any.store(true, Ordering::SeqCst);
            // If there is no room, there are messages, after each of which the queue looks.
            let _ = reader.try_post(Message::News);
        }
    }

    /// Whether there is something to take.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    /// Takes all that there is.
    pub(crate) fn take(&self) -> Heard {
        let mut state = self.state();
        self.any.store(false, Ordering::SeqCst);
        std::mem::take(&mut state.heard)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::Mailbox;

    const UNIT: Address = Address { target: 1, lun: 2 };
    const CHANGED: Event = Event::Changed { unit: UNIT, asc: 0x2a, ascq: 9 };

    #[test]
    fn a_driver_is_told_what_it_wants_to_know() {
        let (news, mailbox) = (News::default(), Mailbox::new(1).unwrap());
        for (hotplug, change, expected) in [
            (false, false, vec![]),
            (true, false, vec![Event::Added(UNIT), Event::Removed(UNIT), Event::Reset(UNIT)]),
            (false, true, vec![CHANGED]),
        ] {
            news.open(Wanted { hotplug, change }, mailbox.handle());
            news.announce(&[Event::Added(UNIT), Event::Removed(UNIT), CHANGED, Event::Reset(UNIT), Event::None]);
            assert_eq!(news.any(), !expected.is_empty());
            assert_eq!(news.take(), Heard { events: expected, missed: false });
            assert!(!news.any());
        }
    }

    #[test]
    fn attentions_as_events() {
        let changed = |asc, ascq| Event::Changed { unit: UNIT, asc, ascq };
        for (attention, event) in [
            (Attention::LogicalUnitReset, Event::Reset(UNIT)),
            (Attention::ReservationsPreempted, changed(0x2a, 0x03)),
            (Attention::ReservationsReleased, changed(0x2a, 0x04)),
            (Attention::RegistrationsPreempted, changed(0x2a, 0x05)),
            (Attention::AccessStateChanged, changed(0x2a, 0x06)),
            (Attention::SoftThresholdReached, changed(0x38, 0x07)),
        ] {
            assert_eq!(event_of(attention, UNIT), event);
        }
    }

    #[test]
    fn without_an_event_queue_nothing_is_kept() {
        let (news, mailbox) = (News::default(), Mailbox::new(1).unwrap());
        news.announce(&[CHANGED]);
        news.open(Wanted { hotplug: true, change: true }, mailbox.handle());
        assert!(!news.any());
        news.announce(&[CHANGED]);
        news.close();
        assert!(!news.any() && news.take() == Heard::default());
    }

    #[test]
    fn more_than_there_is_room_for_is_missed() {
        let (news, mailbox) = (News::default(), Mailbox::new(1).unwrap());
        news.open(Wanted { hotplug: true, change: true }, mailbox.handle());
        news.announce(&[CHANGED; NEWS_MAX]);
        assert!(!news.state().heard.missed);
        news.announce(&[CHANGED]);
        let heard = news.take();
        assert_eq!((heard.events.len(), heard.missed), (NEWS_MAX, true));
    }
}
