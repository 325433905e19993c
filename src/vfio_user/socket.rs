//! The listening socket and its file: who may take the path, who may open it, and who removes it.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};

/// The longest path of a UNIX socket, in bytes (`sun_path` without its NUL).
pub const PATH_BYTES_MAX: usize = 107;
/// Clients that may wait for their turn.
const BACKLOG: i32 = 8;

/// Why a server could not listen. The text says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Longer than the kernel takes.
    #[error(
        "socket path {} is {bytes} bytes long and the limit is {PATH_BYTES_MAX}; choose a shorter one, or start in \
         its directory and give a relative path",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Empty, or with a NUL byte inside.
    #[error("socket path {path:?} is not a file name; give the path of the socket to create")]
    NotAPath {
        /// The path.
        path: PathBuf,
    },
    /// Another process, or another controller of this one, listens there.
    #[error(
        "socket {} is in use by a running process; stop that process or choose another path",
        path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something is there that is not a socket. It is never removed.
    #[error(
        "{} exists and is not a socket; remove it yourself or choose another path",
        path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system said no.
    #[error("cannot {doing} socket {}: {source}", path.display())]
    Os {
        /// What was tried.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A listening socket. Dropping it removes its file, if that is still its own.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file, if it could be read.
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// Listens on `path`, for the owner only. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let address = address(path)?;
        make_way(path, &address)?;
        let os = |doing| move |errno: Errno| BindError::Os { doing, path: path.to_owned(), source: errno.into() };
        let socket = new_socket().map_err(os("create"))?;
        // The file takes the mode of the socket, less the umask: nobody else can open it even for a moment.
        fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(os("set the mode of"))?;
        bind(&socket, &address).map_err(|errno| match errno {
            Errno::ADDRINUSE => BindError::InUse { path: path.to_owned() },
            errno => os("create")(errno),
        })?;
        let identity = std::fs::symlink_metadata(path).ok().map(|metadata| identity(&metadata));
        let listener = Self { socket, path: path.to_owned(), identity };
        listen(&listener.socket, BACKLOG).map_err(os("listen on"))?;
        Ok(listener)
    }

    /// Takes the next client, without waiting.
    ///
    /// # Errors
    /// `EAGAIN` if nobody waits; what the kernel says otherwise.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let now = std::fs::symlink_metadata(&self.path).ok().map(|metadata| identity(&metadata));
        if now.is_some() && now == self.identity {
            // Nothing is left to tell if this fails: the next start replaces the file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn address(path: &Path) -> Result<SocketAddrUnix, BindError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > PATH_BYTES_MAX {
        return Err(BindError::TooLong { path: path.to_owned(), bytes });
    }
    match SocketAddrUnix::new(path) {
        Ok(address) if bytes > 0 => Ok(address),
        _ => Err(BindError::NotAPath { path: path.to_owned() }),
    }
}

/// Removes what a process left behind that no longer runs, and nothing else.
fn make_way(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let os = |doing, source| BindError::Os { doing, path: path.to_owned(), source };
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(os("look at", error)),
        Ok(metadata) => metadata,
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    let probe = new_socket().map_err(|errno| os("create", errno.into()))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(|error| os("replace the stale", error)),
        // A full backlog (EAGAIN) is a live one too, and so is a socket of another type (EPROTOTYPE).
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(BindError::InUse { path: path.to_owned() }),
        Err(errno) => Err(os("look at", errno.into())),
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
