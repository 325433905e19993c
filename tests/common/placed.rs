//! Requests whose data lies just where a test wants it, in one descriptor.

use annulus_bench::Guest;
use annulus_bench::guest::memory::{Gpa, Window};
use annulus_bench::guest::queue::Piece;
use annulus_bench::guest::scsi::Command;

/// One descriptor for data that begins `before` bytes below `border` and goes on above it.
pub fn across(guest: &mut Guest, border: Gpa, before: usize, len: usize) -> [Window; 2] {
    let memory = guest.memory();
    [memory.window(Gpa(border.0 - before as u64), before).unwrap(), memory.window(border, len - before).unwrap()]
}

/// Sends a READ or WRITE whose data is one descriptor at `data`, and waits for its end.
pub fn execute_at(guest: &mut Guest, command: &Command, data: Gpa, len: usize, writes: bool) {
    let header = command.encode(1, 32);
    let meta = guest.memory().allocate(1024, 512).unwrap();
    meta.write(0, &header);
    meta.write(512, &[0xFF; 12]);
    let request = Piece { gpa: meta.gpa(), len: 51, device_writes: false };
    let response = Piece { gpa: meta.gpa().plus(512), len: 108, device_writes: true };
    let data = Piece { gpa: data, len: len as u32, device_writes: !writes };
    let chain = if writes { [request, data, response] } else { [request, response, data] };
    let queue = guest.queue(2);
    queue.add(&chain).unwrap();
    if queue.publish() {
        guest.ring_bell(2).unwrap();
    }
    super::until("completion", || guest.queue(2).poll().unwrap().is_some());
    assert_eq!(meta.to_vec()[512..524], [0; 12], "GOOD, and nothing missing");
    guest.memory().free(&meta);
}
