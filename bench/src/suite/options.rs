//! What `annulus-bench suite` is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::load::units::{self, CpuList};

/// Everything that can be left out or asked for alone: disks of the matrix, then the other series.
pub const PARTS: [&str; 16] = [
    "null",
    "mem",
    "file",
    "loop",
    "disk",
    "idle",
    "busy",
    "luns",
    "regions",
    "tables",
    "reactors",
    "wake",
    "idle-cpu",
    "memory",
    "start",
    "instructions",
];

/// Options of `suite`.
#[derive(Debug, Clone, Args)]
pub struct SuiteOptions {
    /// The target's program [default: the annulus beside this program]
    #[arg(long, value_name = "PATH")]
    pub target: Option<PathBuf>,

    /// A word for every 'annulus serve', may be repeated: --serve-option=--register --serve-option=off
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub serve_option: Vec<String>,

    /// Measure only these
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PARTS))]
    pub only: Vec<String>,

    /// A short version: fewer depths, one queue, three short runs each, no instructions
    #[arg(long)]
    pub quick: bool,

    /// Requests in flight on each queue [default: 1,8,32,128; quick: 1,32,128]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub depths: Vec<u16>,

    /// Numbers of queues [default: 1,2,4; quick: 1]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    pub queues: Vec<u16>,

    /// Runs of each that the medians are of [default: 5; quick: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: Option<u32>,

    /// How long to measure in each run [default: 500ms; quick: 200ms]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub runtime: Option<Duration>,

    /// How long to make load before that
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = units::duration)]
    pub ramp: Duration,

    /// CPUs of target and load; two more are for a second target and its load [default: the first and the last, then those
    /// next to them]
    #[arg(long, value_name = "TARGET,LOAD[,TARGET,LOAD]")]
    pub cpus: Option<CpuList>,

    /// Compare runs wherever these CPUs sat: for emulated CPUs, and disks with which that is no matter
    #[arg(long)]
    pub any_placement: bool,

    /// Where to make the file that is read [default: the system's directory for temporary files]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// Read this file instead; it is not changed
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    pub file: Option<PathBuf>,

    /// Bytes of what is made: file, loop device, memory disk
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = units::size)]
    pub size: u64,

    /// Make a loop device over a file in memory, too (only root can)
    #[arg(long = "loop")]
    pub loop_device: bool,

    /// Another disk, a file or block device; may be repeated. It is only read
    #[arg(long, value_name = "PATH")]
    pub disk: Vec<PathBuf>,

    /// Where to write suite.json, the table and the plots
    #[arg(long, value_name = "DIR", default_value = "suite")]
    pub out: PathBuf,

    /// A Markdown page whose generated part to replace; plots go into a directory beside it
    #[arg(long, value_name = "PATH")]
    pub results: Option<PathBuf>,

    /// Measure nothing: make table and plots again from this file, beside it. Repeated, results of the same target on the same
    /// machine become one, beside the first of them: for CPUs that sat elsewhere in each
    #[arg(long, value_name = "PATH")]
    pub render: Vec<PathBuf>,

    /// Fail if a goal was measured and is not met
    #[arg(long)]
    pub check: bool,
}

impl SuiteOptions {
    /// Whether a part was asked for. What costs extra (a loop device, disks) comes only when it is named.
    pub fn wants(&self, part: &str) -> bool {
        let named = self.only.iter().any(|only| only == part);
        match part {
            "loop" => self.loop_device || named,
            "disk" => !self.disk.is_empty() && (self.only.is_empty() || named),
            "instructions" => named || (self.only.is_empty() && !self.quick),
            _ => self.only.is_empty() || named,
        }
    }

    /// Requests in flight.
    pub fn depths(&self) -> Vec<u16> {
        pick(&self.depths, self.quick, &[1, 32, 128], &[1, 8, 32, 128])
    }

    /// Numbers of queues.
    pub fn queue_counts(&self) -> Vec<u16> {
        pick(&self.queues, self.quick, &[1], &[1, 2, 4])
    }

    /// Runs of each.
    pub fn rounds(&self) -> u32 {
        self.runs.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// How long each takes.
    pub fn runtime(&self) -> Duration {
        self.runtime.unwrap_or(Duration::from_millis(if self.quick { 200 } else { 500 }))
    }

    /// CPUs for targets and loads.
    ///
    /// # Errors
    /// Another number of CPUs than one or two pairs.
    pub fn pairs(&self, allowed: &[usize]) -> Result<Vec<(usize, usize)>> {
        if let Some(CpuList(cpus)) = &self.cpus {
            ensure!([2, 4].contains(&cpus.len()), "--cpus wants two CPUs or four, not {}", cpus.len());
            return Ok(cpus.chunks(2).map(|pair| (pair[0], pair[1])).collect());
        }
        let (Some(&first), Some(&last)) = (allowed.first(), allowed.last()) else { anyhow::bail!("there is no CPU") };
        let mut pairs = vec![(first, last)];
        if let [_, second, .., third, _] = allowed {
            pairs.push((*second, *third));
        }
        Ok(pairs)
    }
}

fn pick(asked: &[u16], quick: bool, short: &[u16], long: &[u16]) -> Vec<u16> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    (if quick { short } else { long }).to_vec()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: SuiteOptions,
    }

    pub fn options(words: &str) -> SuiteOptions {
        Cli::parse_from(["suite"].into_iter().chain(words.split_whitespace())).options
    }

    #[test]
    fn what_is_wanted_follows_the_words() {
        let wanted = |words: &str| {
            let options = options(words);
            PARTS.into_iter().filter(|part| options.wants(part)).collect::<Vec<_>>().join(" ")
        };
        let usual = "null mem file idle busy luns regions tables reactors wake idle-cpu memory start";
        assert_eq!(wanted(""), format!("{usual} instructions"));
        assert_eq!(wanted("--quick"), usual);
        assert_eq!(wanted("--only null,wake"), "null wake");
        assert_eq!(wanted("--quick --only loop,instructions"), "loop instructions");
        assert_eq!(wanted("--only null --loop --disk /dev/vdb"), "null loop");
        assert!(Cli::try_parse_from(["suite", "--only", "nul"]).is_err());
    }

    #[test]
    fn pairs_of_cpus_are_the_outer_ones_first() {
        let usual = options("");
        assert_eq!(usual.pairs(&[0]).unwrap(), [(0, 0)]);
        assert_eq!(usual.pairs(&[0, 1]).unwrap(), [(0, 1)]);
        assert_eq!(usual.pairs(&[0, 1, 2]).unwrap(), [(0, 2)]);
        assert_eq!(usual.pairs(&[0, 1, 2, 3]).unwrap(), [(0, 3), (1, 2)]);
        assert_eq!(options("--cpus 4,6").pairs(&[0]).unwrap(), [(4, 6)]);
        assert!(options("--cpus 1").pairs(&[0]).is_err());
        assert!(usual.pairs(&[]).is_err());
    }

    #[test]
    fn quick_is_shorter_and_words_win() {
        let quick = options("--quick");
        assert_eq!((quick.depths(), quick.queue_counts(), quick.rounds()), (vec![1, 32, 128], vec![1], 3));
        let words = options("--quick --depths 4 --runs 1 --runtime 10ms");
        assert_eq!((words.depths(), words.rounds(), words.runtime()), (vec![4], 1, Duration::from_millis(10)));
    }
}
