//! A guest writes nonsense to its rings. The device may ask for a reset or refuse the request; a reset brings it back, and
//! a second controller of the same process never notices.

mod common;

use annulus_bench::guest::memory::Gpa;
use annulus_bench::guest::queue_split::Descriptor;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::{common as registers, ring};
use annulus_bench::{Guest, Options, guest::framing::Shape};
use common::io::{LUN, alive, needs_reset, revive, settle, verify_on};
use common::{STEP_LIMIT, Target};

const NEXT: u16 = ring::DESC_NEXT;
const WRITE: u16 = ring::DESC_WRITE;
const INDIRECT: u16 = ring::DESC_INDIRECT;
/// The first request queue.
const REQUESTS: u16 = 2;
/// The registers that say where a queue is.
const FIELDS: [u64; 3] = [registers::QUEUE_DESC, registers::QUEUE_DRIVER, registers::QUEUE_DEVICE];
/// Where nothing is mapped.
const NOWHERE: u64 = 0xDEAD_0000_0000;

/// What must come of it.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// DEVICE_NEEDS_RESET, with a configuration interrupt.
    Broken,
    /// Anything that leaves the device in a state from which a reset brings it back.
    Any,
}
use Outcome::{Any, Broken};

struct Bench {
    target: Target,
    guest: Guest,
    neighbour: Guest,
}

impl Bench {
    fn new() -> Self {
        let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
        let neighbour = target.guest_on("b.sock", Options::default());
        let mut guest = target.guest_on("a.sock", Options { queue_size: 64, ..Options::default() });
        settle(&mut guest, LUN);
        Self { target, guest, neighbour }
    }

    /// Does it, and looks what came of it.
    fn case(&mut self, name: &str, outcome: Outcome, attack: impl FnOnce(&mut Guest)) {
        let guest = &mut self.guest;
        guest.config_interrupt().expect("the guest has interrupts").take();
        attack(guest);
        if outcome == Broken {
            self.target.until(name, || needs_reset(guest));
            let fired = guest.config_interrupt().expect("as above").wait(STEP_LIMIT).unwrap();
            assert!(fired > 0, "{name}: no configuration interrupt");
        }
        alive(&mut self.neighbour);
        revive(guest);
    }

    fn end(mut self) {
        alive(&mut self.neighbour);
        self.target.stop();
    }
}

/// A request in memory: addresses of a READ (10) header, its response and its data.
fn request(guest: &mut Guest) -> (u64, u64, u64) {
    let header = Command::read(LUN, 0, 8, 512).encode(1, 32);
    let window = guest.memory().allocate(8192, 4096).unwrap();
    window.write(0, &header);
    let at = window.gpa().0;
    (at, at + 1024, at + 4096)
}

fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor { addr, len, flags, next }
}

/// Writes descriptors from index 0 on, makes 0 available and rings.
fn send(guest: &mut Guest, descriptors: &[Descriptor]) {
    let queue = guest.split_queue(REQUESTS);
    for (index, descriptor) in descriptors.iter().enumerate() {
        queue.write_descriptor(index as u16, *descriptor);
    }
    queue.offer_head(0);
    kick(guest);
}

fn kick(guest: &mut Guest) {
    guest.split_queue(REQUESTS).publish();
    ring_bell(guest, REQUESTS);
}

fn ring_bell(guest: &mut Guest, queue: u16) {
    let (device, connection) = guest.registers();
    let doorbell = device.doorbell(connection, queue).unwrap();
    device.notify(connection, doorbell, queue).unwrap();
}

#[test]
fn indices_out_of_range() {
    let mut bench = Bench::new();
    bench.case("an avail index past the queue size", Broken, |guest| {
        let queue = guest.split_queue(REQUESTS);
        let index = queue.avail_idx();
        queue.set_avail_idx(index.wrapping_add(65));
        ring_bell(guest, REQUESTS);
    });
    bench.case("an avail index that goes back", Broken, |guest| {
        let queue = guest.split_queue(REQUESTS);
        let index = queue.avail_idx();
        queue.set_avail_idx(index.wrapping_sub(1));
        ring_bell(guest, REQUESTS);
    });
    for head in [64, 65, 0x7FFF, 0xFFFF] {
        bench.case("a head out of range", Broken, |guest| {
            guest.split_queue(REQUESTS).offer_head(head);
            kick(guest);
        });
    }
    bench.case("next out of range", Broken, |guest| {
        let (header, ..) = request(guest);
        send(guest, &[descriptor(header, 51, NEXT, 64)]);
    });
    bench.end();
}

