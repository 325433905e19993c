use std::fs::File;
use std::sync::Arc;

use super::*;
use crate::channel::{SubmitError, Tag};
use crate::io::ChannelId;
use crate::mapping::Mapping;
use crate::nvme::command::Data;
use crate::op::IoError;
use crate::segment::{Segment, SegmentSlice};
use crate::uring::{BufferTable, FileId, Kind, Next};

const LIMITS: Limits = Limits {
    largest_bytes: 8192,
    transfer_bytes: 8192,
    pages: 3,
    depth: 0,
    verify_bytes: 6144,
    zeroes_bytes: 16384,
    deallocate_bytes: 32768,
};
const TERMS: Terms = Terms { nsid: 7, block_size: 512, limits: LIMITS, zeroes_deallocate: true, fixed: Fixed::Piece };

fn jobs(terms: Terms) -> (Jobs, FileId) {
    let config = IoConfig { entries: 4, channels: 1, reserve: 1, bounce_buffers: 1, bounce_buffer_bytes: 4096 };
    let mut jobs = Jobs::new(&config, false).unwrap();
    let file = Arc::new(File::open("/dev/null").unwrap());
    let device = jobs.files.insert(ChannelId::for_test(3), file, terms).unwrap();
    (jobs, device)
}

/// As the channel does it.
fn accept(jobs: &mut Jobs, device: FileId, op: &Op) -> Result<EntryId, SubmitError> {
    jobs.accept(device, op, Tag(5), TERMS.need_buffer(op))
}

fn op(kind: OpKind, offset: u64, len: u64, segments: &[Segment]) -> Op {
    // SAFETY: the tests keep their segments while the operation lives.
    #[allow(unsafe_code)]
    let segments = unsafe { SegmentSlice::new(segments) };
    Op { kind, offset, len, segments }
}

fn data(segment: &Segment) -> Data {
    Data { address: segment.as_ptr().addr() as u64, len: segment.len() as u32 }
}

fn completion(next: Next) -> Result<(), IoError> {
    match next {
        Next::Done(done) => {
            assert_eq!((done.channel, done.completion.tag), (ChannelId::for_test(3), Tag(5)));
            done.completion.result
        }
        other => panic!("not the end: {other:?}"),
    }
}

#[test]
fn an_operation_goes_command_by_command() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    let list = [memory.part(0, 20480)];
    let id = accept(&mut jobs, device, &op(OpKind::Write { fua: true }, 1024, 20480, &list)).unwrap();
    for (at, len) in [(0, 8192), (8192, 8192), (16384, 4096)] {
        let part = jobs.part(id);
        let lba = 2 + at as u64 / 512;
        let expected = Command::write(7, lba, len as u32 / 512, data(&memory.part(at, len)), true);
        assert_eq!((part.request, part.command), (URING_CMD_IO, expected));
        match jobs.finish_part(part.user_data, 0) {
            Next::Again(again) => assert!(again == id && at < 16384),
            end => assert_eq!((completion(end), at), (Ok(()), 16384)),
        }
    }
    assert_eq!(jobs.in_flight(), 0);
}

#[test]
fn several_segments_are_a_list() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    let list = [memory.part(0, 4096), memory.part(8192, 4096), memory.part(20480, 4096)];
    let id = accept(&mut jobs, device, &op(OpKind::Read, 0, 12288, &list)).unwrap();
    let part = jobs.part(id);
    let whole = Data { address: list.as_ptr().addr() as u64, len: 2 };
    assert_eq!((part.request, part.command), (URING_CMD_IO_VEC, Command::read(7, 0, 16, whole)));
    assert_eq!(jobs.finish_part(part.user_data, 0), Next::Again(id));
    let part = jobs.part(id);
    assert_eq!((part.request, part.command), (URING_CMD_IO, Command::read(7, 16, 8, data(&list[2]))));
    assert_eq!(completion(jobs.finish_part(part.user_data, 0x281)), Err(IoError::Unreadable));
}

