//! The least virtio-scsi device that the driver can be tested on: rust-vmm's vfio-user server, registers in an array, a
//! disk in a vector, and guest memory read and written through its files.
//!
//! It believes everything that the driver says: only a correct driver gets anything out of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::JoinHandle;

use vfio_bindings::bindings::vfio::vfio_region_info;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

use super::spec::{cfg_type, common, feature, ring};

/// Bytes of a block.
pub const BLOCK: usize = 512;
/// Blocks of the disk.
pub const BLOCKS: usize = 256;
const QUEUES: usize = 4;
const QUEUE_SIZE: u16 = 64;

#[derive(Default, Clone, Copy)]
struct Ring {
    size: u16,
    vector: u16,
    enabled: bool,
    addresses: [u64; 3],
    avail_next: u16,
    used_next: u16,
}

struct Mapping {
    address: u64,
    size: u64,
    offset: u64,
    file: File,
}

/// The device.
pub struct Fake {
    config: [u8; 256],
    mappings: Vec<Mapping>,
    vectors: Vec<File>,
    features: u64,
    taken: u64,
    select: [u32; 2],
    queue_select: u16,
    config_vector: u16,
    status: u8,
    rings: [Ring; QUEUES],
    disk: Vec<u8>,
    /// Requests to swallow without an answer.
    pub swallow: usize,
}

impl Fake {
    pub fn new(features: u64) -> Self {
        let mut config = [0; 256];
        config[..4].copy_from_slice(&[0xF4, 0x1A, 0x48, 0x10]);
        config[6] = 0x10;
        config[0x34] = 0x40;
        config[0x40..0x44].copy_from_slice(&[0x11, 0x4C, 3, 0]);
        let places =
            [(cfg_type::COMMON, 0u32), (cfg_type::NOTIFY, 0x3000), (cfg_type::ISR, 0x1000), (cfg_type::DEVICE, 0x2000)];
        for (index, (kind, offset)) in places.into_iter().enumerate() {
            let at = 0x4C + 20 * index;
            let next = if index < 3 { at as u8 + 20 } else { 0 };
            config[at..at + 5].copy_from_slice(&[9, next, 20, kind, 4]);
            config[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
            config[at + 12..at + 16].copy_from_slice(&0x1000u32.to_le_bytes());
            config[at + 16] = 4;
        }
        Self {
            config,
            mappings: Vec::new(),
            vectors: Vec::new(),
            features,
            taken: 0,
            select: [0; 2],
            queue_select: 0,
            config_vector: common::NO_VECTOR,
            status: 0,
            rings: [Ring { size: QUEUE_SIZE, vector: common::NO_VECTOR, ..Ring::default() }; QUEUES],
            disk: vec![0; BLOCK * BLOCKS],
            swallow: 0,
        }
    }

    /// Serves one client in a thread of its own.
    pub fn serve(mut self) -> (PathBuf, JoinHandle<()>) {
        let name = format!("fake-{}-{:?}.sock", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let regions = (0..9)
            .map(|index| {
                let size = match index {
                    4 => 0x4000,
                    7 => 0x100,
                    _ => 0,
                };
                let region_info = vfio_region_info { argsz: 32, index, size, flags: 3, ..Default::default() };
                ServerRegion { region_info, sparse_areas: Vec::new(), mmap_fd: None }
            })
            .collect();
        let irqs = (0..5).map(|index| IrqInfo { index, flags: 1, count: if index == 2 { 5 } else { 0 } }).collect();
        let server = Server::new(&path, true, irqs, regions).expect("bind the socket");
        let thread = std::thread::spawn(move || server.run(&mut self).expect("serve"));
        (path, thread)
    }

    fn memory(&self, address: u64, len: usize) -> (&File, u64) {
        let mapping = self
            .mappings
            .iter()
            .find(|mapping| mapping.address <= address && address + len as u64 <= mapping.address + mapping.size);
        let mapping = mapping.unwrap_or_else(|| panic!("the driver uses {address:#x}+{len}, which is not mapped"));
        (&mapping.file, mapping.offset + (address - mapping.address))
    }

    fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let (file, offset) = self.memory(address, len);
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).expect("guest memory");
        bytes
    }

    fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read(address, 2).try_into().unwrap())
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let (file, offset) = self.memory(address, bytes.len());
        file.write_all_at(bytes, offset).expect("guest memory");
    }

    /// The pieces of the chain at `index` of `table`: address, length, whether the device writes.
    fn chain(&self, table: u64, mut index: u16) -> Vec<(u64, usize, bool)> {
        let mut pieces = Vec::new();
        loop {
            let bytes = self.read(table + 16 * u64::from(index), 16);
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            let flags = u16::from_le_bytes([bytes[12], bytes[13]]);
            if flags & ring::DESC_INDIRECT != 0 {
                return self.chain(address, 0);
            }
            pieces.push((address, len as usize, flags & ring::DESC_WRITE != 0));
            if flags & ring::DESC_NEXT == 0 {
                return pieces;
            }
            index = u16::from_le_bytes([bytes[14], bytes[15]]);
        }
    }

    fn run(&mut self, number: usize) {
        assert!(self.status & 4 != 0, "doorbell before DRIVER_OK");
        let Ring { size, vector, enabled, addresses: [desc, avail, used], .. } = self.rings[number];
        assert!(enabled, "doorbell of queue {number}, which is not enabled");
        let mut gave_back = false;
        while self.rings[number].avail_next != self.read_u16(avail + 2) {
            let slot = u64::from(self.rings[number].avail_next % size);
            let head = self.read_u16(avail + 4 + 2 * slot);
            self.rings[number].avail_next = self.rings[number].avail_next.wrapping_add(1);
            if self.taken & feature::EVENT_IDX != 0 {
                self.write(used + 4 + 8 * u64::from(size), &self.rings[number].avail_next.to_le_bytes());
            }
            if self.swallow > 0 {
                self.swallow -= 1;
                continue;
            }
            let len = self.request(number, &self.chain(desc, head));
            let next = self.rings[number].used_next;
            let element = [u32::from(head).to_le_bytes(), len.to_le_bytes()].concat();
            self.write(used + 4 + 8 * u64::from(next % size), &element);
            self.rings[number].used_next = next.wrapping_add(1);
            self.write(used + 2, &next.wrapping_add(1).to_le_bytes());
            gave_back = true;
        }
        if let (true, Some(eventfd)) = (gave_back, self.vectors.get_mut(usize::from(vector))) {
            eventfd.write_all(&1u64.to_ne_bytes()).expect("eventfd");
        }
    }

    fn request(&mut self, number: usize, pieces: &[(u64, usize, bool)]) -> u32 {
        let request: Vec<u8> =
            pieces.iter().filter(|piece| !piece.2).flat_map(|&(address, len, _)| self.read(address, len)).collect();
        let answer = if number == 0 { vec![0] } else { self.command(&request) };
        let mut left = &answer[..];
        for &(address, len, _) in pieces.iter().filter(|piece| piece.2) {
            let (now, later) = left.split_at(len.min(left.len()));
            self.write(address, now);
            left = later;
        }
        (answer.len() - left.len()) as u32
    }

    /// Response and data of a command: READ (16), WRITE (16), and sense for all others.
    fn command(&mut self, request: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; 108];
        let cdb = &request[19..51];
        let lba = u64::from_be_bytes(cdb[2..10].try_into().unwrap()) as usize * BLOCK;
        let len = u32::from_be_bytes(cdb[10..14].try_into().unwrap()) as usize * BLOCK;
        match cdb[0] {
            0x88 => answer.extend_from_slice(&self.disk[lba..lba + len]),
            0x8A => self.disk[lba..lba + len].copy_from_slice(&request[51..]),
            _ => {
                answer[0] = 18;
                answer[10] = 2;
                answer[12..15].copy_from_slice(&[0x70, 0, 5]);
                answer[24] = 0x20;
            }
        }
        answer
    }

    fn common_read(&self, offset: u64) -> u64 {
        let ring = self.rings.get(usize::from(self.queue_select)).copied().unwrap_or_default();
        match offset {
            common::DEVICE_FEATURE => self.features.checked_shr(32 * self.select[0]).unwrap_or(0) & 0xFFFF_FFFF,
            common::CONFIG_MSIX_VECTOR => self.config_vector.into(),
            common::NUM_QUEUES => QUEUES as u64,
            common::DEVICE_STATUS => self.status.into(),
            common::QUEUE_SIZE => ring.size.into(),
            common::QUEUE_MSIX_VECTOR => ring.vector.into(),
            common::QUEUE_NOTIFY_OFF => self.queue_select.into(),
            _ => panic!("read of common configuration {offset:#x}"),
        }
    }

    fn common_write(&mut self, offset: u64, value: u64) {
        if offset == common::QUEUE_SELECT {
            self.queue_select = value as u16;
            return;
        }
        let ring = &mut self.rings[usize::from(self.queue_select)];
        match offset {
            common::DEVICE_FEATURE_SELECT => self.select[0] = value as u32,
            common::DRIVER_FEATURE_SELECT => self.select[1] = value as u32,
            common::DRIVER_FEATURE => self.taken |= value << (32 * self.select[1]),
            common::CONFIG_MSIX_VECTOR => self.config_vector = value as u16,
            common::DEVICE_STATUS if value == 0 => {
                let (disk, mappings) = (std::mem::take(&mut self.disk), std::mem::take(&mut self.mappings));
                let (vectors, swallow) = (std::mem::take(&mut self.vectors), self.swallow);
                *self = Self { disk, mappings, vectors, swallow, ..Self::new(self.features) };
            }
            common::DEVICE_STATUS => self.status = value as u8,
            common::QUEUE_SIZE => ring.size = value as u16,
            common::QUEUE_MSIX_VECTOR => ring.vector = value as u16,
            common::QUEUE_ENABLE => ring.enabled = value == 1,
            common::QUEUE_DESC..=0x37 => {
                let (index, high) = ((offset - common::QUEUE_DESC) / 8, (offset - common::QUEUE_DESC) % 8 / 4);
                ring.addresses[index as usize] |= value << (32 * high);
            }
            _ => panic!("write of common configuration {offset:#x}"),
        }
    }
}

