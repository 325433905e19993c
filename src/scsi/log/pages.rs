//! The log pages (SPC-5 and SBC-4, log parameters).

use super::super::logical_unit::LogicalUnit;
use super::super::spec::{Asc, log_page as code};
use super::{Log, SELF_TESTS_MAX, there};

/// A log page.
pub(super) struct Page {
    pub(super) code: u8,
    pub(super) subpage: u8,
    /// Its parameters are counters, so that PC means something.
    pub(super) has_counters: bool,
    /// Whether this unit has it.
    pub(super) is_there: fn(&LogicalUnit) -> bool,
    pub(super) write: fn(&mut Log<'_>),
}

/// A temperature that is not known.
const NO_TEMPERATURE: u8 = 0xff;

const fn page(code: u8, write: fn(&mut Log<'_>)) -> Page {
    Page { code, subpage: 0, has_counters: false, is_there: |_| true, write }
}

/// A page of counters.
const fn counted(code: u8, write: fn(&mut Log<'_>)) -> Page {
    Page { has_counters: true, ..page(code, write) }
}

/// The list of the subpages of a page, which each page has; that of page 00h is about all pages.
pub(super) const SUBPAGES: Page =
    Page { subpage: code::ALL_SUBPAGES, ..page(code::SUPPORTED_PAGES, supported_subpages) };

/// All other pages, ascending by code and subpage code.
pub(super) const PAGES: [Page; 12] = [
    page(code::SUPPORTED_PAGES, supported_pages),
    counted(code::WRITE_ERRORS, write_errors),
    counted(code::READ_ERRORS, read_errors),
    counted(code::VERIFY_ERRORS, verify_errors),
    Page { is_there: |unit| unit.threshold.is_some(), ..page(code::LOGICAL_BLOCK_PROVISIONING, provisioning) },
    page(code::TEMPERATURE, temperature),
    page(code::START_STOP_CYCLES, start_stop_cycles),
    page(code::SELF_TEST_RESULTS, self_test_results),
    Page { is_there: |unit| unit.solid_state, ..page(code::SOLID_STATE_MEDIA, solid_state_media) },
    page(code::BACKGROUND_SCAN, background_scan),
    counted(code::GENERAL_STATISTICS, general_statistics),
    page(code::INFORMATIONAL_EXCEPTIONS, informational_exceptions),
];

impl Page {
    /// Whether it holds no parameters, but codes of pages.
    pub(super) const fn is_list(&self) -> bool {
        self.code == code::SUPPORTED_PAGES
    }
}

fn supported_pages(log: &mut Log<'_>) {
    for page in there(log.unit).filter(|page| page.subpage == 0) {
        log.reply.put(&[page.code]);
    }
}

fn supported_subpages(log: &mut Log<'_>) {
    let of = log.request.page;
    let is_wanted = |page: &&Page| of == code::SUPPORTED_PAGES || page.code == of;
    let mut pages = there(log.unit).filter(is_wanted).peekable();
    while let Some(page) = pages.next() {
        log.reply.put(&[page.code, page.subpage]);
        if pages.peek().is_none_or(|next| next.code != page.code) {
            log.reply.put(&[page.code, SUBPAGES.subpage]);
        }
    }
}

/// Bytes that were processed, then errors that could not be corrected. There is nothing that corrects errors.
fn errors(log: &mut Log<'_>, blocks: u64, errors: u64) {
    const TOTAL_BYTES_PROCESSED: u16 = 0x0005;
    const TOTAL_UNCORRECTED_ERRORS: u16 = 0x0006;
    let bytes = blocks.wrapping_mul(log.unit.block_size.into());
    log.counters(TOTAL_BYTES_PROCESSED, [bytes]);
    log.counters(TOTAL_UNCORRECTED_ERRORS, [errors]);
}

fn write_errors(log: &mut Log<'_>) {
    let io = log.statistics.io;
    errors(log, io.written_blocks, io.write_errors);
}

fn read_errors(log: &mut Log<'_>) {
    let io = log.statistics.io;
    errors(log, io.read_blocks, io.read_errors);
}

fn verify_errors(log: &mut Log<'_>) {
    let io = log.statistics.io;
    errors(log, io.verified_blocks, io.verify_errors);
}

/// Space that is available, which others may take, and space that this disk has: in threshold sets.
fn provisioning(log: &mut Log<'_>) {
    const DEDICATED: u8 = 0x01;
    const NOT_DEDICATED: u8 = 0x02;
    let Some((threshold, space)) = log.unit.threshold.zip(log.statistics.space) else { return };
    let mut resource = |code, bytes, scope| {
        let [a, b, c, d] = threshold.sets(bytes).to_be_bytes();
        log.list(code, &[a, b, c, d, scope, 0, 0, 0]);
    };
    resource(0x0001, space.available, NOT_DEDICATED);
    space.used.into_iter().for_each(|used| resource(0x0002, used, DEDICATED));
}

/// Temperature of the device, and the highest at which it works well, in degrees Celsius.
fn temperatures(log: &Log<'_>) -> [u8; 2] {
    let health = log.statistics.health.unwrap_or_default();
    [health.temperature, health.temperature_max].map(|known| known.unwrap_or(NO_TEMPERATURE))
}

fn temperature(log: &mut Log<'_>) {
    let [now, max] = temperatures(log);
    log.list(0x0000, &[0, now]);
    log.list(0x0001, &[0, max]);
}

fn start_stop_cycles(log: &mut Log<'_>) {
    const ACCUMULATED_CYCLES: u16 = 0x0004;
    let cycles = log.statistics.start_stop_cycles.to_be_bytes();
    log.list(ACCUMULATED_CYCLES, &cycles);
}

/// The last twenty tests, the latest first. Those that have not been done are zeroes.
fn self_test_results(log: &mut Log<'_>) {
    for number in 0..SELF_TESTS_MAX {
        let record = log.self_tests.get(number);
        let bytes = record.map_or([0; 16], |record| record.result.encode(record.power_on_hours));
        log.list(number as u16 + 1, &bytes);
    }
}

/// Percentage used endurance indicator: of most devices nothing is known that wears out.
fn solid_state_media(log: &mut Log<'_>) {
    let used = log.statistics.health.map_or(0, |health| health.percentage_used);
    log.list(0x0001, &[0, 0, 0, used]);
}

/// Minutes of power; no scan is active and none was ever done.
fn background_scan(log: &mut Log<'_>) {
    let mut status = [0; 12];
    status[..4].copy_from_slice(&log.statistics.power_on_minutes.to_be_bytes());
    log.list(0x0000, &status);
}

/// Commands and blocks. Times are not measured, which is said by 0; nothing is weighted.
fn general_statistics(log: &mut Log<'_>) {
    let (io, not_measured) = (log.statistics.io, 0);
    let access = [
        io.reads,
        io.writes,
        io.written_blocks,
        io.read_blocks,
        not_measured,
        not_measured,
        not_measured,
        not_measured,
    ];
    log.counters(0x0001, access);
    // Idle time, and how long its intervals are: none, as times are not measured. sg_logs takes a page without them for cut off.
    log.counters(0x0002, [not_measured]);
    log.list(0x0003, &[0; 8]);
}

/// What is wrong with the device, as an additional sense code, and its temperatures.
fn informational_exceptions(log: &mut Log<'_>) {
    let health = log.statistics.health.unwrap_or_default();
    let asc = match (health.is_failing, health.is_out_of_range) {
        (true, _) => Asc::FAILURE_PREDICTION_THRESHOLD_EXCEEDED,
        (false, true) => Asc::SPECIFIED_TEMPERATURE_EXCEEDED,
        (false, false) => Asc::NO_ADDITIONAL_SENSE,
    };
    let ([code, qualifier], [now, max]) = (asc.0.to_be_bytes(), temperatures(log));
    log.list(0x0000, &[code, qualifier, now, max]);
}
