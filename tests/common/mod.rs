//! Runs the real binary in a directory of its own, and helps tests to drive it.
//!
//! Every wait is bounded: a watchdog kills a target that outlives its test's time, which ends all calls that wait for it.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod aim;
pub mod full;
pub mod io;
pub mod load;
pub mod loops;
pub mod neighbour;
pub mod placed;
pub mod racer;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use annulus_bench::raw::RawClient;
use annulus_bench::spdk_like::SpdkInitiator;
use annulus_bench::{Guest, Options};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

/// No test takes so long, on however busy a machine.
const TEST_LIMIT: Duration = Duration::from_secs(900);
/// No single step takes so long.
pub const STEP_LIMIT: Duration = Duration::from_secs(40);
/// The socket of a target with one controller.
pub const SOCKET: &str = "vm0.sock";

/// A running target.
pub struct Target {
    child: Arc<Mutex<Child>>,
    dir: Arc<TempDir>,
    output: Arc<Mutex<String>>,
    /// Dropping it calls the watchdog off.
    _watchdog: Sender<()>,
}

/// A new directory for a target's files.
pub fn directory() -> Arc<TempDir> {
    Arc::new(TempDir::with_prefix("annulus-").expect("a temporary directory"))
}

/// A mask of the first `count` CPUs that this process may use, or of fewer.
pub fn cpumask(count: usize) -> String {
    let allowed = rustix::thread::sched_getaffinity(None).expect("own affinity");
    let cpus = (0..64).filter(|&cpu| allowed.is_set(cpu)).take(count);
    format!("{:#x}", cpus.fold(0u64, |mask, cpu| mask | 1 << cpu))
}

