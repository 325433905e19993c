//! The client's memory, reached by messages.

use std::sync::mpsc::channel;

use super::*;
use crate::dma::Gpa;

type Outcome = (Result<(), Errno>, Vec<u8>);

/// Has the device read `len` bytes at `gpa`, again after `EAGAIN`; gives what came of each try.
fn start_read(control: &Control, gpa: u64, len: usize) -> std::sync::mpsc::Receiver<Outcome> {
    let (sender, receiver) = channel();
    control.wake_with(move |memory| {
        let mut data = vec![0xee; len];
        let result = memory.dma_read(Gpa(gpa), &mut data);
        sender.send((result, data)).unwrap();
        result != Err(Errno::AGAIN)
    });
    receiver
}

fn start_write(control: &Control, gpa: u64, data: Vec<u8>) -> std::sync::mpsc::Receiver<Result<(), Errno>> {
    let (sender, receiver) = channel();
    control.wake_with(move |memory| {
        sender.send(memory.dma_write(Gpa(gpa), &data)).unwrap();
        true
    });
    receiver
}

fn expect(client: &mut Client, command: Command) -> (Header, spec::DmaAccess, Vec<u8>) {
    let mut request = client.receive().unwrap();
    assert_eq!((request.header.command, request.header.flags), (command, FLAG_TYPE_COMMAND));
    let data = request.payload.split_off(16);
    (request.header, spec::DmaAccess::read_from_bytes(&request.payload).unwrap(), data)
}

fn answer(client: &mut Client, header: Header, access: spec::DmaAccess, data: &[u8]) {
    let payload = [access.as_bytes(), data].concat();
    let message_size = (HEADER_BYTES + payload.len()) as u32;
    client.send(Header { message_size, flags: FLAG_TYPE_REPLY, error: 0, ..header }, &payload, &[]);
}

#[test]
fn a_read_is_a_message_and_its_reply() {
    let (control, mut client) = connect_and_negotiate();
    let done = start_read(&control, 0x1000, 4);
    let (header, access, _) = expect(&mut client, Command::DMA_READ);
    assert_eq!(access, spec::DmaAccess { address: 0x1000, count: 4 });
    assert_eq!(header.message_size, 32);
    answer(&mut client, header, access, &[1, 2, 3, 4]);
    assert_eq!(done.recv().unwrap(), (Ok(()), vec![1, 2, 3, 4]));
    client.check_alive();
}

