//! Memory that a guest's client does not share, and the control thread that reaches into it when the test lets it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::dma::{Access, Gpa, MemMap, Region, RegionCache};
use crate::target::adapter::Adapter;
use crate::target::courier::Courier;
use crate::target::live::Live;
use crate::vfio_user::ClientMemory;

/// The far side of a guest whose requests lie in memory that is not shared.
pub(super) struct Far {
    pub(super) client: Client,
    /// What the device knows in the place of that memory.
    pub(super) shadow: Region,
    /// Whether requests have their descriptors there, too.
    pub(super) tables: bool,
    /// The control thread waits for queues to come to rest.
    pub(super) waits_for_rest: bool,
    courier: Courier,
}

/// A client, which has the memory.
#[derive(Default)]
pub(super) struct Client {
    pub(super) memory: Arc<MemMap>,
    /// It waits for an answer and does not serve its memory.
    pub(super) waits: bool,
    /// It answers with this.
    pub(super) refuses: Option<Errno>,
    /// Addresses and lengths that it was asked for.
    pub(super) read: Vec<(u64, usize)>,
    pub(super) written: Vec<(u64, usize)>,
}

impl Far {
    pub(super) fn new(shadow: Region) -> Self {
        let (client, courier) = (Client::default(), Courier::default());
        Self { client, shadow, tables: false, waits_for_rest: false, courier }
    }

    /// The control thread looks at its jobs, with this picture of memory.
    pub(super) fn serve(&mut self, adapter: &Adapter, live: Option<&Live>, map: &MemMap) {
        if !self.waits_for_rest {
            self.courier.carry(adapter, live, map, &mut self.client);
        }
    }

    /// The queues have come to rest.
    pub(super) fn rested(&mut self, adapter: &Adapter) {
        self.courier.forget_fetches(adapter);
        self.waits_for_rest = false;
    }
}

impl Client {
    fn reach(&self, gpa: Gpa, len: usize, access: Access, mut each: impl FnMut(bdev::Segment)) -> Result<(), Errno> {
        if self.waits {
            return Err(Errno::AGAIN);
        }
        if let Some(errno) = self.refuses {
            return Err(errno);
        }
        let emit = |segment, _| {
            each(segment);
            Ok(())
        };
        self.memory.translate(&mut RegionCache::default(), (gpa, len as u64), access, emit).map_err(|_| Errno::FAULT)
    }
}

impl ClientMemory for Client {
    fn dma_read(&mut self, gpa: Gpa, data: &mut [u8]) -> Result<(), Errno> {
        self.read.push((gpa.0, data.len()));
        let len = data.len();
        self.reach(gpa, len, Access::Read, |segment| segment.read(0, data))
    }

    fn dma_write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), Errno> {
        self.written.push((gpa.0, data.len()));
        self.reach(gpa, data.len(), Access::Write, |segment| segment.write(0, data))
    }
}
