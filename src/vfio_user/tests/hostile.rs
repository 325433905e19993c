//! Clients that break the rules.

use proptest::prelude::*;

use super::super::message::{DISCARD_BYTES_MAX, MESSAGE_BYTES_MAX};
use super::*;

fn command_header(command: Command, message_size: u32, flags: u32) -> Header {
    Header { message_id: 0xbad1, command, message_size, flags, error: 0 }
}

#[test]
fn sizes_that_cannot_be_true_end_the_connection() {
    for message_size in [0, 1, 15, DISCARD_BYTES_MAX as u32 + 1, u32::MAX] {
        let (mut control, mut client) = connect_and_negotiate();
        client.send(command_header(Command::DEVICE_RESET, message_size, 0), &[], &[]);
        assert_eq!(client.receive().unwrap().errno(), Errno::INVAL.raw_os_error());
        assert!(client.receive().is_none());
        control.join();
        assert_eq!(control.events(), [Event::Disconnected]);
    }
}

#[test]
fn a_message_that_is_too_long_is_passed_over() {
    let (control, mut client) = connect_and_negotiate();
    for len in [MESSAGE_BYTES_MAX + 1, DISCARD_BYTES_MAX] {
        client.send(command_header(Command::REGION_WRITE, len as u32, 0), &[], &[]);
        // Refused at once, before the rest of it has come.
        assert_eq!(client.receive().unwrap().errno(), Errno::INVAL.raw_os_error());
        client.send_at_length(&vec![0x55; len - HEADER_BYTES]);
        client.check_alive();
    }
    assert_eq!(control.events(), []);
}

#[test]
fn the_longest_message_is_taken() {
    let (control, mut client) = connect_and_negotiate();
    let read = spec::RegionAccess { offset: 0, region: BAR, count: BAR_BYTES as u32 };
    let mut payload = vec![0; MESSAGE_BYTES_MAX - HEADER_BYTES];
    payload[..16].copy_from_slice(read.as_bytes());
    let header = command_header(Command::REGION_READ, MESSAGE_BYTES_MAX as u32, 0);
    client.send_at_length(&[header.as_bytes(), &payload].concat());
    assert_eq!(client.receive().unwrap().payload.len(), 16 + BAR_BYTES as usize);
    assert_eq!(control.events(), []);
}

#[test]
fn replies_to_nothing_are_passed_over() {
    let (control, mut client) = connect_and_negotiate();
    let too_long = MESSAGE_BYTES_MAX + 1;
    client.send(command_header(Command::DEVICE_RESET, HEADER_BYTES as u32, FLAG_TYPE_REPLY), &[], &[]);
    let header = command_header(Command::DMA_READ, too_long as u32, FLAG_TYPE_REPLY);
    client.send_at_length(&[header.as_bytes(), &vec![0; too_long - HEADER_BYTES]].concat());
    // The next that comes is the answer to the next that is asked.
    client.check_alive();
    assert_eq!(control.events(), []);
}

#[test]
fn unknown_types_are_refused() {
    let (_control, mut client) = connect_and_negotiate();
    for kind in [2, 15] {
        client.send(command_header(Command::DEVICE_RESET, 16, kind), &[], &[]);
        let reply = client.receive().unwrap();
        assert_eq!((reply.header.message_id, reply.errno()), (0xbad1, Errno::INVAL.raw_os_error()));
    }
    client.check_alive();
}

#[test]
fn descriptors_that_do_not_belong_are_closed() {
    let (_control, mut client) = connect();
    let (reader, writer) = std::io::pipe().unwrap();
    let many = [writer.as_fd(); 40];
    client.exchange_with(Command::VERSION, &[0, 0, 1, 0], &many[..2]);
    for command in (2..30).map(Command) {
        for count in [1, 16, 17, 40] {
            let reply = client.exchange_with(command, &[0; 40], &many[..count]);
            assert!(count <= 16 || reply.header.flags & FLAG_ERROR != 0);
        }
    }
    // The same with a message that is passed over, and whose end never comes.
    client.send(command_header(Command::DMA_MAP, MESSAGE_BYTES_MAX as u32 + 1, 0), &[], &many[..3]);
    assert!(client.receive().is_some());
    drop(writer);
    assert!(is_closed(reader));
}

/// SPDK's DMA_UNMAP brings a descriptor that it has no use for.
#[test]
fn a_descriptor_too_many_does_not_fail_the_command() {
    let (_control, mut client) = connect_and_negotiate();
    let (reader, writer) = std::io::pipe().unwrap();
    let all = spec::DmaUnmap { argsz: 24, flags: 2, address: 0, size: 0 };
    let reply = client.exchange_with(Command::DMA_UNMAP, all.as_bytes(), &[writer.as_fd()]);
    assert_eq!(reply.header.flags, FLAG_TYPE_REPLY);
    drop(writer);
    assert!(is_closed(reader));
}

