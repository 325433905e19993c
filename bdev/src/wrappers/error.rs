//! The wrapper that makes a device sick: some operations fail instead of reaching it.
//!
//! An operation that is to fail does so at once and has no effect. Which of those in question do is as good as random and
//! the same in every run.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::channel::{Bdev, Channel, Completion, Io, SubmitError, Tag};
use crate::error::OpenError;
use crate::info::{Info, bytes_for_people};
use crate::op::{IoError, Op, OpKind};

use crate::wanted::{Key, Keys, ReadWrapper, Wrapper, WrapperKind, units};

use super::{Around, Wrapped};

/// A set of kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Names for people, in the order of the bits.
    pub const NAMES: [&'static str; 6] = ["read", "write", "flush", "unmap", "zero", "extents"];

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << at))
    }

    /// Those of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn of(kind: OpKind) -> Self {
        Self(match kind {
            OpKind::Read | OpKind::Verify | OpKind::Compare | OpKind::Prefetch => 1,
            OpKind::Write { .. } | OpKind::WriteAtomic { .. } => 2,
            OpKind::Flush => 4,
            OpKind::Unmap => 8,
            OpKind::WriteZeroes { .. } | OpKind::Anchor { .. } => 16,
            OpKind::Extents => 32,
        })
    }

    const fn contains(self, kind: OpKind) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    fn describe(self) -> String {
        let names = Self::NAMES.iter().enumerate().filter(|(at, _)| self.0 & (1 << at) != 0).map(|(_, name)| *name);
        names.collect::<Vec<_>>().join("+")
    }
}

impl Default for Kinds {
    /// All but flushes.
    fn default() -> Self {
        Self(0b11_1011)
    }
}

/// Which operations fail, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// What they fail with.
    pub error: IoError,
    /// Bytes of the device that an operation must touch to be in question; a flush always is.
    pub range: Range<u64>,
    /// Part of those in question that fail, from 0 to 1.
    pub rate: f64,
    /// Kinds that are in question.
    pub kinds: Kinds,
}

impl Errors {
    /// Everything but flushes fails with `error`.
    pub fn all(error: IoError) -> Self {
        Self { error, range: 0..u64::MAX, rate: 1.0, kinds: Kinds::default() }
    }

    fn in_question(&self, op: &Op) -> bool {
        let touches = op.offset < self.range.end && self.range.start < op.offset.saturating_add(op.len);
        self.kinds.contains(op.kind) && (op.kind == OpKind::Flush || touches)
    }

    fn describe(&self) -> String {
        let place = if self.range == (0..u64::MAX) {
            String::new()
        } else {
            format!(" within {} to {}", bytes_for_people(self.range.start), bytes_for_people(self.range.end))
        };
        format!("{} of {}{place} fail: {}", self.rate, self.kinds.describe(), self.error)
    }
}

/// Errors as a user writes them.
pub(crate) const KIND: WrapperKind = WrapperKind {
    keys: &[
        Key {
            name: "error",
            form: "error=KIND[@FROM-TO]",
            help: "operations fail, for tests: medium, no-space, gone, busy, read-only",
        },
        Key { name: "error-rate", form: "error-rate=RATE", help: "as many of them, 0 to 1 (default: 1)" },
        Key {
            name: "error-ops",
            form: "error-ops=OP+OP...",
            help: "of these: read, write, flush, unmap, zero, extents (default: all but flush)",
        },
    ],
    read,
};

const ERRORS: [(&str, IoError); 5] = [
    ("medium", IoError::Medium),
    ("no-space", IoError::NoSpace),
    ("gone", IoError::Gone),
    ("busy", IoError::Busy),
    ("read-only", IoError::ReadOnly),
];

impl Wrapper for Errors {
    fn wrap(&self, inner: Arc<dyn Bdev>) -> Result<Arc<dyn Bdev>, OpenError> {
        Ok(Arc::new(ErrorBdev::new(inner, self.clone())))
    }
}

fn read(keys: &mut Keys) -> ReadWrapper {
    let (rate, ops) = (keys.take("error-rate"), keys.take("error-ops"));
    let Some(text) = keys.take("error") else {
        return match rate.or(ops) {
            None => Ok(None),
            Some(_) => Err("error-rate= and error-ops= need an error (error=medium,error-rate=0.01)".into()),
        };
    };
    let (name, range) = match text.split_once('@') {
        Some((name, range)) => (name, Some(read_range(range)?)),
        None => (text.as_str(), None),
    };
    let known = ERRORS.iter().find(|(known, _)| *known == name);
    let (_, error) = known.ok_or_else(|| {
        let names: Vec<_> = ERRORS.iter().map(|(name, _)| *name).collect();
        format!("error={name} is unknown; it can be {}", names.join(", "))
    })?;
    let all = Errors::all(*error);
    let (range, rate, kinds) = (range.unwrap_or(all.range), read_rate(rate)?, read_ops(ops)?.unwrap_or(all.kinds));
    Ok(Some(Arc::new(Errors { error: *error, range, rate, kinds })))
}

fn read_range(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is no range of bytes; write its two ends (error=medium@0-1M)");
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let range = units::parse_size(from)?..units::parse_size(to)?;
    if range.is_empty() { Err(bad()) } else { Ok(range) }
}

fn read_rate(text: Option<String>) -> Result<f64, String> {
    let Some(text) = text else { return Ok(1.0) };
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err(format!("error-rate={text} is out of range; it can be 0 to 1 (0.01 is one of a hundred)")),
    }
}