#[test]
fn what_cannot_be_cut_goes_through_a_buffer() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    // Longer than one command, and no segment ends where a block does.
    let list = [memory.part(0, 8100), memory.part(12288, 604)];
    memory.part(0, 8100).fill(1);
    memory.part(12288, 604).fill(2);
    let write = op(OpKind::Write { fua: false }, 0, 8704, &list);
    let id = accept(&mut jobs, device, &write).unwrap();
    let mut seen = Vec::new();
    loop {
        let part = jobs.part(id);
        let held = jobs.bounce.segment(jobs.slab.get_mut(id).bounce.unwrap(), 4096);
        let len = jobs.slab.get_mut(id).part as usize;
        let mut bytes = vec![0; len];
        held.read(0, &mut bytes);
        seen.extend(bytes);
        if jobs.finish_part(part.user_data, 0) != Next::Again(id) {
            break;
        }
    }
    assert_eq!((seen.len(), seen[8099], seen[8100], seen[8703]), (8704, 1, 2, 2));

    let read = op(OpKind::Read, 0, 8704, &list);
    let id = accept(&mut jobs, device, &read).unwrap();
    for fill in [7, 8, 9] {
        let part = jobs.part(id);
        jobs.bounce.segment(jobs.slab.get_mut(id).bounce.unwrap(), 4096).fill(fill);
        jobs.finish_part(part.user_data, 0);
    }
    let mut byte = [0; 4];
    for (at, expected) in [(0, 7), (4096, 8), (8096, 8), (12288, 8), (12288 + 92, 9), (12288 + 600, 9)] {
        memory.part(at, 4).read(0, &mut byte);
        assert_eq!(byte, [expected; 4], "{at}");
    }
    // Both buffers are free again: one of its own, one that all share.
    let taken = [(); 3].map(|()| accept(&mut jobs, device, &read).is_ok());
    assert_eq!(taken, [true, true, false]);
}

#[test]
fn what_is_promised_to_be_whole_is_one_command() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    let list: Vec<_> = (0..8).map(|index| memory.part(index * 8192 + 3840, 512)).collect();
    for (kind, bytes) in [(OpKind::WriteAtomic { fua: true }, 4096), (OpKind::Write { fua: true }, 512)] {
        let id = accept(&mut jobs, device, &op(kind, 0, 4096, &list)).unwrap();
        let part = jobs.part(id);
        let entry = jobs.slab.get_mut(id);
        assert_eq!(entry.part, bytes, "{kind:?}: each piece touches two pages");
        let expected = match entry.bounce {
            Some(buffer) => Command::write(7, 0, 8, data(&jobs.bounce.segment(buffer, 4096)), true),
            None => Command::write(7, 0, 1, data(&list[0]), true),
        };
        assert_eq!((part.command, entry.bounce.is_some()), (expected, kind.is_atomic()));
        jobs.end(id, Ok(()));
    }
}

#[test]
fn registered_memory_is_named_until_the_kernel_refuses_it() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    jobs.buffers[Kind::Interrupt as usize] = BufferTable::for_test(memory.part(0, 32768), 4);
    let (inside, outside) = ([memory.part(0, 12288)], [memory.part(30720, 4096)]);
    let id = accept(&mut jobs, device, &op(OpKind::Read, 0, 12288, &inside)).unwrap();
    let part = jobs.part(id);
    assert_eq!((part.registered, part.command), (Some(4), Command::read(7, 0, 16, data(&memory.part(0, 8192)))));
    assert_eq!(jobs.finish_part(part.user_data, 0), Next::Again(id));
    let part = jobs.part(id);
    assert_eq!(part.registered, Some(4));
    assert_eq!(jobs.finish_part(part.user_data, -libc::EINVAL), Next::Again(id), "the same without it");
    let part = jobs.part(id);
    assert_eq!((part.registered, part.command), (None, Command::read(7, 16, 8, data(&memory.part(8192, 4096)))));
    assert_eq!(completion(jobs.finish_part(part.user_data, -libc::EINVAL)), Err(IoError::Unsupported));
    assert_eq!(jobs.stats.fixed, 2);
    let lists: [&[Segment]; 2] = [&outside, &[memory.part(0, 512), memory.part(4096, 512)]];
    for list in lists {
        let len = crate::segment::total_len(list);
        let id = accept(&mut jobs, device, &op(OpKind::Write { fua: false }, 0, len, list)).unwrap();
        assert_eq!(jobs.part(id).registered, None);
        jobs.end(id, Ok(()));
    }
}

