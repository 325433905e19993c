//! Disks: a block device with a name, opened once however many controllers show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bdev::{Bdev, DelayBdev, Delays, Direct, FileBdev, FileOptions, MemBdev, NullBdev, OpenError};

use crate::config::{BackendConfig, DirectMode, DiskConfig};
use crate::scsi::{Identity, IdentityError, Naa};

/// Logical block size where the user names none, in bytes.
const DEFAULT_BLOCK_SIZE: u32 = 512;

/// Place of a disk among all that the process serves; each reactor has a channel at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct DiskIndex(pub(crate) usize);

/// A disk that is open.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) index: DiskIndex,
    pub(crate) config: Arc<DiskConfig>,
    pub(crate) bdev: Arc<dyn Bdev>,
    pub(crate) identity: Identity,
    /// START STOP UNIT has stopped it, for all who use it.
    stopped: AtomicBool,
}

/// Why a disk cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The backend does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name that does not fit where SCSI has it.
    #[error("bad disk '{disk}': {error}")]
    Identity {
        /// As the user wrote it.
        disk: String,
        /// What is wrong.
        error: IdentityError,
    },
}

impl Disk {
    /// Opens the disk that `config` describes.
    pub(crate) fn open(config: &Arc<DiskConfig>, index: DiskIndex) -> Result<Self, DiskError> {
        let identity = identify(config).map_err(|error| DiskError::Identity { disk: config.text.clone(), error })?;
        Ok(Self { index, config: config.clone(), bdev: open_bdev(config)?, identity, stopped: AtomicBool::new(false) })
    }

    /// A disk on a device that a test has made.
    #[cfg(test)]
    pub(crate) fn of(bdev: Arc<dyn Bdev>, index: DiskIndex) -> Self {
        let config = Arc::new(DiskConfig::parse("null:size=1M").expect("a legal disk"));
        let identity = Identity::derive(&format!("disk {}", index.0));
        Self { index, config, bdev, identity, stopped: AtomicBool::new(false) }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }
}

fn open_bdev(config: &DiskConfig) -> Result<Arc<dyn Bdev>, OpenError> {
    let block_size = config.block_size.unwrap_or(DEFAULT_BLOCK_SIZE);
    let bdev: Arc<dyn Bdev> = match &config.backend {
        BackendConfig::File { path, direct } => {
            let direct = match direct {
                DirectMode::Auto => Direct::Auto,
                DirectMode::On => Direct::On,
                DirectMode::Off => Direct::Off,
            };
            let options = FileOptions { block_size: config.block_size, read_only: config.read_only, direct };
            Arc::new(FileBdev::open(path, options)?)
        }
        BackendConfig::Null { size } => Arc::new(NullBdev::new(*size, block_size)?),
        BackendConfig::Mem { size } => Arc::new(MemBdev::new(*size, block_size)?),
    };
    Ok(match config.delay {
        Some(delay) => Arc::new(DelayBdev::new(bdev, Delays::all(delay))),
        None => bdev,
    })
}

fn identify(config: &DiskConfig) -> Result<Identity, IdentityError> {
    let mut identity = Identity::derive(&config.stable_name());
    if let Some(vendor) = &config.vendor {
        identity = identity.with_vendor(vendor)?;
    }
    if let Some(product) = &config.product {
        identity = identity.with_product(product)?;
    }
    if let Some(revision) = &config.revision {
        identity = identity.with_revision(revision)?;
    }
    if let Some(serial) = &config.serial {
        identity = identity.with_serial(serial)?;
    }
    match &config.naa {
        Some(naa) => Ok(identity.with_naa(Naa::parse(naa)?)),
        None => Ok(identity),
    }
}
