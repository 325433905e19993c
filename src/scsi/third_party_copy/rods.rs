//! Tokens that stand for data of a logical unit, each for a *ROD* (representation of data, SPC-5, RODs and ROD tokens).
//!
//! What a token stands for is what its blocks held when it was made. Nothing is kept of them: a token is cancelled before one of
//! its blocks changes ("point in time copy, change vulnerable"), by whoever is about to change it. A token is of use to the
//! initiator of its own device alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::reply::Reply;
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::token::{TOKEN_LEN, Token};

/// Ranges of one token, or of one write.
pub(in super::super) const RANGES_MAX: u16 = 64;
/// After how many seconds without use a token expires, unless the initiator says another number.
pub(in super::super) const INACTIVITY_DEFAULT_S: u32 = 60;
/// And at most.
pub(in super::super) const INACTIVITY_MAX_S: u32 = 600;

/// Tokens of one logical unit at a time. A new one takes the place of the one that has not been used for the longest time.
const VALID_MAX: usize = 64;
/// Tokens that are known, those that are of no use any more among them.
const KNOWN_MAX: usize = 2 * VALID_MAX;
/// Bytes of a token that REPORT ALL ROD TOKENS tells.
const MANAGEMENT_LEN: usize = 96;

/// Blocks of a disk, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
}

/// What a token stands for.
#[derive(Debug)]
pub struct Rod {
    /// The blocks.
    pub ranges: Vec<Range>,
    /// Bytes of each.
    pub block_size: u32,
    /// Milliseconds without use after which it expires.
    pub timeout_ms: u64,
    is_cancelled: AtomicBool,
}

impl Rod {
    /// It stands for nothing from now on: one of its blocks is about to change, or its logical unit began anew.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    /// Whether it stands for nothing any more.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Whether one of its blocks has one of these bytes of the disk.
    pub fn overlaps(&self, offset: u64, len: u64) -> bool {
        let (size, end) = (u64::from(self.block_size), offset.saturating_add(len));
        self.ranges.iter().any(|range| {
            let first = range.lba * size;
            first < end && offset < first + u64::from(range.blocks) * size
        })
    }

    /// Blocks that it has.
    pub(in super::super) fn blocks(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.blocks)).sum()
    }
}

/// A token that is known.
#[derive(Debug)]
struct Kept {
    token: Token,
    rod: Arc<Rod>,
    used_ms: u64,
    /// Why it is of no use any more, unless its rod knows.
    end: Option<Asc>,
}

impl Kept {
    /// Why it is of no use any more.
    fn invalid(&self) -> Option<Asc> {
        self.end.or(self.rod.is_cancelled().then_some(Asc::TOKEN_CANCELLED))
    }
}

#[derive(Debug, Default)]
struct Contents {
    /// The oldest first.
    kept: Vec<Kept>,
    serial: u64,
}

/// The tokens of one logical unit and one initiator. Clones share them.
#[derive(Debug, Default, Clone)]
pub struct Rods(Arc<Mutex<Contents>>);

