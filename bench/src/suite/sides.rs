//! One run of one side: everything is started for it and ended after it, and where the CPUs sit is looked at before and
//! after.
//!
//! A side is described in the words that a user would type, and taken through the same parser.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::plan::PointPlan;
use super::record::{LeftOut, Point, Run, Side};
use super::spinner::Spinner;
use super::target::Launcher;
use crate::load::limit::Limit;
use crate::load::placed::{self, Where};
use crate::load::report::{Report, describe};
use crate::load::session::Session;
use crate::load::uring::Raw;
use crate::load::words::{LimitWords, RawWords, RunWords};

/// What a side runs.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A target and load on it.
    Target {
        /// Words of `annulus serve`, socket and CPU apart.
        serve: Vec<String>,
        /// Words of `annulus-bench run`, socket and CPU apart.
        load: Vec<String>,
        /// Bytes to write before it is read.
        fill: u64,
    },
    /// The device loop.
    Limit {
        /// Words of `annulus-bench limit`, CPUs apart.
        load: Vec<String>,
    },
    /// io_uring on the file itself, on the target's CPU, while the load's CPU is as busy as with a target.
    Raw {
        /// The file.
        file: PathBuf,
        /// Words of `annulus-bench raw`, file and CPU apart.
        load: Vec<String>,
    },
    /// Two controllers on two CPUs, each with a load on a CPU of its own. The slower one counts.
    Two {
        /// Words of `annulus-bench run`.
        load: Vec<String>,
    },
}

/// Words through the parser; what is wrong with them in one line.
fn parse<T: Parser>(words: &[String]) -> Result<T> {
    T::try_parse_from(std::iter::once("load").chain(words.iter().map(String::as_str))).map_err(|error| {
        let said = error.to_string();
        anyhow::anyhow!("{}", said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
    })
}

fn with(words: &[String], more: &[&str]) -> Vec<String> {
    words.iter().cloned().chain(more.iter().map(|&word| word.to_owned())).collect()
}

impl What {
    /// Whether this load generator can do it at all.
    ///
    /// # Errors
    /// What it does not understand.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Target { load, .. } | Self::Two { load } => {
                parse::<RunWords>(&with(load, &["--socket", "s"])).map(|_| ())
            }
            Self::Limit { load } => parse::<LimitWords>(load).map(|_| ()),
            Self::Raw { load, .. } => parse::<RawWords>(&with(load, &["--file", "f"])).map(|_| ()),
        }
    }

    /// In words that can be typed.
    pub fn command(&self, pairs: &[(usize, usize)]) -> String {
        let (target, load_cpu) = pairs[0];
        match self {
            Self::Target { serve, load, .. } => {
                // Hundreds of disks are more than anybody reads.
                let serve: Vec<_> = serve.iter().take(24).map(String::as_str).collect();
                let more = if serve.len() == 24 { " ..." } else { "" };
                format!(
                    "annulus serve --cpumask [{target}] --socket S {}{more}; annulus-bench run --socket S --target-cpu \
                     {target} --cpus {load_cpu} {}",
                    serve.join(" "),
                    load.join(" ")
                )
            }
            Self::Limit { load } => {
                format!("annulus-bench limit --device-cpu {target} --cpus {load_cpu} {}", load.join(" "))
            }
            Self::Raw { file, load } => {
                format!("annulus-bench raw --file {} --cpus {target} {}", file.display(), load.join(" "))
            }
            Self::Two { load } => format!("two of: annulus-bench run {}", load.join(" ")),
        }
    }
}

/// Runs sides.
#[derive(Debug)]
pub struct Runner {
    /// Starts targets.
    pub launcher: Launcher,
    /// CPUs of targets and loads.
    pub pairs: Vec<(usize, usize)>,
    /// Nobody asks where they sit.
    pub any_placement: bool,
}

