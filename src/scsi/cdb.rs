//! `decode`: a CDB to a [`Command`], driven by one table of commands.
//!
//! An entry of the table is the command's *CDB usage data*: the bytes that REPORT SUPPORTED OPERATION CODES is defined
//! to return for it (SPC-5, one_command parameter data), with a 1 for each bit that the device server looks at. The
//! same bytes are the check: a bit that is set in a CDB and not there is INVALID FIELD IN CDB. So a field that this
//! disk does not have, such as RDPROTECT, is refused by leaving it out, and a decoder never fails. NACA alone is there and
//! refused all the same, for it is no part of a command: who finds a CDB refused looks with [`without_naca`] whether that was why.

use super::command::Command;
use super::sense::Sense;
use super::spec::{Asc, NACA, Opcode};

mod decoders;
mod table;

use table::{Entry, TABLE, entries_of, reserved_of};

/// The first 16 bytes of a CDB, zeros where it was shorter.
type Cdb = [u8; 16];

/// Decodes a CDB. Bytes past the command's own length are ignored: a transport hands over a fixed number of them.
///
/// # Errors
///
/// ILLEGAL REQUEST: INVALID COMMAND OPERATION CODE, or INVALID FIELD IN CDB with a pointer to the first bit that must
/// not be set, to an unknown service action, or to the first byte that a CDB which is too short lacks.
#[inline]
pub fn decode(cdb: &[u8]) -> Result<Command, Sense> {
    const UNKNOWN: Sense = Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE);
    let opcode = *cdb.first().ok_or(UNKNOWN)?;
    let entries = entries_of(opcode);
    let mut entry = entries.first().ok_or(UNKNOWN)?;
    let bytes = padded(cdb);
    if entry.service_action.is_some() {
        let wanted = Some(bytes[1] & 0x1f);
        entry = entries.iter().find(|entry| entry.service_action == wanted).ok_or(Sense::invalid_field(1, Some(4)))?;
    }
    let wrong = u128::from_be_bytes(bytes) & entry.reserved;
    if wrong != 0 || cdb.len() < entry.usage.len() {
        return Err(refusal(entry, cdb.len(), wrong));
    }
    Ok((entry.decode)(&bytes))
}

/// The CDB with NACA cleared, for [`decode`]; none if NACA is not set in it, or it has no CONTROL byte.
#[cold]
pub fn without_naca(cdb: &[u8]) -> Option<[u8; 16]> {
    let control = match cdb.first()? >> 5 {
        0 => 5,
        1 | 2 => 9,
        4 => 15,
        5 => 11,
        _ => return None,
    };
    let is_set = cdb.get(control)? & NACA != 0;
    let mut bytes = padded(cdb);
    bytes[control] &= !NACA;
    is_set.then_some(bytes)
}

/// A READ or WRITE, decoded by [`decode_usual`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsualTransfer {
    /// FUA.
    pub fua: bool,
    /// First block.
    pub lba: u64,
    /// Blocks.
    pub blocks: u32,
}

/// As [`decode`], for the usual WRITE alone if `is_write`, else for the usual READ, from its 16 bytes as two words, the
/// first byte in the lowest place of the first as memory has them: no table is looked at. `None` says that [`decode`] has to be asked.
#[inline(always)]
pub fn decode_usual([first, second]: [u64; 2], is_write: bool) -> Option<UsualTransfer> {
    // The operation code, and what either of READ and WRITE does not have.
    const fn fixed(read: Opcode, write: Opcode) -> (u64, u64) {
        let bits = reserved_of(read) | reserved_of(write);
        (((bits >> 64) as u64).swap_bytes() | 0xff, (bits as u64).swap_bytes())
    }
    const TEN: (u64, u64) = fixed(Opcode::READ_10, Opcode::WRITE_10);
    const SIXTEEN: (u64, u64) = fixed(Opcode::READ_16, Opcode::WRITE_16);
    let is_only = |(of_first, of_second): (u64, u64), read: Opcode, write: Opcode| {
        let Opcode(opcode) = if is_write { write } else { read };
        first & of_first == u64::from(opcode) && second & of_second == 0
    };
    // In byte 1.
    let fua = first & 0x08 << 8 != 0;
    if is_only(TEN, Opcode::READ_10, Opcode::WRITE_10) {
        // Bytes 2 to 5, and 7 and 8.
        let lba = ((first >> 16) as u32).swap_bytes();
        let blocks = u16::from_be_bytes([(first >> 56) as u8, second as u8]);
        return Some(UsualTransfer { fua, lba: lba.into(), blocks: blocks.into() });
    }
    // Bytes 2 to 9, and 10 to 13.
    let [high, low] = [first, second].map(u64::swap_bytes);
    let (lba, blocks) = (high << 16 | low >> 48, low >> 16);
    is_only(SIXTEEN, Opcode::READ_16, Opcode::WRITE_16).then_some(UsualTransfer { fua, lba, blocks: blocks as u32 })
}

/// A command of the table, for those that report it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Supported {
    /// Service action, for an operation code that has them.
    pub(super) service_action: Option<u8>,
    /// CDB usage data.
    pub(super) usage: &'static [u8],
    /// After how many seconds an initiator may take it for lost.
    pub(super) timeout_s: u32,
    decode: fn(&Cdb) -> Command,
}

impl Supported {
    pub(super) const fn opcode(&self) -> Opcode {
        Opcode(self.usage[0])
    }

    /// The command with no field set.
    pub(super) fn sample(&self) -> Command {
        let mut cdb = [0; 16];
        (cdb[0], cdb[1]) = (self.usage[0], self.service_action.unwrap_or(0));
        (self.decode)(&cdb)
    }
}

/// All commands, ascending by operation code and service action.
pub(super) fn supported() -> impl Iterator<Item = Supported> {
    TABLE.iter().map(|&Entry { service_action, usage, timeout_s, decode, .. }| Supported {
        service_action,
        usage,
        timeout_s,
        decode,
    })
}

#[inline]
fn padded(cdb: &[u8]) -> Cdb {
    if let Some(bytes) = cdb.first_chunk() {
        return *bytes;
    }
    let mut bytes = [0; 16];
    bytes[..cdb.len()].copy_from_slice(cdb);
    bytes
}

/// Sense data for a CDB of `len` bytes with the bits `wrong`, of which there are none if it is only too short.
#[cold]
fn refusal(entry: &Entry, len: usize, wrong: u128) -> Sense {
    if wrong == 0 {
        return Sense::invalid_field(len as u16, None);
    }
    let position = wrong.leading_zeros() as u16;
    let byte = position / 8;
    let bit = 7 - (position % 8) as u8;
    let field = entry.refused.iter().find(|field| field.byte == byte && (field.low..=field.high).contains(&bit));
    Sense::invalid_field(byte, Some(field.map_or(bit, |field| field.high)))
}

#[cfg(test)]
mod tests;
