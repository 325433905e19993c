//! The one room that joins the others: controllers on their control threads, queues on their reactors, and the disks
//! behind them.
//!
//! | on a control thread | on a reactor |
//! |---|---|
//! | `controller`, `registers`: what a client sees | `core`: one pass, messages |
//! | `live`: bringing queues to rest | `worker`, `request_queue`, `control_queue` |
//! | `serve`: start and end of it all; `homes`: which CPU serves which queue | `batch`: what is taken in a pass |
//! | | `execute`: one command; `slots`: requests in progress |
//! | `courier`: memory that is not shared | `remote`: requests in such memory |
//!
//! `adapter`, `lun_map`, `standing` and `disk` are shared and read-mostly; `sharing` is what the controllers that show one
//! disk share of it, `target_port` a controller as they see each other; `message` is all that goes between.

mod adapter;
mod backend;
mod batch;
mod control_queue;
mod controller;
mod core;
mod courier;
mod cx;
mod disk;
mod ending;
mod engine;
mod execute;
mod function;
mod homes;
mod job;
mod known;
mod live;
mod long;
mod lookout;
mod lun_map;
mod message;
mod notes;
mod peers;
mod registers;
mod remote;
mod request_queue;
mod serve;
mod sharing;
mod slots;
mod standing;
mod stood_in;
mod summary;
mod tag;
mod target_port;
mod task_set;
#[cfg(test)]
mod tests;
mod ticket;
mod worker;

pub use backend::create_disk;
pub use disk::DiskError;
pub use serve::{StartError, Target};
pub use summary::Summary;
