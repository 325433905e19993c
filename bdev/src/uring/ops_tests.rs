//! The life of an operation with results that a kernel rarely gives.
#![allow(unsafe_code)]

use std::fs::File;
use std::ptr::NonNull;
use std::sync::Arc;

use super::*;
use crate::channel::Completion;
use crate::io::{ChannelId, Done};
use crate::segment::SegmentSlice;
use crate::uring::buffers::BufferTable;
use crate::uring::ledger::Next;
use crate::uring::setup::Kind;

/// Memory cut into segments, and their list.
struct Memory {
    bytes: Box<[u8]>,
    list: Vec<Segment>,
}

impl Memory {
    fn new(lengths: &[usize]) -> Self {
        let mut bytes = vec![0_u8; lengths.iter().sum()].into_boxed_slice();
        let mut rest = NonNull::new(bytes.as_mut_ptr()).unwrap();
        let mut list = Vec::new();
        for len in lengths {
            // SAFETY: within `bytes`, which the test keeps.
            unsafe {
                list.push(Segment::new(rest, *len));
                rest = rest.add(*len);
            }
        }
        Self { bytes, list }
    }

    fn op(&self, kind: OpKind, offset: u64) -> Op {
        // SAFETY: the test keeps the list.
        Op { kind, offset, len: self.bytes.len() as u64, segments: unsafe { SegmentSlice::new(&self.list) } }
    }
}

const WRITE: OpKind = OpKind::Write { fua: false };

/// Whose file the first one is.
const CHANNEL: u32 = 5;

fn ops(entries: u32, offset_mask: u64) -> (Ops, FileId) {
    let config = IoConfig { entries, channels: 2, reserve: 1, bounce_buffers: 4, bounce_buffer_bytes: 4096 };
    let mut ops = Ops::new(&config, true).unwrap();
    let file = ops
        .files
        .insert(ChannelId::for_test(CHANNEL), Arc::new(File::open("/dev/null").unwrap()), offset_mask)
        .unwrap();
    (ops, file)
}

/// Offset, number of segments and bytes of a part.
fn shape(ops: &mut Ops, id: EntryId) -> (u64, usize, usize) {
    let What::Move { offset, from, .. } = ops.part(id).what else { panic!("a flush moves nothing") };
    match from {
        Buffers::One(segment) => (offset, 1, segment.len()),
        Buffers::Many { first, count } => {
            // SAFETY: points into the list of a test that is still there.
            let list = unsafe { std::slice::from_raw_parts(first, count as usize) };
            (offset, list.len(), crate::segment::total_len(list) as usize)
        }
    }
}

fn finish(ops: &mut Ops, id: EntryId, result: i32) -> Next {
    let user_data = ops.user_data(id);
    ops.finish_part(user_data, result)
}

fn done(tag: u64, result: Result<(), IoError>) -> Next {
    let completion = Completion { tag: Tag(tag), result };
    Next::Done(Done { channel: ChannelId::for_test(CHANNEL), completion })
}

#[test]
fn a_short_count_is_continued_where_it_stopped() {
    let memory = Memory::new(&[512, 1024, 512]);
    let (mut ops, file) = ops(4, 0);
    let id = ops.accept(file, &memory.op(OpKind::Read, 4096), Tag(7), false).unwrap();
    assert_eq!(shape(&mut ops, id), (4096, 3, 2048));
    assert_eq!(finish(&mut ops, id, 1000), Next::Again(id));
    assert_eq!(shape(&mut ops, id), (5096, 1, 536), "the rest of the segment goes alone");
    assert_eq!(finish(&mut ops, id, 536), Next::Again(id));
    assert_eq!(shape(&mut ops, id), (5632, 1, 512));
    assert_eq!(finish(&mut ops, id, 512), done(7, Ok(())));
    assert_eq!((ops.in_flight(), ops.stats.resubmitted), (0, 2));
}

