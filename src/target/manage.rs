//! What a target serves changes while it runs: disks and controllers come and go, disks grow and shrink.
//!
//! Every change is one [`plan`], which is prepared as a whole and only then carried out (see [`apply`](super::apply)): what
//! cannot be done leaves everything as it was. Called on one thread at a time, and never by a reactor or a control thread,
//! whose work it waits for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bdev::Bdev;

use crate::config::{AccessState, ControllerConfig, PlacedDisk, ServeConfig};

use super::disk::Disk;
use super::plan::{Plan, PlanError, plan};
use super::serve::{StartError, Target};

/// Why something cannot change: one line for the user. Nothing was changed, except that a controller whose thread does not
/// start is not there.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It contradicts what is served.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What is new cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A new controller wants a CPU to sleep less than it does.
    #[error("controller {socket} wants CPU {cpu} to be idle as '{wanted}', and it runs with '{running}': restart")]
    Idle {
        /// The controller's socket.
        socket: String,
        /// The CPU.
        cpu: usize,
        /// Of the controller.
        wanted: String,
        /// Of the CPU's reactor.
        running: String,
    },
    /// A reactor cannot take a disk.
    #[error("CPU {cpu} cannot serve disk '{disk}': {error}")]
    Channel {
        /// The CPU.
        cpu: usize,
        /// The disk.
        disk: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// There is no such controller.
    #[error("no controller is served at {0}")]
    NoController(String),
    /// There is a controller already.
    #[error("a controller is served at {0} already")]
    SameController(String),
    /// There is no disk at an address.
    #[error("controller {socket} has no disk at target {target} lun {lun}")]
    NoDisk {
        /// The controller's socket.
        socket: String,
        /// The target.
        target: u8,
        /// The logical unit.
        lun: u16,
    },
    /// There is a disk at an address already.
    #[error("controller {socket} has a disk at target {target} lun {lun} already")]
    Occupied {
        /// The controller's socket.
        socket: String,
        /// The target.
        target: u8,
        /// The logical unit.
        lun: u16,
    },
}

/// Something that has changed, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A controller is served.
    ControllerAdded(PathBuf),
    /// A controller is no longer served.
    ControllerRemoved(PathBuf),
    /// A guest has one more disk: socket, target, lun, disk.
    DiskAdded(PathBuf, u8, u16, String),
    /// A guest has one disk less: socket, target, lun, disk.
    DiskRemoved(PathBuf, u8, u16, String),
    /// A disk has another size: the disk, its bytes before and after.
    Resized(String, u64, u64),
    /// A target port group has another state.
    PortState(u16, AccessState),
    /// Removed disks have not answered all commands yet: they stay open until they have.
    Lingers(PathBuf),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControllerAdded(socket) => write!(f, "controller {}: added", socket.display()),
            Self::ControllerRemoved(socket) => write!(f, "controller {}: removed", socket.display()),
            Self::DiskAdded(socket, target, lun, disk) => {
                write!(f, "controller {}: added {disk} as target {target} lun {lun}", socket.display())
            }
            Self::DiskRemoved(socket, target, lun, disk) => {
                write!(f, "controller {}: removed {disk} at target {target} lun {lun}", socket.display())
            }
            Self::Resized(disk, before, after) => write!(f, "disk {disk}: was {before} bytes, has {after} now"),
            Self::PortState(group, state) => write!(f, "port group {group}: {state} now"),
            Self::Lingers(socket) => {
                write!(f, "controller {}: a disk has not answered yet and stays open until it has", socket.display())
            }
        }
    }
}

impl Target {
    /// Becomes what `wanted` describes, as far as that differs from what is served. Returns what was done.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was done.
    pub fn reload(&mut self, wanted: &ServeConfig) -> Result<Vec<Change>, ChangeError> {
        self.settle(Instant::now());
        let plan = plan(&self.config().controllers, wanted)?;
        self.apply(plan, Vec::new())
    }

    /// Looks at the sizes of all disks, and tells the guests of those that have grown or shrunk. A disk whose size is none
    /// keeps the one that it had; the log says so.
    ///
    /// # Errors
    /// [`ChangeError::Channel`]: nothing was done.
    pub fn resize(&mut self) -> Result<Vec<Change>, ChangeError> {
        self.settle(Instant::now());
        let mut found = Vec::new();
        for disk in self.shown() {
            match disk.bdev.resized() {
                Ok(None) => {}
                Ok(Some(_)) if disk.hold.is_busy() => {
                    tracing::warn!(disk = disk.config.text, "it keeps its size until the work on all of it has ended");
                }
                Ok(Some(bdev)) => found.push((disk.clone(), bdev)),
                Err(error) => tracing::warn!(disk = disk.config.text, "it keeps its size: {error}"),
            }
        }
        self.take_sizes(found)
    }

