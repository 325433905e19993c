//! Which parts of a file have space: what `SEEK_DATA` and `SEEK_HOLE` tell. It may wait for the disk, so that it never
//! runs on a core.

use std::fs::File;
use std::io::{self, SeekFrom as Seek};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::extents::fill;
use crate::info::Extent;
use crate::op::{IoError, Op};

/// Fills the list of an [`OpKind::Extents`](crate::OpKind).
pub(crate) fn list(file: &File, op: &Op) -> Result<(), IoError> {
    let size = size(file).map_err(|error| IoError::from_errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let end = op.offset + op.len;
    if end > size {
        return Err(IoError::BeyondEnd);
    }
    fill(op, |offset| {
        let data = find(file, SeekFrom::Data(offset), end)?;
        if data > offset {
            return Ok(Extent { offset, len: data - offset, allocated: false });
        }
        let hole = find(file, SeekFrom::Hole(offset), end)?;
        // Somebody may change the file meanwhile: an extent is never empty.
        Ok(Extent { offset, len: hole.max(offset + 1) - offset, allocated: true })
    })
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

/// Bytes that a file or block device has now.
pub(crate) fn size(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = file.metadata()?;
    // A block device has no length in its metadata; its end is where a seek leads. Of a file it is not asked in that way:
    // that would wait for a thread that looks for holes.
    if metadata.file_type().is_block_device() { io::Seek::seek(&mut &*file, Seek::End(0)) } else { Ok(metadata.len()) }
}
