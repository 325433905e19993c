//! Files that hang, on a real kernel: a pipe answers when the test says so.
#![allow(unsafe_code)]

use std::io::Write;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::channel::Tag;
use crate::io::IoConfig;
use crate::null::ram_info;
use crate::op::{Op, OpKind};
use crate::segment::{Segment, SegmentSlice};

const RESERVE: u64 = 4;

/// A device on the reading end of a pipe, and the other end. With `skewed` no memory suits it: all goes through bounce
/// buffers.
fn pipe(skewed: bool) -> (FileBdev, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    let info = ram_info("pipe".to_owned(), 8, 512, false);
    let alignment = skewed.then_some(Alignment { memory: 1 << 30, offset: 1 });
    let file = Arc::new(File::from(OwnedFd::from(reader)));
    let end = Arc::new(End::of_device(info.size()));
    (
        FileBdev {
            info,
            file,
            end,
            alignment,
            ways: Ways::default(),
            engine: Engine::Uring,
            polled: false,
            checkup: None,
        },
        File::from(OwnedFd::from(writer)),
    )
}

fn fill(channel: &mut dyn Channel, io: &mut Io, op: &Op) -> u64 {
    (0..).find(|tag| channel.submit(io, op, Tag(*tag)).is_err()).expect("there is bounded room")
}

/// Sleeps until something ends, and takes all that has.
fn wait(io: &mut Io) -> u64 {
    if io.arm() {
        let timeout = Timespec::try_from(Duration::from_secs(60)).unwrap();
        let bell = io.bell().unwrap();
        assert_eq!(poll(&mut [PollFd::new(&bell, PollFlags::IN)], Some(&timeout)).unwrap(), 1, "no answer");
    }
    io.disarm();
    io.reap();
    std::iter::from_fn(|| io.next_completion()).inspect(|ended| assert_eq!(ended.result, Ok(()))).count() as u64
}

#[test]
fn files_that_hang_leave_places_and_buffers_to_the_others() {
    for skewed in [false, true] {
        let config =
            IoConfig { entries: 8, channels: 6, reserve: RESERVE as u32, bounce_buffers: 4, bounce_buffer_bytes: 4096 };
        let mut io = Io::new(config);
        let mut byte = [0_u8];
        // SAFETY: every operation ends, or the engine is dropped, before the byte and the list go.
        let list = [unsafe { Segment::new(NonNull::new(byte.as_mut_ptr()).unwrap(), 1) }];
        // SAFETY: as above.
        let op = Op { kind: OpKind::Read, offset: 0, len: 1, segments: unsafe { SegmentSlice::new(&list) } };
        let hung: Vec<_> = (0..5).map(|_| pipe(skewed)).collect();
        for (bdev, _) in &hung {
            fill(bdev.channel(&mut io).unwrap().as_mut(), &mut io, &op);
        }
        io.submit();
        let stuck = io.in_flight();
        let (bdev, mut writer) = pipe(skewed);
        let mut channel = bdev.channel(&mut io).unwrap();
        for _ in 0..20 {
            let started = fill(channel.as_mut(), &mut io, &op);
            assert_eq!(started, if skewed { 1 } else { RESERVE }, "through bounce buffers: {skewed}");
            io.submit();
            writer.write_all(&[7; RESERVE as usize][..started as usize]).unwrap();
            let mut ended = 0;
            while ended < started {
                ended += wait(&mut io);
                io.submit();
            }
            assert_eq!((ended, io.in_flight()), (started, stuck));
        }
        drop(io);
    }
}

#[test]
fn what_has_a_queue_of_its_own_or_is_polled_for_is_handed_over_with_the_pass() {
    let mut io = Io::default();
    let mut byte = [0_u8];
    // SAFETY: the engine is dropped, and with it all operations end, before the byte and the list go.
    let list = [unsafe { Segment::new(NonNull::new(byte.as_mut_ptr()).unwrap(), 1) }];
    // SAFETY: as above.
    let op = Op { kind: OpKind::Read, offset: 0, len: 1, segments: unsafe { SegmentSlice::new(&list) } };
    let [(file, _ends), (mut device, _too), (mut polled, _as_well)] = [0; 3].map(|_| pipe(false));
    (device.info.queue_depth, polled.polled) = (32, true);
    let [mut file, mut device, mut polled] = [file, device, polled].map(|bdev| bdev.channel(&mut io).unwrap());
    let mut enters_after = |channel: &mut Box<dyn Channel>, count: u64| {
        (0..count).for_each(|tag| channel.submit(&mut io, &op, Tag(tag)).unwrap());
        io.stats().enters
    };
    assert_eq!((enters_after(&mut polled, 4), enters_after(&mut device, 4)), (0, 0), "beside a file, too");
    assert_eq!(enters_after(&mut file, 1), 1, "of 5 for the same ring, the kernel has none");
    assert_eq!((enters_after(&mut device, 10), enters_after(&mut polled, 4)), (1, 1));
    assert_eq!(enters_after(&mut file, 1), 2, "11 are more than twice 5");
    drop(io);
}

#[test]
fn a_core_has_files_from_the_first_that_it_opens_to_the_last_that_it_closes() {
    let mut io = Io::default();
    let [(one, _ends), (other, _too), (mut device, _as_well)] = [0; 3].map(|_| pipe(false));
    device.info.queue_depth = 32;
    let mut device = device.channel(&mut io).unwrap();
    assert!(!io.has_files(), "a device has a queue of its own");
    let [mut one, mut other] = [one, other].map(|bdev| bdev.channel(&mut io).unwrap());
    one.close(&mut io);
    assert!(io.has_files());
    other.close(&mut io);
    assert!(!io.has_files());
    device.close(&mut io);
    let (threads, _ends) = pipe(false);
    let _channel = FileBdev { engine: Engine::Threads, ..threads }.channel(&mut io).unwrap();
    assert!(!io.has_files(), "the kernel begins them on other threads");
}
