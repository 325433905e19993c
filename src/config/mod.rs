//! Command line, CPU masks, disk strings and the configuration file: from text to a checked [`ServeConfig`].
//!
//! Owns every rule about what a user may write. Opens no disk and no socket; `target` does that with the result.

mod cli;
mod cpumask;
mod create;
mod disk;
mod file;
mod port;
mod queue_cpus;
mod scope;

pub use cli::{Cli, CliError, Command, parse};
pub use cpumask::CpuSet;
pub use create::{CreateConfig, Preallocation};
pub use disk::DiskConfig;
pub use file::ConfigFile;
pub use port::AccessState;
pub use queue_cpus::QueueCpus;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Targets are addressed by one byte of the eight LUN bytes (virtio 1.2, 5.6.6.1).
pub const MAX_TARGETS: u16 = 256;
/// LUNs that the flat addressing format can name (SAM-5, 4.7.7.3).
pub const MAX_LUNS: u16 = 16384;
/// Request queues that one controller can have.
pub const MAX_QUEUES: u16 = 64;

/// All that `annulus serve` was asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// At least one; sockets are distinct.
    pub controllers: Vec<ControllerConfig>,
    /// Where reservations are kept over a restart; none if there is no such place.
    pub state_dir: Option<PathBuf>,
    /// Whether guest memory is registered with io_uring.
    pub register: Register,
    /// Longest piece in which it is, in bytes; the kernel's limit if not given. For tests.
    pub register_chunk: Option<u64>,
    /// Where the controllers were read, and can be read again.
    pub file: Option<ConfigFile>,
}

impl ServeConfig {
    /// What the reactor of `cpu` does when there is no work: of what the controllers want whose queues it may serve, that
    /// which sleeps least.
    pub fn idle_of(&self, cpu: usize) -> Idle {
        let concerned = self.controllers.iter().filter(|controller| controller.cpus.cpus().contains(&cpu));
        concerned.map(|controller| controller.idle).min().unwrap_or_default()
    }
}

/// One virtio-scsi controller.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerConfig {
    /// Where its client connects.
    pub socket: PathBuf,
    /// CPUs whose reactors serve its queues.
    pub cpus: CpuSet,
    /// Request queues that it offers, 1 to [`MAX_QUEUES`].
    pub queues: u16,
    /// CPUs of `cpus` that were chosen for some of them.
    pub queue_cpus: QueueCpus,
    /// What its reactors do when there is no work.
    pub idle: Idle,
    /// Formats of virtqueues that it offers.
    pub ring: RingFormat,
    /// The target port group that it is in, from 1; none if all controllers reach their disks as well.
    pub port_group: Option<u16>,
    /// How well its group reaches the disks at first.
    pub access_state: AccessState,
    /// Its disks, each at its own address. One that several controllers share is the same `Arc` in each.
    pub disks: Vec<PlacedDisk>,
}

/// A disk and where the guest finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedDisk {
    /// Target, 0 to 255.
    pub target: u8,
    /// Logical unit, below [`MAX_LUNS`].
    pub lun: u16,
    /// The disk.
    pub disk: Arc<DiskConfig>,
}

/// Formats of virtqueues that a driver may choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RingFormat {
    /// Either.
    #[default]
    Auto,
    /// Only split rings.
    Split,
    /// Only packed rings: a driver that does not know them, as firmware, is refused.
    Packed,
}

/// Whether guest memory is registered with io_uring, which pins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    /// Where it helps and is allowed.
    #[default]
    Auto,
    /// Never: for guests that give memory back while they run.
    Off,
}

/// What a reactor does when there is no work. The order is that of how much it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Never sleep.
    Spin,
    /// Spin while there is work and for a short time after, then sleep until a doorbell, a completion or a message.
    #[default]
    Adaptive,
    /// Sleep as soon as there is nothing to do.
    Sleep,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "spin",
            Self::Adaptive => "adaptive",
            Self::Sleep => "sleep",
        })
    }
}

impl Idle {
    /// How long a reactor spins without work before it sleeps; `None` means for ever.
    pub const fn spin(self) -> Option<Duration> {
        match self {
            Self::Spin => None,
            Self::Adaptive => Some(Duration::from_micros(200)),
            Self::Sleep => Some(Duration::ZERO),
        }
    }
}

/// What is wrong with what the user wrote, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A CPU mask that cannot be read.
    #[error("bad CPU mask '{mask}': {why}; write it as a hexadecimal mask (0x5) or a list ([0,2-3])")]
    CpuMask {
        /// As written.
        mask: String,
        /// What is wrong.
        why: String,
    },
    /// A disk string that cannot be read.
    #[error("bad disk '{disk}': {why}")]
    Disk {
        /// As written.
        disk: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A disk that cannot be made.
    #[error("cannot make {path}: {why}")]
    Create {
        /// As written.
        path: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// Two disks at one address.
    #[error(
        "controller {socket}: two disks at target {target}, lun {lun} ({first} and {second}); give one of them another target= or lun="
    )]
    SameAddress {
        /// The controller's socket.
        socket: String,
        /// Shared target.
        target: u8,
        /// Shared LUN.
        lun: u16,
        /// One disk.
        first: String,
        /// The other disk.
        second: String,
    },
    /// More disks than there are targets.
    #[error("controller {0}: no target is left for a disk without target=; give it one and a lun= of its own")]
    NoTargetLeft(String),
    /// A controller without a disk.
    #[error("controller {0} has no disk; add --disk PATH (or --disk null:size=1T to try it out)")]
    NoDisk(String),
    /// No controller at all.
    #[error("nothing to serve: give --socket PATH and --disk PATH, or --config FILE")]
    NoController,
    /// Two controllers on one socket.
    #[error("socket {0} stands twice; each controller needs a socket of its own")]
    SameSocket(String),
    /// A queue count out of range.
    #[error("controller {socket}: --queues {queues} is out of range; it can be 1 to {MAX_QUEUES}")]
    Queues {
        /// The controller's socket.
        socket: String,
        /// As written.
        queues: u32,
    },
    /// Homes of queues that cannot be read.
    #[error("bad queue CPUs '{text}': {why}; write QUEUE:CPU,... with queues counted from 0 (0:2,1-3:3)")]
    QueueCpus {
        /// As written.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A home for a queue that the controller does not have.
    #[error("controller {socket}: --queue-cpus names queue {queue}, and it has {queues} (see --queues)")]
    NoSuchQueue {
        /// The controller's socket.
        socket: String,
        /// The queue, counted from 0.
        queue: u16,
        /// How many there are.
        queues: u32,
    },
    /// A target port group that cannot be so.
    #[error("controller {socket}: {why}")]
    PortGroup {
        /// The controller's socket.
        socket: String,
        /// What is wrong.
        why: String,
    },
    /// A home that is none of the controller's CPUs.
    #[error("controller {socket}: --queue-cpus puts queue {queue} on CPU {cpu}, and its --cpumask is {cpus}")]
    NotItsCpu {
        /// The controller's socket.
        socket: String,
        /// The queue, counted from 0.
        queue: u16,
        /// The CPU.
        cpu: usize,
        /// Those of its mask.
        cpus: String,
    },
    /// An option given twice for one controller.
    #[error("{option} stands twice for {scope}; keep one of them")]
    Twice {
        /// The option.
        option: &'static str,
        /// The controller, or all of them.
        scope: String,
    },
    /// A mistake in the configuration file.
    #[error("{path}:{line}: {why}")]
    FileLine {
        /// The file.
        path: String,
        /// Where it begins, from 1 on.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
}
