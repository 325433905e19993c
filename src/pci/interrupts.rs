//! The way of an interrupt from a reactor to the client's eventfd: MSI-X vectors with their masks, and INTx.
//!
//! Owns the eventfds, the MSI-X table and the pending bits. One control thread changes them; any thread signals, without a
//! lock and at the price of one eventfd write. Who signals never learns what the client's descriptors do with it.
//!
//! QEMU keeps writes to the MSI-X table to itself, so the table's reset value, all vectors masked, must not hold anything
//! back: a vector is held only if the client itself wrote its mask bit, masked it by message, or set the function's mask.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::eventfd::{AttachError, Slot, admit};
use super::intx::Intx;
use super::msix::{MsixLayout, Table};

/// An interrupt is waiting for a mask to go.
const PENDING: u8 = 1 << 0;
/// The client wrote the mask bit in the table.
const TABLE_MASKED: u8 = 1 << 1;
/// The client masked the vector by message.
const CLIENT_MASKED: u8 = 1 << 2;
const HELD: u8 = TABLE_MASKED | CLIENT_MASKED;

/// Gate: the function may write to memory, so to send messages.
const MASTER: u8 = 1 << 0;
/// Gate: MSI-X is enabled in configuration space.
const ENABLED: u8 = 1 << 1;
/// Gate: all vectors are masked.
const FUNCTION_MASKED: u8 = 1 << 2;

#[derive(Debug, Default)]
struct Vector {
    slot: Slot,
    state: AtomicU8,
}

/// What configuration space says about interrupts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gates {
    pub(super) bus_master: bool,
    pub(super) msix_enabled: bool,
    pub(super) function_masked: bool,
    pub(super) intx_disabled: bool,
}

/// The interrupts of one function, shared between its control thread and all reactors.
#[derive(Debug)]
pub struct Interrupts {
    vectors: Box<[Vector]>,
    gates: AtomicU8,
    /// Vectors that have an eventfd.
    attached: AtomicU16,
    intx_disabled: AtomicU8,
    intx: Intx,
    layout: MsixLayout,
    table: Mutex<Table>,
    errors: AtomicU64,
}

impl Interrupts {
    /// Interrupts for the vectors of `layout`, none with an eventfd, bus mastering off.
    pub fn new(layout: MsixLayout) -> Arc<Self> {
        Arc::new(Self {
            vectors: (0..layout.vectors()).map(|_| Vector::default()).collect(),
            gates: AtomicU8::new(0),
            attached: AtomicU16::new(0),
            intx_disabled: AtomicU8::new(0),
            intx: Intx::default(),
            layout,
            table: Mutex::new(Table::new(layout.vectors())),
            errors: AtomicU64::new(0),
        })
    }

    /// Number of MSI-X vectors.
    pub fn vectors(&self) -> u16 {
        self.layout.vectors()
    }

    /// Eventfd writes that failed, other than for a full counter.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Whether the driver is served by MSI-X: it is enabled, or a vector has an eventfd (a client may keep the enable bit
    /// to itself). If not, events go to INTx.
    pub fn uses_msix(&self) -> bool {
        self.gates.load(Ordering::Acquire) & ENABLED != 0 || self.attached.load(Ordering::Acquire) != 0
    }

    /// Sends the message of `vector`, unless bus mastering is off; keeps it pending while masked, or while MSI-X is enabled
    /// and the client has yet to give an eventfd. A vector out of range (`0xffff` is "none") is no interrupt at all.
    /// Never blocks. Tells whether an eventfd was signalled.
    ///
    /// A signal that runs while another thread closes a gate may still pass it; after a quiesce none does.
    #[inline]
    pub fn signal(&self, vector: u16) -> bool {
        let Some(entry) = self.vectors.get(usize::from(vector)) else { return false };
        let gates = self.gates.load(Ordering::Acquire);
        if gates & MASTER == 0 {
            return false;
        }
        if gates & FUNCTION_MASKED == 0
            && entry.state.load(Ordering::Acquire) & HELD == 0
            && let Some(sent) = entry.slot.signal(&self.errors)
        {
            return sent;
        }
        self.pend(entry)
    }

