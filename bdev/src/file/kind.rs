//! Files and block devices as a user writes them: through whatever there is, through io_uring, or through threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Direct, Engine, FileBdev, FileOptions, Iopoll};
use crate::channel::Bdev;
use crate::error::OpenError;
use crate::nvme;
use crate::wanted::{Backend, Common, Data, IOPOLL, Key, Keys, Kind, PATH};

const DIRECT: Key = Key {
    name: "direct",
    form: "direct=auto|on|off",
    help: "go around the page cache (default: where the file system can)",
};

/// Whatever the path is.
pub(crate) const FILE: Kind = Kind {
    name: "file",
    help: "a file or device, and what is meant without a kind: by io_uring, else by threads",
    example: "file:disk.img",
    keys: &[PATH, DIRECT, IOPOLL],
    read: |keys| read(keys, Engine::Auto),
};

/// Through io_uring or not at all.
pub(crate) const URING: Kind = Kind {
    name: "uring",
    help: "the same by io_uring in any case",
    example: "uring:/dev/nvme0n1",
    keys: &[PATH, DIRECT, IOPOLL],
    read: |keys| read(keys, Engine::Uring),
};

/// Through threads, which poll for nothing.
pub(crate) const THREADS: Kind = Kind {
    name: "threads",
    help: "the same by threads",
    example: "threads:disk.img",
    keys: &[PATH, DIRECT],
    read: |keys| read(keys, Engine::Threads),
};

#[derive(Debug)]
struct File {
    path: PathBuf,
    direct: Direct,
    engine: Engine,
    iopoll: Iopoll,
}

fn read(keys: &mut Keys, engine: Engine) -> Result<Arc<dyn Backend>, String> {
    let direct = keys.choice("direct", &[("auto", Direct::Auto), ("on", Direct::On), ("off", Direct::Off)])?;
    let iopoll = if engine == Engine::Threads { Iopoll::Auto } else { Iopoll::read(keys)? };
    Ok(Arc::new(File { path: keys.path()?, direct, engine, iopoll }))
}

impl Iopoll {
    /// Takes the key of it.
    pub(crate) fn read(keys: &mut Keys) -> Result<Self, String> {
        keys.choice(IOPOLL.name, &[("auto", Self::Auto), ("on", Self::On), ("off", Self::Off)])
    }
}

impl Backend for File {
    fn open(&self, common: Common) -> Result<Arc<dyn Bdev>, OpenError> {
        let Self { ref path, direct, engine, iopoll } = *self;
        let Common { block_size, read_only } = common;
        if engine == Engine::Auto && nvme::is_generic(path) {
            refuse_direct(path, direct)?;
            return nvme::open_any(path, nvme::NvmeOptions { block_size, read_only, iopoll });
        }
        Ok(Arc::new(FileBdev::open(path, FileOptions { block_size, read_only, direct, engine, iopoll })?))
    }

    fn data(&self) -> Data<'_> {
        Data::At(&self.path)
    }
}

/// Commands to a namespace know no page cache.
fn refuse_direct(path: &Path, direct: Direct) -> Result<(), OpenError> {
    if direct == Direct::Auto {
        return Ok(());
    }
    let why = "'direct' does not fit an NVMe namespace: its commands know no page cache. Leave it out, or give its block \
               device, for example /dev/nvme0n1";
    Err(OpenError::Nvme { path: path.to_owned(), why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_no_page_cache_to_go_around() {
        assert!(refuse_direct(Path::new("x"), Direct::Auto).is_ok());
        for direct in [Direct::On, Direct::Off] {
            let error = refuse_direct(Path::new("/dev/ng0n1"), direct).unwrap_err().to_string();
            assert!(error.contains("/dev/nvme0n1"), "{error}");
        }
    }
}
