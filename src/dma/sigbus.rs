//! What happens when guest memory is no longer there.
//!
//! The client owns the file behind guest memory and may truncate it at any time. From then on each touch of a page past
//! the end raises SIGBUS, on whatever thread touches it. The handler here finds the mapping that holds the address and
//! puts private zero pages in the place of all of it. The guest whose memory it was sees garbage, nobody else notices;
//! the mapping counts as lost, and the device that uses it is to be failed.
//!
//! The whole mapping is replaced, not just the page: page by page, a client could use up the number of mappings that the
//! kernel allows a process.
//!
//! System calls that touch such a page do not raise the signal; they fail with EFAULT.
//!
//! The handler takes no lock and allocates nothing. A SIGBUS that belongs to no mapping here goes to the handler that was
//! there before, or kills the process, as without this module.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// The most mappings that can be watched at a time, in the whole process. The kernel's own usual limit for a process
/// (`vm.max_map_count`) is a little lower.
const SLOTS_MAX: usize = 65_536;

/// `si_code` of a fault on an address that has no page behind it (signal.h).
const BUS_ADRERR: c_int = 2;
/// `si_code` of a fault on memory that has broken, at the moment of use (signal.h).
const BUS_MCEERR_AR: c_int = 4;

/// One live mapping. Free if `start` is 0.
struct Slot {
    start: AtomicUsize,
    len: AtomicUsize,
    writable: AtomicBool,
    faults: AtomicU32,
}

impl Slot {
    const fn free() -> Self {
        Self {
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            faults: AtomicU32::new(0),
        }
    }

    /// First address, length and whether it may be written, of one and the same mapping.
    ///
    /// The slot may change hands meanwhile. `start` is set to 0 before and to the new value after the other fields change,
    /// so that seeing the same start twice means that what was read in between belongs to one mapping, or to two of
    /// which the later one has the same start and is the one that is live.
    fn read(&self) -> Option<(usize, usize, bool)> {
        let start = self.start.load(Ordering::Acquire);
        let (len, writable) = (self.len.load(Ordering::Relaxed), self.writable.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (start != 0 && self.start.load(Ordering::Relaxed) == start).then_some((start, len, writable))
    }
}

static SLOTS: [Slot; SLOTS_MAX] = [const { Slot::free() }; SLOTS_MAX];
/// Slots at and past this index have never been used.
static SLOTS_USED: AtomicUsize = AtomicUsize::new(0);
/// Slots below [`SLOTS_USED`] that are free again. Not for the handler.
static FREE_SLOTS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static FAULTS: AtomicU64 = AtomicU64::new(0);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Puts the handler in place, once; further calls do nothing.
pub fn install() {
    PREVIOUS.get_or_init(|| {
        // SAFETY: an all-zero sigaction is a valid one: the default action, no flags, no signal blocked.
        let (mut previous, mut ours): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = on_sigbus as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both point to a sigaction, and the handler is a function of the right type that is
        // async-signal-safe. It finds `PREVIOUS` empty until this returns, and then takes the default action.
        let result = unsafe { libc::sigaction(libc::SIGBUS, &ours, &mut previous) };
        assert_eq!(result, 0, "SIGBUS can be caught");
        previous
    });
}

/// How many touches of vanished guest memory there were, in the whole process. Grows whenever
/// [`MemMap::lost`](super::MemMap::lost) may have an answer, so that a reactor need only compare this number.
pub fn faults() -> u64 {
    FAULTS.load(Ordering::Relaxed)
}

/// The handler watches a mapping as long as this lives. Drop it before the mapping goes.
#[derive(Debug)]
pub(super) struct Watch(usize);

impl Watch {
    /// Watches `len` bytes at `base`. `None` if too many are watched already.
    pub(super) fn new(base: NonNull<u8>, len: usize, writable: bool) -> Option<Self> {
        let index = {
            let mut free = FREE_SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            match free.pop() {
                Some(index) => index,
                None => {
                    let index = SLOTS_USED.load(Ordering::Relaxed);
                    if index == SLOTS_MAX {
                        return None;
                    }
                    SLOTS_USED.store(index + 1, Ordering::Release);
                    index
                }
            }
        };
        let slot = &SLOTS[index];
        slot.len.store(len, Ordering::Relaxed);
        slot.writable.store(writable, Ordering::Relaxed);
        slot.faults.store(0, Ordering::Relaxed);
        slot.start.store(base.as_ptr() as usize, Ordering::Release);
        Some(Self(index))
    }

    /// Whether the memory was found gone.
    pub(super) fn is_lost(&self) -> bool {
        SLOTS[self.0].faults.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        SLOTS[self.0].start.store(0, Ordering::Relaxed);
        // The next owner's fields must not be seen with this start.
        fence(Ordering::Release);
        FREE_SLOTS.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// Async-signal-safe: atomics and system calls only.
extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid siginfo to a handler that has SA_SIGINFO; for SIGBUS it has an address, and
    // reading that of a signal that somebody sent by hand gives a number that is not used. errno is this thread's.
    let (code, address, errno) = unsafe { ((*info).si_code, (*info).si_addr() as usize, *libc::__errno_location()) };
    // Only a fault of this very thread may be handled here: see `replace`.
    if matches!(code, BUS_ADRERR | BUS_MCEERR_AR) && replace(address) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
        return;
    }
    forward(signal, info, context);
}

/// Puts zero pages in the place of the mapping that holds `address`. Returns whether there is one and that worked.
///
/// The thread that touched the memory does so through a snapshot that keeps the mapping alive, so the mapping cannot go
/// away, and nothing else can come to its addresses, while this runs. Two threads may replace it twice: the second undoes
/// what was written since the first, which is as good as any garbage.
fn replace(address: usize) -> bool {
    let used = SLOTS_USED.load(Ordering::Acquire);
    let found = SLOTS[..used]
        .iter()
        .filter_map(|slot| Some((slot, slot.read()?)))
        .find(|(_, (start, len, _))| address.wrapping_sub(*start) < *len);
    let Some((slot, (start, len, writable))) = found else {
        return false;
    };
    let prot = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: exactly the live mapping of this slot is replaced (see above), with one that allows the same access; its
    // users hold raw pointers only and expect its bytes to change at any time.
    if unsafe { mmap_anonymous(start as *mut c_void, len, prot, flags) }.is_err() {
        return false;
    }
    slot.faults.fetch_add(1, Ordering::Relaxed);
    FAULTS.fetch_add(1, Ordering::Relaxed);
    true
}

/// Does what would have been done without this module.
fn forward(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let (handler, flags) =
        PREVIOUS.get().map_or((libc::SIG_DFL, 0), |previous| (previous.sa_sigaction, previous.sa_flags));
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // A fault cannot be ignored. It happens again when this returns, and so does a signal that somebody sent and
        // that is raised here: then the default action ends the process.
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    } else if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: whoever installed it with SA_SIGINFO promised that it has this type.
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever installed it without SA_SIGINFO promised that it has this type.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

#[cfg(test)]
mod tests;
