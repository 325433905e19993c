//! What the controllers that show one disk share of it: its reservations, its port groups, its mode pages, what hosts call it,
//! whether it runs, and who they are.
//!
//! Locked by cold commands alone. READ and WRITE look at what each nexus may do in its own [`Standing`], which is written
//! here before a command that changed it is answered. Changes are carried out one after the other by the [`clerk`].

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use reactor::Gate;

use crate::scsi::port_groups::AccessState;
use crate::scsi::reservations::{Nexus, Registry};
use crate::scsi::{Asc, Attention, Consequences, Demand, KeptUnit, Naa, Outcome, Sense, SenseKey, Shared};
use crate::virtio_scsi::Address;

use super::slots::Verdict;
use super::standing::Standing;
use super::target_port::TargetPort;
use super::ticket::Ticket;

pub(crate) mod account;
pub(crate) mod clerk;
pub(crate) mod fence;
mod state;
pub(crate) mod store;
pub(crate) mod surveyor;
mod turns;
mod unit;
mod watch;

use clerk::{Change, Order};
use fence::Fence;
use state::{Member, State};
use store::Store;
use surveyor::Gauge;

/// What all disks need to be shared: who makes changes, and where they are kept.
#[derive(Debug)]
pub(crate) struct Office {
    clerk: Sender<Order>,
    store: Option<Arc<Store>>,
    known: Mutex<Known>,
}

/// What is shared of each disk, by its name: perhaps also of some that nobody shows any more.
#[derive(Debug, Default)]
struct Known {
    disks: HashMap<Naa, Weak<Sharing>>,
    /// How many there may be before somebody looks which are gone.
    room: usize,
}

/// What is shared of one disk.
#[derive(Debug)]
pub(crate) struct Sharing {
    naa: Naa,
    since: Instant,
    clerk: Sender<Order>,
    store: Option<Arc<Store>>,
    state: Mutex<State>,
    gauge: Gauge,
    /// Until when tokens are watched that stand for its blocks, by the host's clock; 0 if there are none.
    watched_until_ms: AtomicU64,
    fence: Fence,
}

/// A logical unit whose commands are to end.
pub(crate) type Seat = (Arc<TargetPort>, Address);

/// What is to outlive a loss of power could not be written.
const NOT_KEPT: Sense = Sense::new(SenseKey::HARDWARE_ERROR, Asc::INTERNAL_TARGET_FAILURE);

impl Office {
    /// An office with this way to the clerk, and this place for what is kept: none if there is no directory for it.
    pub(crate) fn new(clerk: Sender<Order>, store: Option<Arc<Store>>) -> Self {
        Self { clerk, store, known: Mutex::default() }
    }

    /// What is shared of the disk named `naa`, also where it was opened twice. At first that is what was kept of its
    /// reservations, and nobody who shows it.
    pub(crate) fn sharing(&self, naa: Naa) -> Arc<Sharing> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.disks.get(&naa).and_then(Weak::upgrade) {
            return same;
        }
        let registry = self.store.as_ref().map_or_else(Registry::default, |store| store.load(naa));
        let KeptUnit { mode, names } = self.store.as_ref().map_or_else(KeptUnit::default, |store| store.load_unit(naa));
        let shared = Shared { registry, mode, names, keeps: self.store.is_some(), ..Shared::default() };
        let state = Mutex::new(State { shared, ..State::default() });
        let (clerk, store) = (self.clerk.clone(), self.store.clone());
        let (gauge, watched_until_ms, fence) = (Gauge::default(), AtomicU64::new(0), Fence::default());
        let since = Instant::now();
        let sharing = Arc::new(Sharing { naa, since, clerk, store, state, gauge, watched_until_ms, fence });
        known.add(naa, &sharing);
        sharing
    }
}

impl Known {
    fn add(&mut self, naa: Naa, sharing: &Arc<Sharing>) {
        if self.disks.len() >= self.room {
            self.disks.retain(|_, sharing| sharing.strong_count() > 0);
            self.room = 2 * self.disks.len() + 1;
        }
        self.disks.insert(naa, Arc::downgrade(sharing));
    }
}