#[test]
fn more_segments_than_a_system_call_takes_go_in_turn() {
    let memory = Memory::new(&[1; 2050]);
    let (mut ops, file) = ops(4, 0);
    let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), false).unwrap();
    assert_eq!(shape(&mut ops, id), (0, 1024, 1024));
    finish(&mut ops, id, 1024);
    assert_eq!(shape(&mut ops, id), (1024, 1024, 1024));
    finish(&mut ops, id, 1024);
    assert_eq!(shape(&mut ops, id), (2048, 2, 2));
    assert_eq!(finish(&mut ops, id, 2), done(1, Ok(())));
}

#[test]
fn data_that_is_not_there_is_never_good() {
    let memory = Memory::new(&[2048]);
    let (mut ops, file) = ops(4, 511);
    // A read at the end, in the middle of the range, and of a part of a block: direct I/O stops with an odd count.
    for results in [&[0][..], &[512, 0], &[700]] {
        let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
        let last = results.iter().map(|result| finish(&mut ops, id, *result)).last();
        assert_eq!(last, Some(done(1, Err(IoError::BeyondEnd))), "{results:?}");
    }
    for results in [&[0][..], &[512, 0], &[700]] {
        let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), false).unwrap();
        let last = results.iter().map(|result| finish(&mut ops, id, *result)).last();
        assert_eq!(last, Some(done(1, Err(IoError::Medium))), "{results:?}");
    }
}

#[test]
fn try_again_is_tried_a_bounded_number_of_times_and_progress_starts_anew() {
    let memory = Memory::new(&[1024]);
    let (mut ops, file) = ops(4, 0);
    let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
    for _ in 0..RETRIES_MAX {
        assert_eq!(finish(&mut ops, id, -libc::EAGAIN), Next::Again(id));
    }
    assert_eq!(finish(&mut ops, id, 512), Next::Again(id));
    for _ in 0..RETRIES_MAX {
        assert_eq!(finish(&mut ops, id, -libc::EINTR), Next::Again(id));
    }
    assert_eq!(finish(&mut ops, id, -libc::EAGAIN), done(1, Err(IoError::Busy)));
}

#[test]
fn an_errno_ends_the_operation_with_its_meaning() {
    let memory = Memory::new(&[512]);
    let (mut ops, file) = ops(4, 0);
    for (errno, meaning) in
        [(libc::EIO, IoError::Medium), (libc::ENOSPC, IoError::NoSpace), (libc::ENXIO, IoError::Gone)]
    {
        let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), false).unwrap();
        assert_eq!(finish(&mut ops, id, -errno), done(1, Err(meaning)));
    }
    let id = ops.accept(file, &Op::FLUSH, Tag(2), false).unwrap();
    assert!(matches!(ops.part(id).what, What::Sync));
    assert_eq!(finish(&mut ops, id, -libc::EIO), done(2, Err(IoError::Medium)));
    let id = ops.accept(file, &Op::FLUSH, Tag(3), false).unwrap();
    assert_eq!(finish(&mut ops, id, 0), done(3, Ok(())));
    assert_eq!(finish(&mut ops, id, 0), Next::Nothing, "a second result of the same request");
}

#[test]
fn a_bounced_read_brings_only_what_the_file_gave() {
    let mut memory = Memory::new(&[3, 5000, 1, 92]);
    memory.bytes.fill(0xee);
    let (mut ops, file) = ops(4, 0);
    let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), true).unwrap();
    let What::Move { from: Buffers::One(buffer), .. } = ops.part(id).what else { panic!("one buffer") };
    assert_eq!((buffer.len(), buffer.as_ptr().addr() % 4096), (4096, 0));
    buffer.fill(0x11);
    assert_eq!(finish(&mut ops, id, 4000), Next::Again(id));
    assert_eq!(shape(&mut ops, id), (4000, 1, 1096));
    buffer.fill(0x22);
    assert_eq!(finish(&mut ops, id, 0), done(1, Err(IoError::BeyondEnd)));
    assert!(memory.bytes[..4000].iter().all(|byte| *byte == 0x11));
    assert!(memory.bytes[4000..].iter().all(|byte| *byte == 0xee), "bytes that the file did not give");
}

