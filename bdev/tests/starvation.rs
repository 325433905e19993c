//! Disks that do not answer share a core with one that does: it gets through.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bdev::{
    Bdev, Channel, DelayBdev, Delays, Direct, FileBdev, FileOptions, Io, IoConfig, MemBdev, NullBdev, Op, SubmitError,
    Tag,
};
use support::place::Place;

const SIZE: u64 = 1 << 20;
const RESERVE: u32 = 8;

fn mem() -> Arc<dyn Bdev> {
    Arc::new(MemBdev::new(SIZE, 512).unwrap())
}

fn delayed(delay: Duration) -> DelayBdev {
    DelayBdev::new(mem(), Delays::all(delay))
}

/// Submits until there is no more room. Flushes need no memory.
fn fill(channel: &mut dyn Channel, io: &mut Io) -> u32 {
    for tag in 0.. {
        match channel.submit(io, &Op::FLUSH, Tag(tag)) {
            Ok(()) => {}
            Err(SubmitError::Full) => return tag as u32,
        }
    }
    unreachable!("a core has room for a bounded number")
}

fn gets_through_beside(stuck_count: u32, well: &dyn Bdev) {
    let config = IoConfig { entries: 64, channels: stuck_count + 1, reserve: RESERVE, ..IoConfig::default() };
    let mut io = Io::new(config);
    let stuck = delayed(Duration::from_secs(3600));
    let mut stuck: Vec<_> = (0..stuck_count).map(|_| stuck.channel(&mut io).unwrap()).collect();
    let mut channel = well.channel(&mut io).unwrap();
    let taken: u32 = stuck.iter_mut().map(|stuck| fill(stuck.as_mut(), &mut io)).sum();
    assert_eq!(taken, 64 + stuck_count * RESERVE, "the stuck disks hold all that is not somebody else's");
    let mut now_ns = 0;
    for _ in 0..100 {
        assert_eq!(fill(channel.as_mut(), &mut io), RESERVE, "{}", well.info().description);
        let mut left = RESERVE;
        while left > 0 {
            now_ns += 1_000;
            io.set_now_ns(now_ns);
            channel.poll(&mut io);
            io.submit();
            io.reap();
            while let Some(completion) = io.next_completion() {
                completion.result.unwrap();
                left -= 1;
            }
        }
    }
    assert_eq!(io.in_flight(), taken as usize);
}

#[test]
fn a_disk_gets_through_all_of_its_reserve_however_many_are_stuck() {
    let place = Place::on_tmpfs(SIZE);
    let file = FileBdev::open(&place.path, FileOptions { direct: Direct::Off, ..FileOptions::default() }).unwrap();
    let null = NullBdev::new(SIZE, 512).unwrap();
    let (mem, late) = (mem(), delayed(Duration::from_nanos(1_000)));
    let wells: [&dyn Bdev; 4] = [&null, mem.as_ref(), &late, &file];
    for well in wells {
        for stuck_count in [2, 40] {
            gets_through_beside(stuck_count, well);
        }
    }
}

#[test]
fn one_stuck_disk_leaves_half_of_the_rest() {
    let mut io = Io::new(IoConfig { entries: 64, reserve: RESERVE, ..IoConfig::default() });
    let (stuck, null) = (delayed(Duration::MAX), NullBdev::new(SIZE, 512).unwrap());
    let (mut stuck, mut well) = (stuck.channel(&mut io).unwrap(), null.channel(&mut io).unwrap());
    assert_eq!(fill(stuck.as_mut(), &mut io), RESERVE + 32);
    assert_eq!(fill(well.as_mut(), &mut io), RESERVE + 32);
}

#[test]
fn the_usual_sizes_hold_whatever_two_disks_with_many_queues_ask_for() {
    let mut io = Io::new(IoConfig { channels: 3, ..IoConfig::default() });
    let (stuck, null) = (delayed(Duration::MAX), NullBdev::new(SIZE, 512).unwrap());
    for _ in 0..2 {
        fill(stuck.channel(&mut io).unwrap().as_mut(), &mut io);
    }
    assert_eq!(fill(null.channel(&mut io).unwrap().as_mut(), &mut io), IoConfig::default().reserve);
}