impl Sharing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A controller shows the disk at `address`, for as long as `standing` lives.
    pub(crate) fn join(&self, port: &Arc<TargetPort>, address: Address, standing: &Arc<Standing>) {
        let mut state = self.state();
        standing.set_watched(!state.watched.is_empty());
        standing.set_fenced(self.fence.is_up());
        Self::add_reactors(&mut state.reactors, port.reactors());
        let mut member = Member::new(port.clone(), address, Arc::downgrade(standing));
        member.prevents = state.is_prevented_by(port.nexus);
        state.members.push(member);
        if let Some(group) = port.port.group {
            state.shared.groups.add(port.port.relative, group, port.access());
        }
        state.prune();
        state.publish();
    }

    /// A controller shows the disk there no more. With its last way to it a nexus loses what RESERVE (6) gave it. What keeps
    /// requests from the disk goes on to do so with those of the unit, until it has [left](Self::leave).
    pub(crate) fn part(&self, standing: &Arc<Standing>) {
        let mut state = self.state();
        state.members.iter_mut().filter(|member| member.has(standing)).for_each(|member| member.is_parting = true);
        state.prune();
    }

    /// No request is on a logical unit that has parted.
    pub(crate) fn leave(&self, standing: &Arc<Standing>) {
        let mut state = self.state();
        state.members.retain(|member| !member.has(standing));
        state.prune();
    }

    /// Gives what is shared to `look`.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Shared) -> T) -> T {
        let mut state = self.state();
        state.prune();
        state.shared.power_on_minutes = self.power_on_minutes();
        look(&state.shared)
    }

    /// Has the clerk carry out what the nexus with `port` wants. BUSY if he has too much of that already.
    pub(crate) fn ask(self: &Arc<Self>, port: &TargetPort, demand: Box<Demand>) -> Ticket {
        let ticket = Ticket::default();
        let Some(account) = port.account.open() else {
            ticket.settle(Outcome::BUSY);
            return ticket;
        };
        let change = Change { sharing: self.clone(), nexus: port.nexus, demand, ticket: ticket.clone(), account };
        if self.clerk.send(Order::Change(change)).is_err() {
            // The process is about to end.
            ticket.settle(Outcome::BUSY);
        }
        ticket
    }

    /// Does what `nexus` wants. The gate opens when the commands that this ended have been answered.
    ///
    /// Only the clerk calls this, so that between the first look and the change nothing comes but the end of a reservation
    /// of RESERVE (6), which refuses nobody, a reset of mode pages, and ports that come and go.
    fn carry_out(&self, nexus: Nexus, demand: &Demand) -> Result<Gate, Outcome> {
        let next = self.keep(nexus, demand)?;
        self.make(nexus, demand, next)
    }

    /// Finds out what comes of what `nexus` wants, and writes down what of that is to be kept. Returns what is shared then, and
    /// whether its mode pages and names were written down.
    fn keep(&self, nexus: Nexus, demand: &Demand) -> Result<(Shared, bool), Outcome> {
        let mut next = self.look(Shared::clone);
        let wanted = next.carry_out(nexus, demand)?;
        if wanted.changes.save {
            self.save(&next.registry)?;
        }
        if wanted.keep {
            self.save_unit(&next.kept())?;
        }
        Ok((next, wanted.keep))
    }

    /// Does it.
    fn make(&self, nexus: Nexus, demand: &Demand, (next, is_kept): (Shared, bool)) -> Result<Gate, Outcome> {
        let mut state = self.state();
        state.prune();
        if *demand == Demand::Reserve && !state.nexuses.contains(&nexus) {
            // Its unit was taken away: nobody would release what it reserves.
            return Err(Outcome::BUSY);
        }
        // At the ports of then: what is registered, or refused, at those of now would not be what was written down.
        let ports = std::mem::replace(&mut state.shared.ports, next.ports);
        let made = state.shared.carry_out(nexus, demand);
        state.shared.ports = ports;
        let Consequences { changes, groups, modes, names, .. } = made?;
        if is_kept {
            // What the file has, whatever a reset has done meanwhile.
            state.shared.mode.saved = next.mode.saved;
        }
        state.publish();
        state.tell(nexus, &changes, &groups);
        if modes {
            state.tell_others(nexus, Attention::ModeParametersChanged);
        }
        if names {
            state.tell_others(nexus, Attention::IdentifierChanged);
        }
        state.clear_aca_of(&changes.aborts);
        let seats = state.seats_of(&changes.aborts);
        drop(state);
        Ok(end_commands(&seats))
    }

    /// Keeps reservations over a loss of power, or forgets those that were kept.
    fn save(&self, registry: &Registry) -> Result<(), Outcome> {
        let Some(store) = &self.store else { return Ok(()) };
        store.save(self.naa, registry.to_bytes().as_deref()).map_err(|error| {
            tracing::error!(disk = %self.naa, "reservations cannot be kept: {error}");
            Outcome::check(NOT_KEPT)
        })
    }

    /// The same for mode pages and names.
    fn save_unit(&self, kept: &KeptUnit) -> Result<(), Outcome> {
        let Some(store) = &self.store else { return Ok(()) };
        store.save_unit(self.naa, kept).map_err(|error| {
            tracing::error!(disk = %self.naa, "mode pages and names cannot be kept: {error}");
            Outcome::check(NOT_KEPT)
        })
    }

    /// Whether there is a place for what outlives a loss of power.
    pub(crate) fn keeps(&self) -> bool {
        self.store.is_some()
    }

    /// The user gives a port group another state. False if there is no such group.
    pub(crate) fn set_state(&self, group: u16, access: AccessState) -> bool {
        let mut state = self.state();
        let Some(has_changed) = state.shared.groups.set(group, access) else { return false };
        if has_changed {
            state.publish();
            state.tell_groups(None);
        }
        true
    }

    /// All other logical units that are this disk.
    pub(crate) fn others(&self, port: &Arc<TargetPort>, address: Address) -> Vec<Seat> {
        let mut state = self.state();
        state.prune();
        let others = state.members.iter().filter(|member| !member.is(port, address));
        others.map(|member| (member.port.clone(), member.address)).collect()
    }

    /// The disk was reset through `port`, at `address`: whoever else shows it is told. Whether writes are cached no more since
    /// then: the cache is to be written.
    pub(crate) fn unit_reset(&self, port: &Arc<TargetPort>, address: Address) -> bool {
        let mut state = self.state();
        let has_ended_caching = state.reset_unit();
        for (member, standing) in state.living() {
            if !member.is(port, address) {
                member.tell(&standing, Attention::LogicalUnitReset);
            }
        }
        has_ended_caching
    }
}

