//! A plan is prepared, carried out, and what it left behind is followed to its end.
//!
//! Preparing opens all that is new: disks, sockets, reactors, channels. What fails there undoes the rest, and nothing has
//! changed for any guest. After that nothing fails but the start of a thread.
//!
//! A disk that no logical unit is on any more goes in three steps, none of which waits for the next one's guests: requests
//! on it end (a gate of each controller), the controllers forget the units, the reactors flush and close their channels.
//! What takes longer than a client may wait is left for the next change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use reactor::{Cpu, Gate};

use crate::config::{self, ControllerConfig, PlacedDisk, ServeConfig};
use crate::vfio_user::Server;
use crate::virtio_scsi::Address;

use super::disk::{Disk, DiskError, DiskIndex, check_identities};
use super::homes;
use super::live::REST_MAX;
use super::lun_change::{LunChange, Order};
use super::lun_map::Placement;
use super::manage::{Change, ChangeError};
use super::message::Message;
use super::plan::{ControllerChange, Plan};
use super::serve::{Running, StartError, Target, access_state};
use super::shelf::Described;

/// How long a control thread or a reactor may take to hear of something.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What was opened for a plan.
struct Prepared {
    servers: Vec<Server>,
    homes: Vec<Vec<usize>>,
    /// Disks as they are and as they will be.
    resized: Vec<(Arc<Disk>, Arc<Disk>)>,
}

impl Target {
    /// Prepares a plan, and carries it out. `resized` are disks whose new sizes are known, as they were and as they are.
    pub(super) fn apply(
        &mut self,
        plan: Plan,
        resized: Vec<(Arc<Disk>, Arc<Disk>)>,
    ) -> Result<Vec<Change>, ChangeError> {
        match self.prepare(&plan, resized) {
            Ok(prepared) => self.commit(plan, prepared),
            Err(error) => {
                self.close_unused();
                self.end_reactors();
                Err(error)
            }
        }
    }

    fn commit(&mut self, plan: Plan, prepared: Prepared) -> Result<Vec<Change>, ChangeError> {
        let mut done = Vec::new();
        self.remove_controllers(&plan.gone, &mut done);
        self.set_first_states(&plan.states);
        let described = self.described();
        self.change_luns(&plan.changed, &prepared.resized, &described, &mut done);
        self.set_states(&plan.states, &mut done);
        let mut new = plan.new.into_iter().zip(prepared.servers).zip(prepared.homes);
        new.try_for_each(|((config, server), homes)| {
            let name = config.socket.display().to_string();
            let placements: Vec<_> = config.disks.iter().map(|placed| placement(placed, &described)).collect();
            done.push(Change::ControllerAdded(config.socket.clone()));
            let failed = |error| ChangeError::Start(StartError::Thread { name, error });
            self.spawn_controller(config, homes, server, placements).map_err(failed)
        })?;
        self.settle(Instant::now() + REST_MAX);
        let lingering = self.controllers.iter().filter(|running| !running.leaving.is_empty());
        done.extend(lingering.map(|running| Change::Lingers(running.socket().clone())));
        self.end_reactors();
        self.engine.tell();
        Ok(done)
    }

    /// Opens all that a plan needs.
    fn prepare(&mut self, plan: &Plan, mut resized: Vec<(Arc<Disk>, Arc<Disk>)>) -> Result<Prepared, ChangeError> {
        let start = ChangeError::Start;
        for cpu in plan.new.iter().flat_map(|controller| controller.cpus.cpus()) {
            Cpu(*cpu).check().map_err(|error| start(error.into()))?;
        }
        self.check_idle(&plan.new)?;
        let added = || {
            let changed = plan.changed.iter().flat_map(|change| &change.add);
            changed.chain(plan.new.iter().flat_map(|controller| &controller.disks))
        };
        let mut described = self.described();
        let mut opened: Vec<_> = resized.iter().map(|(_, after)| after.clone()).collect();
        for (before, after) in &plan.resized {
            let before = described.of(before).expect("what is served is open").clone();
            let index = self.shelf.free_index();
            let bdev = self.backends.open(after).map_err(|error| start(error.into()))?;
            let after = self.shelf.keep(before.resized(after, bdev, index));
            opened.push(after.clone());
            resized.push((before, after));
        }
        for placed in added() {
            if described.of(&placed.disk).is_none() {
                let index = self.shelf.free_index();
                let disk = Disk::open(&placed.disk, index, &mut self.backends, &self.office)
                    .map_err(|error| start(error.into()))?;
                let disk = self.shelf.keep(disk);
                described.add(&disk);
                opened.push(disk);
            }
        }
        self.check_identities(&opened, &resized).map_err(|error| start(error.into()))?;
        let bind = |controller: &ControllerConfig| Server::bind(&controller.socket);
        let servers = plan.new.iter().map(bind).collect::<Result<_, _>>().map_err(|error| start(error.into()))?;
        // What it finds stays, whatever fails now.
        self.engine.look(opened.iter().map(|disk| &*disk.bdev));
        self.open_channels(&opened)?;
        self.spawn_reactors(&plan.new)?;
        let staying = self.controllers.iter().filter(|running| !plan.gone.contains(running.socket()));
        let homes = homes::deal(&plan.new, staying.flat_map(|running| &running.homes).copied());
        Ok(Prepared { servers, homes, resized })
    }

