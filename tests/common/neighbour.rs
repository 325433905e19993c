//! The disk beside the one that something happens to: it is written and read all the while, and nothing may go wrong with it.

use std::collections::HashMap;

use annulus_bench::Guest;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun, Response};

use super::io::pattern;

/// Places on the disk that are written and read in turn, each by one request at a time.
const PLACES: usize = 8;
/// Blocks of a place.
const BLOCKS: u64 = 8;

/// A load on a disk with blocks of 512 bytes, which needs a request queue of its own.
pub struct Neighbour {
    lun: Lun,
    queue: u16,
    /// What each place holds, or is to hold, and whether that is being read.
    places: [(u64, bool); PLACES],
    /// The place that a request is about.
    sent: HashMap<u64, usize>,
    /// Requests that have ended, all of them well.
    pub ended: usize,
}

impl Neighbour {
    /// Begins to use the disk.
    pub fn start(guest: &mut Guest, lun: Lun, queue: u16) -> Self {
        let mut neighbour = Self { lun, queue, places: [(1, false); PLACES], sent: HashMap::new(), ended: 0 };
        for place in 0..PLACES {
            neighbour.send(guest, place);
        }
        guest.flush(queue).expect("the target lives");
        neighbour
    }

    /// Takes what has ended, and sends as much.
    pub fn pass(&mut self, guest: &mut Guest) {
        while let Some(ended) = guest.poll(self.queue).expect("the target keeps the rules") {
            let place = self.take(ended.id, ended.response);
            self.send(guest, place);
        }
        guest.flush(self.queue).expect("the target lives");
    }

    /// Waits for so many more to end, and then for all.
    pub fn end(mut self, guest: &mut Guest, more: usize) {
        let enough = self.ended + more;
        while !self.sent.is_empty() {
            let ended = guest.wait(self.queue).expect("the neighbour does not hang");
            let place = self.take(ended.id, ended.response);
            if self.ended < enough {
                self.send(guest, place);
                guest.flush(self.queue).expect("the target lives");
            }
        }
    }

    fn send(&mut self, guest: &mut Guest, place: usize) {
        let (version, reads) = self.places[place];
        let lba = place as u64 * BLOCKS;
        let command = if reads {
            Command::read(self.lun, lba, BLOCKS as u32, 512)
        } else {
            Command::write(self.lun, lba, 512, bytes(place, version))
        };
        let id = guest.enqueue(self.queue, &command, &Shape::default()).expect("room");
        self.sent.insert(id, place);
    }

    fn take(&mut self, id: u64, response: Response) -> usize {
        let place = self.sent.remove(&id).expect("each ends once");
        let data = response.good().expect("nothing is wrong with the neighbour").data;
        let (version, reads) = self.places[place];
        assert!(!reads || data == bytes(place, version), "the neighbour has other data than were written");
        self.places[place] = if reads { (version + 1, false) } else { (version, true) };
        self.ended += 1;
        place
    }
}

fn bytes(place: usize, version: u64) -> Vec<u8> {
    pattern(version << 8 | place as u64, BLOCKS as usize * 512)
}