#[test]
fn chains_without_end() {
    let mut bench = Bench::new();
    bench.case("a descriptor that is its own next", Broken, |guest| {
        let (header, ..) = request(guest);
        send(guest, &[descriptor(header, 51, NEXT, 0)]);
    });
    bench.case("a loop of writable descriptors", Broken, |guest| {
        let (header, response, data) = request(guest);
        let parts = [
            descriptor(header, 51, NEXT, 1),
            descriptor(response, 108, NEXT | WRITE, 2),
            descriptor(data, 512, NEXT | WRITE, 1),
        ];
        send(guest, &parts);
    });
    bench.case("a loop in an indirect table", Broken, |guest| {
        let (header, _, table) = request(guest);
        let window = guest.memory().window(Gpa(table), 32).unwrap();
        window.write(0, &descriptor(header, 51, NEXT, 1).encode());
        window.write(16, &descriptor(header, 51, NEXT, 0).encode());
        send(guest, &[descriptor(table, 32, INDIRECT, 0)]);
    });
    bench.end();
}

#[test]
fn indirect_tables_that_cannot_be() {
    let mut bench = Bench::new();
    for len in [0, 15, 17, 24, u32::MAX] {
        bench.case("an indirect table of a bad length", Broken, |guest| {
            let (_, _, table) = request(guest);
            send(guest, &[descriptor(table, len, INDIRECT, 0)]);
        });
    }
    bench.case("an indirect table that is not in memory", Broken, |guest| {
        send(guest, &[descriptor(NOWHERE, 32, INDIRECT, 0)]);
    });
    bench.case("a nested indirect table", Broken, |guest| {
        let (_, _, table) = request(guest);
        let window = guest.memory().window(Gpa(table), 16).unwrap();
        window.write(0, &descriptor(table, 16, INDIRECT, 0).encode());
        send(guest, &[descriptor(table, 16, INDIRECT, 0)]);
    });
    bench.case("an indirect table with a next", Broken, |guest| {
        let (header, response, table) = request(guest);
        let window = guest.memory().window(Gpa(table), 16).unwrap();
        window.write(0, &descriptor(header, 51, 0, 0).encode());
        send(guest, &[descriptor(table, 16, INDIRECT | NEXT, 1), descriptor(response, 108, WRITE, 0)]);
    });
    bench.case("next past the end of the table", Broken, |guest| {
        let (header, _, table) = request(guest);
        let window = guest.memory().window(Gpa(table), 64).unwrap();
        window.write(0, &descriptor(header, 51, NEXT, 2).encode());
        send(guest, &[descriptor(table, 32, INDIRECT, 0)]);
    });
    bench.end();
}

#[test]
fn parts_in_the_wrong_order_or_missing() {
    let mut bench = Bench::new();
    bench.case("readable after writable", Broken, |guest| {
        let (header, response, data) = request(guest);
        let parts = [
            descriptor(response, 108, NEXT | WRITE, 1),
            descriptor(header, 51, NEXT, 2),
            descriptor(data, 4096, WRITE, 0),
        ];
        send(guest, &parts);
    });
    bench.case("no response area", Any, |guest| {
        let (header, ..) = request(guest);
        send(guest, &[descriptor(header, 51, 0, 0)]);
    });
    bench.case("a response area that is too short", Any, |guest| {
        let (header, response, _) = request(guest);
        send(guest, &[descriptor(header, 51, NEXT, 1), descriptor(response, 11, WRITE, 0)]);
    });
    bench.case("a request header that is too short", Any, |guest| {
        let (header, response, _) = request(guest);
        send(guest, &[descriptor(header, 18, NEXT, 1), descriptor(response, 108, WRITE, 0)]);
    });
    bench.case("no request", Any, |guest| {
        let (_, response, _) = request(guest);
        send(guest, &[descriptor(response, 108, WRITE, 0)]);
    });
    bench.case("descriptors of no length", Any, |guest| {
        let (header, response, data) = request(guest);
        let parts =
            [descriptor(header, 0, NEXT, 1), descriptor(response, 0, NEXT | WRITE, 2), descriptor(data, 0, WRITE, 0)];
        send(guest, &parts);
    });
    bench.end();
}

