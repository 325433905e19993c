//! On `/dev/null`, which takes every command through io_uring and ends it well.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use super::*;
use crate::channel::{Completion, Tag};
use crate::io::{ChannelId, IoConfig};
use crate::nvme::command::Data;
use crate::nvme::jobs::{Fixed, Terms};
use crate::nvme::limits::Limits;
use crate::nvme::spec::URING_CMD_IO;
use crate::op::{IoError, Op, OpKind};
use crate::pool::new_bell;
use crate::segment::{Segment, SegmentSlice};
use crate::uring::FileId;

const LIMITS: Limits = Limits {
    largest_bytes: 4096,
    transfer_bytes: 4096,
    pages: 2,
    depth: 0,
    verify_bytes: 4096,
    zeroes_bytes: 4096,
    deallocate_bytes: 4096,
};
const TERMS: Terms = Terms { nsid: 1, block_size: 512, limits: LIMITS, zeroes_deallocate: false, fixed: Fixed::Piece };

fn ring(path: &str, entries: u32) -> (NvmeRing, FileId) {
    let config = IoConfig { entries, channels: 1, reserve: 1, ..IoConfig::default() };
    let mut ring = NvmeRing::new(&config, None, new_bell().unwrap()).unwrap();
    let file = Arc::new(File::open(path).unwrap());
    let device = ring.add_file(ChannelId::for_test(0), &file, TERMS).unwrap();
    (ring, device)
}

fn zeroes(len: u64) -> Op {
    let kind = OpKind::WriteZeroes { unmap: false, fua: false };
    Op { kind, offset: 0, len, segments: SegmentSlice::EMPTY }
}

fn finish(ring: &mut NvmeRing, count: usize) -> Vec<Completion> {
    let mut done = VecDeque::new();
    // Each command of each operation takes one pass at most.
    for _ in 0..1000 {
        ring.submit();
        ring.reap(&mut done);
        if done.len() == count {
            break;
        }
    }
    done.into_iter().map(|done| done.completion).collect()
}

#[test]
fn every_operation_ends_once_however_many_commands_it_takes() {
    let (mut ring, device) = ring("/dev/null", 4);
    for tag in 0..5 {
        ring.start(device, &zeroes(4096 * (tag + 1)), Tag(tag), false).unwrap();
    }
    let ended = finish(&mut ring, 5);
    let mut tags: Vec<_> = ended.iter().map(|completion| completion.tag.0).collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4]);
    assert!(ended.iter().all(|completion| completion.result == Ok(())));
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn what_takes_no_commands_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut ring, device) = ring(file.path().to_str().unwrap(), 1);
    ring.start(device, &Op::FLUSH, Tag(1), false).unwrap();
    assert_eq!(finish(&mut ring, 1), [Completion { tag: Tag(1), result: Err(IoError::Unsupported) }]);
    let read = Command::read(1, 0, 1, Data::NONE);
    assert_eq!(ask(file.as_file(), URING_CMD_IO, read, Kind::Interrupt, None).unwrap(), -libc::EOPNOTSUPP);
    assert_eq!(ask(&File::open("/dev/null").unwrap(), URING_CMD_IO, read, Kind::Interrupt, None).unwrap(), 0);
}

#[test]
fn what_the_kernel_does_not_poll_for_goes_the_usual_way() {
    let (mut ring, device) = ring("/dev/null", 4);
    ring.poll_for(device, &File::open("/dev/null").unwrap());
    let mut bytes = [0_u8; 512];
    // SAFETY: the bytes stay until the end of the test, which waits for its operations.
    let list = [unsafe { Segment::new(NonNull::new(bytes.as_mut_ptr()).unwrap(), bytes.len()) }];
    // SAFETY: so does the list.
    let segments = unsafe { SegmentSlice::new(&list) };
    for tag in 0..2 {
        let read = Op { kind: OpKind::Read, offset: 0, len: 512, segments };
        ring.start(device, &read, Tag(tag), false).unwrap();
    }
    ring.start(device, &Op::FLUSH, Tag(2), false).unwrap();
    assert_eq!((ring.stats().polled, ring.ops.polled()), (2, 2), "no flush is polled for");
    let ended = finish(&mut ring, 3);
    assert_eq!(ended.iter().filter(|completion| completion.result == Ok(())).count(), 3, "{ended:?}");
    assert_eq!((ring.stats().polled, ring.in_flight()), (2, 0), "nor asked again");
    let read = Command::read(1, 0, 1, Data::NONE);
    let said = ask(&File::open("/dev/null").unwrap(), URING_CMD_IO, read, Kind::Poll, None).unwrap();
    assert_eq!(said, -libc::EOPNOTSUPP);
}
