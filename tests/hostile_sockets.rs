//! A client sends what no client should. It is refused or cut off; what it sent along is closed; the other controller goes
//! on, and so does the next client.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use annulus_bench::raw::RawClient;
use annulus_bench::wire::{self, FLAG_REPLY, Header, command};
use annulus_bench::{Guest, Options, guest::memory::Gpa, guest::memory::Region};
use common::Target;
use common::io::alive;
use rustix::event::{EventfdFlags, eventfd};

const EINVAL: u32 = 22;
const ENOENT: u32 = 2;
/// SET_IRQS flags: data is none, eventfds; action is mask, unmask, trigger.
const DATA_NONE: u32 = 1;
const DATA_BOOL: u32 = 2;
const DATA_EVENTFD: u32 = 4;
const ACTION_MASK: u32 = 8;
const ACTION_TRIGGER: u32 = 32;
const MSIX: u32 = 2;
/// DMA_UNMAP flag: everything.
const UNMAP_ALL: u32 = 2;

struct Bench {
    target: Target,
    neighbour: Guest,
}

impl Bench {
    fn new() -> Self {
        let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
        let mut neighbour = target.guest_on("b.sock", Options::default());
        alive(&mut neighbour);
        Self { target, neighbour }
    }

    fn raw(&self) -> RawClient {
        self.target.raw("a.sock")
    }

    /// The neighbour works, and so does a new client of the one that was attacked.
    fn settled(&mut self) {
        alive(&mut self.neighbour);
        alive(&mut self.target.guest_on("a.sock", Options::default()));
    }

    /// As many files are open as before.
    fn files_settle_at(&self, before: usize) {
        self.target.until("end of leaked files", || self.target.open_files() <= before);
    }
}

/// The stream is intact: an ordinary question gets its answer.
fn answers(client: &mut RawClient) {
    let info = client.call(command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0]), &[]).unwrap();
    assert_eq!((info.error(), info.payload.len()), (None, 16));
}

/// The device has cut the connection, or answered with an error first.
fn is_cut_off(client: &mut RawClient) {
    loop {
        match client.receive() {
            Ok(reply) => assert!(reply.error().is_some(), "{reply:?}"),
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
                return;
            }
        }
    }
}

fn header(message_size: u32, command: u16, flags: u32) -> Vec<u8> {
    Header { message_id: 9, command, message_size, flags, error: 0 }.encode().to_vec()
}

#[test]
fn sizes_that_cannot_be() {
    let mut bench = Bench::new();
    for size in [0, 1, 15, 1 << 26, u32::MAX] {
        let mut client = bench.raw();
        client.send(&header(size, command::DEVICE_GET_INFO, 0), &[]).unwrap();
        if size > 16 {
            // Such a message never comes to its end; the sender gives up.
            let _ = client.send(&vec![0; 1 << 16], &[]);
            client.stream().shutdown(std::net::Shutdown::Write).unwrap();
        }
        is_cut_off(&mut client);
    }
    bench.settled();
    bench.target.stop();
}

#[test]
fn versions_that_cannot_be() {
    let mut bench = Bench::new();
    let caps = |text: &str| [text.as_bytes(), &[0]].concat();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let texts =
        ["{", "not JSON", "[]", "{\"capabilities\":7}", "{\"capabilities\":{\"max_msg_fds\":-1}}", "\u{7f}", &deep];
    for payload in texts.map(caps).into_iter().chain([vec![0xFF; 100], b"{}".to_vec()]) {
        let mut client = bench.target.silent("a.sock");
        let reply = client.call(command::VERSION, &wire::version(0, 1, &payload), &[]);
        // Refused or understood with its defaults, never silent.
        if let Ok(reply) = reply {
            assert_ne!(reply.error(), Some(0));
        }
    }
    for (major, minor) in [(1, 0), (7, 7), (0xFFFF, 0)] {
        let mut client = bench.target.silent("a.sock");
        match client.call(command::VERSION, &wire::version(major, minor, b""), &[]) {
            Ok(reply) => assert!(reply.error().is_some_and(|errno| errno != 0), "version {major}.{minor}: {reply:?}"),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)),
        }
    }
    for short in [0, 1, 3] {
        let mut client = bench.target.silent("a.sock");
        client.send(&wire::message(1, command::VERSION, &vec![0; short]), &[]).unwrap();
        is_cut_off_or_refused(&mut client);
    }
    bench.settled();
    bench.target.stop();
}

