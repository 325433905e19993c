//! Counters and rate-limited logs.

mod limit;

pub use limit::LogLimit;
