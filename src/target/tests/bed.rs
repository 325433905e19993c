//! Cores that a test steps by hand, on one thread and with a clock of its own.

use std::rc::Rc;
use std::sync::Arc;

use bdev::{Bdev, LateRegistrar};
use reactor::{Context, Drain, Gate, Handle, Mailbox};

use super::guest::{Data, Ended, Guest};
use super::sim_disk::SimDisk;
use crate::target::core::Core;
use crate::target::disk::{Disk, DiskIndex};
use crate::target::live::Part;
use crate::target::message::Message;
use crate::target::sharing::store::Store;

/// Messages that a reactor handles before a pass.
const MESSAGES_PER_PASS: usize = 32;
/// Passes after which a bed that does not come to rest is broken.
const PASSES_MAX: usize = 100_000;

/// Reactors without threads, and the guests that they serve.
pub(super) struct Bed {
    pub(super) guests: Vec<Guest>,
    pub(super) disks: Vec<Arc<Disk>>,
    pub(super) now_ns: u64,
    cores: Vec<(Core, Rc<Mailbox<Message>>)>,
}

impl Bed {
    /// `cores` reactors with `disks`, and no guest.
    pub(super) fn of(cores: usize, disks: Vec<Arc<dyn Bdev>>) -> Self {
        Self::keeping(cores, disks, None)
    }

    /// The same with a place for what outlives a loss of power.
    pub(super) fn keeping(cores: usize, disks: Vec<Arc<dyn Bdev>>, store: Option<Arc<Store>>) -> Self {
        let disk = |(index, bdev)| Arc::new(Disk::keeping(bdev, DiskIndex(index), store.clone()));
        Self::on(cores, disks.into_iter().enumerate().map(disk).collect())
    }

    /// The same with disks that the test has made, with indices from 0 on.
    pub(super) fn on(cores: usize, disks: Vec<Arc<Disk>>) -> Self {
        Self::registering(cores, disks, LateRegistrar::default())
    }

    /// The same with what registers memory.
    pub(super) fn registering(cores: usize, disks: Vec<Arc<Disk>>, registrar: LateRegistrar) -> Self {
        let core = || {
            let core =
                Core::new(disks.clone().into(), registrar.clone(), Arc::default()).expect("a ring, if one is needed");
            (core, Rc::new(Mailbox::new(1024).expect("a bell")))
        };
        let cores = (0..cores).map(|_| core()).collect();
        Self { guests: Vec::new(), disks, now_ns: 0, cores }
    }

    /// Simulated disks of 64 blocks behind one guest with so many request queues; disk `n` is target `n`, LUN 0.
    pub(super) fn simulated(cores: usize, queues: u16, disks: usize) -> (Self, Vec<SimDisk>) {
        Self::wrapped(cores, queues, (disks, 64), |_, disk| Arc::new(disk))
    }

    /// The same with so many disks of so many blocks, and something around each.
    pub(super) fn wrapped(
        cores: usize,
        queues: u16,
        (disks, blocks): (usize, u64),
        wrap: impl Fn(usize, SimDisk) -> Arc<dyn Bdev>,
    ) -> (Self, Vec<SimDisk>) {
        let disks: Vec<_> = (0..disks).map(|_| SimDisk::new(blocks)).collect();
        let mut bed = Self::of(cores, disks.iter().cloned().enumerate().map(|(n, disk)| wrap(n, disk)).collect());
        bed.add_guest(queues);
        (bed, disks)
    }

    /// A guest with so many request queues and all disks. Returns its place.
    pub(super) fn add_guest(&mut self, queues: u16) -> usize {
        self.add_guest_with(queues, |_| ())
    }

    /// The same with what it agrees upon.
    pub(super) fn add_guest_with(&mut self, queues: u16, agree: impl FnOnce(&mut Guest)) -> usize {
        let port = self.guests.len() as u16 + 1;
        let mut guest = Guest::new(port, queues, &self.disks, self.handles());
        agree(&mut guest);
        guest.start();
        self.guests.push(guest);
        self.run();
        self.guests.len() - 1
    }

    /// Ways to the cores.
    pub(super) fn handles(&self) -> Arc<[Handle<Message>]> {
        self.cores.iter().map(|(_, mailbox)| mailbox.handle()).collect()
    }

