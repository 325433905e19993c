//! The suite on every wrapper around every backend, block devices (as root) among them, and what only wrappers promise.
//! NVMe namespaces are in `nvme`.

mod support;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bdev::{
    Bdev, DelayBdev, Delays, Direct, Engine, ErrorBdev, Errors, FileBdev, FileOptions, IoError, MemBdev, NullBdev,
    OpKind, SplitBdev,
};
use support::memory::Memory;
use support::place::{self, Loop, Place};
use support::promises::{SIZE, keeps_its_promises, keeps_its_terms, whole};
use support::rig::{Rig, WRITE, WRITE_FUA};

/// A backend and what has to be there as long as it is.
type Made = (Arc<dyn Bdev>, Box<dyn Any>);
type Make = fn(u64) -> Made;

fn file(place: Place, block_size: u32, engine: Engine) -> Made {
    let options = FileOptions { block_size: Some(block_size), direct: Direct::Auto, engine, ..FileOptions::default() };
    (Arc::new(FileBdev::open(&place.path, options).unwrap()), Box::new(place))
}

fn block_device(size: u64, sector: u32) -> Made {
    let device = Loop::new(size, sector);
    let bdev = FileBdev::open(&device.path, FileOptions::default()).unwrap();
    assert_eq!(bdev.info().block_size, sector);
    (Arc::new(bdev), Box::new(device))
}

/// Every backend that needs no root, of so many bytes.
const BACKENDS: [Make; 6] = [
    |size| (Arc::new(NullBdev::new(size, 512).unwrap()), Box::new(())),
    |size| (Arc::new(MemBdev::new(size, 512).unwrap()), Box::new(())),
    |size| (Arc::new(MemBdev::new(size, 4096).unwrap()), Box::new(())),
    |size| file(Place::on_tmpfs(size), 4096, Engine::Uring),
    |size| file(Place::on_disk(size), 512, Engine::Uring),
    |size| file(Place::on_tmpfs(size), 512, Engine::Threads),
];
const BLOCK_DEVICES: [Make; 2] = [|size| block_device(size, 512), |size| block_device(size, 4096)];

/// All that can be made here.
fn backends() -> impl Iterator<Item = Make> {
    let block_devices = place::may("a loop device").then_some(BLOCK_DEVICES);
    BACKENDS.into_iter().chain(block_devices.into_iter().flatten())
}

fn keeps_nothing(bdev: &dyn Bdev) -> bool {
    bdev.info().description.starts_with("null")
}

/// A wrapped backend that behaves well keeps all promises; null all that it can.
fn check(bdev: &dyn Bdev) {
    eprintln!("suite on {}", bdev.info().description);
    if keeps_nothing(bdev) { keeps_its_terms(bdev) } else { keeps_its_promises(bdev) }
}

fn never() -> Errors {
    Errors { rate: 0.0, ..Errors::all(IoError::Medium) }
}

#[test]
fn delay_around_every_backend() {
    for make in backends() {
        let (inner, _place) = make(SIZE);
        check(&DelayBdev::new(inner, Delays::all(Duration::from_millis(7))));
        let (inner, _place) = make(SIZE);
        check(&DelayBdev::new(inner, Delays::all(Duration::from_secs(60))).without_cancel());
    }
}

#[test]
fn error_around_every_backend() {
    for make in backends() {
        let (inner, _place) = make(SIZE);
        check(&ErrorBdev::new(inner, never()));
    }
}

#[test]
fn split_around_every_backend() {
    for make in backends() {
        let (inner, _place) = make(2 * SIZE);
        let at = u64::from(inner.info().block_size) * 3;
        check(&SplitBdev::new(inner, at, SIZE).unwrap());
    }
}

#[test]
fn all_of_them_around_every_backend() {
    for make in backends() {
        let (inner, _place) = make(2 * SIZE);
        let part = Arc::new(SplitBdev::new(inner, SIZE, SIZE).unwrap());
        let well = Arc::new(ErrorBdev::new(part, never()));
        check(&DelayBdev::new(well, Delays::all(Duration::from_millis(1))));
    }
}

/// Every kind of operation, in a range with nothing in question, one that touches what is, and one behind it.
#[test]
fn errors_come_where_they_are_wanted_from_every_backend_and_nothing_is_changed() {
    let (sick, len) = (64 << 10, 16 << 10);
    let errors = [IoError::Medium, IoError::Gone, IoError::NoSpace, IoError::Busy, IoError::ReadOnly];
    for (make, error) in backends().zip(errors.into_iter().cycle()) {
        let (inner, _place) = make(SIZE);
        let mut well = Rig::new(inner.as_ref());
        well.write(WRITE, 0, &whole(1 << 20), &vec![7; 1 << 20]).unwrap();
        well.close();
        let bdev = ErrorBdev::new(inner.clone(), Errors { range: sick..sick + len, ..Errors::all(error) });
        let mut rig = Rig::new(&bdev);
        let zeroes = OpKind::WriteZeroes { unmap: true, fua: false };
        for at in [sick - len / 2, sick, sick + len / 2] {
            for kind in [OpKind::Read, WRITE, WRITE_FUA] {
                assert_eq!(rig.run(kind, at, Memory::aligned(len as usize)).0, Err(error), "{kind:?} at {at}");
            }
            for kind in [OpKind::Unmap, zeroes, OpKind::Extents] {
                assert_eq!(rig.change(kind, at, len), Err(error), "{kind:?} at {at}");
            }
        }
        for at in [sick - len, sick + len] {
            assert!(rig.run(OpKind::Read, at, Memory::aligned(len as usize)).0.is_ok());
        }
        rig.flush().unwrap();
        assert_eq!(rig.drain().pop().unwrap().result, Ok(()));
        rig.close();
        let mut well = Rig::new(inner.as_ref());
        let bytes = well.read(0, &whole(1 << 20)).unwrap();
        assert!(
            keeps_nothing(inner.as_ref()) || bytes.iter().all(|byte| *byte == 7),
            "an operation that failed did some"
        );
        well.close();
    }
}

/// What grows and shrinks inside is told, of a part as far as it goes; what is gone is an error.
#[test]
fn a_size_that_changes_is_told_through_wrappers() {
    let place = Place::on_disk(SIZE);
    let inner: Arc<dyn Bdev> = Arc::new(FileBdev::open(&place.path, FileOptions::default()).unwrap());
    let delay = DelayBdev::new(inner.clone(), Delays::all(Duration::from_millis(1)));
    let error = ErrorBdev::new(inner.clone(), never());
    let split = SplitBdev::new(inner.clone(), 4096, 1 << 20).unwrap();
    for size in [2 * SIZE, SIZE / 2, 8192] {
        place.resize(size);
        let told = [inner.as_ref() as &dyn Bdev, &delay, &error].map(|bdev| bdev.size_now().unwrap());
        assert_eq!(told, [size; 3]);
        assert_eq!(split.size_now().unwrap(), (size - 4096).min(1 << 20), "what is left of the part");
    }
    for bdev in [&delay as &dyn Bdev, &error, &split] {
        let mut rig = Rig::new(bdev);
        assert_eq!(rig.read(512 << 10, &whole(4096)), Err(IoError::BeyondEnd), "{}", bdev.info().description);
        assert!(rig.read(0, &whole(4096)).unwrap() == [0; 4096]);
        rig.close();
    }
}
