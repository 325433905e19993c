//! Pinned busy-poll threads, one a CPU.
//!
//! A reactor is one thread on one CPU that calls one [`Context`] over and over: first a bounded batch of messages from
//! its mailbox, then one poll. It owns the loop, the mailbox, going to sleep and waking up, and the account of busy and
//! idle time. It knows nothing of storage, and never blocks except to sleep when there is nothing to do.
//!
//! The root package implements [`Context`] and calls [`spawn`]; everybody else talks to a reactor through its
//! [`Handle`]. Control threads wait for reactors at a [`Gate`], never the other way round.

mod clock;
mod context;
mod cpu;
mod gate;
mod load;
mod mailbox;
mod pace;
mod run;
mod sleep;
mod thread;

pub use clock::Clock;
pub use context::{Context, Drain, Progress, WakeFds};
pub use cpu::{Cpu, CpuError, CpuList};
pub use gate::{Gate, Pass};
pub use load::Load;
pub use mailbox::Handle;
#[cfg(feature = "testing")]
pub use mailbox::Mailbox;
pub use run::IdlePolicy;
#[cfg(feature = "testing")]
pub use run::Stepper;
#[cfg(feature = "testing")]
pub use thread::run_here;
pub use thread::{Config, Panicked, Reactor, SpawnError, spawn};

#[cfg(test)]
mod tests;
