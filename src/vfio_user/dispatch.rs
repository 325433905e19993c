//! From a command to a call of the device, and back to a reply.
//!
//! Each handler reads its payload by the message's own size (clients send more than is needed), checks it, and appends
//! the reply's payload to `out`. An error becomes a reply of a header alone. Some clients take any reply for a success
//! of full length, and hang on an error: so what is in range succeeds, with all ones where nothing answers.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::connection::Connection;
use super::device::{Device, DmaMap, DmaUnmap, IrqIndex, RegionFlags, RegionInfo};
use super::message::Message;
use super::spec::{self, Command, DATA_XFER_BYTES_MAX, FLAG_TYPE_COMMAND};
use super::{irq, version};
use crate::dma::Gpa;

/// What a handler gives: a descriptor that goes with the reply, mostly none.
type Outcome = Result<Option<OwnedFd>, Errno>;

/// Does what `message` asks for, and replies.
///
/// # Errors
/// The reply could not be sent: the connection has to be closed.
pub fn dispatch(connection: &mut Connection, device: &mut dyn Device, message: Message) -> Result<(), Errno> {
    let header = message.header;
    connection.reply(&header, |connection, out| {
        if header.kind() != FLAG_TYPE_COMMAND || message.too_many_fds {
            return Err(Errno::INVAL);
        }
        match (header.command, connection.limits()) {
            (Command::VERSION, None) => {
                let limits = version::negotiate(&message.payload, out)?;
                connection.agree(limits);
                device.connected(limits);
                Ok(None)
            }
            // It comes first, and once.
            (Command::VERSION, Some(_)) | (_, None) => Err(Errno::INVAL),
            (_, Some(_)) => execute(device, message, out),
        }
    })
}

/// Descriptors stay in `message`, and are closed with it, unless a handler takes them.
fn execute(device: &mut dyn Device, message: Message, out: &mut Vec<u8>) -> Outcome {
    let payload = message.payload.as_slice();
    match message.header.command {
        Command::DMA_MAP => dma_map(device, payload, message.fds),
        Command::DMA_UNMAP => dma_unmap(device, payload, out),
        Command::DEVICE_GET_INFO => device_info(payload, out),
        Command::DEVICE_GET_REGION_INFO => region_info(device, payload, out),
        Command::DEVICE_GET_REGION_IO_FDS => region_io_fds(device, payload, out),
        Command::DEVICE_GET_IRQ_INFO => irq_info(device, payload, out),
        Command::DEVICE_SET_IRQS => {
            let change = irq::decode(payload, message.fds, |index| device.irq_info(index).count)?;
            device.set_irqs(change).map(|()| None)
        }
        Command::REGION_READ => region_read(device, payload, out),
        Command::REGION_WRITE => region_write(device, payload, out),
        Command::REGION_WRITE_MULTI => region_write_multi(device, payload, out),
        Command::DEVICE_RESET => {
            device.reset();
            Ok(None)
        }
        Command::DEVICE_FEATURE => device_feature(payload),
        Command::DIRTY_PAGES | Command::MIG_DATA_READ | Command::MIG_DATA_WRITE => Err(Errno::NOTSUP),
        _ => Err(Errno::INVAL),
    }
}

fn parse<T: FromBytes + KnownLayout + Immutable>(payload: &[u8]) -> Result<(T, &[u8]), Errno> {
    T::read_from_prefix(payload).map_err(|_| Errno::INVAL)
}

fn check_argsz<T>(argsz: u32) -> Result<(), Errno> {
    if argsz as usize >= size_of::<T>() { Ok(()) } else { Err(Errno::INVAL) }
}

