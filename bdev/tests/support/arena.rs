//! Memory that is registered with io_uring, for all operations of a test's thread.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bdev::{Registrar, Registration, Segment};

const LEN: usize = 48 << 20;
/// Bytes of a chunk: some operations cross from one into the next.
const CHUNK: usize = 3 << 20;
const PAGE: usize = 4096;

thread_local! {
    static CURRENT: RefCell<Option<Arena>> = const { RefCell::new(None) };
    /// Parts of operations that used registered memory.
    static FIXED: Cell<u64> = const { Cell::new(0) };
}

/// The arena of a thread.
struct Arena {
    base: NonNull<u8>,
    /// Length by start of what is free.
    free: BTreeMap<usize, usize>,
    registrar: Registrar,
    _registration: Registration,
}

/// Runs `test` with all memory of its operations registered. Returns how many parts of operations used that.
pub fn with_registered_memory(test: impl FnOnce()) -> u64 {
    let store: &'static mut [u8] = Vec::leak(vec![0; LEN + PAGE]);
    let base = NonNull::new(store.as_mut_ptr().wrapping_add(store.as_ptr().align_offset(PAGE))).unwrap();
    let registrar = Registrar::new(Some(CHUNK)).expect("registered buffers");
    // SAFETY: leaked, so that it is there for ever.
    let whole = unsafe { Segment::new(base, LEN) };
    let registration = registrar.register(whole, Arc::new(()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while registrar.registered_bytes() < LEN as u64 {
        assert!(Instant::now() < deadline, "the memory is not registered");
        std::thread::yield_now();
    }
    let arena = Arena { base, free: BTreeMap::from([(0, LEN)]), registrar, _registration: registration };
    CURRENT.set(Some(arena));
    FIXED.set(0);
    test();
    CURRENT.set(None);
    FIXED.get()
}

/// The registrar that cores of this thread use.
pub fn registrar() -> Option<Registrar> {
    CURRENT.with_borrow(|arena| arena.as_ref().map(|arena| arena.registrar.clone()))
}

/// Counts what a core has done.
pub fn count(fixed: u64) {
    FIXED.set(FIXED.get() + fixed);
}

/// Memory for one operation: of the arena if there is one, else of the heap.
pub struct Store {
    base: NonNull<u8>,
    len: usize,
    from_arena: bool,
}

impl Store {
    /// `len` bytes of `value`.
    pub fn new(len: usize, value: u8) -> Self {
        let taken = CURRENT.with_borrow_mut(|arena| arena.as_mut().map(|arena| arena.take(len)));
        let base = taken.unwrap_or_else(|| NonNull::new(Vec::leak(vec![0; len]).as_mut_ptr()).unwrap());
        // SAFETY: `len` bytes of our own, which nobody else uses.
        unsafe { std::ptr::write_bytes(base.as_ptr(), value, len) };
        Self { base, len, from_arena: taken.is_some() }
    }

    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.from_arena {
            CURRENT.with_borrow_mut(|arena| {
                // The arena outlives all but what a failed test leaves behind.
                if let Some(arena) = arena {
                    arena.put(self.base, self.len);
                }
            });
            return;
        }
        // SAFETY: a vector that was leaked with exactly this length and capacity.
        drop(unsafe { Vec::from_raw_parts(self.base.as_ptr(), 0, self.len) });
    }
}

impl Arena {
    fn take(&mut self, len: usize) -> NonNull<u8> {
        let (&start, &free) = self.free.iter().find(|(_, free)| **free >= len).expect("the arena is large enough");
        self.free.remove(&start);
        if free > len {
            self.free.insert(start + len, free - len);
        }
        // SAFETY: within the arena.
        unsafe { self.base.add(start) }
    }

    fn put(&mut self, base: NonNull<u8>, mut len: usize) {
        let mut start = base.as_ptr().addr() - self.base.as_ptr().addr();
        if let Some(behind) = self.free.remove(&(start + len)) {
            len += behind;
        }
        if let Some((&before, &its_len)) = self.free.range(..start).next_back()
            && before + its_len == start
        {
            (start, len) = (before, len + its_len);
        }
        self.free.insert(start, len);
    }
}