impl ServerBackend for Fake {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        match (region, offset) {
            (7, _) => data.copy_from_slice(&self.config[at..at + data.len()]),
            (4, 0..0x1000) => data.copy_from_slice(&self.common_read(offset).to_le_bytes()[..data.len()]),
            // num_queues at 0, sense_size at 20, cdb_size at 24.
            (4, 0x2000..0x3000) => data.copy_from_slice(match offset - 0x2000 {
                0 => &[2, 0, 0, 0],
                20 => &[96, 0, 0, 0],
                24 => &[32, 0, 0, 0],
                _ => &[0; 4][..data.len()],
            }),
            _ => panic!("read of region {region} at {offset:#x}"),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let value = data.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        match (region, offset) {
            (7, _) => self.config[offset as usize..][..data.len()].copy_from_slice(data),
            (4, 0..0x1000) => self.common_write(offset, value),
            (4, 0x3000..0x4000) => self.run(((offset - 0x3000) / 4) as usize),
            _ => panic!("write of region {region} at {offset:#x}"),
        }
        Ok(())
    }

    fn dma_map(&mut self, _: DmaMapFlags, offset: u64, address: u64, size: u64, fd: Option<File>) -> io::Result<()> {
        self.mappings.push(Mapping { address, size, offset, file: fd.expect("a file") });
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.mappings.retain(|mapping| (mapping.address, mapping.size) != (address, size));
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.common_write(common::DEVICE_STATUS, 0);
        Ok(())
    }

    fn set_irqs(&mut self, index: u32, _: u32, start: u32, count: u32, fds: Vec<File>) -> io::Result<()> {
        assert_eq!((index, start as usize, count as usize), (2, self.vectors.len(), fds.len()));
        self.vectors.extend(fds);
        Ok(())
    }
}
