//! What a pass does with the queues of a core.

use super::super::worker::Worker;
use super::Core;

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
                self.lookout.touch(place);
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
                if self.lookout.sees_something(place) {
                    work += self.poll_worker(place);
                }
            }
        }
        for word in 0..self.lookout.words_with_turns() {
            for place in self.lookout.due(word) {
                if self.lookout.sees_something(place) {
                    work += self.wake_worker(place);
                }
            }
        }
        work
    }

    #[inline(always)]
    fn poll_worker(&mut self, place: usize) -> usize {
        let Some(worker) = self.workers[place].as_mut() else { return 0 };
        let work = worker.poll(&mut self.cx);
        self.lookout.touch(place);
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
        if !self.lookout.take_is_touched() {
            return ended;
        }
        for word in 0..self.lookout.words() {
            for index in self.lookout.take_touched(word) {
                let place = &mut self.workers[index];
                let Some(worker) = place else { continue };
                let glance = worker.finish_pass();
                if glance.is_none() && !worker.try_to_rest() {
                    *place = None;
                    ended += 1;
                }
                self.lookout.note(index, glance);
            }
        }
        ended
    }
}
