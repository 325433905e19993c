//! A controller as its client calls it, with cores that are stepped while it waits for them.

mod ring_reset;

use std::sync::Arc;

use bdev::Bdev;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::bed::Bed;
use super::guest::{new_bell, read_10};
use super::sim_disk::{Cancels, SimDisk};
use crate::config::RingFormat;
use crate::dma::{Gpa, MemMap};
use crate::target::controller::{Controller, Offer};
use crate::target::lun_map::{LunMap, Placement};
use crate::vfio_user::{Device, DmaMap, DmaUnmap};
use crate::virtio::ring::testing::packed::{DISABLE, PackedDriver};
use crate::virtio::ring::testing::{Buffer, FakeDriver, WRITE};
use crate::virtio::ring::{RingFeatures, RingLayout};
use crate::virtio::spec::common;
use crate::virtio_scsi::Address;

const MEMORY_LEN: u64 = 0x4_0000;
const OFFER: Offer = Offer { queues: 2, ring: RingFormat::Auto };
const RING_SIZE: u16 = 16;
const HEADER_AT: u64 = 0x2_0000;
const RESPONSE_AT: u64 = 0x2_1000;
/// ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK.
const LIVE: u8 = 15;

/// Where a read has its header and its answer.
const READ: [Buffer; 2] =
    [Buffer { gpa: HEADER_AT, len: 51, writable: false }, Buffer { gpa: RESPONSE_AT, len: 108 + 512, writable: true }];

fn read_header() -> [u8; 51] {
    let mut header = [0; 51];
    header[0] = 1;
    header[19..29].copy_from_slice(&read_10(0, 1));
    header
}

/// A controller with two request queues, its disk, and a driver.
struct Board {
    bed: Bed,
    controller: Controller,
    disk: SimDisk,
    /// By number of the virtqueue.
    drivers: Vec<FakeDriver>,
    map: Arc<MemMap>,
}

impl Board {
    /// On one core. Memory is mapped, bus mastering is on, the device is as after a reset.
    fn new() -> Self {
        Self::with_homes(1, [0, 0])
    }

    /// The same on so many cores, with the request queues at these.
    fn with_homes(cores: usize, homes: [usize; 2]) -> Self {
        let disk = SimDisk::new(64);
        let bed = Bed::of(cores, vec![Arc::new(disk.clone()) as Arc<dyn Bdev>]);
        let placement = Placement { address: Address { target: 0, lun: 0 }, disk: bed.disks[0].clone() };
        let luns = LunMap::new(vec![placement]);
        let controller =
            Controller::new("test".into(), luns, OFFER, (bed.handles(), Box::new(homes)), Arc::new(new_bell()));
        let mut board = Self { bed, controller, disk, drivers: Vec::new(), map: Arc::default() };
        let fd = memfd_create("board", MemfdFlags::CLOEXEC).expect("a memfd");
        ftruncate(&fd, MEMORY_LEN).expect("a length");
        let map = DmaMap { gpa: Gpa(0), size: MEMORY_LEN, offset: 0, readable: true, writable: true };
        board.controller.dma_map(map, Some(fd)).expect("legal memory");
        board.map = board.controller.memory.snapshot();
        board.set_bus_master(true);
        board
    }

    /// Calls the controller; the first core runs meanwhile, as long as that takes.
    fn call<T: Send>(&mut self, call: impl FnOnce(&mut Controller) -> T + Send) -> T {
        let Self { bed, controller, .. } = self;
        let result = std::thread::scope(|scope| {
            let caller = scope.spawn(|| call(controller));
            while !caller.is_finished() {
                bed.step(0);
            }
            caller.join().expect("the controller does not panic")
        });
        self.bed.run();
        result
    }

    fn set_bus_master(&mut self, on: bool) {
        self.call(|controller| controller.region_write(7, 4, &[if on { 6 } else { 2 }, 0])).unwrap();
    }

    fn write(&mut self, register: u64, bytes: &[u8]) {
        self.call(|controller| controller.region_write(4, register, bytes)).unwrap();
    }

    fn status(&mut self) -> u8 {
        let mut status = [0];
        self.call(|controller| controller.region_read(4, common::DEVICE_STATUS, &mut status)).unwrap();
        status[0]
    }

