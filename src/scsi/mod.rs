//! The SCSI target, with no I/O inside: command descriptor blocks, sense data, logical units.
//!
//! It owns what bytes mean: [`decode`] turns a CDB into a [`Command`], [`Unit::start`] turns a command into an
//! [`Outcome`] with its data-in, or into a [`BlockOp`] for the block device, and [`Unit::resume`] turns what became of
//! that operation into the next [`Step`]. It never touches a device, guest memory, a clock or a thread, and a read or a
//! write allocates nothing on its way through. `target` calls it.
//!
//! What one READ(10) takes:
//!
//! ```text
//! unit.decode(cdb) -> Command::Read -> unit.start(..) -> Step::Block(op)   the caller does the I/O
//!                                      unit.resume(..) -> Step::Done(GOOD)
//! ```
//!
//! Commands that take more than that are in [`long`].

pub mod attention;
mod bad_block;
pub mod cdb;
pub mod command;
pub mod hindrance;
pub mod identity;
pub mod long;
pub mod outcome;
pub mod port_groups;
pub mod reply;
pub mod reservations;
pub mod sense;
pub mod spec;
pub mod unit;

mod access;
mod capacity;
mod diagnostics;
mod hash;
mod identifying;
mod inquiry;
mod kept;
mod limits;
mod log;
mod logical_unit;
mod luns;
mod missing;
mod mode;
mod opcodes;
mod pre_fetch;
mod provisioning;
mod query;
mod quick;
mod setting;
mod sharing;
mod third_party_copy;
mod timestamp;
mod vpd;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod testing;

pub use attention::{Attention, AttentionRule, Attentions};
pub use cdb::{decode, without_naca};
pub use command::{
    Be24, BufferAccess, ByteCheck, CdbForm, Command, DataDirection, ModeSense, PageControl, RangeCommand, RangeFlags,
    ReadDefectData,
};
pub use diagnostics::DiagnosticPage;
pub use hindrance::{Hindrance, Work};
pub use identifying::{Identifying, Names, ReportIdentifying};
pub use identity::{Eui64, Identity, IdentityError, Naa, Port, parse_uuid};
pub use kept::KeptUnit;
pub use limits::Limits;
pub use log::{IoStatistics, LogControl, LogSelect, LogSense, SELF_TESTS_MAX, SelfTestRecord, Statistics};
pub use logical_unit::LogicalUnit;
pub use long::{
    Background, DataBuffer, Designator, Desk, Found, LongCommand, LongStep, LongTask, Neighbour, Neighbours, OpMemory,
    Place, SelfTestResult,
};
pub use luns::WellKnownUnit;
pub use missing::MissingUnit;
pub use mode::{ModeChange, ModeSelect, ModeState, ModeValues};
pub use opcodes::{SupportedOpcodes, TaskFunctions};
pub use outcome::{Behind, BlockOp, Condition, Effect, Outcome, Step};
pub use provisioning::Threshold;
pub use query::{CopyResult, Facts, Query};
pub use quick::QuickUnit;
pub use reply::Reply;
pub use sense::{FieldPointer, Sense};
pub use setting::Setting;
pub use sharing::{Consequences, Demand, Shared, Sharing};
pub use spec::{Asc, Opcode, SenseKey, Status};
pub use third_party_copy::{Copies, Range, Rod, Rods, TOKEN_LEN};
pub use timestamp::Clock;
pub use unit::Unit;
