//! From what a disk string says to a block device: the backend, and the wrappers around it.
//!
//! Parts of one file are disks of their own and share the open file, for it is locked against everybody else.

use std::path::Path;
use std::sync::Arc;

use bdev::nvme::{is_generic, open_any};
use bdev::{
    Bdev, CreateError, CreateOptions, DelayBdev, Delays, Direct, Engine, ErrorBdev, Errors, FileBdev, FileOptions,
    IoError, Iopoll, Kinds, MemBdev, NullBdev, NvmeBdev, NvmeOptions, OpenError, Preallocate, ReadOnlyBdev, SplitBdev,
};

use super::disk::DiskError;
use crate::config::{
    self, BackendConfig, CreateConfig, DirectMode, DiskConfig, ErrorConfig, ErrorKind, Preallocation, Wrappers,
};

/// Logical block size where the user names none, in bytes.
const DEFAULT_BLOCK_SIZE: u32 = 512;

/// The files of which parts are disks.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    parts: Vec<(Arc<DiskConfig>, Arc<dyn Bdev>)>,
}

impl Backends {
    /// Opens the device that `config` describes.
    pub(crate) fn open(&mut self, config: &Arc<DiskConfig>) -> Result<Arc<dyn Bdev>, DiskError> {
        let backend = match config.wrappers.split {
            Some(_) if matches!(config.backend, BackendConfig::File { .. } | BackendConfig::Nvme { .. }) => {
                self.open_shared(config)?
            }
            _ => open_backend(config)?,
        };
        Ok(wrap(backend, &config.wrappers)?)
    }

    /// Forgets the parts that are disks no more.
    pub(crate) fn retain(&mut self, is_open: impl Fn(&Arc<DiskConfig>) -> bool) {
        self.parts.retain(|(config, _)| is_open(config));
    }

    fn open_shared(&mut self, config: &Arc<DiskConfig>) -> Result<Arc<dyn Bdev>, DiskError> {
        let same = |other: &DiskConfig| {
            other.backend == config.backend
                && other.block_size == config.block_size
                && other.read_only == config.read_only
        };
        let others: Vec<_> = self.parts.iter().filter(|(other, _)| same(other)).collect();
        let overlaps = |other: &DiskConfig| match (other.wrappers.split, config.wrappers.split) {
            (Some(other), Some(part)) => other.overlaps(&part),
            _ => true,
        };
        if let Some((other, _)) = others.iter().find(|(other, _)| overlaps(other)) {
            return Err(DiskError::Overlap { first: other.text.clone(), second: config.text.clone() });
        }
        let backend = match others.first() {
            // It may have another size by now.
            Some((_, backend)) => backend.resized()?.unwrap_or_else(|| Arc::clone(backend)),
            None => open_backend(config)?,
        };
        self.parts.push((Arc::clone(config), Arc::clone(&backend)));
        Ok(backend)
    }
}

/// Makes a disk file.
///
/// # Errors
/// [`CreateError`], in words for the user.
pub fn create_disk(config: &CreateConfig) -> Result<(), CreateError> {
    let preallocate = match config.preallocate {
        Preallocation::None => Preallocate::None,
        Preallocation::Falloc => Preallocate::Falloc,
        Preallocation::Full => Preallocate::Full,
    };
    let (size, block_size, force) = (config.size, config.block_size, config.force);
    bdev::create(&config.path, CreateOptions { size, block_size, preallocate, force })
}

fn open_backend(config: &DiskConfig) -> Result<Arc<dyn Bdev>, OpenError> {
    let block_size = config.block_size.unwrap_or(DEFAULT_BLOCK_SIZE);
    let namespace = |iopoll: config::Iopoll| NvmeOptions {
        block_size: config.block_size,
        read_only: config.read_only,
        iopoll: iopoll_of(iopoll),
    };
    let bdev: Arc<dyn Bdev> = match &config.backend {
        BackendConfig::Nvme { path, iopoll } => Arc::new(NvmeBdev::open(path, namespace(*iopoll))?),
        BackendConfig::File { path, engine: config::Engine::Auto, iopoll, direct } if is_generic(path) => {
            refuse_direct(path, *direct)?;
            open_any(path, namespace(*iopoll))?
        }
        BackendConfig::File { path, direct, engine, iopoll } => {
            let direct = match direct {
                DirectMode::Auto => Direct::Auto,
                DirectMode::On => Direct::On,
                DirectMode::Off => Direct::Off,
            };
            let engine = match engine {
                config::Engine::Auto => Engine::Auto,
                config::Engine::Uring => Engine::Uring,
                config::Engine::Threads => Engine::Threads,
            };
            let (block_size, read_only, iopoll) = (config.block_size, config.read_only, iopoll_of(*iopoll));
            Arc::new(FileBdev::open(path, FileOptions { block_size, read_only, direct, engine, iopoll })?)
        }
        BackendConfig::Null { size } => Arc::new(NullBdev::new(*size, block_size)?),
        BackendConfig::Mem { size } => Arc::new(MemBdev::new(*size, block_size)?),
    };
    // Those without a medium have no such mode.
    let is_missed = config.read_only && !bdev.info().read_only;
    Ok(if is_missed { Arc::new(ReadOnlyBdev::new(bdev)) } else { bdev })
}

