//! The server as a client sees it: raw messages over a socket pair, against a device that records what it is asked.

mod clients;
mod commands;
mod dma;
mod hostile;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use zerocopy::{FromBytes, IntoBytes};

use super::message::wait_until;
use super::server::serve;
use super::spec::{self, Command, FLAG_ERROR, FLAG_NO_REPLY, FLAG_TYPE_COMMAND, FLAG_TYPE_REPLY, HEADER_BYTES, Header};
use super::{
    ClientLimits, ClientMemory, Device, DmaMap, DmaUnmap, IrqChange, IrqFlags, IrqIndex, IrqInfo, RegionFlags,
    RegionInfo, SparseArea,
};

/// The region whose reads and writes are kept; nothing answers from [`DEAF_FROM`] on.
const BAR: u32 = 4;
const BAR_BYTES: u64 = 0x4000;
const DEAF_FROM: u64 = 0x3000;
/// A region longer than one message may read or write; nothing answers in it.
const LARGE: u32 = 5;
/// A region that can be mapped in parts.
const MAPPABLE: u32 = 2;

/// What the device was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Connected(ClientLimits),
    Disconnected,
    Reset,
    Write(u32, u64, Vec<u8>),
    Map(DmaMap, bool),
    Unmap(DmaUnmap),
    DisableAll(IrqIndex),
    Eventfds(IrqIndex, u32, usize),
    Perform(IrqIndex, u32, Vec<bool>),
}

/// Runs in the device's `wake` until it says that it is done.
type Job = Box<dyn FnMut(&mut dyn ClientMemory) -> bool + Send>;

struct TestDevice {
    events: Arc<Mutex<Vec<Event>>>,
    bar: Vec<u8>,
    file: OwnedFd,
    maps: Vec<DmaMap>,
    held: Vec<OwnedFd>,
    jobs: Receiver<Job>,
    job: Option<Job>,
}