/// Ends the commands at `seats`, which other initiators sent. The gate opens when they have been answered.
fn end_commands(seats: &[Seat]) -> Gate {
    let (gate, passes) = Gate::new(seats.iter().map(|(port, _)| port.parties()).sum());
    let mut passes = passes.into_iter();
    for (port, address) in seats {
        let passes = passes.by_ref().take(port.parties()).collect::<Vec<_>>();
        for (reactor, message) in port.ends(*address, Verdict::Aborted, passes, None) {
            // One that has ended has no commands.
            let _ = reactor.post(message);
        }
    }
    gate
}

#[cfg(test)]
mod tests {
    use bdev::NullBdev;

    use super::super::disk::{Disk, DiskIndex};
    use super::super::lun_map::{LunMap, Placement};
    use super::*;
    use crate::scsi::reservations::{OutAction, OutParameters};

    const UNIT: Address = Address { target: 0, lun: 0 };

    /// A disk that the ports 1 and 2 show.
    fn shown() -> (Arc<Disk>, [LunMap; 2]) {
        let disk = Arc::new(Disk::of(Arc::new(NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
        let place =
            |port| LunMap::at_port(vec![Placement { address: UNIT, disk: disk.clone() }], TargetPort::of_test(port));
        let maps = [1, 2].map(place);
        (disk, maps)
    }

    /// A registration at all ports, while one of them goes.
    #[test]
    fn what_is_changed_is_what_was_written_down_whatever_ports_go_meanwhile() {
        let (disk, [here, mut other]) = shown();
        let parameters = OutParameters { action_key: 5, all_ports: true, ..OutParameters::default() };
        let (nexus, demand) = (here.port.nexus, Demand::Persistent(OutAction::Register, parameters));
        let (next, is_kept) = disk.sharing.keep(nexus, &demand).unwrap();
        let written = next.registry.clone();
        assert!(other.remove(UNIT));
        disk.sharing.make(nexus, &demand, (next, is_kept)).unwrap();
        disk.sharing.look(|shared| {
            assert_eq!((&shared.registry, shared.ports.len()), (&written, 1));
            assert_ne!(shared.registry, Registry::default());
        });
    }
}
