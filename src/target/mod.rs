//! The one room that joins the others: controllers on their control threads, queues on their reactors, and the disks
//! behind them.
//!
//! | on a control thread | on a reactor |
//! |---|---|
//! | `controller`, `registers`: what a client sees | `core`: one pass, messages |
//! | `live`: bringing queues to rest | `worker`, `request_queue`, `control_queue`; `task_functions`: what those do |
//! | `lun_change`: logical units that come and go | `event_queue`: telling the driver; `drives`: a core's disks |
//! | `serve`: start and end of it all; `homes`: which CPU serves which queue | `batch`: what is taken in a pass |
//! | | `usual`: READ and WRITE on their shortest way |
//! | | `execute`: any command; `submission`: its operations; `slots`: requests in progress |
//! | | `fenced`: those that wait for a range; `behind`: flushes that nobody waits for |
//! | `courier`: memory that is not shared | `remote`: requests in such memory |
//!
//! On the thread of whoever manages it all: `plan`, `manage` and `apply`, what changes while guests work; `shelf`: the disks
//! that are open; `summary` and `activity`: what is told about them.
//!
//! `adapter`, `lun_map`, `standing`, `news` and `disk` are shared and read-mostly; `sharing` is what the controllers that show
//! one disk share of it, `target_port` a controller as they see each other; `message` is all that goes between.

mod activity;
mod adapter;
mod apply;
mod at_once;
mod backend;
mod batch;
mod begun;
mod behind;
mod control_queue;
mod controller;
mod core;
mod courier;
mod cx;
mod disk;
mod drives;
mod effects;
mod ending;
mod engine;
mod event_queue;
mod execute;
mod fenced;
mod function;
mod homes;
mod job;
mod known;
mod live;
mod long;
mod lookout;
mod lun_change;
mod lun_map;
mod manage;
mod message;
mod news;
mod notes;
mod notifications;
mod peers;
mod plan;
mod portion;
mod registers;
mod remote;
mod request_queue;
mod roll_call;
mod serve;
mod sharing;
mod shelf;
mod slots;
mod standing;
mod stood_in;
mod submission;
mod summary;
mod tag;
mod tally;
mod target_port;
mod task_functions;
mod task_set;
#[cfg(test)]
mod tests;
mod ticket;
mod usual;
mod worker;

pub use activity::Activity;
pub use backend::create_disk;
pub use disk::DiskError;
pub use manage::{Change, ChangeError};
pub use plan::PlanError;
pub use serve::{StartError, Target};
pub use summary::Summary;
