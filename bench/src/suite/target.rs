//! The target as a child process: started, waited for, asked what it uses, and ended on every way out.
//!
//! A dropped [`Target`] is stopped. Should this process end without dropping anything, the kernel kills the child, if it
//! was started through [`tethered`], which asks for that.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

/// The hidden subcommand that [`tethered`] stands behind.
pub const TETHER: &str = "tethered";
/// How long a target may take to say that it is ready, and how long to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it has ended.
const NAP: Duration = Duration::from_millis(1);
/// What it prints last when it listens.
const READY: &str = "ready";

/// What starts targets: the program, and a directory for sockets and logs.
#[derive(Debug)]
pub struct Launcher {
    /// A program that has the subcommand [`TETHER`] and ties the child to this process with it.
    tether: Option<PathBuf>,
    program: PathBuf,
    /// Words that every target gets.
    extra: Vec<String>,
    dir: PathBuf,
    started: u32,
}

impl Launcher {
    /// For `program`, by default the annulus beside this one, with its sockets and logs in `dir`.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(program: Option<&Path>, tether: Option<&Path>, extra: &[String], dir: &Path) -> Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().context("cannot find this program's own file")?.with_file_name("annulus"),
        };
        ensure!(
            program.is_file(),
            "there is no target at {}: build it (cargo build --release), or say where it is with --target",
            program.display()
        );
        Ok(Self { tether: tether.map(Path::to_owned), program, extra: extra.to_vec(), dir: dir.to_owned(), started: 0 })
    }

    /// A path for a socket that nobody has used.
    pub fn socket(&mut self) -> PathBuf {
        self.started += 1;
        self.dir.join(format!("s{}", self.started))
    }

    /// The target's program, tied to this process if that is possible.
    fn command(&self) -> Command {
        let Some(tether) = &self.tether else { return Command::new(&self.program) };
        let mut command = Command::new(tether);
        command.arg(TETHER).arg(std::process::id().to_string()).arg(&self.program);
        command
    }

    /// Starts `annulus serve` with these words and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready; what it said is in the error.
    pub fn start(&self, words: &[String]) -> Result<Target> {
        let log = self.dir.join("target.log");
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let began = Instant::now();
        let mut child = self
            .command()
            .arg("serve")
            .args(words)
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // Ctrl-C is for us: the target is stopped in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut stdout = child.stdout.take().expect("it is a pipe");
        let mut target = Target { child, _stdout: None, start: Duration::ZERO };
        match wait_until_ready(&mut stdout) {
            Ok(()) => {
                target.start = began.elapsed();
                target._stdout = Some(stdout);
                Ok(target)
            }
            Err(error) => {
                drop(target);
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(error).with_context(|| format!("'annulus serve {}': {}", words.join(" "), said.trim()))
            }
        }
    }
}

fn wait_until_ready(stdout: &mut ChildStdout) -> Result<()> {
    let began = Instant::now();
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let left = PATIENCE.checked_sub(began.elapsed()).context("the target did not become ready")?;
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let fd = stdout.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            found => found.context("cannot wait for the target")?,
        };
        match stdout.read(&mut bytes).context("cannot read what the target says")? {
            0 => bail!("the target did not start"),
            // What it says is bounded by its configuration; only the end matters.
            count => said.extend_from_slice(&bytes[..count]),
        }
        if String::from_utf8_lossy(&said).lines().any(|line| line == READY) {
            return Ok(());
        }
    }
}

/// A running target.
#[derive(Debug)]
pub struct Target {
    child: Child,
    /// Kept open: a target that cannot write its last words need not complain.
    _stdout: Option<ChildStdout>,
    start: Duration,
}

impl Target {
    /// How long it took from the start of the process until it listened.
    pub fn start_time(&self) -> Duration {
        self.start
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that its threads have used so far, to the nanosecond.
    ///
    /// # Errors
    /// It has ended, or the kernel does not say.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut sum = 0;
        let tasks = format!("/proc/{}/task", self.pid());
        for task in std::fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let path = task?.path().join("schedstat");
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let spent = text.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            sum += spent.with_context(|| format!("{} says '{text}'", path.display()))?;
        }
        ensure!(sum > 0, "the kernel does not count CPU time in {tasks}");
        Ok(Duration::from_nanos(sum))
    }

    /// Bytes of memory that it holds, guest memory apart.
    ///
    /// # Errors
    /// As above.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps", self.pid());
        Ok(own_memory(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let asked = Instant::now();
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        while asked.elapsed() < PATIENCE {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(NAP),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident bytes of a process's mappings (`/proc/PID/smaps`), but for those of memfds: these are guests'.
fn own_memory(smaps: &str) -> u64 {
    let (mut sum_kib, mut is_guest) = (0, false);
    for line in smaps.lines() {
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        // A mapping begins with its range; its attributes end in a colon.
        if !first.ends_with(':') {
            is_guest = line.contains(" /memfd:");
        } else if let Some(rest) = line.strip_prefix("Rss:")
            && !is_guest
        {
            sum_kib += rest.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
        }
    }
    sum_kib * 1024
}

/// Becomes another program, which the kernel kills when the thread of process `parent` that started us ends.
///
/// # Errors
/// There is no such program, nobody waits for it any more. Does not return otherwise.
pub fn tethered(parent: u32, words: &[OsString]) -> Result<Infallible> {
    let (program, words) = words.split_first().context("there is nothing to start")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie the child to us")?;
    // It may have ended just before that.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    ensure!(now == Some(parent as i32), "process {parent} has not started this, or has ended");
    let error = Command::new(program).args(words).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(program).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_guests_is_not_the_targets() {
        let smaps = "\
55d0c0000000-55d0c0010000 r-xp 00000000 fe:00 12 /usr/bin/annulus
Size:                 64 kB
Rss:                  40 kB
Pss:                  40 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0001000000 rw-s 00000000 00:01 99 /memfd:guest-memory (deleted)
Size:              16384 kB
Rss:               16384 kB
7f0002000000-7f0002001000 rw-p 00000000 00:00 0
Rss:                   4 kB
";
        assert_eq!(own_memory(smaps), 44 * 1024);
    }

    #[test]
    fn a_child_of_somebody_else_does_not_run() {
        let error = tethered(1, &["/bin/true".into()]).unwrap_err().to_string();
        assert!(error.contains("process 1 has not started this"), "{error}");
        rustix::process::set_parent_process_death_signal(None).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nothing");
        let error = Launcher::new(Some(&program), None, &[], dir.path()).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("--target"), "{error}");
    }
}
