//! The files that a core's ring serves: bookkeeping for all, and their places in the kernel's table of registered files.
//!
//! Holds each file open until it is removed, so that a queued operation can never hit a descriptor that was reused.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::file::end::End;
use crate::io::ChannelId;
use crate::op::{IoError, Op};
use crate::uring::setup::Kind;

/// A file's place. Valid from [`FileTable::insert`] to [`FileTable::remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId(u32);

impl FileId {
    /// Its place in the kernel's table.
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn for_test(index: u32) -> Self {
        Self(index)
    }
}

/// How the kernel is told which file an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Place in the table of registered files: no reference is counted per operation.
    Registered(u32),
    /// A plain descriptor.
    Descriptor(RawFd),
}

/// What is known of a file.
#[derive(Debug)]
pub(crate) struct FileSlot<T> {
    file: Arc<File>,
    /// Of a file that can be cut, and of a block device.
    pub(crate) end: Option<Arc<End>>,
    /// Whose it is.
    pub(crate) channel: ChannelId,
    /// Those of the core's rings that know it by its place.
    registered: [bool; 2],
    /// Its reads and writes go to the ring that polls.
    polled: bool,
    /// It was told that the kernel has refused registered memory.
    is_refusal_told: bool,
    /// What operations have to heed.
    pub(crate) terms: T,
    /// Operations accepted and not completed.
    pub(crate) in_flight: u32,
    /// Bounce buffers held.
    pub(crate) bounced: u32,
}

impl<T> FileSlot<T> {
    /// What has become of an operation, now that it has ended so. What is behind the end of a file that was cut is not there,
    /// whatever the kernel says; of what it did to space it does not tell.
    #[inline]
    pub(crate) fn judge(&self, op: &Op, is_space: bool, result: Result<(), IoError>) -> Result<(), IoError> {
        let Some(end) = &self.end else { return result };
        match result {
            Ok(()) if is_space => end.check(&self.file, op),
            Ok(()) if end.holds(op) => Ok(()),
            Ok(()) => Err(IoError::BeyondEnd),
            Err(error) => Err(end.judge(&self.file, op, error)),
        }
    }

    /// A read has found the end of the file at byte `at`.
    #[cold]
    pub(crate) fn ends_at(&self, at: u64) {
        if let Some(end) = &self.end {
            end.ends_at(at);
        }
    }

    /// The kernel does not poll for this file after all.
    #[cold]
    pub(crate) fn stop_polling(&mut self) {
        if self.polled {
            tracing::warn!(
                "a disk cannot be polled for results (it has lost its poll queues?): it interrupts from now on"
            );
            self.polled = false;
        }
    }

    /// The kernel has refused an operation with registered memory, which goes on without. Whether that is told: the first time.
    #[cold]
    pub(crate) fn refuses_registered(&mut self, errno: i32) -> bool {
        let is_first = !std::mem::replace(&mut self.is_refusal_told, true);
        if is_first {
            let error = std::io::Error::from_raw_os_error(errno);
            tracing::warn!(%error, "the kernel does not take registered memory for an operation of a disk, and is given it plain");
        }
        is_first
    }
}

/// The files of a ring.
#[derive(Debug)]
pub(crate) struct FileTable<T> {
    slots: Box<[Option<FileSlot<T>>]>,
    /// One of them was ever polled for.
    polls: bool,
}

impl<T> FileTable<T> {
    /// Room for `count` files.
    pub(crate) fn new(count: u32) -> Self {
        Self { slots: (0..count).map(|_| None).collect(), polls: false }
    }

    /// Takes a file up, if there is room.
    pub(crate) fn insert(&mut self, channel: ChannelId, file: Arc<File>, terms: T) -> Option<FileId> {
        let index = self.slots.iter().position(Option::is_none)?;
        self.slots[index] = Some(FileSlot {
            file,
            end: None,
            channel,
            registered: [false; 2],
            polled: false,
            is_refusal_told: false,
            terms,
            in_flight: 0,
            bounced: 0,
        });
        Some(FileId(index as u32))
    }

    /// The ring of this kind knows the file by its place now.
    pub(crate) fn set_registered(&mut self, id: FileId, kind: Kind) {
        self.get_mut(id).registered[kind as usize] = true;
    }

    /// Its reads and writes go to the ring that polls, from now on.
    pub(crate) fn poll(&mut self, id: FileId) {
        self.get_mut(id).polled = true;
        self.polls = true;
    }

    /// Whether its reads and writes go to the ring that polls.
    #[inline]
    pub(crate) fn is_polled(&self, id: FileId) -> bool {
        self.polls && self.get(id).polled
    }

    /// Forgets a file. Returns which of the rings have it registered, by [`Kind`].
    ///
    /// # Panics
    /// If it has operations in flight: a channel is closed after its last completion.
    pub(crate) fn remove(&mut self, id: FileId) -> [bool; 2] {
        let slot = self.slots[id.0 as usize].take().expect("a channel is closed once");
        assert_eq!(slot.in_flight, 0, "a channel is closed after its last completion");
        slot.registered
    }

    pub(crate) fn get(&self, id: FileId) -> &FileSlot<T> {
        self.slots[id.0 as usize].as_ref().expect("a file is there until its channel is closed")
    }

    pub(crate) fn get_mut(&mut self, id: FileId) -> &mut FileSlot<T> {
        self.slots[id.0 as usize].as_mut().expect("a file is there until its channel is closed")
    }

    /// How to name the file to the ring of this kind.
    pub(crate) fn target(&self, id: FileId, kind: Kind) -> Target {
        let slot = self.get(id);
        if slot.registered[kind as usize] {
            Target::Registered(id.0)
        } else {
            Target::Descriptor(slot.file.as_raw_fd())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(File::open("/dev/null").unwrap())
    }

    #[test]
    fn names_a_file_by_its_place_once_it_is_registered() {
        let mut table = FileTable::new(2);
        let first = file();
        let fd = first.as_raw_fd();
        let id = table.insert(ChannelId::for_test(0), first, 511).unwrap();
        assert_eq!(table.target(id, Kind::Interrupt), Target::Descriptor(fd));
        table.set_registered(id, Kind::Interrupt);
        assert_eq!(table.target(id, Kind::Interrupt), Target::Registered(id.index()));
        assert_eq!(table.target(id, Kind::Poll), Target::Descriptor(fd), "each ring has a table of its own");
        assert_eq!(table.remove(id), [true, false]);
    }

    #[test]
    fn a_refusal_is_told_once_for_each_file() {
        let mut table = FileTable::new(2);
        let [one, other] = [0, 1].map(|channel| table.insert(ChannelId::for_test(channel), file(), 0).unwrap());
        let mut told = |id| table.get_mut(id).refuses_registered(libc::EINVAL);
        assert_eq!([told(one), told(one), told(other), told(other)], [true, false, true, false]);
    }

    #[test]
    fn keeps_a_file_open_until_it_is_removed() {
        let mut table = FileTable::new(1);
        let shared = file();
        let id = table.insert(ChannelId::for_test(0), Arc::clone(&shared), 0).unwrap();
        assert!(table.insert(ChannelId::for_test(0), file(), 0).is_none());
        assert_eq!(Arc::strong_count(&shared), 2);
        assert_eq!(table.remove(id), [false; 2]);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    #[should_panic(expected = "closed after its last completion")]
    fn does_not_let_go_of_a_file_in_use() {
        let mut table = FileTable::new(1);
        let id = table.insert(ChannelId::for_test(0), file(), 0).unwrap();
        table.get_mut(id).in_flight = 1;
        table.remove(id);
    }
}