#[test]
fn a_list_names_registered_memory_where_the_kernel_takes_that() {
    let (mut jobs, device) = jobs(Terms { fixed: Fixed::Lists, ..TERMS });
    let memory = Mapping::new(65536).unwrap();
    jobs.buffers[Kind::Interrupt as usize] = BufferTable::for_test(memory.part(0, 32768), 4);
    let across = [memory.part(0, 8192), memory.part(12288, 512), memory.part(16384, 512), memory.part(40960, 512)];
    let id = accept(&mut jobs, device, &op(OpKind::Read, 0, 9728, &across)).unwrap();
    let part = jobs.part(id);
    assert_eq!((part.request, part.registered), (URING_CMD_IO, Some(4)));
    assert_eq!(jobs.finish_part(part.user_data, 0), Next::Again(id));
    let part = jobs.part(id);
    let list = Data { address: (&raw const across[1]).addr() as u64, len: 3 };
    assert_eq!((part.request, part.command), (URING_CMD_IO_VEC, Command::read(7, 16, 3, list)));
    assert_eq!(part.registered, None, "the last piece is not in it");
    assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Ok(()));
    let inside = &across[1..3];
    let id = accept(&mut jobs, device, &op(OpKind::Write { fua: false }, 0, 1024, inside)).unwrap();
    let part = jobs.part(id);
    assert_eq!((part.request, part.registered), (URING_CMD_IO_VEC, Some(4)));
    assert_eq!(jobs.finish_part(part.user_data, -libc::EINVAL), Next::Again(id), "the same without it");
    assert_eq!(jobs.part(id).registered, None);
    jobs.end(id, Ok(()));
}

#[test]
fn no_command_names_registered_memory_where_the_kernel_takes_none() {
    let (mut jobs, device) = jobs(Terms { fixed: Fixed::No, ..TERMS });
    let memory = Mapping::new(65536).unwrap();
    jobs.buffers[Kind::Interrupt as usize] = BufferTable::for_test(memory.part(0, 32768), 4);
    let list = [memory.part(0, 4096)];
    let id = accept(&mut jobs, device, &op(OpKind::Read, 0, 4096, &list)).unwrap();
    assert_eq!(jobs.part(id).registered, None);
    jobs.end(id, Ok(()));
}

#[test]
fn the_device_itself_verifies_and_compares() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    let id = accept(&mut jobs, device, &op(OpKind::Verify, 512, 12288, &[])).unwrap();
    for (lba, blocks) in [(1, 12), (13, 12)] {
        let part = jobs.part(id);
        assert_eq!((part.request, part.command), (URING_CMD_IO, Command::verify(7, lba, blocks)));
        if let Next::Done(done) = jobs.finish_part(part.user_data, 0) {
            assert_eq!((done.completion.result, lba), (Ok(()), 13));
        }
    }
    // What cannot be cut is compared through a buffer.
    memory.part(0, 8100).fill(1);
    memory.part(12288, 604).fill(2);
    for list in [vec![memory.part(0, 4096)], vec![memory.part(0, 8100), memory.part(12288, 604)]] {
        let len = crate::segment::total_len(&list);
        let id = accept(&mut jobs, device, &op(OpKind::Compare, 0, len, &list)).unwrap();
        let part = jobs.part(id);
        let entry = jobs.slab.get_mut(id);
        let sent = match entry.bounce {
            Some(buffer) => jobs.bounce.segment(buffer, 4096),
            None => list[0],
        };
        assert_eq!(part.command, Command::compare(7, 0, 8, data(&sent)));
        assert_eq!(sent.read_array::<2>(0), [1, 1]);
        assert_eq!(completion(jobs.finish_part(part.user_data, 0x4285)), Err(IoError::Miscompare));
    }
}

