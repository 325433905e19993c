//! What a suite has found, as `suite.json` holds it: every run, the machine, what was left out.
//!
//! Plain data. Tables, goals and plots are made of this and of nothing else, so that they can be made again.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::load::placed::Where;
use crate::load::report::Report;

/// Version of the file's layout.
pub const VERSION: u32 = 1;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Where and how it was measured.
    pub machine: Machine,
    /// Comparisons, in the order in which they were made.
    pub points: Vec<Point>,
    /// Figures that stand alone.
    pub figures: Vec<Figure>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// Where and how it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the CPUs.
    pub cpu: String,
    /// CPUs that could be used.
    pub cpus: usize,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Commit of the source, `-dirty` if it was changed since. Empty if it is not known.
    pub commit: String,
    /// The command that makes it again.
    pub command: String,
    /// When it began: seconds since 1970, UTC.
    pub began_unix_s: u64,
    /// How long it took, in seconds.
    pub took_s: f64,
}

/// Sides that were run in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What is compared: `depth` is the matrix.
    pub series: String,
    /// Name of the disk: null, mem, file, loop, or the disk as it was given.
    pub disk: String,
    /// Requests in flight on each queue.
    pub depth: u16,
    /// Queues under load.
    pub queues: u16,
    /// The sides.
    pub sides: Vec<Side>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Its name, of its own within the point.
    pub name: String,
    /// Name of the side that it is compared with, if any.
    pub against: Option<String>,
    /// What was run, in words that can be typed.
    pub command: String,
    /// Every run that counts.
    pub runs: Vec<Run>,
    /// Runs that were thrown away because the CPUs moved meanwhile.
    pub thrown_away: u32,
}

/// One run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Requests a second.
    pub iops: f64,
    /// Latencies in microseconds: mean,
    pub mean_us: f64,
    /// 50 %,
    pub p50_us: f64,
    /// 99 %,
    pub p99_us: f64,
    /// 99.9 %,
    pub p999_us: f64,
    /// 99.99 %,
    pub p9999_us: f64,
    /// and the longest.
    pub max_us: f64,
    /// CPUs that the load's own threads used.
    pub load_cpus: f64,
    /// CPUs that the target used, all its threads together, if it is known. io_uring alone has no target.
    pub target_cpus: Option<f64>,
    /// Where the CPUs sat: `one core`, `one complex`, `apart`; `any` if there is no pair, or nobody asked.
    pub place: String,
    /// Nanoseconds of a cache line's round trip before and after.
    pub ping_pong_ns: Option<(f64, f64)>,
}

impl Run {
    /// Of a report; `None` if the CPUs moved while it was measured.
    pub fn of(report: &Report) -> Option<Self> {
        let (place, ping_pong_ns) = match &report.placement {
            None => ("any".to_owned(), None),
            Some(found) => (found.placement?.to_string(), Some((found.before_ns, found.after_ns))),
        };
        let latency = &report.total.latency;
        Some(Self {
            iops: report.total.iops,
            mean_us: latency.mean_us,
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
            p9999_us: latency.p9999_us,
            max_us: latency.max_us,
            load_cpus: report.load_cpus,
            target_cpus: report.target_cpus,
            place,
            ping_pong_ns,
        })
    }
}

/// A figure that stands alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, a word for programs.
    pub name: String,
    /// What it is, for people.
    pub text: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// Where the two CPUs sat, if it is one of two CPUs and somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Distance>,
}

impl Figure {
    /// One that does not depend on two CPUs, or of which nobody knows yet where they sat.
    pub fn new(name: &str, text: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), text: text.into(), value, unit: unit.into(), pair: None }
    }
}

/// Where two CPUs sat while a figure was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// `one core`, `one complex`, `apart`; none if they moved each time that it was taken.
    pub place: Option<String>,
    /// Nanoseconds of a cache line's round trip before and after.
    pub ping_pong_ns: (f64, f64),
}

impl From<Where> for Distance {
    fn from(found: Where) -> Self {
        let place = found.placement.map(|place| place.to_string());
        Self { place, ping_pong_ns: (found.before_ns, found.after_ns) }
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.ping_pong_ns;
        let place = self.place.as_deref().unwrap_or("the CPUs moved");
        write!(f, "{place}, {before:.0} and {after:.0} ns")
    }
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name of the series or figure.
    pub series: String,
    /// Why.
    pub why: String,
}

impl Record {
    /// Reads it from a file.
    ///
    /// # Errors
    /// There is none, or it is no such record.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let record: Self = serde_json::from_str(&text).with_context(|| format!("{name} is no result of a suite"))?;
        ensure!(record.version == VERSION, "{name} has version {}, not {VERSION}", record.version);
        Ok(record)
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Points of a series.
    pub fn series(&self, name: &str) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.series == name)
    }

    /// Why a series or figure was left out, if it was.
    pub fn why_left_out(&self, series: &str) -> Option<&str> {
        self.left_out.iter().find(|left| left.series == series).map(|left| left.why.as_str())
    }
}

impl Point {
    /// A side by its name.
    pub fn side(&self, name: &str) -> Option<&Side> {
        self.sides.iter().find(|side| side.name == name)
    }

