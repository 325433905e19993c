//! Why a disk could not be opened, in words for the person who asked for it: what, where, and what to do.

use std::{io, path::PathBuf};

/// Why a disk could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing has this path.
    #[error("{}: no such file. Check the path, or create the disk, for example with `annulus disk create {} --size 10G`", .path.display(), .path.display())]
    NotFound {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("{}: is a directory. Give the path of a disk file in it", .path.display())]
    Directory {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The path is a pipe, a socket, a terminal or another thing that holds no blocks.
    #[error("{}: is a {kind}. A disk is a regular file or a block device", .path.display())]
    Kind {
        /// As it was asked for.
        path: PathBuf,
        /// What it is instead.
        kind: &'static str,
    },
    /// We may not open it at all.
    #[error("{}: permission denied. Let this user {} it, or run as a user who may", .path.display(), if *.write { "read and write" } else { "read" })]
    Permission {
        /// As it was asked for.
        path: PathBuf,
        /// Whether it was to be written.
        write: bool,
    },
    /// It can be read but not written, and was not asked for as read-only.
    #[error("{}: can only be read ({reason}). Add `ro` to the disk to serve it read-only, or make it writable", .path.display())]
    ReadOnly {
        /// As it was asked for.
        path: PathBuf,
        /// How that shows.
        reason: String,
    },
    /// Its zones take writes in order only.
    #[error("{}: is a zoned device (host-managed): its zones take writes in order only, and guests would write anywhere. Serve a file in a file system that knows zones (btrfs, f2fs), or what dm-zoned makes of the device", .path.display())]
    Zoned {
        /// As it was asked for.
        path: PathBuf,
    },
    /// Somebody else serves it.
    #[error("{}: is in use by another disk, of this process or of another. A disk can be served once, or several times as `ro`", .path.display())]
    Locked {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The kernel itself has it, or another program that wants it alone.
    #[error("{}: is in use: mounted, part of another disk (LVM, RAID, device mapper) or open elsewhere. Free it first, or add `ro` to the disk to only read it", .path.display())]
    InUse {
        /// As it was asked for.
        path: PathBuf,
    },
    /// The character device of an NVMe namespace.
    #[error("{}: is the character device of an NVMe namespace. Serve it as nvme:{}, or give its block device, for example /dev/nvme0n1", .path.display(), .path.display())]
    NvmeGeneric {
        /// As it was asked for.
        path: PathBuf,
    },
    /// An NVMe namespace to which no commands can be sent.
    #[error("{}: {why}. Leave `nvme:` out to have its block device served instead", .path.display())]
    NoCommands {
        /// As it was asked for.
        path: PathBuf,
        /// What keeps us from it.
        why: String,
    },
    /// An NVMe namespace that cannot be served.
    #[error("{}: {why}", .path.display())]
    Nvme {
        /// As it was asked for.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A part of a disk that it does not have.
    #[error("{disk}: {why}")]
    Part {
        /// Name of the disk for people.
        disk: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Direct I/O was demanded and cannot be had.
    #[error("{}: no direct I/O: {reason}. Ask for `direct=auto` or `direct=off`, or move the file", .path.display())]
    NoDirect {
        /// As it was asked for.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Polling for results was demanded and cannot be had.
    #[error("{}: no polling for results: {reason}. Ask for `iopoll=auto` or `iopoll=off`, or give the device poll queues (for NVMe: `nvme.poll_queues=N` on the kernel's command line)", .path.display())]
    NoPoll {
        /// As it was asked for.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A block size that no guest understands.
    #[error("{disk}: block size {block_size} is not possible. It is 512 or 4096")]
    BlockSize {
        /// Name of the disk for people.
        disk: String,
        /// As it was asked for, in bytes.
        block_size: u32,
    },
    /// No block fits.
    #[error("{disk}: has a size of 0. Give it one that is a multiple of the block size")]
    Empty {
        /// Name of the disk for people.
        disk: String,
    },
    /// The last block would be cut.
    #[error("{disk}: size {size} is not a multiple of the block size {block_size}. Resize it, for example to {}", .size.next_multiple_of(u64::from(*.block_size)))]
    Size {
        /// Name of the disk for people.
        disk: String,
        /// In bytes.
        size: u64,
        /// In bytes.
        block_size: u32,
    },
    /// The memory of a `mem` disk could not be had.
    #[error("{disk}: no memory for {size} bytes: {source}. Ask for a smaller disk")]
    Memory {
        /// Name of the disk for people.
        disk: String,
        /// In bytes.
        size: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// Anything else that the kernel says.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// As it was asked for.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}
