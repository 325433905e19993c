//! A load that tests count by: everything that a driver does, in many sizes and any layout.

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::scsi::Command;

use super::io::LUN;

/// Request queues that it uses.
pub const QUEUES: u16 = 2;
/// Commands in flight in each queue.
pub const DEPTH: usize = 60;

/// The `turn`th command of the load.
fn command(turn: usize) -> (Command, Shape) {
    let blocks = [1, 8, 1, 2, 1, 1, 16, 1][turn % 8];
    let lba = (turn * 37 % 16_000) as u64;
    let command = match turn % 5 {
        0 | 1 => Command::read(LUN, lba, blocks, 512),
        2 | 3 => Command::write(LUN, lba, 512, vec![turn as u8; blocks as usize * 512]),
        _ if turn % 1005 == 4 => Command::new(LUN, cdb::synchronize_cache_10(0, 0)),
        _ => Command::data_in(LUN, cdb::inquiry(None, 96), 96),
    };
    let shape = match turn % 4 {
        0 => Shape::default(),
        1 => Shape::default().indirect(),
        // More pieces than a small request has.
        2 => Shape::of(Framing::Segments(512)).indirect(),
        _ => Shape { data_offset: 8, ..Shape::default() }.indirect(),
    };
    (command, shape)
}

/// Keeps all queues full until so many commands have ended.
pub fn load(guest: &mut Guest, commands: usize) {
    let (mut sent, mut ended) = (0, 0);
    while ended < commands {
        let before = ended;
        for queue in 0..QUEUES {
            while sent < commands && guest.in_flight(queue) < DEPTH {
                let (command, shape) = command(sent);
                guest.enqueue(queue, &command, &shape).expect("room");
                sent += 1;
            }
            guest.flush(queue).expect("the target lives");
            while let Some(completion) = guest.poll(queue).expect("the target keeps the rules") {
                completion.response.good().expect("the command succeeds");
                ended += 1;
            }
        }
        if ended == before {
            std::thread::yield_now();
        }
    }
}
