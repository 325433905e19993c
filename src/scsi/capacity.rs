//! READ CAPACITY (10) and (16) (SBC-4).

use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::Sense;

/// Address of the last block; a disk without blocks has none, and says 0.
fn last_lba(unit: &LogicalUnit) -> u64 {
    unit.blocks.saturating_sub(1)
}

/// READ CAPACITY (10): 8 bytes, and an address that is too large says FFFFFFFFh: ask with READ CAPACITY (16).
pub(super) fn read_capacity_10(unit: &LogicalUnit, reply: &mut Reply) -> Result<(), Sense> {
    let last_lba = u32::try_from(last_lba(unit)).unwrap_or(u32::MAX);
    reply.begin(8);
    reply.put(&last_lba.to_be_bytes());
    reply.put(&unit.block_size.to_be_bytes());
    Ok(())
}

/// LBPME: blocks can be given back.
const LBPME: u8 = 0x80;
/// LBPRZ: blocks that were given back read as zeroes.
const LBPRZ: u8 = 0x40;

/// READ CAPACITY (16): no protection information, and the first block begins a physical one.
pub(super) fn read_capacity_16(unit: &LogicalUnit, reply: &mut Reply) -> Result<(), Sense> {
    let mut data = [0; 32];
    data[0..8].copy_from_slice(&last_lba(unit).to_be_bytes());
    data[8..12].copy_from_slice(&unit.block_size.to_be_bytes());
    data[13] = unit.physical_exponent;
    data[14] = provisioning(unit);
    reply.put(&data);
    Ok(())
}

/// LBPME and LBPRZ, as READ CAPACITY (16) has them.
pub(super) fn provisioning(unit: &LogicalUnit) -> u8 {
    match unit.discard {
        Some(discard) if discard.zeroes => LBPME | LBPRZ,
        Some(_) => LBPME,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
