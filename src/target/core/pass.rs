//! What a pass does with the queues of a core.

use super::super::tag::WorkerIndex;
use super::super::worker::Worker;
use super::{Core, touch};

impl Core {
    /// Tries requests again that found no room: before new ones, and queue by queue in turn, or one that always has some
    /// would keep the others out. How many found room.
    #[cold]
    pub(super) fn retry_waiting(&mut self) -> usize {
        self.cx.has_waiting = false;
        let (count, first, mut taken) = (self.workers.len(), self.turn, 0);
        for place in (0..count).map(|step| (first + step) % count) {
            let Some(worker) = self.workers[place].as_deref_mut() else { continue };
            if let Worker::Request(queue) = worker {
                let found_room = queue.submit_waiting(&mut self.cx);
                if found_room > 0 {
                    self.turn = place + 1;
                }
                taken += found_room;
                self.cx.has_waiting |= queue.has_waiting();
                // A long command may have ended.
                touch(&mut self.touched, WorkerIndex(place as u16), worker);
            }
        }
        taken
    }

    /// Polls each queue that may have something; how much was done.
    #[inline]
    pub(super) fn poll_workers(&mut self) -> usize {
        let mut work = 0;
        self.lookout.begin_pass(self.spent_ns);
        // Two loops for one question: of those in the first the processor expects that they have something, and begins to
        // take it while the driver's line is on its way; of the others it expects nothing.
        for word in 0..self.lookout.words() {
            for place in self.lookout.lively(word) {
                if self.has_something(place) {
                    work += self.poll_worker(place);
                }
            }
        }
        for word in 0..self.lookout.words() {
            for place in self.lookout.due(word) {
                if self.has_something(place) {
                    work += self.wake_worker(place);
                }
            }
        }
        work
    }

    #[inline(always)]
    fn has_something(&self, place: usize) -> bool {
        self.workers[place].as_ref().is_some_and(|worker| !worker.has_nothing())
    }

    #[inline(always)]
    fn poll_worker(&mut self, place: usize) -> usize {
        let worker = self.workers[place].as_mut().expect("it has something");
        let work = worker.poll(&mut self.cx);
        touch(&mut self.touched, WorkerIndex(place as u16), worker);
        work
    }

    #[cold]
    fn wake_worker(&mut self, place: usize) -> usize {
        self.poll_worker(place)
    }

    /// Shows drivers what was done for them, and drops the queues that have ended; how many.
    #[inline]
    pub(super) fn finish_pass(&mut self) -> usize {
        let mut ended = 0;
        while let Some(WorkerIndex(place)) = self.touched.pop() {
            self.lookout.note(place.into());
            let place = &mut self.workers[usize::from(place)];
            if place.as_mut().is_some_and(|worker| !worker.finish_pass()) {
                *place = None;
                ended += 1;
            }
        }
        ended
    }

    /// Has every queue looked at, and its pass finished: something has happened to some of them.
    #[cold]
    pub(super) fn disturb_all(&mut self) {
        self.workers.iter_mut().flatten().for_each(|worker| worker.disturb());
        self.lookout.rouse(self.workers.len());
    }
}
