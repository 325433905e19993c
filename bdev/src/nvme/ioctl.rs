//! The two questions that a namespace's device answers without a ring: its number, and Identify.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::command::Command;
use super::identify::Page;
use super::spec::{COMMAND_LEN, IDENTIFY_LEN, IOCTL_ADMIN_CMD, IOCTL_ID};
use super::status;

/// The namespace identifier.
pub(super) fn nsid(file: &File) -> io::Result<u32> {
    // SAFETY: the request has no argument.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(IOCTL_ID)) };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// The page `cns` of Identify.
pub(super) fn identify(file: &File, nsid: u32, cns: u32) -> io::Result<Box<Page>> {
    let mut page = Box::new([0; IDENTIFY_LEN]);
    let mut command = Words::from(Command::identify(nsid, cns, page.as_mut_ptr().addr() as u64).to_bytes());
    // SAFETY: the command is as long as the request says and names a page of ours that is as long as Identify's, which
    // the kernel fills before it returns.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(IOCTL_ADMIN_CMD), command.0.as_mut_ptr()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    status::result_of(answer).map_err(io::Error::other)?;
    Ok(page)
}

/// A command where the kernel may expect numbers of 64 bits to be aligned.
struct Words([u64; COMMAND_LEN / 8]);

impl From<[u8; COMMAND_LEN]> for Words {
    fn from(bytes: [u8; COMMAND_LEN]) -> Self {
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[8 * at + byte]));
        Self(std::array::from_fn(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_nvme_device_answers_with_an_error() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(nsid(&null).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(identify(&null, 1, 0).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