fn is_cut_off_or_refused(client: &mut RawClient) {
    if let Ok(reply) = client.receive() {
        assert!(reply.error().is_some_and(|errno| errno != 0), "{reply:?}");
    }
}

#[test]
fn a_version_reply_is_what_every_client_can_read() {
    let bench = Bench::new();
    let mut client = bench.target.silent("a.sock");
    let json = b"{\"capabilities\":{\"max_msg_fds\":16,\"max_dma_maps\":65535,\"pgsizes\":4096}}\0";
    let reply = client.call(command::VERSION, &wire::version(0, 1, json), &[]).unwrap();
    assert_eq!(reply.error(), None);
    assert!(reply.header.message_size <= 214, "QEMU reads no more than 214 bytes");
    assert_eq!(reply.payload[..2], [0, 0]);
    assert_eq!(reply.payload.last(), Some(&0), "the text ends with a NUL");
    assert!(reply.payload[4..].starts_with(b"{\"capabilities\":{"));
    drop(client);
    bench.target.stop();
}

#[test]
fn nothing_is_served_before_the_version() {
    let mut bench = Bench::new();
    for number in [command::DEVICE_GET_INFO, command::DEVICE_RESET, command::DMA_UNMAP, 99] {
        let mut client = bench.target.silent("a.sock");
        client.send(&wire::message(1, number, &[0; 64]), &[]).unwrap();
        is_cut_off_or_refused(&mut client);
    }
    bench.settled();
    bench.target.stop();
}

