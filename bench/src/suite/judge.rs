//! Compares sides of a point: medians of the runs that saw one placement of the CPUs, never of several.

use super::record::{self, Point, Run, Side};

/// Medians of a side in one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Medians {
    /// How many runs they are of.
    pub runs: usize,
    /// Each figure's own median.
    pub run: Run,
}

/// A side beside the one that it is compared with, in one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    /// The placement.
    pub place: &'a str,
    /// The side.
    pub side: Medians,
    /// What it is compared with.
    pub base: Medians,
}

impl Pair<'_> {
    /// Requests a second, as a share of the other side's.
    pub fn ratio(&self) -> f64 {
        self.side.run.iops / self.base.run.iops
    }

    /// Mean latency, as a multiple of the other side's.
    pub fn latency_ratio(&self) -> f64 {
        self.side.run.mean_us / self.base.run.mean_us
    }
}

/// Medians of the runs that saw `place`; `None` if there is no such run.
pub fn medians(side: &Side, place: &str) -> Option<Medians> {
    let runs: Vec<_> = side.runs.iter().filter(|run| run.place == place).collect();
    if runs.is_empty() {
        return None;
    }
    let of = |field: fn(&Run) -> f64| median(runs.iter().map(|run| field(run)).collect());
    let target_cpus: Vec<_> = runs.iter().filter_map(|run| run.target_cpus).collect();
    let run = Run {
        iops: of(|run| run.iops),
        mean_us: of(|run| run.mean_us),
        p50_us: of(|run| run.p50_us),
        p99_us: of(|run| run.p99_us),
        p999_us: of(|run| run.p999_us),
        p9999_us: of(|run| run.p9999_us),
        max_us: of(|run| run.max_us),
        load_cpus: of(|run| run.load_cpus),
        target_cpus: (!target_cpus.is_empty()).then(|| median(target_cpus)),
        place: place.to_owned(),
        ping_pong_ns: None,
    };
    Some(Medians { runs: runs.len(), run })
}

/// The middle one; the mean of the two in the middle if their number is even.
///
/// # Panics
/// There is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "there is something to take the middle of");
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// Two sides of a point in each placement that both of them saw.
pub fn pairs<'a>(point: &'a Point, side: &str, base: &str) -> Vec<Pair<'a>> {
    let (Some(side), Some(base)) = (point.side(side), point.side(base)) else { return Vec::new() };
    let pair = |place| Some(Pair { place, side: medians(side, place)?, base: medians(base, place)? });
    point.places().into_iter().filter_map(pair).collect()
}

/// How far apart the two CPUs were in the runs that saw one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Span<'a> {
    /// The placement.
    pub place: &'a str,
    /// Runs that saw it.
    pub runs: usize,
    /// The shortest and the longest time that a cache line took there and back, before a run or after it, in nanoseconds.
    pub ns: (f64, f64),
}

/// That of each placement that was seen, the nearest first. Runs without a pair of CPUs do not count.
pub fn spans<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<Span<'a>> {
    let mut found: Vec<Span<'a>> = Vec::new();
    for run in points.flat_map(|point| &point.sides).flat_map(|side| &side.runs) {
        let Some((before, after)) = run.ping_pong_ns else { continue };
        let (least, most) = (before.min(after), before.max(after));
        match found.iter_mut().find(|span| span.place == run.place) {
            Some(Span { runs, ns, .. }) => (*runs, *ns) = (*runs + 1, (ns.0.min(least), ns.1.max(most))),
            None => found.push(Span { place: &run.place, runs: 1, ns: (least, most) }),
        }
    }
    found.sort_by_key(|span| record::rank(span.place));
    found
}

/// The placement that most runs of all points saw, for those who show one only.
pub fn usual_place<'a>(points: impl Iterator<Item = &'a Point>) -> Option<&'a str> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for run in points.flat_map(|point| &point.sides).flat_map(|side| &side.runs) {
        match counts.iter_mut().find(|(place, _)| *place == run.place) {
            Some((_, count)) => *count += 1,
            None => counts.push((&run.place, 1)),
        }
    }
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, run, side};
    use super::*;

    #[test]
    fn medians_are_of_one_placement() {
        let mut side = side("split", None, &[5e6, 1e6, 9e6], "one complex");
        side.runs.extend([run(2.0, 8.0, "apart"), run(4.0, 6.0, "apart")]);
        let near = medians(&side, "one complex").unwrap();
        assert_eq!((near.runs, near.run.iops), (3, 5e6));
        let far = medians(&side, "apart").unwrap();
        assert_eq!((far.runs, far.run.iops, far.run.mean_us, far.run.p99_us), (2, 3.0, 7.0, 14.0));
        assert_eq!(medians(&side, "one core"), None);
    }

    #[test]
    fn only_like_placements_are_compared() {
        let mut limit = side("limit", None, &[10.0], "apart");
        limit.runs.push(run(100.0, 1.0, "one core"));
        let target = side("split", Some("limit"), &[5.0], "apart");
        let point = point("depth", "null", 1, 1, vec![target, limit]);
        let pairs = pairs(&point, "split", "limit");
        assert_eq!(pairs.len(), 1);
        assert_eq!((pairs[0].place, pairs[0].ratio(), pairs[0].latency_ratio()), ("apart", 0.5, 2.0));
        assert!(super::pairs(&point, "split", "raw").is_empty());
    }

    #[test]
    fn how_far_apart_the_cpus_were_is_known_of_each_placement() {
        let of = |place, ns: &[(f64, f64)]| {
            let mut side = side("split", None, &vec![1.0; ns.len()], place);
            side.runs.iter_mut().zip(ns).for_each(|(run, &ns)| run.ping_pong_ns = Some(ns));
            point("depth", "null", 1, 1, vec![side])
        };
        let unknown = point("depth", "file", 1, 1, vec![side("split", None, &[1.0], "any")]);
        let points = [of("apart", &[(310.0, 300.0), (305.0, 485.0)]), of("one core", &[(46.0, 46.5)]), unknown];
        let found = spans(points.iter());
        let expected = [("one core", 1, (46.0, 46.5)), ("apart", 2, (300.0, 485.0))];
        assert_eq!(found, expected.map(|(place, runs, ns)| Span { place, runs, ns }));
    }

    #[test]
    fn the_usual_placement_is_that_of_most_runs() {
        let points = [
            point("depth", "null", 1, 1, vec![side("a", None, &[1.0, 2.0], "apart")]),
            point("depth", "null", 8, 1, vec![side("a", None, &[1.0, 2.0, 3.0], "one core")]),
        ];
        assert_eq!(usual_place(points.iter()), Some("one core"));
        assert_eq!(usual_place([].iter()), None);
    }
}
