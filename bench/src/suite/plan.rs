//! Which comparisons are made, out of which sides, and how long that takes. Decides all before anything runs.

use std::time::Duration;

use super::disks::{Disk, RawFile};
use super::options::SuiteOptions;
use super::sides::What;

/// Beside ramp and runtime: where the CPUs sit, start, connection, end.
const RUN_OVERHEAD: Duration = Duration::from_millis(80);
/// Requests of three descriptors that a ring of 256 entries holds.
const DIRECT_DEPTH_MAX: u16 = 85;
/// One region in which requests lie as far from each other as in many.
pub const SCATTERED: &str = "1 region, scattered";
/// How the names of the device loop's sides begin that stand beside those of a target.
const LIMIT_BESIDE: &str = "limit, ";
/// Queues, LUNs and regions that the cost of having many is shown by.
const MANY_QUEUES: [u16; 3] = [1, 8, 64];
const MANY_LUNS: [u16; 3] = [1, 16, 256];
const MANY_REGIONS: [u16; 3] = [1, 8, 32];
/// Depth at which they are compared.
const DEPTH: u16 = 32;

/// A comparison: sides that are run in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct PointPlan {
    /// As in [`Point`](super::record::Point).
    pub series: &'static str,
    /// As there.
    pub disk: String,
    /// As there.
    pub depth: u16,
    /// As there.
    pub queues: u16,
    /// What is compared.
    pub sides: Vec<SidePlan>,
}

/// One side.
#[derive(Debug, Clone, PartialEq)]
pub struct SidePlan {
    /// Its name.
    pub name: String,
    /// The side that it is compared with.
    pub against: Option<String>,
    /// What is run.
    pub what: What,
}

impl PointPlan {
    /// How long one round of all sides takes, about.
    pub fn round_time(&self, options: &SuiteOptions) -> Duration {
        (options.runtime() + options.ramp + RUN_OVERHEAD) * self.sides.len() as u32
    }
}

/// The words of a load that all share.
fn load(options: &SuiteOptions, depth: u16) -> Vec<String> {
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    words(&format!("--iodepth {depth} --runtime {} --ramp {}", ms(options.runtime()), ms(options.ramp)))
}

