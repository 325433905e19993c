//! What a controller takes of memory, apart from the guest's.

mod common;

use annulus_bench::{Guest, Options};
use common::io::{LUN, settle, verify_on};
use common::{Target, cpumask, directory};

/// Most bytes that a controller may take.
const CONTROLLER_MAX: u64 = 8 << 20;
const QUEUES: u16 = 4;
const MORE: u64 = 4;

/// A target with so many controllers whose queues have all been at work; their guests.
fn serve(controllers: u64) -> (Target, Vec<Guest>) {
    let (mask, queues) = (cpumask(1), QUEUES.to_string());
    let sockets: Vec<_> = (0..controllers).map(|number| format!("{number}.sock")).collect();
    let mut args = vec!["--cpumask", &mask, "--queues", &queues, "--disk", "mem:size=64M"];
    sockets.iter().for_each(|socket| args.extend(["--socket", socket]));
    let target = Target::serve(directory(), &args);
    let attach = |socket: &String| {
        let options = Options { request_queues: QUEUES, queue_size: 256, ..Options::default() };
        let mut guest = target.guest_on(socket, options);
        assert_eq!(guest.request_queues(), QUEUES);
        settle(&mut guest, LUN);
        // All write to the same blocks, so that their disk takes no more for more of them.
        (0..QUEUES).for_each(|queue| verify_on(&mut guest, queue, 0, 2048));
        guest
    };
    let guests = sockets.iter().map(attach).collect();
    (target, guests)
}

#[test]
fn a_controller_with_four_queues_takes_less_than_8_mib() {
    let (one, many) = (serve(1), serve(1 + MORE));
    let (least, most) = (one.0.private_bytes(), many.0.private_bytes());
    let each = most.saturating_sub(least) / MORE;
    println!("a target with one controller takes {least} bytes, each further one {each}");
    assert!(each > 1 << 16, "{each} bytes for slots and lists of four queues are too few to be true");
    assert!(each < CONTROLLER_MAX, "each controller takes {each} bytes");
    for (target, guests) in [one, many] {
        drop(guests);
        target.stop();
    }
}
