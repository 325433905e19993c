//! The mode pages (SPC-5, mode parameters; SBC-4, mode parameters for direct access block devices).
//!
//! A page is one function from the values in force to its bytes. Which bits can be changed follows from it: those that
//! differ between a flag set and cleared. So MODE SENSE cannot offer what MODE SELECT does not take.

use super::super::spec::mode_page as code;
use super::Medium;
use super::state::ModeValues;

/// A mode page.
pub(super) struct Page {
    pub(super) code: u8,
    pub(super) subpage: u8,
    /// Bytes behind the header.
    len: usize,
    /// The flags that it shows. A page that has some can be saved where there is a place for that.
    flags: ModeValues,
    /// Its flags are about thin provisioning.
    thin: bool,
    write: fn(&Medium, ModeValues, &mut [u8]),
}

/// Most bytes of a page, its header included.
const LEN_MAX: usize = 64;

/// SPF in the first byte of a page: it has a subpage code and a length of 2 bytes.
pub(super) const SPF: u8 = 0x40;
/// PS in the first byte of a page: it can be saved.
const PS: u8 = 0x80;

/// A page as it goes over the wire.
pub(super) struct PageBytes {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl PageBytes {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

const fn page(code: u8, len: usize, flags: ModeValues, write: fn(&Medium, ModeValues, &mut [u8])) -> Page {
    Page { code, subpage: 0, len, flags, thin: false, write }
}

/// All pages, ascending by code and subpage code, as MODE SENSE returns them.
const PAGES: [Page; 8] = [
    Page { thin: true, ..page(code::READ_WRITE_ERROR_RECOVERY, 10, ModeValues::LBPERE, error_recovery) },
    // The transport does not disconnect.
    page(code::DISCONNECT_RECONNECT, 14, ModeValues::DEFAULT, zeros),
    page(code::CACHING, 18, ModeValues::WRITE_THROUGH, caching),
    page(code::CONTROL, 10, ModeValues::D_SENSE.and(ModeValues::SWP).and(ModeValues::TAS), control),
    Page { subpage: 1, ..page(code::CONTROL, 28, ModeValues::DEFAULT, control_extension) },
    // No power conditions.
    page(code::POWER_CONDITION, 38, ModeValues::DEFAULT, zeros),
    page(code::INFORMATIONAL_EXCEPTIONS, 10, ModeValues::DEFAULT, informational_exceptions),
    Page {
        subpage: code::LOGICAL_BLOCK_PROVISIONING_SUBPAGE,
        thin: true,
        ..page(code::INFORMATIONAL_EXCEPTIONS, 20, ModeValues::THRESHOLD, logical_block_provisioning)
    },
];

/// The pages of this unit.
pub(super) fn pages(medium: &Medium) -> impl Iterator<Item = &'static Page> {
    let is_thin = medium.threshold.is_some();
    PAGES.iter().filter(move |page| is_thin || page.subpage != code::LOGICAL_BLOCK_PROVISIONING_SUBPAGE)
}

impl Page {
    /// Bytes of its header: 4 with a subpage code, else 2.
    pub(super) const fn header_len(&self) -> usize {
        if self.subpage == 0 { 2 } else { 4 }
    }

    /// Bytes with its header.
    pub(super) const fn len_with_header(&self) -> usize {
        self.header_len() + self.len
    }

    fn begin(&self, first: u8) -> PageBytes {
        let mut bytes = [0; LEN_MAX];
        if self.subpage == 0 {
            bytes[..2].copy_from_slice(&[first | self.code, self.len as u8]);
        } else {
            let [high, low] = (self.len as u16).to_be_bytes();
            bytes[..4].copy_from_slice(&[first | SPF | self.code, self.subpage, high, low]);
        }
        PageBytes { bytes, len: self.len_with_header() }
    }

    fn ps(&self, medium: &Medium) -> u8 {
        let has_flags = self.flags != ModeValues::DEFAULT && (!self.thin || medium.threshold.is_some());
        if medium.saves && has_flags { PS } else { 0 }
    }

    /// The page with `values`.
    pub(super) fn with(&self, medium: &Medium, values: ModeValues) -> PageBytes {
        let mut page = self.begin(self.ps(medium));
        (self.write)(medium, values, &mut page.bytes[self.header_len()..page.len]);
        page
    }

    /// The page with a 1 for each bit that can be changed.
    pub(super) fn changeable(&self, medium: &Medium) -> PageBytes {
        let (cleared, set) = (self.with(medium, ModeValues::DEFAULT), self.with(medium, ModeValues::ALL));
        let mut page = self.begin(self.ps(medium));
        let header_len = self.header_len();
        let bits = cleared.bytes.iter().zip(&set.bytes).map(|(cleared, set)| cleared ^ set);
        for (byte, bits) in page.bytes[..page.len].iter_mut().zip(bits).skip(header_len) {
            *byte = bits;
        }
        page
    }

