//! REPORT TIMESTAMP and SET TIMESTAMP (SPC-5, device timestamp): the host's clock, until an initiator sets another.

use super::reply::Reply;
use super::sense::Sense;
use super::spec::Asc;

/// Bytes of the parameter list of SET TIMESTAMP.
pub(super) const LIST_LEN: usize = 12;

/// A timestamp has 48 bits.
const TIMESTAMP_MAX: u64 = (1 << 48) - 1;

/// What time it is for a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// The host's clock, in milliseconds since 1970 UTC.
    pub host_ms: u64,
    /// How far SET TIMESTAMP has put the unit's clock ahead of the host's, in milliseconds; none if it was not set.
    pub ahead_ms: Option<i64>,
}

impl Clock {
    /// The unit's timestamp, in milliseconds.
    pub fn timestamp_ms(&self) -> u64 {
        self.host_ms.wrapping_add_signed(self.ahead_ms.unwrap_or(0)) & TIMESTAMP_MAX
    }

    /// [`ahead_ms`](Self::ahead_ms) of a clock that shows `timestamp_ms` now.
    pub fn ahead_of(host_ms: u64, timestamp_ms: u64) -> i64 {
        timestamp_ms.wrapping_sub(host_ms) as i64
    }
}

/// The timestamp and where it comes from.
pub(super) fn report(clock: &Clock, reply: &mut Reply) {
    const BY_SET_TIMESTAMP: u8 = 0x02;
    const BY_OTHER_MEANS: u8 = 0x03;
    let origin = if clock.ahead_ms.is_some() { BY_SET_TIMESTAMP } else { BY_OTHER_MEANS };
    reply.put(&[0, 0x0a, origin, 0]);
    reply.put(&clock.timestamp_ms().to_be_bytes()[2..]);
    reply.put(&[0, 0]);
}

/// The timestamp that the parameter list of SET TIMESTAMP holds, in milliseconds; none in an empty list.
///
/// # Errors
/// PARAMETER LIST LENGTH ERROR if it is cut off.
pub fn parse_list(list: &[u8]) -> Result<Option<u64>, Sense> {
    if list.is_empty() {
        return Ok(None);
    }
    let Some(&[_, _, _, _, a, b, c, d, e, f, _, _]) = list.first_chunk::<LIST_LEN>() else {
        return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    Ok(Some(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::testing::{disk, info};
    use crate::scsi::{Condition, Facts, Outcome, Step};

    fn reported(clock: Clock, allocation_length: u8) -> Vec<u8> {
        let facts = Facts { clock, ..Facts::default() };
        let condition = Condition { facts: Some(&facts), ..Condition::default() };
        let command = crate::scsi::testing::command(&[0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, allocation_length, 0, 0]);
        let mut reply = Reply::new();
        assert_eq!(disk(&info()).start(&command, &condition, &mut reply), Step::Done(Outcome::GOOD));
        reply.as_bytes().to_vec()
    }

    #[test]
    fn the_hosts_clock_until_it_is_set() {
        let clock = Clock { host_ms: 0x1234_0102_0304_0506, ahead_ms: None };
        let expected = [0, 0x0a, 3, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0, 0];
        assert_eq!(reported(Clock { host_ms: 0x0102_0304_0506, ..clock }, 255), expected);
        assert_eq!(reported(clock, 255), expected, "48 bits of it");
        for room in 0..12 {
            assert_eq!(reported(clock, room), expected[..room.into()]);
        }
    }

    #[test]
    fn runs_on_from_what_was_set() {
        for (host_ms, set_ms) in [(1000, 5), (5, 1000), (u64::MAX, 7)] {
            let ahead_ms = Some(Clock::ahead_of(host_ms, set_ms));
            assert_eq!(Clock { host_ms, ahead_ms }.timestamp_ms(), set_ms);
            let later = Clock { host_ms: host_ms.wrapping_add(3), ahead_ms };
            assert_eq!(
                reported(later, 255),
                [0, 0x0a, 2, 0, 0, 0, 0, 0, ((set_ms + 3) >> 8) as u8, (set_ms + 3) as u8, 0, 0]
            );
        }
    }

    #[test]
    fn lists() {
        let list = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0];
        assert_eq!(parse_list(&list), Ok(Some(0x0102_0304_0506)));
        assert_eq!(parse_list(&[]), Ok(None));
        for len in 1..list.len() {
            assert_eq!(parse_list(&list[..len]), Err(Sense::illegal(Asc(0x1a00))));
        }
    }
}
