use rustix::event::{EventfdFlags, eventfd};
use zerocopy::IntoBytes;

use super::*;

const VECTORS: [u32; 5] = [1, 0, 2048, 1, 1];
const MSIX: u32 = IrqIndex::Msix as u32;
const REQ: u32 = IrqIndex::Req as u32;
const ERR: u32 = IrqIndex::Err as u32;
const TRIGGER: u32 = IRQ_SET_ACTION_TRIGGER;
const MASK: u32 = IRQ_SET_ACTION_MASK;
const UNMASK: u32 = IRQ_SET_ACTION_UNMASK;
const NONE: u32 = IRQ_SET_DATA_NONE;
const BOOL: u32 = IRQ_SET_DATA_BOOL;
const EVENTFD: u32 = IRQ_SET_DATA_EVENTFD;

fn decode_set(set: IrqSet, data: &[u8], fds: Vec<OwnedFd>) -> Result<IrqChange, Errno> {
    decode(&[set.as_bytes(), data].concat(), fds, |index| VECTORS[index as usize])
}

fn set(flags: u32, index: u32, start: u32, count: u32) -> IrqSet {
    IrqSet { argsz: 20, flags, index, start, count }
}

fn refused(set: IrqSet) -> bool {
    matches!(decode_set(set, &[], Vec::new()), Err(Errno::INVAL))
}

fn eventfd_pair() -> (OwnedFd, OwnedFd) {
    let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    (fd.try_clone().unwrap(), fd)
}

#[test]
fn sizes_must_be_true() {
    for len in 0..20 {
        assert!(decode(&[0; 20][..len], Vec::new(), |_| 8).is_err());
    }
    for argsz in [0, 3, 19, 21, u32::MAX] {
        assert!(refused(IrqSet { argsz, ..set(TRIGGER | NONE, REQ, 0, 0) }));
    }
}

#[test]
fn an_index_that_is_not_there() {
    for index in [5, 6, u32::MAX] {
        assert!(refused(set(TRIGGER | NONE, index, 0, 0)));
    }
}

#[test]
fn exactly_one_action_and_one_data_type() {
    for flags in 0..64_u32 {
        let allowed = (flags & 0x38).count_ones() == 1 && (flags & 0x7).count_ones() == 1 && flags & BOOL == 0;
        assert_eq!(!refused(set(flags, MSIX, 0, 1)), allowed, "{flags:#x}");
    }
    assert!(refused(set(TRIGGER | NONE | 1 << 6, MSIX, 0, 1)));
    assert!(refused(set(TRIGGER | NONE | 1 << 31, MSIX, 0, 1)));
}

#[test]
fn the_range_must_be_within_the_vectors() {
    for (start, count) in [(2047, 2), (2048, 1), (2049, 1), (0, 2049), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, 2)] {
        assert!(refused(set(MASK | NONE, MSIX, start, count)), "{start} {count}");
        assert!(refused(set(TRIGGER | EVENTFD, MSIX, start, count)), "{start} {count}");
    }
    for index in [ERR, REQ] {
        assert!(refused(set(TRIGGER | NONE, index, 0, 2)));
    }
    assert!(refused(set(TRIGGER | NONE, IrqIndex::Msi as u32, 0, 1)));
    assert!(!refused(set(MASK | NONE, MSIX, 2047, 1)));
}

#[test]
fn errors_and_requests_can_only_be_triggered() {
    for index in [ERR, REQ] {
        assert!(refused(set(MASK | NONE, index, 0, 1)));
        assert!(refused(set(UNMASK | NONE, index, 0, 1)));
        assert!(!refused(set(TRIGGER | NONE, index, 0, 1)));
    }
}

