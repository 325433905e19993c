//! LOG SENSE (SPC-5): what has been counted, and what is known of the health of the device, which is little of one without a body.
//!
//! The caller counts, and hands in [`Statistics`]. Nothing is saved and no threshold is kept.

use bdev::{Health, Space};

use super::logical_unit::LogicalUnit;
use super::long::SelfTestResult;
use super::query::Facts;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::log_page as code;

mod pages;
mod select;

use pages::{PAGES, Page, SUBPAGES};
pub use select::LogSelect;
pub(super) use select::{check as check_select, select};

/// LOG SENSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSense {
    /// PC: which values.
    pub control: LogControl,
    /// Page code.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// Code of the first parameter that is wanted.
    pub parameter_pointer: u16,
    /// Bytes that the initiator has room for.
    pub allocation_length: u16,
}

/// PC of LOG SENSE, two bits: it says what is wanted of counters, and nothing of other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogControl(pub u8);

impl LogControl {
    /// Thresholds.
    pub const THRESHOLD: Self = Self(0);
    /// What was counted.
    pub const CUMULATIVE: Self = Self(1);
    /// Thresholds that hold if none are set.
    pub const DEFAULT_THRESHOLD: Self = Self(2);
    /// What counters begin with.
    pub const DEFAULT_CUMULATIVE: Self = Self(3);
}

/// What has been counted of a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Minutes since the target started.
    pub power_on_minutes: u32,
    /// How often the unit was stopped and started again.
    pub start_stop_cycles: u32,
    /// Reads, writes and verifications.
    pub io: IoStatistics,
    /// How much space there was when somebody looked last.
    pub space: Option<Space>,
    /// What the device told of its condition when somebody asked last.
    pub health: Option<Health>,
}

/// Reads, writes and verifications of a disk since the target started, of all that show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStatistics {
    /// Commands that read blocks.
    pub reads: u64,
    /// Commands that wrote blocks.
    pub writes: u64,
    /// Blocks that were read.
    pub read_blocks: u64,
    /// Blocks that were written.
    pub written_blocks: u64,
    /// Blocks that were verified.
    pub verified_blocks: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Verifications that failed.
    pub verify_errors: u64,
}

/// Self-tests that the log tells of (SPC-5, Self-Test Results log page).
pub const SELF_TESTS_MAX: usize = 20;

/// A self-test that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTestRecord {
    /// How.
    pub result: SelfTestResult,
    /// After so many hours of power; `u16::MAX` for more.
    pub power_on_hours: u16,
}

/// Answers LOG SENSE.
pub(super) fn sense(unit: &LogicalUnit, request: &LogSense, facts: &Facts<'_>, reply: &mut Reply) -> Result<(), Sense> {
    const DS: u8 = 0x80;
    const SPF: u8 = 0x40;
    let page = find(unit, request)?;
    reply.begin(request.allocation_length.into());
    let spf = if page.subpage == 0 { 0 } else { SPF };
    let ds = if page.is_list() { 0 } else { DS };
    reply.put(&[ds | spf | request.page, page.subpage, 0, 0]);
    let (statistics, self_tests) = (&facts.statistics, facts.self_tests);
    (page.write)(&mut Log { unit, statistics, self_tests, request, reply });
    let len = (reply.written() - 4) as u16;
    if len == 0 && request.parameter_pointer != 0 {
        reply.begin(0);
        return Err(NO_PARAMETER);
    }
    reply.patch(2, &len.to_be_bytes());
    Ok(())
}

/// No parameter has the code of the parameter pointer, or a higher one.
const NO_PARAMETER: Sense = Sense::invalid_field(5, None);

/// The page that is asked for, or what is wrong with the question.
fn find(unit: &LogicalUnit, request: &LogSense) -> Result<&'static Page, Sense> {
    const NO_PAGE: Sense = Sense::invalid_field(2, Some(5));
    const NO_SUBPAGE: Sense = Sense::invalid_field(3, None);
    const NO_THRESHOLDS: Sense = Sense::invalid_field(2, Some(7));
    let mut pages = there(unit).filter(|page| page.code == request.page).peekable();
    pages.peek().ok_or(NO_PAGE)?;
    let page = match request.subpage {
        code::ALL_SUBPAGES => &SUBPAGES,
        subpage => pages.find(|page| page.subpage == subpage).ok_or(NO_SUBPAGE)?,
    };
    let thresholds = [LogControl::THRESHOLD, LogControl::DEFAULT_THRESHOLD].contains(&request.control);
    if page.has_counters && thresholds {
        return Err(NO_THRESHOLDS);
    }
    if page.is_list() && request.parameter_pointer != 0 {
        return Err(NO_PARAMETER);
    }
    Ok(page)
}

/// The pages of this unit, ascending by code and subpage code, but for the lists of subpages.
fn there(unit: &LogicalUnit) -> impl Iterator<Item = &'static Page> + '_ {
    PAGES.iter().filter(move |page| (page.is_there)(unit))
}

/// A page that is being written.
struct Log<'a> {
    unit: &'a LogicalUnit,
    statistics: &'a Statistics,
    self_tests: &'a [SelfTestRecord],
    request: &'a LogSense,
    reply: &'a mut Reply,
}

impl Log<'_> {
    /// A parameter, if it is wanted: those before the parameter pointer are not.
    fn put(&mut self, code: u16, control: u8, value: &[u8]) {
        if code < self.request.parameter_pointer {
            return;
        }
        let [high, low] = code.to_be_bytes();
        self.reply.put(&[high, low, control, value.len() as u8]);
        self.reply.put(value);
    }

    /// A list of bytes (SPC-5, format and linking field: binary list).
    fn list(&mut self, code: u16, value: &[u8]) {
        const BINARY_LIST: u8 = 0x03;
        self.put(code, BINARY_LIST, value);
    }

    /// Counters of 8 bytes each, that count on and on (unbounded data counter).
    fn counters<const N: usize>(&mut self, code: u16, values: [u64; N]) {
        const UNBOUNDED: u8 = 0x02;
        let cumulative = self.request.control == LogControl::CUMULATIVE;
        let bytes = values.map(|value| if cumulative { value.to_be_bytes() } else { [0; 8] });
        self.put(code, UNBOUNDED, bytes.as_flattened());
    }
}

#[cfg(test)]
mod tests;
