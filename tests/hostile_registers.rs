//! A guest reads and writes registers as it should not. Nothing hangs, nothing breaks, and a reset brings the device back.

mod common;

use std::time::Duration;

use annulus_bench::guest::connection::CONFIG_REGION;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::pci::ConfigSpace;
use annulus_bench::guest::scsi::Command;
use annulus_bench::guest::spec::{common as registers, feature, pci, status};
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, revive, settle, verify_on};
use common::{SOCKET, Target};

/// The BAR with the virtio registers.
const BAR: u32 = 4;

fn guest(target: &Target) -> Guest {
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    guest
}

fn set(guest: &mut Guest, field: u64, bytes: &[u8]) {
    let (device, connection) = guest.registers();
    device.set_common(connection, field, bytes).unwrap();
}

fn get<const N: usize>(guest: &mut Guest, field: u64) -> [u8; N] {
    let (device, connection) = guest.registers();
    device.common(connection, field).unwrap()
}

fn get_u16(guest: &mut Guest, field: u64) -> u16 {
    u16::from_le_bytes(get(guest, field))
}

#[test]
fn configuration_space_reads_the_same_at_every_width() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    let (_, connection) = guest.registers();
    let mut whole = [0; 256];
    connection.read(CONFIG_REGION, 0, &mut whole).unwrap();
    assert_eq!(whole[..4], [0xF4, 0x1A, 0x48, 0x10]);
    assert_eq!(whole[0x0B], 1, "mass storage");
    for width in [1, 2, 4, 8] {
        for offset in (0..256 - width).step_by(width) {
            let mut bytes = [0; 8];
            connection.read(CONFIG_REGION, offset as u64, &mut bytes[..width]).unwrap();
            assert_eq!(bytes[..width], whole[offset..offset + width], "{width} bytes at {offset:#x}");
        }
    }
    let space = ConfigSpace::read(connection).unwrap();
    assert!(space.capabilities().unwrap().iter().any(|&(_, id)| id == pci::CAP_MSIX));
    target.stop();
}

#[test]
fn bars_can_be_sized() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    let (_, connection) = guest.registers();
    let at = 0x10 + 4 * u64::from(BAR);
    let mut before = [0; 4];
    connection.read(CONFIG_REGION, at, &mut before).unwrap();
    connection.write(CONFIG_REGION, at, &[0xFF; 4]).unwrap();
    let mut mask = [0; 4];
    connection.read(CONFIG_REGION, at, &mut mask).unwrap();
    let size = !(u32::from_le_bytes(mask) & !0xF) + 1;
    assert!(size.is_power_of_two() && u64::from(size) == connection.region_size(BAR), "BAR {BAR} is {size:#x} long");
    assert!(size >= 0x4000);
    assert!(!connection.region_is_mappable(BAR), "registers must trap");
    connection.write(CONFIG_REGION, at, &before).unwrap();
    alive(&mut guest);
    target.stop();
}

#[test]
fn the_window_in_configuration_space_reaches_the_registers() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    let (device, connection) = guest.registers();
    let window = u64::from(device.layout().window.expect("the window capability is mandatory"));
    let place = device.layout().common;
    let expected = device.status(connection).unwrap();
    connection.write(CONFIG_REGION, window + 4, &[place.region as u8]).unwrap();
    let offset = (place.offset + registers::DEVICE_STATUS) as u32;
    connection.write(CONFIG_REGION, window + 8, &offset.to_le_bytes()).unwrap();
    connection.write(CONFIG_REGION, window + 12, &1u32.to_le_bytes()).unwrap();
    let mut status = [0];
    connection.read(CONFIG_REGION, window + 16, &mut status).unwrap();
    assert_eq!(status[0], expected);
    // Through it to where nothing is, and with lengths that cannot be.
    for (bar, offset, length) in [(5u8, 0u32, 4u32), (BAR as u8, u32::MAX, 4), (BAR as u8, 0x14, 3), (255, 0, u32::MAX)]
    {
        connection.write(CONFIG_REGION, window + 4, &[bar]).unwrap();
        connection.write(CONFIG_REGION, window + 8, &offset.to_le_bytes()).unwrap();
        connection.write(CONFIG_REGION, window + 12, &length.to_le_bytes()).unwrap();
        let mut data = [0; 4];
        connection.read(CONFIG_REGION, window + 16, &mut data).unwrap();
        connection.write(CONFIG_REGION, window + 16, &[0; 4]).unwrap();
    }
    revive(&mut guest);
    target.stop();
}

