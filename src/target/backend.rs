//! Opens the devices of disks, so that parts of one file are disks of their own and share the open file: it is locked against
//! everybody else.

use std::sync::Arc;

use bdev::{Bdev, CreateError, CreateOptions, Data, Preallocate};

use super::disk::DiskError;
use crate::config::{CreateConfig, DiskConfig, Preallocation};

/// The files of which parts are disks.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    parts: Vec<(Arc<DiskConfig>, Arc<dyn Bdev>)>,
}

impl Backends {
    /// Opens the device that `config` describes.
    pub(crate) fn open(&mut self, config: &Arc<DiskConfig>) -> Result<Arc<dyn Bdev>, DiskError> {
        let device = &config.device;
        let bdev = match (device.part(), device.data()) {
            (Some(_), Data::At(_)) => self.open_shared(config)?,
            _ => device.open()?,
        };
        Ok(device.wrap(bdev)?)
    }

    /// Forgets the parts that are disks no more.
    pub(crate) fn retain(&mut self, is_open: impl Fn(&Arc<DiskConfig>) -> bool) {
        self.parts.retain(|(config, _)| is_open(config));
    }

    fn open_shared(&mut self, config: &Arc<DiskConfig>) -> Result<Arc<dyn Bdev>, DiskError> {
        let device = &config.device;
        let others: Vec<_> = self.parts.iter().filter(|(other, _)| other.device.is_on_device_of(device)).collect();
        let overlaps = |other: &DiskConfig| match (other.device.part(), device.part()) {
            (Some(other), Some(part)) => other.start < part.end && part.start < other.end,
            _ => true,
        };
        if let Some((other, _)) = others.iter().find(|(other, _)| overlaps(other)) {
            return Err(DiskError::Overlap { first: other.text.clone(), second: config.text.clone() });
        }
        let backend = match others.first() {
            // It may have another size by now.
            Some((_, backend)) => backend.resized()?.unwrap_or_else(|| Arc::clone(backend)),
            None => device.open()?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Arc<DiskConfig> {
        Arc::new(DiskConfig::parse(text).unwrap())
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
