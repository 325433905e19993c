//! The event queue: keeps the driver's buffers, and writes what there is to tell into them (virtio 1.2, 5.6.6.3).
//!
//! Buffers stay in the ring until there is an event. One that finds no buffer is lost, and the driver is told so as soon as
//! it gives one; but of several that come together, as when a whole target goes, the rest waits while the driver takes the
//! first. What happens while the queue rests waits in [`News`](super::news::News).

use std::collections::VecDeque;

use crate::virtio::ring::{Chain, Head, Popped};
use crate::virtio_scsi::Event;
use crate::virtio_scsi::event::{EVENT_LEN, write_event};

use super::courier::{JobId, Piece};
use super::stood_in::StoodIn;
use super::worker::Queue;

/// Events that wait for the driver to take those before them, at most.
const WAITING_MAX: usize = 1024;

/// The event queue of a controller.
#[derive(Debug)]
pub(crate) struct EventQueue {
    pub(crate) queue: Queue,
    waiting: VecDeque<Event>,
    /// Events were lost of which the driver has not been told.
    missed: bool,
    chain: Chain,
}

impl EventQueue {
    pub(crate) fn new(queue: Queue) -> Self {
        Self { queue, waiting: VecDeque::new(), missed: false, chain: Chain::new() }
    }

    /// One bounded round: nearly always nothing.
    #[inline]
    pub(crate) fn poll(&mut self) -> usize {
        let is_quiet = !self.wants_buffers() && !self.queue.adapter.news.any() && self.queue.remote.is_quiet();
        if is_quiet { 0 } else { self.work() }
    }

    /// Whether there is something to tell that waits for a buffer.
    pub(crate) fn wants_buffers(&self) -> bool {
        self.missed || !self.waiting.is_empty()
    }

    /// Whether something has happened that it can take.
    pub(crate) fn has_news(&self) -> bool {
        self.queue.is_serving() && self.queue.adapter.news.any()
    }

    #[cold]
    fn work(&mut self) -> usize {
        let mut done = if self.queue.remote.is_quiet() { 0 } else { self.queue.push_stored() };
        if self.has_news() {
            self.hear();
            done += 1;
        }
        while self.wants_buffers()
            && let Some((head, stood_in)) = self.queue.take_again(&mut self.chain)
        {
            self.tell(head, stood_in);
            done += 1;
        }
        done + self.take()
    }

    /// Takes the news over. Without a buffer for the first of it, and nothing before it that waits, all is lost.
    fn hear(&mut self) {
        let heard = self.queue.adapter.news.take();
        self.missed |= heard.missed;
        let has_reader = !self.waiting.is_empty() || self.has_buffer();
        for event in heard.events {
            if has_reader && self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(event);
            } else {
                self.missed = true;
            }
        }
    }

    fn has_buffer(&mut self) -> bool {
        let is_waited_for = self.queue.remote.holds_up() || !self.queue.remote.is_quiet();
        is_waited_for || self.queue.available() > 0 && self.queue.ring.available().is_ok_and(|count| count > 0)
    }

    /// Takes buffers as long as there is something to tell.
    fn take(&mut self) -> usize {
        for taken in 0..self.queue.available() {
            if !self.wants_buffers() {
                return taken.into();
            }
            match self.queue.ring.pop(&self.queue.memory, &mut self.chain) {
                Ok(Popped::Chain(head)) if self.chain.remote().is_empty() => self.tell(head, None),
                Ok(Popped::Chain(head)) => match self.queue.admit(head, &mut self.chain) {
                    Some((head, stood_in)) => self.tell(head, Some(stood_in)),
                    None => return taken.into(),
                },
                Ok(Popped::Empty) => return taken.into(),
                Ok(Popped::NeedsFetch { gpa, len }) => {
                    self.queue.fetch_table(gpa, len);
                    return taken.into();
                }
                Err(error) => {
                    self.queue.cannot_pop(&error);
                    return taken.into();
                }
            }
        }
        0
    }

    /// Something was fetched from memory that is not shared.
    pub(crate) fn fetched(&mut self, id: JobId, pieces: Vec<Piece>) {
        if let Some((head, stood_in)) = self.queue.take_fetched((id, pieces), &mut self.chain) {
            self.tell(head, Some(stood_in));
        }
    }

    /// Writes the next event into the chain and gives it back. One that is too short for any gets the event that says
    /// nothing.
    fn tell(&mut self, head: Head, stood_in: Option<Box<StoodIn>>) {
        let writable = self.chain.writable();
        let room: usize = writable.iter().map(bdev::Segment::len).sum();
        let written = if room < EVENT_LEN {
            write_event(writable, Event::None, self.missed)
        } else {
            let event = self.waiting.pop_front().unwrap_or(Event::None);
            write_event(writable, event, std::mem::take(&mut self.missed))
        };
        match stood_in {
            None => self.queue.ring.push(head, written),
            Some(stood_in) => self.queue.finish(head, written, &stood_in, None),
        }
    }
}