    /// Placements that runs of this point saw, in order of their distance.
    pub fn places(&self) -> Vec<&str> {
        let mut places: Vec<_> = self.sides.iter().flat_map(|side| &side.runs).map(|run| run.place.as_str()).collect();
        places.sort_by_key(|place| rank(place));
        places.dedup();
        places
    }
}

/// Order of placements: the nearest first.
pub(super) fn rank(place: &str) -> (usize, &str) {
    let known = ["any", "one core", "one complex", "apart"];
    (known.iter().position(|&known| known == place).unwrap_or(known.len()), place)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load::pingpong::Placement;

    /// A run with this rate, placement and mean latency; the percentiles are 1, 2, 3, 4 times that.
    pub fn run(iops: f64, mean_us: f64, place: &str) -> Run {
        Run {
            iops,
            mean_us,
            p50_us: mean_us,
            p99_us: 2.0 * mean_us,
            p999_us: 3.0 * mean_us,
            p9999_us: 4.0 * mean_us,
            place: place.into(),
            ..Run::default()
        }
    }

    /// A side with these rates in one placement.
    pub fn side(name: &str, against: Option<&str>, iops: &[f64], place: &str) -> Side {
        Side {
            name: name.into(),
            against: against.map(Into::into),
            command: format!("annulus-bench {name}"),
            runs: iops.iter().map(|&iops| run(iops, 1e6 / iops, place)).collect(),
            thrown_away: 0,
        }
    }

    pub fn point(series: &str, disk: &str, depth: u16, queues: u16, sides: Vec<Side>) -> Point {
        Point { series: series.into(), disk: disk.into(), depth, queues, sides }
    }

    pub fn record(points: Vec<Point>) -> Record {
        let machine = Machine {
            cpu: "AMD EPYC".into(),
            cpus: 2,
            memory_mib: 24_000,
            kernel: "6.18.44".into(),
            commit: "0123456789ab".into(),
            command: "annulus-bench suite --quick".into(),
            began_unix_s: 1_700_000_000,
            took_s: 61.0,
        };
        Record { version: VERSION, machine, points, figures: Vec::new(), left_out: Vec::new() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = record(vec![point("depth", "null", 1, 1, vec![side("split", None, &[1e6], "apart")])]);
        record.points[0].sides[0].runs[0].ping_pong_ns = Some((300.0, 310.5));
        record.left_out.push(LeftOut { series: "reactors".into(), why: "two CPUs".into() });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(Record::read(file.path()).unwrap(), record);
        assert_eq!(record.why_left_out("reactors"), Some("two CPUs"));
    }

    #[test]
    fn a_figure_says_where_the_cpus_sat_if_somebody_asked() {
        let found = |after_ns, placement| Where {
            cpus: (0, 1),
            before_ns: 90.4,
            after_ns,
            before: Placement::OneComplex,
            after: Placement::of(after_ns),
            placement,
            thrown_away: 0,
        };
        let still = Distance::from(found(91.6, Some(Placement::OneComplex)));
        assert_eq!(still.to_string(), "one complex, 90 and 92 ns");
        assert_eq!(Distance::from(found(301.0, None)).to_string(), "the CPUs moved, 90 and 301 ns");
        // Records of before have figures without.
        let figure = Figure::new("wake-p50", "wake", 17.0, "us");
        let text = serde_json::to_string(&figure).unwrap();
        assert!(!text.contains("pair"), "{text}");
        assert_eq!(serde_json::from_str::<Figure>(&text).unwrap(), figure);
    }

    #[test]
    fn other_files_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Record::read(file.path()).is_err(), "empty");
        let mut other = record(Vec::new());
        other.version = 2;
        std::fs::write(file.path(), serde_json::to_string(&other).unwrap()).unwrap();
        assert!(format!("{:#}", Record::read(file.path()).unwrap_err()).contains("version 2"));
    }

    #[test]
    fn placements_come_in_order_of_distance() {
        let mut first = side("a", None, &[1.0], "apart");
        first.runs.push(run(1.0, 1.0, "one core"));
        let point = point("depth", "null", 1, 1, vec![first, side("b", None, &[1.0], "one complex")]);
        assert_eq!(point.places(), ["one core", "one complex", "apart"]);
    }

    #[test]
    fn a_run_during_which_the_cpus_moved_does_not_count() {
        use crate::load::{crew::Outcome, stats::Stats};
        let outcome = Outcome { stats: Stats::default(), load_cpus: 0.5, target_cpus: None };
        let place = |placement| Where {
            cpus: (0, 1),
            before_ns: 90.0,
            after_ns: 400.0,
            before: Placement::OneComplex,
            after: Placement::Apart,
            placement,
            thrown_away: 4,
        };
        let of = |place| Run::of(&Report::new("run", String::new(), &outcome, place));
        assert_eq!(of(Some(place(None))), None);
        assert_eq!(of(Some(place(Some(Placement::Apart)))).unwrap().place, "apart");
        assert_eq!(of(None).unwrap().place, "any");
    }
}
