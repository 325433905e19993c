//! What load to make, as the command line says it; names as fio has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Read and write from the beginning to the end.
    #[value(name = "rw", alias = "readwrite")]
    #[serde(rename = "rw")]
    ReadWrite,
    /// Read and write anywhere.
    RandRw,
}

impl Rw {
    /// Whether nothing is ever written.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Read | Self::RandRead)
    }
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

    /// Percentage of reads of rw and randrw
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub rwmixread: u8,

    /// Requests in flight, for each queue
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub iodepth: u16,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::some_time)]
    pub runtime: Duration,

    /// How long to make load before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub ramp: Duration,

    /// Stop after so many requests, ramp included, if that is earlier
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub number_ios: Option<u64>,

    /// Use the first so many bytes only
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub size: Option<u64>,

    /// Of a device's data: writes carry a pattern, reads check it, of all blocks if there are only reads, else of those
    /// written before
    #[arg(long)]
    pub verify: bool,

    /// Seed of addresses and patterns
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Requests a second, for all queues together (fio's rate_iops, not its rate) [default: as many as possible]
    #[arg(long, visible_alias = "rate-iops", value_name = "IOPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,

    /// CPUs that make load, one thread each [default: the last one that we may use]
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<CpuList>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Set when the run shall end early, with what there is.
    #[arg(skip)]
    pub stop: Arc<AtomicBool>,
}

/// Options of the ring between driver and device.
#[derive(Debug, Clone, Args, Serialize)]
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

    /// Entries of each queue, a power of two; fewer if the device allows fewer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = units::queue_size)]
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

    /// Put each request and its response on pages of their own, as they are where memory is in as many regions: to compare
    /// those with one region
    #[arg(long)]
    pub scatter: bool,
}

impl RingOptions {
    /// Queues that carry load.
    pub fn busy(&self) -> u16 {
        self.busy_queues.unwrap_or(self.queues).min(self.queues)
    }

    /// Whether the options fit each other and those of the load.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, load: &LoadOptions) -> Result<()> {
        let (queues, busy) = (self.queues, self.busy());
        ensure!(
            self.busy_queues.is_none_or(|asked| asked == busy),
            "there are not more busy queues than queues: {queues}"
        );
        load.say_idle_cpus(busy)
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
    /// Whether the run shall end early.
    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

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

    /// CPUs that get none of `queues`, which are dealt to them in turn.
    ///
    /// # Errors
    /// As above.
    fn idle_cpus(&self, queues: u16) -> Result<Vec<usize>> {
        Ok(self.cpus()?.into_iter().skip(queues.into()).collect())
    }

    /// Says which CPUs make no load, though they were asked to, for there are only so many `queues`.
    ///
    /// # Errors
    /// As above.
    pub fn say_idle_cpus(&self, queues: u16) -> Result<()> {
        let idle = self.idle_cpus(queues)?;
        if !idle.is_empty() {
            eprintln!("note: CPUs {idle:?} make no load, for there is nothing left for them to do: --queues");
        }
        Ok(())
    }

    /// The work of queue `queue` of `queues`.
    ///
    /// # Errors
    /// The options do not fit the disk.
    pub fn plan(&self, disk: Disk, queue: u16, queues: u16) -> Result<Plan> {
        let Disk { units, blocks, block_size } = disk;
        let blocks = match self.size {
            Some(size) if size / u64::from(block_size) > blocks => {
                bail!("the disk has only {blocks} blocks of {block_size} bytes, which is less than {size} bytes")
            }
            Some(size) => size / u64::from(block_size),
            None => blocks,
        };
        for &(bytes, _) in &self.split().0 {
            let is_whole = bytes.is_multiple_of(block_size);
            ensure!(is_whole, "a request of {bytes} bytes is no number of whole blocks, which have {block_size} bytes");
            let fits = u64::from(bytes / block_size) <= blocks;
            ensure!(fits, "a request of {bytes} bytes is longer than {blocks} blocks of {block_size} bytes");
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        ring: RingOptions,
        #[command(flatten)]
        load: LoadOptions,
    }

    fn parse(words: &str) -> Result<Cli, String> {
        Cli::try_parse_from(std::iter::once("load").chain(words.split_whitespace())).map_err(|error| error.to_string())
    }

    fn refused(words: &str, disk: Disk) -> String {
        parse(words).unwrap().load.plan(disk, 0, 1).unwrap_err().to_string()
    }

    #[test]
    fn names_are_those_of_fio() {
        let words = "--rw readwrite --rwmixread 70 --bssplit 4k/60:64k/40 --iodepth 8 --runtime 1m --rate-iops 100";
        let load = parse(words).unwrap().load;
        assert_eq!((load.rw, load.rwmixread, load.iodepth, load.rate), (Rw::ReadWrite, 70, 8, Some(100)));
        assert_eq!((load.runtime, load.max_bytes()), (Duration::from_secs(60), 65536));
        assert_eq!(parse("--rw rw").unwrap().load.rw, Rw::ReadWrite);
    }

    #[test]
    fn what_can_give_no_result_is_refused() {
        for words in
            ["--runtime 0", "--number-ios 0", "--rate 0", "--iodepth 0", "--queues 0", "--bs 0", "--queue-size 1000"]
        {
            assert!(parse(words).is_err(), "{words}");
        }
        let Cli { ring, load } = parse("--queues 2 --busy-queues 3").unwrap();
        assert!(ring.check(&load).is_err());
        let Cli { ring, load } = parse("--queues 2 --busy-queues 2").unwrap();
        ring.check(&load).unwrap();
    }

    #[test]
    fn cpus_without_a_queue_are_known() {
        let load = parse("--cpus 3,0-1").unwrap().load;
        let idle: Vec<_> = [1, 2, 3, 4].map(|queues| load.idle_cpus(queues).unwrap()).into();
        assert_eq!(idle, [vec![0, 1], vec![1], vec![], vec![]]);
    }

    #[test]
    fn a_load_that_does_not_fit_its_disk_says_why() {
        let disk = Disk { units: 1, blocks: 8, block_size: 512 };
        assert!(refused("--bs 1000", disk).contains("no number of whole blocks"));
        assert!(refused("--bs 8k", disk).contains("longer than 8 blocks of 512 bytes"));
        assert!(refused("--bs 4k --size 2k", disk).contains("longer than 4 blocks"));
        assert!(refused("--size 1m", disk).contains("less than 1048576 bytes"));
    }
}