#[test]
fn bytes_may_come_one_by_one_and_descriptors_with_any_of_them() {
    let (control, mut client) = connect_and_negotiate();
    let (reader, writer) = std::io::pipe().unwrap();
    let map = spec::DmaMap { argsz: 32, flags: 3, offset: 0, address: 0x1000, size: 0x1000 };
    let header = command_header(Command::DMA_MAP, 48, 0);
    for (index, byte) in [header.as_bytes(), map.as_bytes()].concat().into_iter().enumerate() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let rights = [writer.as_fd()];
        if index == 40 {
            ancillary.push(SendAncillaryMessage::ScmRights(&rights));
        }
        sendmsg(&client.socket, &[IoSlice::new(&[byte])], &mut ancillary, SendFlags::empty()).unwrap();
    }
    assert_eq!(client.receive().unwrap().header.flags, FLAG_TYPE_REPLY);
    assert!(matches!(control.events()[..], [Event::Map(_, true)]));
    drop((client, writer));
    assert!(is_closed(reader), "what the device held goes with the client");
}

#[test]
fn a_message_that_never_ends_keeps_neither_wake_nor_stop_waiting() {
    let (mut control, mut client) = connect_and_negotiate();
    for part in [&[1, 2, 3][..], &[0; 12]] {
        rustix::net::send(&client.socket, part, SendFlags::empty()).unwrap();
        let (sender, woken) = channel();
        control.wake_with(move |_| sender.send(()).is_ok());
        woken.recv().unwrap();
    }
    control.stop();
    assert!(client.receive().is_none());
    assert_eq!(control.events(), [Event::Disconnected]);
}

/// A close with messages unread would reset the connection, and QEMU aborts at that.
#[test]
fn a_stop_reads_what_is_left_before_it_closes() {
    let (mut control, mut client) = connect_and_negotiate();
    let (entered_sender, entered) = channel();
    let (go, gate) = channel::<()>();
    control.wake_with(move |_| {
        entered_sender.send(()).unwrap();
        gate.recv().unwrap();
        true
    });
    entered.recv().unwrap();
    for _ in 0..100 {
        client.command(Command::DEVICE_RESET, &[]);
    }
    control.stop.store(true, Ordering::Release);
    go.send(()).unwrap();
    control.join();
    // `receive` fails if the connection was reset.
    while client.receive().is_some() {}
    assert_eq!(control.events().last(), Some(&Event::Disconnected));
}

#[test]
fn a_client_that_leaves_before_a_version_was_never_there() {
    let (mut control, client) = connect();
    drop(client);
    control.join();
    assert_eq!(*control.events.lock().unwrap(), []);
}

/// While the device waits for the client's memory, descriptors are not hoarded.
#[test]
fn commands_that_are_kept_for_later_are_bounded() {
    let (control, mut client) = connect_and_negotiate();
    let (sender, done) = channel();
    control.wake_with(move |memory| {
        let result = memory.dma_read(crate::dma::Gpa(0), &mut [0]);
        sender.send(result).unwrap();
        true
    });
    assert_eq!(client.receive().unwrap().header.command, Command::DMA_READ);
    let (reader, writer) = std::io::pipe().unwrap();
    for _ in 0..4 {
        let header = client.header(Command::DMA_MAP, &[], FLAG_NO_REPLY);
        client.send(header, &[], &[writer.as_fd(); 16]);
    }
    assert_eq!(done.recv().unwrap(), Err(Errno::AGAIN));
    drop(writer);
    assert!(is_closed(reader));
    client.check_alive();
}

/// Mostly whole messages, of commands that exist.
fn message() -> impl Strategy<Value = (u16, u32, Vec<u8>, Option<u32>, usize)> {
    let small = prop_oneof![Just(0_u8), Just(1), Just(4), Just(16), Just(24), Just(32), any::<u8>()];
    (
        prop_oneof![8 => 1..19_u16, 1 => any::<u16>()],
        prop_oneof![8 => Just(0), 1 => Just(FLAG_NO_REPLY), 1 => any::<u32>()],
        prop::collection::vec(small, 0..64),
        prop::option::weighted(0.02, any::<u32>()),
        prop_oneof![4 => Just(0_usize), 1 => 1..4_usize],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, nothing panics or hangs, every descriptor is closed, and the device hears of the end.
    #[test]
    fn any_messages(messages in prop::collection::vec(message(), 1..40)) {
        let (mut control, mut client) = connect_and_negotiate();
        let (reader, writer) = std::io::pipe().unwrap();
        for (command, flags, payload, lie, fds) in messages {
            let mut header = client.header(Command(command), &payload, flags);
            header.message_size = lie.unwrap_or(header.message_size);
            let bytes = [header.as_bytes(), &payload].concat();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let rights = vec![writer.as_fd(); fds];
            if fds > 0 {
                ancillary.push(SendAncillaryMessage::ScmRights(&rights));
            }
            let iov = [IoSlice::new(&bytes)];
            if sendmsg(&client.socket, &iov, &mut ancillary, SendFlags::NOSIGNAL).is_err() {
                break;
            }
        }
        drop((client, writer));
        control.join();
        prop_assert!(is_closed(reader));
        let events = control.events();
        prop_assert_eq!(events.last(), Some(&Event::Disconnected));
    }
}
