//! What may be on a disk, as far as its guest can know: reads have to fit it.

use std::collections::{BTreeMap, BTreeSet};

use super::guest::{Ended, TASK_ABORTED};

/// A block of a disk.
pub(super) type Place = (u8, u8);

/// MISCOMPARE DURING VERIFY OPERATION.
const MISCOMPARE: (u8, u16) = (0xe, 0x1d00);
/// LOGICAL UNIT NOT SUPPORTED.
const NOT_SUPPORTED: (u8, u16) = (5, 0x2500);
/// INVALID MESSAGE ERROR: there is no auto contingent allegiance that a command could belong to, nor is one without a unit.
const NO_ALLEGIANCE: (u8, u16) = (5, 0x4900);
/// FORMAT IN PROGRESS and SANITIZE IN PROGRESS: a command that has begun may find that, too.
const WORKED_ON: [(u8, u16); 2] = [(2, 0x0404), (2, 0x041b)];
/// TOKEN CANCELLED.
const CANCELLED: (u8, u16) = (5, 0x2308);
/// The target has no logical unit.
const BAD_TARGET: u8 = 3;
/// The logical unit went while the command was with it.
const TRANSPORT_FAILURE: u8 = 6;

/// A command on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Fills a block with a stamp.
    Write(Place, u64),
    /// Reads a block.
    Read(Place),
    /// Compares a block with a stamp, and if that is on it may fill it with another.
    Compare(Place, u64, Option<u64>),
    /// Fills a block with what is on another.
    Copy(Place, Place),
    /// Makes a token for a block.
    Populate(Place),
    /// Fills a block with what the block held for which there is a token.
    Use(Place),
    /// Anything else.
    Other,
}

impl Command {
    /// Whether it reads or writes, so that it cannot be done while work on the whole disk goes on.
    pub(super) fn touches_medium(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// A block, when a token was made for it.
#[derive(Debug)]
struct Rod {
    from: Place,
    /// Stamps that it may have had.
    held: BTreeSet<u64>,
    /// Something may have changed since what the token stands for, or where it is known.
    may_end: bool,
}

/// What a guest knows of its blocks, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Stamps that a block may have now; 0 alone if there is no entry.
    may_be: BTreeMap<Place, BTreeSet<u64>>,
    /// Writes of former lives that a disk still has, by life: they may be done at any time.
    haunting: BTreeMap<usize, Vec<(Place, u64)>>,
    /// Writes of former lives that ended while a command of this life met them: it may have been done before or after.
    met: BTreeMap<Place, BTreeSet<u64>>,
    /// Targets whose blocks may all become zeros at any time.
    worked_on: BTreeSet<u8>,
    /// What the token stands for that was made last.
    rod: Option<Rod>,
    /// With their targets.
    under_way: BTreeMap<u64, (u8, Command)>,
    /// Commands whose unit was away while they were under way.
    may_vanish: BTreeSet<u64>,
    /// Those that were found by nobody, or had not ended when every core knew that their unit had gone.
    must_vanish: BTreeSet<u64>,
}

impl Model {
    /// A command was sent.
    pub(super) fn sent(&mut self, target: u8, id: u64, command: Command) {
        let (Command::Write(place, _)
        | Command::Compare(place, _, Some(_))
        | Command::Copy(_, place)
        | Command::Use(place)
        | Command::Populate(place)) = command
        else {
            self.under_way.insert(id, (target, command));
            return;
        };
        if let Command::Populate(from) = command {
            let may_end = !self.haunts(from).is_empty();
            self.rod = Some(Rod { from, held: BTreeSet::new(), may_end });
        } else if let Some(rod) = &mut self.rod {
            rod.may_end |= rod.from == place;
        }
        self.under_way.insert(id, (target, command));
    }

    /// Whether a command is under way that uses the token.
    pub(super) fn uses_token(&self) -> bool {
        self.under_way.values().any(|(_, command)| matches!(command, Command::Use(_)))
    }

    /// A token for a block of this target may end now.
    pub(super) fn token_may_end(&mut self, target: u8) {
        if let Some(rod) = self.rod.as_mut().filter(|rod| rod.from.0 == target) {
            rod.may_end = true;
        }
    }

    /// It was sent to a unit that is away, as every core knows or not.
    pub(super) fn sent_to_nobody(&mut self, id: u64, is_gone: bool) {
        self.may_vanish.insert(id);
        if is_gone {
            self.must_vanish.insert(id);
        }
    }