    /// The only guest.
    pub(super) fn guest(&mut self) -> &mut Guest {
        &mut self.guests[0]
    }

    /// A core itself.
    pub(super) fn core(&mut self, place: usize) -> &mut Core {
        &mut self.cores[place].0
    }

    /// A core's mailbox.
    pub(super) fn parts(&mut self, place: usize) -> (&mut Core, &Mailbox<Message>) {
        let (core, mailbox) = &mut self.cores[place];
        (core, mailbox)
    }

    /// A core goes to sleep, and then `meanwhile` happens. Whether it slept and was woken by that.
    pub(super) fn sleeps_until_woken(&mut self, place: usize, meanwhile: impl FnOnce(&mut Self)) -> bool {
        let mailbox = self.cores[place].1.clone();
        let (slept, rung) = mailbox.doze(|| {
            let slept = self.core(place).arm();
            meanwhile(self);
            slept
        });
        slept && rung
    }

    /// One pass of a core, as its reactor does it; the guests see what it published. Whether there was work.
    pub(super) fn step(&mut self, place: usize) -> bool {
        self.guests.iter_mut().filter(|guest| guest.far.is_some()).for_each(Guest::serve);
        let (core, mailbox) = &mut self.cores[place];
        let mut taken = 0;
        while taken < MESSAGES_PER_PASS
            && let Some(message) = mailbox.take()
        {
            core.message(message);
            taken += 1;
        }
        let progress = core.poll(self.now_ns);
        let has_clerk = self.disks.iter().filter(|disk| disk.work()).count() > 0;
        self.guests.iter_mut().for_each(Guest::collect);
        taken > 0 || progress.is_busy() || has_clerk
    }

    /// Steps the cores in turn until none has work.
    pub(super) fn run(&mut self) {
        let mut idle = 0;
        for pass in 0..PASSES_MAX {
            idle = if self.step(pass % self.cores.len()) { 0 } else { idle + 1 };
            if idle > 2 * self.cores.len() {
                return;
            }
        }
        panic!("the cores do not come to rest");
    }

    /// Steps the cores in turn until none has work, and lets the time come for which something waits.
    pub(super) fn run_out(&mut self) {
        for _ in 0..PASSES_MAX {
            self.run();
            let Some(due_ns) = self.due_ns() else { return };
            assert!(due_ns > self.now_ns, "what is due is done");
            self.now_ns = due_ns;
        }
        panic!("something is always due");
    }

    /// When a channel has something to do by itself.
    fn due_ns(&self) -> Option<u64> {
        self.cores.iter().filter_map(|(core, _)| core.next_deadline_ns()).min()
    }

    /// So many passes of each core.
    pub(super) fn passes(&mut self, count: usize) {
        for pass in 0..count * self.cores.len() {
            self.step(pass % self.cores.len());
        }
    }

    /// Asks the only guest's queues to rest, those of requests when the control queue does. The gate is theirs.
    pub(super) fn rest(&mut self) -> Gate {
        let control = self.guest().rest(Part::Control);
        self.run();
        assert!(control.is_open(), "no function is in progress");
        self.guest().rest(Part::Requests)
    }

    /// Whether every core could end: no queue and no operation is left. Flushes the disks, and lets the time come for that.
    pub(super) fn drained(&mut self) -> bool {
        (0..self.cores.len()).all(|place| {
            let flushes = 2 * self.disks.len() + 1;
            (0..=flushes).any(|_| {
                self.step(place);
                let is_drained = self.drain(place);
                self.now_ns = self.due_ns().unwrap_or(self.now_ns);
                is_drained
            })
        })
    }

    /// Asks a core to end; whether it has.
    pub(super) fn drain(&mut self, place: usize) -> bool {
        self.cores[place].0.drain(self.now_ns) == Drain::Finished
    }
}

/// A guest does this through its first queue, at its first disk, and it ends.
pub(super) fn execute(bed: &mut Bed, guest: usize, cdb: &[u8], data: Data<'_>) -> Ended {
    let id = bed.guests[guest].send(0, 0, cdb, data);
    bed.run();
    let ended = bed.guests[guest].take_one();
    assert_eq!((ended.id, ended.response), (id, 0));
    ended
}
