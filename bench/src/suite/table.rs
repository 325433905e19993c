//! A record as Markdown: goals, figures, comparisons, and what is missing.

use std::fmt::Write;

use super::goals::{self, Verdict};
use super::judge;
use super::record::{Machine, Point, Record};

/// Where the generated part of a page begins.
const BEGIN: &str = "<!-- annulus-bench suite: begin. What follows is written by the command. -->";
/// Where it ends.
const END: &str = "<!-- annulus-bench suite: end -->";

/// All of it, with links to `plots` (file name and caption).
pub fn markdown(record: &Record, plots: &[(String, String)]) -> String {
    let mut text = String::new();
    machine(&mut text, &record.machine);
    goals(&mut text, record);
    figures(&mut text, record);
    matrix(&mut text, record);
    others(&mut text, record);
    missing(&mut text, record);
    for (file, caption) in plots {
        let _ = write!(text, "\n![{caption}]({file})\n");
    }
    text
}

/// `page` with `text` in the place of what the command wrote there before, or at its end.
pub fn replace_section(page: &str, text: &str) -> String {
    let section = format!("{BEGIN}\n\n{}\n\n{END}", text.trim());
    let range = page.find(BEGIN).and_then(|begin| Some(begin..begin + page[begin..].find(END)? + END.len()));
    match range {
        Some(range) => format!("{}{section}{}", &page[..range.start], &page[range.end..]),
        None => format!("{}\n\n{section}\n", page.trim_end()),
    }
}

fn machine(text: &mut String, machine: &Machine) {
    let Machine { cpu, cpus, memory_mib, kernel, .. } = machine;
    let commit = if machine.commit.is_empty() { "unknown" } else { &machine.commit };
    let _ = writeln!(text, "## The suite\n");
    let _ = writeln!(
        text,
        "{cpus} CPUs ({cpu}), {:.0} GiB of memory, Linux {kernel}; target at commit `{commit}`, {}; it took {}.\n",
        *memory_mib as f64 / 1024.0,
        date(machine.began_unix_s),
        minutes(machine.took_s)
    );
    let _ = writeln!(text, "```\n{}\n```\n", machine.command);
}