    /// Those that are there when `opened` are, and all of `resized` have their new size, must be told apart.
    fn check_identities(&self, opened: &[Arc<Disk>], resized: &[(Arc<Disk>, Arc<Disk>)]) -> Result<(), DiskError> {
        let new: HashSet<_> = opened.iter().map(|disk| disk.index).collect();
        let mut used = self.used();
        resized.iter().for_each(|(before, _)| _ = used.remove(&before.index));
        let stays = |disk: &&Arc<Disk>| new.contains(&disk.index) || used.contains(&disk.index);
        check_identities(self.shelf.iter().filter(stays))
    }

    /// A reactor's policy is fixed: one that sleeps more than a new controller wants cannot serve it.
    fn check_idle(&self, new: &[ControllerConfig]) -> Result<(), ChangeError> {
        for controller in new {
            for serving in &self.reactors {
                let cpu = serving.reactor.cpu().0;
                if controller.cpus.cpus().contains(&cpu) && controller.idle < serving.idle {
                    let told = |idle| format!("{idle:?}").to_lowercase();
                    let (wanted, running) = (told(controller.idle), told(serving.idle));
                    let socket = controller.socket.display().to_string();
                    return Err(ChangeError::Idle { socket, cpu, wanted, running });
                }
            }
        }
        Ok(())
    }

    fn spawn_reactors(&mut self, new: &[ControllerConfig]) -> Result<(), ChangeError> {
        let mut cpus: Vec<_> = new.iter().flat_map(|controller| controller.cpus.cpus()).copied().collect();
        cpus.sort_unstable();
        cpus.dedup();
        let wanted = ServeConfig { controllers: new.to_vec(), ..self.config() };
        for cpu in cpus {
            if !self.reactors.iter().any(|serving| serving.reactor.cpu().0 == cpu) {
                let spawned = self.spawn_reactor(cpu, wanted.idle_of(cpu));
                spawned.map_err(|error| ChangeError::Start(error.into()))?;
            }
        }
        Ok(())
    }

    /// Every reactor opens a channel to each of `disks`.
    fn open_channels(&self, disks: &[Arc<Disk>]) -> Result<(), ChangeError> {
        for disk in disks {
            for serving in &self.reactors {
                let (reply, answer) = mpsc::channel();
                let _ = serving.reactor.handle().post(Message::OpenDisk { disk: disk.clone(), reply });
                let answer = answer.recv_timeout(ANSWER_MAX);
                let no_answer = |_| Err(std::io::Error::other("its reactor does not answer"));
                answer.unwrap_or_else(no_answer).map_err(|error| {
                    let (cpu, disk) = (serving.reactor.cpu().0, disk.config.text.clone());
                    ChangeError::Channel { cpu, disk, error }
                })?;
            }
        }
        Ok(())
    }

    fn remove_controllers(&mut self, gone: &[PathBuf], done: &mut Vec<Change>) {
        let is_gone = |running: &mut Running| gone.contains(running.socket());
        let gone: Vec<_> = self.controllers.extract_if(.., is_gone).collect();
        gone.iter().for_each(Running::ask_stop);
        for running in gone {
            done.push(Change::ControllerRemoved(running.socket().clone()));
            let placements = running.placements.clone();
            running.join();
            placements.iter().for_each(|placement| placement.disk.sharing.look(|_| ()));
        }
    }

