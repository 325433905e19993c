//! Direct I/O: whether a file can do it, what it demands, and switching it on.

use std::fs::File;

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use crate::file::{Alignment, Direct};

/// Turns direct I/O on if that is wanted and can be had; else says why not. `sector` is that of a block device.
pub(super) fn choose(file: &File, direct: Direct, block_size: u32, sector: Option<u32>) -> Result<Alignment, String> {
    if direct == Direct::Off {
        return Err("as asked for".to_owned());
    }
    let alignment = ask_alignment(file, sector).ok_or("the file system does not offer it")?;
    if alignment.offset > block_size {
        let keeper = if sector.is_some() { "device" } else { "file system" };
        return Err(format!(
            "the {keeper} takes multiples of {} bytes, the disk has blocks of {block_size}",
            alignment.offset
        ));
    }
    let flags = rustix::fs::fcntl_getfl(file).map_err(|error| error.to_string())?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).map_err(|error| error.to_string())?;
    Ok(alignment)
}

fn ask_alignment(file: &File, sector: Option<u32>) -> Option<Alignment> {
    let answer = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let said = answer.filter(|answer| answer.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let (memory, offset) = match (said, sector) {
        (Some(answer), _) => (answer.stx_dio_mem_align, answer.stx_dio_offset_align),
        // A block device of a kernel that does not answer: its sectors are always enough.
        (None, Some(sector)) => (sector, sector),
        (None, None) => return None,
    };
    // 0 means that this file cannot.
    (memory.is_power_of_two() && offset.is_power_of_two()).then_some(Alignment { memory, offset })
}