#[test]
fn a_second_version_and_replies_and_unknown_commands_are_refused() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    for number in [0, command::VERSION, 14, 77, 0xFFFF] {
        let reply = client.call(number, &wire::version(0, 1, b""), &[]).unwrap();
        assert!(reply.error().is_some_and(|errno| errno != 0), "command {number}: {reply:?}");
        answers(&mut client);
    }
    // A reply to nothing: ignored, refused, or reason enough to hang up.
    client.send(&header(16, command::DMA_READ, FLAG_REPLY), &[]).unwrap();
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn payloads_of_the_wrong_length_are_refused_and_the_stream_goes_on() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    let commands = [
        command::DMA_MAP,
        command::DMA_UNMAP,
        command::DEVICE_GET_INFO,
        command::DEVICE_GET_REGION_INFO,
        command::DEVICE_GET_REGION_IO_FDS,
        command::DEVICE_GET_IRQ_INFO,
        command::DEVICE_SET_IRQS,
        command::REGION_READ,
        command::REGION_WRITE,
        command::REGION_WRITE_MULTI,
        command::DEVICE_FEATURE,
    ];
    for number in commands {
        for len in [0, 1, 3, 7] {
            let reply = client.call(number, &vec![0; len], &[]).unwrap();
            assert!(reply.error().is_some_and(|errno| errno != 0), "command {number} of {len} bytes: {reply:?}");
        }
        // Full of ones: any answer, but an answer.
        client.call(number, &[0xFF; 64], &[]).unwrap();
        answers(&mut client);
    }
    for argsz in [0u32, 4, 15] {
        let reply = client.call(command::DEVICE_GET_INFO, &wire::words(&[argsz, 0, 0, 0]), &[]).unwrap();
        assert!(reply.error().is_some(), "argsz {argsz}");
    }
    for index in [9u32, 255, u32::MAX] {
        let mut payload = wire::words(&[32, 0, index, 0]);
        payload.resize(32, 0);
        let reply = client.call(command::DEVICE_GET_REGION_INFO, &payload, &[]).unwrap();
        assert_eq!(reply.error(), Some(EINVAL), "region {index}");
        let reply = client.call(command::DEVICE_GET_IRQ_INFO, &wire::words(&[16, 0, index, 0]), &[]).unwrap();
        assert_eq!(reply.error(), Some(EINVAL), "interrupt {index}");
    }
    // A write that promises more or less than it brings.
    for (count, len) in [(4u32, 0usize), (0, 4), (8, 4), (4, 8), (u32::MAX, 4)] {
        let payload = [wire::region_access(4, 0, count), vec![0; len]].concat();
        let reply = client.call(command::REGION_WRITE, &payload, &[]).unwrap();
        assert!(reply.error().is_some(), "a write of {count} bytes with {len}");
        answers(&mut client);
    }
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn maps_that_cannot_be() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    let region = Region::new(Gpa(0x10_0000), 0x10_0000).unwrap();
    let file = region.file();
    let mut map = |offset: u64, address: u64, size: u64| {
        let payload = wire::dma_map(wire::DMA_READ_WRITE, offset, address, size);
        let reply = client.call(command::DMA_MAP, &payload, &[file]).unwrap();
        assert_ne!(reply.error(), Some(0));
        reply.error()
    };
    assert_eq!(map(0, 0x10_0000, 0x10_0000), None);
    for (offset, address, size, why) in [
        (0, 0x10_0000, 0x1000, "overlap at the start"),
        (0, 0x1F_F000, 0x2000, "overlap at the end"),
        (0, 0x0F_F000, 0x2000, "overlap from below"),
        (0, 0x08_0000, 0x10_0000, "overlap around"),
        (0, u64::MAX - 0xFFF, 0x2000, "wrap"),
        (0, u64::MAX - 0xFFF, u64::MAX, "wrap of everything"),
        (0, 0x4000_0000, 0, "no length"),
        (0, 0x4000_0001, 0x1000, "address not aligned"),
        (1, 0x4000_0000, 0x1000, "offset not aligned"),
        (0, 0x4000_0000, 0x1001, "length not aligned"),
        (0, 0x4000_0000, 0x20_0000, "past the end of the file"),
        (0x10_0000, 0x4000_0000, 0x1000, "behind the end of the file"),
        (u64::MAX - 0xFFF, 0x4000_0000, 0x2000, "offset and length wrap"),
        (1 << 63, 0x4000_0000, 0x1000, "offset past all files"),
    ] {
        assert!(map(offset, address, size).is_some(), "{why}");
    }
    assert_eq!(map(0, 0x4000_0000, 0x1000), None, "what is right is still taken");
    let mut unmap = |flags, address, size| {
        let reply = client.call(command::DMA_UNMAP, &wire::dma_unmap(flags, address, size), &[]).unwrap();
        reply.error()
    };
    for (address, size) in [(0x7000_0000, 0x1000), (0x4000_0000, 0x2000), (1 << 40, 1 << 30)] {
        assert_eq!(unmap(0, address, size), Some(ENOENT), "{size:#x} at {address:#x}");
    }
    // A part of a region, odd numbers, nothing, and all there is by its length.
    for (address, size) in [(0x10_0000, 0x1000), (0x4000_0000, 0x800), (0x4000_0800, 0x1000), (0x4000_0000, 0)] {
        assert!(matches!(unmap(0, address, size), Some(ENOENT | EINVAL)), "{size:#x} at {address:#x}");
    }
    assert_eq!(unmap(UNMAP_ALL, 0x1000, 0x1000), Some(EINVAL), "all, and an address");
    assert_eq!(unmap(UNMAP_ALL, 0, 0), None, "all");
    answers(&mut client);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn files_of_the_wrong_kind_are_refused_and_closed() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    answers(&mut client);
    let before = bench.target.open_files();
    let directory = File::open("/").unwrap();
    let null = File::open("/dev/null").unwrap();
    let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let (pipe, _other) = std::io::pipe().unwrap();
    for file in [directory.as_fd(), null.as_fd(), event.as_fd(), pipe.as_fd()] {
        let payload = wire::dma_map(wire::DMA_READ_WRITE, 0, 0x10_0000, 0x1000);
        let reply = client.call(command::DMA_MAP, &payload, &[file]).unwrap();
        assert!(reply.error().is_some_and(|errno| errno != 0));
    }
    // Several files with one map, and files with messages that take none.
    let region = Region::new(Gpa(0), 0x1000).unwrap();
    let many = [region.file(); 16];
    let reply = client.call(command::DMA_MAP, &wire::dma_map(3, 0, 0, 0x1000), &many[..2]).unwrap();
    assert!(reply.error().is_some());
    for _ in 0..50 {
        let _ = client.call(command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0]), &many[..8]).unwrap();
        let _ = client.call(99, &[], &many[..3]).unwrap();
    }
    answers(&mut client);
    bench.files_settle_at(before);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn more_files_than_were_agreed_do_not_stay_open() {
    let mut bench = Bench::new();
    bench.settled();
    let before = bench.target.open_files();
    let region = Region::new(Gpa(0), 0x1000).unwrap();
    for count in [9, 16, 17, 64, 253] {
        let many: Vec<BorrowedFd<'_>> = vec![region.file(); count];
        let mut client = bench.raw();
        client.send(&wire::message(1, command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0])), &many).unwrap();
        let _ = client.receive();
        drop(client);
        bench.settled();
        bench.files_settle_at(before);
    }
    bench.target.stop();
}

