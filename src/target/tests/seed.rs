//! The seeds of a random test: those that are always run and a fresh one, or those that somebody asks for; and which one it was
//! that failed.

use std::ops::Range;
use std::time::SystemTime;

/// Runs this seed alone, `ANNULUS_SEED=17 cargo test simulation`, or those from one to before another, as `17..1017`.
const SEED_VARIABLE: &str = "ANNULUS_SEED";
/// Seeds after which progress is told.
const PROGRESS: u64 = 50;

/// Runs `life` with each seed: the first `fixed` and a fresh one, unless others are asked for.
pub(super) fn with_seeds(fixed: u64, life: impl Fn(u64)) {
    let given = std::env::var(SEED_VARIABLE).ok();
    let fresh = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let seeds = given.as_deref().map_or_else(|| vec![0..fixed, fresh..fresh + 1], |text| vec![parse(text)]);
    for range in seeds {
        for seed in range.clone() {
            let _told = TellSeed(seed);
            life(seed);
            let count = seed - range.start + 1;
            if count.is_multiple_of(PROGRESS) {
                eprintln!("{count} of {} seeds from {} on", range.end - range.start, range.start);
            }
        }
    }
}

fn parse(text: &str) -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a seed is a number");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(text)..number(text) + 1,
    }
}

/// Tells the seed of a failure.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {SEED_VARIABLE}={}", self.0);
        }
    }
}

#[test]
fn seeds_are_asked_for_by_number_or_by_range() {
    assert_eq!((parse("17"), parse("17..1017")), (17..18, 17..1017));
}