#[test]
fn features_follow_the_rules() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    for select in [2u32, 3, 31, 32, 33, 1 << 31, u32::MAX] {
        set(&mut guest, registers::DEVICE_FEATURE_SELECT, &select.to_le_bytes());
        assert_eq!(get(&mut guest, registers::DEVICE_FEATURE), [0; 4], "half {select}");
        set(&mut guest, registers::DRIVER_FEATURE_SELECT, &select.to_le_bytes());
        set(&mut guest, registers::DRIVER_FEATURE, &[0xFF; 4]);
    }
    // Taking what is not offered, and not taking what must be.
    for features in [feature::VERSION_1 | 1 << 50, feature::VERSION_1 | 1 << 27, 0, u64::MAX] {
        guest.reset().unwrap();
        let (device, connection) = guest.registers();
        device.set_status(connection, status::ACKNOWLEDGE | status::DRIVER).unwrap();
        device.set_features(connection, features).unwrap();
        let all = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        device.set_status(connection, all).unwrap();
        let now = device.status(connection).unwrap();
        assert_eq!(now & status::FEATURES_OK, 0, "features {features:#x}: status {now:#x}");
    }
    revive(&mut guest);
    target.stop();
}

#[test]
fn nothing_runs_before_its_time() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    // DRIVER_OK before FEATURES_OK.
    guest.reset().unwrap();
    let (device, connection) = guest.registers();
    let early = status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK;
    device.set_status(connection, early).unwrap();
    for queue in 0..3 {
        let doorbell = device.doorbell(connection, queue).unwrap();
        device.notify(connection, doorbell, queue).unwrap();
    }
    revive(&mut guest);
    // Doorbells before DRIVER_OK; the command is served after it.
    guest.reset().unwrap();
    guest.negotiate().unwrap();
    guest.set_up_queues().unwrap();
    let inquiry = Command::data_in(LUN, annulus_bench::guest::cdb::inquiry(None, 36), 36);
    guest.submit(0, &inquiry, &Shape::default()).unwrap();
    assert_eq!(guest.wait_for(0, Duration::from_millis(50)).unwrap(), None, "a command is served before DRIVER_OK");
    let (device, connection) = guest.registers();
    device.driver_ok(connection).unwrap();
    let doorbell = device.doorbell(connection, 2).unwrap();
    device.notify(connection, doorbell, 2).unwrap();
    guest.wait(0).unwrap().response.good().unwrap();
    target.stop();
}

#[test]
fn queue_registers_take_only_what_can_be() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    guest.reset().unwrap();
    guest.negotiate().unwrap();
    let queues = get_u16(&mut guest, registers::NUM_QUEUES);
    for queue in [queues, queues + 1, 0x7FFF, 0xFFFF] {
        set(&mut guest, registers::QUEUE_SELECT, &queue.to_le_bytes());
        assert_eq!(get_u16(&mut guest, registers::QUEUE_SIZE), 0, "queue {queue} is not there");
        set(&mut guest, registers::QUEUE_SIZE, &8u16.to_le_bytes());
        set(&mut guest, registers::QUEUE_ENABLE, &1u16.to_le_bytes());
        set(&mut guest, registers::QUEUE_MSIX_VECTOR, &0u16.to_le_bytes());
    }
    set(&mut guest, registers::QUEUE_SELECT, &2u16.to_le_bytes());
    let max = get_u16(&mut guest, registers::QUEUE_SIZE);
    assert!(max.is_power_of_two() && max >= 128, "{max}");
    for size in [0, 3, 100, max.wrapping_mul(2), max + 1, 0xFFFF] {
        set(&mut guest, registers::QUEUE_SIZE, &size.to_le_bytes());
        let now = get_u16(&mut guest, registers::QUEUE_SIZE);
        assert!(now.is_power_of_two() && now <= max, "size {size} was taken as {now}");
    }
    for vector in [500u16, 0x7FFF, 0xFFFE] {
        set(&mut guest, registers::QUEUE_MSIX_VECTOR, &vector.to_le_bytes());
        assert_eq!(get_u16(&mut guest, registers::QUEUE_MSIX_VECTOR), registers::NO_VECTOR);
        set(&mut guest, registers::CONFIG_MSIX_VECTOR, &vector.to_le_bytes());
        assert_eq!(get_u16(&mut guest, registers::CONFIG_MSIX_VECTOR), registers::NO_VECTOR);
    }
    revive(&mut guest);
    target.stop();
}

#[test]
fn a_live_queue_does_not_move() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    set(&mut guest, registers::QUEUE_SELECT, &2u16.to_le_bytes());
    set(&mut guest, registers::QUEUE_SIZE, &2u16.to_le_bytes());
    for field in (registers::QUEUE_DESC..registers::QUEUE_DEVICE + 8).step_by(4) {
        set(&mut guest, field, &0xDEAD_BEE0u32.to_le_bytes());
    }
    for lba in 0..200 {
        verify_on(&mut guest, 0, lba, 1);
    }
    // Neither size nor features after DRIVER_OK.
    set(&mut guest, registers::DRIVER_FEATURE_SELECT, &0u32.to_le_bytes());
    set(&mut guest, registers::DRIVER_FEATURE, &0u32.to_le_bytes());
    for lba in 0..200 {
        verify_on(&mut guest, 0, lba, 1);
    }
    revive(&mut guest);
    target.stop();
}

