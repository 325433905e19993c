//! Lanes with real threads on a real file.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::*;
use crate::file::end::End;
use crate::io::Io;
use crate::op::OpKind;
use crate::segment::{Segment, SegmentSlice};

/// A lane on a file of zeroes, and its core.
fn lane(threads: usize) -> (Io, Lane, ChannelId) {
    let mut io = Io::default();
    let id = io.register().unwrap();
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.set_len(4096).unwrap();
    let end = Arc::new(End::of_device(4096));
    let served = Served { file, end, anchors: false, address_mask: 0, length_mask: 0 };
    let lane = Lane::new(io.mailbox().unwrap(), id, served, threads, 8);
    (io, lane, id)
}

fn read(memory: &mut [u8], list: &mut Vec<Segment>) -> Op {
    // SAFETY: the tests keep the memory and the list until the lane is gone.
    list.push(unsafe { Segment::new(NonNull::new(memory.as_mut_ptr()).unwrap(), memory.len()) });
    // SAFETY: as above.
    let segments = unsafe { SegmentSlice::new(list) };
    Op { kind: OpKind::Read, offset: 0, len: memory.len() as u64, segments }
}

fn wait(io: &mut Io) -> Completion {
    loop {
        io.reap();
        if let Some(completion) = io.next_completion() {
            return completion;
        }
        std::thread::yield_now();
    }
}

#[test]
fn every_operation_ends_once_on_however_many_threads() {
    for threads in [1, 4] {
        let (mut io, mut lane, id) = lane(threads);
        let (mut memory, mut list) = ([7_u8; 512], Vec::new());
        let op = read(&mut memory, &mut list);
        let mut ended = std::collections::BTreeSet::new();
        for tag in 0..200 {
            io.admit(id).unwrap();
            lane.submit(Job { tag: Tag(tag), op, plan: None }).unwrap();
        }
        for _ in 0..200 {
            let completion = wait(&mut io);
            assert_eq!(completion.result, Ok(()));
            assert!(ended.insert(completion.tag.0));
        }
        assert!(lane.threads <= threads && io.in_flight() == 0);
        drop(lane);
        assert_eq!(memory, [0; 512]);
    }
}

#[test]
fn what_no_thread_has_in_hand_can_be_taken_back() {
    let (_io, mut lane, _) = lane(1);
    let op = Op::FLUSH;
    // As if its only thread were busy.
    lane.threads = 1;
    lane.submit(Job { tag: Tag(1), op, plan: None }).unwrap();
    lane.submit(Job { tag: Tag(2), op, plan: None }).unwrap();
    assert!(lane.cancel(Tag(1)));
    assert!(!lane.cancel(Tag(1)));
    assert_eq!(lane.shared.lock().queue.len(), 1);
}

#[test]
fn threads_end_with_their_lane() {
    let (mut io, mut lane, id) = lane(3);
    io.admit(id).unwrap();
    lane.submit(Job { tag: Tag(1), op: Op::FLUSH, plan: None }).unwrap();
    wait(&mut io);
    let shared = Arc::downgrade(&lane.shared);
    drop(lane);
    while shared.strong_count() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_is_not_bound_to_the_cpu_of_the_core_that_starts_it() {
    let everywhere = sched_getaffinity(Some(getpid())).unwrap();
    let found = std::thread::spawn(move || {
        let first = (0..1024).find(|cpu| everywhere.is_set(*cpu)).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).unwrap();
        std::thread::spawn(|| {
            leave_the_cpu_of_the_core();
            sched_getaffinity(None).unwrap()
        })
        .join()
        .unwrap()
    });
    assert_eq!(found.join().unwrap(), everywhere);
}
