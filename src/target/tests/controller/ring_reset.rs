//! The driver resets one queue and leaves the others at work.

use super::*;

/// VERSION_1 and RING_RESET, of the upper 32 features.
const WITH_RING_RESET: u32 = 1 | 1 << 8;

#[test]
fn a_queue_is_reset_under_load_and_comes_back_elsewhere_with_another_size() {
    let mut board = Board::new();
    board.set_up_with(&[0, 2, 3], WITH_RING_RESET);
    board.set_status(LIVE);
    board.disk.hold();
    board.read(2);
    board.read(2);
    board.read(3);
    assert_eq!((board.used(2), board.used(3), board.disk.held()), (0, 0, 3));
    board.reset_queue(2);
    assert_eq!(board.queue_register(2, common::QUEUE_RESET), 0);
    assert_eq!(board.queue_register(2, common::QUEUE_ENABLE), 0);
    assert_eq!(board.queue_register(2, common::QUEUE_SIZE), 256);
    assert_eq!((board.used(2), board.disk.held()), (0, 1), "nothing more is told of it; the other queue goes on");
    board.read(2);
    assert_eq!(board.disk.held(), 1, "nobody looks at the ring");
    let layout = FakeDriver::layout_at(0x8000, 4);
    board.drivers[2] = FakeDriver::in_map(board.map.clone(), layout, RingFeatures::default());
    board.enable(2);
    board.disk.go();
    board.bed.run();
    board.read(2);
    assert_eq!((board.used(2), board.used(3), board.status()), (1, 1, LIVE));
}

#[test]
fn the_reset_of_a_queue_waits_for_its_disk_and_so_does_whatever_comes_meanwhile() {
    for device_too in [false, true] {
        let mut board = Board::new();
        board.set_up_with(&[0, 2, 3], WITH_RING_RESET);
        board.set_status(LIVE);
        board.read(2);
        board.disk.hold();
        board.disk.set_cancels(Cancels::Fail);
        board.read(2);
        board.reset_queue(2);
        assert_eq!(board.queue_register(2, common::QUEUE_RESET), 1);
        assert_eq!(board.queue_register(2, common::QUEUE_ENABLE), 1, "it may not be set up yet");
        if device_too {
            board.set_status(0);
            assert_ne!(board.status(), 0);
        } else {
            // What the reset does to one queue is nothing to the other, nor does growing memory bring it back.
            board.call(|controller| controller.go_on());
            assert_eq!(board.disk.held(), 1);
        }
        board.disk.go();
        board.bed.run();
        assert_eq!((board.queue_register(2, common::QUEUE_RESET), board.used(2)), (0, 1));
        assert_eq!(board.status(), if device_too { 0 } else { LIVE });
        if !device_too {
            board.read(3);
            assert_eq!(board.used(3), 1);
        }
    }
}

#[test]
fn memory_is_not_taken_away_while_a_queue_that_is_being_reset_is_at_work() {
    let mut board = Board::new();
    board.set_up_with(&[0, 2, 3], WITH_RING_RESET);
    board.set_status(LIVE);
    board.read(2);
    board.disk.hold();
    board.disk.set_cancels(Cancels::Fail);
    board.read(2);
    board.reset_queue(2);
    board.set_bus_master(false);
    assert_ne!(board.status() & 64, 0, "the disk does not answer: the device has failed");
    board.disk.go();
    board.bed.run();
    assert!(board.memory_is_free());
}

#[test]
fn queues_that_were_never_started_are_reset_at_once() {
    let mut board = Board::new();
    board.set_up_with(&[0, 1, 2], WITH_RING_RESET);
    for queue in [1, 2] {
        board.reset_queue(queue);
        assert_eq!(board.queue_register(queue, common::QUEUE_RESET), 0);
    }
    board.enable(2);
    board.set_status(LIVE);
    board.reset_queue(0);
    board.enable(0);
    board.read(2);
    assert_eq!((board.used(2), board.status()), (1, LIVE));
}
