//! What a user types behind `run`, `limit` and `raw`: the same parser for the program, the suite, and tests of either.

use clap::Parser;

use super::limit::LimitOptions;
use super::options::{LoadOptions, RingOptions};
use super::session::DeviceOptions;
use super::uring::RawOptions;

#[derive(Debug, Parser)]
#[allow(missing_docs, reason = "a text here would be that of the subcommand")]
pub struct RunWords {
    #[command(flatten)]
    pub device: DeviceOptions,
    #[command(flatten)]
    pub ring: RingOptions,
    #[command(flatten)]
    pub load: LoadOptions,
}

#[derive(Debug, Parser)]
#[allow(missing_docs, reason = "as above")]
pub struct LimitWords {
    #[command(flatten)]
    pub limit: LimitOptions,
    #[command(flatten)]
    pub ring: RingOptions,
    #[command(flatten)]
    pub load: LoadOptions,
}

#[derive(Debug, Parser)]
#[allow(missing_docs, reason = "as above")]
pub struct RawWords {
    #[command(flatten)]
    pub raw: RawOptions,
    #[command(flatten)]
    pub load: LoadOptions,
}
