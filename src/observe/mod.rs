//! Counters and rate-limited logs.