#[test]
fn addresses_that_are_not_memory() {
    let mut bench = Bench::new();
    let end = 0x10_0000 + (16 << 20);
    for address in [NOWHERE, end, end - 50, u64::MAX - 20, 0] {
        bench.case("a header that is not in memory", Any, |guest| {
            let (_, response, _) = request(guest);
            send(guest, &[descriptor(address, 51, NEXT, 1), descriptor(response, 108, WRITE, 0)]);
        });
        bench.case("a response that is not in memory", Any, |guest| {
            let (header, ..) = request(guest);
            send(guest, &[descriptor(header, 51, NEXT, 1), descriptor(address, 108, WRITE, 0)]);
        });
        bench.case("data that is not in memory", Any, |guest| {
            let (header, response, _) = request(guest);
            let parts = [
                descriptor(header, 51, NEXT, 1),
                descriptor(response, 108, NEXT | WRITE, 2),
                descriptor(address, 4096, WRITE, 0),
            ];
            send(guest, &parts);
        });
    }
    bench.end();
}

#[test]
fn lengths_past_all_memory() {
    let mut bench = Bench::new();
    bench.case("a total past 2^32", Any, |guest| {
        let (header, response, data) = request(guest);
        let mut parts = vec![descriptor(header, 51, NEXT, 1), descriptor(response, 108, NEXT | WRITE, 2)];
        for next in 3..9 {
            parts.push(descriptor(data, u32::MAX, NEXT | WRITE, next));
        }
        parts.push(descriptor(data, 16, WRITE, 0));
        send(guest, &parts);
    });
    bench.case("a header of 4 GiB", Any, |guest| {
        let (header, response, _) = request(guest);
        send(guest, &[descriptor(header, u32::MAX, NEXT, 1), descriptor(response, 108, WRITE, 0)]);
    });
    bench.case("the same buffer many times over", Any, |guest| {
        let (header, response, data) = request(guest);
        let mut parts = vec![descriptor(header, 51, NEXT, 1), descriptor(response, 108, NEXT | WRITE, 2)];
        for next in 3..63 {
            parts.push(descriptor(data, 4096, NEXT | WRITE, next));
        }
        parts.push(descriptor(data, 4096, WRITE, 0));
        send(guest, &parts);
    });
    bench.end();
}

#[test]
fn buffers_that_overlap_the_rings() {
    let mut bench = Bench::new();
    for part in 0..3 {
        bench.case("data that is read into a ring", Any, |guest| {
            let (header, response, _) = request(guest);
            let ring = guest.split_queue(REQUESTS).windows()[part].gpa().0;
            let parts = [
                descriptor(header, 51, NEXT, 1),
                descriptor(response, 108, NEXT | WRITE, 2),
                descriptor(ring, 64, WRITE, 0),
            ];
            send(guest, &parts);
        });
        bench.case("a response that is written to a ring", Any, |guest| {
            let (header, ..) = request(guest);
            let ring = guest.split_queue(REQUESTS).windows()[part].gpa().0;
            send(guest, &[descriptor(header, 51, NEXT, 1), descriptor(ring, 108, WRITE, 0)]);
        });
    }
    bench.end();
}

/// Starts the device with one request queue, whose rings are where `place` moves them (given the register and a good
/// address), with something in the avail ring.
fn start_on_rings(guest: &mut Guest, place: impl Fn(u64, u64) -> u64) {
    guest.reset().unwrap();
    guest.negotiate().unwrap();
    guest.memory().window(Gpa(0x20_4000), 8).unwrap().write(0, &[0, 0, 3, 0, 0, 0, 1, 0]);
    let (device, connection) = guest.registers();
    device.select(connection, REQUESTS).unwrap();
    for (field, good) in FIELDS.into_iter().zip([0x20_0000, 0x20_4000, 0x20_8000]) {
        let address = place(field, good);
        device.set_common(connection, field, &(address as u32).to_le_bytes()).unwrap();
        device.set_common(connection, field + 4, &((address >> 32) as u32).to_le_bytes()).unwrap();
    }
    device.set_common(connection, registers::QUEUE_ENABLE, &1u16.to_le_bytes()).unwrap();
    device.driver_ok(connection).unwrap();
    let doorbell = device.doorbell(connection, REQUESTS).unwrap();
    device.notify(connection, doorbell, REQUESTS).unwrap();
}

#[test]
fn rings_that_are_nowhere_or_not_aligned() {
    let mut bench = Bench::new();
    for field in FIELDS {
        for address in [NOWHERE, 0x10_0001, 0x10_0000 + (16 << 20) - 8, u64::MAX - 7] {
            bench.case("a ring at a bad address", Any, |guest| {
                start_on_rings(guest, |good_field, good| if good_field == field { address } else { good });
            });
        }
    }
    bench.case("all three rings at one address", Any, |guest| start_on_rings(guest, |_, _| 0x20_0000));
    bench.end();
}