fn dma_map(device: &mut dyn Device, payload: &[u8], mut fds: Vec<OwnedFd>) -> Outcome {
    let (map, _) = parse::<spec::DmaMap>(payload)?;
    check_argsz::<spec::DmaMap>(map.argsz)?;
    let unknown_flags = map.flags & !(spec::DMA_MAP_READ | spec::DMA_MAP_WRITE);
    if unknown_flags != 0 || fds.len() > 1 || map.size == 0 {
        return Err(Errno::INVAL);
    }
    let fd = fds.pop();
    let offset = if fd.is_some() { map.offset } else { 0 };
    map.address.checked_add(map.size).and(offset.checked_add(map.size)).ok_or(Errno::INVAL)?;
    let map = DmaMap {
        gpa: Gpa(map.address),
        size: map.size,
        offset,
        readable: map.flags & spec::DMA_MAP_READ != 0,
        writable: map.flags & spec::DMA_MAP_WRITE != 0,
    };
    device.dma_map(map, fd).map(|()| None)
}

fn dma_unmap(device: &mut dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (unmap, _) = parse::<spec::DmaUnmap>(payload)?;
    check_argsz::<spec::DmaUnmap>(unmap.argsz)?;
    let request = match unmap.flags {
        0 => DmaUnmap::Range { gpa: Gpa(unmap.address), size: unmap.size },
        spec::DMA_UNMAP_ALL if unmap.address == 0 && unmap.size == 0 => DmaUnmap::All,
        // No pages are tracked.
        spec::DMA_UNMAP_GET_DIRTY_BITMAP => return Err(Errno::NOTSUP),
        _ => return Err(Errno::INVAL),
    };
    let unmapped_bytes = device.dma_unmap(request)?;
    tracing::debug!(?request, unmapped_bytes, "unmapped guest memory");
    out.extend_from_slice(unmap.as_bytes());
    Ok(None)
}

fn device_info(payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (ask, _) = parse::<spec::DeviceInfo>(payload)?;
    check_argsz::<spec::DeviceInfo>(ask.argsz)?;
    let info = spec::DeviceInfo {
        argsz: size_of::<spec::DeviceInfo>() as u32,
        flags: spec::DEVICE_FLAG_RESET | spec::DEVICE_FLAG_PCI,
        num_regions: spec::PCI_REGIONS,
        num_irqs: spec::PCI_IRQS,
    };
    out.extend_from_slice(info.as_bytes());
    Ok(None)
}

fn region(device: &dyn Device, index: u32) -> Result<RegionInfo, Errno> {
    if index < spec::PCI_REGIONS { Ok(device.region_info(index)) } else { Err(Errno::INVAL) }
}

/// Capabilities, and the file to map, are left out if the client has no room for them: it asks again.
fn region_info(device: &dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (ask, _) = parse::<spec::RegionInfo>(payload)?;
    check_argsz::<spec::RegionInfo>(ask.argsz)?;
    let region = region(device, ask.index)?;
    let capabilities = sparse_mmap_capability(&region);
    let argsz = size_of::<spec::RegionInfo>() + capabilities.len();
    let whole = argsz <= ask.argsz as usize;
    let has_capabilities = !capabilities.is_empty();
    let info = spec::RegionInfo {
        argsz: argsz as u32,
        flags: region.flags.bits() | if has_capabilities { spec::REGION_FLAG_CAPS } else { 0 },
        index: ask.index,
        cap_offset: if has_capabilities && whole { size_of::<spec::RegionInfo>() as u32 } else { 0 },
        size: region.size,
        offset: 0,
    };
    out.extend_from_slice(info.as_bytes());
    if !whole {
        return Ok(None);
    }
    out.extend_from_slice(&capabilities);
    let fd = device.region_fd(ask.index).filter(|_| region.flags.contains(RegionFlags::MMAP));
    fd.map(|fd| fd.try_clone_to_owned().map_err(|_| Errno::MFILE)).transpose()
}

fn sparse_mmap_capability(region: &RegionInfo) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !region.flags.contains(RegionFlags::MMAP) || region.sparse_areas.is_empty() {
        return bytes;
    }
    let nr_areas = region.sparse_areas.len() as u32;
    let cap = spec::SparseMmapCap { id: spec::REGION_CAP_SPARSE_MMAP, version: 1, next: 0, nr_areas, reserved: 0 };
    bytes.extend_from_slice(cap.as_bytes());
    for area in &region.sparse_areas {
        bytes.extend_from_slice(spec::SparseMmapArea { offset: area.offset, size: area.size }.as_bytes());
    }
    bytes
}