    /// A register of a queue.
    fn queue_register(&mut self, queue: u16, register: u64) -> u16 {
        self.write(common::QUEUE_SELECT, &queue.to_le_bytes());
        let mut value = [0; 2];
        self.call(|controller| controller.region_read(4, register, &mut value)).unwrap();
        u16::from_le_bytes(value)
    }

    fn reset_queue(&mut self, queue: u16) {
        self.write(common::QUEUE_SELECT, &queue.to_le_bytes());
        self.write(common::QUEUE_RESET, &[1, 0]);
    }

    fn set_status(&mut self, status: u8) {
        self.write(common::DEVICE_STATUS, &[status]);
    }

    fn enable(&mut self, queue: u16) {
        self.enable_at(queue, self.drivers[usize::from(queue)].layout());
    }

    fn enable_at(&mut self, queue: u16, layout: RingLayout) {
        self.write(common::QUEUE_SELECT, &queue.to_le_bytes());
        self.write(common::QUEUE_SIZE, &layout.size.to_le_bytes());
        self.write(common::QUEUE_DESC, &layout.desc.0.to_le_bytes());
        self.write(common::QUEUE_DRIVER, &layout.avail.0.to_le_bytes());
        self.write(common::QUEUE_DEVICE, &layout.used.0.to_le_bytes());
        self.write(common::QUEUE_ENABLE, &[1, 0]);
    }

    /// From reset to the moment before DRIVER_OK, with these queues.
    fn set_up(&mut self, queues: &[u16]) {
        self.set_up_with(queues, 1);
    }

    /// The same with these features of the upper 32.
    fn set_up_with(&mut self, queues: &[u16], features: u32) {
        let driver = |queue: u64| {
            let layout = FakeDriver::layout_at(0x1000 * (queue + 1), RING_SIZE);
            let driver = FakeDriver::in_map(self.map.clone(), layout, RingFeatures::default());
            driver.write(layout.desc.0, &[0; 0x800]);
            driver
        };
        self.drivers = (0..4).map(driver).collect();
        self.set_status(3);
        self.write(common::DRIVER_FEATURE_SELECT, &[1, 0, 0, 0]);
        self.write(common::DRIVER_FEATURE, &features.to_le_bytes());
        self.set_status(11);
        queues.iter().for_each(|&queue| self.enable(queue));
    }

    /// From reset to life.
    fn start(&mut self) {
        self.set_up(&[0, 1, 2, 3]);
        self.set_status(LIVE);
    }

    /// Offers a read in a queue.
    fn read(&mut self, queue: usize) {
        let driver = &mut self.drivers[queue];
        driver.write(HEADER_AT, &read_header());
        driver.add(&READ).expect("room");
        self.bed.run();
    }

    /// Used index of a queue.
    fn used(&self, queue: usize) -> u16 {
        self.drivers[queue].used_idx()
    }

    /// Whether nobody but the table and the test holds the guest's memory.
    fn memory_is_free(&self) -> bool {
        // The table keeps one, `map` is one, and each driver has one.
        Arc::strong_count(&self.map) <= 2 + self.drivers.len()
    }
}

#[test]
fn each_queue_is_served_at_its_home() {
    let mut board = Board::with_homes(2, [1, 0]);
    board.start();
    for (queue, home) in [(2, 1), (3, 0)] {
        board.drivers[queue].write(HEADER_AT, &read_header());
        board.drivers[queue].add(&READ).expect("room");
        board.bed.step(1 - home);
        assert_eq!(board.used(queue), 0);
        board.bed.step(home);
        assert_eq!(board.used(queue), 1);
    }
}

#[test]
fn a_reset_reads_non_zero_until_the_disk_has_answered_and_nothing_is_written_then() {
    let mut board = Board::new();
    board.disk.hold();
    board.disk.set_cancels(Cancels::Fail);
    board.start();
    board.read(2);
    assert_eq!(board.disk.held(), 1);
    board.set_status(0);
    assert_ne!(board.status(), 0);
    // A driver that does not wait is not heard.
    board.set_status(1);
    board.set_status(0);
    assert_ne!(board.status(), 0);
    board.disk.release_all();
    board.bed.run();
    assert_eq!((board.status(), board.used(2)), (0, 0));
    assert!(board.memory_is_free());
    board.disk.go();
    board.start();
    board.read(2);
    assert_eq!((board.status(), board.used(2)), (LIVE, 1));
}