#[test]
fn control_and_event_queues_are_no_way_in() {
    let mut bench = Bench::new();
    for len in [0, 1, 4, 8, 23, 25, 4096] {
        bench.case("a control request of a bad length", Any, |guest| {
            guest.submit_control(&vec![0; len], 1, &Shape::default()).unwrap();
        });
    }
    bench.case("a control request without room for an answer", Any, |guest| {
        guest.submit_control(&[0; 24], 0, &Shape::default()).unwrap();
    });
    bench.case("a control request of an unknown type", Any, |guest| {
        guest.submit_control(&[0xFF; 24], 8, &Shape::default()).unwrap();
    });
    bench.case("event buffers that cannot hold an event", Any, |guest| {
        let window = guest.memory().allocate(16, 16).unwrap().gpa().0;
        let queue = guest.split_queue(1);
        queue.write_descriptor(0, descriptor(window, 3, WRITE, 0));
        queue.write_descriptor(1, descriptor(window, 16, 0, 0));
        queue.write_descriptor(2, descriptor(NOWHERE, 16, WRITE, 0));
        (0..3).for_each(|head| queue.offer_head(head));
        queue.publish();
        ring_bell(guest, 1);
    });
    bench.end();
}

#[test]
fn a_request_that_changes_while_it_is_served_ends_once() {
    let mut bench = Bench::new();
    let guest = &mut bench.guest;
    let header = guest.memory().allocate(51, 8).unwrap();
    let response = guest.memory().allocate(108, 8).unwrap();
    let data = guest.memory().allocate(4096, 4096).unwrap();
    let good = Command::read(LUN, 0, 8, 512).encode(1, 32);
    let other = Command::read(Lun::new(77, 3), u64::MAX, u32::MAX, 512).encode(u64::MAX, 32);
    let parts = [
        descriptor(header.gpa().0, 51, NEXT, 61),
        descriptor(response.gpa().0, 108, NEXT | WRITE, 62),
        descriptor(data.gpa().0, 4096, WRITE, 0),
    ];
    for round in 0..400 {
        header.write(0, &good);
        let queue = guest.split_queue(REQUESTS);
        for (index, part) in parts.iter().enumerate() {
            queue.write_descriptor(60 + index as u16, *part);
        }
        queue.expect_head(60);
        queue.offer_head(60);
        if round % 8 == 0 {
            kick(guest);
        } else {
            queue.publish();
        }
        // Some changes come before the device has looked, some after.
        for at in 0..51 {
            header.write(at, &other[at..=at]);
        }
        let queue = guest.split_queue(REQUESTS);
        queue.write_descriptor(61, descriptor(NOWHERE, u32::MAX, NEXT, 61));
        let start = std::time::Instant::now();
        while guest.split_queue(REQUESTS).poll().unwrap().is_none() {
            if needs_reset(guest) {
                guest.reset().unwrap();
                guest.start().unwrap();
                break;
            }
            kick(guest);
            assert!(start.elapsed() < STEP_LIMIT, "request {round} never ends");
        }
    }
    alive(&mut bench.neighbour);
    revive(&mut bench.guest);
    bench.end();
}

#[test]
fn memory_that_is_cut_off_behind_the_mapping_is_survived() {
    let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let regions = vec![(Gpa(0x10_0000), 4 << 20), (Gpa(0x1000_0000), 1 << 20)];
    let mut guest = target.guest_on("a.sock", Options { regions, ..Options::default() });
    settle(&mut guest, LUN);
    // The guest's own side never touches the second region again.
    let region = guest.memory().regions().nth(1).unwrap().clone();
    rustix::fs::ftruncate(region.file(), 0).unwrap();
    let (header, response, _) = request(&mut guest);
    let parts = [
        descriptor(header, 51, NEXT, 1),
        descriptor(response, 108, NEXT | WRITE, 2),
        descriptor(region.gpa().0, 4096, WRITE, 0),
    ];
    send(&mut guest, &parts);
    target.until("need of a reset", || guest.status().unwrap() & annulus_bench::guest::spec::status::NEEDS_RESET != 0);
    alive(&mut neighbour);
    revive(&mut guest);
    // A header, a response and an indirect table there.
    for case in 0..3 {
        let (header, response, _) = request(&mut guest);
        let gone = region.gpa().0;
        let parts = match case {
            0 => vec![descriptor(gone, 51, NEXT, 1), descriptor(response, 108, WRITE, 0)],
            1 => vec![descriptor(header, 51, NEXT, 1), descriptor(gone, 108, WRITE, 0)],
            _ => vec![descriptor(gone, 64, INDIRECT, 0)],
        };
        send(&mut guest, &parts);
        alive(&mut neighbour);
        revive(&mut guest);
        verify_on(&mut guest, 0, 3, 3);
    }
    target.stop();
}
