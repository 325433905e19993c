//! `annulus-bench`: makes load on virtio-scsi devices over vfio-user, and says what they give.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use annulus_bench::load::asked;
use annulus_bench::load::bell;
use annulus_bench::load::limit::{Limit, LimitOptions};
use annulus_bench::load::options::LoadOptions;
use annulus_bench::load::placed;
use annulus_bench::load::report::{Report, describe, say};
use annulus_bench::load::session::Session;
use annulus_bench::load::uring::Raw;
use annulus_bench::load::words::{LimitWords, RawWords, RunWords};
use annulus_bench::stop;
use annulus_bench::suite;
use annulus_bench::suite::options::SuiteOptions;
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use signal_hook::consts::SIGINT;

const EXAMPLES: &str = "\
Examples:
  # What does a target that polls on CPU 0 give to one CPU?
  annulus-bench run --socket vm0.sock --cpus 1 --target-cpu 0

  # What could any target give there?
  annulus-bench limit --cpus 1 --device-cpu 0

  # What does the file itself give?
  annulus-bench raw --file disk.img --fixed --cpus 1

  # All of this in one, with the target beside this program
  annulus-bench suite --quick --out result

  # Is what was written what is read?
  annulus-bench run --socket vm0.sock --rw randrw --bssplit 512/30:4k/40:64k/30 --verify --size 1g

  # How long does a sleeping target take to wake up, and what of that is the socket?
  annulus-bench run --socket vm0.sock --iodepth 1 --rate 100
  annulus-bench doorbell --socket vm0.sock

  # Large requests in many pieces, packed ring, memory in many regions, 16 disks
  annulus-bench run --socket vm0.sock --ring packed --bs 1m --segments 250 --indirect --regions 32 --luns 16";

/// Makes load on virtio-scsi devices over vfio-user, and says what they give.
#[derive(Debug, Parser)]
#[command(name = "annulus-bench", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive a device.
    Run(RunWords),
    /// Drive a device loop that does the least: the limit of the CPUs.
    Limit(LimitWords),
    /// Put the same load straight on io_uring: the limit of a file.
    Raw(RawWords),
    /// Time register writes over a device's socket: what a doorbell takes at least.
    Doorbell(DoorbellArgs),
    /// Start a target and put it beside its limits: table, JSON, plots.
    Suite(Box<SuiteOptions>),
    /// What the suite starts its targets through.
    #[command(name = suite::target::TETHER, hide = true)]
    Tethered(TetheredArgs),
}

#[derive(Debug, Args)]
struct DoorbellArgs {
    /// The device's socket
    #[arg(short, long, value_name = "PATH")]
    socket: PathBuf,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct TetheredArgs {
    /// The process that must be our parent
    parent: u32,

    /// The program and its words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => on_ctrl_c(&args.load).and_then(|()| run(&args)),
        Command::Limit(args) => on_ctrl_c(&args.load).and_then(|()| limit(&args)),
        Command::Raw(args) => on_ctrl_c(&args.load).and_then(|()| raw(&args)),
        Command::Doorbell(args) => doorbell(&args),
        Command::Suite(options) => suite::run(&options, std::env::current_exe().ok().as_deref()),
        Command::Tethered(args) => suite::target::tethered(args.parent, &args.words).map(|_| ()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // All causes on one line, and no backtrace: these errors come from outside.
            eprintln!("annulus-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The first Ctrl-C ends a run with what there is.
fn on_ctrl_c(load: &LoadOptions) -> Result<()> {
    Ok(stop::on_signals(&[SIGINT], &load.stop)?)
}

fn run(RunWords { device, ring, load }: &RunWords) -> Result<()> {
    let mut session = Session::attach(device, load, ring)?;
    let cpus = session.cpus(device, load)?;
    let (outcome, placement) = placed::run(cpus, || load.is_stopped(), || session.run(load))?;
    let cost = (outcome.stats.doorbells > 0).then(|| session.write_cost()).transpose()?;
    let text = [describe(load, Some(ring)), device.describe()].concat();
    let asked = asked::options(load, Some(ring), device);
    let report = Report::new("run", text, &outcome, placement).with_options(asked).interrupted(load.is_stopped());
    report.with_register_write(cost).print(load.json)
}

fn doorbell(DoorbellArgs { socket, json }: &DoorbellArgs) -> Result<()> {
    let cost = bell::WriteCost::of_socket(socket)?;
    Ok(say(&if *json {
        serde_json::to_string_pretty(&cost)? + "\n"
    } else {
        format!("a register write over the socket, in us: {cost}\n")
    })?)
}

fn limit(LimitWords { limit, ring, load }: &LimitWords) -> Result<()> {
    let device_cpu = limit.device_cpu()?;
    let mut queues = Limit::new(limit, load, ring)?;
    let cpus = Some(device_cpu).zip(load.cpus()?.first().copied());
    let (outcome, placement) = placed::run(cpus, || load.is_stopped(), || queues.run(load, device_cpu))?;
    let text = [describe(load, Some(ring)), limit.describe()].concat();
    let asked = asked::options(load, Some(ring), &LimitOptions { device_cpu: Some(device_cpu), ..limit.clone() });
    Report::new("limit", text, &outcome, placement).with_options(asked).interrupted(load.is_stopped()).print(load.json)
}

fn raw(RawWords { raw, load }: &RawWords) -> Result<()> {
    let outcome = Raw::open(raw, load)?.run(load)?;
    let buffers = if raw.fixed { "registered" } else { "plain" };
    let text = format!("{}, {buffers} buffers", describe(load, None));
    let asked = asked::options(load, None, raw);
    Report::new("raw", text, &outcome, None).with_options(asked).interrupted(load.is_stopped()).print(load.json)
}