    /// The same for disks that have grown, in whole blocks: costs one system call for each disk where none has. One that shrinks
    /// loses what it had, which may be a mistake that is undone; one that has no whole blocks is about to grow further.
    ///
    /// # Errors
    /// [`ChangeError::Channel`]: nothing was done.
    pub fn follow_growth(&mut self) -> Result<Vec<Change>, ChangeError> {
        // One change after the other: a disk that does not answer has its old size open, too.
        if self.is_settling() {
            self.settle(Instant::now());
            if self.is_settling() {
                return Ok(Vec::new());
            }
        }
        let has_grown = |disk: &&Arc<Disk>| {
            let info = disk.bdev.info();
            let size = disk.bdev.size_now().unwrap_or(0);
            size > info.size() && size.is_multiple_of(info.block_size.into()) && !disk.hold.is_busy()
        };
        let grown = self.shown().filter(has_grown);
        let found: Vec<_> = grown.filter_map(|disk| Some((disk.clone(), disk.bdev.resized().ok()??))).collect();
        if found.is_empty() { Ok(Vec::new()) } else { self.take_sizes(found) }
    }

    /// Disks go on on devices with other sizes.
    fn take_sizes(&mut self, found: Vec<(Arc<Disk>, Arc<dyn Bdev>)>) -> Result<Vec<Change>, ChangeError> {
        let mut resized = Vec::new();
        for (before, bdev) in found {
            let after = before.resized(&before.config, bdev, self.shelf.free_index());
            resized.push((before, self.shelf.keep(after)));
        }
        self.apply(Plan::default(), resized)
    }

    /// Gives a controller one more disk.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was done.
    pub fn add_disk(&mut self, socket: &Path, placed: PlacedDisk) -> Result<Vec<Change>, ChangeError> {
        let PlacedDisk { target, lun, .. } = placed;
        self.edit(socket, |controller| {
            if controller.disks.iter().any(|other| (other.target, other.lun) == (target, lun)) {
                return Err(ChangeError::Occupied { socket: socket.display().to_string(), target, lun });
            }
            controller.disks.push(placed);
            Ok(())
        })
    }

    /// Takes the disk at an address away from a controller. What is in flight is answered with TRANSPORT_FAILURE.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was done.
    pub fn remove_disk(&mut self, socket: &Path, target: u8, lun: u16) -> Result<Vec<Change>, ChangeError> {
        self.edit(socket, |controller| {
            let count = controller.disks.len();
            controller.disks.retain(|placed| (placed.target, placed.lun) != (target, lun));
            if controller.disks.len() == count {
                return Err(ChangeError::NoDisk { socket: socket.display().to_string(), target, lun });
            }
            Ok(())
        })
    }

    /// Serves one more controller.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was done.
    pub fn add_controller(&mut self, controller: ControllerConfig) -> Result<Vec<Change>, ChangeError> {
        let mut wanted = self.config();
        if wanted.controllers.iter().any(|other| other.socket == controller.socket) {
            return Err(ChangeError::SameController(controller.socket.display().to_string()));
        }
        wanted.controllers.push(controller);
        self.reload(&wanted)
    }

    /// Lets go of a controller's client, and serves that controller no more.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was done.
    pub fn remove_controller(&mut self, socket: &Path) -> Result<Vec<Change>, ChangeError> {
        let mut wanted = self.config();
        let count = wanted.controllers.len();
        wanted.controllers.retain(|controller| controller.socket != socket);
        if wanted.controllers.len() == count {
            return Err(ChangeError::NoController(socket.display().to_string()));
        }
        self.reload(&wanted)
    }

    fn edit(
        &mut self,
        socket: &Path,
        edit: impl FnOnce(&mut ControllerConfig) -> Result<(), ChangeError>,
    ) -> Result<Vec<Change>, ChangeError> {
        let mut wanted = self.config();
        let controller = wanted.controllers.iter_mut().find(|controller| controller.socket == socket);
        edit(controller.ok_or_else(|| ChangeError::NoController(socket.display().to_string()))?)?;
        self.reload(&wanted)
    }
}