    /// Changes the logical units of controllers that stay.
    fn change_luns(
        &mut self,
        changed: &[ControllerChange],
        resized: &[(Arc<Disk>, Arc<Disk>)],
        described: &Described,
        done: &mut Vec<Change>,
    ) {
        let told = |(before, after): &(Arc<Disk>, Arc<Disk>)| {
            Change::Resized(after.config.text.clone(), before.bdev.info().size(), after.bdev.info().size())
        };
        done.extend(resized.iter().map(told));
        let resized = resized.iter().map(|(before, after)| (before.index, after)).collect();
        for running in &mut self.controllers {
            let change = changed.iter().find(|change| change.config.socket == running.config.socket);
            let (order, left) = running.order_for(change, &resized, described, done);
            running.config = change.map_or_else(|| running.config.clone(), |change| change.config.clone());
            if !left.is_empty() || !order.add.is_empty() {
                running.follow(&order);
                let gate = running.order(order);
                running.leaving.push((gate, left));
            }
        }
    }

    /// Disks that come from now on know these groups with these states.
    fn set_first_states(&self, states: &BTreeMap<u16, config::AccessState>) {
        for running in &self.controllers {
            if let Some(&state) = running.config.port_group.and_then(|group| states.get(&group)) {
                running.adapter.luns().port.set_access(access_state(state));
            }
        }
    }

    /// Target port groups get other states, at every disk that is shown through them.
    fn set_states(&self, states: &BTreeMap<u16, config::AccessState>, done: &mut Vec<Change>) {
        for (&group, &state) in states {
            let running = self.controllers.iter().filter(|running| running.config.port_group == Some(group));
            for placement in running.flat_map(|running| &running.placements) {
                placement.disk.sharing.set_state(group, access_state(state));
            }
            done.push(Change::PortState(group, state));
        }
    }

    /// Goes on with what left, and waits for it until `deadline`: logical units that no request names are forgotten, disks
    /// that no logical unit is on are closed.
    pub(super) fn settle(&mut self, deadline: Instant) {
        for running in &mut self.controllers {
            let is_left = running.leaving.iter().all(|(gate, _)| gate.wait_until(deadline));
            if !running.leaving.is_empty() && is_left {
                running.leaving.clear();
                running.order(LunChange { forget: true, ..LunChange::default() });
            }
        }
        self.close_unused();
        let shelf = &mut self.shelf;
        self.closing.retain(|(index, gate)| {
            let is_closed = gate.wait_until(deadline);
            if is_closed {
                shelf.let_go(*index);
            }
            !is_closed
        });
        let open: Described = shelf.iter().collect();
        self.backends.retain(|config| open.of(config).is_some());
    }

    /// Disks that no logical unit is on are closed.
    fn close_unused(&mut self) {
        let (used, closing) = (self.used(), self.closing());
        let is_unused = |index: &DiskIndex| !used.contains(index) && !closing.contains(index);
        let unused: Vec<_> = self.shelf.iter().map(|disk| disk.index).filter(is_unused).collect();
        unused.into_iter().for_each(|index| self.close(index));
    }

    /// Every reactor lets go of a disk.
    fn close(&mut self, disk: DiskIndex) {
        let (gate, passes) = Gate::new(self.reactors.len());
        for (serving, pass) in self.reactors.iter().zip(passes) {
            // One that has ended has let go of it.
            let _ = serving.reactor.handle().post(Message::CloseDisk { disk, pass });
        }
        self.closing.push((disk, gate));
    }

    /// Sends reactors that no controller needs to their end.
    fn end_reactors(&mut self) {
        let is_needed = |cpu: usize| self.controllers.iter().any(|running| running.config.cpus.cpus().contains(&cpu));
        let unneeded = self.reactors.extract_if(.., |serving| !is_needed(serving.reactor.cpu().0));
        for serving in unneeded {
            serving.reactor.stop();
            self.ending.push(serving.reactor);
        }
    }

