//! No request and no result is left lying that comes at the moment when a CPU falls asleep, whatever the rings are like.

mod common;

use std::time::Duration;

use annulus_bench::Options;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::feature;
use common::aim::{Tally, leave_the_cpu_of_the_target};
use common::io::{LUN, settle};
use common::racer::Racer;
use common::{SOCKET, Target, cpumask, directory, image};

/// What `--idle adaptive` polls for before it sleeps.
const ADAPTIVE: Duration = Duration::from_micros(200);
/// About as long as a CPU takes to fall asleep that does not poll first.
const AT_ONCE: Duration = Duration::from_micros(3);
/// The logical unit of the second disk.
const SECOND: Lun = Lun::new(1, 0);
/// About as long as a result of a file takes.
const A_RESULT: Duration = Duration::from_micros(20);
/// Request queues of a controller with several.
const QUEUES_MAX: u16 = 3;

/// A target with so many queues, all on one CPU.
fn serve(idle: &str, queues: u16, disks: &[&str]) -> Target {
    let (mask, queues) = (cpumask(1), queues.to_string());
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    let common = ["--cpumask", &mask, "--idle", idle, "--queues", &queues, "--socket", SOCKET];
    Target::serve(dir, &[&common[..], disks].concat())
}

/// Every kind of ring of a driver with interrupts.
fn kinds() -> impl Iterator<Item = (&'static str, u64)> {
    let plain = Options::default().features & !feature::EVENT_IDX;
    [
        ("split", plain),
        ("split, event index", plain | feature::EVENT_IDX),
        ("packed", plain | feature::RING_PACKED),
        ("packed, event index", plain | feature::RING_PACKED | feature::EVENT_IDX),
    ]
    .into_iter()
}

/// A driver with such rings, on a CPU that is not the target's.
fn with_racer<R: Send>(target: &Target, name: &str, features: u64, run: impl FnOnce(Racer<'_>) -> R + Send) -> R {
    let options =
        Options { features, request_queues: QUEUES_MAX, queue_size: 16, own_client: true, ..Options::default() };
    let mut guest = target.guest_on(SOCKET, options);
    assert_eq!(guest.features(), features);
    settle(&mut guest, LUN);
    settle(&mut guest, SECOND);
    let run = || {
        leave_the_cpu_of_the_target();
        run(Racer::new(&mut guest, name))
    };
    let done = std::thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Races on every kind of ring, with one and several queues, until device and driver have won `wins` times each.
fn race_on_all_rings(idle: &str, asleep_after: Duration, wins: u32) {
    for queues in [1, QUEUES_MAX] {
        let target = serve(idle, queues, &["--disk", "mem:size=4M", "--disk", "mem:size=4M"]);
        for (kind, features) in kinds() {
            let name = format!("{kind}, request queues: {queues}, idle {idle}");
            let tally = with_racer(&target, &name, features, |mut racer| racer.run(asleep_after, wins, read));
            check(&name, tally);
        }
        target.stop();
    }
}

fn check(name: &str, tally: Tally) {
    println!("{name}: {tally:?}");
    assert!(tally.early.min(tally.late) > 0, "{name}: there was no race: {tally:?}");
}

/// A READ of any one block.
fn read(random: u64) -> Command {
    Command::read(LUN, random % 8192, 1, 512)
}

#[test]
fn no_request_is_left_by_a_cpu_that_falls_asleep_at_once() {
    race_on_all_rings("sleep", AT_ONCE, 1000);
}

#[test]
fn no_request_is_left_by_a_cpu_that_has_polled_for_a_while() {
    race_on_all_rings("adaptive", ADAPTIVE, 400);
}

/// The CPU falls asleep while a thread reads for it, or one of the kernel flushes.
#[test]
fn no_result_is_left_that_comes_when_a_cpu_falls_asleep() {
    let flush = |_| Command::new(LUN, cdb::synchronize_cache_10(0, 0));
    let quick = |random| Command::read(SECOND, random % 8192, 1, 512);
    for (disk, slow) in [("threads:disk.img", read as fn(u64) -> Command), ("uring:disk.img", flush)] {
        let target = serve("sleep", QUEUES_MAX, &["--disk", disk, "--disk", "mem:size=4M"]);
        let features = Options::default().features;
        let tally = with_racer(&target, disk, features, |mut racer| racer.run_for_results(A_RESULT, 1500, slow, quick));
        check(disk, tally);
        target.stop();
    }
}
