//! The questions that a namespace's device answers without a ring: its number, Identify, and how its controller is.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::command::Command;
use super::health::SmartPage;
use super::identify::Page;
use super::spec::{COMMAND_LEN, IOCTL_ADMIN_CMD, IOCTL_ID, LOG_SMART, SMART_LEN};
use super::status;

/// The namespace identifier.
pub(super) fn nsid(file: &File) -> io::Result<u32> {
    // SAFETY: the request has no argument.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(IOCTL_ID)) };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// The page `cns` of Identify.
pub(super) fn identify(file: &File, nsid: u32, cns: u32) -> io::Result<Box<Page>> {
    fill(file, |address| Command::identify(nsid, cns, address))
}

/// The SMART / Health Information log page of its controller.
pub(super) fn smart(file: &File) -> io::Result<Box<SmartPage>> {
    fill(file, |address| Command::get_log_page(LOG_SMART, SMART_LEN as u32, address))
}

/// A page that an admin command fills, given its address.
fn fill<const LEN: usize>(file: &File, command: impl FnOnce(u64) -> Command) -> io::Result<Box<[u8; LEN]>> {
    let mut page = Box::new([0; LEN]);
    let command = command(page.as_mut_ptr().addr() as u64);
    assert_eq!(command.data_len(), LEN, "it fills the page, and nothing else");
    let mut command = Words::from(command.to_bytes());
    // SAFETY: the command is as long as the request says and names a page of ours that is as long as its data, which the
    // kernel fills before it returns.
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
        assert_eq!(smart(&null).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
