//! The whole server, on a socket with a name, with clients of other makes.

use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_user::Client as RustVmmClient;

use super::super::Server;
use super::*;

fn serve_at(path: PathBuf) -> Control {
    let mut server = Server::bind(&path).unwrap();
    Control::start(move |device, wake, stop| server.run(device, wake, stop).unwrap())
}

fn connect_to(path: &std::path::Path) -> Client {
    let mut client = Client::new(UnixStream::connect(path).unwrap().into());
    client.negotiate(b"");
    client
}

#[test]
fn rust_vmms_client_does_all_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let control = serve_at(path.clone());
    let mut client = RustVmmClient::new(&path).unwrap();
    for index in 0..VFIO_PCI_NUM_REGIONS {
        assert!(client.region(index).is_some());
    }
    assert_eq!(client.region(BAR).unwrap().size, BAR_BYTES);
    assert_eq!(client.region(VFIO_PCI_CONFIG_REGION_INDEX).unwrap().size, 256);
    let mappable = client.region(MAPPABLE).unwrap();
    assert_ne!(mappable.flags & VFIO_REGION_INFO_FLAG_MMAP, 0);
    assert!(mappable.file_offset.is_some());
    assert_eq!(mappable.sparse_areas.len(), 2);
    assert_eq!((mappable.sparse_areas[1].offset, mappable.sparse_areas[1].size), (0x4000, 0x2000));
    for index in 0..VFIO_PCI_NUM_IRQS {
        assert_eq!(client.get_irq_info(index).unwrap().count, [1, 0, 2048, 1, 1][index as usize]);
    }
    client.region_write(BAR, 4, &[1, 2, 3, 4]).unwrap();
    let mut data = [0; 4];
    client.region_read(BAR, 4, &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4]);
    client.region_read(BAR, DEAF_FROM, &mut data).unwrap();
    assert_eq!(data, [0xff; 4]);
    let file = tempfile::tempfile().unwrap();
    client.dma_map(0, 0x10_0000, 0x1000, file.as_raw_fd()).unwrap();
    client.dma_unmap(0x10_0000, 0x1000).unwrap();
    let eventfds: Vec<_> = (0..16).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
    let raw: Vec<RawFd> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    let enable = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
    client.set_irqs(VFIO_PCI_MSIX_IRQ_INDEX, enable, 0, 16, &raw).unwrap();
    let disable = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
    client.set_irqs(VFIO_PCI_MSIX_IRQ_INDEX, disable, 0, 0, &[]).unwrap();
    client.reset().unwrap();
    client.region_read(BAR, 4, &mut data).unwrap();
    assert_eq!(data, [0; 4]);
    let events = control.events();
    assert!(events.contains(&Event::Eventfds(IrqIndex::Msix, 0, 16)));
    assert!(events.contains(&Event::DisableAll(IrqIndex::Msix)));
    assert!(matches!(events[1], Event::Map(_, true)) && matches!(events[2], Event::Unmap(_)), "{events:?}");
}

/// As SPDK's initiator does: no text, every id 0, region infos in messages of 4,080 bytes, a reply by one read.
#[test]
fn a_client_in_the_manner_of_spdk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let _control = serve_at(path.clone());
    let mut client = Client::new(UnixStream::connect(&path).unwrap().into());
    let send = |client: &mut Client, command, payload: &[u8]| {
        let message_size = (HEADER_BYTES + payload.len()) as u32;
        client.send(Header { message_id: 0, command, message_size, flags: 0, error: 0 }, payload, &[]);
        let mut header = [0; HEADER_BYTES];
        assert!(client.fill(&mut header, &mut Vec::new()));
        let header = Header::read_from_bytes(&header).unwrap();
        assert_eq!((header.message_id, header.flags), (0, FLAG_TYPE_REPLY));
        let mut payload = vec![0; 4096];
        let read = rustix::io::read(&client.socket, &mut payload).unwrap();
        assert_eq!(read, header.message_size as usize - HEADER_BYTES);
        payload.truncate(read);
        payload
    };
    let version = send(&mut client, Command::VERSION, &[0, 0, 1, 0]);
    assert_eq!(version[..4], [0, 0, 1, 0]);
    for index in 0..9 {
        let ask = spec::RegionInfo { argsz: 4080, flags: 0, index, cap_offset: 0, size: 0, offset: 0 };
        let reply = send(&mut client, Command::DEVICE_GET_REGION_INFO, &[ask.as_bytes(), &[0; 4048]].concat());
        let info = spec::RegionInfo::read_from_prefix(&reply).unwrap().0;
        assert_eq!((info.index, info.argsz as usize), (index, reply.len()));
    }
}

#[test]
fn the_next_client_waits_until_the_first_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let mut control = serve_at(path.clone());
    let mut first = connect_to(&path);
    let mut second = Client::new(UnixStream::connect(&path).unwrap().into());
    second.command(Command::VERSION, &[0, 0, 1, 0]);
    first.check_alive();
    assert_eq!(control.events(), []);
    drop(first);
    assert_eq!(second.receive().unwrap().header.command, Command::VERSION);
    assert_eq!(control.events(), [Event::Disconnected]);
    second.check_alive();
    control.stop();
    assert!(second.receive().is_none());
    assert!(!path.exists(), "the socket goes with the server");
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_message_makes_room_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let control = serve_at(path.clone());
    for _ in 0..10 {
        let mut client = connect_to(&path);
        client.command(Command::REGION_READ, spec::RegionAccess { offset: 0, region: BAR, count: 4096 }.as_bytes());
        rustix::net::send(&client.socket, &[1; 20], SendFlags::empty()).unwrap();
    }
    let mut last = connect_to(&path);
    last.check_alive();
    assert_eq!(control.events(), vec![Event::Disconnected; 10]);
}

#[test]
fn the_device_wakes_without_a_client_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let control = serve_at(path.clone());
    for _ in 0..3 {
        let (sender, woken) = channel();
        control.wake_with(move |memory| sender.send(memory.dma_read(crate::dma::Gpa(0), &mut [0])).is_ok());
        assert_eq!(woken.recv().unwrap(), Err(Errno::NOTCONN));
    }
    connect_to(&path).check_alive();
}
