use std::ptr::NonNull;

use super::*;

const CHUNK: usize = 1 << 20;
const SLOTS: usize = 100;

/// Memory that nobody touches.
fn memory(start: usize, len: usize) -> Segment {
    // SAFETY: never read nor written.
    unsafe { Segment::new(NonNull::new(start as *mut u8).unwrap(), len) }
}

struct Bench {
    registry: Registry,
    now: Instant,
}

fn bench() -> Bench {
    Bench { registry: Registry::new(CHUNK, SLOTS), now: Instant::now() }
}

impl Bench {
    fn want(&mut self, start: usize, len: usize) -> (AreaId, Keep) {
        let keep: Keep = Arc::new(());
        (self.registry.want(memory(start, len), keep.clone()), keep)
    }

    /// Pins all that is to be pinned. Gives starts and slots in the order of the work.
    fn pin_all(&mut self) -> Vec<(usize, u16)> {
        let next = |registry: &mut Registry| {
            let job = registry.next_job()?;
            let chunk = (job.chunk.start(), job.chunk.slot);
            registry.finish(job, true);
            Some(chunk)
        };
        std::iter::from_fn(|| next(&mut self.registry)).collect()
    }

    fn published(&self) -> Vec<(usize, usize)> {
        self.registry.published().iter().map(|chunk| (chunk.start(), chunk.memory.len())).collect()
    }
}

#[test]
fn areas_are_cut_into_chunks_and_take_turns() {
    let mut bench = bench();
    bench.want(64 * CHUNK, 2 * CHUNK + 4096);
    bench.want(CHUNK, 2 * CHUNK);
    let order = [(64, 0), (1, 1), (65, 2), (2, 3), (66, 4)].map(|(start, slot)| (start * CHUNK, slot));
    assert_eq!(bench.pin_all(), order);
    let all = [(1, CHUNK), (2, CHUNK), (64, CHUNK), (65, CHUNK), (66, 4096)];
    assert_eq!(bench.published(), all.map(|(start, len)| (start * CHUNK, len)));
}

#[test]
fn memory_that_comes_back_soon_is_not_pinned_again() {
    let mut bench = bench();
    let (id, _keep) = bench.want(CHUNK, CHUNK);
    assert_eq!(bench.pin_all().len(), 1);
    assert!(bench.registry.release(id, bench.now).is_none());
    assert!(bench.registry.expire(bench.now + LINGER / 2).is_none());
    let (again, _keep) = bench.want(CHUNK, CHUNK);
    assert_eq!(again, id);
    assert!(bench.pin_all().is_empty());
    assert!(bench.registry.expire(bench.now + LINGER * 2).is_none(), "it is wanted");
    assert_eq!(bench.published().len(), 1);
}

#[test]
fn memory_that_stays_away_is_kept_until_no_core_has_it() {
    let mut bench = bench();
    let (id, keep) = bench.want(CHUNK, CHUNK);
    bench.pin_all();
    let core = bench.registry.published();
    assert!(bench.registry.release(id, bench.now).is_none());
    assert_eq!(bench.registry.next_deadline(bench.now), Some(bench.now + LINGER));
    assert!(bench.registry.expire(bench.now + LINGER).is_some());
    assert!(bench.published().is_empty());
    assert!(bench.registry.next_unused().is_none(), "a core has it");
    assert!(Arc::strong_count(&keep) > 1);
    drop(core);
    let chunk = bench.registry.next_unused().unwrap();
    bench.registry.forget(chunk.slot);
    drop(chunk);
    assert_eq!(Arc::strong_count(&keep), 1, "it may be unmapped");
    bench.want(9 * CHUNK, CHUNK);
    assert_eq!(bench.pin_all(), [(9 * CHUNK, 0)], "its place is free");
    assert_eq!(bench.registry.next_deadline(bench.now), None);
}

#[test]
fn memory_that_was_never_pinned_goes_at_once() {
    let mut bench = bench();
    let (id, keep) = bench.want(CHUNK, CHUNK);
    drop(bench.registry.release(id, bench.now));
    assert_eq!(Arc::strong_count(&keep), 1);
    assert!(bench.pin_all().is_empty());
}

#[test]
fn memory_that_is_being_pinned_stays_until_that_is_done() {
    let mut bench = bench();
    let (id, keep) = bench.want(CHUNK, 2 * CHUNK);
    let job = bench.registry.next_job().unwrap();
    assert!(bench.registry.release(id, bench.now).is_none());
    assert!(bench.registry.expire(bench.now + LINGER).is_none());
    bench.registry.finish(job, true);
    assert!(bench.registry.next_job().is_none(), "nobody wants the rest");
    assert!(bench.registry.expire(bench.now + LINGER).is_some());
    assert!(bench.registry.next_unused().is_some());
    assert_eq!(Arc::strong_count(&keep), 1);
}

#[test]
fn memory_that_is_refused_is_left_alone() {
    let mut bench = bench();
    let (id, keep) = bench.want(CHUNK, 3 * CHUNK);
    let job = bench.registry.next_job().unwrap();
    bench.registry.finish(job, false);
    assert!(bench.registry.next_job().is_none() && bench.published().is_empty());
    bench.want(9 * CHUNK, CHUNK);
    assert_eq!(bench.pin_all(), [(9 * CHUNK, 0)], "its place is free");
    assert!(bench.registry.release(id, bench.now).is_none());
    drop(bench.registry.expire(bench.now + LINGER));
    assert_eq!(Arc::strong_count(&keep), 1);
}

#[test]
fn a_client_that_maps_and_unmaps_in_a_loop_keeps_a_bounded_number_of_mappings() {
    let mut bench = bench();
    for number in 1..=1000 {
        let (id, _) = bench.want(number * CHUNK, CHUNK);
        bench.pin_all();
        assert!(bench.registry.release(id, bench.now).is_none());
        drop(bench.registry.expire(bench.now));
        while let Some(chunk) = bench.registry.next_unused() {
            bench.registry.forget(chunk.slot);
        }
        assert!(bench.registry.areas.len() <= LINGERING_MAX + 1);
    }
    assert_eq!(bench.published().len(), LINGERING_MAX);
    assert!(bench.published().contains(&(1000 * CHUNK, CHUNK)), "the oldest go first");
}

#[test]
fn when_all_places_are_taken_the_rest_waits() {
    let mut bench = bench();
    let (id, _) = bench.want(CHUNK, SLOTS * CHUNK);
    assert_eq!(bench.pin_all().len(), SLOTS);
    bench.want((SLOTS + 2) * CHUNK, CHUNK);
    assert!(bench.pin_all().is_empty());
    assert!(bench.registry.release(id, bench.now).is_none());
    drop(bench.registry.expire(bench.now + LINGER));
    while let Some(chunk) = bench.registry.next_unused() {
        bench.registry.forget(chunk.slot);
    }
    assert_eq!(bench.pin_all().len(), 1);
}
