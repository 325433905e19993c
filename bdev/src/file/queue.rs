//! What the kernel says of a block device: the limits of its queue, its write cache, whether it may be written.
//!
//! Read from sysfs once, when the device is opened. A partition has a start and a size of its own and the queue of its
//! whole disk. What sysfs does not tell is taken to be absent.

use std::path::{Path, PathBuf};

use crate::info::WriteCache;
use crate::sysfs;

/// Where the kernel lists block devices by number.
const DEVICES: &str = "/sys/dev/block";

/// Limits and properties of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) logical_block: Option<u32>,
    pub(crate) physical_block: Option<u32>,
    /// Largest transfer that the device does at once, in bytes; 0 if it does not say.
    pub(crate) transfer_max: u64,
    /// Largest one that the kernel asks it for, in bytes; 0 if it does not say. Whoever administers the machine may set it.
    pub(crate) transfer_soft: u64,
    /// Pieces of memory of a transfer, 0 if the device does not say.
    pub(crate) segments_max: u32,
    /// Requests that it takes at once, 0 if that is not known.
    pub(crate) depth: u32,
    /// Best size of a transfer in bytes, 0 if the device does not say.
    pub(crate) optimal_transfer: u32,
    /// Smallest transfer that does not cost more than its size, in bytes; 0 if the device does not say.
    pub(crate) minimum_transfer: u32,
    pub(crate) rotational: bool,
    pub(crate) write_cache: WriteCache,
    /// Piece in which space is given back, in bytes; 0 if that is not possible.
    pub(crate) discard_granularity: u32,
    /// Where the first of these pieces begins, in bytes.
    pub(crate) discard_alignment: u32,
    /// Largest discard in bytes, 0 if there is none.
    pub(crate) discard_max: u64,
    /// Largest range that the device itself makes zero, in bytes; 0 if it cannot.
    pub(crate) write_zeroes_max: u64,
    pub(crate) read_only: bool,
    /// Its zones take writes in order only (`host-managed`). One that prefers that (`host-aware`) takes them anywhere.
    pub(crate) is_zoned: bool,
    /// It is the block device of an NVMe namespace, or a part of one.
    pub(crate) is_nvme: bool,
    /// It has queues into which one looks for results, without an interrupt.
    pub(crate) can_poll: bool,
}

impl Queue {
    /// Of the block device with this number.
    pub(crate) fn of(major: u32, minor: u32) -> Self {
        Self::read(Path::new(DEVICES), major, minor)
    }

    fn read(devices: &Path, major: u32, minor: u32) -> Self {
        let device = devices.join(format!("{major}:{minor}"));
        let whole = if device.join("partition").exists() { parent(&device) } else { device.clone() };
        let queue = whole.join("queue");
        let number = |name: &str| sysfs::number::<u64>(&queue.join(name)).unwrap_or(0);
        let small = |name: &str| sysfs::number::<u32>(&queue.join(name));
        Self {
            logical_block: small("logical_block_size"),
            physical_block: small("physical_block_size"),
            transfer_max: number("max_hw_sectors_kb").saturating_mul(1024),
            transfer_soft: number("max_sectors_kb").saturating_mul(1024),
            segments_max: small("max_segments").unwrap_or(0),
            depth: sysfs::queue_depth(&whole),
            optimal_transfer: small("optimal_io_size").unwrap_or(0),
            minimum_transfer: small("minimum_io_size").unwrap_or(0),
            rotational: sysfs::flag(&queue.join("rotational")),
            // Not to know it is no reason to lose writes.
            write_cache: match sysfs::text(&queue.join("write_cache")).as_deref() {
                Some("write through") => WriteCache::WriteThrough,
                _ => WriteCache::WriteBack,
            },
            discard_granularity: small("discard_granularity").unwrap_or(0),
            // That of a partition is its own.
            discard_alignment: sysfs::number(&device.join("discard_alignment")).unwrap_or(0),
            discard_max: number("discard_max_bytes"),
            write_zeroes_max: number("write_zeroes_max_bytes"),
            read_only: [&device, &whole].into_iter().any(|folder| sysfs::flag(&folder.join("ro"))),
            is_zoned: sysfs::text(&queue.join("zoned")).as_deref() == Some("host-managed"),
            is_nvme: is_nvme(&whole),
            can_poll: sysfs::flag(&queue.join("io_poll")),
        }
    }

    /// Best size of a transfer in bytes, 0 if it does not matter: that which the device says, else the largest that the kernel
    /// asks it for, if that is not the largest which it does.
    pub(crate) fn best_transfer(&self) -> u32 {
        match self.optimal_transfer {
            0 if self.transfer_soft < self.transfer_max => u32::try_from(self.transfer_soft).unwrap_or(u32::MAX),
            said => said,
        }
    }

    /// Whether space can be given back.
    pub(crate) fn can_discard(&self) -> bool {
        self.discard_granularity > 0 && self.discard_max > 0
    }
}

/// The folder of the whole disk, in which its partitions have theirs.
fn parent(partition: &Path) -> PathBuf {
    partition.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default()
}

