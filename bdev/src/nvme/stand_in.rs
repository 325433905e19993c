//! The block device of a namespace in the place of its commands, where those cannot be had: io_uring is forbidden, or takes
//! none.
//!
//! The names are the namespace's own, so that a guest finds the same disk whichever way it is served.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::channel::{Bdev, Channel, Io};
use crate::error::OpenError;
use crate::file::{Engine, FileBdev, FileOptions};
use crate::info::{Info, Names};
use crate::uring;

use super::device::Device;
use super::{NvmeOptions, open, refused};

/// A namespace by its block device.
#[derive(Debug)]
struct StandIn {
    info: Info,
    names: Names,
    inner: Arc<dyn Bdev>,
}

/// Opens the block device of the namespace whose character device is at `path`. `why` is what keeps us from its commands.
pub(super) fn open(path: &Path, options: NvmeOptions, why: &str) -> Result<Arc<dyn Bdev>, OpenError> {
    let name = open::name_of(path)?;
    let device = Device::identify(path, &open::open_file(path, options.read_only)?)?;
    let block = PathBuf::from("/dev").join(open::sibling(&name).unwrap_or_default());
    let (engine, by) = match uring::check_available() {
        Ok(()) => (Engine::Uring, ""),
        Err(_) => (Engine::Threads, " by threads, which is slower"),
    };
    let NvmeOptions { block_size, read_only, iopoll } = options;
    let wanted = FileOptions { block_size, read_only, iopoll, engine, ..FileOptions::default() };
    let inner = FileBdev::open(&block, wanted)
        .map_err(|error| refused(path, format!("{why}, and its block device cannot be served instead: {error}")))?;
    tracing::warn!("{}: {why}: its block device {} is served instead{by}", path.display(), block.display());
    Ok(Arc::new(StandIn::new(Arc::new(inner), device.names(), &path.display().to_string())))
}

impl StandIn {
    fn new(inner: Arc<dyn Bdev>, names: Names, instead_of: &str) -> Self {
        let mut info = inner.info().clone();
        info.description += &format!(", instead of the commands of {instead_of}");
        Self { info, names, inner }
    }
}

impl Bdev for StandIn {
    fn info(&self) -> &Info {
        &self.info
    }

    fn inside(&self) -> Option<&dyn Bdev> {
        Some(&*self.inner)
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        let Some(inner) = self.inner.resized()? else { return Ok(None) };
        let info = Info { description: self.info.description.clone(), ..inner.info().clone() };
        Ok(Some(Arc::new(Self { info, names: self.names.clone(), inner })))
    }

    fn names(&self) -> Option<&Names> {
        Some(&self.names)
    }

    fn channel(&self, io: &mut Io) -> io::Result<Box<dyn Channel>> {
        self.inner.channel(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_disk_that_grows_with_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let options = FileOptions { engine: Engine::Threads, ..FileOptions::default() };
        let inner = Arc::new(FileBdev::open(file.path(), options).unwrap());
        let names = Names { unique: "nvme:one".to_owned(), ..Names::default() };
        let bdev = StandIn::new(inner, names.clone(), "/dev/ng0n1");
        let said = bdev.info().description.clone();
        assert!(said.contains("threads") && said.ends_with(", instead of the commands of /dev/ng0n1"), "{said}");
        assert_eq!((bdev.names(), bdev.info().size()), (Some(&names), 1 << 20));
        assert!(bdev.resized().unwrap().is_none());
        file.as_file().set_len(2 << 20).unwrap();
        assert_eq!(bdev.size_now().unwrap(), 2 << 20);
        let grown = bdev.resized().unwrap().unwrap();
        assert_eq!((grown.names(), grown.info().size(), &grown.info().description), (Some(&names), 2 << 20, &said));
    }
}
