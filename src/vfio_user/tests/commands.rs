//! Each command, its checks, and its reply.

use super::*;

fn error(errno: Errno) -> i32 {
    errno.raw_os_error()
}
fn invalid() -> i32 {
    error(Errno::INVAL)
}

fn map_request(address: u64, size: u64) -> spec::DmaMap {
    spec::DmaMap { argsz: 32, flags: 3, offset: 0, address, size }
}

fn unmap_request(address: u64, size: u64) -> spec::DmaUnmap {
    spec::DmaUnmap { argsz: 24, flags: 0, address, size }
}

#[test]
fn version_comes_first_and_once() {
    let (control, mut client) = connect();
    for command in (2..20).map(Command) {
        assert_eq!(client.refused(command, &[0; 32]), invalid());
    }
    assert_eq!(client.refused(Command::VERSION, &[1, 0, 0, 0]), invalid());
    assert_eq!(client.refused(Command::VERSION, b"\0\0\x01\0{\0"), invalid());
    client.negotiate(br#"{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":4096}}"#);
    assert_eq!(client.refused(Command::VERSION, &[0, 0, 1, 0]), invalid());
    client.check_alive();
    let expected = ClientLimits { max_msg_fds: 16, max_data_xfer_size: 4096, ..ClientLimits::default() };
    assert_eq!(*control.events.lock().unwrap(), [Event::Connected(expected)]);
}

#[test]
fn device_info_is_that_of_a_pci_device_with_reset() {
    let (_control, mut client) = connect_and_negotiate();
    let info = client.ask(Command::DEVICE_GET_INFO, &device_info_request());
    assert_eq!(info, [16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0]);
    assert_eq!(client.refused(Command::DEVICE_GET_INFO, &device_info_request()[..15]), invalid());
    assert_eq!(client.refused(Command::DEVICE_GET_INFO, &[15; 16][..1]), invalid());
    let mut small = device_info_request();
    small[0] = 15;
    assert_eq!(client.refused(Command::DEVICE_GET_INFO, &small), invalid());
}

fn region_info_request(index: u32, argsz: u32) -> spec::RegionInfo {
    spec::RegionInfo { argsz, flags: 0, index, cap_offset: 0, size: 0, offset: 0 }
}

#[test]
fn every_region_answers_and_the_tenth_is_refused() {
    let (_control, mut client) = connect_and_negotiate();
    for index in 0..9 {
        let reply = client.ask(Command::DEVICE_GET_REGION_INFO, region_info_request(index, 32).as_bytes());
        let info = spec::RegionInfo::read_from_bytes(&reply).unwrap();
        let (size, flags, argsz) = match index {
            BAR => (BAR_BYTES, 3, 32),
            MAPPABLE => (0x8000, 15, 80),
            LARGE => (4 << 20, 3, 32),
            spec::PCI_CONFIG_REGION => (256, 3, 32),
            _ => (0, 0, 32),
        };
        assert_eq!(info, spec::RegionInfo { argsz, flags, index, cap_offset: 0, size, offset: 0 });
    }
    let mut refused = |payload: &[u8]| client.refused(Command::DEVICE_GET_REGION_INFO, payload);
    assert_eq!(refused(region_info_request(9, 32).as_bytes()), invalid());
    assert_eq!(refused(region_info_request(u32::MAX, 32).as_bytes()), invalid());
    assert_eq!(refused(region_info_request(BAR, 31).as_bytes()), invalid());
    assert_eq!(refused(&region_info_request(BAR, 32).as_bytes()[..31]), invalid());
}

#[test]
fn capabilities_and_the_file_come_when_there_is_room() {
    let (_control, mut client) = connect_and_negotiate();
    let request = |argsz| region_info_request(MAPPABLE, argsz);
    let reply = client.exchange_with(Command::DEVICE_GET_REGION_INFO, request(79).as_bytes(), &[]);
    assert_eq!((reply.payload.len(), reply.fds.len()), (32, 0));
    let reply = client.exchange_with(Command::DEVICE_GET_REGION_INFO, request(80).as_bytes(), &[]);
    assert_eq!((reply.payload.len(), reply.fds.len()), (80, 1));
    let info = spec::RegionInfo::read_from_bytes(&reply.payload[..32]).unwrap();
    assert_eq!((info.argsz, info.cap_offset, info.flags), (80, 32, 15));
    #[rustfmt::skip]
    assert_eq!(reply.payload[32..], [
        1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
        0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0,
    ]);
}

#[test]
fn there_are_no_region_io_fds() {
    let (_control, mut client) = connect_and_negotiate();
    let ask = spec::RegionIoFds { argsz: 512, flags: 0, index: BAR, count: 0 };
    let command = Command::DEVICE_GET_REGION_IO_FDS;
    assert_eq!(client.ask(command, ask.as_bytes()), [16, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    for bad in [
        spec::RegionIoFds { flags: 1, ..ask },
        spec::RegionIoFds { count: 1, ..ask },
        spec::RegionIoFds { argsz: 15, ..ask },
        spec::RegionIoFds { argsz: (1 << 20) + 1, ..ask },
        spec::RegionIoFds { index: 3, ..ask },
        spec::RegionIoFds { index: 512, ..ask },
    ] {
        assert_eq!(client.refused(command, bad.as_bytes()), invalid(), "{bad:?}");
    }
    assert_eq!(client.refused(command, &ask.as_bytes()[..15]), invalid());
}

#[test]
fn every_irq_type_answers() {
    let (_control, mut client) = connect_and_negotiate();
    for (index, (count, flags)) in (0..).zip([(1, 1), (0, 0), (2048, 1), (1, 1), (1, 1)]) {
        let ask = spec::IrqInfo { argsz: 16, flags: 0, index, count: 0 };
        let reply = client.ask(Command::DEVICE_GET_IRQ_INFO, ask.as_bytes());
        assert_eq!(reply, spec::IrqInfo { argsz: 16, flags, index, count }.as_bytes());
    }
    for (argsz, index) in [(16, 5), (16, u32::MAX), (15, 0)] {
        let ask = spec::IrqInfo { argsz, flags: 0, index, count: 0 };
        assert_eq!(client.refused(Command::DEVICE_GET_IRQ_INFO, ask.as_bytes()), invalid());
    }
}

/// What QEMU does to enable MSI-X: one vector without a descriptor, then each with one.
#[test]
fn eventfds_reach_the_device() {
    let (control, mut client) = connect_and_negotiate();
    let set = spec::IrqSet { argsz: 20, flags: 0x24, index: 2, start: 0, count: 1 };
    client.ask(Command::DEVICE_SET_IRQS, set.as_bytes());
    let fds: Vec<_> = (0..16).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
    let set = spec::IrqSet { start: 3, count: 16, ..set };
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let reply = client.exchange_with(Command::DEVICE_SET_IRQS, set.as_bytes(), &fds);
    assert_eq!((reply.header.error, reply.payload.len()), (0, 0));
    let disable = spec::IrqSet { argsz: 20, flags: 0x21, index: 2, start: 0, count: 0 };
    client.ask(Command::DEVICE_SET_IRQS, disable.as_bytes());
    let trigger = spec::IrqSet { argsz: 22, flags: 0x22, index: 2, start: 5, count: 2 };
    client.ask(Command::DEVICE_SET_IRQS, &[trigger.as_bytes(), &[0, 1]].concat());
    assert_eq!(client.refused(Command::DEVICE_SET_IRQS, &[]), invalid());
    let expected = [
        Event::Eventfds(IrqIndex::Msix, 0, 0),
        Event::Eventfds(IrqIndex::Msix, 3, 16),
        Event::DisableAll(IrqIndex::Msix),
        Event::Perform(IrqIndex::Msix, 5, vec![false, true]),
    ];
    assert_eq!(control.events(), expected);
}

#[test]
fn region_accesses_within_the_region() {
    let (control, mut client) = connect_and_negotiate();
    let access = spec::RegionAccess { offset: 0x10, region: BAR, count: 3 };
    let reply = client.ask(Command::REGION_WRITE, &[access.as_bytes(), &[1, 2, 3]].concat());
    assert_eq!(reply, access.as_bytes());
    assert_eq!(client.read(0xf, 5), [0, 1, 2, 3, 0]);
    assert!(client.read(BAR_BYTES, 0).is_empty());
    assert_eq!(control.events(), [Event::Write(BAR, 0x10, vec![1, 2, 3])]);
}

#[test]
fn where_nothing_answers_reads_are_ones_and_writes_are_lost() {
    let (control, mut client) = connect_and_negotiate();
    assert_eq!(client.read(DEAF_FROM, 4), [0xff; 4]);
    let access = spec::RegionAccess { offset: DEAF_FROM, region: BAR, count: 1 };
    assert_eq!(client.ask(Command::REGION_WRITE, &[access.as_bytes(), &[1]].concat()), access.as_bytes());
    assert_eq!(control.events(), [Event::Write(BAR, DEAF_FROM, vec![1])]);
}

#[test]
fn an_access_is_at_most_as_long_as_we_said() {
    let (control, mut client) = connect_and_negotiate();
    for (count, allowed) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let access = spec::RegionAccess { offset: 8, region: LARGE, count };
        let write = [access.as_bytes(), &vec![1; count as usize]].concat();
        if allowed {
            assert_eq!(client.ask(Command::REGION_READ, access.as_bytes())[16..], vec![0xff; count as usize]);
            assert_eq!(client.ask_at_length(Command::REGION_WRITE, &write).payload, access.as_bytes());
        } else {
            assert_eq!(client.refused(Command::REGION_READ, access.as_bytes()), invalid());
            assert_eq!(client.ask_at_length(Command::REGION_WRITE, &write).errno(), invalid());
        }
    }
    assert_eq!(control.events(), [Event::Write(LARGE, 8, vec![1; 1 << 20])]);
}

#[test]
fn region_accesses_outside_are_refused() {
    let (control, mut client) = connect_and_negotiate();
    let access = |region, offset, count| spec::RegionAccess { offset, region, count };
    for bad in [
        access(BAR, BAR_BYTES, 1),
        access(BAR, BAR_BYTES - 1, 2),
        access(BAR, u64::MAX, 1),
        access(BAR, u64::MAX, 0),
        access(BAR, 0, u32::MAX),
        access(0, 0, 1),
        access(9, 0, 1),
        access(u32::MAX, 0, 0),
    ] {
        assert_eq!(client.refused(Command::REGION_READ, bad.as_bytes()), invalid(), "{bad:?}");
        let data = if bad.count < 16 { bad.count as usize } else { 16 };
        let write = [bad.as_bytes(), &vec![0; data]].concat();
        assert_eq!(client.refused(Command::REGION_WRITE, &write), invalid(), "{bad:?}");
    }
    let lying = [access(BAR, 0, 4).as_bytes(), &[0; 3]].concat();
    assert_eq!(client.refused(Command::REGION_WRITE, &lying), invalid());
    assert_eq!(client.refused(Command::REGION_WRITE, &[lying, vec![0; 2]].concat()), invalid());
    assert_eq!(client.refused(Command::REGION_READ, &[0; 15]), invalid());
    assert_eq!(control.events(), []);
}

#[test]
fn posted_writes_are_done_in_order_and_not_answered() {
    let (control, mut client) = connect_and_negotiate();
    for value in 1..=3 {
        let access = spec::RegionAccess { offset: value, region: BAR, count: 1 };
        client.posted(Command::REGION_WRITE, &[access.as_bytes(), &[value as u8]].concat());
    }
    client.posted(Command::REGION_WRITE, &[0; 3]);
    client.posted(Command(77), &[]);
    assert_eq!(client.read(0, 5), [0, 1, 2, 3, 0]);
    let expected: Vec<_> = (1..=3).map(|value| Event::Write(BAR, value, vec![value as u8])).collect();
    assert_eq!(control.events(), expected);
}

fn multi(writes: &[(u64, u32, u32)], wr_cnt: u64) -> Vec<u8> {
    let mut bytes = wr_cnt.as_bytes().to_vec();
    for &(offset, region, count) in writes {
        let access = spec::RegionAccess { offset, region, count };
        bytes.extend_from_slice(spec::MultiWrite { access, data: [1, 2, 3, 4, 5, 6, 7, 8] }.as_bytes());
    }
    bytes
}

#[test]
fn several_writes_in_one_message() {
    let (control, mut client) = connect_and_negotiate();
    let command = Command::REGION_WRITE_MULTI;
    // The list is longer than its count, as QEMU sends it.
    let payload = multi(&[(0, BAR, 8), (16, BAR, 1), (0, 99, 99)], 2);
    assert_eq!(client.ask(command, &payload), 2_u64.as_bytes());
    let expected = [Event::Write(BAR, 0, vec![1, 2, 3, 4, 5, 6, 7, 8]), Event::Write(BAR, 16, vec![1])];
    assert_eq!(control.events(), expected);
    assert_eq!(client.ask(command, 0_u64.as_bytes()), 0_u64.as_bytes());
    for (writes, count) in [
        (&[(0, BAR, 8)][..], 2),
        (&[(0, BAR, 8)], u64::MAX),
        (&[(0, BAR, 8)], u64::MAX / 24 + 1),
        (&[(0, BAR, 8), (0, BAR, 9)], 2),
        (&[(0, BAR, 8), (BAR_BYTES, BAR, 1)], 2),
        (&[(0, BAR, 8), (0, 9, 1)], 2),
    ] {
        assert_eq!(client.refused(command, &multi(writes, count)), invalid());
    }
    assert_eq!(client.refused(command, &[0; 7]), invalid());
    assert_eq!(control.events(), [], "a bad list is not done in part");
}

#[test]
fn memory_is_mapped_with_or_without_a_file() {
    let (control, mut client) = connect_and_negotiate();
    let file: OwnedFd = tempfile::tempfile().unwrap().into();
    let request = spec::DmaMap { offset: 0x2000, flags: 1, ..map_request(0x1000, 0x1000) };
    let reply = client.exchange_with(Command::DMA_MAP, request.as_bytes(), &[file.as_fd()]);
    assert_eq!((reply.header.flags, reply.payload.len()), (FLAG_TYPE_REPLY, 0));
    let request = spec::DmaMap { offset: 0x2000, flags: 2, ..map_request(0xfff0_0000, 0x1000) };
    client.ask(Command::DMA_MAP, request.as_bytes());
    let map = |gpa, offset, readable| DmaMap {
        gpa: crate::dma::Gpa(gpa),
        size: 0x1000,
        offset,
        readable,
        writable: !readable,
    };
    assert_eq!(
        control.events(),
        [Event::Map(map(0x1000, 0x2000, true), true), Event::Map(map(0xfff0_0000, 0, false), false)]
    );
    let again = map_request(0x1800, 0x1000);
    assert_eq!(client.refused(Command::DMA_MAP, again.as_bytes()), error(Errno::EXIST));
}

#[test]
fn maps_that_cannot_be() {
    let (control, mut client) = connect_and_negotiate();
    let good = map_request(0x1000, 0x1000);
    for bad in [
        map_request(0x1000, 0),
        map_request(u64::MAX, 1),
        map_request(0x1000, u64::MAX - 0xfff),
        spec::DmaMap { flags: 4, ..good },
        spec::DmaMap { flags: 1 << 31, ..good },
        spec::DmaMap { argsz: 31, ..good },
    ] {
        assert_eq!(client.refused(Command::DMA_MAP, bad.as_bytes()), invalid(), "{bad:?}");
    }
    assert_eq!(client.refused(Command::DMA_MAP, &good.as_bytes()[..31]), invalid());
    let (reader, writer) = std::io::pipe().unwrap();
    let (offset_wraps, two) = (spec::DmaMap { offset: u64::MAX, ..good }, [writer.as_fd(), writer.as_fd()]);
    assert_eq!(client.exchange_with(Command::DMA_MAP, offset_wraps.as_bytes(), &two[..1]).errno(), invalid());
    assert_eq!(client.exchange_with(Command::DMA_MAP, good.as_bytes(), &two).errno(), invalid());
    drop(writer);
    assert!(is_closed(reader));
    assert_eq!(control.events(), []);
}

#[test]
fn unmapping_repeats_the_request() {
    let (control, mut client) = connect_and_negotiate();
    let memory = |gpa, size| DmaUnmap::Range { gpa: crate::dma::Gpa(gpa), size };
    client.ask(Command::DMA_MAP, map_request(0x1000, 0x1000).as_bytes());
    client.ask(Command::DMA_MAP, map_request(0x2000, 0x1000).as_bytes());
    let request = unmap_request(0x1000, 0x1000);
    assert_eq!(client.refused(Command::DMA_UNMAP, unmap_request(0x1000, 0x800).as_bytes()), error(Errno::NOENT));
    assert_eq!(client.ask(Command::DMA_UNMAP, request.as_bytes()), request.as_bytes());
    assert_eq!(client.refused(Command::DMA_UNMAP, request.as_bytes()), error(Errno::NOENT));
    let all = spec::DmaUnmap { flags: 2, ..unmap_request(0, 0) };
    assert_eq!(client.ask(Command::DMA_UNMAP, all.as_bytes()), all.as_bytes());
    assert_eq!(control.events()[2..], [Event::Unmap(memory(0x1000, 0x1000)), Event::Unmap(DmaUnmap::All)]);
}

#[test]
fn unmaps_that_cannot_be() {
    let (control, mut client) = connect_and_negotiate();
    let good = unmap_request(0x1000, 0x1000);
    for (bad, errno) in [
        (spec::DmaUnmap { flags: 2, ..good }, Errno::INVAL),
        (spec::DmaUnmap { flags: 2, size: 0, ..good }, Errno::INVAL),
        (spec::DmaUnmap { flags: 3, address: 0, size: 0, ..good }, Errno::INVAL),
        (spec::DmaUnmap { flags: 4, ..good }, Errno::INVAL),
        (spec::DmaUnmap { flags: 1, ..good }, Errno::NOTSUP),
        (spec::DmaUnmap { argsz: 23, ..good }, Errno::INVAL),
    ] {
        assert_eq!(client.refused(Command::DMA_UNMAP, bad.as_bytes()), error(errno), "{bad:?}");
    }
    assert_eq!(client.refused(Command::DMA_UNMAP, &[0; 8]), invalid());
    assert_eq!(control.events(), []);
}

#[test]
fn reset_always_succeeds_and_the_rest_is_not_there() {
    let (control, mut client) = connect_and_negotiate();
    assert!(client.ask(Command::DEVICE_RESET, &[]).is_empty());
    assert!(client.ask(Command::DEVICE_RESET, &[1, 2, 3]).is_empty());
    assert_eq!(control.events(), [Event::Reset, Event::Reset]);
    let feature = spec::DeviceFeature { argsz: 16, flags: 1 << 16 | 1 };
    assert_eq!(client.refused(Command::DEVICE_FEATURE, feature.as_bytes()), error(Errno::NOTTY));
    assert_eq!(client.refused(Command::DEVICE_FEATURE, &[0; 7]), invalid());
    assert_eq!(client.refused(Command::DEVICE_FEATURE, &[0; 8]), invalid());
    for command in [Command::DIRTY_PAGES, Command::MIG_DATA_READ, Command::MIG_DATA_WRITE] {
        assert_eq!(client.refused(command, &[0; 64]), error(Errno::NOTSUP));
    }
    for command in [0, 11, 12, 19, 999, u16::MAX].map(Command) {
        assert_eq!(client.refused(command, &[0; 1]), invalid());
    }
    client.check_alive();
}
