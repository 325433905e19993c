//! Which charts a record gives: rates over depth, latencies, the cost of having many.
//!
//! Each shows one placement of the CPUs, that of most runs, and says which; lines of which each compares within itself have
//! one of their own.

use super::judge;
use super::plan;
use super::record::{Point, Record, Side};
use crate::plot::{Chart, Legend, Line};

/// Depths whose latencies are shown.
const LATENCY_DEPTHS: [u16; 3] = [1, 32, 128];
/// Depth at which the cost of many queues is shown.
const DEPTH: u16 = 32;

/// A chart, and the name of its files without their ending.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Name of its files.
    pub stem: String,
    /// What it shows.
    pub chart: Chart,
}

/// All charts of a record.
pub fn all(record: &Record) -> Vec<Named> {
    let mut disks: Vec<&str> = Vec::new();
    for point in record.series("depth") {
        if !disks.contains(&point.disk.as_str()) {
            disks.push(&point.disk);
        }
    }
    let mut charts = Vec::new();
    for disk in disks {
        let points = of_disk(record, disk);
        let Some(place) = judge::usual_place(points.iter().copied()) else { continue };
        let stem = disk.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
        let stem = stem.collect::<Vec<_>>().join("-");
        charts.push(Named { stem: format!("{stem}-iops"), chart: rates(disk, place, &points) });
        charts.push(Named { stem: format!("{stem}-latency"), chart: latencies(disk, place, &points) });
    }
    charts.extend(cost(record).map(|chart| Named { stem: "cost".into(), chart }));
    charts
}

/// Points of a disk with the fewest queues, in order of depth.
fn of_disk<'a>(record: &'a Record, disk: &str) -> Vec<&'a Point> {
    let points = || record.series("depth").filter(|point| point.disk == disk);
    let fewest = points().map(|point| point.queues).min();
    let mut found: Vec<_> = points().filter(|point| Some(point.queues) == fewest).collect();
    found.sort_by_key(|point| point.depth);
    found
}

/// Names of the sides of several points, in order; rings and their limits share a colour.
fn sides<'a>(points: &[&'a Point]) -> Vec<&'a Side> {
    let mut found: Vec<&Side> = Vec::new();
    for side in points.iter().flat_map(|point| &point.sides) {
        if found.iter().all(|known| known.name != side.name) {
            found.push(side);
        }
    }
    found
}

fn colour(name: &str) -> usize {
    match name {
        name if name.starts_with("split") => 0,
        name if name.starts_with("packed") => 1,
        _ => 5,
    }
}

fn rates(disk: &str, place: &str, points: &[&Point]) -> Chart {
    let lines = sides(points).into_iter().map(|side| {
        let rate = |point: &&Point| Some(judge::medians(point.side(&side.name)?, place)?.run.iops);
        let values = points.iter().enumerate().filter_map(|(at, point)| Some((at as f64, rate(point)?)));
        let is_dashed = side.against.is_none();
        Line { name: side.name.clone(), colour: colour(&side.name), is_dashed, points: values.collect() }
    });
    Chart {
        title: format!("{disk}: 4 KiB random reads, CPUs: {place}"),
        x_label: "requests in flight".into(),
        y_label: "I/Os a second".into(),
        x_marks: points.iter().enumerate().map(|(at, point)| (at as f64, point.depth.to_string())).collect(),
        is_log: false,
        legend: Legend::UpperLeft,
        lines: lines.collect(),
    }
}

fn latencies(disk: &str, place: &str, points: &[&Point]) -> Chart {
    let mut lines = Vec::new();
    let shown = points.iter().filter(|point| LATENCY_DEPTHS.contains(&point.depth));
    for (colour, point) in shown.enumerate() {
        let Some(side) = point.sides.iter().find(|side| side.against.is_some()) else { continue };
        let base = side.against.as_deref().and_then(|base| point.side(base));
        for (side, is_dashed) in [(Some(side), false), (base, true)] {
            let Some(side) = side else { continue };
            let Some(found) = judge::medians(side, place) else { continue };
            let run = found.run;
            let values = [run.p50_us, run.p99_us, run.p999_us, run.p9999_us];
            let points = values.into_iter().enumerate().map(|(at, us)| (at as f64, us)).collect();
            let name = format!("{}, depth {}", side.name, point.depth);
            lines.push(Line { name, colour, is_dashed, points });
        }
    }
    let marks = ["50 %", "99 %", "99.9 %", "99.99 %"];
    Chart {
        title: format!("{disk}: latency of 4 KiB random reads, CPUs: {place}"),
        x_label: "of all requests took at most".into(),
        y_label: "microseconds".into(),
        x_marks: marks.into_iter().enumerate().map(|(at, mark)| (at as f64, mark.into())).collect(),
        is_log: true,
        legend: Legend::LowerRight,
        lines,
    }
}

