//! A reactor's thread: where it comes from, how it is stopped.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use rustix::io::Errno;

use crate::context::Context;
use crate::cpu::{Cpu, CpuError};
use crate::gate::Gate;
use crate::load::Load;
use crate::mailbox::{Closer, Handle, Shared};
use crate::run::{IdlePolicy, Runner};

/// Where and how a reactor runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its CPU.
    pub cpu: Cpu,
    /// Name of the thread; the kernel shows 15 bytes of it.
    pub name: String,
    /// What it does when there is nothing to do.
    pub idle: IdlePolicy,
    /// The most messages that can wait for it.
    pub mailbox_len: usize,
}

impl Config {
    /// A reactor on `cpu` with a mailbox of the usual length.
    pub fn new(cpu: Cpu, name: impl Into<String>, idle: IdlePolicy) -> Self {
        Self { cpu, name: name.into(), idle, mailbox_len: 1024 }
    }
}

/// Why a reactor could not be started. `E` is what building its context may fail with.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError<E> {
    /// Its CPU cannot be used.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// No eventfd for its bell.
    #[error("cannot make an eventfd: {0}")]
    Bell(Errno),
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The context could not be built.
    #[error("{0}")]
    Build(E),
    /// Building the context panicked.
    #[error(transparent)]
    Panicked(Panicked),
}

/// A reactor's thread panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reactor on {0} panicked")]
pub struct Panicked(pub Cpu);

/// A running reactor. Dropping this asks it to stop and does not wait.
#[must_use = "dropping a reactor stops it"]
pub struct Reactor<M> {
    cpu: Cpu,
    shared: Arc<Shared<M>>,
    ended: Gate,
    thread: Option<JoinHandle<()>>,
}

/// Starts a thread, pins it, builds the context *on it* (an io_uring may belong to one thread only) and runs it. Returns
/// when the context is built.
///
/// # Errors
/// [`SpawnError`]. No thread is left then.
pub fn spawn<C, E, B>(config: Config, build: B) -> Result<Reactor<C::Message>, SpawnError<E>>
where
    C: Context,
    E: Send + 'static,
    B: FnOnce() -> Result<C, E> + Send + 'static,
{
    let cpu = config.cpu;
    cpu.check()?;
    let shared = Arc::new(Shared::new(config.mailbox_len).map_err(SpawnError::Bell)?);
    let (ended, mut passes) = Gate::new(1);
    let (outcome, built) = mpsc::sync_channel(1);
    let inside = Arc::clone(&shared);
    let thread = Builder::new()
        .name(config.name)
        .spawn(move || {
            // Dropped last to first: the context, then what is left in the mailbox, then others learn of the end.
            let _ended = passes.pop();
            let _closer = Closer(Arc::clone(&inside));
            let built = cpu.pin_current_thread().map_err(SpawnError::Cpu);
            match built.and_then(|()| build().map_err(SpawnError::Build)) {
                Ok(context) => {
                    let mut runner = Runner { context, shared: inside, idle: config.idle, stopping: false };
                    // The spawner waits for this; if it is gone all the same, the stop it left behind ends the run.
                    let _ = outcome.send(Ok(()));
                    tracing::debug!(%cpu, "reactor runs");
                    runner.run();
                    tracing::debug!(%cpu, "reactor has drained");
                }
                Err(error) => {
                    let _ = outcome.send(Err(error));
                }
            }
        })
        .map_err(SpawnError::Thread)?;
    let reactor = Reactor { cpu, shared, ended, thread: Some(thread) };
    match built.recv() {
        Ok(Ok(())) => Ok(reactor),
        Ok(Err(error)) => {
            // It ends by itself. Whether it panicked on the way says less than the error.
            let _ = reactor.join();
            Err(error)
        }
        Err(mpsc::RecvError) => {
            let _ = reactor.join();
            Err(SpawnError::Panicked(Panicked(cpu)))
        }
    }
}

/// Runs a context on the calling thread until it has drained, which it is asked for from the first pass on: for those who
/// look at the loop itself.
///
/// # Errors
/// There is no eventfd for the bell.
#[cfg(feature = "testing")]
pub fn run_here<C: Context>(context: C, idle: IdlePolicy) -> Result<(), Errno> {
    let shared = Arc::new(Shared::new(1)?);
    shared.ask_stop();
    Runner { context, shared, idle, stopping: true }.run();
    Ok(())
}

impl<M> Reactor<M> {
    /// Its CPU.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// A way to post messages to it.
    pub fn handle(&self) -> Handle<M> {
        Handle(Arc::clone(&self.shared))
    }

    /// What it did with its time.
    pub fn load(&self) -> Load {
        self.shared.meter.load()
    }

    /// Asks it to stop: it handles the messages that were posted before, and ends when its context has drained.
    pub fn stop(&self) {
        self.shared.ask_stop();
    }

    /// Whether it has ended and dropped its context.
    pub fn is_ended(&self) -> bool {
        self.ended.is_open()
    }

    /// Waits until it has ended (`true`) or `deadline` has passed (`false`). Does not ask it to stop.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        self.ended.wait_until(deadline)
    }

    /// Waits until it has ended, as long as it takes. Does not ask it to stop.
    ///
    /// # Errors
    /// If its thread panicked.
    pub fn join(mut self) -> Result<(), Panicked> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Panicked(self.cpu)),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl<M> Drop for Reactor<M> {
    fn drop(&mut self) {
        self.shared.ask_stop();
    }
}

impl<M> fmt::Debug for Reactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("cpu", &self.cpu).field("ended", &self.is_ended()).finish_non_exhaustive()
    }
}
