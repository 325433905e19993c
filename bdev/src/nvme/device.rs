//! What a namespace and its controller say of themselves, and what a disk makes of it: names, limits, terms of commands.
//!
//! It asks and decides; nothing is claimed or tried here.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::file::failed;
use crate::info::{Discard, Info, MAX_TRANSFER, Names, WriteCache, blocks_of, transfer_max};

use super::identify::{CommandSet, Commands, Controller, Namespace, Page, uuid};
use super::jobs::{Fixed, Terms};
use super::limits::Limits;
use super::spec::{CNS_COMMAND_SET, CNS_CONTROLLER, CNS_DESCRIPTORS, CNS_NAMESPACE};
use super::{NvmeOptions, ioctl, refused};

/// Largest range of one operation on space in bytes: it goes to the device in parts, and patience has an end.
const SPACE_MAX: u64 = 4 << 30;
/// Largest range of one verification in bytes: as much time as the device needs to read it goes by.
const VERIFY_MAX: u64 = 64 << 20;

/// A namespace that was asked what it is.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) nsid: u32,
    pub(super) controller: Controller,
    pub(super) namespace: Namespace,
    commands: Commands,
    uuid: Option<[u8; 16]>,
}

impl Device {
    /// Asks the namespace whose character device `file` is.
    pub(super) fn identify(path: &Path, file: &File) -> Result<Self, OpenError> {
        let nsid = ioctl::nsid(file).map_err(|source| failed(path, "find the namespace of", source))?;
        let identify = |nsid, cns| {
            let asked = ioctl::identify(file, nsid, cns);
            asked.map_err(|source| unidentified(path, source))
        };
        // This came with a later revision, and controllers of earlier ones do not know it.
        let identifiers = identify(nsid, CNS_DESCRIPTORS).ok();
        check_command_set(path, identifiers.as_deref().map_or(CommandSet::NVM, CommandSet::parse))?;
        // What is about the controller names no namespace.
        let controller = Controller::parse(&*identify(0, CNS_CONTROLLER)?);
        let namespace = parse_namespace(path, &*identify(nsid, CNS_NAMESPACE)?)?;
        // So did this.
        let commands = identify(0, CNS_COMMAND_SET).map_or_else(|_| Commands::default(), |page| Commands::parse(&page));
        let uuid = identifiers.as_deref().and_then(uuid);
        Ok(Self { nsid, controller, namespace, commands, uuid })
    }

    /// Refuses what cannot be served as it is.
    pub(super) fn check(&self, path: &Path, options: NvmeOptions) -> Result<(), OpenError> {
        check(path, &self.namespace, options)
    }

    /// What commands have to heed. `queue` is the folder of the queue of the namespace's block device.
    pub(super) fn terms(&self, queue: &Path) -> Terms {
        let Namespace { block_size, zeroes_deallocate, .. } = self.namespace;
        let limits = Limits::read(queue, block_size).moving(self.controller.transfer_bytes);
        let limits = limits.within(&self.commands, block_size);
        Terms { nsid: self.nsid, block_size: block_size as u32, limits, zeroes_deallocate, fixed: Fixed::Piece }
    }

    pub(super) fn names(&self) -> Names {
        names(&self.controller, &self.namespace, self.nsid, self.uuid)
    }

    /// What guests see, without a description.
    pub(super) fn info(&self, path: &Path, terms: &Terms) -> Result<Info, OpenError> {
        let size = self.namespace.blocks * self.namespace.block_size;
        let blocks = blocks_of(|| path.display().to_string(), size, terms.block_size)?;
        Ok(info_of(&self.controller, &self.namespace, blocks, terms))
    }
}

fn unidentified(path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let why = "this user may not ask it what it is (before Linux 6.2 that takes CAP_SYS_ADMIN). Give its block \
                       device, for example /dev/nvme0n1";
            refused(path, why.to_owned())
        }
        _ => failed(path, "identify the namespace of", source),
    }
}

/// Other commands than those of NVM are of no use to a guest that has blocks.
fn check_command_set(path: &Path, set: CommandSet) -> Result<(), OpenError> {
    match set {
        CommandSet::NVM => Ok(()),
        CommandSet::ZONED => Err(OpenError::Zoned { path: path.to_owned() }),
        CommandSet(other) => {
            let why = format!(
                "has command set {other:02x}h, and no blocks that a guest could write. Only NVM (00h) is served"
            );
            Err(refused(path, why))
        }
    }
}

fn parse_namespace(path: &Path, page: &Page) -> Result<Namespace, OpenError> {
    Namespace::parse(page).ok_or_else(|| refused(path, "its active format has no block size. Format it".to_owned()))
}

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
    let physical = Some(namespace.write.size).filter(|blocks| blocks.is_power_of_two() && *blocks <= 256);
    // A device that names no best length and cuts its space into stripes does best with whole ones.
    let optimal = Some(namespace.optimal_write).filter(|blocks| *blocks > 0).unwrap_or(namespace.optimal_boundary);
    Info {
        block_size,
        blocks,
        physical_exponent: physical.map_or(0, |blocks| blocks.ilog2() as u8),
        read_only: namespace.read_only,
        write_cache: if controller.write_cache { WriteCache::WriteBack } else { WriteCache::WriteThrough },
        thin: namespace.thin,
        max_transfer: transfer_max(terms.limits.largest_bytes),
        segments_max: terms.limits.pages as u32,
        queue_depth: terms.limits.depth,
        optimal_transfer: bytes(optimal),
        transfer_granularity: bytes(namespace.write.pieces()),
        solid_state: true,
        discard: (controller.dataset_management && terms.limits.deallocate_bytes > 0).then(|| Discard {
            granularity: bytes(namespace.deallocate.pieces()).max(block_size),
            alignment: 0,
            max: SPACE_MAX,
            zeroes: namespace.deallocated_zeroes,
        }),
        write_zeroes_max: if controller.write_zeroes && terms.limits.zeroes_bytes > 0 { SPACE_MAX } else { 0 },
        anchor: false,
        prefetch: false,
        verify_max: if controller.verify { VERIFY_MAX } else { 0 },
        compare: controller.compare,
        atomic: namespace.atomic(controller, terms.limits.transfer_bytes),
        description: String::new(),
    }
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