#[test]
fn long_transfers_are_cut_to_what_the_client_takes() {
    let (control, mut client) = connect();
    client.negotiate(br#"{"capabilities":{"max_data_xfer_size":3}}"#);
    let done = start_write(&control, 0x1000, vec![1, 2, 3, 4, 5]);
    for expected in [(0x1000, &[1, 2, 3][..]), (0x1003, &[4, 5])] {
        let (header, access, data) = expect(&mut client, Command::DMA_WRITE);
        assert_eq!((access.address, access.count), (expected.0, data.len() as u64));
        assert_eq!(data, expected.1);
        answer(&mut client, header, access, &[]);
    }
    assert_eq!(done.recv().unwrap(), Ok(()));
    let done = start_read(&control, 0x2000, 4);
    for data in [&[1, 2, 3][..], &[4]] {
        let (header, access, _) = expect(&mut client, Command::DMA_READ);
        answer(&mut client, header, access, data);
    }
    assert_eq!(done.recv().unwrap(), (Ok(()), vec![1, 2, 3, 4]));
}

#[test]
fn posted_commands_wait_their_turn() {
    let (control, mut client) = connect_and_negotiate();
    let done = start_read(&control, 0x1000, 1);
    let (header, access, _) = expect(&mut client, Command::DMA_READ);
    let write = spec::RegionAccess { offset: 8, region: BAR, count: 1 };
    client.posted(Command::REGION_WRITE, &[write.as_bytes(), &[7]].concat());
    answer(&mut client, header, access, &[9]);
    assert_eq!(done.recv().unwrap(), (Ok(()), vec![9]));
    assert_eq!(client.read(8, 1), [7]);
}

/// A client that holds up its memory until we answer its own command is answered first, then asked again.
#[test]
fn a_client_that_waits_for_us_comes_first() {
    let (control, mut client) = connect_and_negotiate();
    let done = start_read(&control, 0x1000, 1);
    let (old, old_access, _) = expect(&mut client, Command::DMA_READ);
    assert_eq!(client.read(0, 2), [0, 0]);
    assert_eq!(done.recv().unwrap().0, Err(Errno::AGAIN));
    let (new, access, _) = expect(&mut client, Command::DMA_READ);
    assert_ne!(new.message_id, old.message_id);
    answer(&mut client, old, old_access, &[1]);
    answer(&mut client, new, access, &[2]);
    assert_eq!(done.recv().unwrap(), (Ok(()), vec![2]));
    client.check_alive();
}

/// However often that happens, as long as the client does reply in the end.
#[test]
fn a_client_may_come_first_again_and_again() {
    let (control, mut client) = connect_and_negotiate();
    let done = start_read(&control, 0x1000, 1);
    for _ in 0..200 {
        let (header, access, _) = expect(&mut client, Command::DMA_READ);
        client.read(0, 1);
        answer(&mut client, header, access, &[1]);
    }
    let (header, access, _) = expect(&mut client, Command::DMA_READ);
    answer(&mut client, header, access, &[2]);
    assert_eq!(done.iter().last().unwrap(), (Ok(()), vec![2]));
    client.check_alive();
}

#[test]
fn the_clients_error_reaches_the_device() {
    let (control, mut client) = connect_and_negotiate();
    for (error, expected) in [(14, Errno::FAULT), (0, Errno::IO), (u32::MAX, Errno::IO)] {
        let done = start_write(&control, 0x1000, vec![1]);
        let (header, ..) = expect(&mut client, Command::DMA_WRITE);
        let flags = FLAG_TYPE_REPLY | FLAG_ERROR;
        client.send(Header { message_size: 16, flags, error, ..header }, &[], &[]);
        assert_eq!(done.recv().unwrap(), Err(expected));
    }
    client.check_alive();
}

#[test]
fn a_reply_that_is_short_or_of_elsewhere_is_an_error() {
    let (control, mut client) = connect_and_negotiate();
    for (address, count, len) in [(0x1000, 4, 3), (0x1000, 3, 3), (0x1000, 4, 5), (0x1001, 4, 4)] {
        let done = start_read(&control, 0x1000, 4);
        let (header, ..) = expect(&mut client, Command::DMA_READ);
        answer(&mut client, header, spec::DmaAccess { address, count }, &[1, 2, 3, 4, 5][..len]);
        assert_eq!(done.recv().unwrap(), (Err(Errno::IO), vec![0xee; 4]));
    }
    client.check_alive();
}

#[test]
fn a_reply_to_something_else_ends_the_connection() {
    for wrong_command in [false, true] {
        let (mut control, mut client) = connect_and_negotiate();
        let done = start_read(&control, 0x1000, 1);
        let (mut header, access, _) = expect(&mut client, Command::DMA_READ);
        if wrong_command {
            header.command = Command::DMA_WRITE;
        } else {
            header.message_id ^= 1;
        }
        answer(&mut client, header, access, &[1]);
        assert_eq!(done.recv().unwrap().0, Err(Errno::NOTCONN));
        assert!(client.receive().is_none());
        control.join();
        assert_eq!(control.events(), [Event::Disconnected]);
    }
}

#[test]
fn a_client_that_goes_away_in_between() {
    let (mut control, mut client) = connect_and_negotiate();
    let (sender, done) = channel();
    control.wake_with(move |memory| {
        let first = memory.dma_write(Gpa(0), &[1]);
        sender.send((first, memory.dma_write(Gpa(0), &[1]))).unwrap();
        true
    });
    expect(&mut client, Command::DMA_WRITE);
    drop(client);
    assert_eq!(done.recv().unwrap(), (Err(Errno::NOTCONN), Err(Errno::NOTCONN)));
    control.join();
    assert_eq!(control.events(), [Event::Disconnected]);
}

#[test]
fn nothing_is_asked_for_nothing_or_past_the_end() {
    let (control, mut client) = connect_and_negotiate();
    assert_eq!(start_read(&control, u64::MAX, 2).recv().unwrap().0, Err(Errno::FAULT));
    assert_eq!(start_read(&control, 0, 0).recv().unwrap().0, Ok(()));
    client.check_alive();
}

#[test]
fn without_a_version_there_is_no_memory() {
    let (control, _client) = connect();
    assert_eq!(start_read(&control, 0, 1).recv().unwrap().0, Err(Errno::NOTCONN));
}

/// The device may be told to try again as often as it likes to; what it owes the client is bounded.
#[test]
fn a_client_that_never_serves_its_memory_is_given_up() {
    let (mut control, mut client) = connect_and_negotiate();
    let done = start_read(&control, 0x1000, 1);
    let read = spec::RegionAccess { offset: 0, region: BAR, count: 1 };
    let mut tries = 0;
    while let Some(message) = client.receive() {
        if message.header.command == Command::DMA_READ {
            tries += 1;
            client.command(Command::REGION_READ, read.as_bytes());
        }
    }
    assert!(tries > 2);
    assert_eq!(done.iter().last().unwrap().0, Err(Errno::NOTCONN));
    control.join();
}
