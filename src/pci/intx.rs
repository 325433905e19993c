//! The INTx line, as VFIO shows it: level-triggered, and masked automatically by each signal until the client unmasks.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use super::eventfd::Slot;

/// The device holds the line.
const ASSERTED: u8 = 1 << 0;
/// Signalled, and not unmasked since.
const AUTO_MASKED: u8 = 1 << 1;
/// Masked by the client.
const CLIENT_MASKED: u8 = 1 << 2;
/// The function may not use INTx: command register, power state, or MSI-X in use.
const DISABLED: u8 = 1 << 3;

#[derive(Debug, Default)]
pub(super) struct Intx {
    slot: Slot,
    state: AtomicU8,
}

impl Intx {
    pub(super) fn attach(&self, fd: Option<OwnedFd>, errors: &AtomicU64) -> bool {
        self.slot.replace(fd);
        // A line that is set up anew starts unmasked.
        self.clear(AUTO_MASKED | CLIENT_MASKED, errors)
    }

    pub(super) fn is_attached(&self) -> bool {
        !self.slot.is_empty()
    }

    pub(super) fn is_asserted(&self) -> bool {
        self.state.load(Ordering::SeqCst) & ASSERTED != 0
    }

    pub(super) fn assert(&self, errors: &AtomicU64) -> bool {
        self.state.fetch_or(ASSERTED, Ordering::SeqCst);
        self.deliver(errors)
    }

    /// Lets go of the line. The next assertion signals again even if the client never unmasks: it has seen this one.
    pub(super) fn deassert(&self) {
        self.state.fetch_and(!(ASSERTED | AUTO_MASKED), Ordering::SeqCst);
    }

    pub(super) fn mask(&self) {
        self.state.fetch_or(CLIENT_MASKED, Ordering::SeqCst);
    }

    pub(super) fn unmask(&self, errors: &AtomicU64) -> bool {
        self.clear(AUTO_MASKED | CLIENT_MASKED, errors)
    }

    pub(super) fn set_disabled(&self, disabled: bool, errors: &AtomicU64) {
        if disabled {
            self.state.fetch_or(DISABLED, Ordering::SeqCst);
        } else {
            self.clear(DISABLED, errors);
        }
    }

    /// The client's own test of its eventfd, past all masks.
    pub(super) fn trigger(&self, errors: &AtomicU64) -> bool {
        self.slot.signal(errors).unwrap_or(false)
    }

    pub(super) fn reset(&self) {
        self.state.store(0, Ordering::SeqCst);
    }

    fn clear(&self, bits: u8, errors: &AtomicU64) -> bool {
        self.state.fetch_and(!bits, Ordering::SeqCst);
        self.deliver(errors)
    }

    fn deliver(&self, errors: &AtomicU64) -> bool {
        // Against `attach`, which stores the eventfd and then looks at the state: one of the two sees the other's.
        fence(Ordering::SeqCst);
        if self.slot.is_empty() {
            return false;
        }
        // Whoever changes "asserted and nothing else" to "auto-masked" signals, nobody twice.
        let taken = self.state.compare_exchange(ASSERTED, ASSERTED | AUTO_MASKED, Ordering::SeqCst, Ordering::SeqCst);
        taken.is_ok() && self.slot.signal(errors).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::eventfd::testing::{count, eventfd};
    use super::*;

    fn line() -> (Intx, OwnedFd, AtomicU64) {
        let (fd, twin) = eventfd();
        let (line, errors) = (Intx::default(), AtomicU64::new(0));
        line.attach(Some(fd), &errors);
        (line, twin, errors)
    }

    #[test]
    fn a_signal_masks_until_the_client_unmasks_and_the_level_signals_again() {
        let (line, fd, errors) = line();
        line.assert(&errors);
        line.assert(&errors);
        assert_eq!(count(&fd), 1);
        line.unmask(&errors);
        assert_eq!(count(&fd), 1, "still asserted");
        line.deassert();
        line.unmask(&errors);
        assert_eq!(count(&fd), 0);
        line.assert(&errors);
        assert_eq!(count(&fd), 1);
    }

    #[test]
    fn a_client_that_never_unmasks_gets_the_next_assertion() {
        let (line, fd, errors) = line();
        line.assert(&errors);
        line.deassert();
        line.assert(&errors);
        assert_eq!(count(&fd), 2);
    }

    #[test]
    fn masked_or_disabled_lines_keep_the_level_for_later() {
        let (line, fd, errors) = line();
        line.mask();
        line.assert(&errors);
        line.deassert();
        line.assert(&errors);
        assert_eq!(count(&fd), 0);
        line.set_disabled(true, &errors);
        line.unmask(&errors);
        assert_eq!(count(&fd), 0);
        assert!(line.is_asserted());
        line.set_disabled(false, &errors);
        assert_eq!(count(&fd), 1);
    }

    #[test]
    fn an_eventfd_that_comes_late_hears_of_a_line_already_asserted() {
        let (fd, twin) = eventfd();
        let (line, errors) = (Intx::default(), AtomicU64::new(0));
        line.assert(&errors);
        line.attach(Some(fd), &errors);
        assert_eq!(count(&twin), 1);
        line.attach(None, &errors);
        assert!(!line.trigger(&errors));
    }
}
