//! Guest memory: what the client mapped, an immutable snapshot of it for each core, and guest address to host segments.
//!
//! Owns the mappings. Knows nothing of rings, SCSI or the wire. The control thread changes the table; cores only hold
//! snapshots ([`MemMap`]), and a mapping goes away when the last snapshot that shows it does.

mod file;
mod host;
mod lease;
mod map;
#[cfg(test)]
mod memory_files;
mod recent;
pub mod sigbus;
mod stand_in;
mod table;

#[cfg(test)]
pub use map::testing;
pub use map::{Access, Gpa, Mapping, MemMap, Region, TranslateError};
pub use recent::{Near, RegionCache};
pub use stand_in::StandIn;
pub use table::{Limits, MapError, MapRequest, PAGE_LEN, Table};
