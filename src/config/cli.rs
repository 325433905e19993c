//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use bdev::wanted::units;

use super::create::{CreateArgs, EXAMPLES as CREATE_EXAMPLES};
use super::scope::{self, Scoped};
use super::{
    AccessState, ConfigError, ConfigFile, CreateConfig, DiskConfig, Idle, Register, RingFormat, ServeConfig, disk, port,
};

const EXAMPLES: &str = "\
Examples:
  # One disk file, served by CPU 0:
  annulus serve --cpumask 0x1 --socket vm0.sock --disk disk.img

  # A read-only disk with a serial number and a 1 TiB disk of nothing, four queues on three CPUs:
  annulus serve -m '[0,2-3]' --socket a.sock --disk path=disk.img,target=0,lun=0,serial=A1,ro \\
      --disk null:size=1T,block-size=4096 --queues 4

  # Two controllers that share one disk:
  annulus serve --disk shared.img,ro --socket a.sock --disk a.img --socket b.sock --disk b.img

  # The same from a file:
  annulus serve --config annulus.toml";

/// A userspace, polled-mode virtio-scsi storage target over vfio-user.
#[derive(Debug, Parser)]
#[command(
    name = "annulus",
    version,
    after_help = "See 'annulus serve --help' and 'annulus disk create --help' for options and examples."
)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve disks to virtual machines.
    #[command(after_help = format!("{EXAMPLES}\n\n{}", disk::help()))]
    Serve(Box<ServeArgs>),
    /// Make disk files.
    #[command(subcommand)]
    Disk(DiskCommand),
}

#[derive(Debug, Subcommand)]
enum DiskCommand {
    /// Make a disk file.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
}

/// Options of `annulus serve`. Those that belong to a controller are read in their order, see [`scoped`].
#[derive(Debug, Args)]
struct ServeArgs {
    /// Socket that a controller's client connects to; stands once for each controller. Each --disk, --queues,
    /// --cpumask, --queue-cpus, --ring, --port-group, --access-state and --idle after it belongs to that controller, those before the first socket
    /// belong to all
    #[arg(short, long, value_name = "PATH")]
    socket: Vec<PathBuf>,

    /// CPUs that serve the queues, one reactor thread each: a mask (0x5) or a list ([0,2-3]) [default: CPU 0]
    #[arg(short = 'm', long, value_name = "MASK")]
    cpumask: Vec<String>,

    /// Request queues, 1 to 64 [default: one for each CPU]
    #[arg(short, long, value_name = "N")]
    queues: Vec<u32>,

    /// CPUs of the mask for some of the request queues, counted from 0 (0:2,1-3:3) [default: spread evenly]
    #[arg(long, value_name = "QUEUE:CPU,...")]
    queue_cpus: Vec<String>,

    /// Virtqueues that the driver may choose from: split, packed (firmware cannot use those), either [default: auto]
    #[arg(long, value_enum, value_name = "FORMAT")]
    ring: Vec<RingFormat>,

    /// A disk: a path, or a kind and keys (see below); stands once for each disk
    #[arg(short, long, value_name = "DISK")]
    disk: Vec<String>,

    /// Target port group that the controller is in, for guests that reach a disk through several controllers
    #[arg(long, value_name = "N")]
    port_group: Vec<u16>,

    /// How well the port group reaches its disks at first [default: optimized]
    #[arg(long, value_enum, value_name = "STATE")]
    access_state: Vec<AccessState>,

    /// Directory in which reservations and saved mode pages are kept over a restart [default: annulus in XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// What a reactor does without work: never sleep, sleep after a while, sleep at once. One that serves several
    /// controllers sleeps as little as any of them wants [default: adaptive]
    #[arg(long, value_enum, value_name = "POLICY")]
    idle: Vec<Idle>,

    /// Register guest memory with io_uring, which pins it: auto (where it is allowed), or off for guests that give
    /// memory back while they run (balloon, discard) [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    register: Option<Register>,

    /// Longest piece in which guest memory is registered
    #[arg(long, value_name = "SIZE", hide = true, value_parser = units::parse_size)]
    register_chunk: Option<u64>,

    /// Read controllers from a file instead; SIGHUP reads it again and applies what has changed
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["socket", "cpumask", "queues", "queue_cpus", "ring", "port_group", "access_state", "disk"])]
    config: Option<PathBuf>,
}

/// What the user wants.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve disks.
    Serve(ServeConfig),
    /// Make a disk file.
    CreateDisk(CreateConfig),
}