    fn of_target(&self, target: u8) -> Vec<u64> {
        self.under_way.iter().filter(|(_, (its, _))| *its == target).map(|(&id, _)| id).collect()
    }

    /// The unit of a target went, with all that is under way to it.
    pub(super) fn unit_went(&mut self, target: u8) {
        self.may_vanish.extend(self.of_target(target));
    }

    /// Every core knows it.
    pub(super) fn unit_is_gone(&mut self, target: u8) {
        self.must_vanish.extend(self.of_target(target));
    }

    /// It came again: what was not taken before finds it.
    pub(super) fn unit_came(&mut self, target: u8) {
        for id in self.of_target(target) {
            self.must_vanish.remove(&id);
        }
    }

    /// Whether a write to `place` could meet another command there, or a read a write.
    pub(super) fn is_in_use(&self, place: Place, by_write: bool) -> bool {
        self.under_way.values().any(|(_, command)| match *command {
            Command::Write(its, _) | Command::Compare(its, _, Some(_)) => its == place,
            Command::Read(its) | Command::Compare(its, _, None) | Command::Populate(its) => by_write && its == place,
            Command::Use(to) => to == place,
            Command::Copy(from, to) => to == place || by_write && from == place,
            Command::Other => false,
        })
    }

    /// A stamp that a block may have.
    pub(super) fn guess(&mut self, place: Place) -> u64 {
        *self.stamps(place).last().expect("it has one")
    }

    /// Names of the commands under way.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.under_way.keys().copied().collect()
    }

    /// A request has ended; one that is no command is none of ours.
    pub(super) fn ended(&mut self, ended: &Ended) {
        let Some((_, command)) = self.under_way.remove(&ended.id) else { return };
        let is_good = ended.response == 0 && ended.status == 0;
        // RESERVATION CONFLICT and ACA ACTIVE.
        let is_conflict = matches!(ended.status, 0x18 | 0x30);
        let found_nobody = ended.response == BAD_TARGET || ended.sense == Some(NOT_SUPPORTED);
        let attention_or_not_ready =
            ended.sense.is_some_and(|sense| sense.0 == 6 || sense.0 == 2 && !WORKED_ON.contains(&sense));
        let (may, must) = (self.may_vanish.remove(&ended.id), self.must_vanish.remove(&ended.id));
        let has_no_place = ended.sense == Some(NO_ALLEGIANCE);
        let was_not_begun =
            found_nobody || has_no_place || ended.response == 0 && (is_conflict || attention_or_not_ready);
        let has_vanished = found_nobody || ended.response == TRANSPORT_FAILURE;
        assert!(may || !has_vanished, "{command:?} is served: {ended:?}");
        assert!(
            !must || has_vanished || has_no_place || ended.response != 0,
            "{command:?} is served by nobody: {ended:?}"
        );
        assert!(matches!(ended.response, 0 | 2 | 4) || has_vanished, "{command:?}: {ended:?}");
        let has_sense = ended.sense.is_some() || ended.status == TASK_ABORTED;
        assert!(is_good || is_conflict || ended.response != 0 || has_sense, "{command:?}: {ended:?}");
        if let (Some(rod), Command::Use(_)) = (&self.rod, command) {
            assert!(rod.may_end || ended.sense != Some(CANCELLED), "{command:?}: {ended:?}, {rod:?}");
        }
        match command {
            Command::Write(place, stamp) if is_good => self.settle(place, stamp),
            Command::Write(place, stamp) if !was_not_begun => _ = self.stamps(place).insert(stamp),
            Command::Read(place) if is_good => self.check_read(place, ended),
            Command::Compare(place, expected, stamp) if is_good => {
                self.check(place, expected);
                stamp.into_iter().for_each(|stamp| self.settle(place, stamp));
            }
            Command::Compare(place, expected, _) if ended.sense == Some(MISCOMPARE) => {
                let is_sure = self.haunts(place).is_empty() && self.stamps(place).len() == 1;
                assert!(!is_sure || !self.stamps(place).contains(&expected), "{place:?} has {expected}");
            }
            Command::Compare(place, _, Some(stamp)) if !was_not_begun => _ = self.stamps(place).insert(stamp),
            Command::Copy(from, to) if is_good => {
                let copied = self.all_of(from);
                self.settle_on(to, copied);
            }
            Command::Copy(from, to) if !was_not_begun => {
                let copied = self.all_of(from);
                self.stamps(to).extend(copied);
            }
            Command::Populate(from) if is_good => {
                let held = self.all_of(from);
                self.rod.as_mut().expect("it was sent").held = held;
            }
            Command::Use(to) if is_good => {
                let held = self.held();
                self.settle_on(to, held);
            }
            Command::Use(to) if !was_not_begun => {
                let held = self.held();
                self.stamps(to).extend(held);
            }
            Command::Write(..)
            | Command::Read(_)
            | Command::Compare(..)
            | Command::Copy(..)
            | Command::Populate(_)
            | Command::Use(_)
            | Command::Other => {}
        }
    }