fn ring(depth: u16, queues: u16, ring: &str) -> Vec<String> {
    let indirect = if depth > DIRECT_DEPTH_MAX { " --indirect" } else { "" };
    words(&format!("--queues {queues} --ring {ring}{indirect}"))
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn with(mut first: Vec<String>, more: impl IntoIterator<Item = String>) -> Vec<String> {
    first.extend(more);
    first
}

/// The matrix of a disk: every depth and number of queues, split and packed, beside what limits them.
pub fn matrix(options: &SuiteOptions, disk: &Disk) -> Vec<PointPlan> {
    let mut points = Vec::new();
    for queues in options.queue_counts() {
        for depth in options.depths() {
            let sides = match &disk.raw {
                Some(file) => beside_raw(options, disk, file, (depth, queues)),
                None => beside_limit(options, disk, (depth, queues)),
            };
            points.push(PointPlan { series: "depth", disk: disk.name.clone(), depth, queues, sides });
        }
    }
    points
}

fn target(options: &SuiteOptions, disk: &Disk, (depth, queues): (u16, u16), kind: &str) -> What {
    What::Target {
        serve: words(&format!("--idle spin --queues {queues} --disk {}", disk.serve)),
        load: with(load(options, depth), ring(depth, queues, kind)),
        fill: disk.fill,
    }
}

fn beside_limit(options: &SuiteOptions, disk: &Disk, shape: (u16, u16)) -> Vec<SidePlan> {
    let (depth, queues) = shape;
    let mut sides = Vec::new();
    for kind in ["split", "packed"] {
        let limit = format!("{kind} limit");
        let what = target(options, disk, shape, kind);
        sides.push(SidePlan { name: kind.into(), against: Some(limit.clone()), what });
        let what = What::Limit { load: with(load(options, depth), ring(depth, queues, kind)) };
        sides.push(SidePlan { name: limit, against: None, what });
    }
    sides
}

fn beside_raw(options: &SuiteOptions, disk: &Disk, file: &RawFile, shape: (u16, u16)) -> Vec<SidePlan> {
    let (depth, queues) = shape;
    let mut sides: Vec<_> = ["split", "packed"]
        .into_iter()
        .map(|kind| SidePlan {
            name: kind.into(),
            against: Some("raw".into()),
            what: target(options, disk, shape, kind),
        })
        .collect();
    let way = match (file.buffered, file.iopoll) {
        (true, _) => " --buffered",
        (false, true) => " --iopoll",
        (false, false) => "",
    };
    let raw = with(load(options, depth), words(&format!("--queues {queues} --fixed{way}")));
    let what = What::Raw { file: file.path.clone(), load: raw };
    sides.push(SidePlan { name: "raw".into(), against: None, what });
    sides
}

/// The other comparisons that were asked for, all on a disk of nothing.
pub fn others(options: &SuiteOptions, has_two_pairs: bool) -> Vec<PointPlan> {
    let mut points = Vec::new();
    let point = |series, sides| PointPlan { series, disk: "null".into(), depth: DEPTH, queues: 1, sides };
    if options.wants("idle") {
        points.push(point("idle", idle(options)));
    }
    if options.wants("busy") {
        points.push(point("busy", busy(options)));
    }
    if options.wants("luns") {
        points.push(point("luns", luns(options)));
    }
    if options.wants("regions") {
        points.push(point("regions", regions(options)));
    }
    if options.wants("tables") {
        points.push(point("tables", tables(options)));
    }
    if options.wants("reactors") && has_two_pairs {
        points.push(point("reactors", reactors(options)));
    }
    points
}

/// A split ring's load on a target that serves `serve`.
fn on_null(options: &SuiteOptions, serve: String, more: &str) -> What {
    on_ring("split", options, serve, more)
}

fn on_ring(ring: &str, options: &SuiteOptions, serve: String, more: &str) -> What {
    let load = with(load(options, DEPTH), words(&format!("--ring {ring} {more}")));
    What::Target { serve: words(&serve), load, fill: 0 }
}

/// The first of these is what the others are compared with.
fn ladder(steps: Vec<(String, What)>) -> Vec<SidePlan> {
    let base = steps[0].0.clone();
    let against = |name: &String| (*name != base).then(|| base.clone());
    steps.into_iter().map(|(name, what)| SidePlan { against: against(&name), name, what }).collect()
}

fn idle(options: &SuiteOptions) -> Vec<SidePlan> {
    let step = |idle: &str| {
        let serve = format!("--idle {idle} --queues 1 --disk null:size=1T");
        (idle.to_owned(), on_null(options, serve, "--queues 1"))
    };
    ladder(vec![step("spin"), step("adaptive")])
}

fn busy(options: &SuiteOptions) -> Vec<SidePlan> {
    let steps = MANY_QUEUES.into_iter().map(|queues| {
        let serve = format!("--idle spin --queues {queues} --disk null:size=1T");
        let (name, more) = match queues {
            1 => ("1 queue".to_owned(), "--queues 1".to_owned()),
            _ => (format!("1 of {queues} queues"), format!("--queues {queues} --busy-queues 1")),
        };
        (name, on_null(options, serve, &more))
    });
    ladder(steps.collect())
}

fn luns(options: &SuiteOptions) -> Vec<SidePlan> {
    let more = |luns| if luns == 1 { String::new() } else { format!("--luns {luns}") };
    let steps = MANY_LUNS.into_iter().map(|luns| {
        let disks: String = (0..luns).map(|lun| format!(" --disk null:size=1T,target=0,lun={lun}")).collect();
        (plural(luns, "LUN"), on_null(options, format!("--idle spin --queues 1{disks}"), &more(luns)))
    });
    let limits = MANY_LUNS.into_iter().map(|luns| {
        let load = with(load(options, DEPTH), words(&format!("--ring split {}", more(luns))));
        (limit_beside(&plural(luns, "LUN")), What::Limit { load })
    });
    [ladder(steps.collect()), ladder(limits.collect())].concat()
}

/// Name of the device loop's side that has as many of something as this side of the target.
pub fn limit_beside(side: &str) -> String {
    format!("{LIMIT_BESIDE}{side}")
}

/// Whether that is the name of such a side.
pub fn is_limit_beside(name: &str) -> bool {
    name.starts_with(LIMIT_BESIDE)
}

fn regions(options: &SuiteOptions) -> Vec<SidePlan> {
    let side =
        |name: String, more: &str| (name, on_null(options, "--idle spin --queues 1 --disk null:size=1T".into(), more));
    let many = MANY_REGIONS.into_iter().map(|regions| side(plural(regions, "region"), &format!("--regions {regions}")));
    // In one region requests lie side by side. Where they are as far from each other as in many, what is left is the regions.
    let scattered = side(SCATTERED.to_owned(), "--scatter");
    ladder(many.chain([scattered]).collect())
}

/// Chains in indirect tables, as Linux makes them: a packed ring has one descriptor for each then, and not three that the
/// device's answers are written among.
fn tables(options: &SuiteOptions) -> Vec<SidePlan> {
    let step = |ring: &str| {
        let serve = "--idle spin --queues 1 --disk null:size=1T".to_owned();
        (format!("{ring}, tables"), on_ring(ring, options, serve, "--queues 1 --indirect"))
    };
    ladder(vec![step("split"), step("packed")])
}

fn reactors(options: &SuiteOptions) -> Vec<SidePlan> {
    let load = with(load(options, DEPTH), words("--ring split --queues 1"));
    let alone = on_null(options, "--idle spin --queues 1 --disk null:size=1T".into(), "--queues 1");
    ladder(vec![("alone".into(), alone), ("two together".into(), What::Two { load })])
}

fn plural(count: u16, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::options;
    use super::*;

    fn names(point: &PointPlan) -> Vec<(&str, Option<&str>)> {
        point.sides.iter().map(|side| (side.name.as_str(), side.against.as_deref())).collect()
    }

    #[test]
    fn each_ring_stands_beside_its_own_limit() {
        let points = matrix(&options("--depths 1,128 --queues 2"), &Disk::null());
        assert_eq!(points.iter().map(|point| (point.depth, point.queues)).collect::<Vec<_>>(), [(1, 2), (128, 2)]);
        let expected = [
            ("split", Some("split limit")),
            ("split limit", None),
            ("packed", Some("packed limit")),
            ("packed limit", None),
        ];
        assert_eq!(names(&points[0]), expected);
        let What::Limit { load } = &points[1].sides[3].what else { panic!("a limit") };
        assert_eq!(load.join(" "), "--iodepth 128 --runtime 500ms --ramp 100ms --queues 2 --ring packed --indirect");
        let What::Target { serve, .. } = &points[1].sides[2].what else { panic!("a target") };
        assert_eq!(serve.join(" "), "--idle spin --queues 2 --disk null:size=1T");
    }

    #[test]
    fn both_rings_of_a_file_stand_beside_the_file_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let disk = Disk::existing("disk".into(), file.path()).unwrap();
        let points = matrix(&options("--depths 32 --queues 1"), &disk);
        assert_eq!(names(&points[0]), [("split", Some("raw")), ("packed", Some("raw")), ("raw", None)]);
        let What::Raw { load, .. } = &points[0].sides[2].what else { panic!("raw") };
        assert!(load.join(" ").contains("--queues 1 --fixed"), "{load:?}");
        let path = file.path().to_owned();
        let polled = RawFile { path, buffered: false, iopoll: true };
        let sides = beside_raw(&options(""), &disk, &polled, (32, 1));
        let What::Raw { load, .. } = &sides[2].what else { panic!("raw") };
        assert!(load.join(" ").ends_with("--fixed --iopoll"), "{load:?}");
        sides[2].what.check().unwrap();
    }

    #[test]
    fn the_goals_find_what_they_compare() {
        let points = others(&options(""), true);
        let found = |series, name| {
            let point = points.iter().find(|point| point.series == series).unwrap();
            point.sides.iter().find(|side| side.name == name).unwrap().against.clone().unwrap()
        };
        assert_eq!(found("idle", "adaptive"), "spin");
        assert_eq!(found("busy", "1 of 64 queues"), "1 queue");
        assert_eq!(found("luns", "256 LUNs"), "1 LUN");
        assert_eq!(found("luns", "limit, 256 LUNs"), "limit, 1 LUN");
        assert_eq!(found("regions", "32 regions"), "1 region");
        assert_eq!(found("regions", SCATTERED), "1 region");
        assert_eq!(found("tables", "packed, tables"), "split, tables");
        assert_eq!(found("reactors", "two together"), "alone");
        assert!(others(&options("--only null"), true).is_empty());
        assert!(others(&options("--only reactors"), false).is_empty());
    }

    #[test]
    fn the_whole_fits_the_time_it_may_take() {
        let total = |words: &str| {
            let options = options(words);
            let file = tempfile::NamedTempFile::new().unwrap();
            let disks = [Disk::null(), Disk::mem(4096), Disk::existing("f".into(), file.path()).unwrap()];
            let points = disks.iter().flat_map(|disk| matrix(&options, disk)).chain(others(&options, false));
            points.map(|point| point.round_time(&options).as_secs() * u64::from(options.rounds())).sum::<u64>()
        };
        assert!(total("") < 20 * 60, "{} s", total(""));
        assert!(total("--quick") < 100, "{} s", total("--quick"));
    }
}
