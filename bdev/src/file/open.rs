//! Opens a disk file: claims it, learns its size and what it and the kernel can do, and chooses how to serve it.
//!
//! Runs once for each disk, on the control thread. Every way in which it fails has its own [`OpenError`].

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::file::end::End;
use crate::file::queue::Queue;
use crate::file::words::Found;
use crate::file::{Direct, Engine, FileBdev, FileOptions, Iopoll, claim, direct, extents, failed};
use crate::info::{Atomic, Discard, Info, MAX_TRANSFER, WriteCache, blocks_of, bytes_for_people, transfer_max};
use crate::nvme::Checkup;
use crate::space::Ways;
use crate::uring;

/// Size of the blocks that a file system or a modern disk works in, in bytes.
const PHYSICAL_BLOCK: u32 = 4096;
/// Largest range that a file is asked to change at once, in bytes: the kernel has no limit, patience has.
const SPACE_MAX: u64 = 4 << 30;
/// Largest range of zeroes where the kernel may have to write them, in bytes.
const WRITTEN_ZEROES_MAX: u64 = 64 << 20;

pub(super) fn open(path: &Path, options: FileOptions) -> Result<FileBdev, OpenError> {
    let is_block_device = claim::is_block_device(path)?;
    let file = claim::open(path, is_block_device, options.read_only)?;
    let metadata = file.metadata().map_err(|source| failed(path, "look at", source))?;
    let queue = is_block_device.then(|| {
        let device = metadata.rdev();
        Queue::of(rustix::fs::major(device), rustix::fs::minor(device))
    });
    let sector = queue.as_ref().and_then(|queue| queue.logical_block.or(rustix::fs::ioctl_blksszget(&file).ok()));
    let block_size = options.block_size.or(sector).unwrap_or(512);
    let size = extents::size(&file).map_err(|source| failed(path, "find the size", source))?;
    if let Some(queue) = &queue {
        check(path, queue, options.read_only)?;
    }

    let engine = choose_engine(options.engine);
    let (alignment, how) = match direct::choose(&file, options.direct, block_size, sector) {
        Ok(alignment) => (Some(alignment), "direct".to_owned()),
        Err(reason) if options.direct == Direct::On => {
            return Err(OpenError::NoDirect { path: path.to_owned(), reason });
        }
        Err(reason) => (None, format!("buffered: {reason}")),
    };
    let polled = choose_polling(queue.as_ref(), engine, alignment.is_some());
    let (polled, how) = match (polled, options.iopoll) {
        (_, Iopoll::Off) => (false, how),
        (Ok(()), _) => (true, format!("{how}, iopoll")),
        (Err(reason), Iopoll::On) => {
            return Err(OpenError::NoPoll { path: path.to_owned(), reason });
        }
        (Err(reason), Iopoll::Auto) if is_block_device => (false, format!("{how}, no iopoll: {reason}")),
        (Err(_), Iopoll::Auto) => (false, how),
    };
    let ways = match &queue {
        _ if options.read_only => Ways::default(),
        Some(queue) => ways_of_device(&file, queue, engine, sector.unwrap_or(block_size)),
        None => ways_of_file(&file, path),
    };
    let kind = if is_block_device { "block device" } else { "file" };
    let atomic = alignment.and_then(|_| direct::ask_atomic(&file, block_size)).filter(|_| !options.read_only);
    let how = match atomic {
        Some(Atomic { max, .. }) => format!("{how}, atomic writes of up to {}", bytes_for_people(max.into())),
        None => how,
    };
    let description = Found {
        what: &format!("{kind} {}", path.display()),
        file: &file,
        engine,
        how: &how,
        alignment,
        ways: &ways,
        queue: queue.as_ref(),
        read_only: options.read_only,
    }
    .describe();
    let blocks = blocks_of(|| path.display().to_string(), size, block_size)?;
    let mut info = info_of_file(&file, &metadata, block_size, blocks);
    if let Some(queue) = &queue {
        take_limits(&mut info, queue, &ways);
    }
    if ways == Ways::default() {
        (info.discard, info.write_zeroes_max) = (None, 0);
    }
    info.anchor = ways.anchor.is_some();
    info.prefetch = alignment.is_none();
    info.read_only = options.read_only;
    info.description = description;
    info.atomic = atomic;
    let end = match is_block_device {
        true => End::of_device(info.size()),
        false => End::of_file(path.display().to_string(), info.size()),
    };
    let checkup = queue.filter(|queue| queue.is_nvme).and_then(|_| Checkup::through(&file));
    Ok(FileBdev { info, file: Arc::new(file), end: Arc::new(end), alignment, ways, engine, polled, checkup })
}

