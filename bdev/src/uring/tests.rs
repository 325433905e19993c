//! The ring on a real kernel, with a pipe as the file: it answers when the test says so, and in pieces.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::channel::Completion;
use crate::io::{ChannelId, Done, IoConfig};
use crate::op::{IoError, OpKind};
use crate::segment::{Segment, SegmentSlice};

/// Whose the pipe is.
const CHANNEL: ChannelId = ChannelId::for_test(7);

struct Pipe {
    ring: Uring,
    file: FileId,
    writer: File,
    done: VecDeque<Done>,
}

/// A ring whose file is the reading end of a pipe.
fn pipe() -> Pipe {
    let (reader, writer) = std::io::pipe().unwrap();
    let config = IoConfig { entries: 4, channels: 2, reserve: 2, bounce_buffers: 1, bounce_buffer_bytes: 4096 };
    let mut ring = Uring::new(&config, None, crate::pool::new_bell().unwrap()).unwrap();
    let file = ring.add_file(CHANNEL, &Arc::new(File::from(OwnedFd::from(reader))), 0).unwrap();
    Pipe { ring, file, writer: File::from(OwnedFd::from(writer)), done: VecDeque::new() }
}

/// A read of the whole of `segments`, which the test keeps.
fn read(segments: &[Segment]) -> Op {
    let len = crate::segment::total_len(segments);
    // SAFETY: the tests wait for the completion, or drop the ring, before the list goes.
    Op { kind: OpKind::Read, offset: 0, len, segments: unsafe { SegmentSlice::new(segments) } }
}

fn segment(bytes: &mut [u8]) -> Segment {
    // SAFETY: as above.
    unsafe { Segment::new(NonNull::new(bytes.as_mut_ptr()).unwrap(), bytes.len()) }
}

fn is_readable(fd: BorrowedFd<'_>, seconds: i64) -> bool {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

impl Pipe {
    /// Sleeps until the ring has something, as an idle core does, and takes it.
    fn sleep_and_reap(&mut self) {
        if self.ring.arm().unwrap() {
            assert!(is_readable(self.ring.bell(), 60), "nobody woke the sleeper");
        }
        self.ring.disarm();
        self.take();
        self.ring.submit();
    }

    /// Sleeps until so many have ended that nobody has looked at.
    fn wait_for(&mut self, count: usize) {
        while self.done.len() < count {
            self.sleep_and_reap();
        }
    }

    /// What a pass does.
    fn take(&mut self) {
        self.ring.submit();
        self.ring.reap(&mut self.done);
    }

    /// A read of the whole of `segments` is in the kernel.
    fn wait_with(&mut self, segments: &[Segment], tag: u64) {
        self.ring.start(self.file, &read(segments), Tag(tag), false).unwrap();
        self.ring.submit();
    }

    fn wait_for_the_cancelled(&mut self, tag: u64) {
        self.wait_for(1);
        self.expect(tag, Err(IoError::Cancelled));
    }

    fn expect(&mut self, tag: u64, result: Result<(), IoError>) {
        let completion = Completion { tag: Tag(tag), result };
        assert_eq!(self.done.pop_front(), Some(Done { channel: CHANNEL, completion }));
        assert_eq!((self.done.len(), self.ring.in_flight()), (0, 0));
    }
}

#[test]
fn a_file_that_answers_in_pieces_fills_the_segments_in_order() {
    let mut pipe = pipe();
    let mut bytes = [0; 9];
    let (a, b) = bytes.split_at_mut(4);
    let list = [segment(a), segment(b)];
    pipe.ring.start(pipe.file, &read(&list), Tag(1), false).unwrap();
    assert_eq!(pipe.ring.submit(), 1);
    for piece in [&b"ab"[..], b"c", b"defgh", b"i"] {
        assert!(pipe.done.is_empty());
        let before = pipe.ring.stats().resubmitted;
        pipe.writer.write_all(piece).unwrap();
        while pipe.done.is_empty() && pipe.ring.stats().resubmitted == before {
            pipe.sleep_and_reap();
        }
    }
    pipe.wait_for(1);
    pipe.expect(1, Ok(()));
    assert_eq!(&bytes, b"abcdefghi");
}

#[test]
fn looking_for_results_costs_no_system_call_when_there_are_none() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.ring.start(pipe.file, &read(&list), Tag(1), false).unwrap();
    assert_eq!(pipe.ring.stats().enters, 0, "queueing makes none");
    pipe.ring.submit();
    assert_eq!(pipe.ring.stats().enters, 1);
    for _ in 0..100 {
        pipe.ring.reap(&mut pipe.done);
        assert_eq!(pipe.ring.submit(), 0);
    }
    assert_eq!(pipe.ring.stats().enters, 1);
    pipe.writer.write_all(b"x").unwrap();
    pipe.sleep_and_reap();
    pipe.expect(1, Ok(()));
    assert!(pipe.ring.stats().enters <= 2, "at most one to ask for the result");
}