impl Runner {
    /// One run, repeated if the CPUs moved.
    ///
    /// # Errors
    /// Something does not start, or does not do what it should.
    pub fn run(&mut self, what: &What) -> Result<Report> {
        let (mut report, place) = self.placed(|runner| runner.once(what))?;
        report.placement = place;
        ensure!(report.errors == 0, "{} requests failed, the first: {:?}", report.errors, report.first_error);
        Ok(report)
    }

    /// What `take` finds and where the first pair of CPUs sat meanwhile, if somebody asks; taken again if they moved.
    ///
    /// # Errors
    /// Those of `take`; there are no such CPUs for us.
    pub fn placed<T>(&mut self, mut take: impl FnMut(&mut Self) -> Result<T>) -> Result<(T, Option<Where>)> {
        let (target, load) = self.pairs[0];
        let cpus = (target != load && !self.any_placement).then_some((target, load));
        placed::run(cpus, || false, || take(self))
    }

    fn once(&mut self, what: &What) -> Result<Report> {
        let (target, load) = self.pairs[0];
        match what {
            What::Target { serve, load: words, fill } => self.target(serve, words, *fill),
            What::Limit { load: words } => {
                let words: LimitWords = parse(&with(words, &["--cpus", &load.to_string()]))?;
                let outcome = Limit::new(&words.limit, &words.load, &words.ring)?.run(&words.load, target)?;
                Ok(Report::new("limit", describe(&words.load, Some(&words.ring)), &outcome, None))
            }
            What::Raw { file, load: words } => {
                let file = file.to_str().context("the path is not UTF-8")?;
                let words: RawWords = parse(&with(words, &["--file", file, "--cpus", &target.to_string()]))?;
                let raw = Raw::open(&words.raw, &words.load)?;
                let _busy = (load != target).then(|| Spinner::start(load));
                let outcome = raw.run(&words.load)?;
                Ok(Report::new("raw", describe(&words.load, None), &outcome, None))
            }
            What::Two { load: words } => self.two(words),
        }
    }

    fn target(&mut self, serve: &[String], load: &[String], fill: u64) -> Result<Report> {
        let (target_cpu, load_cpu) = self.pairs[0];
        let socket = self.launcher.socket();
        let socket = socket.to_str().context("the path is not UTF-8")?;
        let mask = format!("[{target_cpu}]");
        // Options before the socket belong to all controllers, those after it to this one.
        let serve = [&["--cpumask".to_owned(), mask, "--socket".to_owned(), socket.to_owned()], serve].concat();
        let _target = self.launcher.start(&serve)?;
        let cpus = load_cpu.to_string();
        // Where the CPUs sit is looked at outside.
        let device = ["--socket", socket, "--cpus", &cpus, "--any-placement"];
        if fill > 0 {
            run(&with(&filling(fill), &device))?;
        }
        run(&with(load, &device))
    }

    fn two(&mut self, load: &[String]) -> Result<Report> {
        let pairs = self.pairs.get(..2).context("it takes four CPUs")?.to_vec();
        let mut serve = vec!["--idle".to_owned(), "spin".to_owned(), "--queues".to_owned(), "1".to_owned()];
        let mut loads = Vec::new();
        for (target, cpu) in pairs {
            let socket = self.launcher.socket();
            let socket = socket.to_str().context("the path is not UTF-8")?;
            let mask = format!("[{target}]");
            serve = with(&serve, &["--socket", socket, "--cpumask", &mask, "--disk", "null:size=1T"]);
            loads.push(with(load, &["--socket", socket, "--cpus", &cpu.to_string(), "--any-placement"]));
        }
        let _target = self.launcher.start(&serve)?;
        let reports = std::thread::scope(|scope| {
            let threads: Vec<_> = loads.iter().map(|load| scope.spawn(|| run(load))).collect();
            let ended = threads.into_iter().map(|thread| thread.join().expect("a load thread does not panic"));
            ended.collect::<Result<Vec<_>>>()
        })?;
        let slower = reports.into_iter().min_by(|a, b| a.total.iops.total_cmp(&b.total.iops));
        slower.context("there were two")
    }

