//! What a run has shown, for people and for programs.

use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::bell::WriteCost;
use super::crew::Outcome;
use super::options::{LoadOptions, RingOptions};
use super::placed::Where;
use super::stats::DirectionStats;

/// Latencies in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_us: f64,
    /// Half of all took at most this.
    pub p50_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p999_us: f64,
    /// 99.99 %.
    pub p9999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// One direction, or both.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rates {
    /// Requests that ended well.
    pub ios: u64,
    /// The same, a second.
    pub iops: f64,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// How long they took.
    pub latency: Latency,
}

impl Rates {
    fn of(stats: &DirectionStats, measured_ns: u64) -> Self {
        let seconds = measured_ns as f64 / 1e9;
        let rate = |count: u64| if measured_ns == 0 { 0.0 } else { count as f64 / seconds };
        let histogram = &stats.latency_ns;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let latency = Latency {
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        };
        Self { ios: stats.ios, iops: rate(stats.ios), bytes_per_s: rate(stats.bytes), latency }
    }
}

/// The whole result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was measured: `run`, `limit` or `raw`.
    pub kind: &'static str,
    /// The load in words.
    pub load: String,
    /// The same for programs, see [`asked::options`](super::asked::options). Null if nobody is to read it.
    pub options: Value,
    /// Seconds measured.
    pub seconds: f64,
    /// Somebody ended it early.
    pub interrupted: bool,
    /// Reads, if there were any.
    pub read: Option<Rates>,
    /// Writes, if there were any.
    pub write: Option<Rates>,
    /// Both.
    pub total: Rates,
    /// Requests that did not end well.
    pub errors: u64,
    /// What was wrong with the first of them.
    pub first_error: Option<String>,
    /// Blocks whose pattern was checked.
    pub verified_blocks: u64,
    /// Doorbells that the device asked for and got while it was measured.
    pub doorbells: u64,
    /// What a register write over the device's socket takes, as a doorbell is one; if it was measured.
    pub register_write: Option<WriteCost>,
    /// CPUs that the load's own threads used (1.0: one of them all the time).
    pub load_cpus: f64,
    /// CPUs that the target or the device loop used, if it is known.
    pub target_cpus: Option<f64>,
    /// How far apart the CPUs of load and target were, if both are known.
    pub placement: Option<Where>,
}

impl Report {
    /// Of an outcome.
    pub fn new(kind: &'static str, load: String, outcome: &Outcome, placement: Option<Where>) -> Self {
        let stats = &outcome.stats;
        let mut total = stats.read.clone();
        total.add(&stats.write);
        let rates = |direction: &DirectionStats| Rates::of(direction, stats.measured_ns);
        let some = |direction: &DirectionStats| (direction.ios > 0).then(|| rates(direction));
        Self {
            kind,
            load,
            options: Value::Null,
            seconds: stats.measured_ns as f64 / 1e9,
            interrupted: false,
            read: some(&stats.read),
            write: some(&stats.write),
            total: rates(&total),
            errors: stats.errors,
            first_error: stats.first_error.clone(),
            verified_blocks: stats.verified_blocks,
            doorbells: stats.doorbells,
            register_write: None,
            load_cpus: outcome.load_cpus,
            target_cpus: outcome.target_cpus,
            placement,
        }
    }

    /// With the options that it was asked for with.
    pub fn with_options(self, options: Value) -> Self {
        Self { options, ..self }
    }

    /// As one that was ended early, if it was.
    pub fn interrupted(self, interrupted: bool) -> Self {
        Self { interrupted, ..self }
    }

    /// With what a register write takes.
    pub fn with_register_write(self, cost: Option<WriteCost>) -> Self {
        Self { register_write: cost, ..self }
    }

    /// Prints it.
    ///
    /// # Errors
    /// There were errors, so that the figures are not to be trusted.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        say(&if json { serde_json::to_string_pretty(self)? + "\n" } else { self.to_string() })?;
        match &self.first_error {
            Some(first) => anyhow::bail!("{} requests failed, the first: {first}", self.errors),
            None => Ok(()),
        }
    }
}

/// Prints a result. Whoever has read enough of it may go.
///
/// # Errors
/// It cannot be written.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The load in words.
pub fn describe(options: &LoadOptions, ring: Option<&RingOptions>) -> String {
    let sizes: Vec<_> = options.split().0.iter().map(|&(bytes, percent)| size(bytes, percent)).collect();
    let mut text = format!("{} of {}, depth {}", name(&options.rw), sizes.join(" and "), options.iodepth);
    if let Some(ring) = ring {
        let plural = if ring.queues == 1 { "" } else { "s" };
        text += &format!(", {} queue{plural}", ring.queues);
        if ring.busy() < ring.queues {
            text += &format!(" ({} busy)", ring.busy());
        }
        text += &format!(", {} ring", name(&ring.ring));
        if ring.indirect {
            text += ", indirect";
        }
        if ring.segments > 1 {
            text += &format!(", {} segments", ring.segments);
        }
        if ring.align_offset > 0 {
            text += &format!(", data {} bytes off a page", ring.align_offset);
        }
        if ring.scatter {
            text += ", scattered";
        }
    }
    if let Some(rate) = options.rate {
        text += &format!(", at most {rate} a second");
    }
    text
}

fn size(bytes: u32, percent: u8) -> String {
    let size = if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") };
    if percent == 100 { size } else { format!("{size} ({percent} %)") }
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        writeln!(f, "{}: {}, {:.1} s{interrupted}", self.kind, self.load, self.seconds)?;
        let directions = [("read", &self.read), ("write", &self.write)];
        for (name, rates) in directions {
            if let Some(rates) = rates {
                rates.write(name, f)?;
            }
        }
        if self.read.is_some() == self.write.is_some() {
            self.total.write("total", f)?;
        }
        write!(f, "  CPUs used: load {:.2}", self.load_cpus)?;
        match self.target_cpus {
            Some(cpus) => writeln!(f, ", target {cpus:.2}")?,
            None => writeln!(f)?,
        }
        if self.verified_blocks > 0 {
            writeln!(f, "  blocks verified: {}", self.verified_blocks)?;
        }
        if self.doorbells > 0 {
            writeln!(f, "  doorbells: {}", self.doorbells)?;
        }
        if let Some(cost) = &self.register_write {
            writeln!(f, "  a register write over the socket, in us: {cost}")?;
        }
        if let Some(place) = &self.placement {
            place.write(f)?;
        }
        Ok(())
    }
}

impl Rates {
    fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {name:<5} {:.0} IOPS, {:.1} MB/s", self.iops, self.bytes_per_s / 1e6)?;
        let latency = &self.latency;
        writeln!(
            f,
            "        latency in us: mean {:.2}, p50 {:.2}, p99 {:.2}, p99.9 {:.2}, p99.99 {:.2}, max {:.2}",
            latency.mean_us, latency.p50_us, latency.p99_us, latency.p999_us, latency.p9999_us, latency.max_us
        )
    }
}

impl Where {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.cpus;
        write!(
            f,
            "  CPUs {first} and {second}: {:.0} ns before ({}), {:.0} ns after ({})",
            self.before_ns, self.before, self.after_ns, self.after
        )?;
        if self.placement.is_some() { writeln!(f) } else { writeln!(f, ": THEY MOVED, these figures mean nothing") }
    }
}
