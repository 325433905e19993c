use super::super::eventfd::testing::{count, eventfd};
use super::*;

const OPEN: Gates = Gates { bus_master: true, msix_enabled: true, function_masked: false, intx_disabled: false };
const ENTRY_LEN: u64 = 16;

fn interrupts(vectors: u16) -> Arc<Interrupts> {
    let interrupts = Interrupts::new(MsixLayout::new(vectors));
    interrupts.set_gates(OPEN);
    interrupts
}

/// Interrupts of two vectors, of which 1 has an eventfd.
fn attached() -> (Arc<Interrupts>, OwnedFd) {
    let (fd, twin) = eventfd();
    let interrupts = interrupts(2);
    assert_eq!(interrupts.attach(1, Some(fd)), Ok(()));
    (interrupts, twin)
}

fn pending(interrupts: &Interrupts) -> u8 {
    let mut byte = [0];
    interrupts.read_bar(interrupts.layout.pba_offset().into(), &mut byte);
    byte[0]
}

#[test]
fn a_signal_reaches_its_vector_though_the_table_was_never_written() {
    let (interrupts, fd) = attached();
    let mut control = [0];
    interrupts.read_bar(ENTRY_LEN + 12, &mut control);
    assert_eq!(control, [1], "the table reads as masked after reset");
    assert!(interrupts.signal(1));
    assert!(interrupts.signal(1));
    assert_eq!(count(&fd), 2);
    assert_eq!(pending(&interrupts), 0);
}

#[test]
fn vectors_out_of_range_are_no_interrupt() {
    let (interrupts, _fd) = attached();
    assert!(!interrupts.signal(2));
    assert!(!interrupts.signal(0xffff));
    assert!(!interrupts.trigger(0xffff));
    interrupts.mask(0xffff);
    interrupts.unmask(0xffff);
    let (fd, _) = eventfd();
    assert_eq!(interrupts.attach(2, Some(fd)), Err(AttachError::NoSuchVector));
}

#[test]
fn each_mask_holds_one_interrupt_back_and_delivers_it_once() {
    type Switch = fn(&Interrupts, bool);
    let switches: [Switch; 3] = [
        |interrupts, on| interrupts.write_bar(ENTRY_LEN + 12, &[u8::from(on), 0, 0, 0]),
        |interrupts, on| if on { interrupts.mask(1) } else { interrupts.unmask(1) },
        |interrupts, on| interrupts.set_gates(Gates { function_masked: on, ..OPEN }),
    ];
    for mask in switches {
        let (interrupts, fd) = attached();
        mask(&interrupts, true);
        assert!(!interrupts.signal(1));
        assert!(!interrupts.signal(1));
        assert_eq!((count(&fd), pending(&interrupts)), (0, 0b10));
        mask(&interrupts, false);
        assert_eq!((count(&fd), pending(&interrupts)), (1, 0));
        mask(&interrupts, true);
        mask(&interrupts, false);
        assert_eq!(count(&fd), 0);
    }
}

#[test]
fn two_masks_both_have_to_go() {
    let (interrupts, fd) = attached();
    interrupts.mask(1);
    interrupts.write_bar(ENTRY_LEN + 12, &[1]);
    interrupts.signal(1);
    interrupts.unmask(1);
    assert_eq!(count(&fd), 0);
    interrupts.write_bar(ENTRY_LEN + 12, &[0]);
    assert_eq!(count(&fd), 1);
}

#[test]
fn nothing_is_sent_or_kept_without_bus_mastering() {
    let (interrupts, fd) = attached();
    interrupts.set_gates(Gates { bus_master: false, ..OPEN });
    assert!(!interrupts.signal(1));
    assert_eq!(pending(&interrupts), 0);
    interrupts.set_gates(OPEN);
    assert_eq!(count(&fd), 0);
    interrupts.mask(1);
    interrupts.signal(1);
    interrupts.set_gates(Gates { bus_master: false, ..OPEN });
    interrupts.unmask(1);
    assert_eq!(count(&fd), 0, "what was pending waits for bus mastering");
    interrupts.set_gates(OPEN);
    assert_eq!(count(&fd), 1);
}

#[test]
fn an_enabled_vector_without_an_eventfd_keeps_its_interrupt_for_the_next() {
    let (interrupts, old) = attached();
    assert_eq!(interrupts.attach(1, None), Ok(()));
    assert!(!interrupts.signal(1));
    assert_eq!(pending(&interrupts), 0b10);
    let (fd, twin) = eventfd();
    assert_eq!(interrupts.attach(1, Some(fd)), Ok(()));
    assert_eq!((count(&twin), count(&old), pending(&interrupts)), (1, 0, 0));
}

#[test]
fn a_client_that_hides_the_enable_bit_is_served_through_its_eventfds() {
    let (interrupts, fd) = attached();
    interrupts.set_gates(Gates { msix_enabled: false, ..OPEN });
    assert!(interrupts.uses_msix());
    assert!(interrupts.signal(1));
    assert_eq!(count(&fd), 1);
    assert!(!interrupts.signal(0));
    assert_eq!(pending(&interrupts), 0, "a vector without eventfd is not in use then");
    assert_eq!(interrupts.attach(1, None), Ok(()));
    assert_eq!(interrupts.attach(1, None), Ok(()));
    assert!(!interrupts.uses_msix());
}

#[test]
fn switching_msix_off_forgets_what_is_pending() {
    let (interrupts, fd) = attached();
    interrupts.mask(1);
    interrupts.signal(1);
    interrupts.set_gates(Gates { msix_enabled: false, ..OPEN });
    interrupts.set_gates(OPEN);
    interrupts.unmask(1);
    assert_eq!(count(&fd), 0);
}