fn read_ops(text: Option<String>) -> Result<Option<Kinds>, String> {
    let Some(text) = text else { return Ok(None) };
    let mut kinds = Kinds::NONE;
    for op in text.split('+') {
        let kind = Kinds::named(op);
        let unknown = || format!("error-ops={op} is unknown; write one or more of {}", Kinds::NAMES.join("+"));
        kinds = kinds.with(kind.ok_or_else(unknown)?);
    }
    Ok(Some(kinds))
}

/// A device that fails now and then.
#[derive(Debug)]
pub struct ErrorBdev {
    info: Info,
    inner: Arc<dyn Bdev>,
    errors: Errors,
    /// Channels so far: each draws numbers of its own.
    channels: AtomicU64,
}

impl ErrorBdev {
    /// `inner`, with `errors`.
    pub fn new(inner: Arc<dyn Bdev>, errors: Errors) -> Self {
        let mut info = inner.info().clone();
        info.description = format!("{}, {}", info.description, errors.describe());
        Self { info, inner, errors, channels: AtomicU64::new(0) }
    }
}

impl Bdev for ErrorBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn inside(&self) -> Option<&dyn Bdev> {
        Some(&*self.inner)
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        let Some(inner) = self.inner.resized()? else { return Ok(None) };
        Ok(Some(Arc::new(Self::new(inner, self.errors.clone()))))
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        let inner = self.inner.channel(io)?;
        let number = self.channels.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Wrapped(ErrorChannel { inner, errors: self.errors.clone(), draw: Draw::new(number) })))
    }
}

/// Numbers from 0 to 1 that look random (splitmix64).
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 53 bits are what a number of this type holds exactly.
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct ErrorChannel {
    inner: Box<dyn Channel>,
    errors: Errors,
    draw: Draw,
}

impl Around for ErrorChannel {
    fn inner(&self) -> &dyn Channel {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn Channel {
        &mut *self.inner
    }

    fn accept(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if !self.errors.in_question(op) || self.draw.next() >= self.errors.rate {
            return self.inner.submit(io, op, tag);
        }
        io.admit(self.inner.id())?;
        io.complete(self.inner.id(), Completion { tag, result: Err(self.errors.error) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::NullBdev;
    use crate::segment::SegmentSlice;

    fn open(errors: Errors) -> (Io, Box<dyn Channel>) {
        let bdev = ErrorBdev::new(Arc::new(NullBdev::new(1 << 20, 512).unwrap()), errors);
        let mut io = Io::default();
        let channel = bdev.channel(&mut io).unwrap();
        (io, channel)
    }

    fn run((io, channel): &mut (Io, Box<dyn Channel>), kind: OpKind, offset: u64) -> Result<(), IoError> {
        let op = Op { kind, offset, len: 512, segments: SegmentSlice::EMPTY };
        channel.submit(io, &op, Tag(0)).unwrap();
        io.next_completion().unwrap().result
    }

    #[test]
    fn only_what_touches_the_range_fails() {
        let mut sick = open(Errors { range: 1024..2048, ..Errors::all(IoError::Medium) });
        for (offset, fails) in [(0, false), (512, false), (513, true), (1024, true), (2047, true), (2048, false)] {
            assert_eq!(run(&mut sick, OpKind::Read, offset).is_err(), fails, "{offset}");
        }
        let mut whole = open(Errors::all(IoError::Gone));
        assert_eq!(run(&mut whole, OpKind::Write { fua: false }, 0), Err(IoError::Gone));
    }

    #[test]
    fn only_the_kinds_that_were_named_fail() {
        let kinds = [
            OpKind::Read,
            OpKind::Write { fua: true },
            OpKind::Flush,
            OpKind::Unmap,
            OpKind::WriteZeroes { unmap: false, fua: false },
            OpKind::Extents,
        ];
        for (name, named) in Kinds::NAMES.into_iter().zip(kinds) {
            // A flush has no place, and fails wherever the range is.
            let errors = Errors {
                kinds: Kinds::named(name).unwrap(),
                range: if named == OpKind::Flush { 4096..8192 } else { 0..512 },
                ..Errors::all(IoError::Busy)
            };
            let mut sick = open(errors);
            for kind in kinds {
                assert_eq!(run(&mut sick, kind, 0).is_err(), kind == named, "{name}: {kind:?}");
            }
        }
        assert_eq!(Kinds::named("reads"), None);
        assert_eq!(Kinds::named("read").unwrap().with(Kinds::named("flush").unwrap()).describe(), "read+flush");
        assert!(!Kinds::default().contains(OpKind::Flush) && Kinds::default().contains(OpKind::Extents));
    }

    #[test]
    fn as_many_fail_as_the_rate_says_and_the_same_in_every_run() {
        let failures = |rate| {
            let mut sick = open(Errors { rate, ..Errors::all(IoError::Medium) });
            (0..4000).filter(|_| run(&mut sick, OpKind::Read, 0).is_err()).count()
        };
        assert_eq!((failures(0.0), failures(1.0)), (0, 4000));
        let tenth = failures(0.1);
        assert!((300..500).contains(&tenth), "{tenth}");
        assert_eq!(failures(0.1), tenth);
    }

    #[test]
    fn says_how_sick_it_is() {
        let errors = Errors { range: 0..1 << 20, rate: 0.01, ..Errors::all(IoError::Medium) };
        let bdev = ErrorBdev::new(Arc::new(NullBdev::new(1 << 20, 512).unwrap()), errors);
        let said = &bdev.info().description;
        assert!(
            said.ends_with("0.01 of read+write+unmap+zero+extents within 0 bytes to 1 MiB fail: medium error"),
            "{said}"
        );
    }
}
