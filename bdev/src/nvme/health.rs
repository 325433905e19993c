//! The SMART / Health Information log page (NVM Express Base Specification, Get Log Page, log page identifier 02h), which every
//! device of a namespace gives: that for its commands, and its block device.

use std::fs::File;

use crate::health::Health;

use super::identify::Controller;
use super::ioctl;
use super::spec::{CNS_CONTROLLER, SMART_LEN};

/// 0 degrees Celsius in kelvins, as controllers count.
const FREEZING: u16 = 273;

/// What Get Log Page returns.
pub(super) type SmartPage = [u8; SMART_LEN];

/// What it takes to understand how a controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkup {
    /// From which temperature on it is too hot, in kelvins; 0 if it does not say.
    warning_kelvin: u16,
}

impl Checkup {
    /// Of this controller.
    pub(super) fn of(controller: &Controller) -> Self {
        Self { warning_kelvin: controller.warning_kelvin }
    }

    /// Of the controller behind `file`, a device of an NVMe namespace, if the kernel lets us ask it.
    pub(crate) fn through(file: &File) -> Option<Self> {
        ioctl::identify(file, 0, CNS_CONTROLLER).ok().map(|page| Self::of(&Controller::parse(&page)))
    }

    /// Asks it. Before Linux 6.2, and for whoever may not administer the machine, the kernel keeps that to itself.
    pub(crate) fn ask(self, file: &File) -> Option<Health> {
        ioctl::smart(file).ok().map(|page| parse(&page, self.warning_kelvin))
    }
}

/// Reads the page of a controller that calls a temperature of `warning_kelvin` and above too high: 0 if it names none.
fn parse(page: &SmartPage, warning_kelvin: u16) -> Health {
    /// CRITICAL WARNING: the temperature is beyond a threshold, of either kind.
    const TEMPERATURE: u8 = 1 << 1;
    /// CRITICAL WARNING: little spare is left, unreliable, read-only, and what keeps the cache over a loss of power has failed.
    const FAILING: u8 = 1 | 1 << 2 | 1 << 3 | 1 << 4;
    Health {
        temperature: celsius(u16::from_le_bytes([page[1], page[2]])),
        temperature_max: celsius(warning_kelvin),
        percentage_used: page[5],
        is_out_of_range: page[0] & TEMPERATURE != 0,
        is_failing: page[0] & FAILING != 0,
    }
}

/// 0 kelvins stand for no value. No disk is as hot as what a byte cannot hold.
fn celsius(kelvin: u16) -> Option<u8> {
    (kelvin > 0).then(|| u8::try_from(kelvin.saturating_sub(FREEZING)).unwrap_or(u8::MAX).min(0xfe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(head: [u8; 6]) -> SmartPage {
        let mut page = [0xee; SMART_LEN];
        page[..6].copy_from_slice(&head);
        page
    }

    #[test]
    fn a_page_as_a_controller_gives_it() {
        // 323 K, 100 % spare, threshold 10 %, 3 % used.
        let sound = page([0, 0x43, 0x01, 100, 10, 3]);
        let expected =
            Health { temperature: Some(50), temperature_max: Some(70), percentage_used: 3, ..Health::default() };
        assert_eq!(parse(&sound, 0x157), expected);
        assert_eq!(parse(&sound, 0).temperature_max, None);
        let silent = parse(&page([0, 0, 0, 0, 0, 255]), 343);
        assert_eq!((silent.temperature, silent.percentage_used), (None, 255));
    }

    #[test]
    fn what_is_no_nvme_device_is_not_asked() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(Checkup::through(&null), None);
        assert_eq!(Checkup { warning_kelvin: 343 }.ask(&null), None);
    }

    #[test]
    fn warnings_are_of_two_kinds() {
        let of = |warning: u8| {
            let Health { is_out_of_range, is_failing, .. } = parse(&page([warning, 0x43, 1, 0, 0, 0]), 0);
            (is_out_of_range, is_failing)
        };
        assert_eq!(
            [0, 1, 2, 4, 8, 0x10].map(of),
            [(false, false), (false, true), (true, false), (false, true), (false, true), (false, true)]
        );
        assert_eq!(of(0xff), (true, true));
        assert_eq!(of(0xe0), (false, false), "the persistent memory region is nobody's here, the rest is reserved");
    }

    #[test]
    fn no_temperature_is_colder_or_hotter_than_a_byte_says() {
        assert_eq!([0, 1, 273, 274, 527, 600].map(celsius), [None, Some(0), Some(0), Some(1), Some(254), Some(254)]);
    }
}
