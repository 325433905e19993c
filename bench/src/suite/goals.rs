//! The figures that the target must reach, and whether a record shows that it does.
//!
//! Each is a share of something measured in the same run and in the same placement of the CPUs, but for the few that stand
//! alone. What was not measured is said, never guessed.

use std::fmt;

use super::judge::{self, Pair};
use super::plan;
use super::record::{Point, Record};

/// Who the peer is, for those who read its figures.
pub const PEER: &str = "The peer is SPDK's target with a `malloc` disk under SPDK's own load generator: 4 KiB random reads, one \
    CPU on each side, on a virtual machine of 2 CPUs (EPYC, Linux 6.18), where a cache line took 90 ns there and back on one \
    complex and 485 ns apart. Which version it was, and with what options, is not known.";
/// Requests a second that it gives: placement, depth, rate.
const PEER_MEM_IOPS: [(&str, u16, f64); 6] = [
    ("one complex", 1, 0.91e6),
    ("one complex", 32, 1.35e6),
    ("one complex", 128, 1.42e6),
    ("apart", 1, 0.45e6),
    ("apart", 32, 1.20e6),
    ("apart", 128, 1.21e6),
];
/// How often that the target must give.
const PEER_FACTOR: f64 = 1.5;
/// Shares of raw io_uring that the disks of the suite's own must give at depth 32, and any other one.
const SHARES_OF_RAW: [(&str, f64); 2] = [("loop", 0.95), ("ext4 file", 0.97)];
const SHARE_OF_RAW: f64 = 0.95;

/// Whether a goal is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    NotMet,
    /// Nobody measured it.
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::NotMet => "NOT met",
            Self::NotMeasured => "not measured",
        })
    }
}

/// One goal in one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What is looked at.
    pub what: String,
    /// What it must be.
    pub wanted: String,
    /// What it is, or why nobody knows.
    pub measured: String,
    /// What follows.
    pub verdict: Verdict,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, measured, verdict } = self;
        write!(f, "goal {what}: {wanted}; measured {measured}: {verdict}")
    }
}

/// All goals.
pub fn evaluate(record: &Record) -> Vec<Finding> {
    let mut found = Vec::new();
    for ring in ["split", "packed"] {
        let limit = format!("{ring} limit");
        for depth in [32, 128] {
            let what = format!("null, depth {depth}, {ring}");
            share(
                &mut found,
                record,
                Compare { what, series: "depth", disk: "null", depth, side: ring, base: &limit },
                0.5,
            );
        }
        latency(&mut found, record, ring, &limit);
    }
    at_most(&mut found, record, "instructions", "null, depth 32: instructions an I/O", 350.0);
    peer(&mut found, record);
    raw(&mut found, record);
    for (series, side, base, least) in [
        ("busy", "1 of 64 queues", "1 queue", 0.85),
        ("luns", "256 LUNs", "1 LUN", 0.95),
        ("regions", "32 regions", "1 region", 0.95),
        ("regions", "32 regions", plan::SCATTERED, 0.95),
        ("tables", "packed, tables", "split, tables", 1.0),
        ("reactors", "two together", "alone", 0.97),
        ("idle", "adaptive", "spin", 0.98),
    ] {
        let what = format!("null, depth 32: {side} beside {base}");
        share(&mut found, record, Compare { what, series, disk: "null", depth: 32, side, base }, least);
    }
    packed(&mut found, record);
    at_most(&mut found, record, "idle-cpu", "CPU time of 16 idle controllers", 1.0);
    at_most(&mut found, record, "memory", "memory of a controller with 4 queues of 256", 8.0);
    at_most(&mut found, record, "start", "start to listening", 50.0);
    found
}

/// Two sides of a point of one queue.
struct Compare<'a> {
    what: String,
    series: &'a str,
    disk: &'a str,
    depth: u16,
    side: &'a str,
    base: &'a str,
}

impl Compare<'_> {
    fn point<'a>(&self, record: &'a Record) -> Option<&'a Point> {
        let is_it = |point: &&Point| point.disk == self.disk && point.depth == self.depth && point.queues == 1;
        record.series(self.series).find(is_it)
    }

    fn pairs<'a>(&self, record: &'a Record) -> Vec<Pair<'a>> {
        self.point(record).map_or_else(Vec::new, |point| judge::pairs(point, self.side, self.base))
    }

    fn missing(&self, record: &Record, wanted: String) -> Finding {
        let why = record
            .why_left_out(self.series)
            .or_else(|| record.why_left_out(self.side))
            .or_else(|| record.why_left_out(self.disk))
            .or_else(|| self.point(record).map(|_| "no two runs in the same placement"));
        not_measured(self.what.clone(), wanted, why)
    }
}

