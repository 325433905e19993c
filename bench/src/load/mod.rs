//! The load generator: as much I/O as a device gives, and what it took.
//!
//! One thread for each CPU owns its queues and polls them; it allocates nothing and calls no kernel while it runs, so that
//! what is measured is the device. The same [`Lane`](lane::Lane) drives a device over vfio-user ([`session`]) and a device
//! loop in this process that does the least that the protocol allows ([`limit`]); [`uring`] puts the same work on
//! io_uring without any device at all.

pub mod asked;
pub mod bell;
pub mod cpu;
pub mod crew;
pub mod device_packed;
pub mod device_split;
pub mod disks;
pub mod lane;
pub mod limit;
pub mod options;
pub mod pace;
pub mod peer;
pub mod pingpong;
pub mod placed;
pub mod poller;
pub mod report;
pub mod ring;
pub mod ring_packed;
pub mod ring_split;
pub mod session;
pub mod slots;
pub mod stats;
pub mod units;
pub mod uring;
pub mod verify;
pub mod words;
pub mod work;