#[test]
fn a_trigger_passes_all_masks() {
    let (interrupts, fd) = attached();
    interrupts.mask(1);
    interrupts.set_gates(Gates::default());
    assert!(interrupts.trigger(1));
    assert!(!interrupts.trigger(0));
    assert!(!interrupts.trigger_intx());
    assert_eq!(count(&fd), 1);
}

#[test]
fn descriptors_of_the_wrong_kind_are_refused_and_the_old_one_stays() {
    let (interrupts, fd) = attached();
    let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null opens"));
    assert_eq!(interrupts.attach(1, Some(null())), Err(AttachError::NotAnEventfd));
    assert_eq!(interrupts.attach_intx(Some(null())), Err(AttachError::NotAnEventfd));
    assert!(interrupts.signal(1));
    assert_eq!((count(&fd), interrupts.errors()), (1, 0));
}

#[test]
fn the_pending_bits_are_read_only_and_the_gap_reads_zero() {
    let interrupts = interrupts(70);
    assert!(!interrupts.signal(69));
    let pba = u64::from(interrupts.layout.pba_offset());
    interrupts.write_bar(pba, &[0xff; 16]);
    let mut bits = [0xee; 18];
    interrupts.read_bar(pba - 1, &mut bits);
    let mut expected = [0; 18];
    expected[9] = 1 << 5;
    assert_eq!(bits, expected);
}

#[test]
fn accesses_to_the_bar_of_any_shape_stay_inside() {
    let interrupts = interrupts(1);
    for offset in [0, 3, 13, 16, 0x1000, 0x1007, 0x1fff, u64::MAX] {
        for len in [0, 1, 3, 8, 5000] {
            interrupts.write_bar(offset, &vec![0xff; len]);
            interrupts.read_bar(offset, &mut vec![0; len]);
        }
    }
    let mut beyond = [0xee; 4];
    interrupts.read_bar(u64::MAX - 1, &mut beyond);
    assert_eq!(beyond, [0; 4]);
}

#[test]
fn intx_is_silent_while_msix_is_in_use_and_speaks_after() {
    let interrupts = interrupts(1);
    let (fd, twin) = eventfd();
    assert_eq!(interrupts.attach_intx(Some(fd)), Ok(()));
    assert!(!interrupts.assert_intx());
    assert!(interrupts.intx_asserted());
    interrupts.set_gates(Gates { msix_enabled: false, ..OPEN });
    assert_eq!(count(&twin), 1);
    interrupts.mask_intx();
    interrupts.deassert_intx();
    interrupts.assert_intx();
    assert_eq!(count(&twin), 0);
    interrupts.unmask_intx();
    assert_eq!(count(&twin), 1);
    let (vector, _) = eventfd();
    assert_eq!(interrupts.attach(0, Some(vector)), Ok(()));
    interrupts.unmask_intx();
    assert_eq!(count(&twin), 0);
}

#[test]
fn intx_obeys_the_command_register() {
    let interrupts = interrupts(1);
    let (fd, twin) = eventfd();
    let silent = Gates { msix_enabled: false, intx_disabled: true, ..OPEN };
    interrupts.set_gates(silent);
    assert_eq!(interrupts.attach_intx(Some(fd)), Ok(()));
    interrupts.assert_intx();
    assert_eq!(count(&twin), 0);
    interrupts.set_gates(Gates { intx_disabled: false, ..silent });
    assert_eq!(count(&twin), 1);
}

#[test]
fn a_reset_forgets_all_but_the_eventfds() {
    let (interrupts, fd) = attached();
    interrupts.write_bar(ENTRY_LEN, &[0xff; 16]);
    interrupts.mask(1);
    interrupts.signal(1);
    interrupts.assert_intx();
    interrupts.reset();
    assert!(!interrupts.signal(1), "bus mastering is off");
    assert!(!interrupts.intx_asserted());
    assert_eq!(pending(&interrupts), 0);
    let mut entry = [0xee; 16];
    interrupts.read_bar(ENTRY_LEN, &mut entry);
    assert_eq!(entry, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    interrupts.set_gates(OPEN);
    assert!(interrupts.signal(1));
    assert_eq!(count(&fd), 1);
}

#[test]
fn a_client_that_leaves_takes_its_eventfds() {
    let (interrupts, fd) = attached();
    interrupts.detach_all();
    interrupts.set_gates(Gates { msix_enabled: false, ..OPEN });
    assert!(!interrupts.uses_msix());
    assert!(!interrupts.signal(1));
    assert_eq!(count(&fd), 0);
}

#[test]
fn a_mask_that_goes_while_an_interrupt_is_being_kept_loses_nothing() {
    let (interrupts, fd) = attached();
    // What `signal` does having seen a mask that is gone by now.
    assert!(interrupts.pend(&interrupts.vectors[1]));
    assert_eq!((count(&fd), pending(&interrupts)), (1, 0));
}

/// Masking and signalling race; whatever the order, the last unmask leaves nothing pending, and nothing is sent that was
/// not asked for.
#[test]
fn no_interrupt_is_lost_between_a_mask_and_its_end() {
    const ROUNDS: u64 = 2000;
    let (interrupts, fd) = attached();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                interrupts.mask(1);
                interrupts.unmask(1);
            }
        });
        // Each is sent at once, or held: then the other thread's unmask, which is still to come, sends it.
        for _ in 0..ROUNDS {
            interrupts.signal(1);
        }
    });
    assert_eq!(pending(&interrupts), 0);
    let sent = count(&fd);
    assert!((1..=ROUNDS).contains(&sent), "{sent}");
}
