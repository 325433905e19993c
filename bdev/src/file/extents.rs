//! How large a file or block device is now, and which parts of it have space: what `SEEK_DATA` and `SEEK_HOLE` tell, and of
//! holes the file system's map, for space that was set aside is in one. Looking for those may wait for the disk, so that it never
//! runs on a core.

use std::fs::File;
use std::io::{self, SeekFrom as Seek};

use rustix::fs::{FileType, SeekFrom, fstat, fstatvfs, seek};
use rustix::io::Errno;

use crate::extents::fill;
use crate::file::fiemap::{self, Piece};
use crate::info::{Extent, Provision, Space};
use crate::op::{IoError, Op};

/// How much space a regular file has, and its file system for it.
pub(crate) fn space(file: &File) -> Option<Space> {
    const STAT_BLOCK: u64 = 512;
    let (stat, system) = (fstat(file).ok()?, fstatvfs(file).ok()?);
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return None;
    }
    let used = u64::try_from(stat.st_blocks).ok()?.saturating_mul(STAT_BLOCK);
    Some(Space { used: Some(used), available: system.f_bavail.saturating_mul(system.f_frsize) })
}

/// Fills the list of an [`OpKind::Extents`](crate::OpKind). `anchors`: space that is set aside counts as anchored; else it is that
/// of a hole.
pub(crate) fn list(file: &File, op: &Op, anchors: bool) -> Result<(), IoError> {
    let size = size(file).map_err(|error| IoError::from_errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let end = op.offset + op.len;
    if end > size {
        return Err(IoError::BeyondEnd);
    }
    fill(op, |offset| {
        let data = find(file, SeekFrom::Data(offset), end)?;
        if data > offset {
            return Ok(if anchors { within_hole(file, offset, data) } else { hole(offset, data) });
        }
        let hole = find(file, SeekFrom::Hole(offset), end)?;
        // Somebody may change the file meanwhile: an extent is never empty.
        Ok(Extent { offset, len: hole.max(offset + 1) - offset, provision: Provision::Mapped })
    })
}

fn hole(offset: u64, end: u64) -> Extent {
    Extent { offset, len: end - offset, provision: Provision::Deallocated }
}

/// What begins at `offset`, where there is no data before `end`. A file system without such a map has nothing set aside.
fn within_hole(file: &File, offset: u64, end: u64) -> Extent {
    let pieces = fiemap::pieces(file, offset, end - offset).unwrap_or_default();
    match pieces.first() {
        None => hole(offset, end),
        Some(first) if first.start > offset => hole(offset, first.start.min(end)),
        Some(&Piece { provision, .. }) => {
            let mut stop = offset + 1;
            for piece in pieces.iter().take_while(|piece| piece.provision == provision) {
                if piece.start > stop {
                    break;
                }
                stop = stop.max(piece.end);
            }
            Extent { offset, len: stop.min(end) - offset, provision }
        }
    }
}

/// Where the next data or hole begins, `end` at most.
fn find(file: &File, what: SeekFrom, end: u64) -> Result<u64, IoError> {
    match seek(file, what) {
        Ok(at) => Ok(at.min(end)),
        // No more data, up to the end of the file.
        Err(Errno::NXIO) => Ok(end),
        // A file system that cannot tell: all of it is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(if let SeekFrom::Data(at) = what { at } else { end }),
        Err(error) => Err(IoError::from_errno(error.raw_os_error())),
    }
}

/// What the failure of an operation that ends at byte `end` means. A block device may not be what it was: one that was
/// pulled has no size any more, and the kernel calls that the end of the device or a lack of space, as it does what lies
/// behind the end of one that has shrunk. For anything else the error is what it seems to be.
#[cold]
pub(crate) fn look_again(file: &File, end: u64, error: IoError) -> IoError {
    use std::os::unix::fs::FileTypeExt;
    let is_block_device = file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    if !is_block_device || matches!(error, IoError::Cancelled | IoError::Busy) {
        return error;
    }
    match (size(file), error) {
        (Ok(0) | Err(_), _) => IoError::Gone,
        (Ok(size), _) if end > size => IoError::BeyondEnd,
        _ => error,
    }
}

/// Bytes that a file or block device has now.
pub(crate) fn size(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = file.metadata()?;
    // A block device has no length in its metadata; its end is where a seek leads. Of a file it is not asked in that way:
    // that would wait for a thread that looks for holes.
    if metadata.file_type().is_block_device() { io::Seek::seek(&mut &*file, Seek::End(0)) } else { Ok(metadata.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_what_the_file_has() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        let before = space(&file).unwrap();
        assert!(before.used.unwrap() < 1 << 20, "{before:?}");
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4 << 20], 1 << 20).unwrap();
        file.sync_all().unwrap();
        // A file system that compresses takes less than was written.
        assert!(space(&file).unwrap().used > before.used);
        assert_eq!(space(&File::open("/dev/null").unwrap()), None, "no regular file");
    }
}
