//! A running target: its reactors, its controllers and their threads, and the end of it all. To start is the first
//! [change](super::manage).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use reactor::{Config, Cpu, CpuError, Gate, Handle, IdlePolicy, Reactor, SpawnError};
use rustix::event::{EventfdFlags, eventfd};

use crate::config::{self, ControllerConfig, Idle, ServeConfig};
use crate::scsi::Port;
use crate::scsi::port_groups::AccessState;
use crate::vfio_user::{BindError, Server};

use super::adapter::Adapter;
use super::backend::Backends;
use super::controller::{Controller, Offer};
use super::core::Core;
use super::disk::{DiskError, DiskIndex};
use super::engine::Engine;
use super::lun_map::{LunMap, Placement};
use super::manage::ChangeError;
use super::message::Message;
use super::sharing::Office;
use super::sharing::clerk::{Clerk, Order};
use super::sharing::store::Store;
use super::sharing::surveyor::Surveyor;
use super::shelf::Shelf;
use super::summary::Summary;
use super::target_port::TargetPort;

/// Why the target cannot start: one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A CPU of a mask.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// A reactor.
    #[error(transparent)]
    Reactor(#[from] SpawnError<io::Error>),
    /// The thread that changes reservations.
    #[error("cannot start a thread: {0}")]
    Clerk(io::Error),
    /// A controller's thread, or the eventfd that wakes it.
    #[error("cannot start a thread for controller {name}: {error}")]
    Thread {
        /// The controller's socket.
        name: String,
        /// What the system says.
        error: io::Error,
    },
}

/// A running target. [`Target::stop`] ends it in order.
#[derive(Debug)]
pub struct Target {
    pub(super) reactors: Vec<ServingReactor>,
    pub(super) controllers: Vec<Running>,
    pub(super) shelf: Shelf,
    pub(super) backends: Backends,
    /// Disks that reactors let go of, and the gate that opens when all have.
    pub(super) closing: Vec<(DiskIndex, Gate)>,
    /// Reactors that no controller needs any more.
    pub(super) ending: Vec<Reactor<Message>>,
    pub(super) clean: Arc<AtomicBool>,
    pub(super) office: Arc<Office>,
    clerk: Assistant,
    _surveyor: Surveyor,
    pub(super) engine: Engine,
    /// Where reservations are kept, which cannot change.
    state_dir: Option<PathBuf>,
}

/// A reactor and what it does without work, which is fixed.
#[derive(Debug)]
pub(super) struct ServingReactor {
    pub(super) reactor: Reactor<Message>,
    pub(super) idle: Idle,
}

/// The clerk's thread.
#[derive(Debug)]
struct Assistant {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

/// A controller with its thread.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) config: ControllerConfig,
    /// The CPU of each request queue.
    pub(super) homes: Vec<usize>,
    pub(super) adapter: Arc<Adapter>,
    /// Its logical units.
    pub(super) placements: Vec<Placement>,
    /// Gates that open when nothing is on logical units that left, and the disks that those had.
    pub(super) leaving: Vec<(Gate, Vec<DiskIndex>)>,
    /// Which port of its disks it is: no other that is served has this number.
    port: u16,
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Target {
    /// Opens the disks, listens on the sockets and starts all threads.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(config: &ServeConfig) -> Result<Self, StartError> {
        let (orders, clerk) = Clerk::new();
        let office = Arc::new(Office::new(orders.clone(), open_store(config)));
        let surveyor = Surveyor::spawn(&Arc::downgrade(&office)).map_err(StartError::Clerk)?;
        let mut target = Self {
            reactors: Vec::new(),
            controllers: Vec::new(),
            shelf: Shelf::default(),
            backends: Backends::default(),
            closing: Vec::new(),
            ending: Vec::new(),
            clean: Arc::new(AtomicBool::new(true)),
            office,
            _surveyor: surveyor,
            clerk: Assistant { orders, thread: spawn_clerk(clerk)? },
            engine: Engine::new(config),
            state_dir: config.state_dir.clone(),
        };
        match target.reload(config) {
            Ok(_) => Ok(target),
            Err(error) => {
                target.stop();
                match error {
                    ChangeError::Start(error) => Err(error),
                    other => unreachable!("nothing is there that could be in the way: {other}"),
                }
            }
        }
    }

    /// What is served now, and how to attach to it, for the user.
    pub fn summary(&self) -> Summary {
        let controllers = self.controllers.iter().map(|running| (running.config.clone(), running.homes.clone()));
        let disks = self.controllers.iter().flat_map(|running| &running.placements);
        let disks = disks.map(|placement| &placement.disk).collect();
        Summary::new(controllers.collect(), disks, self.engine.description().map(str::to_owned))
    }

    /// What it serves now.
    pub fn config(&self) -> ServeConfig {
        let (register, register_chunk) = self.engine.wanted();
        let controllers = self.controllers.iter().map(|running| running.config.clone()).collect();
        ServeConfig { controllers, state_dir: self.state_dir.clone(), register, register_chunk, file: None }
    }

