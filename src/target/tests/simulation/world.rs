//! What happens to guests and disks.

use std::sync::Arc;
use std::time::Duration;

use bdev::{Bdev, DelayBdev, Delays, ErrorBdev, Errors};

use super::*;

/// Part of the operations that fail on a disk that does not always work.
const FAILING: f64 = 0.03;
const MICROSECOND_NS: u64 = 1_000;
/// How late a disk is at most.
const LATE_MAX_NS: u64 = 40 * MICROSECOND_NS;

/// What is around the disks of this seed: nothing, or what a user can put around a disk.
pub(super) fn wrapper(seed: u64) -> impl Fn(usize, SimDisk) -> Arc<dyn Bdev> {
    let micros = Duration::from_micros;
    let delays = Delays { read: micros(3), write: micros(7), flush: micros(20) };
    move |number, disk| {
        let disk = Arc::new(disk);
        match (seed / 4 + number as u64) % 4 {
            0 => disk,
            1 => Arc::new(DelayBdev::new(disk, delays)),
            2 => Arc::new(DelayBdev::new(disk, delays).without_cancel()),
            _ => {
                let errors = Errors { rate: FAILING, ..Errors::all(IoError::Medium) };
                Arc::new(ErrorBdev::new(Arc::new(DelayBdev::new(disk, delays)), errors))
            }
        }
    }
}

impl Simulation {
    /// Mostly less than a disk takes, now and then more than any.
    pub(super) fn let_time_pass(&mut self) {
        let most = if self.random.one_in(100) { 4 * LATE_MAX_NS } else { 2 * MICROSECOND_NS };
        self.bed.now_ns += self.random.below(most);
    }

    pub(super) fn answer(&mut self) {
        let disk = &self.disks[self.random.below(DISKS) as usize];
        let held = disk.held() as u64;
        if held > 0 {
            let result = if self.random.one_in(12) { Err(IoError::Medium) } else { Ok(()) };
            disk.answer(self.random.below(held) as usize, result);
        }
    }

    pub(super) fn change_disk(&mut self) {
        let disk = &self.disks[self.random.below(DISKS) as usize];
        match self.random.below(7) {
            0 | 1 => disk.hold(),
            5 | 6 => disk.be_late(self.random.below(LATE_MAX_NS)),
            2 => disk.go(),
            3 => disk.set_room([0, 1, 3, usize::MAX][self.random.below(4) as usize]),
            _ => disk.set_cancels([Cancels::Work, Cancels::Fail][self.random.below(2) as usize]),
        }
    }

    pub(super) fn change_client(&mut self) {
        let waits = self.random.one_in(2);
        if let Some(far) = &mut self.bed.guest().far {
            far.client.waits = waits;
        }
    }

    /// Takes memory away, whole or in part, and gives it back.
    pub(super) fn change_memory(&mut self) {
        let guest = &mut self.bed.guests[0];
        self.memory = match &self.memory {
            Memory::Whole => Memory::Closing(guest.rest(Part::Control)),
            Memory::Closing(_) | Memory::Leaving(_) => return,
            Memory::Gone if self.random.one_in(3) => {
                let map = guest.show(false, true);
                guest.live.as_mut().expect("it lives").go_on(&map);
                Memory::Partial
            }
            Memory::Gone => {
                guest.go_on();
                Memory::Whole
            }
            Memory::Partial if self.random.one_in(2) => Memory::Closing(guest.rest(Part::Control)),
            Memory::Partial => {
                let map = guest.show(true, true);
                guest.live.as_ref().expect("it lives").add_memory(&map);
                Memory::Whole
            }
        };
    }

    /// A logical unit of the first guest goes, comes again, or gets another disk with the same blocks.
    pub(super) fn change_units(&mut self) {
        let (target, replace) = (self.random.below(DISKS) as usize, self.random.one_in(2));
        let turn = self.units.turn(&mut self.bed, target, &self.disks[target], replace);
        if turn.is_some() {
            self.functions.disturbed(0, target as u8);
            self.allegiances[target].disturbed();
            self.aborts[target].disturbed();
            self.models.iter_mut().for_each(|model| model.token_may_end(target as u8));
        }
        match turn {
            Some(Turn::Went) => {
                self.models[0].unit_went(target as u8);
                self.books[target].left();
            }
            Some(Turn::Came) => {
                self.models[0].unit_came(target as u8);
                self.books[target].came();
            }
            Some(Turn::Replaced) | None => {}
        }
    }

    /// Ends the first guest's life, at whatever point it is, and begins a new one.
    pub(super) fn reset(&mut self) {
        let guest = &mut self.bed.guests[0];
        let (gate, left) = (guest.retire(), guest.leave());
        self.models[0].life_ended(self.lives);
        self.books.iter_mut().for_each(|book| book.life_ended(self.lives));
        self.functions.life_ended(0, self.lives);
        self.meeting.life_ended(0, self.lives);
        self.aborts.iter_mut().for_each(|aborts| aborts.life_ended(0));
        self.tokens[0] = Token::None;
        self.work.iter_mut().for_each(|work| work.life_ended(0, self.lives));
        self.allegiances.iter_mut().for_each(Allegiance::life_ended);
        self.former.push(Former { guest: 0, number: self.lives, gate, left, steps: Default::default(), told: None });
        self.lives += 1;
        guest.start();
        self.memory = Memory::Whole;
    }

    /// A third controller comes, or goes with all that is under way.
    pub(super) fn visit(&mut self) {
        if self.bed.guests.len() == VISITOR {
            let mut guest = Guest::new(VISITOR as u16 + 1, 1, &self.bed.disks, self.bed.handles());
            guest.start();
            self.bed.guests.push(guest);
            (0..DISKS).for_each(|target| self.functions.disturbed(VISITOR, target as u8));
            return;
        }
        let mut guest = self.bed.guests.remove(VISITOR);
        let (gate, left) = (guest.retire(), guest.leave());
        self.models[VISITOR].life_ended(self.lives);
        self.functions.life_ended(VISITOR, self.lives);
        self.aborts.iter_mut().for_each(|aborts| aborts.life_ended(VISITOR));
        self.work.iter_mut().for_each(|work| work.life_ended(VISITOR, self.lives));
        let (number, steps) = (self.lives, Default::default());
        self.former.push(Former { guest: VISITOR, number, gate, left, steps, told: None });
        self.lives += 1;
    }
}