    /// A whole comparison, round after round. `None` for the point if nothing of it can be done.
    ///
    /// # Errors
    /// A run failed, or `go_on` says that it should end.
    pub fn point(
        &mut self,
        plan: &PointPlan,
        rounds: u32,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<(Option<Point>, Vec<LeftOut>)> {
        let mut left_out = Vec::new();
        let mut planned = Vec::new();
        for side in &plan.sides {
            match side.what.check() {
                Ok(()) => planned.push(side),
                Err(error) => {
                    let series = if plan.series == "depth" { &side.name } else { plan.series };
                    left_out.push(LeftOut { series: series.to_owned(), why: error.to_string() });
                }
            }
        }
        let mut sides: Vec<_> = planned
            .iter()
            .map(|side| Side {
                name: side.name.clone(),
                against: side.against.clone(),
                command: side.what.command(&self.pairs),
                runs: Vec::new(),
                thrown_away: 0,
            })
            .collect();
        for _ in 0..rounds {
            for (side, plan) in sides.iter_mut().zip(&planned) {
                go_on()?;
                let report = self.run(&plan.what).with_context(|| side.command.clone())?;
                side.thrown_away += report.placement.as_ref().map_or(0, |place| place.thrown_away);
                match Run::of(&report) {
                    Some(run) => side.runs.push(run),
                    None => side.thrown_away += 1,
                }
            }
        }
        let PointPlan { series, disk, depth, queues, .. } = plan;
        let point = Point { series: (*series).to_owned(), disk: disk.clone(), depth: *depth, queues: *queues, sides };
        Ok(((!point.sides.is_empty()).then_some(point), left_out))
    }
}

/// The load that writes every block once, from the beginning to the end.
fn filling(bytes: u64) -> Vec<String> {
    let piece = bytes.min(1 << 20);
    let count = bytes.div_ceil(piece);
    let words = format!("--rw write --iodepth 4 --ramp 0 --runtime 60s --bs {piece} --number-ios {count}");
    words.split(' ').map(str::to_owned).collect()
}

fn run(words: &[String]) -> Result<Report> {
    let words: RunWords = parse(words)?;
    let outcome = Session::attach(&words.device, &words.load, &words.ring)?.run(&words.load)?;
    Ok(Report::new("run", describe(&words.load, Some(&words.ring)), &outcome, None))
}

#[cfg(test)]
mod tests {
    use super::super::disks::Disk;
    use super::super::options::tests::options;
    use super::super::plan;
    use super::*;

    #[test]
    fn the_words_of_a_plan_are_understood() {
        let options = options("--queues 1,4");
        for point in plan::matrix(&options, &Disk::null()) {
            for side in point.sides.iter().filter(|side| side.name.starts_with("split")) {
                side.what.check().unwrap_or_else(|error| panic!("{}: {error}", side.what.command(&[(0, 1)])));
            }
        }
        let words: RunWords = parse(&with(&filling(3 << 19), &["--socket", "s"])).unwrap();
        assert_eq!((words.load.bs, words.load.number_ios), (1 << 20, Some(2)));
    }

    #[test]
    fn what_is_not_understood_is_said_in_a_line() {
        let error = What::Limit { load: vec!["--ring".into(), "round".into()] }.check().unwrap_err().to_string();
        assert!(error.contains("'round'") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn commands_can_be_typed() {
        let what = What::Target { serve: vec!["--queues".into(), "1".into()], load: vec!["--bs".into()], fill: 0 };
        assert_eq!(
            what.command(&[(2, 3)]),
            "annulus serve --cpumask [2] --socket S --queues 1; annulus-bench run --socket S --target-cpu 2 --cpus 3 --bs"
        );
    }
}