#[test]
fn a_bounced_write_takes_each_part_from_where_the_last_one_stopped() {
    let mut memory = Memory::new(&[4095, 2, 1023]);
    for (at, byte) in memory.bytes.iter_mut().enumerate() {
        *byte = (at / 1024) as u8;
    }
    let (mut ops, file) = ops(4, 511);
    let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), true).unwrap();
    let mut written = Vec::new();
    for _ in 0..2 {
        let What::Move { from: Buffers::One(buffer), .. } = ops.part(id).what else { panic!("one buffer") };
        let mut bytes = vec![0; buffer.len().min(3072)];
        buffer.read(0, &mut bytes);
        written.extend_from_slice(&bytes);
        finish(&mut ops, id, bytes.len() as i32);
    }
    assert_eq!(written, &memory.bytes[..]);
    assert_eq!(ops.in_flight(), 0);
}

#[test]
fn no_file_can_take_every_buffer() {
    let memory = Memory::new(&[512]);
    let (mut ops, sick) = ops(8, 0);
    let well = ops.files.insert(ChannelId::for_test(0), Arc::new(File::open("/dev/null").unwrap()), 0).unwrap();
    let op = memory.op(OpKind::Read, 0);
    let held: Vec<_> = (0..3).map(|tag| ops.accept(sick, &op, Tag(tag), true).unwrap()).collect();
    assert_eq!(ops.accept(sick, &op, Tag(3), true), Err(SubmitError::Full), "its own and half of four");
    ops.accept(sick, &op, Tag(4), false).unwrap();
    ops.accept(well, &op, Tag(5), true).unwrap();
    finish(&mut ops, held[0], 512);
    ops.accept(sick, &op, Tag(6), true).unwrap();
    assert_eq!((ops.in_flight(), ops.stats.refused), (5, 1));
}

#[test]
fn a_cancelled_operation_stops_at_the_next_result() {
    let memory = Memory::new(&[1024]);
    let (mut ops, file) = ops(8, 0);
    for (result, ended) in [
        (-libc::ECANCELED, Err(IoError::Cancelled)),
        (-libc::EINTR, Err(IoError::Cancelled)),
        (-libc::EAGAIN, Err(IoError::Cancelled)),
        (512, Err(IoError::Cancelled)),
        (1024, Ok(())),
        (-libc::EIO, Err(IoError::Medium)),
    ] {
        let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), false).unwrap();
        assert_eq!(ops.mark_cancelled(file, Tag(1)), Some(id));
        assert_eq!(ops.mark_cancelled(file, Tag(1)), None, "asked for once is enough");
        assert_eq!(finish(&mut ops, id, result), done(1, ended), "{result}");
    }
    assert_eq!(ops.mark_cancelled(file, Tag(1)), None);
}

/// Index of the registered buffer that the next part names.
fn registered(ops: &mut Ops, id: EntryId) -> Option<u16> {
    let What::Move { registered, .. } = ops.part(id).what else { panic!("a flush moves nothing") };
    registered
}

#[test]
fn a_part_names_the_registered_buffer_that_holds_all_of_it() {
    let (mut ops, file) = ops(4, 0);
    let memory = Memory::new(&[512, 512, 512]);
    let base = memory.list[0];
    // SAFETY: the first two segments lie one behind the other.
    let two = unsafe { Segment::new(NonNull::new(base.as_ptr()).unwrap(), 1024) };
    ops.buffers[Kind::Interrupt as usize] = BufferTable::for_test(two, 3);
    let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
    assert_eq!(registered(&mut ops, id), None, "the third segment is in none");
    let data = ops.user_data(id);
    assert_eq!(ops.finish_part(data, 100), Next::Again(id));
    assert_eq!(registered(&mut ops, id), Some(3), "the rest of the first");
    assert_eq!(ops.finish_part(data, 412), Next::Again(id));
    assert_eq!(registered(&mut ops, id), None);
    let through_bounce = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(2), true).unwrap();
    assert_eq!(registered(&mut ops, through_bounce), None, "the bounce buffer is not registered");
    ops.buffers[Kind::Interrupt as usize] = BufferTable::for_test(ops.bounce.whole().unwrap().0, 4);
    assert_eq!(registered(&mut ops, through_bounce), Some(4));
    assert_eq!(ops.stats.fixed, 2);
}