    /// Disks that a logical unit is on.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Arc<Disk>> {
        let placements = self.controllers.iter().flat_map(|running| &running.placements);
        let shown: HashSet<_> = placements.map(|placement| placement.disk.index).collect();
        self.shelf.iter().filter(move |disk| shown.contains(&disk.index))
    }

    /// Whether something that was taken out has requests on their way, or is still open.
    pub(super) fn is_settling(&self) -> bool {
        !self.closing.is_empty() || self.controllers.iter().any(|running| !running.leaving.is_empty())
    }

    /// Disks that a logical unit is on, or was and may have requests on their way.
    pub(super) fn used(&self) -> HashSet<DiskIndex> {
        let of = |running: &'_ Running| {
            let served = running.placements.iter().map(|placement| placement.disk.index);
            served.chain(running.leaving.iter().flat_map(|(_, disks)| disks).copied()).collect::<Vec<_>>()
        };
        self.controllers.iter().flat_map(of).collect()
    }

    /// Disks that reactors let go of.
    pub(super) fn closing(&self) -> HashSet<DiskIndex> {
        self.closing.iter().map(|&(index, _)| index).collect()
    }

    /// The disks that are open, by configuration. Where two have the same it is that which is served.
    fn described(&self) -> Described {
        let closing = self.closing();
        let open = self.shelf.iter().filter(|disk| !closing.contains(&disk.index));
        let placements = self.controllers.iter().flat_map(|running| &running.placements);
        open.chain(placements.map(|placement| &placement.disk)).collect()
    }
}

impl Running {
    /// What the controller has to be told, and the disks that its logical units had which leave. `resized` has disks with
    /// their new size by their old index.
    fn order_for(
        &self,
        change: Option<&ControllerChange>,
        resized: &HashMap<DiskIndex, &Arc<Disk>>,
        described: &Described,
        done: &mut Vec<Change>,
    ) -> (LunChange, Vec<DiskIndex>) {
        let (mut order, mut left) = (LunChange::default(), Vec::new());
        let told = |placed: &PlacedDisk| placed.disk.text.clone();
        for placed in change.iter().flat_map(|change| &change.remove) {
            order.remove.push(address(placed));
            left.extend(described.of(&placed.disk).map(|disk| disk.index));
            done.push(Change::DiskRemoved(self.socket().clone(), placed.target, placed.lun, told(placed)));
        }
        let removed: HashSet<_> = order.remove.iter().collect();
        for Placement { address, disk } in self.placements.iter().filter(|stays| !removed.contains(&stays.address)) {
            if let Some(&after) = resized.get(&disk.index) {
                order.replace.push(Placement { address: *address, disk: after.clone() });
                left.push(disk.index);
            }
        }
        for placed in change.iter().flat_map(|change| &change.add) {
            order.add.push(placement(placed, described));
            done.push(Change::DiskAdded(self.socket().clone(), placed.target, placed.lun, told(placed)));
        }
        (order, left)
    }

    /// Notes what it will serve.
    fn follow(&mut self, order: &LunChange) {
        let removed: HashSet<_> = order.remove.iter().collect();
        let replaced: HashMap<_, _> = order.replace.iter().map(|replaced| (replaced.address, replaced)).collect();
        self.placements.retain(|placement| !removed.contains(&placement.address));
        for placement in &mut self.placements {
            if let Some(&replaced) = replaced.get(&placement.address) {
                *placement = replaced.clone();
            }
        }
        self.placements.extend_from_slice(&order.add);
    }

    /// Has the control thread change its logical units. The gate opens when no request is on one that left.
    fn order(&self, change: LunChange) -> Gate {
        let (reply, answer) = mpsc::channel();
        self.adapter.orders.push(Order { change, reply });
        self.adapter.outbox.ring();
        answer.recv_timeout(ANSWER_MAX).unwrap_or_else(|_| {
            tracing::error!(controller = self.adapter.name, "its thread does not answer");
            let (gate, passes) = Gate::new(1);
            // What it may do later is not known: nothing that it uses is let go of.
            passes.into_iter().for_each(std::mem::forget);
            gate
        })
    }
}

fn placement(placed: &PlacedDisk, described: &Described) -> Placement {
    let disk = described.of(&placed.disk).expect("every disk was opened").clone();
    Placement { address: address(placed), disk }
}

fn address(placed: &PlacedDisk) -> Address {
    Address { target: placed.target, lun: placed.lun }
}