fn minutes(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// A day of the Gregorian calendar.
fn date(unix_s: u64) -> String {
    // Years that begin in March have their leap day at the end: months are then 153 days to five.
    let days = unix_s / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

fn goals(text: &mut String, record: &Record) {
    let found = goals::evaluate(record);
    let count = |verdict| found.iter().filter(|finding| finding.verdict == verdict).count();
    let _ = writeln!(
        text,
        "### Goals\n\n{} met, {} not met, {} not measured.\n\n| goal | wanted | measured | |\n|---|---|---|---|",
        count(Verdict::Met),
        count(Verdict::NotMet),
        count(Verdict::NotMeasured)
    );
    for finding in &found {
        let verdict = match finding.verdict {
            Verdict::NotMet => "**NOT met**".to_owned(),
            verdict => verdict.to_string(),
        };
        let _ = writeln!(text, "| {} | {} | {} | {verdict} |", finding.what, finding.wanted, finding.measured);
    }
    if record.series("depth").any(|point| point.disk == "mem") {
        let _ = writeln!(text, "\n{}", goals::PEER);
    }
    distances(text, record);
}

/// What a cache line took between the two CPUs in each placement: only like distances can be compared with those of others.
fn distances(text: &mut String, record: &Record) {
    let span = |judge::Span { place, runs, ns: (least, most) }| {
        let plural = if runs == 1 { "" } else { "s" };
        format!("{place}: {least:.0} to {most:.0} ns in {runs} run{plural}")
    };
    let spans: Vec<_> = judge::spans(record.points.iter()).into_iter().map(span).collect();
    if !spans.is_empty() {
        let _ = writeln!(text, "\nA cache line there and back between the two CPUs: {}.", spans.join("; "));
    }
}

fn figures(text: &mut String, record: &Record) {
    if record.figures.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n### Figures that stand alone\n\n| what | |\n|---|---|");
    for figure in &record.figures {
        let pair = figure.pair.as_ref().map_or_else(String::new, |pair| format!(" ({pair})"));
        let _ = writeln!(text, "| {} | {:.2} {}{pair} |", figure.text, figure.value, figure.unit);
    }
}

fn matrix(text: &mut String, record: &Record) {
    if record.series("depth").next().is_none() {
        return;
    }
    let _ = writeln!(
        text,
        "\n### Beside the limit\n\n4 KiB random reads. Rates in thousands of I/Os a second, times in microseconds, target / \
         limit; *runs* are those of target and limit that the medians are of; depth is that of each queue.\n\n\
         | disk | depth | queues | ring | CPUs | runs | target | limit | ratio | mean | p50 | p99 | p99.9 |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for point in record.series("depth") {
        rows(text, point, |name| format!("{} | {} | {} | {name}", point.disk, point.depth, point.queues));
    }
}

fn others(text: &mut String, record: &Record) {
    if record.points.iter().all(|point| point.series == "depth") {
        return;
    }
    let _ = writeln!(
        text,
        "\n### Beside itself\n\nThe same units; what is compared with what is in the first two columns.\n\n\
         | this | beside | disk, depth | CPUs | runs | this | beside | ratio | mean | p50 | p99 | p99.9 |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for point in record.points.iter().filter(|point| point.series != "depth") {
        let base = |name: &str| point.side(name).and_then(|side| side.against.clone()).unwrap_or_default();
        rows(text, point, |name| format!("{name} | {} | {}, {}", base(name), point.disk, point.depth));
    }
}

/// A row for each side that is compared, in each placement.
fn rows(text: &mut String, point: &Point, head: impl Fn(&str) -> String) {
    for side in &point.sides {
        let Some(base) = &side.against else { continue };
        for pair in judge::pairs(point, &side.name, base) {
            let (this, that) = (&pair.side.run, &pair.base.run);
            let _ = writeln!(
                text,
                "| {} | {} | {} / {} | {:.0} | {:.0} | {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} |",
                head(&side.name),
                pair.place,
                pair.side.runs,
                pair.base.runs,
                this.iops / 1e3,
                that.iops / 1e3,
                pair.ratio(),
                this.mean_us,
                that.mean_us,
                this.p50_us,
                that.p50_us,
                this.p99_us,
                that.p99_us,
                this.p999_us,
                that.p999_us,
            );
        }
    }
}

fn missing(text: &mut String, record: &Record) {
    let thrown_away: u32 = record.points.iter().flat_map(|point| &point.sides).map(|side| side.thrown_away).sum();
    if thrown_away > 0 {
        let _ = writeln!(text, "\nThrown away, because the CPUs moved meanwhile: {thrown_away} runs.");
    }
    if !record.left_out.is_empty() {
        let _ = writeln!(text, "\nLeft out:\n");
    }
    for left in &record.left_out {
        let _ = writeln!(text, "- {}: {}", left.series, left.why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{point, record, side};
    use super::super::record::{Distance, Figure, LeftOut};
    use super::*;

    #[test]
    fn a_small_record_renders_as_it_should() {
        let matrix = point(
            "depth",
            "null",
            32,
            1,
            vec![
                side("split", Some("split limit"), &[2e6, 1e6, 4e6], "apart"),
                side("split limit", None, &[4e6], "apart"),
            ],
        );
        let busy = point(
            "busy",
            "null",
            32,
            1,
            vec![side("1 of 64 queues", Some("1 queue"), &[9e5], "apart"), side("1 queue", None, &[1e6], "apart")],
        );
        let mem = point("depth", "mem", 32, 1, vec![side("split", None, &[2.4e6], "apart")]);
        let mut record = record(vec![matrix, busy, mem]);
        record.points[0].sides[0].thrown_away = 2;
        record.points[0].sides[1].runs[0].ping_pong_ns = Some((301.4, 310.0));
        record.figures.push(Figure::new("start", "start", 12.346, "ms"));
        let pair = Some(Distance { place: Some("apart".into()), ping_pong_ns: (302.0, 299.6) });
        record.figures.push(Figure { pair, ..Figure::new("wake-p50", "wake", 17.0, "us") });
        record.left_out.push(LeftOut { series: "reactors".into(), why: "it takes four CPUs".into() });
        let text = markdown(&record, &[("plots/null.svg".into(), "null".into())]);
        for line in [
            "2 CPUs (AMD EPYC), 23 GiB of memory, Linux 6.18.44; target at commit `0123456789ab`, 2023-11-14; it took 61 s.",
            "annulus-bench suite --quick",
            "| null, depth 32, split | at least 50 % of split limit | 50.0 % (apart, 3 + 1 runs) | met |",
            "| mem, depth 32, split | at least 1.5 times the peer's 1.20 M IOPS | 2.00 times, 2.40 M IOPS (apart, 1 runs) | met |",
            goals::PEER,
            "A cache line there and back between the two CPUs: apart: 301 to 310 ns in 1 run.",
            "| start | 12.35 ms |",
            "| wake | 17.00 us (apart, 302 and 300 ns) |",
            "| null | 32 | 1 | split | apart | 3 / 1 | 2000 | 4000 | 0.50 | 0.50 / 0.25 | 0.50 / 0.25 | 1.00 / 0.50 | 1.50 / 0.75 |",
            "| 1 of 64 queues | 1 queue | null, 32 | apart | 1 / 1 | 900 | 1000 | 0.90 | 1.11 / 1.00 | 1.11 / 1.00 | 2.22 / 2.00 | 3.33 / 3.00 |",
            "Thrown away, because the CPUs moved meanwhile: 2 runs.",
            "- reactors: it takes four CPUs",
            "![null](plots/null.svg)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn an_empty_record_has_no_empty_tables() {
        let text = markdown(&record(Vec::new()), &[]);
        assert!(!text.contains("Beside") && !text.contains("Left out") && !text.contains("stand alone"), "{text}");
        assert!(!text.contains(goals::PEER) && !text.contains("cache line"), "{text}");
    }

    #[test]
    fn only_the_section_is_replaced() {
        let first = replace_section("# Title\n\nBy hand.\n", "one\n");
        assert!(first.starts_with("# Title\n\nBy hand.\n\n<!-- "), "{first}");
        let page = format!("{first}\n## After\n");
        let second = replace_section(&page, "two");
        assert!(second.starts_with("# Title\n\nBy hand.\n\n") && second.ends_with("\n\n## After\n"), "{second}");
        assert!(second.contains("\ntwo\n") && !second.contains("one"), "{second}");
        assert_eq!(replace_section(&second, "two"), second);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, text) in [(0, "1970-01-01"), (11_016, "2000-02-29"), (19_782, "2024-02-29"), (20_453, "2025-12-31")]
        {
            assert_eq!(date(days * 86_400 + 86_399), text);
        }
    }
}
