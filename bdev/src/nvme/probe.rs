//! What the kernel and the device can do with commands, tried on the first block: nothing is changed by it.
//!
//! Runs once for each disk, on the control thread, when the disk is opened.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::file::failed;
use crate::mapping::Mapping;
use crate::op::IoError;
use crate::segment::Segment;
use crate::sysfs;
use crate::uring::Kind;

use super::command::{Command, Data};
use super::jobs::{Fixed, Terms};
use super::spec::{URING_CMD_IO, URING_CMD_IO_VEC};
use super::{refused, ring, status};

/// Reads the first block the way it is going to be served, to learn early whether the kernel lets us.
///
/// # Errors
/// [`OpenError::NoCommands`]: its block device may be there all the same.
pub(super) fn commands(path: &Path, file: &File, terms: &Terms) -> Result<(), OpenError> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    let none = |why: String| OpenError::NoCommands { path: path.to_owned(), why };
    let answer = read_first(file, terms, Kind::Interrupt).map_err(|source| match source.kind() {
        // There is no ring, or none with entries of this size.
        PermissionDenied | Unsupported | InvalidInput => none(source.to_string()),
        _ => failed(path, "send commands to", source),
    })?;
    match judge(answer) {
        Judgement::Takes => Ok(()),
        Judgement::TakesNone(why) => Err(none(why.to_owned())),
        Judgement::Broken(error) => Err(refused(path, format!("{error}. See what the kernel says of it (dmesg)"))),
    }
}

/// What the end of a first command says.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// The kernel takes commands: a sick first block, or a device that is not ready, is the guest's to see.
    Takes,
    /// It takes none; why.
    TakesNone(&'static str),
    /// No guest can do anything with it.
    Broken(IoError),
}

fn judge(answer: i32) -> Judgement {
    match answer.saturating_neg() {
        libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL => {
            Judgement::TakesNone("this kernel takes no NVMe commands through io_uring (Linux 5.19 or later does)")
        }
        libc::EACCES | libc::EPERM => {
            Judgement::TakesNone("this user may not send commands to it (that takes CAP_SYS_ADMIN on older kernels)")
        }
        _ => match status::result_of(answer) {
            Err(error @ (IoError::Gone | IoError::AccessDenied)) => Judgement::Broken(error),
            _ => Judgement::Takes,
        },
    }
}

/// Reads it once more the way in which nothing interrupts; else why that is no way. `queue` is the folder of the queue of the
/// namespace's block device.
pub(super) fn polling(queue: &Path, file: &File, terms: &Terms) -> Result<(), &'static str> {
    if sysfs::flag(&queue.join("io_poll")) {
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

/// Reads it into registered memory: in one piece, then in two. A kernel that does not know a way refuses the command before it
/// looks at anything else of it.
pub(super) fn fixed(file: &File, terms: &Terms) -> io::Result<Fixed> {
    let buffer = Mapping::new(4096)?;
    let whole = buffer.part(0, 4096);
    let block = terms.block_size as usize;
    let ask = |request, data| {
        let answer = ring::ask(file, request, Command::read(terms.nsid, 0, 1, data), Kind::Interrupt, Some(&whole));
        // Of a sick block that it is one can be said either way.
        answer.map(|answer| answer >= 0)
    };
    if !ask(URING_CMD_IO, data_of(&buffer.part(0, block)))? {
        return Ok(Fixed::No);
    }
    let halves: [Segment; 2] = [0, block / 2].map(|at| buffer.part(at, block / 2));
    let list = Data { address: halves.as_ptr().addr() as u64, len: halves.len() as u32 };
    Ok(if ask(URING_CMD_IO_VEC, list)? { Fixed::Lists } else { Fixed::Piece })
}

/// What a read of the first block answers through a ring of this kind.
fn read_first(file: &File, terms: &Terms, kind: Kind) -> io::Result<i32> {
    let buffer = Mapping::new(4096)?;
    let data = data_of(&buffer.part(0, terms.block_size as usize));
    let answer = ring::ask(file, URING_CMD_IO, Command::read(terms.nsid, 0, 1, data), kind, None);
    if answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        std::mem::forget(buffer);
    }
    answer
}

fn data_of(segment: &Segment) -> Data {
    Data { address: segment.as_ptr().addr() as u64, len: segment.len() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::limits::Limits;

    fn terms() -> Terms {
        let limits = Limits::read(Path::new("/nowhere"), 4096);
        Terms { nsid: 3, block_size: 4096, limits, zeroes_deallocate: true, fixed: Fixed::Piece }
    }

    #[test]
    fn what_the_first_command_says_is_understood() {
        let none = |errno: i32| match judge(-errno) {
            Judgement::TakesNone(why) => why,
            other => panic!("{errno}: {other:?}"),
        };
        for errno in [libc::EOPNOTSUPP, libc::ENOTTY, libc::EINVAL, libc::ENOSYS] {
            assert!(none(errno).contains("Linux 5.19"));
        }
        assert!(none(libc::EACCES).contains("CAP_SYS_ADMIN") && none(libc::EPERM).contains("CAP_SYS_ADMIN"));
        assert_eq!(judge(-libc::ENODEV), Judgement::Broken(IoError::Gone));
        for status in [0, 0x281, 0x82] {
            assert_eq!(judge(status), Judgement::Takes);
        }
    }

    #[test]
    fn who_gets_no_commands_is_told_of_the_block_device() {
        let file = tempfile::tempfile().unwrap();
        let error = commands(Path::new("/dev/ng7n1"), &file, &terms()).unwrap_err();
        assert!(matches!(error, OpenError::NoCommands { .. }), "{error}");
        assert!(error.to_string().contains("Leave `nvme:` out"), "{error}");
        assert!(commands(Path::new("x"), &File::open("/dev/null").unwrap(), &terms()).is_ok());
    }

    #[test]
    fn registered_memory_is_used_where_the_kernel_takes_it() {
        // It takes every command, whatever stands in it, and a file takes none.
        assert_eq!(fixed(&File::open("/dev/null").unwrap(), &terms()).unwrap(), Fixed::Lists);
        assert_eq!(fixed(&tempfile::tempfile().unwrap(), &terms()).unwrap(), Fixed::No);
    }

    #[test]
    fn it_is_polled_for_results_where_the_device_and_the_kernel_can() {
        let queue = tempfile::tempdir().unwrap();
        let null = File::options().read(true).open("/dev/null").unwrap();
        let none = Err("the device has no poll queues");
        assert_eq!(polling(queue.path(), &null, &terms()), none);
        std::fs::write(queue.path().join("io_poll"), "0\n").unwrap();
        assert_eq!(polling(queue.path(), &null, &terms()), none);
        std::fs::write(queue.path().join("io_poll"), "1\n").unwrap();
        let said = polling(queue.path(), &null, &terms());
        assert_eq!(said, Err("this kernel does not poll for commands to it"), "it takes commands and has no queues");
        for (answer, can) in [(Ok(0), true), (Ok(0x281), true), (Ok(-libc::EOPNOTSUPP), false)] {
            assert_eq!(judge_polling(answer).is_ok(), can);
        }
        assert!(judge_polling(Err(io::ErrorKind::TimedOut.into())).unwrap_err().contains("nothing came"));
    }
}
