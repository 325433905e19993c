//! `annulus-bench suite`: the target beside its limits, as a table, as JSON and as plots.
//!
//! It starts the target itself, once for every run, and runs target and limit in turn. Every run carries how far apart the
//! two CPUs were before and after it; a run during which that changed is thrown away, and only runs of the same placement
//! are compared. [`plan`] says what is compared with what, [`sides`] runs it, [`record`] holds what was found; [`goals`],
//! [`table`] and [`charts`] are made of the record alone, so that `--render` can make them again.

pub mod alone;
pub mod charts;
pub mod disks;
pub mod goals;
pub mod instructions;
pub mod judge;
pub mod machine;
pub mod merge;
pub mod options;
pub mod plan;
pub mod progress;
pub mod record;
pub mod render;
pub mod sides;
pub mod spinner;
pub mod table;
pub mod target;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::load::cpu;
use disks::Disk;
use goals::Verdict;
use options::SuiteOptions;
use plan::PointPlan;
use progress::Progress;
use record::{Figure, LeftOut, Record};
use sides::Runner;
use target::Launcher;

/// Why what takes two targets is left out.
const TWO_PAIRS: &str = "two targets and two loads take four CPUs of their own";

/// Does all that the options say. Targets are tied to this process by the program `tether`, see [`target::tethered`].
///
/// # Errors
/// Something could not be run or written; with `--check`, a goal is not met.
pub fn run(options: &SuiteOptions, tether: Option<&Path>) -> Result<()> {
    let (record, failures) = if options.render.is_empty() {
        measure(options, tether)?
    } else {
        let records = options.render.iter().map(|path| Record::read(path)).collect::<Result<_>>()?;
        (merge::all(records)?, Vec::new())
    };
    render::write(&record, options)?;
    let found = goals::evaluate(&record);
    found.iter().for_each(|finding| println!("{finding}"));
    ensure!(failures.is_empty(), "not everything could be run: {}", failures.join("; "));
    let missed = found.iter().filter(|finding| finding.verdict == Verdict::NotMet).count();
    ensure!(!options.check || missed == 0, "{missed} goals are not met");
    Ok(())
}

/// Measures; what failed is beside what was found.
fn measure(options: &SuiteOptions, tether: Option<&Path>) -> Result<(Record, Vec<String>)> {
    let stop = Arc::default();
    crate::stop::on_signals(&[SIGINT, SIGTERM], &stop)?;
    let dir = tempfile::Builder::new().prefix("annulus-suite.").tempdir().context("no directory for sockets")?;
    let allowed = cpu::allowed()?;
    let pairs = options.pairs(&allowed)?;
    let launcher = Launcher::new(options.target.as_deref(), tether, &options.serve_option, dir.path())?;
    let tree = instructions::tree();
    let record = Record {
        version: record::VERSION,
        machine: machine::look(allowed.len(), tree.as_deref()),
        points: Vec::new(),
        figures: Vec::new(),
        left_out: Vec::new(),
    };
    let mut suite = Suite {
        options,
        runner: Runner { launcher, pairs, any_placement: options.any_placement },
        stop,
        record,
        failures: Vec::new(),
    };
    let began = Instant::now();
    let ended = suite.all();
    suite.record.machine.took_s = began.elapsed().as_secs_f64();
    if let Err(error) = ended {
        eprintln!("{error:#}: what was found so far is written");
        suite.failures.push(format!("{error:#}"));
    }
    Ok((suite.record, suite.failures))
}

/// A suite under way.
struct Suite<'a> {
    options: &'a SuiteOptions,
    runner: Runner,
    stop: Arc<AtomicBool>,
    record: Record,
    failures: Vec<String>,
}