#[test]
fn a_core_that_waits_for_the_kernel_offers_it_the_cpu() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    (0..1000).for_each(|_| pipe.ring.pass_in_vain());
    assert_eq!(pipe.ring.stats().yields, 0, "there is nothing to wait for");
    pipe.wait_with(&list, 1);
    pipe.ring.pass_in_vain();
    assert_eq!(pipe.ring.stats().yields, 0, "not for a short wait");
    (0..1000).for_each(|_| pipe.ring.pass_in_vain());
    // On a busy machine the CPU may be gone for long after the first.
    assert!((1..=1001 / 16).contains(&pipe.ring.stats().yields));
}

#[test]
fn many_operations_cost_one_system_call() {
    let mut pipe = pipe();
    let mut bytes = [0; 3];
    let lists: Vec<[Segment; 1]> = bytes.chunks_mut(1).map(|byte| [segment(byte)]).collect();
    for (tag, list) in lists.iter().enumerate() {
        pipe.ring.start(pipe.file, &read(list), Tag(tag as u64), false).unwrap();
    }
    assert_eq!((pipe.ring.submit(), pipe.ring.stats().enters), (3, 1));
    pipe.writer.write_all(b"abc").unwrap();
    pipe.wait_for(3);
}

#[test]
fn the_bell_rings_for_what_comes_after_the_core_has_looked_and_only_then() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    assert!(pipe.ring.arm().unwrap(), "nothing can come");
    for sleep in 0..3 {
        pipe.ring.start(pipe.file, &read(&list), Tag(sleep), false).unwrap();
        assert!(!pipe.ring.arm().unwrap(), "a core does not sleep on what it has not handed over");
        pipe.ring.submit();
        assert!(pipe.ring.arm().unwrap());
        assert!(!is_readable(pipe.ring.bell(), 0), "an earlier result still rings");
        pipe.writer.write_all(b"x").unwrap();
        assert!(is_readable(pipe.ring.bell(), 60), "nobody woke the sleeper");
        assert!(!pipe.ring.arm().unwrap(), "something is there");
        pipe.ring.disarm();
        assert!(!is_readable(pipe.ring.bell(), 0));
        pipe.take();
        pipe.expect(sleep, Ok(()));
    }
    // While the core is awake the bell is silent.
    pipe.ring.start(pipe.file, &read(&list), Tag(9), false).unwrap();
    pipe.ring.submit();
    pipe.writer.write_all(b"x").unwrap();
    while pipe.done.is_empty() {
        pipe.take();
    }
    assert!(!is_readable(pipe.ring.bell(), 0));
}

#[test]
fn what_has_come_before_the_sleep_prevents_it() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.writer.write_all(b"x").unwrap();
    pipe.wait_with(&list, 1);
    assert!(!pipe.ring.arm().unwrap());
    pipe.ring.disarm();
    pipe.ring.reap(&mut pipe.done);
    pipe.expect(1, Ok(()));
}