#[test]
fn a_count_of_0_disables_and_nothing_else() {
    for flags in [MASK | NONE, UNMASK | NONE, TRIGGER | BOOL, TRIGGER | EVENTFD] {
        assert!(refused(set(flags, MSIX, 0, 0)));
    }
    assert!(refused(set(TRIGGER | NONE, MSIX, 1, 0)));
    for index in IrqIndex::ALL {
        let change = decode_set(set(TRIGGER | NONE, index as u32, 0, 0), &[], Vec::new());
        assert!(matches!(change, Ok(IrqChange::DisableAll { index: found }) if found == index));
    }
}

#[test]
fn descriptors_come_only_with_eventfd_data() {
    for (set, data) in [
        (IrqSet { argsz: 21, ..set(TRIGGER | BOOL, MSIX, 0, 1) }, &[1][..]),
        (set(TRIGGER | NONE, MSIX, 0, 1), &[]),
        (set(TRIGGER | NONE, MSIX, 0, 0), &[]),
    ] {
        assert!(decode_set(set, data, Vec::new()).is_ok());
        let result = decode_set(set, data, vec![eventfd_pair().0]);
        assert!(matches!(result, Err(Errno::INVAL)));
    }
}

#[test]
fn as_many_descriptors_as_vectors_or_none() {
    assert!(decode_set(set(TRIGGER | EVENTFD, MSIX, 0, 2), &[], vec![eventfd_pair().0]).is_err());
    let two = vec![eventfd_pair().0, eventfd_pair().0];
    assert!(decode_set(set(TRIGGER | EVENTFD, MSIX, 0, 1), &[], two).is_err());
    let change = decode_set(set(TRIGGER | EVENTFD, MSIX, 7, 3), &[], Vec::new()).unwrap();
    let IrqChange::SetEventfds { start: 7, eventfds, .. } = change else { panic!("{change:?}") };
    assert_eq!(eventfds.len(), 3);
    assert!(eventfds.iter().all(Option::is_none));
}

#[test]
fn eventfds_arrive_in_order_and_do_not_block() {
    let ((first, first_kept), (second, second_kept)) = (eventfd_pair(), eventfd_pair());
    let change = decode_set(set(UNMASK | EVENTFD, MSIX, 4, 2), &[], vec![first, second]).unwrap();
    let IrqChange::SetEventfds { index: IrqIndex::Msix, action: IrqAction::Unmask, start: 4, eventfds } = change else {
        panic!("{change:?}")
    };
    for (number, fd) in (1_u64..).zip(&eventfds) {
        rustix::io::write(fd.as_ref().unwrap(), &number.to_ne_bytes()).unwrap();
    }
    for (number, kept) in [(1_u64, first_kept), (2, second_kept)] {
        let mut counter = [0; 8];
        rustix::io::read(&kept, &mut counter).unwrap();
        assert_eq!(u64::from_ne_bytes(counter), number);
        assert_eq!(rustix::io::read(&kept, &mut counter), Err(Errno::AGAIN));
    }
}

#[test]
fn what_is_no_eventfd_is_refused_and_closed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let fds = vec![eventfd_pair().0, writer.into()];
    assert!(decode_set(set(TRIGGER | EVENTFD, MSIX, 0, 2), &[], fds).is_err());
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0), "the writing end is closed");
}

#[test]
fn booleans_select_vectors() {
    let ask = IrqSet { argsz: 23, ..set(TRIGGER | BOOL, MSIX, 1, 3) };
    let change = decode_set(ask, &[0, 1, 0xff], Vec::new()).unwrap();
    let IrqChange::Perform { action: IrqAction::Trigger, start: 1, selected, .. } = change else {
        panic!("{change:?}")
    };
    assert_eq!(selected, [false, true, true]);
    for (argsz, data) in [(22, &[0, 1][..]), (24, &[0; 4])] {
        assert!(decode_set(IrqSet { argsz, ..ask }, data, Vec::new()).is_err());
    }
    let change = decode_set(set(MASK | NONE, MSIX, 0, 2), &[], Vec::new()).unwrap();
    let IrqChange::Perform { action: IrqAction::Mask, selected, .. } = change else { panic!("{change:?}") };
    assert_eq!(selected, [true, true]);
}
