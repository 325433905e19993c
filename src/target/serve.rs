//! Start and end of everything: disks, reactors, controllers and their threads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use bdev::Registrar;
use reactor::{Config, Cpu, CpuError, Handle, IdlePolicy, Reactor, SpawnError};
use rustix::event::{EventfdFlags, eventfd};

use crate::config::{self, ControllerConfig, DiskConfig, Idle, ServeConfig};
use crate::scsi::Port;
use crate::scsi::port_groups::AccessState;
use crate::vfio_user::{BindError, Server};
use crate::virtio_scsi::Address;

use super::backend::Backends;
use super::controller::{Controller, Offer};
use super::core::Core;
use super::disk::{Disk, DiskError, DiskIndex, check_identities};
use super::engine::Engine;
use super::homes;
use super::lun_map::{LunMap, Placement};
use super::message::Message;
use super::sharing::Office;
use super::sharing::clerk::{Clerk, Order};
use super::sharing::store::Store;
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
    reactors: Vec<Reactor<Message>>,
    controllers: Vec<Running>,
    summary: Summary,
    registrar: Option<Registrar>,
    clerk: Assistant,
    clean: Arc<AtomicBool>,
}

/// The clerk's thread.
#[derive(Debug)]
struct Assistant {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

/// A controller with its thread.
#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    bell: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
}

