//! Boots real Linux guests in QEMU, through `scripts/guest`, on disks that the real binary serves.
//!
//! Guests take turns, whichever test runner runs them: an emulated processor and a polling target fill a small machine.
//! Every wait is bounded. When a test fails, the end of each guest's console is printed.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod programs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::Target;

/// No guest lives so long; `scripts/guest` ends it.
const GUEST_LIMIT_S: u32 = 600;
/// No single step of a guest takes so long, boot included, on however busy a machine.
const STEP_LIMIT: Duration = Duration::from_secs(120);
/// What jobs share in which the target itself runs in the guest.
const SERVING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/serving.sh");
/// How much of a console a failed test shows.
const CONSOLE_TAIL_LINES: usize = 60;

/// The right to run guests.
pub struct Lab {
    /// Locked while this lives, also against other processes.
    _turn: File,
}

impl Lab {
    /// Waits until no other test runs guests.
    pub fn enter() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests.lock");
        let turn = File::create(path).expect("the lock of the guests");
        turn.lock().expect("lock it");
        Self { _turn: turn }
    }

    /// Boots Linux, which runs `script`, with further arguments of `scripts/guest`. Paths among them are below the
    /// target's directory.
    pub fn boot(&self, target: &Target, name: &'static str, script: &str, args: &[&str]) -> Machine {
        self.boot_in(&target.path(""), name, script, args)
    }

    /// The same with a directory that no target serves.
    pub fn boot_in(&self, dir: &Path, name: &'static str, script: &str, args: &[&str]) -> Machine {
        let job = format!("{name}.job");
        std::fs::write(dir.join(&job), format!(". /job/lib.sh\n{script}\n")).expect("write the job");
        self.start(dir, name, &[&["--job", &job, "--file", SERVING], args].concat())
    }

    /// Boots what the first disk holds.
    pub fn boot_disk(&self, target: &Target, name: &'static str, args: &[&str]) -> Machine {
        self.start(&target.path(""), name, &[&["--boot-disk"], args].concat())
    }

    fn start(&self, below: &Path, name: &'static str, args: &[&str]) -> Machine {
        let dir = below.join(name);
        std::fs::create_dir(&dir).expect("a directory for the guest");
        let child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/guest"))
            .arg("--log")
            .arg(dir.join("console"))
            .arg("--firmware-log")
            .arg(dir.join("firmware"))
            .arg("--pid-file")
            .arg(dir.join("pid"))
            .args(["--quiet", "--timeout", &GUEST_LIMIT_S.to_string()])
            .args(args)
            .current_dir(below)
            .env("TMPDIR", &dir)
            .stdin(Stdio::null())
            .stderr(File::create(dir.join("script")).expect("a log for the script"))
            .spawn()
            .expect("start scripts/guest");
        Machine { child, dir, name, born: Instant::now() }
    }
}

/// A guest in QEMU.
pub struct Machine {
    child: Child,
    dir: PathBuf,
    name: &'static str,
    born: Instant,
}

impl Machine {
    /// What its serial console has said.
    pub fn console(&self) -> String {
        self.text("console").replace('\r', "")
    }

    /// What its firmware has said.
    pub fn firmware(&self) -> String {
        self.text("firmware").replace('\r', "")
    }

    /// What `scripts/guest` has said.
    pub fn complaint(&self) -> String {
        self.text("script")
    }

    /// Every value that the job has reported under a name, in order.
    pub fn results(&self, key: &str) -> Vec<String> {
        let mark = format!("ANNULUS-RESULT: {key} ");
        let console = self.console();
        // The last line may still be on its way.
        let whole = console.rfind('\n').map_or("", |end| &console[..end]);
        whole.lines().filter_map(|line| line.strip_prefix(&mark)).map(str::to_owned).collect()
    }

    /// Waits for a value that the job reports under a name and that `wanted` likes; gives the latest.
    pub fn await_result(&mut self, key: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("wait for the guest");
            if let Some(value) = self.results(key).into_iter().rev().find(|value| wanted(value)) {
                return value;
            }
            assert!(ended.is_none(), "guest {} ended without the wanted '{key}'", self.name);
            assert!(start.elapsed() < STEP_LIMIT, "guest {} has not said the wanted '{key}'", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a count that the job reports under a name to exceed `bound`; gives the latest.
    pub fn await_more(&mut self, key: &str, bound: u64) -> u64 {
        let count = |value: &str| value.parse::<u64>().expect("a count");
        count(&self.await_result(key, |value| count(value) > bound))
    }

    /// Whether QEMU still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("wait for the guest").is_none()
    }

    /// SIGKILL for QEMU, and waits until it is gone.
    pub fn kill(&mut self) {
        let pid: i32 = self.text("pid").trim().parse().expect("QEMU's process id");
        // `scripts/guest` waits for it while it lives, so the number is still QEMU's.
        assert!(self.lives(), "guest {} has ended before", self.name);
        kill_process(Pid::from_raw(pid).expect("a process id"), Signal::KILL).expect("kill QEMU");
        self.wait();
    }

    /// The job must end well.
    pub fn finish(mut self) -> Self {
        let status = self.wait();
        assert!(status.success(), "guest {}: {status}: {}", self.name, self.complaint());
        self
    }

    /// Waits for the end of the guest, however it ends.
    pub fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the guest") {
                return status;
            }
            let limit = Duration::from_secs(u64::from(GUEST_LIMIT_S)) + STEP_LIMIT;
            assert!(self.born.elapsed() < limit, "guest {} does not end", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.born.elapsed()
    }

    fn text(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join(file)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The script ends QEMU and takes its files away.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.child.id() as i32)) {
            let _ = kill_process(pid, Signal::TERM);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let console = self.console();
            let lines: Vec<&str> = console.lines().collect();
            let tail = &lines[lines.len().saturating_sub(CONSOLE_TAIL_LINES)..];
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guest-{}.log", self.name));
            let _ = std::fs::write(&kept, &console);
            eprintln!("--- guest {}: {}", self.name, self.complaint().trim_end());
            eprintln!("the end of its console, which is in {}:\n{}\n---", kept.display(), tail.join("\n"));
        }
    }
}
