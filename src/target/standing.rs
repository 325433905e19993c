//! What a driver's nexus has with a logical unit. Some of that is its own: unit attentions, and what reservations and its port let
//! it do. The rest holds for all who share the disk, each of whom has a copy: mode pages, and whether the unit is stopped, its
//! medium out, or kept in ([`UnitState`], which [`sharing`](super::sharing) writes).
//!
//! All that a usual command has to know of it is in one atomic, which is zero where nothing stands in its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::scsi::port_groups::AccessState;
use crate::scsi::reservations::{Access, Rights};
use crate::scsi::{Asc, Attention, AttentionRule, Attentions, Command, Hindrance, ModeState, Outcome, Sense, SenseKey};

use super::disk::Disk;
use super::job::Owner;
use super::notes::Notes;
use super::slots::Marks;

/// A nexus' standing with a logical unit.
#[derive(Debug)]
pub(crate) struct Standing {
    /// What MODE SELECT has set, [`ModeState::to_bits`], and the bits below, which no [`ModeState`] has.
    state: AtomicU64,
    /// Locked only where [`ATTENTION`] is set, or is to be.
    untold: Mutex<Untold>,
    /// The auto contingent allegiance of the nexus. Locked only where [`ACA`] is set, or is to be.
    aca: Mutex<Option<Aca>>,
    pub(crate) notes: Notes,
    stir: Arc<Stir>,
}

/// What holds for a logical unit at all its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UnitState {
    /// What MODE SELECT has set.
    pub(crate) mode: ModeState,
    /// START STOP UNIT has stopped it.
    pub(crate) stopped: bool,
    /// The medium is out.
    pub(crate) ejected: bool,
    /// The medium has to stay in: PREVENT ALLOW MEDIUM REMOVAL.
    pub(crate) prevented: bool,
    /// The disk has several ports.
    pub(crate) several_ports: bool,
}

/// What the driver has not been told yet.
#[derive(Debug, Default)]
struct Untold {
    attentions: Attentions,
    /// The error of a command that ended with GOOD before its work did.
    deferred: Option<Sense>,
}

/// Counts the changes of what stands in the way of usual commands, at all logical units of one controller: whoever remembers
/// that nothing does looks here whether that is still so. On a line of its own, for it is read with every batch.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stir(AtomicU64);

impl Stir {
    /// How many changes there have been.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// An auto contingent allegiance (SAM-5, ACA condition): after a fault nothing starts but what the driver sends to look into
/// it, one command at a time.
#[derive(Debug, Default)]
struct Aca {
    /// The command with the ACA attribute that is in the task set.
    task: Option<u64>,
}

/// START STOP UNIT has stopped the unit.
const STOPPED: u64 = 1 << 63;
/// An attention is pending, or a deferred error.
const ATTENTION: u64 = 1 << 62;
/// Where the [`AccessState`] of the port is, in two bits.
const ACCESS_AT: u32 = 60;
const ACCESS: u64 = 3 << ACCESS_AT;
/// Where the [`Rights`] of the nexus are, in three bits.
const RIGHTS_AT: u32 = 57;
const RIGHTS: u64 = 7 << RIGHTS_AT;
/// There is something in the [`Hold`](super::job::Hold) of the disk, which all that share it have to look at.
const HINDERED: u64 = 1 << 56;
/// There is an auto contingent allegiance.
const ACA: u64 = 1 << 55;
/// The medium is out.
const EJECTED: u64 = 1 << 54;
/// The medium has to stay in: PREVENT ALLOW MEDIUM REMOVAL.
const PREVENTED: u64 = 1 << 53;
/// There are tokens that stand for blocks of the disk.
const WATCHED: u64 = 1 << 52;
/// A command has a range of the disk for itself.
const FENCED: u64 = 1 << 51;
/// The disk has several ports.
const SEVERAL_PORTS: u64 = 1 << 50;
/// All that is no [`ModeState`].
const OWN: u64 =
    STOPPED | ATTENTION | ACCESS | RIGHTS | HINDERED | ACA | EJECTED | PREVENTED | WATCHED | FENCED | SEVERAL_PORTS;

/// What is a [`UnitState`].
const UNIT: u64 = !OWN | STOPPED | EJECTED | PREVENTED | SEVERAL_PORTS;

/// What keeps a command off the short way, of all that is in the state: modes that are saved do not, nor other ports.
const UNUSUAL: u64 = OWN & !PREVENTED & !SEVERAL_PORTS | u32::MAX as u64;
/// What may end a command before it begins, or wants to be told of it.
const IN_THE_WAY: u64 = ATTENTION | ACCESS | RIGHTS | ACA | WATCHED | FENCED;

impl Standing {
    /// With a logical unit of the controller that has this `stir`.
    pub(crate) fn new(stir: Arc<Stir>) -> Self {
        let (state, untold, aca) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { state, untold, aca, notes: Notes::default(), stir }
    }