fn not_measured(what: String, wanted: String, why: Option<&str>) -> Finding {
    let measured = why.unwrap_or("nothing: it was not asked for").to_owned();
    Finding { what, wanted, measured, verdict: Verdict::NotMeasured }
}

fn verdict(is_met: bool) -> Verdict {
    if is_met { Verdict::Met } else { Verdict::NotMet }
}

fn runs(pair: &Pair) -> String {
    format!("({}, {} + {} runs)", pair.place, pair.side.runs, pair.base.runs)
}

/// A side gives at least `least` of its base.
fn share(found: &mut Vec<Finding>, record: &Record, compare: Compare, least: f64) {
    let wanted = format!("at least {:.0} % of {}", least * 100.0, compare.base);
    let pairs = compare.pairs(record);
    if pairs.is_empty() {
        found.push(compare.missing(record, wanted.clone()));
    }
    for pair in pairs {
        let point = compare.point(record).expect("what was compared is there");
        let of_limit = limits(point, &pair, plan::limit_beside(compare.side), plan::limit_beside(compare.base));
        let measured = format!("{:.1} % {}{of_limit}", pair.ratio() * 100.0, runs(&pair));
        let verdict = verdict(pair.ratio() >= least);
        found.push(Finding { what: compare.what.clone(), wanted: wanted.clone(), measured, verdict });
    }
}

/// Files and devices beside io_uring alone.
fn raw(found: &mut Vec<Finding>, record: &Record) {
    let others = record.series("depth").filter(|point| point.side("raw").is_some()).map(|point| point.disk.as_str());
    let mut disks = SHARES_OF_RAW.to_vec();
    for disk in others {
        if disks.iter().all(|&(known, _)| known != disk) {
            disks.push((disk, SHARE_OF_RAW));
        }
    }
    for (disk, least) in disks {
        let what = format!("{disk}, depth 32, split, beside raw io_uring");
        let compare = Compare { what, series: "depth", disk, depth: 32, side: "split", base: "raw" };
        share(found, record, compare, least);
    }
}

/// Mean latency at depth 1: at most twice that of the limit.
fn latency(found: &mut Vec<Finding>, record: &Record, ring: &str, limit: &str) {
    let what = format!("null, depth 1, {ring}: mean latency");
    let wanted = format!("at most 2 times {limit}");
    let compare = Compare { what, series: "depth", disk: "null", depth: 1, side: ring, base: limit };
    let pairs = compare.pairs(record);
    if pairs.is_empty() {
        found.push(compare.missing(record, wanted.clone()));
    }
    for pair in pairs {
        let (side, base) = (pair.side.run.mean_us, pair.base.run.mean_us);
        let measured = format!("{:.2} times, {side:.2} and {base:.2} us {}", pair.latency_ratio(), runs(&pair));
        let verdict = verdict(pair.latency_ratio() <= 2.0);
        found.push(Finding { what: compare.what.clone(), wanted: wanted.clone(), measured, verdict });
    }
}

/// The memory disk beside the nearest peer's.
fn peer(found: &mut Vec<Finding>, record: &Record) {
    for depth in [1, 32, 128] {
        let what = format!("mem, depth {depth}, split");
        let compare = Compare { what, series: "depth", disk: "mem", depth, side: "split", base: "split" };
        let pairs = compare.pairs(record);
        if pairs.is_empty() {
            found.push(compare.missing(record, format!("at least {PEER_FACTOR} times the peer's rate")));
        }
        for pair in pairs {
            let place = pair.place;
            let peer = PEER_MEM_IOPS.iter().find(|&&(at, of, _)| (at, of) == (place, depth));
            let iops = pair.side.run.iops;
            let what = compare.what.clone();
            found.push(match peer {
                Some(&(.., rate)) => {
                    let wanted = format!("at least {PEER_FACTOR} times the peer's {:.2} M IOPS", rate / 1e6);
                    let measured = format!(
                        "{:.2} times, {:.2} M IOPS ({place}, {} runs)",
                        iops / rate,
                        iops / 1e6,
                        pair.side.runs
                    );
                    Finding { what, wanted, measured, verdict: verdict(iops >= PEER_FACTOR * rate) }
                }
                None => {
                    let wanted = format!("at least {PEER_FACTOR} times the peer's rate");
                    let measured = format!("{:.2} M IOPS ({place}), where nobody measured the peer", iops / 1e6);
                    Finding { what, wanted, measured, verdict: Verdict::NotMeasured }
                }
            });
        }
    }
}

