//! What stands around a backend: a part of it, errors, delays. From the inside out, in this order.

use std::ops::Range;
use std::time::Duration;

use super::fields::Fields;
use crate::config::units;

/// What stands around a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wrappers {
    /// Only a part of it is the disk.
    pub split: Option<SplitConfig>,
    /// Operations fail.
    pub error: Option<ErrorConfig>,
    /// Make every operation wait this long.
    pub delay: Option<Duration>,
    /// What waits can be cancelled. False only with a delay.
    pub cancel: bool,
}

/// A part of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SplitConfig {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

impl SplitConfig {
    /// Whether both have a byte in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |part: &Self| part.offset.saturating_add(part.size);
        self.offset < end(other) && other.offset < end(self)
    }
}

/// Operations that fail.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorConfig {
    /// What they fail with.
    pub kind: ErrorKind,
    /// Bytes of the disk that an operation must touch to be in question; all if not given.
    pub range: Option<Range<u64>>,
    /// How many of a million operations in question fail.
    pub rate_ppm: u32,
    /// Names of the kinds of operations in question, of [`ERROR_OPS`]; all but `flush` if there is none.
    pub ops: Vec<String>,
}

/// Names of kinds of operations.
pub const ERROR_OPS: [&str; 6] = ["read", "write", "flush", "unmap", "zero", "extents"];

/// What an operation fails with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The medium cannot be read or written.
    Medium,
    /// There is no space.
    NoSpace,
    /// The device has gone.
    Gone,
    /// It is worth another try.
    Busy,
    /// It cannot be written.
    ReadOnly,
}

const ERROR_KINDS: [(&str, ErrorKind); 5] = [
    ("medium", ErrorKind::Medium),
    ("no-space", ErrorKind::NoSpace),
    ("gone", ErrorKind::Gone),
    ("busy", ErrorKind::Busy),
    ("read-only", ErrorKind::ReadOnly),
];

impl Wrappers {
    /// Takes the keys of all wrappers.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, String> {
        let wrappers = Self {
            split: fields.take("split").map(|text| read_split(&text)).transpose()?,
            error: read_error(fields)?,
            delay: fields.take("delay").map(|text| units::parse_duration(&text)).transpose()?,
            cancel: fields.cancel()?,
        };
        if !wrappers.cancel && wrappers.delay.is_none() {
            return Err("cancel=no needs a delay (delay=60s,cancel=no)".into());
        }
        Ok(wrappers)
    }
}

fn read_split(text: &str) -> Result<SplitConfig, String> {
    let (offset, size) = text
        .split_once('+')
        .ok_or_else(|| format!("split={text} is no part; write where it begins and its size (split=1G+512M)"))?;
    let (offset, size) = (units::parse_size(offset)?, units::parse_size(size)?);
    if size == 0 || offset.checked_add(size).is_none() {
        return Err(format!("split={text} is no part of any disk: give it a size"));
    }
    Ok(SplitConfig { offset, size })
}

fn read_error(fields: &mut Fields) -> Result<Option<ErrorConfig>, String> {
    let (rate, ops) = (fields.take("error-rate"), fields.take("error-ops"));
    let Some(text) = fields.take("error") else {
        return match rate.or(ops) {
            None => Ok(None),
            Some(_) => Err("error-rate= and error-ops= need an error (error=medium,error-rate=0.01)".into()),
        };
    };
    let (kind, range) = match text.split_once('@') {
        Some((kind, range)) => (kind, Some(read_range(range)?)),
        None => (text.as_str(), None),
    };
    let known = ERROR_KINDS.iter().find(|(name, _)| *name == kind);
    let (_, kind) = known.ok_or_else(|| {
        let names: Vec<_> = ERROR_KINDS.iter().map(|(name, _)| *name).collect();
        format!("error={kind} is unknown; it can be {}", names.join(", "))
    })?;
    Ok(Some(ErrorConfig { kind: *kind, range, rate_ppm: read_rate(rate)?, ops: read_ops(ops)? }))
}

fn read_range(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is no range of bytes; write its two ends (error=medium@0-1M)");
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let range = units::parse_size(from)?..units::parse_size(to)?;
    if range.is_empty() { Err(bad()) } else { Ok(range) }
}

fn read_rate(text: Option<String>) -> Result<u32, String> {
    let Some(text) = text else { return Ok(1_000_000) };
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok((rate * 1e6).round() as u32),
        _ => Err(format!("error-rate={text} is out of range; it can be 0 to 1 (0.01 is one of a hundred)")),
    }
}

fn read_ops(text: Option<String>) -> Result<Vec<String>, String> {
    let ops: Vec<_> = text.iter().flat_map(|text| text.split('+')).map(str::to_owned).collect();
    match ops.iter().find(|op| !ERROR_OPS.contains(&op.as_str())) {
        Some(op) => Err(format!("error-ops={op} is unknown; write one or more of {}", ERROR_OPS.join("+"))),
        None => Ok(ops),
    }
}