/// What keeps us from knowing it.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Words that are no options; help and version come this way, too.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// Options that do not make sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the command line.
///
/// # Errors
/// [`CliError`], with a message for the user.
pub fn parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, CliError> {
    let matches = Cli::command().try_get_matches_from(words)?;
    let args = match Cli::from_arg_matches(&matches)?.command {
        CliCommand::Serve(args) => args,
        CliCommand::Disk(DiskCommand::Create(args)) => return Ok(Command::CreateDisk(args.check()?)),
    };
    let matches = matches.subcommand_matches("serve").expect("the subcommand that was parsed");
    if let Some(path) = &args.config {
        let mut config = ConfigFile { path: path.clone(), idle: args.idle.last().copied() }.read()?;
        config.register = args.register.unwrap_or(config.register);
        config.register_chunk = args.register_chunk;
        config.state_dir = args.state_dir.or(config.state_dir);
        return Ok(Command::Serve(config));
    }
    let (register, register_chunk) = (args.register.unwrap_or_default(), args.register_chunk);
    let state_dir = args.state_dir.clone().or_else(port::default_state_dir);
    let drafts = scope::gather(scoped(*args, matches)?)?;
    let controllers = scope::finish(&drafts[0], &drafts[1..])?;
    Ok(Command::Serve(ServeConfig { controllers, state_dir, register, register_chunk, file: None }))
}

/// The options that belong to a controller, in the order in which they stand. Masks and disks are read here and not by
/// the parser, so that what is wrong with one is a single line.
fn scoped(args: ServeArgs, matches: &ArgMatches) -> Result<Vec<Scoped>, ConfigError> {
    let mut options: Vec<(usize, Scoped)> = Vec::new();
    let mut add = |id: &str, found: Vec<Scoped>| {
        options.extend(matches.indices_of(id).into_iter().flatten().zip(found));
    };
    let masks = args.cpumask.iter().map(|mask| mask.parse().map(Scoped::CpuMask));
    let homes = args.queue_cpus.iter().map(|homes| homes.parse().map(Scoped::QueueCpus));
    let disks = args.disk.iter().map(|disk| DiskConfig::parse(disk).map(|disk| Scoped::Disk(Arc::new(disk))));
    add("socket", args.socket.into_iter().map(Scoped::Socket).collect());
    add("cpumask", masks.collect::<Result<_, _>>()?);
    add("queues", args.queues.into_iter().map(Scoped::Queues).collect());
    add("queue_cpus", homes.collect::<Result<_, _>>()?);
    add("idle", args.idle.into_iter().map(Scoped::Idle).collect());
    add("ring", args.ring.into_iter().map(Scoped::Ring).collect());
    add("port_group", args.port_group.into_iter().map(Scoped::PortGroup).collect());
    add("access_state", args.access_state.into_iter().map(Scoped::AccessState).collect());
    add("disk", disks.collect::<Result<_, _>>()?);
    options.sort_by_key(|&(index, _)| index);
    Ok(options.into_iter().map(|(_, option)| option).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(words: &str) -> Result<ServeConfig, CliError> {
        match parse(["annulus", "serve"].into_iter().chain(words.split_whitespace()))? {
            Command::Serve(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn help_tells_of_disks() {
        let help = Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(help.contains("Examples:") && help.contains("nvme:") && help.contains("split=OFFSET+SIZE"), "{help}");
    }

    #[test]
    fn the_order_of_options_counts() {
        let config = serve(
            "-m 0x3 --socket a --disk x --ring split --idle spin --queue-cpus 1:0 --socket b --disk y --queues 4",
        )
        .unwrap();
        let found: Vec<_> =
            config.controllers.iter().map(|c| (c.queues, c.disks[0].disk.text.as_str(), c.cpus.cpus().len())).collect();
        assert_eq!(found, [(2, "x", 2), (4, "y", 2)]);
        assert_eq!((config.controllers[0].ring, config.controllers[1].ring), (RingFormat::Split, RingFormat::Auto));
        assert_eq!((config.controllers[0].idle, config.controllers[1].idle), (Idle::Spin, Idle::Adaptive));
        assert_eq!(config.controllers[0].queue_cpus.of(1), Some(0));
        assert_eq!(config.register, Register::Auto);
        assert_eq!(serve("--socket a --disk x --register off").unwrap().register, Register::Off);
    }

    #[test]
    fn sharing() {
        let config = serve("--socket a --disk x --port-group 3 --access-state standby --state-dir /var/tmp/s").unwrap();
        let controller = &config.controllers[0];
        assert_eq!((controller.port_group, controller.access_state), (Some(3), AccessState::Standby));
        assert_eq!(config.state_dir, Some("/var/tmp/s".into()));
    }

    #[test]
    fn usage_errors_name_the_word() {
        for (words, part) in [
            ("--socket a --disk x,colour=red", "colour"),
            ("--socket a --disk x --cpumask 7", "bad CPU mask '7'"),
            ("--socket a --disk x --idle never", "never"),
            ("--socket a --disk x --ring round", "round"),
            ("--socket a --disk x --queue-cpus 7", "bad queue CPUs '7'"),
            ("--config f --queue-cpus 0:0", "--config"),
            ("--socket a --disk x --register never", "never"),
            ("--config f --socket a", "--config"),
            ("--config f --ring split", "--config"),
            ("--sokcet a", "--sokcet"),
            ("", "nothing to serve"),
        ] {
            let error = serve(words).expect_err(words).to_string();
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn the_definition_of_the_options_is_sound() {
        Cli::command().debug_assert();
    }
}
