//! Finds the logical units that load is put on, and readies them.

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::guest::Guest;
use crate::guest::cdb;
use crate::guest::scsi::{Command, Lun, Response};
use crate::guest::spec::response;

use super::options::Disk;

/// Unit attentions that a disk can have waiting.
const ATTENTIONS: usize = 8;
/// Bytes of an answer to REPORT LUNS: more logical units of a target are not looked for.
const LIST_LEN: usize = 8 + 8 * 16384;
/// UNIT ATTENTION.
const ATTENTION: u8 = 6;

/// The first `count` logical units of all targets, in ascending order.
///
/// # Errors
/// There are fewer, or a target does not say which it has.
pub fn find(guest: &mut Guest, count: u16) -> Result<Vec<Lun>> {
    let mut found = Vec::new();
    let last = u8::try_from(guest.config().max_target).unwrap_or(u8::MAX);
    for target in 0..=last {
        found.extend(of_target(guest, target).with_context(|| format!("cannot ask target {target} for its LUNs"))?);
        if found.len() >= count.into() {
            found.truncate(count.into());
            return Ok(found);
        }
    }
    bail!("the device has no more logical units than {}", found.len());
}

fn of_target(guest: &mut Guest, target: u8) -> Result<Vec<Lun>> {
    let list = Command::data_in(Lun::new(target, 0), cdb::report_luns(0, LIST_LEN as u32), LIST_LEN);
    let answer = settled(guest, &list)?;
    if matches!(answer.response, response::BAD_TARGET | response::INCORRECT_LUN) {
        return Ok(Vec::new());
    }
    Ok(parse_list(target, answer.good()?.data_sent()))
}

/// Logical units of an answer to REPORT LUNS, named as in a request to `target`.
fn parse_list(target: u8, data: &[u8]) -> Vec<Lun> {
    let Some((header, entries)) = data.split_first_chunk::<8>() else { return Vec::new() };
    let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let entries = &entries[..len.min(entries.len())];
    entries.chunks_exact(8).map(|entry| Lun([1, target, entry[0] | 0x40, entry[1], 0, 0, 0, 0])).collect()
}

/// Takes the unit attentions that wait since the reset, and asks what the disks are like.
///
/// # Errors
/// A disk is not ready, or they are not alike.
pub fn prepare(guest: &mut Guest, luns: &[Lun]) -> Result<Disk> {
    let mut disk: Option<Disk> = None;
    for lun in luns {
        let context =
            || format!("cannot use target {} LUN {}", lun.0[1], u16::from(lun.0[2] & 0x3F) << 8 | u16::from(lun.0[3]));
        let ready = settled(guest, &Command::new(*lun, cdb::test_unit_ready()))?;
        if let Some(why) = refusal(&ready) {
            return Err(anyhow!("{why}").context(context()));
        }
        let (blocks, block_size) = capacity(guest, *lun).with_context(context)?;
        let one = disk.get_or_insert(Disk { units: luns.len() as u16, blocks, block_size });
        let is_alike = block_size == one.block_size;
        ensure!(is_alike, "{}: its blocks have {block_size} bytes, those before it {}", context(), one.block_size);
        one.blocks = one.blocks.min(blocks);
    }
    disk.context("there is no logical unit")
}

/// Why a logical unit cannot be used, by its answer to TEST UNIT READY; `None` if it can.
fn refusal(answer: &Response) -> Option<String> {
    if answer.is_good() {
        return None;
    }
    Some(match (answer.response, answer.sense_code()) {
        (response::BAD_TARGET, _) => "the device has no such target".into(),
        // LOGICAL UNIT NOT SUPPORTED
        (response::INCORRECT_LUN, _) | (_, Some((5, 0x25, 0))) => "the target has no such logical unit".into(),
        (_, Some((2, code, qualifier))) => format!("it is not ready (sense 2/{code:02x}/{qualifier:02x})"),
        (_, Some((key, code, qualifier))) => format!("it answers with sense {key:x}/{code:02x}/{qualifier:02x}"),
        (response, None) => format!("it answers with response {response} and status {:#04x}", answer.status),
    })
}

/// The first answer that is no unit attention.
fn settled(guest: &mut Guest, command: &Command) -> Result<Response> {
    for _ in 0..ATTENTIONS {
        let answer = guest.execute(0, command)?;
        if answer.sense_code().is_none_or(|(key, ..)| key != ATTENTION) {
            return Ok(answer);
        }
    }
    bail!("unit attention without end");
}

/// Blocks and bytes of a block.
fn capacity(guest: &mut Guest, lun: Lun) -> Result<(u64, u32)> {
    let response = guest.execute(0, &Command::data_in(lun, cdb::read_capacity_16(32), 32))?.good()?;
    let data = response.data_sent();
    ensure!(data.len() >= 12, "READ CAPACITY gave {} bytes", data.len());
    let last = u64::from_be_bytes(data[..8].try_into().expect("eight bytes"));
    let block_size = u32::from_be_bytes(data[8..12].try_into().expect("four bytes"));
    ensure!(block_size >= 512 && block_size.is_power_of_two(), "blocks of {block_size} bytes");
    Ok((last.saturating_add(1), block_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_unit_says_is_told_in_words() {
        let answer = |code, status, key, asc| {
            let mut bytes = vec![0; 12 + 18];
            (bytes[0], bytes[10], bytes[11]) = (18, status, code);
            (bytes[12], bytes[14], bytes[24]) = (0x70, key, asc);
            Response::parse(&bytes, Vec::new(), 30).unwrap()
        };
        assert_eq!(refusal(&answer(0, 0, 0, 0)), None);
        for (answer, words) in [
            (answer(3, 0, 0, 0), "no such target"),
            (answer(12, 0, 0, 0), "no such logical unit"),
            (answer(0, 2, 5, 0x25), "no such logical unit"),
            (answer(0, 2, 2, 0x3A), "not ready (sense 2/3a/00)"),
            (answer(0, 2, 3, 0x11), "sense 3/11/00"),
            (answer(0, 8, 0, 0), "response 0 and status 0x08"),
        ] {
            let told = refusal(&answer).unwrap();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_list_of_logical_units_is_read_as_far_as_it_goes() {
        let entry = |high: u8, low: u8| [high, low, 0, 0, 0, 0, 0, 0];
        // Length of the list, reserved; peripheral addressing of LUN 3, flat space addressing of LUN 258.
        let data = [&[0, 0, 0, 16, 0, 0, 0, 0][..], &entry(0, 3), &entry(0x41, 2), &entry(0, 9)].concat();
        assert_eq!(parse_list(5, &data), [Lun::new(5, 3), Lun::new(5, 258)]);
        assert_eq!(parse_list(5, &data[..20]), [Lun::new(5, 3)]);
        assert_eq!(parse_list(5, &data[..7]), []);
    }
}