    /// The flags that the page shows on this unit and those of them that `wanted` sets, or the position of the first
    /// bit of `wanted` that cannot be what it is: byte in the page, bit in the byte. `wanted` is as long as the page.
    pub(super) fn read(
        &self,
        medium: &Medium,
        current: ModeValues,
        wanted: &[u8],
    ) -> Result<(ModeValues, ModeValues), (u16, u8)> {
        let (mask, now) = (self.changeable(medium), self.with(medium, current));
        let bytes = wanted.iter().zip(&now.bytes).zip(&mask.bytes).enumerate().skip(self.header_len());
        for (at, ((wanted, now), mask)) in bytes {
            let fixed = (wanted ^ now) & !mask;
            if fixed != 0 {
                return Err((at as u16, 7 - fixed.leading_zeros() as u8));
            }
        }
        let cleared = self.with(medium, ModeValues::DEFAULT);
        let (mut shown, mut values) = (ModeValues::DEFAULT, ModeValues::DEFAULT);
        for flag in self.flags.each() {
            let set = self.with(medium, flag);
            let differing = set.bytes.iter().zip(&cleared.bytes).enumerate().find(|(_, (set, cleared))| set != cleared);
            if let Some((at, (set, cleared))) = differing {
                shown = shown.and(flag);
                values = values.with(flag, (wanted[at] ^ set) & (set ^ cleared) == 0);
            }
        }
        Ok((shown, values))
    }
}

fn zeros(_: &Medium, _: ModeValues, _: &mut [u8]) {}

/// No retries, no recovery that could be limited: a backend's error is final.
fn error_recovery(medium: &Medium, values: ModeValues, body: &mut [u8]) {
    const LBPERE: u8 = 0x80;
    body[5] = if medium.threshold.is_some() && values.has(ModeValues::LBPERE) { LBPERE } else { 0 };
}

/// One threshold: soft, armed decreasing, of the space that is available. Every nexus is told (no SITUA).
fn logical_block_provisioning(medium: &Medium, values: ModeValues, body: &mut [u8]) {
    const ENABLED: u8 = 0x80;
    const AVAILABLE: u8 = 0x01;
    let count = medium.threshold.map_or(0, |threshold| threshold.count);
    body[12] = if values.has(ModeValues::THRESHOLD) { ENABLED } else { 0 };
    body[13] = AVAILABLE;
    body[16..20].copy_from_slice(&count.to_be_bytes());
}

/// WCE: a flush is needed. Where the device has no write cache it stays 0.
fn caching(medium: &Medium, values: ModeValues, body: &mut [u8]) {
    const WCE: u8 = 0x04;
    body[0] = if medium.write_back && !values.has(ModeValues::WRITE_THROUGH) { WCE } else { 0 };
}

/// A task set for each nexus, so that its faults concern no other; those end no command (QERR 0, commands wait for the end of
/// an auto contingent allegiance); commands reordered freely, log parameters are not saved, BUSY for as long as it takes.
fn control(_: &Medium, values: ModeValues, body: &mut [u8]) {
    const D_SENSE: u8 = 0x04;
    const GLTSD: u8 = 0x02;
    /// TST: each nexus has a task set of its own.
    const TASK_SET_PER_NEXUS: u8 = 0x20;
    const UNRESTRICTED_REORDERING: u8 = 0x10;
    const SWP: u8 = 0x08;
    const TAS: u8 = 0x40;
    const UNLIMITED: [u8; 2] = [0xff; 2];
    body[0] = TASK_SET_PER_NEXUS | GLTSD | if values.has(ModeValues::D_SENSE) { D_SENSE } else { 0 };
    body[1] = UNRESTRICTED_REORDERING;
    body[2] = if values.has(ModeValues::SWP) { SWP } else { 0 };
    body[3] = if values.has(ModeValues::TAS) { TAS } else { 0 };
    body[6..8].copy_from_slice(&UNLIMITED);
}

/// The clock is the host's until SET TIMESTAMP sets it, which goes before. Access states change by themselves (IALUAE) wherever
/// INQUIRY says so, in TPGS.
fn control_extension(medium: &Medium, _: ModeValues, body: &mut [u8]) {
    const TCMOS: u8 = 0x04;
    const SCSIP: u8 = 0x02;
    const IALUAE: u8 = 0x01;
    body[0] = TCMOS | SCSIP | if medium.in_port_group { IALUAE } else { 0 };
}

/// None are reported: DEXCPT.
fn informational_exceptions(_: &Medium, _: ModeValues, body: &mut [u8]) {
    const DEXCPT: u8 = 0x08;
    body[0] = DEXCPT;
}