impl Target {
    /// Opens the disks, listens on the sockets and starts all threads.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(config: &ServeConfig) -> Result<Self, StartError> {
        all_cpus(config).into_iter().try_for_each(Cpu::check)?;
        let (orders, clerk) = Clerk::new();
        let disks = Disks::open(config, &Office::new(orders.clone(), open_store(config)))?;
        let homes = homes::deal(&config.controllers);
        let engine = Engine::probe(config);
        let summary = Summary::new(config, &homes, &disks.opened, engine.description);
        let servers = bind_all(config)?;
        let clean = Arc::new(AtomicBool::new(true));
        let makings =
            Makings { disks: disks.opened.clone(), registrar: engine.registrar.clone(), clean: clean.clone() };
        let reactors = spawn_reactors(config, &makings)?;
        let registrar = engine.registrar;
        let clerk = Assistant { orders, thread: spawn_clerk(clerk)? };
        let mut target = Self { reactors, controllers: Vec::new(), summary, registrar, clerk, clean };
        for (number, (config, server)) in config.controllers.iter().zip(servers).enumerate() {
            match target.spawn_controller(number, config, &homes[number], server, &disks) {
                Ok(running) => target.controllers.push(running),
                Err(error) => {
                    target.stop();
                    return Err(StartError::Thread { name: config.socket.display().to_string(), error });
                }
            }
        }
        Ok(target)
    }

    /// What is served, and how to attach to it, for the user.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Lets go of the clients, ends what is in flight, flushes the disks and removes the sockets. False if a disk did not
    /// answer, or not well: the log says which.
    pub fn stop(self) -> bool {
        for controller in &self.controllers {
            controller.stop.store(true, Ordering::Release);
            // A full counter is a bell that rings already.
            let _ = rustix::io::write(&*controller.bell, &1_u64.to_ne_bytes());
        }
        for controller in self.controllers {
            if controller.thread.join().is_err() {
                tracing::error!("a controller's thread panicked");
            }
        }
        self.reactors.iter().for_each(Reactor::stop);
        for reactor in self.reactors {
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

    fn spawn_controller(
        &self,
        number: usize,
        config: &ControllerConfig,
        homes: &[usize],
        mut server: Server,
        disks: &Disks,
    ) -> io::Result<Running> {
        let name = config.socket.display().to_string();
        let own: Vec<_> =
            self.reactors.iter().filter(|reactor| config.cpus.cpus().contains(&reactor.cpu().0)).collect();
        let place = |cpu: &usize| own.iter().position(|reactor| reactor.cpu().0 == *cpu).expect("a CPU of the mask");
        let homes = homes.iter().map(place).collect();
        let reactors: Arc<[Handle<Message>]> = own.into_iter().map(Reactor::handle).collect();
        let port = Port { group: config.port_group, ..Port::derive(number as u16 + 1, &name) };
        let port = TargetPort::new(port, &name, access_state(config.access_state), reactors.clone());
        let luns = LunMap::at_port(disks.placements(config), Arc::new(port));
        let offer = Offer { queues: config.queues, ring: config.ring };
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut controller = Controller::new(name.clone(), luns, offer, (reactors, homes), bell.clone());
        if let Some(registrar) = &self.registrar {
            controller.register_with(registrar.clone());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (thread_bell, thread_stop) = (bell.clone(), stop.clone());
        let thread = std::thread::Builder::new().name(format!("ctrl-{number}")).spawn(move || {
            if let Err(error) = server.run(&mut controller, thread_bell.as_fd(), &thread_stop) {
                tracing::error!(controller = name, "stopped serving: {error}");
            }
        })?;
        Ok(Running { thread, bell, stop })
    }
}

/// The disks of all controllers, each opened once.
struct Disks {
    opened: Arc<[Arc<Disk>]>,
    configs: Vec<Arc<DiskConfig>>,
}

impl Disks {
    fn open(config: &ServeConfig, office: &Office) -> Result<Self, DiskError> {
        let mut configs: Vec<Arc<DiskConfig>> = Vec::new();
        for placed in config.controllers.iter().flat_map(|controller| &controller.disks) {
            if !configs.iter().any(|known| Arc::ptr_eq(known, &placed.disk)) {
                configs.push(placed.disk.clone());
            }
        }
        let mut backends = Backends::default();
        let opened = configs
            .iter()
            .enumerate()
            .map(|(index, config)| Disk::open(config, DiskIndex(index), &mut backends, office).map(Arc::new))
            .collect::<Result<Arc<[_]>, _>>()?;
        check_identities(&opened)?;
        Ok(Self { opened, configs })
    }

    fn placements(&self, controller: &ControllerConfig) -> Vec<Placement> {
        let place = |placed: &crate::config::PlacedDisk| {
            let known = |config: &Arc<DiskConfig>| Arc::ptr_eq(config, &placed.disk);
            let index = self.configs.iter().position(known).expect("every disk was opened");
            let address = Address { target: placed.target, lun: placed.lun };
            Placement { address, disk: self.opened[index].clone() }
        };
        controller.disks.iter().map(place).collect()
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

fn all_cpus(config: &ServeConfig) -> Vec<Cpu> {
    let mut cpus: Vec<usize> =
        config.controllers.iter().flat_map(|controller| controller.cpus.cpus()).copied().collect();
    cpus.sort_unstable();
    cpus.dedup();
    cpus.into_iter().map(Cpu).collect()
}

fn bind_all(config: &ServeConfig) -> Result<Vec<Server>, BindError> {
    config.controllers.iter().map(|controller| Server::bind(&controller.socket)).collect()
}

/// What each core is made of.
#[derive(Clone)]
struct Makings {
    disks: Arc<[Arc<Disk>]>,
    registrar: Option<Registrar>,
    clean: Arc<AtomicBool>,
}

fn spawn_reactors(config: &ServeConfig, makings: &Makings) -> Result<Vec<Reactor<Message>>, SpawnError<io::Error>> {
    let spawn = |cpu: Cpu| {
        let Makings { disks, registrar, clean } = makings.clone();
        let reactor = Config::new(cpu, format!("reactor-{}", cpu.0), idle_policy(config.idle_of(cpu.0)));
        reactor::spawn(reactor, move || Core::new(disks, registrar, clean))
    };
    all_cpus(config).into_iter().map(spawn).collect()
}

fn access_state(state: config::AccessState) -> AccessState {
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