    #[cold]
    fn pend(&self, entry: &Vector) -> bool {
        let held = entry.state.load(Ordering::SeqCst) & HELD != 0;
        if !held && self.gates.load(Ordering::SeqCst) & (ENABLED | FUNCTION_MASKED) == 0 {
            return false;
        }
        entry.state.fetch_or(PENDING, Ordering::SeqCst);
        // The mask may have gone since it was looked at; then nobody else will send this.
        self.deliver(entry)
    }

    /// Sends what is pending if nothing holds it back any more. Whoever clears the bit sends, nobody twice.
    fn deliver(&self, entry: &Vector) -> bool {
        fence(Ordering::SeqCst);
        let gates = self.gates.load(Ordering::SeqCst);
        let state = entry.state.load(Ordering::SeqCst);
        if gates & MASTER == 0 || gates & FUNCTION_MASKED != 0 || state & HELD != 0 || entry.slot.is_empty() {
            return false;
        }
        let before = entry.state.fetch_and(!PENDING, Ordering::SeqCst);
        before & PENDING != 0 && entry.slot.signal(&self.errors).unwrap_or(false)
    }

    /// Gives `vector` an eventfd, or takes it away. What is pending goes to it at once.
    ///
    /// # Errors
    /// [`AttachError`]; the vector keeps what it had, and `fd` is closed.
    pub fn attach(&self, vector: u16, fd: Option<OwnedFd>) -> Result<(), AttachError> {
        let entry = self.vectors.get(usize::from(vector)).ok_or(AttachError::NoSuchVector)?;
        fd.as_ref().map_or(Ok(()), admit)?;
        let (has, had) = (fd.is_some(), entry.slot.replace(fd));
        match (had, has) {
            (false, true) => self.attached.fetch_add(1, Ordering::SeqCst),
            (true, false) => self.attached.fetch_sub(1, Ordering::SeqCst),
            _ => 0,
        };
        self.gate_intx();
        self.deliver(entry);
        Ok(())
    }

    /// Gives INTx an eventfd, or takes it away. The line starts unmasked, and an asserted one signals at once.
    ///
    /// # Errors
    /// [`AttachError::NotAnEventfd`]; the line keeps what it had.
    pub fn attach_intx(&self, fd: Option<OwnedFd>) -> Result<(), AttachError> {
        fd.as_ref().map_or(Ok(()), admit)?;
        self.intx.attach(fd, &self.errors);
        Ok(())
    }

    /// Whether INTx has an eventfd. If there is none, and no MSI-X either, the driver polls.
    pub fn has_intx(&self) -> bool {
        self.intx.is_attached()
    }

    /// Takes all eventfds away, when the client is gone.
    pub fn detach_all(&self) {
        for entry in &self.vectors {
            entry.slot.replace(None);
        }
        self.attached.store(0, Ordering::SeqCst);
        self.intx.attach(None, &self.errors);
        self.gate_intx();
    }

    /// Masks `vector` on a client's message. Out of range: nothing.
    pub fn mask(&self, vector: u16) {
        if let Some(entry) = self.vectors.get(usize::from(vector)) {
            entry.state.fetch_or(CLIENT_MASKED, Ordering::SeqCst);
        }
    }

    /// Undoes [`Interrupts::mask`] and delivers what is pending.
    pub fn unmask(&self, vector: u16) {
        if let Some(entry) = self.vectors.get(usize::from(vector)) {
            entry.state.fetch_and(!CLIENT_MASKED, Ordering::SeqCst);
            self.deliver(entry);
        }
    }

    /// Signals `vector`'s eventfd past all masks, when the client asks for a test. Tells whether there was one.
    pub fn trigger(&self, vector: u16) -> bool {
        let entry = self.vectors.get(usize::from(vector));
        entry.and_then(|entry| entry.slot.signal(&self.errors)).unwrap_or(false)
    }

