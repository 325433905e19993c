//! Opens a namespace: claims it, asks it what it is, and tries whether the kernel takes commands for it.
//!
//! Runs once for each disk, on the control thread. Every way in which it fails says what to do.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::OpenError;
use crate::file::{Iopoll, claim, failed};
use crate::info::{Discard, Info, MAX_TRANSFER, Names, WriteCache, blocks_of, bytes_for_people};
use crate::mapping::Mapping;
use crate::op::IoError;
use crate::uring::Kind;

use super::command::{Command, Data};
use super::identify::{Controller, Namespace, uuid};
use super::jobs::Terms;
use super::limits::Limits;
use super::spec::{CNS_CONTROLLER, CNS_DESCRIPTORS, CNS_NAMESPACE, URING_CMD_IO};
use super::{NvmeBdev, NvmeOptions, ioctl, ring, status};

/// The class of the kernel's devices for commands to a namespace. Their major number is dynamic, this is not.
const CLASS: &str = "nvme-generic";
/// Largest range of one operation on space in bytes: it goes to the device in parts, and patience has an end.
const SPACE_MAX: u64 = 4 << 30;

/// Largest range of one verification in bytes: as much time as the device needs to read it goes by.
const VERIFY_MAX: u64 = 64 << 20;

/// The name that the kernel has for the namespace's device for commands, `ng0n1`; `None` if `path` is none.
pub(super) fn generic_name(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok().filter(|metadata| metadata.file_type().is_char_device())?;
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let device = PathBuf::from(format!("/sys/dev/char/{major}:{minor}"));
    let class = std::fs::read_link(device.join("subsystem")).ok()?;
    if class.file_name()? != CLASS {
        return None;
    }
    let device = device.canonicalize().ok()?;
    Some(device.file_name()?.to_str()?.to_owned())
}

/// The name of the block device of the same namespace: `nvme0n1` beside `ng0n1`.
fn sibling(generic: &str) -> Option<String> {
    generic.strip_prefix("ng").map(|numbers| format!("nvme{numbers}"))
}

pub(super) fn open(path: &Path, options: NvmeOptions) -> Result<NvmeBdev, OpenError> {
    let name = name_of(path)?;
    let sibling = sibling(&name).unwrap_or_default();
    let claim = claim_sibling(&sibling, options.read_only)?;
    let file = open_file(path, options.read_only)?;
    claim::lock(path, &file, options.read_only)?;
    let nsid = ioctl::nsid(&file).map_err(|source| failed(path, "find the namespace of", source))?;
    let identify = |cns| {
        let asked = ioctl::identify(&file, nsid, cns);
        asked.map_err(|source| failed(path, "identify the namespace of", source))
    };
    let controller = Controller::parse(&*identify(CNS_CONTROLLER)?);
    let namespace = parse_namespace(path, &*identify(CNS_NAMESPACE)?)?;
    let uuid = identify(CNS_DESCRIPTORS).ok().and_then(|page| uuid(&page));
    check(path, &namespace, options)?;
    let queue = PathBuf::from(format!("/sys/block/{sibling}/queue"));
    let limits = Limits::read(&queue, namespace.block_size);
    let block_size = namespace.block_size as u32;
    let zeroes_deallocate = namespace.zeroes_deallocate;
    let terms = Terms { nsid, block_size, limits, zeroes_deallocate };
    try_command(path, &file, &terms)?;
    let polling = match options.iopoll {
        Iopoll::Off => None,
        _ => Some(try_polling(&queue, &file, &terms)),
    };
    if let (Iopoll::On, Some(Err(reason))) = (options.iopoll, polling) {
        return Err(OpenError::NoPoll { path: path.to_owned(), reason });
    }
    let names = names(&controller, &namespace, nsid, uuid);
    let blocks = blocks_of(|| path.display().to_string(), namespace.blocks * namespace.block_size, block_size)?;
    let mut info = info_of(&controller, &namespace, blocks, &terms);
    info.read_only |= options.read_only;
    info.description = describe(path, &controller, &info, &limits);
    info.description += &polling_for_people(polling);
    let size_file = PathBuf::from(format!("/sys/block/{sibling}/size"));
    let (claim, polled) = (claim.map(Arc::new), polling == Some(Ok(())));
    Ok(NvmeBdev { info, names, terms, polled, file: Arc::new(file), claim, size_file })
}

