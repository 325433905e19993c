//! What the steps of an I/O cost, in instructions, and which cache lines they touch: run under valgrind by `scripts/counts`
//! and `scripts/lines`, in a build of their own, and so no tests of the usual kind.
//!
//! It is here and not in `benches/`, for here is the one room that may look into all others, and the bed with its guests.

mod file;
mod lines;
mod loops;
mod passes;
mod rings;
mod steps;

use std::hint::black_box;

/// Runs of a step before those that count: lists have the length then that they keep.
const WARM_UP: usize = 64;
/// Runs that count. A multiple of the entries of all rings, so that each place of a ring is used as often.
const ROUNDS: usize = 256;

/// Callgrind counts what happens in here, and nothing else.
#[inline(never)]
fn counted(step: impl FnOnce()) {
    step();
    black_box(());
}

/// Callgrind writes down what it has counted when this ends.
#[inline(never)]
fn part_ends(name: &str, steps: usize) {
    println!("counted\t{name}\t{steps}");
}

/// Counts `step`, which does `steps` times what `name` says, each time after `prepare`.
fn measure<S>(name: &str, steps: usize, mut state: S, prepare: impl Fn(&mut S), step: impl Fn(&mut S)) {
    for _ in 0..WARM_UP {
        prepare(&mut state);
        step(&mut state);
    }
    for _ in 0..ROUNDS {
        prepare(&mut state);
        counted(|| step(black_box(&mut state)));
    }
    // What the last run left is looked at, too.
    prepare(&mut state);
    part_ends(name, ROUNDS * steps);
}

#[test]
#[ignore = "scripts/counts runs it"]
fn every_step() {
    rings::measure_all();
    steps::measure_all();
    passes::measure_all();
    loops::measure_all();
}
