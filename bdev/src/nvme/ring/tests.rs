//! On `/dev/null`, which takes every command through io_uring and ends it well.

use super::*;
use crate::nvme::command::{Command, Data};
use crate::nvme::limits::Limits;
use crate::nvme::spec::URING_CMD_IO;
use crate::op::OpKind;
use crate::pool::new_bell;
use crate::segment::SegmentSlice;

const LIMITS: Limits = Limits { transfer_bytes: 4096, pages: 2, zeroes_bytes: 4096, deallocate_bytes: 4096 };
const TERMS: Terms = Terms { nsid: 1, block_size: 512, limits: LIMITS, zeroes_deallocate: false };

fn ring(path: &str, entries: u32) -> (NvmeRing, DeviceId) {
    let config = IoConfig { entries, channels: 1, reserve: 1, ..IoConfig::default() };
    let mut ring = NvmeRing::new(&config, None, new_bell().unwrap()).unwrap();
    let file = Arc::new(File::open(path).unwrap());
    let device = ring.add(ChannelId::for_test(0), &file, TERMS).unwrap();
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
        ring.start(device, &zeroes(4096 * (tag + 1)), Tag(tag)).unwrap();
    }
    let ended = finish(&mut ring, 5);
    let mut tags: Vec<_> = ended.iter().map(|completion| completion.tag.0).collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4]);
    assert!(ended.iter().all(|completion| completion.result == Ok(())));
    assert_eq!(ring.jobs.in_flight(), 0);
}

#[test]
fn what_takes_no_commands_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut ring, device) = ring(file.path().to_str().unwrap(), 1);
    ring.start(device, &Op::FLUSH, Tag(1)).unwrap();
    assert_eq!(finish(&mut ring, 1), [Completion { tag: Tag(1), result: Err(IoError::Unsupported) }]);
    let read = Command::read(1, 0, 1, Data::NONE);
    assert_eq!(ask(file.as_file(), URING_CMD_IO, read).unwrap(), -libc::EOPNOTSUPP);
    assert_eq!(ask(&File::open("/dev/null").unwrap(), URING_CMD_IO, read).unwrap(), 0);
}

#[test]
fn what_the_kernel_does_not_have_is_cancelled_at_once() {
    let (mut ring, device) = ring("/dev/null", 1);
    // The submission queue has two places.
    for tag in 0..2 {
        ring.start(device, &Op::FLUSH, Tag(tag)).unwrap();
    }
    let taken = ring.push(&opcode::Nop::new().build().user_data(CANCEL).into());
    assert!(!taken, "the queue is full");
    assert_eq!(ring.cancel(device, Tag(7)), None);
    assert_eq!(ring.cancel(device, Tag(0)), None, "it is queued: the kernel is asked");
    assert_eq!(ring.unsent_cancels.len(), 1);
    assert_eq!(finish(&mut ring, 2).len(), 2);
}

#[test]
fn a_sleeping_core_is_woken() {
    let (mut ring, device) = ring("/dev/null", 4);
    assert!(ring.arm().unwrap(), "nothing can come");
    ring.disarm();
    ring.start(device, &Op::FLUSH, Tag(1)).unwrap();
    assert!(!ring.arm().unwrap(), "it is still to be submitted");
    ring.disarm();
    ring.submit();
    assert!(!ring.arm().unwrap(), "its result is there");
    ring.disarm();
    assert_eq!(finish(&mut ring, 1).len(), 1);
    assert!(ring.arm().unwrap());
    ring.disarm();
}

#[test]
fn a_ring_that_is_dropped_waits_for_what_is_queued() {
    let (mut ring, device) = ring("/dev/null", 4);
    ring.start(device, &zeroes(16384), Tag(1)).unwrap();
    assert!(ring.recall());
    assert_eq!(ring.jobs.in_flight(), 0);
}
