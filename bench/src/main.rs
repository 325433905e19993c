//! `annulus-bench`: makes load on virtio-scsi devices over vfio-user, and says what they give.

use std::process::ExitCode;

use annulus_bench::load::limit::{Limit, LimitOptions};
use annulus_bench::load::options::{LoadOptions, RingOptions};
use annulus_bench::load::placed;
use annulus_bench::load::report::{Report, describe};
use annulus_bench::load::session::{DeviceOptions, Session};
use annulus_bench::load::uring::{Raw, RawOptions};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  # What does a target that polls on CPU 0 give to one CPU?
  annulus-bench run --socket vm0.sock --cpus 1 --target-cpu 0

  # What could any target give there?
  annulus-bench limit --cpus 1 --device-cpu 0

  # What does the file itself give?
  annulus-bench raw --file disk.img --fixed --cpus 1

  # Is what was written what is read?
  annulus-bench run --socket vm0.sock --rw randrw --bssplit 512/30:4k/40:64k/30 --verify --size 1g";

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
    Run(RunArgs),
    /// Drive a device loop that does the least: the limit of the CPUs.
    Limit(LimitArgs),
    /// Put the same load straight on io_uring: the limit of a file.
    Raw(RawArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    ring: RingOptions,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Debug, Args)]
struct LimitArgs {
    #[command(flatten)]
    limit: LimitOptions,
    #[command(flatten)]
    ring: RingOptions,
    #[command(flatten)]
    load: LoadOptions,
}

#[derive(Debug, Args)]
struct RawArgs {
    #[command(flatten)]
    raw: RawOptions,
    #[command(flatten)]
    load: LoadOptions,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Limit(args) => limit(&args),
        Command::Raw(args) => raw(&args),
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

fn run(RunArgs { device, ring, load }: &RunArgs) -> Result<()> {
    let mut session = Session::attach(device, load, ring)?;
    let cpus = device.target_cpu.zip(load.cpus()?.first().copied());
    let (outcome, placement) = placed::run(cpus, || session.run(load))?;
    Report::new("run", describe(load, Some(ring)), &outcome, placement).print(load.json)
}

fn limit(LimitArgs { limit, ring, load }: &LimitArgs) -> Result<()> {
    let device_cpu = limit.device_cpu()?;
    let mut queues = Limit::new(load, ring)?;
    let cpus = Some(device_cpu).zip(load.cpus()?.first().copied());
    let (outcome, placement) = placed::run(cpus, || queues.run(load, device_cpu))?;
    Report::new("limit", describe(load, Some(ring)), &outcome, placement).print(load.json)
}

fn raw(RawArgs { raw, load }: &RawArgs) -> Result<()> {
    let outcome = Raw::open(raw, load)?.run(load)?;
    let buffers = if raw.fixed { "registered" } else { "plain" };
    Report::new("raw", format!("{}, {buffers} buffers", describe(load, None)), &outcome, None).print(load.json)
}