/// No region has any: an empty list.
fn region_io_fds(device: &dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (ask, _) = parse::<spec::RegionIoFds>(payload)?;
    check_argsz::<spec::RegionIoFds>(ask.argsz)?;
    if ask.argsz > DATA_XFER_BYTES_MAX || ask.flags != 0 || ask.count != 0 || region(device, ask.index)?.size == 0 {
        return Err(Errno::INVAL);
    }
    let argsz = size_of::<spec::RegionIoFds>() as u32;
    out.extend_from_slice(spec::RegionIoFds { argsz, flags: 0, index: ask.index, count: 0 }.as_bytes());
    Ok(None)
}

fn irq_info(device: &dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (ask, _) = parse::<spec::IrqInfo>(payload)?;
    check_argsz::<spec::IrqInfo>(ask.argsz)?;
    let info = device.irq_info(IrqIndex::from_wire(ask.index).ok_or(Errno::INVAL)?);
    let argsz = size_of::<spec::IrqInfo>() as u32;
    let info = spec::IrqInfo { argsz, flags: info.flags.bits(), index: ask.index, count: info.count };
    out.extend_from_slice(info.as_bytes());
    Ok(None)
}

/// Whether the access lies within its region and is not longer than agreed.
fn check_access(device: &dyn Device, access: &spec::RegionAccess) -> Result<(), Errno> {
    let size = region(device, access.region)?.size;
    let end = access.offset.checked_add(access.count.into()).ok_or(Errno::INVAL)?;
    if access.count <= DATA_XFER_BYTES_MAX && end <= size { Ok(()) } else { Err(Errno::INVAL) }
}

fn region_read(device: &mut dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (access, _) = parse::<spec::RegionAccess>(payload)?;
    check_access(device, &access)?;
    out.extend_from_slice(access.as_bytes());
    let start = out.len();
    out.resize(start + access.count as usize, 0);
    let data = &mut out[start..];
    if !data.is_empty()
        && let Err(errno) = device.region_read(access.region, access.offset, data)
    {
        tracing::debug!(?access, %errno, "nothing answered a read");
        data.fill(0xff);
    }
    Ok(None)
}

fn region_write(device: &mut dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (access, data) = parse::<spec::RegionAccess>(payload)?;
    check_access(device, &access)?;
    if data.len() != access.count as usize {
        return Err(Errno::INVAL);
    }
    write(device, &access, data);
    out.extend_from_slice(access.as_bytes());
    Ok(None)
}

/// The whole list is checked before the first write is done. Clients send it at full length, however many are in use.
fn region_write_multi(device: &mut dyn Device, payload: &[u8], out: &mut Vec<u8>) -> Outcome {
    let (multi, rest) = parse::<spec::WriteMulti>(payload)?;
    let count = usize::try_from(multi.wr_cnt).map_err(|_| Errno::INVAL)?;
    let bytes = count.checked_mul(size_of::<spec::MultiWrite>()).and_then(|len| rest.get(..len)).ok_or(Errno::INVAL)?;
    let (writes, _) = bytes.as_chunks::<{ size_of::<spec::MultiWrite>() }>();
    let writes = writes.iter().map(|bytes| spec::MultiWrite::read_from_bytes(bytes).expect("the chunk has its size"));
    for write in writes.clone() {
        check_access(device, &write.access)?;
        if write.access.count as usize > write.data.len() {
            return Err(Errno::INVAL);
        }
    }
    for each in writes {
        write(device, &each.access, &each.data[..each.access.count as usize]);
    }
    out.extend_from_slice(multi.as_bytes());
    Ok(None)
}

fn write(device: &mut dyn Device, access: &spec::RegionAccess, data: &[u8]) {
    if !data.is_empty()
        && let Err(errno) = device.region_write(access.region, access.offset, data)
    {
        tracing::debug!(?access, %errno, "nothing took a write");
    }
}

/// No feature is there to get, set or probe.
fn device_feature(payload: &[u8]) -> Outcome {
    let (feature, _) = parse::<spec::DeviceFeature>(payload)?;
    check_argsz::<spec::DeviceFeature>(feature.argsz)?;
    Err(Errno::NOTTY)
}
