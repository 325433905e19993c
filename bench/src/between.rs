//! Stands between a client and a device, and hides the files of some memory from the device.
//!
//! For a client that shares all its memory, it makes one that does not: DMA_MAP of a hidden region goes on without its
//! file, and the device's DMA_READ and DMA_WRITE are served from that file here. All other messages pass as they are.
//! A test can have it refuse the device, or leave it waiting.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::wire::{FLAG_ERROR, FLAG_REPLY, HEADER_LEN, Header, command};

/// File descriptors in one message.
const MAX_FDS: usize = 16;
/// No message is longer.
const MAX_MESSAGE: usize = 4 << 20;
/// Where in DMA_MAP the offset, the address and the size are.
const MAP_OFFSET: std::ops::Range<usize> = 8..16;
const MAP_ADDRESS: std::ops::Range<usize> = 16..24;
/// The type bits of header flags.
const TYPE_MASK: u32 = 0xF;
/// errno of a request for memory that is not there.
const EFAULT: u32 = 14;

/// What becomes of the device's requests for hidden memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are served.
    #[default]
    Serve,
    /// They are answered with this errno.
    Refuse(u32),
    /// They are kept, and answered when the mode changes.
    Hold,
}

/// What the device has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// DMA_READ messages that were served.
    pub reads: usize,
    /// DMA_WRITE messages that were served.
    pub writes: usize,
    /// Either, that were held for a time.
    pub held: usize,
}

/// One client's go-between.
#[derive(Debug)]
pub struct Between {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    asked: Asked,
    hidden: Vec<u64>,
    /// First address of each hidden region that was mapped, and its file.
    files: Vec<(u64, File)>,
    held: Vec<Message>,
    device: Option<UnixStream>,
}

#[derive(Debug)]
struct Message {
    header: Header,
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Between {
    /// Listens on `socket` for one client, after which the socket is gone, and brings it to the device on `device`. Regions that begin at one of `hidden`
    /// are not shared.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(socket: &Path, device: &Path, hidden: &[u64]) -> std::io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let state = Arc::new(Mutex::new(State { hidden: hidden.to_vec(), ..State::default() }));
        let (socket, device, thread_state) = (socket.to_owned(), device.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            if let Err(error) = connect(&listener, (&socket, &device), &thread_state) {
                eprintln!("between: {error}");
            }
        });
        Ok(Self { state })
    }

    /// What becomes of requests from now on, and of those that are held.
    pub fn set_mode(&self, mode: Mode) {
        let mut state = lock(&self.state);
        state.mode = mode;
        for message in std::mem::take(&mut state.held) {
            // A device that has gone needs no answer.
            let _ = state.answer(message);
        }
    }

    /// What the device has asked for so far.
    pub fn asked(&self) -> Asked {
        lock(&self.state).asked
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the client, then passes messages on, one thread for each direction.
fn connect(
    listener: &UnixListener,
    (socket, device): (&Path, &Path),
    state: &Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let (client, _) = listener.accept()?;
    std::fs::remove_file(socket)?;
    let device = UnixStream::connect(device)?;
    lock(state).device = Some(device.try_clone()?);
    let (from_device, to_client, thread_state) = (device.try_clone()?, client.try_clone()?, Arc::clone(state));
    std::thread::spawn(move || {
        while let Ok(message) = receive(&from_device) {
            let done = if message.header.flags & TYPE_MASK == FLAG_REPLY {
                send(&to_client, &message)
            } else {
                lock(&thread_state).answer(message)
            };
            if done.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    while let Ok(mut message) = receive(&client) {
        let mut state = lock(state);
        if message.header.command == command::DMA_MAP {
            state.hide(&mut message);
        }
        send(&device, &message)?;
    }
    device.shutdown(Shutdown::Both)
}

impl State {
    /// Keeps the file of a hidden region back.
    fn hide(&mut self, message: &mut Message) {
        let Some(address) = message.payload.get(MAP_ADDRESS).map(word) else { return };
        if self.hidden.contains(&address)
            && let Some(fd) = message.fds.pop()
        {
            self.files.retain(|(other, _)| *other != address);
            self.files.push((address, fd.into()));
            message.payload[MAP_OFFSET].fill(0);
        }
    }

    /// Does with a request of the device what the mode says.
    fn answer(&mut self, request: Message) -> std::io::Result<()> {
        match self.mode {
            Mode::Hold => {
                self.asked.held += 1;
                self.held.push(request);
                return Ok(());
            }
            Mode::Refuse(errno) => return self.reply(&request, Err(errno)),
            Mode::Serve => {}
        }
        let served = self.serve(&request);
        self.reply(&request, served)
    }

    /// Reads or writes hidden memory; what follows the echo in the reply.
    fn serve(&mut self, request: &Message) -> Result<Vec<u8>, u32> {
        let (address, count) = (word(&request.payload[..8]), word(&request.payload[8..16]) as usize);
        let region = self.files.iter().filter(|(start, _)| *start <= address).max_by_key(|(start, _)| *start);
        let (start, file) = region.ok_or(EFAULT)?;
        if request.header.command == command::DMA_WRITE {
            self.asked.writes += 1;
            let written = file.write_all_at(&request.payload[16..], address - start);
            return written.map(|()| Vec::new()).map_err(|_| EFAULT);
        }
        self.asked.reads += 1;
        let mut data = vec![0; count];
        file.read_exact_at(&mut data, address - start).map_err(|_| EFAULT)?;
        Ok(data)
    }

    fn reply(&self, request: &Message, outcome: Result<Vec<u8>, u32>) -> std::io::Result<()> {
        let device = self.device.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
        let (payload, flags, error) = match outcome {
            Ok(data) => ([&request.payload[..16], &data].concat(), FLAG_REPLY, 0),
            Err(errno) => (Vec::new(), FLAG_REPLY | FLAG_ERROR, errno),
        };
        let header = Header { flags, error, ..request.header };
        send(device, &Message { header, payload, fds: Vec::new() })
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// Reads one message with its descriptors.
fn receive(mut stream: &UnixStream) -> std::io::Result<Message> {
    let mut bytes = [0; HEADER_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if received == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = rights.flatten().collect();
    stream.read_exact(&mut bytes[received..])?;
    let header = Header::parse(&bytes);
    let len = (header.message_size as usize).checked_sub(HEADER_LEN).filter(|&len| len <= MAX_MESSAGE);
    let mut payload = vec![0; len.ok_or(std::io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut payload)?;
    Ok(Message { header, payload, fds })
}

/// Writes one message with its descriptors.
fn send(stream: &UnixStream, message: &Message) -> std::io::Result<()> {
    let header = Header { message_size: (HEADER_LEN + message.payload.len()) as u32, ..message.header };
    let bytes = [&header.encode()[..], &message.payload].concat();
    let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut sent = 0;
    while sent < bytes.len() {
        sent += sendmsg(stream, &[IoSlice::new(&bytes[sent..])], &mut control, SendFlags::NOSIGNAL)?;
        control.clear();
    }
    Ok(())
}