#[test]
fn without_bus_mastering_there_is_neither_dma_nor_interrupt() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = guest(&target);
    let command = |guest: &mut Guest, bits: u16| {
        let (_, connection) = guest.registers();
        let value = bits | pci::COMMAND_MEMORY | pci::COMMAND_INTX_DISABLE;
        connection.write(CONFIG_REGION, pci::COMMAND, &value.to_le_bytes()).unwrap();
    };
    for _ in 0..5 {
        command(&mut guest, 0);
        guest.queue_interrupt(2).unwrap().take();
        guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
        assert_eq!(guest.wait_for(0, Duration::from_millis(30)).unwrap(), None);
        assert_eq!(guest.queue_interrupt(2).unwrap().take(), 0);
        command(&mut guest, pci::COMMAND_BUS_MASTER);
        let (device, connection) = guest.registers();
        let doorbell = device.doorbell(connection, 2).unwrap();
        device.notify(connection, doorbell, 2).unwrap();
        guest.wait(0).unwrap().response.good().unwrap();
    }
    alive(&mut guest);
    target.stop();
}

#[test]
fn storms_of_resets_are_weathered() {
    let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let mut guest = target.guest_on("a.sock", Options::default());
    settle(&mut guest, LUN);
    for round in 0..200u32 {
        if round % 3 == 0 {
            guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
        }
        let (device, connection) = guest.registers();
        device.set_status(connection, 0).unwrap();
        if round % 5 == 0 {
            connection.reset().unwrap();
            device.enable(connection, true).unwrap();
        }
        guest.reset().unwrap();
        if round % 3 != 1 {
            guest.start().unwrap();
        }
        if round % 50 == 0 {
            alive(&mut neighbour);
        }
        if round % 3 == 1 {
            guest.start().unwrap();
        }
        if round % 3 == 2 {
            settle(&mut guest, LUN);
        }
    }
    revive(&mut guest);
    target.stop();
}

#[test]
fn random_accesses_break_nothing() {
    let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let mut state = 0x1234_5678_9ABC_DEF1u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..4 {
        let mut guest = target.guest_on("a.sock", Options::default());
        for _ in 0..1500 {
            let region = [BAR, BAR, CONFIG_REGION][random(3) as usize];
            let (_, connection) = guest.registers();
            let len = [1usize, 2, 4, 8, 3, 16][random(6) as usize];
            let size = connection.region_size(region);
            let near = if random(2) == 0 { size } else { 0x40.min(size) };
            let offset = random(near - len as u64);
            let mut bytes = random(u64::MAX).to_le_bytes().repeat(2);
            bytes.truncate(len);
            if random(2) == 0 {
                connection.read(region, offset, &mut bytes).unwrap();
            } else {
                connection.write(region, offset, &bytes).unwrap();
            }
        }
        alive(&mut neighbour);
        drop(guest);
        // A new client finds a device that is as new.
        let mut next = target.guest_on("a.sock", Options::default());
        alive(&mut next);
    }
    target.stop();
}

#[test]
fn accesses_outside_of_a_region_are_refused_and_the_stream_goes_on() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut raw = target.raw(SOCKET);
    let sizes = [0u64, 0, 0, 0, 0x4000, 0, 0, 0];
    for (region, size) in sizes.into_iter().enumerate() {
        let region = region as u32;
        for (offset, count) in [(size.max(0x10_0000), 4u32), (u64::MAX, 4), (u64::MAX - 3, 8), (1 << 40, 1)] {
            let read = raw.region_read(region, offset, count).unwrap();
            assert!(read.error().is_some_and(|errno| errno != 0), "read of region {region} at {offset:#x}: {read:?}");
            let write = raw.region_write(region, offset, &vec![0; count as usize]).unwrap();
            assert!(write.error().is_some_and(|errno| errno != 0), "write of region {region} at {offset:#x}");
        }
    }
    for count in [0, 0x2000_0000, u32::MAX] {
        let reply = raw.region_read(BAR, 0, count).unwrap();
        assert!(reply.error().is_some() || reply.payload.len() == 16 + count as usize, "{count} bytes");
    }
    for region in [9, 100, u32::MAX] {
        assert!(raw.region_read(region, 0, 4).unwrap().error().is_some());
    }
    // Across the end of a register and across structures: answered, with whatever.
    for (offset, count) in [(0x13, 4), (0x37, 8), (0xFFE, 4), (0x1FFF, 2), (0x2FFC, 8), (1, 8)] {
        let reply = raw.region_read(BAR, offset, count).unwrap();
        assert_eq!((reply.error(), reply.payload.len()), (None, 16 + count as usize), "{count} at {offset:#x}");
    }
    drop(raw);
    alive(&mut target.guest());
    target.stop();
}
