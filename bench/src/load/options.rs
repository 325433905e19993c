//! What load to make, as the command line says it; names as fio has them.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::guest::queue::Format;

use super::units::{self, CpuList, Split};
use super::work::Plan;

/// What is done, in which order of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Rw {
    /// Read from the beginning to the end, and again.
    Read,
    /// Write so.
    Write,
    /// Read anywhere.
    RandRead,
    /// Write anywhere.
    RandWrite,
    /// Read and write anywhere.
    RandRw,
}

/// The layout of a virtqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RingKind {
    /// Descriptor table, avail ring and used ring.
    Split,
    /// One ring of descriptors.
    Packed,
}

impl From<RingKind> for Format {
    fn from(kind: RingKind) -> Self {
        match kind {
            RingKind::Split => Self::Split,
            RingKind::Packed => Self::Packed,
        }
    }
}

/// Options of every kind of load.
#[derive(Debug, Clone, Args)]
pub struct LoadOptions {
    /// What to do
    #[arg(long, value_enum, default_value = "randread")]
    pub rw: Rw,

    /// Bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = units::block_size)]
    pub bs: u32,

    /// Requests of several sizes: SIZE/PERCENT:SIZE/PERCENT...
    #[arg(long, value_name = "SPLIT", conflicts_with = "bs")]
    pub bssplit: Option<Split>,

    /// Percentage of reads of randrw
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub rwmixread: u8,

    /// Requests in flight, for each queue
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub iodepth: u16,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub runtime: Duration,

    /// How long to make load before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub ramp: Duration,

    /// Stop after so many requests, ramp included, if that is earlier
    #[arg(long, value_name = "N")]
    pub number_ios: Option<u64>,

    /// Use the first so many bytes only
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub size: Option<u64>,

    /// Writes carry a pattern, reads check it: all blocks if there are only reads, else those written before
    #[arg(long)]
    pub verify: bool,

    /// Seed of addresses and patterns
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Requests a second, for all queues together [default: as many as possible]
    #[arg(long, value_name = "IOPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,

    /// CPUs that make load, one thread each [default: the last one that we may use]
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuList>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of the ring between driver and device.
#[derive(Debug, Clone, Args)]
pub struct RingOptions {
    /// Request queues; they are dealt to the CPUs in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub queues: u16,

    /// Queues that carry load; the others are set up and stay empty [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub busy_queues: Option<u16>,

    /// Layout of the virtqueues
    #[arg(long, value_enum, default_value = "split")]
    pub ring: RingKind,

    /// Entries of each queue; fewer if the device allows fewer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(2..=32768))]
    pub queue_size: u16,

    /// Put descriptors in an indirect table
    #[arg(long)]
    pub indirect: bool,

    /// Pieces that the data of a request is in, no two of them next to each other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub segments: u16,

    /// Data begins so many bytes behind a page boundary
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..4096))]
    pub align_offset: u16,
}

impl RingOptions {
    /// Queues that carry load.
    pub fn busy(&self) -> u16 {
        self.busy_queues.unwrap_or(self.queues).min(self.queues)
    }
}

/// What load is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Logical units, all alike; a file is one.
    pub units: u16,
    /// Blocks of each.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u32,
}

impl LoadOptions {
    /// Request sizes and their percentages.
    pub fn split(&self) -> Split {
        self.bssplit.clone().unwrap_or_else(|| Split(vec![(self.bs, 100)]))
    }

    /// Longest request in bytes.
    pub fn max_bytes(&self) -> u32 {
        self.split().0.iter().map(|&(bytes, _)| bytes).max().expect("a split has a part")
    }

    /// CPUs that make load.
    ///
    /// # Errors
    /// The kernel does not say which there are.
    pub fn cpus(&self) -> Result<Vec<usize>> {
        match &self.cpus {
            Some(list) => Ok(list.0.clone()),
            None => Ok(super::cpu::allowed()?.pop().into_iter().collect()),
        }
    }

    /// The work of queue `queue` of `queues`.
    ///
    /// # Errors
    /// The options do not fit the disk.
    pub fn plan(&self, disk: Disk, queue: u16, queues: u16) -> Result<Plan> {
        let Disk { units, blocks, block_size } = disk;
        let blocks = match self.size {
            Some(size) if size / u64::from(block_size) > blocks => bail!("the disk has only {blocks} blocks"),
            Some(size) => size / u64::from(block_size),
            None => blocks,
        };
        for &(bytes, _) in &self.split().0 {
            let fits = bytes.is_multiple_of(block_size) && u64::from(bytes / block_size) <= blocks;
            ensure!(fits, "a request of {bytes} bytes does not fit {blocks} blocks of {block_size} bytes");
        }
        Ok(Plan {
            rw: self.rw,
            read_percent: self.rwmixread,
            split: self.split(),
            units,
            blocks,
            block_size,
            first: blocks / u64::from(queues) * u64::from(queue),
            seed: self.seed.wrapping_add(u64::from(queue) << 32),
        })
    }
}