    /// Signals INTx' eventfd past all masks, when the client asks for a test. Tells whether there was one.
    pub fn trigger_intx(&self) -> bool {
        self.intx.trigger(&self.errors)
    }

    /// Holds the INTx line. It signals once, and again after each unmask for as long as it is held.
    ///
    /// Set the device's own interrupt cause first. The reader of the cause calls [`Interrupts::deassert_intx`] *before* it
    /// reads: in this order an event in between costs at most a needless interrupt, and none is lost.
    pub fn assert_intx(&self) -> bool {
        self.intx.assert(&self.errors)
    }

    /// Lets go of the INTx line; see [`Interrupts::assert_intx`].
    pub fn deassert_intx(&self) {
        self.intx.deassert();
    }

    /// Whether the line is held: the interrupt bit of the PCI status register.
    pub fn intx_asserted(&self) -> bool {
        self.intx.is_asserted()
    }

    /// Masks INTx on a client's message.
    pub fn mask_intx(&self) {
        self.intx.mask();
    }

    /// Unmasks INTx after a message or a signal; an asserted line signals again.
    pub fn unmask_intx(&self) {
        self.intx.unmask(&self.errors);
    }

    /// Reads the BAR that holds table and pending bits. Where nothing is, reads zero.
    pub fn read_bar(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        self.table().read(offset, data);
        let pba = u64::from(self.layout.pba_offset());
        for (index, byte) in data.iter_mut().enumerate() {
            let at = offset.checked_add(index as u64).and_then(|at| at.checked_sub(pba));
            if let Some(at) = at.filter(|at| *at < u64::from(self.layout.pba_len())) {
                *byte = self.pending_byte(at as usize);
            }
        }
    }

    /// Writes the BAR that holds table and pending bits. The latter are read-only.
    pub fn write_bar(&self, offset: u64, data: &[u8]) {
        self.table().write(offset, data, |vector, masked| {
            let Some(entry) = self.vectors.get(usize::from(vector)) else { return };
            if masked {
                entry.state.fetch_or(TABLE_MASKED, Ordering::SeqCst);
            } else {
                entry.state.fetch_and(!TABLE_MASKED, Ordering::SeqCst);
                self.deliver(entry);
            }
        });
    }

    fn pending_byte(&self, at: usize) -> u8 {
        let vectors = self.vectors.iter().skip(at * 8).take(8);
        vectors.enumerate().fold(0, |byte, (bit, entry)| byte | ((entry.state.load(Ordering::SeqCst) & PENDING) << bit))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what configuration space says, and delivers what it lets through.
    pub(super) fn set_gates(&self, gates: Gates) {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let new = bit(gates.bus_master, MASTER)
            | bit(gates.msix_enabled, ENABLED)
            | bit(gates.function_masked, FUNCTION_MASKED);
        let old = self.gates.swap(new, Ordering::SeqCst);
        self.intx_disabled.store(u8::from(gates.intx_disabled), Ordering::SeqCst);
        self.gate_intx();
        let turned_off = old & ENABLED != 0 && new & ENABLED == 0;
        for entry in &self.vectors {
            if turned_off {
                entry.state.fetch_and(!PENDING, Ordering::SeqCst);
            } else if old != new {
                self.deliver(entry);
            }
        }
    }

    /// A function that uses MSI-X must not assert INTx (PCI 6.8).
    fn gate_intx(&self) {
        let disabled = self.intx_disabled.load(Ordering::SeqCst) != 0 || self.uses_msix();
        self.intx.set_disabled(disabled, &self.errors);
    }

    /// State after a reset of the function: nothing pending, asserted or masked, all gates closed. The eventfds stay, as
    /// they belong to the client and not to the function.
    pub(super) fn reset(&self) {
        self.gates.store(0, Ordering::SeqCst);
        self.intx_disabled.store(0, Ordering::SeqCst);
        self.table().reset();
        for entry in &self.vectors {
            entry.state.store(0, Ordering::SeqCst);
        }
        self.intx.reset();
        self.gate_intx();
    }
}

#[cfg(test)]
#[path = "interrupts_tests.rs"]
mod tests;