/// Packed rings are at least as fast as split ones, wherever both were run without a disk in the way.
fn packed(found: &mut Vec<Finding>, record: &Record) {
    let mut seen = false;
    let points =
        record.series("depth").filter(|point| ["null", "mem"].contains(&point.disk.as_str()) && point.queues == 1);
    for point in points {
        for pair in judge::pairs(point, "packed", "split") {
            seen = true;
            found.push(Finding {
                what: format!("{}, depth {}: packed beside split", point.disk, point.depth),
                wanted: "at least 100 %".to_owned(),
                measured: format!(
                    "{:.1} % {}{}",
                    pair.ratio() * 100.0,
                    runs(&pair),
                    limits(point, &pair, "packed limit".into(), "split limit".into())
                ),
                verdict: verdict(pair.ratio() >= 1.0),
            });
        }
    }
    if !seen {
        let why = record.why_left_out("packed");
        found.push(not_measured("packed beside split".into(), "at least 100 %".into(), why));
    }
}

/// The same of the device loop, where it ran in the same placement: it tells what the CPUs and their driver make of it.
fn limits(point: &Point, pair: &Pair<'_>, side: String, base: String) -> String {
    let limits = judge::pairs(point, &side, &base);
    let same = limits.iter().find(|limits| limits.place == pair.place);
    same.map_or_else(String::new, |limits| format!("; the device loop's: {:.1} %", limits.ratio() * 100.0))
}