    #[inline]
    fn bits(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Changes the bits; returns what they were.
    fn change(&self, change: impl Fn(u64) -> u64) -> u64 {
        let update = |bits| Some(change(bits));
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        let before = before.expect("every state has a next one");
        if (before ^ change(before)) & UNUSUAL != 0 {
            self.stir.0.fetch_add(1, Ordering::Release);
        }
        before
    }

    /// Replaces the bits of `mask`.
    fn put(&self, mask: u64, value: u64) {
        self.change(|bits| bits & !mask | value);
    }

    /// Whether nothing stands in the way of a usual command: a load, and no lock.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        self.bits() & UNUSUAL == 0
    }

    /// Whether [`Entry::admit`](super::lun_map::Entry::admit) has to be asked.
    #[inline]
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.bits() & IN_THE_WAY != 0
    }

    /// Whether a command may begin, and the attention that it is to return as data. In the order of SAM-5, status
    /// precedence: an auto contingent allegiance, unless this is its own command, attentions of resets, a deferred error, a conflict
    /// with a reservation, other attentions, and what else there is.
    ///
    /// # Errors
    /// How the command ends.
    #[cold]
    pub(crate) fn check(&self, command: &Command, is_aca: bool) -> Result<Option<Attention>, Outcome> {
        if !is_aca && self.has_aca() {
            return Err(Outcome::ACA_ACTIVE);
        }
        let rule = command.attention_rule();
        let report =
            |attention: Option<Attention>| attention.map_or(Ok(()), |taken| Err(Outcome::check(taken.sense())));
        if rule == AttentionRule::Report {
            report(self.take(|untold| untold.attentions.take_reset()))?;
            self.take(|untold| untold.deferred.take()).map_or(Ok(()), |sense| Err(Outcome::check(sense)))?;
        }
        self.check_rights(command)?;
        let attention = match rule {
            AttentionRule::Report => report(self.take_attention()).map(|()| None)?,
            AttentionRule::AsData => self.take_attention(),
            AttentionRule::Ignore => None,
        };
        command.refused_in(self.access()).map_or(Ok(attention), |sense| Err(sense.into()))
    }

    /// Whether there is an auto contingent allegiance.
    pub(crate) fn has_aca(&self) -> bool {
        self.bits() & ACA != 0
    }

    fn aca(&self) -> MutexGuard<'_, Option<Aca>> {
        self.aca.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_aca(&self, aca: Option<Aca>) {
        let mut place = self.aca();
        self.put(ACA, if aca.is_some() { ACA } else { 0 });
        *place = aca;
    }

    /// The auto contingent allegiance ends. Whoever does this sees to it that what waits for that goes on.
    pub(crate) fn clear_aca(&self) {
        self.set_aca(None);
    }

    /// The command `id`, which has the ACA attribute, comes to the task set.
    ///
    /// # Errors
    /// How it ends: there is no allegiance that it could belong to, or a command of that is there (SAM-5, ACA attribute).
    pub(crate) fn claim_aca(&self, id: u64) -> Result<(), Outcome> {
        match &mut *self.aca() {
            None => Err(Outcome::check(Sense::illegal(Asc::INVALID_MESSAGE_ERROR))),
            Some(Aca { task: Some(other) }) if *other != id => Err(Outcome::ACA_ACTIVE),
            Some(aca) => {
                aca.task = Some(id);
                Ok(())
            }
        }
    }

    /// The command with the ACA attribute that is in the task set.
    pub(crate) fn aca_task(&self) -> Option<u64> {
        self.aca().as_ref()?.task
    }

    /// The command `id` with the ACA attribute has ended.
    pub(crate) fn aca_task_ended(&self, id: u64) {
        if let Some(aca) = &mut *self.aca() {
            aca.task.take_if(|task| *task == id);
        }
    }

    /// A command ends with CHECK CONDITION. With NACA that establishes an auto contingent allegiance; without, that of the
    /// allegiance's own command ends it (SAM-5, clearing an ACA condition).
    pub(crate) fn fault(&self, marks: Marks) {
        if marks.contains(Marks::NACA) {
            self.set_aca(Some(Aca::default()));
        } else if marks.contains(Marks::ACA) {
            self.clear_aca();
        }
    }

    /// Whether the nexus may do such a thing to the medium now: for commands of other logical units.
    pub(crate) fn may(&self, access: Access) -> bool {
        !self.rights().conflicts(access) && self.access().refusal().is_none()
    }

    fn rights(&self) -> Rights {
        Rights::from_byte(((self.bits() & RIGHTS) >> RIGHTS_AT) as u8)
    }

