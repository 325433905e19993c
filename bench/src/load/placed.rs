//! Figures that depend on where two CPUs sit: taken again if that changed meanwhile.

use anyhow::Result;
use serde::Serialize;

use super::pingpong::{self, Placement};

/// Runs that may be thrown away.
const RETRIES: u32 = 4;

/// Where the two CPUs of a run sat.
#[derive(Debug, Clone, Serialize)]
pub struct Where {
    /// The two CPUs.
    pub cpus: (usize, usize),
    /// Nanoseconds of a cache line's round trip before the run.
    pub before_ns: f64,
    /// The same after it.
    pub after_ns: f64,
    /// What the first time means.
    pub before: Placement,
    /// What the second means.
    pub after: Placement,
    /// What both times mean; `None` if they differ: then the figures mean nothing.
    pub placement: Option<Placement>,
    /// Runs that were thrown away because the placement changed.
    pub thrown_away: u32,
}

/// Takes a figure of two CPUs; again, if they moved meanwhile and nobody wants to stop.
///
/// # Errors
/// Those of `run`; there is no such CPU for us.
pub fn run<T>(
    cpus: Option<(usize, usize)>,
    is_stopped: impl Fn() -> bool,
    mut run: impl FnMut() -> Result<T>,
) -> Result<(T, Option<Where>)> {
    let Some((first, second)) = cpus else { return Ok((run()?, None)) };
    let mut thrown_away = 0;
    loop {
        let before_ns = pingpong::measure(first, second)?;
        let result = run()?;
        let after_ns = pingpong::measure(first, second)?;
        let (before, after) = (Placement::of(before_ns), Placement::of(after_ns));
        if before != after && thrown_away < RETRIES && !is_stopped() {
            eprintln!("the CPUs moved during the run ({before_ns:.0} ns before, {after_ns:.0} ns after): once more");
            thrown_away += 1;
            continue;
        }
        let placement = (before == after).then_some(before);
        return Ok((
            result,
            Some(Where { cpus: (first, second), before_ns, after_ns, before, after, placement, thrown_away }),
        ));
    }
}
