//! A namespace by its commands, as a user writes it.

use std::path::PathBuf;
use std::sync::Arc;

use super::{NvmeBdev, NvmeOptions};
use crate::channel::Bdev;
use crate::error::OpenError;
use crate::file::Iopoll;
use crate::wanted::{Backend, Common, Data, IOPOLL, Keys, Kind, PATH};

/// By commands or not at all.
pub(crate) const KIND: Kind = Kind {
    name: "nvme",
    help: "an NVMe namespace by its own commands (/dev/ng0n1)",
    example: "nvme:/dev/ng0n1",
    keys: &[PATH, IOPOLL],
    read,
};

#[derive(Debug)]
struct Nvme {
    path: PathBuf,
    iopoll: Iopoll,
}

fn read(keys: &mut Keys) -> Result<Arc<dyn Backend>, String> {
    Ok(Arc::new(Nvme { path: keys.path()?, iopoll: Iopoll::read(keys)? }))
}

impl Backend for Nvme {
    fn open(&self, common: Common) -> Result<Arc<dyn Bdev>, OpenError> {
        let Common { block_size, read_only } = common;
        let options = NvmeOptions { block_size, read_only, iopoll: self.iopoll };
        Ok(Arc::new(NvmeBdev::open(&self.path, options)?))
    }

    fn data(&self) -> Data<'_> {
        Data::At(&self.path)
    }
}