impl Target {
    /// One controller on one CPU, on [`SOCKET`], with these further arguments.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(directory(), args)
    }

    /// The same in a directory that has the disks' files.
    pub fn start_in(dir: Arc<TempDir>, args: &[&str]) -> Self {
        let mask = cpumask(1);
        Self::serve(dir, &[&["--cpumask", &mask, "--idle", "adaptive", "--socket", SOCKET], args].concat())
    }

    /// Two controllers, on `a.sock` and `b.sock`, with these further arguments each.
    pub fn start_two(a: &[&str], b: &[&str]) -> Self {
        let mask = cpumask(1);
        let common = ["--cpumask", &mask, "--idle", "adaptive"];
        Self::serve(directory(), &[&common[..], &["--socket", "a.sock"], a, &["--socket", "b.sock"], b].concat())
    }

    /// `annulus serve` with these arguments, in `dir`. Returns when all sockets named by `--socket` are there.
    pub fn serve(dir: Arc<TempDir>, args: &[&str]) -> Self {
        Self::spawn(dir, args).await_ready(args)
    }

    /// The same, and it logs what only developers want to know.
    pub fn serve_verbose(dir: Arc<TempDir>, args: &[&str]) -> Self {
        Self::spawn_logging(dir, args, "debug").await_ready(args)
    }

    fn await_ready(self, args: &[&str]) -> Self {
        let sockets = args.windows(2).filter(|pair| pair[0] == "--socket").map(|pair| pair[1]);
        for socket in sockets {
            self.await_socket(socket);
        }
        self.until("word that it is ready", || self.output().contains("\nready\n") || self.exit_status().is_some());
        self
    }

    /// The same without waiting.
    pub fn spawn(dir: Arc<TempDir>, args: &[&str]) -> Self {
        Self::spawn_logging(dir, args, "info")
    }

    /// The same as [`Target::serve_verbose`], without the privilege to lock more memory than `limit` (soft and hard, in
    /// bytes).
    pub fn serve_within_memory_lock_limit(dir: Arc<TempDir>, limit: &str, args: &[&str]) -> Self {
        let mut words = vec!["prlimit".to_owned(), format!("--memlock={limit}")];
        if rustix::process::geteuid().is_root() {
            words.splice(0..0, ["setpriv".to_owned(), "--bounding-set=-ipc_lock".to_owned()]);
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_annulus"));
        Self::spawn_command(command, dir, args, "debug").await_ready(args)
    }

    fn spawn_logging(dir: Arc<TempDir>, args: &[&str], filter: &str) -> Self {
        Self::spawn_command(Command::new(env!("CARGO_BIN_EXE_annulus")), dir, args, filter)
    }

    fn spawn_command(mut command: Command, dir: Arc<TempDir>, args: &[&str], filter: &str) -> Self {
        let mut child = command
            .arg("serve")
            .args(args)
            .env("ANNULUS_LOG", filter)
            .env("XDG_STATE_HOME", dir.path().join("state"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the target");
        let output = Arc::new(Mutex::new(format!("$ annulus serve {}\n", args.join(" "))));
        collect(child.stdout.take().expect("piped"), &output);
        collect(child.stderr.take().expect("piped"), &output);
        let child = Arc::new(Mutex::new(child));
        let _watchdog = watch(Arc::clone(&child), Arc::clone(&output));
        Self { child, dir, output, _watchdog }
    }

    /// Waits until a socket is there.
    pub fn await_socket(&self, name: &str) {
        let path = self.path(name);
        self.until("the socket", || path.exists() || self.exit_status().is_some());
        assert!(path.exists(), "the target ended before {name} was there");
    }

    /// Waits until `done` says so; panics past [`STEP_LIMIT`].
    pub fn until(&self, what: &str, done: impl FnMut() -> bool) {
        until(what, done);
    }

    /// Where a file of the target's is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory, for a next target on the same files.
    pub fn directory(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// A guest on [`SOCKET`] with the usual options.
    pub fn guest(&self) -> Guest {
        self.guest_on(SOCKET, Options::default())
    }

    /// A guest on a socket.
    pub fn guest_on(&self, socket: &str, options: Options) -> Guest {
        let options = Options { limit: STEP_LIMIT, ..options };
        Guest::attach(&self.path(socket), options).expect("attach")
    }

    /// A guest on a socket that has not started the device.
    pub fn connect_on(&self, socket: &str, options: Options) -> Guest {
        let options = Options { limit: STEP_LIMIT, ..options };
        Guest::connect(&self.path(socket), options).expect("connect")
    }

    /// A client of raw messages on a socket, version agreed.
    pub fn raw(&self, socket: &str) -> RawClient {
        RawClient::negotiate(&self.path(socket), STEP_LIMIT).expect("negotiate")
    }

    /// A client that has said nothing yet.
    pub fn silent(&self, socket: &str) -> RawClient {
        RawClient::connect(&self.path(socket), STEP_LIMIT).expect("connect")
    }

    /// An initiator like SPDK's.
    pub fn spdk(&self, socket: &str) -> SpdkInitiator {
        SpdkInitiator::attach(&self.path(socket), STEP_LIMIT).expect("attach")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child();
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
        // Not waited for while we hold the lock, so the number is still the child's.
        kill_process(pid, signal).expect("signal the target");
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("wait for the target")
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        self.until("the end of the target", || self.exit_status().is_some());
        self.exit_status().expect("it has ended")
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// As [`Target::stop`], and returns all that it has printed.
    pub fn end(self) -> String {
        let output = self.output.clone();
        self.stop();
        // What it said last may still be on its way.
        while Arc::strong_count(&output) > 1 {
            std::thread::yield_now();
        }
        Arc::into_inner(output).expect("nobody else has it").into_inner().expect("no reader panics")
    }

    /// SIGTERM: it must end well, remove its sockets, and have said nothing of a panic.
    pub fn stop(self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "after SIGTERM: {status}");
        let left: Vec<_> = self.files().into_iter().filter(|name| name.ends_with(".sock")).collect();
        assert_eq!(left, [""; 0], "sockets are left behind");
        assert!(!self.output().contains("panicked at"), "the target panicked");
    }

    /// The end for a target whose disks never answer, and so cannot be flushed in time: SIGKILL. It must have said nothing
    /// of a panic.
    pub fn abandon(self) {
        assert!(self.exit_status().is_none(), "the target has ended");
        assert!(!self.output().contains("panicked at"), "the target panicked");
        self.kill();
    }

    /// Names of the files in its directory.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    /// All it has printed.
    pub fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        let pid = self.child().id();
        std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the target lives").count()
    }

    /// Bytes of memory that belong to the target alone and lie in no file: heap, stacks, copies.
    pub fn private_bytes(&self) -> u64 {
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("the target lives");
        let line = smaps.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel tells");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Sets how many it may have open, and returns what was set before.
    pub fn limit_open_files(&self, limit: Rlimit) -> Rlimit {
        let child = self.child();
        let pid = Pid::from_raw(child.id() as i32).expect("a child has a number");
        prlimit(Some(pid), Resource::Nofile, limit).expect("set a limit of the target")
    }

    /// Sets how long it may make a file, in bytes; no limit if `None`.
    pub fn limit_file_size(&self, current: Option<u64>) {
        let pid = Pid::from_raw(self.child().id() as i32).expect("a child has a number");
        // It has the bound that we have.
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = current.or(maximum);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum }).expect("set a limit of the target");
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("no holder panics")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the target said:\n{}---", self.output());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: &Arc<Mutex<String>>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().expect("no reader panics");
            output.push_str(&line);
            output.push('\n');
        }
    });
}

fn watch(child: Arc<Mutex<Child>>, output: Arc<Mutex<String>>) -> Sender<()> {
    let (sender, receiver) = channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(TEST_LIMIT) == Err(RecvTimeoutError::Timeout) {
            output.lock().expect("no reader panics").push_str("(killed: the test took too long)\n");
            let _ = child.lock().expect("no holder panics").kill();
        }
    });
    sender
}

/// Waits until `done` says so; panics past [`STEP_LIMIT`].
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < STEP_LIMIT, "{what} does not come within {STEP_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a file of `len` bytes of zeros.
pub fn image(dir: &Path, name: &str, len: u64) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).and_then(|file| file.set_len(len)).expect("make a disk image");
    path
}
