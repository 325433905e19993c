//! The `annulus` command: parse, build, run.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use annulus::config::{self, CliError, Command, ConfigFile, CreateConfig, ServeConfig};
use annulus::target::{self, Change, Target};
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

/// Names a filter for log lines, as `tracing` writes them: `ANNULUS_LOG=debug`.
const LOG_VARIABLE: &str = "ANNULUS_LOG";
/// What the log shows where nobody asks for more.
const LOG_DEFAULT: &str = "info";
/// Levels that a filter can name.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What the names of our modules start with.
const LOG_MODULES: [&str; 3] = ["annulus", "bdev", "reactor"];
/// How often disks are looked at that may have grown: one system call for each, on the main thread.
const LOOK: Duration = Duration::from_secs(1);
/// Exit code for a second signal: what a shell gives for SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let command = match config::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(CliError::Usage(error)) if shows_help(&error) => error.exit(),
        Err(CliError::Usage(error)) => return fail(2, &one_line(&error.to_string())),
        Err(CliError::Config(error)) => return fail(2, &error),
    };
    start_log();
    raise_descriptor_limit();
    // What is written past the limit of a file's size fails, and whoever wanted it is told: it does not end the process.
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        return fail(1, &format!("cannot handle signals: {error}"));
    }
    let done = match command {
        Command::Serve(config) => serve(&config),
        Command::CreateDisk(config) => create_disk(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &with_causes(&error)),
    }
}

/// Serves until the first SIGINT or SIGTERM, and then ends in order. A second one ends at once. SIGHUP applies what has
/// changed, SIGUSR1 tells what was done.
fn serve(config: &ServeConfig) -> anyhow::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal only sets the flag, the second finds it set.
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, again.clone())?;
        signal_hook::flag::register(signal, again.clone())?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).context("cannot handle signals")?;
    let mut target = Target::start(config)?;
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{}ready", target.summary());
    let (sender, caught) = mpsc::channel();
    let forward = move || signals.forever().try_for_each(|signal| sender.send(signal));
    std::thread::Builder::new().name("signals".into()).spawn(forward).context("cannot start a thread")?;
    loop {
        match caught.recv_timeout(LOOK) {
            Ok(SIGHUP) => reload(&mut target, config.file.as_ref()),
            Ok(SIGUSR1) => _ = writeln!(std::io::stdout(), "{}counted", target.activity()),
            Err(RecvTimeoutError::Timeout) => tell(target.follow_growth().map_err(anyhow::Error::new)),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    tracing::info!("stopping: ending what is in flight and flushing the disks; a second signal stops at once");
    anyhow::ensure!(target.stop(), "stopped, but not every disk could be flushed: see the log lines above");
    Ok(())
}

/// Reads the configuration again, looks at the sizes of disks, and tells what has changed. What cannot be applied leaves
/// everything as it is.
fn reload(target: &mut Target, file: Option<&ConfigFile>) {
    if let Some(file) = file {
        tell(file.read().map_err(anyhow::Error::new).and_then(|config| Ok(target.reload(&config)?)));
    }
    tell(target.resize().map_err(anyhow::Error::new));
    let _ = writeln!(std::io::stdout(), "reloaded");
}

fn tell(done: anyhow::Result<Vec<Change>>) {
    match done {
        Ok(changes) => changes.iter().for_each(|change| _ = writeln!(std::io::stdout(), "{change}")),
        Err(error) => tracing::error!("nothing was changed: {}", with_causes(&error)),
    }
}

fn create_disk(config: &CreateConfig) -> anyhow::Result<()> {
    target::create_disk(config)?;
    let block_size =
        if config.block_size == 512 { String::new() } else { format!(",block-size={}", config.block_size) };
    let path = config.path.display().to_string().replace(',', ",,");
    let _ = writeln!(std::io::stdout(), "made {path}; serve it with --disk {path}{block_size}");
    Ok(())
}

/// Whether the parser's "error" is help or the version.
fn shows_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What the parser says, without its paragraph on usage.
fn one_line(message: &str) -> String {
    let said = message.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    let command = if std::env::args().nth(1).as_deref() == Some("disk") { "disk create" } else { "serve" };
    format!("{} (see 'annulus {command} --help')", said.trim_start_matches("error: "))
}

fn start_log() {
    let asked = std::env::var_os(LOG_VARIABLE).filter(|text| !text.is_empty());
    let filter = asked.as_ref().and_then(|text| log_filter(text.to_str()?));
    let is_bad = asked.is_some() && filter.is_none();
    let filter = filter.unwrap_or_else(|| EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if is_bad {
        let text = asked.unwrap_or_default();
        tracing::warn!("{LOG_VARIABLE}={text:?} is not understood; write a level such as debug, or annulus::dma=debug");
    }
}

/// A filter as the user wrote it. A bare word that is no level would be a module that is not there, and hide all else.
fn log_filter(text: &str) -> Option<EnvFilter> {
    let known = |word: &str| {
        LOG_LEVELS.contains(&word.to_ascii_lowercase().as_str())
            || word.contains(['=', '['])
            || LOG_MODULES.iter().any(|module| word.starts_with(module))
    };
    if !text.split(',').all(|word| known(word.trim())) {
        return None;
    }
    EnvFilter::try_new(text).ok()
}

/// Takes as many open files as this process may have. Shells set a low limit for programs that use `select`.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "cannot raise the limit on open files");
    }
}

/// What went wrong, with each cause that it does not name itself.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        _ if said.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("annulus: {error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("the cause");
        assert_eq!(with_causes(&anyhow::Error::new(cause()).context("no way")), "no way: the cause");
        assert_eq!(with_causes(&anyhow::Error::new(cause()).context("no way: the cause. Go")), "no way: the cause. Go");
        assert_eq!(with_causes(&cause().into()), "the cause");
    }

    #[test]
    fn filters_that_would_hide_everything_are_bad() {
        for text in ["debug", "WARN", "annulus::dma", "info,bdev=trace", "warn, reactor"] {
            assert!(log_filter(text).is_some(), "{text}");
        }
        for text in ["loud", "debug,loud", "annulus=loud", "1+1", "="] {
            assert!(log_filter(text).is_none(), "{text}");
        }
    }
}