/// A figure that stands alone.
fn at_most(found: &mut Vec<Finding>, record: &Record, name: &str, what: &str, most: f64) {
    let unit = |unit: &str| if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match record.figure(name) {
        Some(figure) => found.push(Finding {
            what: what.to_owned(),
            wanted: format!("at most {most}{}", unit(&figure.unit)),
            measured: format!("{:.2}{}", figure.value, unit(&figure.unit)),
            verdict: verdict(figure.value <= most),
        }),
        None => found.push(not_measured(what.to_owned(), format!("at most {most}"), record.why_left_out(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, record, side};
    use super::super::record::{Figure, LeftOut};
    use super::*;

    fn lines(record: &Record, start: &str) -> Vec<String> {
        let found = evaluate(record).iter().map(ToString::to_string).collect::<Vec<_>>();
        found.into_iter().filter(|line| line.starts_with(&format!("goal {start}"))).collect()
    }

    #[test]
    fn a_share_is_judged_in_each_placement() {
        let mut target = side("split", Some("split limit"), &[5.0, 5.0], "apart");
        target.runs.extend(side("split", None, &[49.0], "one core").runs);
        let mut limit = side("split limit", None, &[10.0], "apart");
        limit.runs.extend(side("", None, &[100.0], "one core").runs);
        let record = record(vec![point("depth", "null", 32, 1, vec![target, limit])]);
        assert_eq!(
            lines(&record, "null, depth 32, split"),
            [
                "goal null, depth 32, split: at least 50 % of split limit; measured 49.0 % (one core, 1 + 1 runs): NOT met",
                "goal null, depth 32, split: at least 50 % of split limit; measured 50.0 % (apart, 2 + 1 runs): met",
            ]
        );
    }

    #[test]
    fn latency_at_depth_1_may_be_twice_the_limit() {
        for (iops, end) in [(0.5e6, "met"), (0.49e6, "NOT met")] {
            let sides = vec![side("split", None, &[iops], "apart"), side("split limit", None, &[1e6], "apart")];
            let line = lines(&record(vec![point("depth", "null", 1, 1, sides)]), "null, depth 1, split").remove(0);
            assert!(line.ends_with(&format!("runs): {end}")), "{line}");
        }
    }

    #[test]
    fn the_peer_is_beaten_where_somebody_measured_it() {
        let mut target = side("split", None, &[1.81e6], "apart");
        target.runs.extend(side("split", None, &[2.0e6], "one complex").runs);
        target.runs.extend(side("split", None, &[9.0e6], "one core").runs);
        let found = lines(&record(vec![point("depth", "mem", 32, 1, vec![target])]), "mem, depth 32");
        assert!(found[0].ends_with("where nobody measured the peer: not measured"), "{found:?}");
        assert!(found[1].ends_with("measured 1.48 times, 2.00 M IOPS (one complex, 1 runs): NOT met"), "{found:?}");
        assert!(found[2].ends_with("measured 1.51 times, 1.81 M IOPS (apart, 1 runs): met"), "{found:?}");
    }

    #[test]
    fn any_disk_beside_raw_has_a_goal() {
        let disk = |name, iops| {
            let sides = vec![side("split", Some("raw"), &[iops], "any"), side("raw", None, &[100.0], "any")];
            point("depth", name, 32, 1, sides)
        };
        let record = record(vec![disk("/dev/nvme0n1", 95.0), disk("/dev/vdb", 94.0), disk("loop", 94.0)]);
        let goal = "depth 32, split, beside raw io_uring: at least";
        for line in [
            format!("goal /dev/nvme0n1, {goal} 95 % of raw; measured 95.0 % (any, 1 + 1 runs): met"),
            format!("goal /dev/vdb, {goal} 95 % of raw; measured 94.0 % (any, 1 + 1 runs): NOT met"),
            format!("goal loop, {goal} 95 % of raw; measured 94.0 % (any, 1 + 1 runs): NOT met"),
        ] {
            assert!(lines(&record, "").contains(&line), "{line} is not in {:#?}", lines(&record, ""));
        }
    }

    #[test]
    fn packed_rings_must_not_be_slower_at_all() {
        for (iops, end) in [(10.0, "met"), (9.99, "NOT met")] {
            let sides = vec![side("packed", None, &[iops], "apart"), side("split", None, &[10.0], "apart")];
            let line = lines(&record(vec![point("depth", "mem", 8, 1, sides)]), "mem, depth 8: packed").remove(0);
            assert!(line.ends_with(&format!("runs): {end}")), "{line}");
        }
    }

    #[test]
    fn what_the_limit_makes_of_both_rings_stands_beside_that() {
        let mut sides = vec![side("packed", None, &[8.0], "apart"), side("split", None, &[10.0], "apart")];
        sides.extend([side("packed limit", None, &[9.0], "apart"), side("split limit", None, &[12.0], "apart")]);
        let line = lines(&record(vec![point("depth", "null", 8, 1, sides)]), "null, depth 8: packed").remove(0);
        assert!(line.ends_with("80.0 % (apart, 1 + 1 runs); the device loop's: 75.0 %: NOT met"), "{line}");
    }

    #[test]
    fn what_the_limit_makes_of_many_units_stands_beside_that() {
        let mut sides = vec![side("256 LUNs", Some("1 LUN"), &[8.0], "apart"), side("1 LUN", None, &[10.0], "apart")];
        let line = |sides: &[_]| {
            lines(&record(vec![point("luns", "null", 32, 1, sides.to_vec())]), "null, depth 32: 256 LUNs").remove(0)
        };
        assert!(line(&sides).ends_with("80.0 % (apart, 1 + 1 runs): NOT met"), "{}", line(&sides));
        sides.extend([side("limit, 256 LUNs", Some("limit, 1 LUN"), &[9.0], "apart")]);
        sides.extend([side("limit, 1 LUN", None, &[10.0], "apart")]);
        assert!(line(&sides).contains("runs); the device loop's: 90.0 %: NOT"), "{}", line(&sides));
    }

    #[test]
    fn figures_that_stand_alone_have_a_bound() {
        let mut record = record(Vec::new());
        let figure = |value| Figure::new("start", "", value, "ms");
        record.figures = vec![figure(50.0)];
        assert_eq!(lines(&record, "start"), ["goal start to listening: at most 50 ms; measured 50.00 ms: met"]);
        record.figures = vec![figure(50.1)];
        assert!(lines(&record, "start")[0].ends_with("50.10 ms: NOT met"));
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let mut record = record(Vec::new());
        record.left_out.push(LeftOut { series: "reactors".into(), why: "it takes four CPUs".into() });
        let line = lines(&record, "null, depth 32: two together").remove(0);
        assert!(line.ends_with("measured it takes four CPUs: not measured"), "{line}");
        assert!(evaluate(&record).iter().all(|finding| finding.verdict == Verdict::NotMeasured));
    }
}