#[test]
fn interrupts_that_cannot_be() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut set = |flags: u32, index: u32, range: (u32, u32), data: &[u8], fds: &[BorrowedFd<'_>]| {
        let reply = client.call(command::DEVICE_SET_IRQS, &wire::set_irqs(flags, index, range, data), fds).unwrap();
        assert_ne!(reply.error(), Some(0));
        reply.error()
    };
    let trigger = ACTION_TRIGGER | DATA_EVENTFD;
    assert_eq!(set(trigger, MSIX, (0, 1), &[], &[]), None, "QEMU enables MSI-X so");
    assert_eq!(set(trigger, MSIX, (0, 1), &[], &[event.as_fd()]), None);
    for (flags, index, range, data, fds, why) in [
        (trigger, 5, (0, 1), &[][..], &[event.as_fd()][..], "no such index"),
        (trigger, u32::MAX, (0, 1), &[], &[event.as_fd()], "no such index"),
        (trigger, MSIX, (2048, 1), &[], &[event.as_fd()], "no such vector"),
        (trigger, MSIX, (u32::MAX, 1), &[], &[event.as_fd()], "start wraps"),
        (trigger, MSIX, (0, u32::MAX), &[], &[], "count past all vectors"),
        (trigger, MSIX, (1, u32::MAX), &[], &[], "start and count wrap"),
        (trigger, MSIX, (0, 2), &[], &[event.as_fd()], "fewer files than vectors"),
        (trigger, MSIX, (0, 1), &[], &[event.as_fd(), event.as_fd()], "more files than vectors"),
        (trigger, MSIX, (0, 1), &[], &[null.as_fd()], "not an eventfd"),
        (ACTION_TRIGGER | DATA_NONE | DATA_BOOL, MSIX, (0, 1), &[1], &[], "two kinds of data"),
        (ACTION_TRIGGER | ACTION_MASK | DATA_NONE, MSIX, (0, 1), &[], &[], "two actions"),
        (DATA_NONE, MSIX, (0, 1), &[], &[], "no action"),
        (ACTION_TRIGGER, MSIX, (0, 1), &[], &[], "no kind of data"),
        (ACTION_TRIGGER | DATA_BOOL, MSIX, (0, 2), &[1], &[], "fewer bytes than vectors"),
        (0xFFFF_FFFF, MSIX, (0, 1), &[], &[], "all flags"),
    ] {
        assert!(set(flags, index, range, data, fds).is_some(), "{why}");
    }
    // A vector can be fired by hand, and all can be taken away.
    assert_eq!(set(ACTION_TRIGGER | DATA_BOOL, MSIX, (0, 1), &[1], &[]), None);
    let mut count = [0; 8];
    rustix::io::read(&event, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
    assert_eq!(set(ACTION_TRIGGER | DATA_NONE, MSIX, (0, 0), &[], &[]), None);
    answers(&mut client);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn an_eventfd_that_is_full_or_closed_stops_nobody() {
    let mut bench = Bench::new();
    let mut guest = bench.target.guest_on("a.sock", Options::default());
    alive(&mut guest);
    let full = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let (_, connection) = guest.registers();
    // All vectors lead to a full eventfd that blocks its writers.
    let vectors = connection.irq_info(MSIX).unwrap().count as usize;
    connection.enable_msix(&vec![full.as_fd(); vectors.min(4)]).unwrap();
    let read = annulus_bench::guest::scsi::Command::read(common::io::LUN, 0, 8, 512);
    for _ in 0..10 {
        guest.submit(0, &read, &annulus_bench::guest::framing::Shape::default()).unwrap();
    }
    let mut done = 0;
    bench.target.until("completion without interrupts", || {
        done += usize::from(guest.poll(0).unwrap().is_some());
        done == 10
    });
    drop(full);
    drop(guest);
    bench.settled();
    bench.target.stop();
}

#[test]
fn a_message_that_never_ends_holds_up_nobody_else() {
    let mut bench = Bench::new();
    for cut in [1, 15, 16, 20, 31] {
        let mut client = bench.raw();
        let message = wire::message(1, command::REGION_READ, &wire::region_access(4, 0, 4));
        client.send(&message[..cut], &[]).unwrap();
        alive(&mut bench.neighbour);
        drop(client);
    }
    let mut client = bench.target.silent("a.sock");
    client.send(&[1], &[]).unwrap();
    alive(&mut bench.neighbour);
    drop(client);
    // Byte by byte, it is a message all the same.
    let mut client = bench.raw();
    for byte in wire::message(1, command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0])) {
        client.send(&[byte], &[]).unwrap();
    }
    assert_eq!(client.receive().unwrap().error(), None);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn a_client_that_never_reads_holds_up_nobody_else() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    client.stream().set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let question = wire::message(1, command::REGION_READ, &wire::region_access(7, 0, 256));
    let mut sent = 0;
    // Until the device's answers fill the socket and it stops reading.
    while sent < 100_000 && client.send(&question, &[]).is_ok() {
        sent += 1;
    }
    alive(&mut bench.neighbour);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn messages_may_come_in_one_piece_and_some_want_no_reply() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    let question = |id| wire::message(id, command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0]));
    let mut quiet = wire::message(51, command::REGION_WRITE, &[wire::region_access(4, 0x16, 2), vec![2, 0]].concat());
    quiet[8] = wire::FLAG_NO_REPLY as u8;
    let bundle: Vec<u8> = (1..=50).flat_map(question).chain(quiet).chain(question(52)).collect();
    client.send(&bundle, &[]).unwrap();
    for id in (1..=50).chain([52]) {
        let reply = client.receive().unwrap();
        assert_eq!((reply.header.message_id, reply.error()), (id, None), "replies come in order");
    }
    assert_eq!(client.region_read(4, 0x16, 2).unwrap().payload[16..], [2, 0], "the quiet write has been done");
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn regions_beyond_all_limits_are_refused_at_some_point() {
    let mut bench = Bench::new();
    let mut client = bench.raw();
    let region = Region::new(Gpa(0), 0x1000).unwrap();
    let mut refused = None;
    for index in 0..70_000u64 {
        let payload = wire::dma_map(wire::DMA_READ_WRITE, 0, index * 0x2000, 0x1000);
        if let Some(errno) = client.call(command::DMA_MAP, &payload, &[region.file()]).unwrap().error() {
            refused = Some((index, errno));
            break;
        }
    }
    let (index, errno) = refused.expect("there is a limit");
    assert!(index >= 256 && errno != 0, "{index} regions, error {errno}");
    answers(&mut client);
    alive(&mut bench.neighbour);
    drop(client);
    bench.settled();
    bench.target.stop();
}

#[test]
fn random_messages_break_nothing() {
    let mut bench = Bench::new();
    let mut state = 0xC0FF_EE00_1234_5677u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..12 {
        let mut client = bench.raw();
        client.stream().set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        for _ in 0..60 {
            let payload: Vec<u8> =
                (0..random(80)).map(|_| if random(3) == 0 { random(256) as u8 } else { 0 }).collect();
            let mut message = wire::message(random(9) as u16, random(18) as u16, &payload);
            if random(8) == 0 {
                let at = random(16) as usize;
                message[at] = random(256) as u8;
            }
            if client.send(&message, &[]).is_err() {
                break;
            }
            let _ = client.receive();
        }
        drop(client);
        if round % 4 == 3 {
            bench.settled();
        }
    }
    bench.target.stop();
}