#[test]
fn space_goes_in_parts_and_a_range_stays_where_it_is() {
    let (mut jobs, device) = jobs(TERMS);
    let id = accept(&mut jobs, device, &op(OpKind::Unmap, 512, 40960, &[])).unwrap();
    let address = jobs.work.ranges[id.index()].as_ptr().addr() as u64;
    for (lba, blocks) in [(1, 64), (65, 16)] {
        let part = jobs.part(id);
        assert_eq!(part.command, Command::deallocate(7, address));
        assert_eq!(jobs.work.ranges[id.index()], range(lba, blocks));
        jobs.finish_part(part.user_data, 0);
    }
    assert_eq!(jobs.in_flight(), 0);
    for (terms, unmap, deallocates) in
        [(TERMS, true, true), (TERMS, false, false), (Terms { zeroes_deallocate: false, ..TERMS }, true, false)]
    {
        let (mut jobs, device) = self::jobs(terms);
        let zero = op(OpKind::WriteZeroes { unmap, fua: true }, 0, 16896, &[]);
        let id = accept(&mut jobs, device, &zero).unwrap();
        let part = jobs.part(id);
        assert_eq!(part.command, Command::write_zeroes(7, 0, 32, deallocates, true));
        assert_eq!(jobs.finish_part(part.user_data, 0), Next::Again(id));
        let part = jobs.part(id);
        assert_eq!(part.command, Command::write_zeroes(7, 32, 1, deallocates, true));
        assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Ok(()));
    }
    let id = accept(&mut jobs, device, &Op::FLUSH).unwrap();
    let part = jobs.part(id);
    assert_eq!(part.command, Command::flush(7));
    assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Ok(()));
}

#[test]
fn a_cancelled_operation_goes_no_further_than_its_command() {
    let (mut jobs, device) = jobs(TERMS);
    let memory = Mapping::new(65536).unwrap();
    let list = [memory.part(0, 16384)];
    let id = accept(&mut jobs, device, &op(OpKind::Read, 0, 16384, &list)).unwrap();
    let part = jobs.part(id);
    assert_eq!(jobs.mark_cancelled(device, Tag(4)), None);
    assert_eq!(jobs.mark_cancelled(device, Tag(5)), Some(id));
    assert_eq!(jobs.mark_cancelled(device, Tag(5)), None, "once is enough");
    assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Err(IoError::Cancelled));
    assert_eq!(jobs.finish_part(part.user_data, 0), Next::Nothing, "its name is stale");
}

#[test]
fn a_namespace_that_has_gone_says_so() {
    let (mut jobs, device) = jobs(TERMS);
    for result in [-libc::ENODEV, -libc::ENXIO, 0x301] {
        let id = accept(&mut jobs, device, &Op::FLUSH).unwrap();
        let part = jobs.part(id);
        assert_eq!(completion(jobs.finish_part(part.user_data, result)), Err(IoError::Gone));
    }
}

#[test]
fn only_plain_reads_and_writes_are_polled_for() {
    let (mut jobs, device) = jobs(TERMS);
    jobs.files.poll(device);
    let memory = Mapping::new(4096).unwrap();
    let list = [memory.part(0, 512)];
    let (write, last) = (OpKind::Write { fua: false }, OpKind::Write { fua: true });
    for (kind, ring) in
        [(OpKind::Read, Kind::Poll), (write, Kind::Poll), (last, Kind::Interrupt), (OpKind::Compare, Kind::Interrupt)]
    {
        let id = accept(&mut jobs, device, &op(kind, 0, 512, &list)).unwrap();
        assert_eq!(jobs.kind(id), ring, "{kind:?}");
        let part = jobs.part(id);
        assert_eq!(jobs.polled(), usize::from(ring == Kind::Poll));
        assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Ok(()));
        assert_eq!(jobs.polled(), 0);
    }
    for cold in [Op::FLUSH, op(OpKind::Unmap, 0, 512, &[]), op(OpKind::Verify, 0, 512, &[])] {
        let id = accept(&mut jobs, device, &cold).unwrap();
        assert_eq!(jobs.kind(id), Kind::Interrupt, "{:?}", cold.kind);
        jobs.end(id, Ok(()));
    }
    // A kernel that does not poll for the commands of a device after all is asked the usual way from then on.
    let id = accept(&mut jobs, device, &op(write, 0, 512, &list)).unwrap();
    let part = jobs.part(id);
    assert_eq!(jobs.finish_part(part.user_data, -libc::EOPNOTSUPP), Next::Again(id));
    assert_eq!(jobs.kind(id), Kind::Interrupt);
    assert_eq!(completion(jobs.finish_part(part.user_data, 0)), Ok(()));
}