impl Suite<'_> {
    /// Everything that was asked for.
    fn all(&mut self) -> Result<()> {
        let disks = self.disks();
        let has_two_pairs = self.runner.pairs.len() > 1;
        if self.options.wants("reactors") && !has_two_pairs {
            self.leave_out("reactors", TWO_PAIRS);
        }
        let (target, load) = self.runner.pairs[0];
        if target == load {
            eprintln!("there is one CPU only: target and load take turns on it, and shares of the limit mean little");
        }
        let mut points: Vec<PointPlan> = disks.iter().flat_map(|disk| plan::matrix(self.options, disk)).collect();
        points.extend(plan::others(self.options, has_two_pairs));
        let rounds = self.options.rounds();
        let alone = self.alone();
        let mut times: Vec<_> = points.iter().map(|point| point.round_time(self.options) * rounds).collect();
        times.extend(alone.iter().map(|&(_, time)| time));
        let runs = points.iter().map(|point| point.sides.len()).sum::<usize>() * rounds as usize;
        let mut progress = Progress::begin(times);
        progress.say(&format!("{} comparisons, {runs} runs, {} single figures", points.len(), alone.len()));
        for point in &points {
            let said = self.point(point, rounds)?;
            progress.step(&said);
        }
        for (name, _) in alone {
            self.go_on()?;
            let said = self.figure(name);
            progress.step(&said);
        }
        Ok(())
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    fn leave_out(&mut self, series: &str, why: impl Into<String>) {
        let left = LeftOut { series: series.into(), why: why.into() };
        if !self.record.left_out.contains(&left) {
            eprintln!("left out: {}: {}", left.series, left.why);
            self.record.left_out.push(left);
        }
    }

    fn fail(&mut self, series: &str, error: &anyhow::Error) {
        let why = format!("failed: {error:#}");
        self.failures.push(format!("{series}: {error:#}"));
        self.leave_out(series, why);
    }

    /// Disks of the matrix. What cannot be made is left out.
    fn disks(&mut self) -> Vec<Disk> {
        let options = self.options;
        let mut found = Vec::new();
        if options.wants("null") {
            found.push(Disk::null());
        }
        if options.wants("mem") {
            found.push(Disk::mem(options.size));
        }
        let mut made = Vec::new();
        if options.wants("file") {
            let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
            made.push((
                "file",
                options.file.as_ref().map_or_else(|| Disk::new_file(&dir, options.size), |path| Disk::file(path)),
            ));
        }
        if options.wants("loop") {
            made.push(("loop", Disk::new_loop(options.size)));
        } else {
            self.leave_out("loop", "a loop device is made with --loop only");
        }
        if options.wants("disk") {
            made.extend(options.disk.iter().map(|path| ("disk", Disk::existing(path.display().to_string(), path))));
        }
        for (name, disk) in made {
            match disk {
                Ok(disk) => found.push(disk),
                Err(error) => self.fail(name, &error),
            }
        }
        found
    }

    /// A comparison; what to say of it.
    fn point(&mut self, plan: &PointPlan, rounds: u32) -> Result<String> {
        let stop = Arc::clone(&self.stop);
        let go_on = move || {
            ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            Ok(())
        };
        let name = if plan.series == "depth" {
            format!("{}, depth {}, queues {}", plan.disk, plan.depth, plan.queues)
        } else {
            plan.series.to_owned()
        };
        match self.runner.point(plan, rounds, &go_on) {
            Ok((point, left_out)) => {
                left_out.into_iter().for_each(|left| self.leave_out(&left.series, left.why));
                let said = point.as_ref().map_or_else(|| "left out".to_owned(), progress::describe);
                self.record.points.extend(point);
                Ok(format!("{name}: {said}"))
            }
            Err(error) => {
                self.go_on()?;
                self.fail(&name, &error);
                Ok(format!("{name}: failed"))
            }
        }
    }

    /// Figures that stand alone, and how long each takes, about.
    fn alone(&self) -> Vec<(&'static str, Duration)> {
        let idle = self.idle_length() + Duration::from_secs(1);
        let wake = self.wake_samples() * Duration::from_millis(7) + Duration::from_secs(1);
        let all = [
            ("wake", wake),
            ("idle-cpu", idle),
            ("memory", Duration::from_secs(1)),
            ("start", Duration::from_secs(1)),
            ("instructions", Duration::from_secs(180)),
        ];
        all.into_iter().filter(|&(name, _)| self.options.wants(name)).collect()
    }

    fn idle_length(&self) -> Duration {
        Duration::from_secs(if self.options.quick { 2 } else { 10 })
    }

    fn wake_samples(&self) -> u32 {
        if self.options.quick { 300 } else { 2000 }
    }

    fn figure(&mut self, name: &str) -> String {
        let (idle, samples, rounds) = (self.idle_length(), self.wake_samples(), self.options.rounds());
        let runner = &mut self.runner;
        let found: Result<Result<Vec<Figure>, String>> = match name {
            "wake" => alone::wake(runner, samples).map(Ok),
            "idle-cpu" => alone::idle_cpu(runner, idle).map(Ok),
            "memory" => alone::memory(runner).map(Ok),
            "start" => alone::start(runner, rounds).map(Ok),
            _ => instructions::count(instructions::tree().as_deref()),
        };
        match found {
            Ok(Ok(figures)) => {
                let said = figures.iter().map(|figure| format!("{}: {:.2} {}", figure.text, figure.value, figure.unit));
                let said = said.collect::<Vec<_>>().join("; ");
                self.record.figures.extend(figures);
                said
            }
            Ok(Err(why)) => {
                self.leave_out(name, why);
                format!("{name}: left out")
            }
            Err(error) => {
                self.fail(name, &error);
                format!("{name}: failed")
            }
        }
    }
}