#[test]
fn without_the_vectored_kind_several_segments_go_as_they_are() {
    let (mut ops, file) = ops(4, 0);
    ops.work.vectored_fixed = false;
    let memory = Memory::new(&[512, 512]);
    // SAFETY: the two segments lie one behind the other.
    let whole = unsafe { Segment::new(NonNull::new(memory.list[0].as_ptr()).unwrap(), 1024) };
    ops.buffers[Kind::Interrupt as usize] = BufferTable::for_test(whole, 3);
    let id = ops.accept(file, &memory.op(WRITE, 0), Tag(1), false).unwrap();
    assert_eq!(registered(&mut ops, id), None);
    assert_eq!(ops.finish_part(ops.user_data(id), 512), Next::Again(id));
    assert_eq!(registered(&mut ops, id), Some(3), "one segment is left");
}

#[test]
fn what_the_kernel_does_not_take_from_a_registered_buffer_goes_without_it_once() {
    for errno in [libc::EFAULT, libc::EINVAL, libc::EOPNOTSUPP] {
        let (mut ops, file) = ops(4, 0);
        let memory = Memory::new(&[512]);
        ops.buffers[Kind::Interrupt as usize] = BufferTable::for_test(memory.list[0], 3);
        let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
        assert_eq!(registered(&mut ops, id), Some(3));
        let data = ops.user_data(id);
        assert_eq!(ops.finish_part(data, -errno), Next::Again(id));
        assert_eq!(registered(&mut ops, id), None);
        let Next::Done(done) = ops.finish_part(data, -errno) else { panic!("it is tried once") };
        assert_eq!(done.completion.result, Err(IoError::from_errno(errno)));
    }
    // Of other errors the buffer is innocent.
    let (mut ops, file) = ops(4, 0);
    let memory = Memory::new(&[512]);
    ops.buffers[Kind::Interrupt as usize] = BufferTable::for_test(memory.list[0], 3);
    let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
    assert_eq!(registered(&mut ops, id), Some(3));
    assert!(matches!(ops.finish_part(ops.user_data(id), -libc::EIO), Next::Done(_)));
}

fn accept_space(ops: &mut Ops, file: FileId, kind: OpKind, plan: Plan) -> EntryId {
    let op = Op { kind, offset: 4096, len: 8192, segments: SegmentSlice::EMPTY };
    ops.accept_space(file, &op, Tag(1), plan).unwrap()
}

#[test]
fn zeroes_that_are_to_last_are_followed_by_a_flush() {
    let (mut ops, file) = ops(4, 0);
    let plan = Plan { way: Way::ZeroRange, instead: None };
    for fua in [false, true] {
        let id = accept_space(&mut ops, file, OpKind::WriteZeroes { unmap: false, fua }, plan);
        let What::Space { way: Way::ZeroRange, offset: 4096, len: 8192 } = ops.part(id).what else { panic!("zeroes") };
        if fua {
            assert_eq!(finish(&mut ops, id, 0), Next::Again(id));
            assert!(matches!(ops.part(id).what, What::Sync));
        }
        assert_eq!(finish(&mut ops, id, 0), done(1, Ok(())));
    }
    let id = accept_space(&mut ops, file, OpKind::WriteZeroes { unmap: false, fua: true }, plan);
    finish(&mut ops, id, 0);
    assert_eq!(finish(&mut ops, id, -libc::EIO), done(1, Err(IoError::Medium)), "they do not last");
    assert_eq!(ops.in_flight(), 0);
}