fn refused(path: &Path, why: String) -> OpenError {
    OpenError::Nvme { path: path.to_owned(), why }
}

fn name_of(path: &Path) -> Result<String, OpenError> {
    if let Err(source) = path.metadata() {
        return Err(match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refused(
                path,
                "no such device. Give the character device of an NVMe namespace, for example nvme:/dev/ng0n1"
                    .to_owned(),
            ),
            _ => failed(path, "look at", source),
        });
    }
    generic_name(path).ok_or_else(|| {
        refused(
            path,
            "is not the character device of an NVMe namespace (for example /dev/ng0n1). Leave `nvme:` out to serve \
             a block device or a file"
                .to_owned(),
        )
    })
}

/// Claims the block device of the same namespace: one that is mounted is not served, and one that is served is not mounted.
fn claim_sibling(sibling: &str, read_only: bool) -> Result<Option<File>, OpenError> {
    let block = PathBuf::from(format!("/dev/{sibling}"));
    let is_block_device = block.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    if is_block_device { claim::open(&block, true, read_only).map(Some) } else { Ok(None) }
}

fn open_file(path: &Path, read_only: bool) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(!read_only).open(path);
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => OpenError::Permission { path: path.to_owned(), write: !read_only },
        _ => failed(path, "open", source),
    })
}

fn parse_namespace(path: &Path, page: &super::identify::Page) -> Result<Namespace, OpenError> {
    Namespace::parse(page).ok_or_else(|| refused(path, "its active format has no block size. Format it".to_owned()))
}

/// Refuses what cannot be served as it is.
fn check(path: &Path, namespace: &Namespace, options: NvmeOptions) -> Result<(), OpenError> {
    let Namespace { block_size, metadata_size, .. } = *namespace;
    if metadata_size != 0 {
        let why = format!(
            "its blocks have {metadata_size} bytes of metadata, which guests could not reach. Format it without \
             (nvme format --lbaf=...), or serve its block device"
        );
        return Err(refused(path, why));
    }
    if let Some(wanted) = options.block_size.filter(|wanted| u64::from(*wanted) != block_size) {
        let why = format!("its blocks have {block_size} bytes, not {wanted}. Leave `block-size` out, or format it");
        return Err(refused(path, why));
    }
    if block_size != 512 && block_size != 4096 {
        let block_size = u32::try_from(block_size).unwrap_or(u32::MAX);
        return Err(OpenError::BlockSize { disk: path.display().to_string(), block_size });
    }
    if namespace.read_only && !options.read_only {
        let reason = "the namespace is write-protected".to_owned();
        return Err(OpenError::ReadOnly { path: path.to_owned(), reason });
    }
    if namespace.blocks.checked_mul(block_size).is_none() {
        return Err(refused(path, "claims to have more than 2^64 bytes".to_owned()));
    }
    Ok(())
}

/// Reads the first block the way it is going to be served, to learn early whether the kernel lets us.
fn try_command(path: &Path, file: &File, terms: &Terms) -> Result<(), OpenError> {
    let answer = read_first(file, terms, Kind::Interrupt);
    let answer = answer.map_err(|source| failed(path, "send commands to", source))?;
    judge(answer).map_err(|why| refused(path, why))
}

/// Reads it once more the way in which nothing interrupts; else why that is no way. `queue` is the folder of the queue of the
/// namespace's block device.
fn try_polling(queue: &Path, file: &File, terms: &Terms) -> Result<(), &'static str> {
    if std::fs::read_to_string(queue.join("io_poll")).is_ok_and(|flag| flag.trim() != "0") {
        judge_polling(read_first(file, terms, Kind::Poll))
    } else {
        Err("the device has no poll queues")
    }
}

fn judge_polling(answer: io::Result<i32>) -> Result<(), &'static str> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err("nothing came out of the device's poll queues"),
        Err(_) => Err("this kernel has no ring for it"),
        // Of a sick block that it is one can be said either way.
        Ok(answer) if answer != -libc::EOPNOTSUPP => Ok(()),
        Ok(_) => Err("this kernel does not poll for commands to it"),
    }
}

/// What a read of the first block answers through a ring of this kind.
fn read_first(file: &File, terms: &Terms, kind: Kind) -> io::Result<i32> {
    let buffer = Mapping::new(4096)?;
    let part = buffer.part(0, terms.block_size as usize);
    let data = Data { address: part.as_ptr().addr() as u64, len: terms.block_size };
    let answer = ring::ask(file, URING_CMD_IO, Command::read(terms.nsid, 0, 1, data), kind);
    if answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        std::mem::forget(buffer);
    }
    answer
}