#[test]
fn a_race_between_sleep_and_result_is_never_lost() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    for tag in 0..200 {
        pipe.ring.start(pipe.file, &read(&list), Tag(tag), false).unwrap();
        pipe.ring.submit();
        let mut writer = pipe.writer.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(b"x").unwrap());
            pipe.wait_for(1);
        });
        pipe.expect(tag, Ok(()));
    }
}

#[test]
fn a_cancelled_operation_ends_once_wherever_it_is() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    for handed_over in [false, true] {
        pipe.ring.start(pipe.file, &read(&list), Tag(9), false).unwrap();
        if handed_over {
            pipe.ring.submit();
        }
        assert_eq!(pipe.ring.cancel(pipe.file, Tag(8)), None, "nobody has this tag");
        assert_eq!(pipe.ring.cancel(pipe.file, Tag(9)), None, "the kernel answers");
        pipe.ring.submit();
        pipe.wait_for(1);
        pipe.expect(9, Err(IoError::Cancelled));
    }
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(9)), None);
    pipe.writer.write_all(b"x").unwrap();
    pipe.ring.start(pipe.file, &read(&list), Tag(10), false).unwrap();
    pipe.ring.submit();
    pipe.sleep_and_reap();
    pipe.expect(10, Ok(()));
    assert_eq!(pipe.ring.cancels, 0, "each cancel request was answered");
}

#[test]
fn an_operation_that_waits_for_its_next_part_is_cancelled_at_once() {
    let mut pipe = pipe();
    let mut bytes = [0; 2];
    let list = [segment(&mut bytes)];
    pipe.wait_with(&list, 1);
    pipe.writer.write_all(b"x").unwrap();
    if pipe.ring.arm().unwrap() {
        assert!(is_readable(pipe.ring.bell(), 60));
    }
    pipe.take();
    let ended = pipe.ring.cancel(pipe.file, Tag(1));
    assert_eq!(ended, Some(Completion { tag: Tag(1), result: Err(IoError::Cancelled) }));
    assert_eq!((pipe.ring.in_flight(), pipe.ring.submit()), (0, 0));
}

#[test]
fn a_cancel_that_finds_no_room_goes_out_when_there_is_some() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.wait_with(&list, 1);
    // As if nothing had answered as many requests as the completion queue has room for.
    let answers = pipe.ring.ops.capacity() as u32;
    pipe.ring.cancels = answers;
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(1)), None);
    assert_eq!((pipe.ring.submit(), pipe.ring.cancels), (0, answers));
    pipe.ring.cancels = 0;
    assert!(!pipe.ring.arm().unwrap(), "a core does not sleep on a request that it can hand over");
    assert_eq!((pipe.ring.submit(), pipe.ring.cancels), (1, 1));
    pipe.wait_for_the_cancelled(1);
}

#[test]
fn a_cancel_with_a_full_submission_queue_is_not_lost() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.wait_with(&list, 1);
    // Requests for operations that nobody has fill the queue.
    while pipe.ring.push_cancel(u64::from(u32::MAX)) {
        pipe.ring.cancels += 1;
    }
    pipe.ring.cancels = 0;
    let places = pipe.ring.usual.queued_and_asked().0;
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(1)), None);
    assert_eq!(pipe.ring.submit(), places as usize);
    pipe.ring.cancels = places;
    pipe.wait_for_the_cancelled(1);
}

#[test]
fn a_cancel_that_cannot_even_wait_may_be_asked_for_again() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.ring.start(pipe.file, &read(&list), Tag(1), false).unwrap();
    // Requests of operations that have ended, before a submit clears them away.
    let stale = u64::from(u32::MAX);
    pipe.ring.unsent_cancels.extend(std::iter::repeat_n(stale, pipe.ring.ops.capacity()));
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(1)), None);
    assert_eq!((pipe.ring.submit(), pipe.ring.cancels), (1, 0));
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(1)), None);
    pipe.ring.submit();
    pipe.wait_for_the_cancelled(1);
}

