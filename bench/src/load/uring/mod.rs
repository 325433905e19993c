//! The same work straight on io_uring: the limit of a backend.
//!
//! A CPU has one ring, as a target's core has, whatever the number of its queues; `ring` polls it. Here is what a user asks for,
//! and who gets what of it.

mod buffers;
mod enter;
mod ring;

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::fs::OFlags;
use serde::Serialize;

use super::asked;
use super::crew::{self, Outcome};
use super::options::{Disk, LoadOptions};
use super::pace::Pace;
use super::peer::Peer;
use super::work::Work;
use ring::{BLOCK, Queue, Ring};

/// What to put load on.
#[derive(Debug, Clone, Args, Serialize)]
pub struct RawOptions {
    /// The file or block device; writes change it
    #[arg(short, long, value_name = "PATH")]
    #[serde(serialize_with = "asked::path")]
    pub file: PathBuf,

    /// Use registered buffers
    #[arg(long)]
    pub fixed: bool,

    /// Go through the page cache
    #[arg(long, conflicts_with = "iopoll")]
    pub buffered: bool,

    /// Look into the device's own queues for results: a block device with poll queues
    #[arg(long)]
    pub iopoll: bool,

    /// Offer the CPU to others after so many looks in vain while requests are in flight: threads of the kernel that do the work,
    /// as those of a loop device, may have no other one. 0: never
    #[arg(long = "yield", value_name = "LOOKS", default_value_t = 16)]
    #[serde(rename = "yield")]
    pub yield_after: u32,

    /// Requests that one system call submits at most [default: all that a pass made; of a regular file the first of them as soon as
    /// they are more than twice those that the kernel has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,

    /// Queues, each with a depth and a work of its own; they are dealt to the CPUs in turn, and those of a CPU share its ring
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub queues: u16,
}

/// A file and the rings that load it: one for each CPU that has a queue.
#[derive(Debug)]
pub struct Raw {
    rings: Vec<Ring>,
}

impl Raw {
    /// Opens the file and sets rings up.
    ///
    /// # Errors
    /// The file or the kernel does not do what the options ask for.
    pub fn open(raw: &RawOptions, load: &LoadOptions) -> Result<Self> {
        ensure!(!load.verify, "raw load is not verified");
        load.say_idle_cpus(raw.queues)?;
        let path = raw.file.display();
        let (file, bytes) = open(raw, load).with_context(|| format!("cannot open {path}"))?;
        let file = Arc::new(file);
        let disk = Disk { units: 1, blocks: bytes / u64::from(BLOCK), block_size: BLOCK };
        let queues = (0..raw.queues).map(|number| queue(disk, number, raw, load)).collect::<Result<_>>()?;
        let rings = deal(queues, load.cpus()?.len()).into_iter();
        Ok(Self { rings: rings.map(|queues| Ring::new(Arc::clone(&file), queues, raw, load)).collect::<Result<_>>()? })
    }

    /// The run. A ring belongs to the thread that has used it: there is one run.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn run(mut self, load: &LoadOptions) -> Result<Outcome> {
        crew::run(&mut self.rings, load, &Peer::Unknown)
    }
}

/// Queue `number` with its part of limit and rate.
fn queue(disk: Disk, number: u16, raw: &RawOptions, load: &LoadOptions) -> Result<Queue> {
    let (index, count) = (u64::from(number), u64::from(raw.queues));
    let work = Work::new(load.plan(disk, number, raw.queues)?);
    let left = load.number_ios.map_or(u64::MAX, |ios| ios / count + u64::from(index < ios % count));
    Ok(Queue::new(work, left, load.rate.map(|rate| Pace::new(rate as f64 / count as f64))))
}

/// Deals to `cpus` in turn. Those that get none are left out.
fn deal<T>(all: Vec<T>, cpus: usize) -> Vec<Vec<T>> {
    let mut dealt: Vec<_> = (0..cpus.min(all.len())).map(|_| Vec::new()).collect();
    for (index, one) in all.into_iter().enumerate() {
        dealt[index % cpus].push(one);
    }
    dealt
}

fn open(raw: &RawOptions, load: &LoadOptions) -> std::io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).write(!load.rw.only_reads());
    if !raw.buffered {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    let mut file = options.open(&raw.file)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    Ok((file, bytes))
}

#[cfg(test)]
mod tests;