/// The kernel calls them, and nothing else, so.
fn is_nvme(whole: &Path) -> bool {
    let folder = whole.canonicalize().unwrap_or_default();
    folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("nvme"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, value: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{value}\n")).unwrap();
    }

    #[test]
    fn reads_a_disk_and_its_partition() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("devices/sdx");
        for (name, value) in [
            ("logical_block_size", "512"),
            ("physical_block_size", "4096"),
            ("max_hw_sectors_kb", "1280"),
            ("max_sectors_kb", "64"),
            ("max_segments", "128"),
            ("nr_requests", "64"),
            ("optimal_io_size", "65536"),
            ("minimum_io_size", "16384"),
            ("rotational", "1"),
            ("write_cache", "write through"),
            ("discard_granularity", "4096"),
            ("discard_max_bytes", "8589934592"),
            ("write_zeroes_max_bytes", "33553920"),
            ("io_poll", "1"),
        ] {
            put(&disk.join("queue").join(name), value);
        }
        std::fs::create_dir_all(disk.join("mq/0")).unwrap();
        std::fs::create_dir_all(disk.join("mq/1")).unwrap();
        put(&disk.join("ro"), "0");
        put(&disk.join("sdx1/partition"), "1");
        put(&disk.join("sdx1/ro"), "1");
        put(&disk.join("sdx1/discard_alignment"), "1024");
        let list = dir.path().join("list");
        std::fs::create_dir(&list).unwrap();
        std::os::unix::fs::symlink("../devices/sdx", list.join("8:0")).unwrap();
        std::os::unix::fs::symlink("../devices/sdx/sdx1", list.join("8:1")).unwrap();
        let disk = Queue {
            logical_block: Some(512),
            physical_block: Some(4096),
            transfer_max: 1280 << 10,
            transfer_soft: 64 << 10,
            segments_max: 128,
            depth: 128,
            optimal_transfer: 65536,
            minimum_transfer: 16384,
            rotational: true,
            write_cache: WriteCache::WriteThrough,
            discard_granularity: 4096,
            discard_alignment: 0,
            discard_max: 8_589_934_592,
            write_zeroes_max: 33_553_920,
            read_only: false,
            is_zoned: false,
            is_nvme: false,
            can_poll: true,
        };
        assert_eq!(Queue::read(&list, 8, 0), disk);
        assert_eq!(Queue::read(&list, 8, 1), Queue { read_only: true, discard_alignment: 1024, ..disk });
    }

    #[test]
    fn zones_that_have_to_be_written_in_order_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("8:0");
        let is_zoned = || Queue::read(dir.path(), 8, 0).is_zoned;
        assert!(!is_zoned(), "a kernel that knows no zones");
        for (model, expected) in [("none", false), ("host-aware", false), ("host-managed", true)] {
            put(&disk.join("queue/zoned"), model);
            assert_eq!(is_zoned(), expected, "{model}");
        }
        put(&disk.join("part/partition"), "1");
        std::os::unix::fs::symlink("8:0/part", dir.path().join("8:1")).unwrap();
        assert!(Queue::read(dir.path(), 8, 1).is_zoned, "a part of it");
    }

    #[test]
    fn a_namespace_is_known_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::create_dir(&list).unwrap();
        for (number, folder) in [("259:0", "nvme0/nvme0n1"), ("8:0", "nvme0/sda"), ("259:1", "nvme0/nvme0n1/nvme0n1p1")]
        {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            std::os::unix::fs::symlink(Path::new("..").join(folder), list.join(number)).unwrap();
        }
        put(&dir.path().join("nvme0/nvme0n1/nvme0n1p1/partition"), "1");
        let is_nvme = |major, minor| Queue::read(&list, major, minor).is_nvme;
        assert_eq!([is_nvme(259, 0), is_nvme(259, 1), is_nvme(8, 0), is_nvme(9, 9)], [true, true, false, false]);
    }

    #[test]
    fn what_the_kernel_asks_for_is_best_where_the_device_does_not_say() {
        let silent = Queue::read(Path::new("/nowhere"), 8, 0);
        assert_eq!(silent.best_transfer(), 0);
        let soft = Queue { transfer_max: 1 << 20, transfer_soft: 1 << 16, ..silent };
        assert_eq!(soft.best_transfer(), 1 << 16);
        assert_eq!(Queue { optimal_transfer: 4096, ..soft.clone() }.best_transfer(), 4096);
        assert_eq!(Queue { transfer_soft: 1 << 20, ..soft }.best_transfer(), 0, "as much as it can");
    }

    #[test]
    fn what_is_not_told_is_not_there_and_writes_need_a_flush() {
        let queue = Queue::read(Path::new("/nowhere"), 8, 0);
        assert_eq!(
            (queue.logical_block, queue.can_discard(), queue.read_only, queue.can_poll),
            (None, false, false, false)
        );
        assert_eq!((queue.transfer_max, queue.transfer_soft, queue.segments_max, queue.depth), (0, 0, 0, 0));
        assert_eq!((queue.write_cache, queue.write_zeroes_max), (WriteCache::WriteBack, 0));
    }
}