    /// What the block may have held for which the token was made.
    fn held(&self) -> BTreeSet<u64> {
        self.rod.as_ref().map(|rod| rod.held.clone()).unwrap_or_default()
    }

    /// All that somebody may have found on a block who is looking at it.
    fn all_of(&mut self, place: Place) -> BTreeSet<u64> {
        let haunts = self.haunts(place);
        self.stamps(place).iter().copied().chain(haunts).collect()
    }

    fn stamps(&mut self, place: Place) -> &mut BTreeSet<u64> {
        self.may_be.entry(place).or_insert_with(|| BTreeSet::from([0]))
    }

    fn check_read(&mut self, place: Place, ended: &Ended) {
        let stamp = u64::from_le_bytes(ended.data[..8].try_into().expect("eight bytes"));
        assert!(ended.data.chunks(8).all(|chunk| chunk == stamp.to_le_bytes()), "{place:?} is torn: {ended:?}");
        self.check(place, stamp);
    }

    /// Stamps that writes of former lives may put on a block at any time.
    fn haunts(&self, place: Place) -> Vec<u64> {
        let writes = self.haunting.values().flatten().filter(|(its, _)| *its == place).map(|(_, stamp)| *stamp);
        writes.chain(self.worked_on.contains(&place.0).then_some(0)).collect()
    }

    /// A block was seen to have a stamp.
    fn check(&mut self, place: Place, stamp: u64) {
        let haunts = self.haunts(place);
        let stamps = self.stamps(place);
        assert!(
            stamps.contains(&stamp) || haunts.contains(&stamp),
            "{place:?}: {stamp} is none of {stamps:?}, {haunts:?}"
        );
        // Another read may have been done before this one, and end after it.
        if haunts.is_empty() && !self.is_in_use(place, true) {
            self.settle(place, stamp);
        }
    }

    /// A block has this stamp, or one of a write that its command met.
    fn settle(&mut self, place: Place, stamp: u64) {
        self.settle_on(place, BTreeSet::from([stamp]));
    }

    /// The same with one of several.
    fn settle_on(&mut self, place: Place, mut stamps: BTreeSet<u64>) {
        stamps.extend(self.met.remove(&place).unwrap_or_default());
        self.may_be.insert(place, stamps);
    }

    /// All that is under way is forgotten by the guest, and not by the disks.
    pub(super) fn life_ended(&mut self, life: usize) {
        (self.may_vanish, self.must_vanish) = Default::default();
        let held = self.held();
        let mut writes = Vec::new();
        for (_, command) in std::mem::take(&mut self.under_way).into_values() {
            match command {
                Command::Write(place, stamp) | Command::Compare(place, _, Some(stamp)) => writes.push((place, stamp)),
                // What it has not read by now it does not read any more.
                Command::Copy(from, to) => writes.extend(self.all_of(from).into_iter().map(|stamp| (to, stamp))),
                Command::Use(to) => writes.extend(held.iter().map(|stamp| (to, *stamp))),
                Command::Read(_) | Command::Compare(..) | Command::Populate(_) | Command::Other => {}
            }
        }
        self.haunting.insert(life, writes);
    }

    /// The disks have answered all of a former life.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        for (place, stamp) in self.haunting.remove(&life).into_iter().flatten() {
            self.was_written(place, stamp);
        }
    }

    /// A write that no command of this life was came to an end: it was done or not.
    fn was_written(&mut self, place: Place, stamp: u64) {
        self.stamps(place).insert(stamp);
        if self.is_in_use(place, true) {
            self.met.entry(place).or_default().insert(stamp);
        }
    }

    /// From now on a target's blocks may all become zeros.
    pub(super) fn work_begins(&mut self, target: u8) {
        self.token_may_end(target);
        self.worked_on.insert(target);
    }

    /// What was to fill them with zeros has ended.
    pub(super) fn work_is_over(&mut self, target: u8) {
        self.worked_on.remove(&target);
        let known: Vec<_> = self.may_be.keys().copied().filter(|place| place.0 == target).collect();
        known.into_iter().for_each(|place| self.was_written(place, 0));
    }
}
