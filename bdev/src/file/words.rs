//! What was found out of a disk when it was opened, and what was chosen, in words for people: one line at start.

use std::fs::File;
use std::io::IoSliceMut;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::file::queue::Queue;
use crate::file::{Alignment, Engine};
use crate::space::Ways;

/// Memory at which any direct I/O is aligned, in bytes.
const PAGE: usize = 4096;

/// What the words are about.
pub(super) struct Found<'a> {
    /// Kind and path.
    pub(super) what: &'a str,
    pub(super) file: &'a File,
    pub(super) engine: Engine,
    /// Direct or buffered, polled or not, and why not.
    pub(super) how: &'a str,
    pub(super) alignment: Option<Alignment>,
    pub(super) ways: &'a Ways,
    /// Of a block device.
    pub(super) queue: Option<&'a Queue>,
    pub(super) read_only: bool,
}

impl Found<'_> {
    pub(super) fn describe(&self) -> String {
        let threads = self.engine == Engine::Threads;
        let engine = if threads { "threads" } else { "io_uring" };
        let mut words = vec![self.what.to_owned(), engine.to_owned(), self.how.to_owned()];
        if !self.read_only {
            words.extend(self.space().map(str::to_owned));
        }
        if self.ways.anchor.is_some() {
            words.push("anchors".to_owned());
        }
        if let Some(Alignment { memory: memory @ 2.., .. }) = self.alignment {
            words.push(format!("memory at {memory}"));
        }
        // Threads wait anyhow.
        if !threads && can_nowait(self.file) == Some(false) {
            words.push("no nowait: the kernel's workers wait for it".to_owned());
        }
        words.join(", ")
    }

    fn space(&self) -> [&'static str; 2] {
        let unmap = match self.ways.unmap {
            None => "no unmap",
            Some(_) if self.ways.unmap_by_thread && self.engine != Engine::Threads => "unmap by a thread",
            Some(_) => "unmap",
        };
        let zeroes = match self.queue {
            _ if self.ways.zero.is_none() => "no write zeroes",
            Some(queue) if queue.write_zeroes_max == 0 => "zeroes written by the kernel",
            // A file whose ranges lose their space with what they hold.
            None if self.ways.zero == self.ways.zero_and_unmap => "write zeroes as holes",
            _ => "write zeroes",
        };
        [unmap, zeroes]
    }
}

/// Whether the kernel can say that it would have to wait, instead of having a worker wait; if it tells.
fn can_nowait(file: &File) -> Option<bool> {
    let mut memory = vec![0; 2 * PAGE];
    let page = memory.as_ptr().align_offset(PAGE);
    let buffer = memory.get_mut(page..page + PAGE)?;
    match preadv2(file, &mut [IoSliceMut::new(buffer)], 0, ReadWriteFlags::NOWAIT) {
        Ok(_) | Err(Errno::AGAIN) => Some(true),
        Err(Errno::OPNOTSUPP) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(file: &File, ways: &Ways, queue: Option<&Queue>, alignment: Option<Alignment>) -> String {
        let found =
            Found { what: "x", file, engine: Engine::Uring, how: "direct", alignment, ways, queue, read_only: false };
        found.describe()
    }

    #[test]
    fn says_what_a_disk_can_and_what_it_asks_for() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let aligned = |memory| Some(Alignment { memory, offset: 512 });
        assert_eq!(
            words(&file, &Ways::of_file(true), None, aligned(4)),
            "x, io_uring, direct, unmap, write zeroes, memory at 4"
        );
        assert_eq!(
            words(&file, &Ways::of_file(true).anchoring(), None, aligned(1)),
            "x, io_uring, direct, unmap, write zeroes, anchors"
        );
        assert_eq!(
            words(&file, &Ways::of_file(false), None, aligned(1)),
            "x, io_uring, direct, unmap, write zeroes as holes"
        );
        assert_eq!(words(&file, &Ways::default(), None, aligned(1)), "x, io_uring, direct, no unmap, no write zeroes");
        // A device that tells of nothing.
        let queue = Queue::of(0, 0);
        let by_thread = Ways::of_block_device(512, true, false);
        assert_eq!(
            words(&file, &by_thread, Some(&queue), None),
            "x, io_uring, direct, unmap by a thread, zeroes written by the kernel"
        );
    }

    #[test]
    fn files_in_memory_make_the_kernel_wait() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(4096).unwrap();
        let nowait = can_nowait(&file).expect("the kernel tells");
        assert_eq!(words(&file, &Ways::of_file(false), None, None).contains("no nowait"), !nowait);
        let unreadable = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(can_nowait(&unreadable), None);
    }
}