#[test]
fn a_ring_that_is_dropped_takes_its_operations_back_first() {
    let mut pipe = pipe();
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    pipe.wait_with(&list, 1);
    pipe.ring.start(pipe.file, &read(&list), Tag(2), false).unwrap();
    assert!(pipe.ring.recall(), "the kernel gives a pending read up");
    assert_eq!(pipe.ring.in_flight(), 0);
}

#[test]
fn a_file_that_was_removed_is_closed_and_its_place_is_free() {
    let mut pipe = pipe();
    pipe.ring.remove_file(pipe.file);
    let (mut reader, writer) = std::io::pipe().unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    let other = Arc::new(File::from(reader.as_fd().try_clone_to_owned().unwrap()));
    for _ in 0..2 {
        pipe.ring.add_file(CHANNEL, &other, 0).unwrap();
    }
    assert!(pipe.ring.add_file(CHANNEL, &other, 0).is_err(), "there are two places");
}

#[test]
fn what_the_kernel_does_not_poll_for_is_done_the_usual_way() {
    let mut pipe = pipe();
    let (reader, writer) = std::io::pipe().unwrap();
    let file = Arc::new(File::from(OwnedFd::from(reader)));
    pipe.file = pipe.ring.add_file(CHANNEL, &file, 0).unwrap();
    pipe.writer = File::from(OwnedFd::from(writer));
    pipe.ring.poll_for(pipe.file, &file);
    let mut bytes = [0; 2];
    let (a, b) = bytes.split_at_mut(1);
    let lists = [[segment(a)], [segment(b)]];
    for (tag, list) in lists.iter().enumerate() {
        pipe.ring.start(pipe.file, &read(list), Tag(tag as u64), false).unwrap();
    }
    assert_eq!((pipe.ring.stats().polled, pipe.ring.ops.polled()), (2, 2));
    assert!(!pipe.ring.arm().unwrap(), "nothing wakes who sleeps while it is to poll");
    pipe.ring.disarm();
    assert_eq!(pipe.ring.submit(), 2);
    pipe.ring.reap(&mut pipe.done);
    assert_eq!((pipe.ring.ops.polled(), pipe.ring.in_flight(), pipe.done.len()), (0, 2, 0), "no pipe is polled for");
    pipe.ring.submit();
    pipe.writer.write_all(b"xy").unwrap();
    pipe.wait_for(2);
    assert_eq!(pipe.done.iter().filter(|done| done.completion.result == Ok(())).count(), 2);
    bytes.sort_unstable();
    assert_eq!(&bytes, b"xy");
    assert_eq!(pipe.ring.stats().polled, 2, "nor asked again");
}

/// A read of the whole of `segments` is in the ring that polls.
fn polled(segments: &[Segment]) -> Pipe {
    let mut pipe = pipe();
    let file = Arc::new(File::open("/dev/null").unwrap());
    pipe.file = pipe.ring.add_file(CHANNEL, &file, 0).unwrap();
    pipe.ring.poll_for(pipe.file, &file);
    pipe.ring.start(pipe.file, &read(segments), Tag(3), false).unwrap();
    pipe
}

#[test]
fn what_is_polled_for_is_cancelled_when_the_kernel_gives_it_back() {
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    let mut pipe = polled(&list);
    assert_eq!(pipe.ring.cancel(pipe.file, Tag(3)), None);
    pipe.take();
    pipe.expect(3, Err(IoError::Cancelled));
    assert_eq!(pipe.ring.cancels, 0, "such a ring takes no cancel requests, and none was sent");
}

#[test]
fn a_ring_that_polls_is_dropped_with_what_is_in_it() {
    let mut bytes = [0; 1];
    let list = [segment(&mut bytes)];
    let mut pipe = polled(&list);
    assert!(pipe.ring.recall());
    assert_eq!((pipe.ring.in_flight(), pipe.ring.ops.polled()), (0, 0));
}