impl TestDevice {
    fn record(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl Device for TestDevice {
    fn region_info(&self, index: u32) -> RegionInfo {
        let flags = RegionFlags::READ | RegionFlags::WRITE;
        match index {
            BAR => RegionInfo { size: BAR_BYTES, flags, sparse_areas: Vec::new() },
            MAPPABLE => RegionInfo {
                size: 0x8000,
                flags: flags | RegionFlags::MMAP,
                sparse_areas: vec![
                    SparseArea { offset: 0x2000, size: 0x1000 },
                    SparseArea { offset: 0x4000, size: 0x2000 },
                ],
            },
            LARGE => RegionInfo { size: 4 << 20, flags, sparse_areas: Vec::new() },
            spec::PCI_CONFIG_REGION => RegionInfo { size: 256, flags, sparse_areas: Vec::new() },
            _ => RegionInfo::default(),
        }
    }

    fn region_fd(&self, index: u32) -> Option<BorrowedFd<'_>> {
        (index == MAPPABLE).then(|| self.file.as_fd())
    }

    fn irq_info(&self, index: IrqIndex) -> IrqInfo {
        let count = [1, 0, 2048, 1, 1][index as usize];
        IrqInfo { count, flags: if count > 0 { IrqFlags::EVENTFD } else { IrqFlags::empty() } }
    }

    fn region_read(&mut self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        if index != BAR || offset >= DEAF_FROM {
            return Err(Errno::IO);
        }
        data.copy_from_slice(&self.bar[offset as usize..][..data.len()]);
        Ok(())
    }

    fn region_write(&mut self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.record(Event::Write(index, offset, data.to_vec()));
        if index != BAR || offset >= DEAF_FROM {
            return Err(Errno::IO);
        }
        self.bar[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn dma_map(&mut self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        if self.maps.iter().any(|have| have.gpa.0 < map.gpa.0 + map.size && map.gpa.0 < have.gpa.0 + have.size) {
            return Err(Errno::EXIST);
        }
        self.record(Event::Map(map, fd.is_some()));
        self.maps.push(map);
        self.held.extend(fd);
        Ok(())
    }

    fn dma_unmap(&mut self, unmap: DmaUnmap) -> Result<u64, Errno> {
        let goes = |map: &DmaMap| match unmap {
            DmaUnmap::All => true,
            DmaUnmap::Range { gpa, size } => map.gpa == gpa && map.size == size,
        };
        let bytes = self.maps.iter().filter(|map| goes(map)).map(|map| map.size).sum();
        if bytes == 0 && unmap != DmaUnmap::All {
            return Err(Errno::NOENT);
        }
        self.maps.retain(|map| !goes(map));
        self.record(Event::Unmap(unmap));
        Ok(bytes)
    }

    fn set_irqs(&mut self, change: IrqChange) -> Result<(), Errno> {
        match change {
            IrqChange::DisableAll { index } => self.record(Event::DisableAll(index)),
            IrqChange::SetEventfds { index, start, eventfds, .. } => {
                self.record(Event::Eventfds(index, start, eventfds.iter().flatten().count()));
                self.held.extend(eventfds.into_iter().flatten());
            }
            IrqChange::Perform { index, start, selected, .. } => {
                self.record(Event::Perform(index, start, selected));
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.bar.fill(0);
        self.record(Event::Reset);
    }

    fn connected(&mut self, limits: ClientLimits) {
        self.record(Event::Connected(limits));
    }

    fn disconnected(&mut self) {
        self.maps.clear();
        self.held.clear();
        self.record(Event::Disconnected);
    }

    fn wake(&mut self, memory: &mut dyn ClientMemory) {
        if self.job.is_none() {
            self.job = self.jobs.try_recv().ok();
        }
        if self.job.as_mut().is_some_and(|job| job(memory)) {
            self.job = None;
        }
    }
}

/// What a test needs of the thread that serves, whatever it serves on.
struct Control {
    events: Arc<Mutex<Vec<Event>>>,
    jobs: Sender<Job>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts a thread that runs `serve` with a fresh device.
    fn start(serve: impl FnOnce(&mut TestDevice, BorrowedFd<'_>, &AtomicBool) + Send + 'static) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (jobs, job_receiver) = channel();
        let mut device = TestDevice {
            events: events.clone(),
            bar: vec![0; BAR_BYTES as usize],
            file: tempfile::tempfile().unwrap().into(),
            maps: Vec::new(),
            held: Vec::new(),
            jobs: job_receiver,
            job: None,
        };
        let (its_wake, its_stop) = (wake.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(&mut device, its_wake.as_fd(), &its_stop));
        Self { events, jobs, wake, stop, thread: Some(thread) }
    }

    /// Has the device run `job` in its `wake`.
    fn wake_with(&self, job: impl FnMut(&mut dyn ClientMemory) -> bool + Send + 'static) {
        self.jobs.send(Box::new(job)).unwrap();
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes()).unwrap();
    }

    /// What the device was asked since the last call, without [`Event::Connected`].
    fn events(&self) -> Vec<Event> {
        let mut events = std::mem::take(&mut *self.events.lock().unwrap());
        events.retain(|event| !matches!(event, Event::Connected(_)));
        events
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes()).unwrap();
        self.join();
    }

    /// Waits for the thread, which ends by itself.
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A reply, or a command of the server.
#[derive(Debug)]
struct Incoming {
    header: Header,
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Incoming {
    /// The errno of an error reply, which must be a header alone.
    fn errno(&self) -> i32 {
        assert_eq!(self.header.flags, FLAG_TYPE_REPLY | FLAG_ERROR);
        assert_eq!(self.header.message_size as usize, HEADER_BYTES);
        assert_ne!(self.header.error, 0);
        self.header.error as i32
    }
}

/// A test that would hang fails after this.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The client's end.
struct Client {
    socket: OwnedFd,
    next_id: u16,
}

impl Client {
    fn new(socket: OwnedFd) -> Self {
        let timeout = Some(TEST_TIMEOUT);
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, timeout).unwrap();
        Self { socket, next_id: 0x1000 }
    }

    fn send(&mut self, header: Header, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let bytes = [header.as_bytes(), payload].concat();
        let sent = sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    fn header(&mut self, command: Command, payload: &[u8], flags: u32) -> Header {
        self.next_id += 1;
        let message_size = (HEADER_BYTES + payload.len()) as u32;
        Header { message_id: self.next_id, command, message_size, flags, error: 0 }
    }

    /// Sends a command; gives its id.
    fn command(&mut self, command: Command, payload: &[u8]) -> u16 {
        let header = self.header(command, payload, FLAG_TYPE_COMMAND);
        self.send(header, payload, &[]);
        header.message_id
    }

    fn posted(&mut self, command: Command, payload: &[u8]) {
        let header = self.header(command, payload, FLAG_NO_REPLY);
        self.send(header, payload, &[]);
    }

    /// The next message; `None` at the end of the connection, which must be a clean one.
    fn receive(&mut self) -> Option<Incoming> {
        let mut fds = Vec::new();
        let mut header = [0; HEADER_BYTES];
        if !self.fill(&mut header, &mut fds) {
            return None;
        }
        let header = Header::read_from_bytes(&header).unwrap();
        let mut payload = vec![0; header.message_size as usize - HEADER_BYTES];
        assert!(self.fill(&mut payload, &mut fds));
        Some(Incoming { header, payload, fds })
    }

    fn fill(&mut self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> bool {
        let mut filled = 0;
        while filled < bytes.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut part = [std::io::IoSliceMut::new(&mut bytes[filled..])];
            let received = recvmsg(&self.socket, &mut part, &mut ancillary, RecvFlags::empty()).unwrap().bytes;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
            if received == 0 {
                assert_eq!(filled, 0, "the connection ends between messages");
                return false;
            }
            filled += received;
        }
        true
    }

    /// A command and the reply to it.
    fn exchange_with(&mut self, command: Command, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Incoming {
        let header = self.header(command, payload, FLAG_TYPE_COMMAND);
        self.send(header, payload, fds);
        let reply = self.receive().expect("a reply");
        assert_eq!((reply.header.message_id, reply.header.command), (header.message_id, command));
        reply
    }

    /// A command too long for one `sendmsg`, and the reply to it.
    fn ask_at_length(&mut self, command: Command, payload: &[u8]) -> Incoming {
        let header = self.header(command, payload, FLAG_TYPE_COMMAND);
        self.send_at_length(&[header.as_bytes(), payload].concat());
        self.receive().expect("a reply")
    }

    fn send_at_length(&self, bytes: &[u8]) {
        let mut stream = std::os::unix::net::UnixStream::from(self.socket.try_clone().unwrap());
        std::io::Write::write_all(&mut stream, bytes).unwrap();
    }

    /// The payload of a successful reply.
    fn ask(&mut self, command: Command, payload: &[u8]) -> Vec<u8> {
        let reply = self.exchange_with(command, payload, &[]);
        assert_eq!((reply.header.flags, reply.header.error), (FLAG_TYPE_REPLY, 0));
        reply.payload
    }

    /// The errno of an unsuccessful one.
    fn refused(&mut self, command: Command, payload: &[u8]) -> i32 {
        self.exchange_with(command, payload, &[]).errno()
    }

    fn negotiate(&mut self, text: &[u8]) {
        self.ask(Command::VERSION, &[&[0, 0, 1, 0], text].concat());
    }

    fn read(&mut self, offset: u64, count: u32) -> Vec<u8> {
        let access = spec::RegionAccess { offset, region: BAR, count };
        let mut reply = self.ask(Command::REGION_READ, access.as_bytes());
        assert_eq!(reply[..16], *access.as_bytes());
        reply.split_off(16)
    }

    /// The stream is in step and the server well.
    fn check_alive(&mut self) {
        assert_eq!(self.ask(Command::DEVICE_GET_INFO, &device_info_request()).len(), 16);
    }
}

fn device_info_request() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = 16;
    bytes
}

/// A server on one end of a socket pair, and the other end.
fn connect() -> (Control, Client) {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let control = Control::start(move |device, wake, stop| serve(theirs, device, wake, stop).unwrap());
    (control, Client::new(ours))
}

/// The same, with the version agreed on.
fn connect_and_negotiate() -> (Control, Client) {
    let (control, mut client) = connect();
    client.negotiate(b"");
    (control, client)
}

/// Whether everybody who had the writing end of this pipe closes it within the time that a test may take.
fn is_closed(reader: impl AsFd) -> bool {
    let deadline = Instant::now() + TEST_TIMEOUT;
    wait_until(reader.as_fd(), PollFlags::IN, deadline).is_ok()
}