/// Commands to a namespace know no page cache.
fn refuse_direct(path: &Path, direct: DirectMode) -> Result<(), OpenError> {
    if direct == DirectMode::Auto {
        return Ok(());
    }
    let why = "'direct' does not fit an NVMe namespace: its commands know no page cache. Leave it out, or give its block \
               device, for example /dev/nvme0n1";
    Err(OpenError::Nvme { path: path.to_owned(), why: why.to_owned() })
}

fn iopoll_of(config: config::Iopoll) -> Iopoll {
    match config {
        config::Iopoll::Auto => Iopoll::Auto,
        config::Iopoll::On => Iopoll::On,
        config::Iopoll::Off => Iopoll::Off,
    }
}

/// Puts the wrappers around `bdev`, from the inside out.
fn wrap(mut bdev: Arc<dyn Bdev>, wrappers: &Wrappers) -> Result<Arc<dyn Bdev>, OpenError> {
    let Wrappers { split, error, delay, cancel } = wrappers;
    if let Some(part) = split {
        bdev = Arc::new(SplitBdev::new(bdev, part.offset, part.size)?);
    }
    if let Some(error) = error {
        bdev = Arc::new(ErrorBdev::new(bdev, errors(error)));
    }
    if let Some(delay) = delay {
        let late = DelayBdev::new(bdev, Delays::all(*delay));
        bdev = Arc::new(if *cancel { late } else { late.without_cancel() });
    }
    Ok(bdev)
}

fn errors(config: &ErrorConfig) -> Errors {
    let error = match config.kind {
        ErrorKind::Medium => IoError::Medium,
        ErrorKind::NoSpace => IoError::NoSpace,
        ErrorKind::Gone => IoError::Gone,
        ErrorKind::Busy => IoError::Busy,
        ErrorKind::ReadOnly => IoError::ReadOnly,
    };
    let all = Errors::all(error);
    let named = |name: &String| Kinds::named(name).expect("both rooms know the same names");
    let kinds = config.ops.iter().map(named).reduce(Kinds::with).unwrap_or(all.kinds);
    let range = config.range.clone().unwrap_or(all.range);
    Errors { error, range, rate: f64::from(config.rate_ppm) / 1e6, kinds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Arc<DiskConfig> {
        Arc::new(DiskConfig::parse(text).unwrap())
    }

    #[test]
    fn wrappers_stand_around_each_other_whatever_the_order_of_the_keys() {
        let text = "mem:size=1M,delay=5ms,error-rate=0.5,error=gone@0-4K,split=64K+128K,error-ops=read+flush";
        let bdev = Backends::default().open(&config(text)).unwrap();
        assert_eq!(bdev.info().size(), 128 << 10);
        let said = &bdev.info().description;
        let parts = ["mem, 1 MiB", "128 KiB at 64 KiB", "0.5 of read+flush", "device is gone", "delayed: reads 5ms"];
        let places: Vec<_> = parts.iter().map(|part| said.find(part).expect(said)).collect();
        assert!(places.is_sorted(), "{said}");
    }

    #[test]
    fn disks_without_a_medium_can_be_read_only_too() {
        for text in ["mem:size=1M", "null:size=1M", "mem:size=1M,split=0+512K,delay=1ms"] {
            let read_only = |text: &str| Backends::default().open(&config(text)).unwrap().info().read_only;
            assert!(!read_only(text) && read_only(&format!("{text},ro")), "{text}");
        }
    }

    #[test]
    fn both_rooms_know_the_same_kinds_of_operations() {
        assert_eq!(config::ERROR_OPS, Kinds::NAMES);
    }

    #[test]
    fn parts_of_one_file_are_disks_beside_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let part = |part: &str| config(&format!("{},split={part}", file.path().display()));
        let mut backends = Backends::default();
        let _first = backends.open(&part("0+512K")).unwrap();
        let _second = backends.open(&part("512K+512K")).unwrap();
        let error = backends.open(&part("256K+4K")).unwrap_err();
        assert!(matches!(error, DiskError::Overlap { .. }), "{error}");
        let whole = backends.open(&config(&file.path().display().to_string())).unwrap_err().to_string();
        assert!(whole.contains("in use by another disk"), "{whole}");
        let outside = Backends::default().open(&config("mem:size=1M,split=1M+4K")).unwrap_err().to_string();
        assert!(outside.contains("not within its 1048576 bytes"), "{outside}");
    }
}