impl Rods {
    /// The contents: what nobody has used for too long has expired.
    fn contents(&self, now_ms: u64) -> MutexGuard<'_, Contents> {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in contents.kept.iter_mut().filter(|kept| kept.invalid().is_none()) {
            if now_ms.saturating_sub(kept.used_ms) > kept.rod.timeout_ms {
                kept.end = Some(Asc::TOKEN_EXPIRED);
            }
        }
        contents
    }

    /// What a new token is for.
    pub(in super::super) fn rod(ranges: Vec<Range>, block_size: u32, timeout_s: u32) -> Arc<Rod> {
        let timeout_ms = u64::from(timeout_s) * 1000;
        Arc::new(Rod { ranges, block_size, timeout_ms, is_cancelled: AtomicBool::new(false) })
    }

    /// Completes a token, and knows it from now on as one for `rod`.
    pub(in super::super) fn add(&self, mut token: Token, rod: &Arc<Rod>, now_ms: u64) -> Token {
        let mut contents = self.contents(now_ms);
        contents.serial += 1;
        token.complete(contents.serial, rod.blocks() * u64::from(rod.block_size));
        if contents.kept.iter().filter(|kept| kept.invalid().is_none()).count() >= VALID_MAX {
            let valid = contents.kept.iter_mut().filter(|kept| kept.invalid().is_none());
            valid.min_by_key(|kept| kept.used_ms).into_iter().for_each(|oldest| oldest.rod.cancel());
        }
        if contents.kept.len() >= KNOWN_MAX {
            let oldest = contents.kept.iter().position(|kept| kept.invalid().is_some()).expect("fewer are valid");
            contents.kept.remove(oldest);
        }
        contents.kept.push(Kept { token: token.clone(), rod: rod.clone(), used_ms: now_ms, end: None });
        token
    }

    /// What a token stands for, if it is one of these: it is used with that.
    pub fn find(&self, token: &[u8; TOKEN_LEN], now_ms: u64) -> Option<Result<Arc<Rod>, Sense>> {
        let mut contents = self.contents(now_ms);
        let kept = contents.kept.iter_mut().find(|kept| kept.token.bytes() == token)?;
        if let Some(why) = kept.invalid() {
            return Some(Err(Sense::illegal(why)));
        }
        kept.used_ms = now_ms;
        Some(Ok(kept.rod.clone()))
    }

    /// A token has been used for the last time: its initiator has said so.
    pub fn delete(&self, rod: &Arc<Rod>) {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = contents.kept.iter_mut().filter(|kept| Arc::ptr_eq(&kept.rod, rod));
        own.for_each(|kept| kept.end = Some(Asc::TOKEN_DELETED));
    }

    /// REPORT ALL ROD TOKENS: of those that are of use.
    pub(super) fn report(&self, now_ms: u64, reply: &mut Reply) {
        let contents = self.contents(now_ms);
        let valid: Vec<_> = contents.kept.iter().filter(|kept| kept.invalid().is_none()).collect();
        reply.put(&((4 + valid.len() * MANAGEMENT_LEN) as u32).to_be_bytes());
        reply.put(&[0; 4]);
        valid.iter().for_each(|kept| reply.put(&kept.token.bytes()[..MANAGEMENT_LEN]));
    }

    /// The logical unit began anew: all are cancelled.
    pub fn cancel_all(&self) {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contents.kept.iter().for_each(|kept| kept.rod.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{disk, info};
    use super::super::token::Maker;
    use super::*;

    const RANGES: [Range; 2] = [Range { lba: 3, blocks: 4 }, Range { lba: 100, blocks: 1 }];

    fn token() -> Token {
        Maker::of(&disk(&info())).token(|into| into.fill(0x5a))
    }

    fn add(rods: &Rods, timeout_s: u32, now_ms: u64) -> (Token, Arc<Rod>) {
        let rod = Rods::rod(RANGES.to_vec(), 512, timeout_s);
        (rods.add(token(), &rod, now_ms), rod)
    }

    /// What becomes of the use of a token.
    fn using(rods: &Rods, token: &Token, now_ms: u64) -> Option<Asc> {
        rods.find(token.bytes(), now_ms).expect("it is known").err().map(|sense| sense.asc)
    }

    #[test]
    fn tokens_expire_when_nobody_uses_them() {
        let rods = Rods::default();
        let (token, _) = add(&rods, 2, 0);
        assert_eq!(rods.find(token.bytes(), 2000).unwrap().unwrap().ranges, RANGES);
        assert_eq!(using(&rods, &token, 4000), None, "it was used meanwhile");
        assert_eq!(using(&rods, &token, 6001), Some(Asc(0x2307)));
        assert_eq!(using(&rods, &token, 4000), Some(Asc(0x2307)), "for good");
        let (other, _) = add(&rods, 2, 7000);
        assert_ne!(other.bytes(), token.bytes(), "its number is another one");
        let mut changed = *other.bytes();
        changed[300] ^= 1;
        assert!(rods.find(&changed, 7000).is_none(), "every byte counts");
    }

    #[test]
    fn tokens_are_cancelled_and_deleted() {
        let rods = Rods::default();
        let (first, rod) = add(&rods, 60, 0);
        assert!(!rod.overlaps(0, 1536) && rod.overlaps(0, 1537) && rod.overlaps(3583, 1) && !rod.overlaps(3584, 512));
        assert!(rod.overlaps(51_200, 1) && !rod.overlaps(51_712, u64::MAX) && rod.overlaps(1, u64::MAX));
        rod.cancel();
        assert_eq!(using(&rods, &first, 0), Some(Asc(0x2308)));
        let (second, rod) = add(&rods, 60, 0);
        rods.delete(&rod);
        assert_eq!(using(&rods, &second, 0), Some(Asc(0x2309)));
        let (third, _) = add(&rods, 60, 0);
        rods.cancel_all();
        assert_eq!(using(&rods, &third, 0), Some(Asc(0x2308)));
        assert_eq!(using(&rods, &second, 0), Some(Asc(0x2309)));
    }

    #[test]
    fn there_are_so_many_at_a_time() {
        let rods = Rods::default();
        let tokens: Vec<_> = (0..200).map(|now_ms| add(&rods, 60, now_ms).0).collect();
        let known = |token: &&Token| rods.find(token.bytes(), 300).is_some();
        assert_eq!(tokens.iter().filter(known).count(), 128);
        assert_eq!((using(&rods, &tokens[135], 300), using(&rods, &tokens[136], 300)), (Some(Asc(0x2308)), None));
        let mut reply = Reply::new();
        reply.begin(10_000);
        rods.report(300, &mut reply);
        assert_eq!(reply.as_bytes().len(), 8 + 64 * 96);
        assert_eq!(reply.as_bytes()[..16], [0, 0, 0x18, 0x04, 0, 0, 0, 0, 0, 0x80, 0, 1, 0, 0, 0x01, 0xf8]);
    }
}