    /// Lets go of the clients, ends what is in flight, flushes the disks and removes the sockets. False if a disk did not
    /// answer, or not well: the log says which.
    pub fn stop(mut self) -> bool {
        self.controllers.iter().for_each(Running::ask_stop);
        self.controllers.drain(..).for_each(Running::join);
        let reactors = self.reactors.drain(..).map(|serving| serving.reactor);
        let reactors: Vec<_> = self.ending.drain(..).chain(reactors).collect();
        reactors.iter().for_each(Reactor::stop);
        for reactor in reactors {
            if let Err(panicked) = reactor.join() {
                tracing::error!("the reactor of CPU {} panicked", panicked.0.0);
                self.clean.store(false, Ordering::Relaxed);
            }
        }
        // It waits for nothing any more: who has ended has no commands.
        let _ = self.clerk.orders.send(Order::Stop);
        if self.clerk.thread.join().is_err() {
            tracing::error!("the thread that changes reservations panicked");
        }
        self.clean.load(Ordering::Relaxed)
    }

    /// Starts a reactor with all disks but those that the others let go of.
    pub(super) fn spawn_reactor(&mut self, cpu: usize, idle: Idle) -> Result<(), SpawnError<io::Error>> {
        let closing = self.closing();
        let disks: Vec<_> = self.shelf.iter().filter(|disk| !closing.contains(&disk.index)).cloned().collect();
        let (registrar, clean) = (self.engine.registrar(), self.clean.clone());
        let config = Config::new(Cpu(cpu), format!("reactor-{cpu}"), idle_policy(idle));
        let reactor = reactor::spawn(config, move || Core::new(disks.into(), registrar, clean))?;
        self.reactors.push(ServingReactor { reactor, idle });
        Ok(())
    }

    /// Starts a controller whose CPUs all have reactors.
    pub(super) fn spawn_controller(
        &mut self,
        config: ControllerConfig,
        homes: Vec<usize>,
        mut server: Server,
        placements: Vec<Placement>,
    ) -> io::Result<()> {
        let name = config.socket.display().to_string();
        let reactors = self.reactors.iter().map(|serving| &serving.reactor);
        let own: Vec<_> = reactors.filter(|reactor| config.cpus.cpus().contains(&reactor.cpu().0)).collect();
        let place = |cpu: &usize| own.iter().position(|reactor| reactor.cpu().0 == *cpu).expect("a CPU of the mask");
        let places = homes.iter().map(place).collect();
        let reactors: Arc<[Handle<Message>]> = own.into_iter().map(Reactor::handle).collect();
        let number = self.free_port();
        let port = Port { group: config.port_group, ..Port::derive(number, &name) };
        let port = TargetPort::new(port, &name, access_state(config.access_state), reactors.clone());
        let luns = LunMap::at_port(placements.clone(), Arc::new(port));
        let offer = Offer { queues: config.queues, ring: config.ring };
        let bell: Arc<OwnedFd> = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut controller = Controller::new(name.clone(), luns, offer, (reactors, places), bell.clone());
        controller.register_with(self.engine.registrar());
        let (adapter, stop) = (controller.adapter.clone(), Arc::new(AtomicBool::new(false)));
        let thread_stop = stop.clone();
        let thread = std::thread::Builder::new().name(format!("ctrl-{}", number - 1)).spawn(move || {
            if let Err(error) = server.run(&mut controller, bell.as_fd(), &thread_stop) {
                tracing::error!(controller = name, "stopped serving: {error}");
            }
        })?;
        let leaving = Vec::new();
        self.controllers.push(Running { config, homes, adapter, placements, leaving, port: number, thread, stop });
        Ok(())
    }

    fn free_port(&self) -> u16 {
        let is_free = |port: &u16| !self.controllers.iter().any(|running| running.port == *port);
        (1..=u16::MAX).find(is_free).expect("each controller has an open socket")
    }
}

impl Running {
    /// Where its clients connect.
    pub(super) fn socket(&self) -> &PathBuf {
        &self.config.socket
    }

    /// Asks the thread to let go of its client and to end.
    pub(super) fn ask_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.adapter.outbox.ring();
    }

    /// Waits for the end of the thread, which was asked for it.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a controller's thread panicked");
        }
    }
}

fn spawn_clerk(clerk: Clerk) -> Result<JoinHandle<()>, StartError> {
    let spawned = std::thread::Builder::new().name("clerk".into()).spawn(move || clerk.run());
    spawned.map_err(StartError::Clerk)
}

/// The directory where reservations and mode pages are kept. Without one all else works.
fn open_store(config: &ServeConfig) -> Option<Arc<Store>> {
    let Some(dir) = &config.state_dir else {
        tracing::info!(
            "reservations and mode pages are not kept over a restart: there is no directory for them (see --state-dir)"
        );
        return None;
    };
    match Store::open(dir) {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            let dir = dir.display();
            tracing::warn!("reservations and mode pages are not kept over a restart: {dir}: {error} (see --state-dir)");
            None
        }
    }
}

pub(super) fn access_state(state: config::AccessState) -> AccessState {
    match state {
        config::AccessState::Optimized => AccessState::ActiveOptimized,
        config::AccessState::NonOptimized => AccessState::ActiveNonOptimized,
        config::AccessState::Standby => AccessState::Standby,
        config::AccessState::Unavailable => AccessState::Unavailable,
    }
}

fn idle_policy(idle: Idle) -> IdlePolicy {
    match idle.spin() {
        None => IdlePolicy::Spin,
        Some(spin) if spin.is_zero() => IdlePolicy::Sleep,
        Some(spin) => IdlePolicy::Adaptive { spin_ns: spin.as_nanos() as u64 },
    }
}