fn polling_for_people(polling: Option<Result<(), &'static str>>) -> String {
    match polling {
        None => String::new(),
        Some(Ok(())) => ", iopoll".to_owned(),
        Some(Err(reason)) => format!(", no iopoll: {reason}"),
    }
}

fn judge(answer: i32) -> Result<(), String> {
    let instead = "Give its block device, for example /dev/nvme0n1";
    match answer.saturating_neg() {
        libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL => {
            Err(format!("this kernel takes no NVMe commands through io_uring (Linux 5.19 or later does). {instead}"))
        }
        libc::EACCES | libc::EPERM => {
            Err(format!("this user may not send commands to it: that takes CAP_SYS_ADMIN on older kernels. {instead}"))
        }
        // A sick first block, or a device that is not ready, is the guest's to see.
        _ => match status::result_of(answer) {
            Err(error @ (IoError::Gone | IoError::AccessDenied)) => {
                Err(format!("{error}. See what the kernel says of it (dmesg)"))
            }
            _ => Ok(()),
        },
    }
}

fn names(controller: &Controller, namespace: &Namespace, nsid: u32, uuid: Option<[u8; 16]>) -> Names {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let Namespace { nguid, eui64, .. } = *namespace;
    let best = nguid.map(|id| hex(&id)).or(uuid.map(|id| hex(&id))).or(eui64.map(|id| hex(&id)));
    let unique = best.unwrap_or_else(|| format!("{} {} {nsid}", controller.model, controller.serial));
    // The namespaces of a controller share its serial number.
    let serial = (!controller.serial.is_empty()).then(|| format!("{}_{nsid}", controller.serial));
    Names { unique: format!("nvme:{unique}"), serial, eui64, nguid, uuid }
}

fn info_of(controller: &Controller, namespace: &Namespace, blocks: u64, terms: &Terms) -> Info {
    let block_size = terms.block_size;
    let bytes = |blocks: u32| blocks.checked_mul(block_size).filter(|bytes| *bytes <= MAX_TRANSFER).unwrap_or(0);
    let physical = Some(namespace.write_granularity).filter(|blocks| blocks.is_power_of_two() && *blocks <= 256);
    Info {
        block_size,
        blocks,
        physical_exponent: physical.map_or(0, |blocks| blocks.ilog2() as u8),
        read_only: namespace.read_only,
        write_cache: if controller.write_cache { WriteCache::WriteBack } else { WriteCache::WriteThrough },
        thin: namespace.thin,
        max_transfer: MAX_TRANSFER,
        optimal_transfer: bytes(namespace.optimal_write),
        solid_state: true,
        discard: (controller.dataset_management && terms.limits.deallocate_bytes > 0).then(|| Discard {
            granularity: bytes(namespace.deallocate_granularity).max(block_size),
            max: SPACE_MAX,
            zeroes: namespace.deallocated_zeroes,
        }),
        write_zeroes_max: if controller.write_zeroes && terms.limits.zeroes_bytes > 0 { SPACE_MAX } else { 0 },
        verify_max: if controller.verify { VERIFY_MAX } else { 0 },
        compare: controller.compare,
        atomic: namespace.atomic(controller, terms.limits.transfer_bytes),
        description: String::new(),
    }
}

fn describe(path: &Path, controller: &Controller, info: &Info, limits: &Limits) -> String {
    let checks = match (info.compare, info.verify_max) {
        (true, 1..) => ", compare, verify",
        (true, 0) => ", compare",
        (false, 1..) => ", verify",
        (false, 0) => "",
    };
    let space = match (info.read_only, &info.discard, info.write_zeroes_max) {
        (true, ..) => ", read-only",
        (_, Some(_), 1..) => ", unmap, write zeroes",
        (_, Some(_), 0) => ", unmap",
        (_, None, 1..) => ", write zeroes",
        (_, None, 0) => "",
    };
    let Controller { model, serial, firmware, .. } = controller;
    let most = bytes_for_people(limits.transfer_bytes);
    format!(
        "NVMe namespace {} ({model}, {serial}, {firmware}), commands of up to {most}{space}{checks}",
        path.display()
    )
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
