//! The whole guest, driving the fake device through rust-vmm's client and server.

use std::time::Duration;

use super::fake::{BLOCK, Fake};
use super::framing::{Framing, Shape};
use super::scsi::{Command, Lun};
use super::spec::{feature, response};
use super::task::{Function, TaskManagement};
use super::*;

const ALL: u64 = feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;
const LUN: Lun = Lun::new(0, 0);

fn with_device(fake: Fake, options: Options, test: impl FnOnce(&mut Guest)) {
    let (socket, device) = fake.serve();
    let mut guest = Guest::attach(&socket, options).unwrap();
    test(&mut guest);
    drop(guest);
    device.join().unwrap();
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 251) as u8).collect()
}

fn write_and_read(guest: &mut Guest, queue: u16, shape: &Shape) {
    let data = bytes(8 * BLOCK);
    let write = Command::write(LUN, 5, BLOCK as u32, data.clone());
    guest.execute_shaped(queue, &write, shape).unwrap().good().unwrap();
    let read = guest.execute_shaped(queue, &Command::read(LUN, 5, 8, BLOCK as u32), shape).unwrap().good().unwrap();
    assert_eq!(read.data, data);
    assert_eq!(read.used_len as usize, 108 + data.len());
}

#[test]
fn data_goes_there_and_back_in_every_framing() {
    let shapes = [
        Shape::default(),
        Shape::of(Framing::Segments(512)),
        Shape::of(Framing::Whole),
        Shape::of(Framing::Cut { readable: vec![1, 18, 3], writable: vec![11, 1] }),
    ];
    for features in [feature::VERSION_1 | feature::INDIRECT_DESC, ALL] {
        with_device(Fake::new(features), Options::default(), |guest| {
            assert_eq!(guest.features(), features);
            for shape in &shapes {
                write_and_read(guest, 0, shape);
                write_and_read(guest, 0, &shape.clone().indirect());
            }
        });
    }
}

#[test]
fn every_queue_works_with_and_without_interrupts() {
    for options in [Options::default(), Options::polling()] {
        with_device(Fake::new(ALL), Options { request_queues: 2, ..options }, |guest| {
            assert_eq!(guest.request_queues(), 2);
            write_and_read(guest, 0, &Shape::default());
            write_and_read(guest, 1, &Shape::default());
        });
    }
}

#[test]
fn many_commands_are_told_apart() {
    with_device(Fake::new(ALL), Options::default(), |guest| {
        for lba in 0..16u8 {
            let write = Command::write(LUN, lba.into(), BLOCK as u32, vec![lba; BLOCK]);
            guest.execute(0, &write).unwrap().good().unwrap();
        }
        for batch in 0..4u8 {
            let lbas = batch * 4..batch * 4 + 4;
            let read = |lba: u8| Command::read(LUN, lba.into(), 1, BLOCK as u32);
            let ids: Vec<_> = lbas.map(|lba| (guest.enqueue(0, &read(lba), &Shape::default()).unwrap(), lba)).collect();
            assert_eq!(guest.poll(0).unwrap(), None, "the device has not been told yet");
            guest.flush(0).unwrap();
            for (id, lba) in ids {
                let completion = guest.wait(0).unwrap();
                assert_eq!((completion.id, completion.response.data), (id, vec![lba; BLOCK]));
            }
        }
        assert_eq!(guest.in_flight(0), 0);
    });
}

#[test]
fn sense_and_control_come_through() {
    with_device(Fake::new(ALL), Options::default(), |guest| {
        let answer = guest.execute(0, &Command::new(LUN, cdb::test_unit_ready())).unwrap();
        assert_eq!(answer.sense_code(), Some((5, 0x20, 0)));
        let request = TaskManagement::on(Function::LogicalUnitReset, LUN);
        assert_eq!(guest.task_management(&request).unwrap(), response::OK);
    });
}

#[test]
fn a_command_without_an_answer_times_out_and_a_reset_forgets_it() {
    let mut fake = Fake::new(ALL);
    fake.swallow = 1;
    with_device(fake, Options { limit: Duration::from_millis(50), ..Options::default() }, |guest| {
        let read = Command::read(LUN, 0, 1, BLOCK as u32);
        assert!(matches!(guest.execute(0, &read), Err(Error::TimedOut { .. })));
        assert_eq!(guest.in_flight(0), 1);
        guest.set_limit(Duration::from_secs(30));
        assert_eq!(guest.reset().unwrap(), 1);
        guest.start().unwrap();
        write_and_read(guest, 0, &Shape::default());
        assert_eq!(guest.reset_function().unwrap(), 0);
        guest.start().unwrap();
        write_and_read(guest, 0, &Shape::default());
    });
}

#[test]
fn memory_in_several_regions_is_used_and_can_be_taken_away() {
    let regions = vec![(Gpa(0x1000), 0x8000), (Gpa(0x1_0000_0000), 0x10_0000)];
    with_device(Fake::new(ALL), Options { regions, ..Options::default() }, |guest| {
        write_and_read(guest, 0, &Shape::default());
        let window = guest.memory().allocate(0x10000, 4096).unwrap();
        assert!(window.gpa() >= Gpa(0x1_0000_0000));
        guest.unmap(1).unwrap();
        guest.map(1).unwrap();
        write_and_read(guest, 0, &Shape::of(Framing::Segments(1024)));
    });
}