#[test]
fn a_way_that_the_file_does_not_have_is_left_for_the_other() {
    let (mut ops, file) = ops(4, 0);
    let plan = Plan { way: Way::ZeroRange, instead: Some(Way::PunchHole) };
    let kind = OpKind::WriteZeroes { unmap: false, fua: false };
    let id = accept_space(&mut ops, file, kind, plan);
    assert_eq!(finish(&mut ops, id, -libc::EOPNOTSUPP), Next::Again(id));
    assert!(matches!(ops.part(id).what, What::Space { way: Way::PunchHole, .. }));
    assert_eq!(finish(&mut ops, id, -libc::EOPNOTSUPP), done(1, Err(IoError::Unsupported)));
    let id = accept_space(&mut ops, file, kind, plan);
    assert_eq!(finish(&mut ops, id, -libc::ENOSPC), done(1, Err(IoError::NoSpace)), "no other way helps");
    let id = accept_space(&mut ops, file, kind, plan);
    ops.mark_cancelled(file, Tag(1));
    assert_eq!(finish(&mut ops, id, -libc::EOPNOTSUPP), done(1, Err(IoError::Cancelled)));
}

#[test]
fn what_is_tried_again_is_not_polled_for_until_it_gets_on() {
    let (mut ops, file) = ops(4, 0);
    ops.files.poll(file);
    let memory = Memory::new(&[4096, 4096]);
    let id = ops.accept(file, &memory.op(OpKind::Read, 0), Tag(1), false).unwrap();
    let mut goes_to = |result: Option<i32>| {
        if let Some(result) = result {
            assert_eq!(ops.finish_part(ops.user_data(id), result), Next::Again(id));
        }
        ops.part(id);
        (ops.kind(id), ops.polled())
    };
    assert_eq!(goes_to(None), (Kind::Poll, 1));
    assert_eq!(goes_to(Some(-libc::EAGAIN)), (Kind::Interrupt, 0));
    assert_eq!(goes_to(Some(-libc::EAGAIN)), (Kind::Interrupt, 0));
    assert_eq!(goes_to(Some(4096)), (Kind::Poll, 1));
}

#[test]
fn only_plain_reads_and_writes_are_polled_for() {
    let mut bytes = [0_u8; 512];
    // SAFETY: the kernel never sees it.
    let list = [unsafe { Segment::new(std::ptr::NonNull::new(bytes.as_mut_ptr()).unwrap(), 512) }];
    let config = IoConfig { entries: 8, channels: 1, reserve: 1, bounce_buffers: 1, bounce_buffer_bytes: 4096 };
    let mut ops = Ops::new(&config, true).unwrap();
    let file = std::sync::Arc::new(std::fs::File::open("/dev/null").unwrap());
    let file = ops.files.insert(crate::io::ChannelId::for_test(0), file, 0).unwrap();
    ops.files.poll(file);
    let mut ring_of = |kind, len| {
        // SAFETY: as above.
        let segments = unsafe { SegmentSlice::new(&list) };
        let id = ops.accept(file, &Op { kind, offset: 0, len, segments }, Tag(0), false).unwrap();
        let ring = ops.kind(id);
        ops.end(id, Ok(()));
        ring
    };
    assert_eq!(ring_of(OpKind::Read, 512), Kind::Poll);
    assert_eq!(ring_of(OpKind::Write { fua: false }, 512), Kind::Poll);
    assert_eq!(ring_of(OpKind::Write { fua: true }, 512), Kind::Interrupt);
    assert_eq!(ring_of(OpKind::Flush, 0), Kind::Interrupt);
    assert_eq!(ring_of(OpKind::Unmap, 512), Kind::Interrupt);
}
