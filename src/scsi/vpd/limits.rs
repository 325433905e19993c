//! Limits of a disk's commands, and what it does about space (SBC-4, block limits and logical block provisioning pages).

use bdev::Info;

use super::super::logical_unit::LogicalUnit;
use super::super::reply::Reply;

/// Limits of all commands. A prefetch may be of any length. A WRITE SAME of 0 blocks is one up to the last block (no WSNZ), if
/// there are no more than the most. No atomic write is done in parts, so that none has ATOMIC BOUNDARY; what a device asks for
/// beyond a length, a granularity and an alignment has no field here.
pub(super) fn block_limits(unit: &LogicalUnit, reply: &mut Reply) {
    const UGAVALID: u32 = 1 << 31;
    let mut page = [0; 0x3c];
    let mut put = |at: usize, bytes: &[u8]| page[at - 4..at - 4 + bytes.len()].copy_from_slice(bytes);
    let limits = &unit.limits;
    put(5, &[limits.compare_and_write]);
    put(6, &limits.transfer_granularity.to_be_bytes());
    put(8, &unit.transfer_blocks_max.unwrap_or(0).to_be_bytes());
    put(12, &unit.transfer_blocks_optimal.to_be_bytes());
    put(36, &u64::from(limits.write_same).to_be_bytes());
    if let Some(atomic) = limits.atomic {
        let blocks = |bytes: u32| bytes / unit.block_size;
        // 0 says that any block will do.
        let granularity = Some(blocks(atomic.unit)).filter(|blocks| *blocks > 1).unwrap_or(0);
        put(44, &blocks(atomic.max).to_be_bytes());
        put(48, &granularity.to_be_bytes());
        put(52, &granularity.to_be_bytes());
    }
    if unit.discard.is_some() {
        put(20, &limits.unmap.to_be_bytes());
        put(24, &limits.unmap_descriptors.to_be_bytes());
        put(28, &limits.unmap_granularity.to_be_bytes());
        put(32, &(UGAVALID | limits.unmap_alignment).to_be_bytes());
    }
    reply.put(&page);
}

/// A unit from which nothing can be unmapped is fully provisioned to the initiator, whatever the backing store does.
pub(super) fn logical_block_provisioning(unit: &LogicalUnit, reply: &mut Reply) {
    const LBPU_LBPWS_LBPWS10: u8 = 0xe0;
    const LBPRZ_ZEROES: u8 = 0x04;
    const ANC_SUP: u8 = 0x02;
    const THIN: u8 = 0x02;
    let (bits, provisioning) = match unit.discard {
        Some(discard) if discard.zeroes => (LBPU_LBPWS_LBPWS10 | LBPRZ_ZEROES, THIN),
        Some(_) => (LBPU_LBPWS_LBPWS10, THIN),
        None => (0, 0),
    };
    let bits = bits | if unit.limits.anchor { ANC_SUP } else { 0 };
    let exponent = unit.threshold.map_or(0, |threshold| threshold.exponent);
    reply.put(&[exponent, bits, provisioning, 0]);
}

/// OPTIMAL TRANSFER LENGTH: whole physical blocks, at least 4 KiB, and never more than one transfer may have or than
/// 65,535 blocks, which is what READ (10) can ask for. Initiators complain about any other value. 0 if none is left.
pub(in crate::scsi) fn optimal_blocks(info: &Info, transfer_blocks_max: Option<u32>, physical_exponent: u8) -> u32 {
    const BYTES_MIN: u64 = 4096;
    let block_size = info.block_size.max(1);
    let most = transfer_blocks_max.unwrap_or(u32::MAX).min(u16::MAX.into());
    let blocks = (info.optimal_transfer / block_size).min(most);
    let whole = blocks >> physical_exponent << physical_exponent;
    if u64::from(whole) * u64::from(block_size) < BYTES_MIN { 0 } else { whole }
}

#[cfg(test)]
mod tests;