    fn check_rights(&self, command: &Command) -> Result<(), Outcome> {
        const LOST: Sense = Sense::new(SenseKey::HARDWARE_ERROR, Asc::PERSISTENT_RESERVATION_INFORMATION_LOST);
        let rights = self.rights();
        match rights.conflicts(command.access()) {
            false => Ok(()),
            true if rights == Rights::Lost => Err(LOST.into()),
            true => Err(Outcome::RESERVATION_CONFLICT),
        }
    }

    /// What reservations let the nexus do from now on.
    pub(crate) fn set_rights(&self, rights: Rights) {
        self.put(RIGHTS, (rights as u64) << RIGHTS_AT);
    }

    /// How well the port reaches the disk from now on.
    pub(crate) fn set_access(&self, access: AccessState) {
        self.put(ACCESS, (access as u64) << ACCESS_AT);
    }

    fn access(&self) -> AccessState {
        AccessState::from_code(((self.bits() & ACCESS) >> ACCESS_AT) as u8).expect("two bits are a state")
    }

    /// What MODE SELECT has set: a load, and no lock.
    #[inline]
    pub(crate) fn mode(&self) -> ModeState {
        ModeState::from_bits(self.bits())
    }

    /// What holds for the unit at all its ports from now on.
    pub(crate) fn set_unit(&self, unit: UnitState) {
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(unit.stopped, STOPPED) | flag(unit.ejected, EJECTED) | flag(unit.prevented, PREVENTED);
        self.put(UNIT, unit.mode.to_bits() | flags | flag(unit.several_ports, SEVERAL_PORTS));
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.bits() & STOPPED != 0
    }

    /// Whether something keeps commands from the medium.
    #[inline]
    pub(crate) fn is_hindered(&self) -> bool {
        self.bits() & (HINDERED | EJECTED) != 0
    }

    /// What keeps a command from the medium of `disk`, see [`Hold::hindrance`](super::job::Hold::hindrance).
    #[cold]
    pub(crate) fn hindrance(&self, disk: &Disk, asker: Option<Owner>) -> Option<Hindrance> {
        let is_out = self.bits() & EJECTED != 0;
        disk.hold.hindrance(asker).or(is_out.then_some(Hindrance::NoMedium))
    }

    /// Whether the medium has to stay in.
    #[inline]
    pub(crate) fn is_prevented(&self) -> bool {
        self.bits() & PREVENTED != 0
    }

    /// Whether the disk has several ports.
    #[inline]
    pub(crate) fn has_several_ports(&self) -> bool {
        self.bits() & SEVERAL_PORTS != 0
    }

    pub(crate) fn set_hindered(&self, hindered: bool) {
        self.put(HINDERED, if hindered { HINDERED } else { 0 });
    }

    /// Whether there are tokens that stand for blocks of the disk.
    pub(crate) fn is_watched(&self) -> bool {
        self.bits() & WATCHED != 0
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        self.put(WATCHED, if watched { WATCHED } else { 0 });
    }

    /// Whether a command has a range of the disk for itself.
    pub(crate) fn is_fenced(&self) -> bool {
        self.bits() & FENCED != 0
    }

    pub(crate) fn set_fenced(&self, fenced: bool) {
        self.put(FENCED, if fenced { FENCED } else { 0 });
    }

    /// Takes the attention to report next. Of two that ask at the same time only one gets it.
    pub(crate) fn take_attention(&self) -> Option<Attention> {
        self.take(|untold| untold.attentions.take())
    }

    /// What an attention would tell has been told in another way.
    pub(crate) fn withdraw(&self, attention: Attention) {
        self.take(|untold| {
            untold.attentions.clear(attention);
            None::<()>
        });
    }

    fn take<T>(&self, take: impl FnOnce(&mut Untold) -> Option<T>) -> Option<T> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = take(&mut untold);
        let is_empty = untold.attentions.is_empty() && untold.deferred.is_none();
        self.put(ATTENTION, if is_empty { 0 } else { ATTENTION });
        taken
    }

    /// The work of a command that has ended with GOOD came to this error: the next command tells it, and is not done (SPC-5,
    /// deferred errors).
    pub(crate) fn defer(&self, error: Sense) {
        self.take(|untold| {
            untold.deferred = Some(error.deferred());
            None::<()>
        });
    }

    /// Adds an attention. With a reset, and with its nexus, an auto contingent allegiance ends, and nobody asks for the errors of
    /// what was before.
    pub(crate) fn raise(&self, attention: Attention) {
        if attention.is_new_start() {
            self.clear_aca();
            self.notes.copies.forget_ended();
        }
        if attention.is_port_start() {
            self.notes.subscribe(0);
            // A token outlives the reset of a unit, and the nexus.
            self.notes.rods.cancel_all();
        }
        self.take(|untold| {
            untold.attentions.raise(attention);
            untold.deferred.take_if(|_| attention.is_new_start())
        });
    }
}

#[cfg(test)]
mod tests;