/// What many queues, LUNs and regions leave of the rate that one has.
fn cost(record: &Record) -> Option<Chart> {
    let counted = [("busy", "queues, one busy"), ("luns", "LUNs"), ("regions", "memory regions")];
    let lines = counted.into_iter().enumerate().filter_map(|(colour, (series, name))| {
        let point = record.series(series).next()?;
        shares(name, colour, point.places(), |place| counts(point, place))
    });
    let is_busy = |point: &&Point| point.disk == "null" && point.depth == DEPTH;
    let busy: Vec<_> = record.series("depth").filter(is_busy).collect();
    let places = busy.iter().flat_map(|point| point.places()).collect();
    let all_busy = shares("queues, all busy", 3, places, |place| {
        let rate = |point: &&Point| Some((point.queues, judge::medians(point.side("split")?, place)?.run.iops));
        busy.iter().filter_map(rate).collect()
    });
    let lines: Vec<_> = lines.chain(all_busy).collect();
    if lines.is_empty() {
        return None;
    }
    Some(Chart {
        title: format!("null, depth {DEPTH}: what many cost"),
        x_label: "how many".into(),
        y_label: "% of the rate of one".into(),
        x_marks: (0..=8).map(|power| (f64::from(power), (1 << power).to_string())).collect(),
        is_log: false,
        legend: Legend::LowerLeft,
        lines,
    })
}

/// How many of it each side of the target has, by its name, and its rate.
fn counts(point: &Point, place: &str) -> Vec<(u16, f64)> {
    let count = |side: &Side| {
        side.name.split(' ').find_map(|word| match word {
            "1" if side.against.is_some() => None,
            word => word.parse::<u16>().ok(),
        })
    };
    let rate = |side: &Side| Some((count(side)?, judge::medians(side, place)?.run.iops));
    point.sides.iter().filter(|side| !plan::is_limit_beside(&side.name)).filter_map(rate).collect()
}

/// A line of rates as percentages of the first, in the placement that saw most of them; `None` if there is nothing to compare.
fn shares(name: &str, colour: usize, places: Vec<&str>, rates: impl Fn(&str) -> Vec<(u16, f64)>) -> Option<Line> {
    let found = places.into_iter().map(|place| (place, rates(place)));
    let compared = found.filter(|(_, rates)| rates.len() > 1 && rates.iter().any(|&(count, _)| count == 1));
    let (place, mut rates) = compared.max_by_key(|(_, rates)| rates.len())?;
    rates.sort_by_key(|&(count, _)| count);
    let (_, one) = rates[0];
    let points = rates.iter().map(|&(count, rate)| (f64::from(count).log2(), rate / one * 100.0)).collect();
    Some(Line { name: format!("{name} (CPUs: {place})"), colour, is_dashed: false, points })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, record, side};
    use super::*;

    fn depth(depth: u16, queues: u16, iops: f64) -> Point {
        let sides = vec![
            side("split", Some("split limit"), &[iops], "apart"),
            side("split limit", None, &[2.0 * iops], "apart"),
        ];
        point("depth", "null", depth, queues, sides)
    }

    #[test]
    fn a_disk_has_rates_and_latencies() {
        let record = record(vec![depth(32, 1, 4e6), depth(1, 1, 1e6), depth(32, 4, 1e6)]);
        let charts = all(&record);
        let stems: Vec<_> = charts.iter().map(|named| named.stem.as_str()).collect();
        assert_eq!(stems, ["null-iops", "null-latency", "cost"]);
        let rates = &charts[0].chart;
        assert_eq!(rates.x_marks, [(0.0, "1".into()), (1.0, "32".into())]);
        assert_eq!(rates.lines[0].points, [(0.0, 1e6), (1.0, 4e6)]);
        assert_eq!((rates.lines[1].name.as_str(), rates.lines[1].is_dashed), ("split limit", true));
        let latency = &charts[1].chart;
        assert_eq!(latency.lines[0].points, [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]);
        assert_eq!(charts[2].chart.lines[0].points, [(0.0, 100.0), (2.0, 25.0)]);
    }

    #[test]
    fn many_are_counted_by_the_names_of_their_sides() {
        let sides = vec![
            side("1 queue", None, &[10.0], "apart"),
            side("1 of 8 queues", Some("1 queue"), &[9.0], "apart"),
            side("1 of 64 queues", Some("1 queue"), &[8.0], "apart"),
        ];
        // Other CPUs than those of most runs: a line is compared with itself.
        let near = "one complex";
        let luns = vec![
            side("1 LUN", None, &[10.0], near),
            side("256 LUNs", Some("1 LUN"), &[5.0], near),
            side("limit, 1 LUN", None, &[20.0], near),
            side("limit, 256 LUNs", Some("limit, 1 LUN"), &[20.0], near),
        ];
        let chart =
            cost(&record(vec![point("busy", "null", 32, 1, sides), point("luns", "null", 32, 1, luns)])).unwrap();
        assert_eq!(chart.lines[0].points, [(0.0, 100.0), (3.0, 90.0), (6.0, 80.0)]);
        assert_eq!(
            (chart.lines[1].name.as_str(), &chart.lines[1].points[..]),
            ("LUNs (CPUs: one complex)", &[(0.0, 100.0), (8.0, 50.0)][..])
        );
    }

    #[test]
    fn an_empty_record_has_no_charts() {
        assert!(all(&record(Vec::new())).is_empty());
    }

    #[test]
    fn every_chart_can_be_drawn() {
        for named in all(&record(vec![depth(32, 1, 4e6), depth(1, 1, 1e6), depth(32, 4, 1e6)])) {
            assert!(named.chart.svg().is_ok() && named.chart.png().is_ok(), "{}", named.stem);
        }
    }
}