/// Refuses a device that cannot be served as what a guest takes it for.
fn check(path: &Path, queue: &Queue, read_only: bool) -> Result<(), OpenError> {
    if queue.is_zoned {
        return Err(OpenError::Zoned { path: path.to_owned() });
    }
    if queue.read_only && !read_only {
        let reason = "the device is write-protected".to_owned();
        return Err(OpenError::ReadOnly { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Whether the device's own queues can be looked into for results; else why not.
fn choose_polling(queue: Option<&Queue>, engine: Engine, is_direct: bool) -> Result<(), &'static str> {
    match queue {
        None => Err("it is no block device"),
        Some(_) if engine == Engine::Threads => Err("threads do not poll"),
        Some(_) if !is_direct => Err("only direct I/O can be polled for"),
        Some(queue) if !queue.can_poll => Err("the device has no poll queues"),
        Some(_) => Ok(()),
    }
}

/// The ring where the kernel has one for us, else threads.
fn choose_engine(wanted: Engine) -> Engine {
    if wanted != Engine::Auto {
        return wanted;
    }
    match uring::check_available() {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            tracing::warn!("{error}: disks are served by threads, which is slower");
            Engine::Threads
        }
        // If it is for another reason, that is told when a core makes its ring.
        _ => Engine::Uring,
    }
}

fn ways_of_device(file: &File, queue: &Queue, engine: Engine, sector: u32) -> Ways {
    let by_ring = engine == Engine::Uring && queue.can_discard() && uring::can_discard(file);
    Ways::of_block_device(sector, queue.can_discard(), by_ring)
}

/// Asks for a hole behind the end of the file, which changes nothing, to learn whether holes can be made at all.
fn ways_of_file(file: &File, path: &Path) -> Ways {
    let Ok(size) = extents::size(file) else { return Ways::default() };
    let behind = size.next_multiple_of(1 << 20);
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if rustix::fs::fallocate(file, mode, behind, 4096).is_err() {
        return Ways::default();
    }
    let has_zero_range = has_zero_range(file, path);
    // Where that cannot be tried, the file says so itself when it is asked.
    let ways = Ways::of_file(has_zero_range.unwrap_or(true));
    if has_zero_range == Some(true) && keeps_space(file) { ways.anchoring() } else { ways }
}

/// Whether the file system writes to space where it is, and has kept what it takes to write to what was set aside. One that copies
/// on write takes new space for that.
fn keeps_space(file: &File) -> bool {
    /// `EXT4_SUPER_MAGIC` and `XFS_SUPER_MAGIC` of `<linux/magic.h>`.
    const KINDS: [u64; 2] = [0xef53, 0x5846_5342];
    rustix::fs::fstatfs(file).is_ok_and(|fs| KINDS.contains(&(fs.f_type as u64)))
}

/// Whether the file system of `file` makes ranges zero, where that can be tried: on a file without a name beside it, which goes
/// at once. Behind the end of the file itself it would leave blocks, which not every file system takes back from a hole there.
fn has_zero_range(file: &File, path: &Path) -> Option<bool> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let beside = path.canonicalize().ok()?;
    let scratch = File::from(rustix::fs::open(beside.parent()?, flags, Mode::RUSR | Mode::WUSR).ok()?);
    // A file may be mounted where its neighbours are not.
    if scratch.metadata().ok()?.dev() != file.metadata().ok()?.dev() {
        return None;
    }
    match rustix::fs::fallocate(&scratch, FallocateFlags::ZERO_RANGE, 0, PHYSICAL_BLOCK.into()) {
        Ok(()) => Some(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Some(false),
        Err(_) => None,
    }
}

fn info_of_file(file: &File, metadata: &Metadata, block_size: u32, blocks: u64) -> Info {
    let fs_block = rustix::fs::fstatfs(file).ok().and_then(|fs| u32::try_from(fs.f_bsize).ok());
    let granularity = fs_block.filter(|size| size.is_power_of_two()).unwrap_or(PHYSICAL_BLOCK).max(block_size);
    Info {
        block_size,
        blocks,
        physical_exponent: physical_exponent(PHYSICAL_BLOCK, block_size),
        read_only: false,
        write_cache: WriteCache::WriteBack,
        // st_blocks counts in units of 512 bytes: a file with holes has fewer than its length says.
        thin: metadata.blocks().saturating_mul(512) < metadata.len(),
        max_transfer: MAX_TRANSFER,
        segments_max: 0,
        queue_depth: 0,
        optimal_transfer: 0,
        transfer_granularity: 0,
        solid_state: true,
        discard: Some(Discard { granularity, alignment: 0, max: SPACE_MAX, zeroes: true }),
        write_zeroes_max: SPACE_MAX,
        anchor: false,
        prefetch: false,
        verify_max: 0,
        compare: false,
        atomic: None,
        description: String::new(),
    }
}

/// Changes what was said of a file to what the queue of a block device says.
fn take_limits(info: &mut Info, queue: &Queue, ways: &Ways) {
    info.physical_exponent = physical_exponent(queue.physical_block.unwrap_or(info.block_size), info.block_size);
    info.thin = false;
    info.max_transfer = transfer_max(queue.transfer_max);
    (info.segments_max, info.queue_depth) = (queue.segments_max, queue.depth);
    info.optimal_transfer = queue.best_transfer().min(MAX_TRANSFER);
    info.transfer_granularity = queue.minimum_transfer.min(MAX_TRANSFER);
    info.solid_state = !queue.rotational;
    info.write_cache = queue.write_cache;
    info.discard = ways.unmap.map(|_| Discard {
        granularity: queue.discard_granularity.max(info.block_size),
        alignment: queue.discard_alignment % queue.discard_granularity.max(info.block_size),
        max: queue.discard_max,
        zeroes: false,
    });
    info.write_zeroes_max = if ways.unit > info.block_size {
        // Ranges that begin or end within a sector are the caller's to write.
        0
    } else if queue.write_zeroes_max > 0 {
        queue.write_zeroes_max
    } else {
        WRITTEN_ZEROES_MAX
    };
}

fn physical_exponent(physical: u32, block_size: u32) -> u8 {
    (physical / block_size).max(1).ilog2() as u8
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