#[test]
fn a_driver_that_takes_packed_rings_has_them_of_any_size() {
    let mut board = Board::new();
    let mut driver = PackedDriver::in_map(board.map.clone(), 5, RingFeatures::default());
    board.set_status(3);
    board.write(common::DRIVER_FEATURE_SELECT, &[1, 0, 0, 0]);
    board.write(common::DRIVER_FEATURE, &[1 | 1 << 2, 0, 0, 0]);
    board.set_status(11);
    board.enable_at(2, driver.layout());
    board.set_status(LIVE);
    assert_eq!(driver.device_event(), [0, 0, DISABLE as u8, 0], "it is polled");
    for round in 0..6 {
        driver.write(HEADER_AT, &read_header());
        let id = driver.add(&READ).expect("room");
        board.bed.run();
        assert_eq!(driver.take_used(), Some((id, 12, WRITE)), "round {round}");
    }
    assert_eq!(board.status(), LIVE);
    // A buffer id that no ring of this size has.
    driver.offer(&[(READ[0], 5, 0)]);
    board.bed.run();
    assert_eq!(board.status(), LIVE | 64);
}

#[test]
fn resets_one_after_the_other_leave_nothing_behind() {
    let mut board = Board::new();
    board.disk.hold();
    for turn in 0..12 {
        board.start();
        for queue in [2, 3, 3] {
            board.read(queue);
        }
        // The first command after a reset is told of it.
        assert_eq!(board.disk.held(), if turn == 0 { 3 } else { 2 }, "turn {turn}");
        match turn % 3 {
            0 => board.set_status(0),
            1 => board.call(Device::reset),
            _ => board.set_status(128),
        }
        assert_eq!(board.disk.held(), 0, "turn {turn}");
        if turn % 3 == 1 {
            board.set_bus_master(true);
        }
        board.set_status(0);
        assert_eq!(board.status(), 0);
        assert!(board.memory_is_free(), "turn {turn}");
    }
}

#[test]
fn queues_start_when_bus_mastering_comes_on() {
    let mut board = Board::new();
    board.set_bus_master(false);
    board.start();
    board.read(2);
    assert_eq!(board.used(2), 0);
    board.set_bus_master(true);
    assert_eq!(board.used(2), 1);
}

#[test]
fn without_bus_mastering_no_memory_is_touched() {
    let mut board = Board::new();
    board.set_up(&[0, 2]);
    board.set_status(LIVE);
    board.read(2);
    assert_eq!(board.used(2), 1);
    board.set_bus_master(false);
    assert!(board.memory_is_free());
    // A queue that is enabled meanwhile starts with the others.
    board.enable(3);
    board.read(3);
    board.read(2);
    assert_eq!((board.used(2), board.used(3)), (1, 0));
    assert!(board.memory_is_free());
    assert_eq!(board.call(|controller| controller.dma_unmap(DmaUnmap::All)), Ok(MEMORY_LEN));
    board.read(3);
    assert_eq!((board.used(2), board.used(3)), (1, 0));
    assert_eq!(board.status(), LIVE);
}

#[test]
fn a_queue_enabled_at_rest_works_afterwards() {
    let mut board = Board::new();
    board.set_up(&[0, 2]);
    board.set_status(LIVE);
    board.set_bus_master(false);
    board.enable(3);
    board.read(3);
    board.set_bus_master(true);
    assert_eq!((board.used(3), board.status()), (1, LIVE));
}

#[test]
fn a_client_that_goes_leaves_a_reset_device_without_memory() {
    let mut board = Board::new();
    board.disk.hold();
    board.start();
    board.read(2);
    board.call(Device::disconnected);
    assert_eq!((board.status(), board.disk.held(), board.used(2)), (0, 0, 0));
    board.drivers.clear();
    assert_eq!(Arc::strong_count(&board.map), 1, "the table has forgotten it");
}
