//! Several records as one: what was measured again stands beside what was measured before.
//!
//! The CPUs of a virtual machine sit where its host lets them, for minutes or hours, so that one suite may see one placement
//! only. A second one, later, sees another; together they have medians of both.

use anyhow::{Result, ensure};

use super::record::{Point, Record, Side};

/// All of them as one, in the order in which they began. Figures that stand alone are those of the first that has them.
///
/// # Errors
/// They are not of the same target on the same machine, or one is named twice.
///
/// # Panics
/// There is none.
pub fn all(mut records: Vec<Record>) -> Result<Record> {
    records.sort_by_key(|record| record.machine.began_unix_s);
    let is_twice = |pair: &[Record]| pair[0].machine.began_unix_s == pair[1].machine.began_unix_s;
    ensure!(!records.windows(2).any(is_twice), "the same result is named twice");
    let mut records = records.into_iter();
    let mut merged = records.next().expect("there is a record");
    for record in records {
        add(&mut merged, record)?;
    }
    Ok(merged)
}

fn add(to: &mut Record, more: Record) -> Result<()> {
    let (known, other) = (&mut to.machine, more.machine);
    for (what, known, other) in [
        ("target is at commit", &known.commit, &other.commit),
        ("CPU is", &known.cpu, &other.cpu),
        ("kernel is", &known.kernel, &other.kernel),
    ] {
        ensure!(
            known == other,
            "only results of one target on one machine go together: the {what} {known} and {other}"
        );
    }
    let is_known = !known.commit.is_empty() && !known.commit.ends_with("-dirty");
    ensure!(is_known, "only results of one target go together: of commit '{}' nobody knows what it was", known.commit);
    if known.command.lines().all(|line| line != other.command) {
        known.command = format!("{}\n{}", known.command, other.command);
    }
    known.took_s += other.took_s;
    for point in more.points {
        match to.points.iter_mut().find(|known| is_same(known, &point)) {
            Some(known) => point.sides.into_iter().for_each(|side| add_side(&mut known.sides, side)),
            None => to.points.push(point),
        }
    }
    for figure in more.figures {
        if to.figure(&figure.name).is_none() {
            to.figures.push(figure);
        }
    }
    to.left_out.retain(|left| more.left_out.iter().any(|other| other.series == left.series));
    Ok(())
}

fn is_same(a: &Point, b: &Point) -> bool {
    (&a.series, &a.disk, a.depth, a.queues) == (&b.series, &b.disk, b.depth, b.queues)
}

fn add_side(sides: &mut Vec<Side>, side: Side) {
    match sides.iter_mut().find(|known| known.name == side.name) {
        Some(known) => {
            known.runs.extend(side.runs);
            known.thrown_away += side.thrown_away;
        }
        None => sides.push(side),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, record, side};
    use super::super::record::{Figure, LeftOut};
    use super::*;

    fn null(side: Side) -> Point {
        point("depth", "null", 32, 1, vec![side])
    }

    fn left_out(series: &str) -> LeftOut {
        LeftOut { series: series.into(), why: "not asked for".into() }
    }

    #[test]
    fn runs_of_the_same_come_together() {
        let mut first = record(vec![null(side("split", None, &[5.0], "apart"))]);
        first.left_out = vec![left_out("loop"), left_out("reactors")];
        first.figures = vec![Figure::new("start", "", 2.0, "ms")];
        let mut second = record(vec![
            null(side("split", None, &[9.0, 8.0], "one complex")),
            point("depth", "loop", 32, 1, vec![side("raw", None, &[1.0], "apart")]),
        ]);
        second.points[0].sides[0].thrown_away = 3;
        second.points[0].sides.push(side("packed", None, &[4.0], "apart"));
        second.left_out = vec![LeftOut { why: "of something else".into(), ..left_out("reactors") }];
        second.figures = vec![Figure::new("start", "", 3.0, "ms"), Figure::new("memory", "", 1.0, "MiB")];
        (second.machine.command, second.machine.took_s) = ("annulus-bench suite --loop".into(), 9.0);
        second.machine.began_unix_s += 1;

        // Whatever the order in which they are named.
        let merged = all(vec![second, first]).unwrap();
        let split = merged.points[0].side("split").unwrap();
        let found: Vec<_> = split.runs.iter().map(|run| (run.iops, run.place.as_str())).collect();
        assert_eq!(found, [(5.0, "apart"), (9.0, "one complex"), (8.0, "one complex")]);
        assert_eq!((split.thrown_away, merged.points.len()), (3, 2));
        assert!(merged.points[0].side("packed").is_some());
        assert_eq!(merged.left_out, [left_out("reactors")]);
        let figures: Vec<_> = merged.figures.iter().map(|figure| (figure.name.as_str(), figure.value)).collect();
        assert_eq!(figures, [("start", 2.0), ("memory", 1.0)]);
        assert_eq!(merged.machine.command, "annulus-bench suite --quick\nannulus-bench suite --loop");
        assert_eq!(merged.machine.took_s, 70.0);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let error = |other| all(vec![record(Vec::new()), other]).unwrap_err().to_string();
        let mut other = record(Vec::new());
        (other.machine.commit, other.machine.began_unix_s) = ("ffff".into(), 1_700_000_001);
        assert!(error(other).contains("commit 0123456789ab and ffff"));
        assert!(error(record(Vec::new())).contains("named twice"));
        let dirty = || {
            (1..3).map(|began| {
                let mut dirty = record(Vec::new());
                (dirty.machine.began_unix_s, dirty.machine.commit) = (began, "0123-dirty".into());
                dirty
            })
        };
        assert!(all(dirty().collect()).unwrap_err().to_string().contains("'0123-dirty' nobody knows"));
        assert!(all(dirty().take(1).collect()).is_ok());
    }
}
