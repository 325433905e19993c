use super::super::spec::{common, feature, status};
use super::*;
use crate::dma::Gpa;

const OFFERED: u64 = feature::VERSION_1 | feature::RING_EVENT_IDX | feature::RING_INDIRECT_DESC;
const LIVE: u8 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;

fn transport(features: u64) -> Transport {
    Transport::new(TransportSpec { features, required: 0, queues: 3, queue_size_max: 128, vectors: 4 })
}

fn read<const LEN: usize>(transport: &Transport, offset: u64) -> [u8; LEN] {
    let mut data = [0xee; LEN];
    transport.read(offset, &mut data);
    data
}

fn read_u16(transport: &Transport, offset: u64) -> u16 {
    u16::from_le_bytes(read(transport, offset))
}

fn read_u32(transport: &Transport, offset: u64) -> u32 {
    u32::from_le_bytes(read(transport, offset))
}

fn device_status(transport: &Transport) -> u8 {
    read::<1>(transport, common::DEVICE_STATUS)[0]
}

fn write_status(transport: &mut Transport, value: u8) -> Option<Action> {
    transport.write(common::DEVICE_STATUS, &[value])
}

fn write_u16(transport: &mut Transport, offset: u64, value: u16) -> Option<Action> {
    transport.write(offset, &value.to_le_bytes())
}

fn accept(transport: &mut Transport, features: u64) {
    for (select, half) in [(0u32, features as u32), (1, (features >> 32) as u32)] {
        assert_eq!(transport.write(common::DRIVER_FEATURE_SELECT, &select.to_le_bytes()), None);
        assert_eq!(transport.write(common::DRIVER_FEATURE, &half.to_le_bytes()), None);
    }
}

/// A device whose driver has agreed on all features offered.
fn agreed(features: u64) -> Transport {
    let mut transport = transport(features);
    assert_eq!(write_status(&mut transport, status::ACKNOWLEDGE), None);
    assert_eq!(write_status(&mut transport, status::ACKNOWLEDGE | status::DRIVER), None);
    accept(&mut transport, features);
    assert_eq!(write_status(&mut transport, 0x0b), Some(Action::FeaturesOk));
    transport
}

fn set_up_queue(transport: &mut Transport, n: u16) -> Option<Action> {
    let base = 0x10000 * (u64::from(n) + 1);
    assert_eq!(write_u16(transport, common::QUEUE_SELECT, n), None);
    for (register, at) in [(common::QUEUE_DESC, 0), (common::QUEUE_DRIVER, 0x1000), (common::QUEUE_DEVICE, 0x2000)] {
        assert_eq!(transport.write(register, &(base + at).to_le_bytes()), None);
    }
    write_u16(transport, common::QUEUE_ENABLE, 1)
}

fn reset(transport: &mut Transport) {
    assert_eq!(write_status(transport, 0), Some(Action::Reset));
    transport.reset_done();
}

#[test]
fn registers_after_power_on_byte_for_byte() {
    let mut expected = [0; common::LEN as usize];
    expected[0x04..0x08].copy_from_slice(&0x3000_0000u32.to_le_bytes());
    expected[0x10..0x14].copy_from_slice(&[0xff, 0xff, 3, 0]);
    expected[0x18..0x1c].copy_from_slice(&[128, 0, 0xff, 0xff]);
    assert_eq!(read::<{ common::LEN as usize }>(&transport(OFFERED), 0), expected);
}

#[test]
fn a_driver_brings_the_device_to_life() {
    let mut transport = agreed(OFFERED);
    assert_eq!(write_u16(&mut transport, common::CONFIG_MSIX_VECTOR, 1), Some(Action::ConfigVector));
    assert_eq!(write_u16(&mut transport, common::QUEUE_SELECT, 2), None);
    assert_eq!(write_u16(&mut transport, common::QUEUE_SIZE, 64), None);
    assert_eq!(write_u16(&mut transport, common::QUEUE_MSIX_VECTOR, 3), None);
    assert_eq!(read_u16(&transport, common::QUEUE_NOTIFY_OFF), 2);
    assert_eq!(set_up_queue(&mut transport, 2), Some(Action::QueueEnabled(2)));
    assert!(!transport.status().is_live());
    assert_eq!(write_status(&mut transport, LIVE), Some(Action::DriverOk));
    assert!(transport.status().is_live());
    assert_eq!(transport.features(), OFFERED);
    assert_eq!(transport.config_vector(), 1);
    let (desc, avail, used) = (Gpa(0x30000), Gpa(0x31000), Gpa(0x32000));
    assert_eq!(transport.queue(2), Some(QueueConfig { size: 64, vector: 3, enabled: true, desc, avail, used }));
    assert_eq!(transport.queue(1).map(|queue| queue.enabled), Some(false));
    assert_eq!(transport.queue(3), None);
}

#[test]
fn feature_selects_above_one_read_zero() {
    let mut transport = transport(OFFERED);
    for (select, bits) in [(0u32, 0x3000_0000), (1, 1), (2, 0), (u32::MAX, 0)] {
        assert_eq!(transport.write(common::DEVICE_FEATURE_SELECT, &select.to_le_bytes()), None);
        assert_eq!(read_u32(&transport, common::DEVICE_FEATURE), bits, "select {select}");
        assert_eq!(transport.write(common::DRIVER_FEATURE_SELECT, &select.to_le_bytes()), None);
        assert_eq!(read_u32(&transport, common::DRIVER_FEATURE), 0);
    }
}

#[test]
fn unknown_features_or_a_missing_version_refuse_features_ok() {
    for features in [0, feature::RING_EVENT_IDX, OFFERED | 1, OFFERED | feature::RING_PACKED] {
        let mut transport = transport(OFFERED);
        accept(&mut transport, features);
        assert_eq!(write_status(&mut transport, 0x0b), None);
        assert_eq!(device_status(&transport), 0x03, "features {features:#x}");
        accept(&mut transport, feature::VERSION_1);
        assert_eq!(write_status(&mut transport, 0x0b), Some(Action::FeaturesOk), "the driver may try again");
    }
}

#[test]
fn a_driver_without_what_is_required_is_refused() {
    let features = OFFERED | feature::RING_PACKED;
    let spec = TransportSpec { features, required: feature::RING_PACKED, queues: 1, queue_size_max: 128, vectors: 1 };
    let mut transport = Transport::new(spec);
    accept(&mut transport, OFFERED);
    assert_eq!(write_status(&mut transport, 0x0b), None);
    assert_eq!(device_status(&transport), 0x03);
    accept(&mut transport, feature::VERSION_1 | feature::RING_PACKED);
    assert_eq!(write_status(&mut transport, 0x0b), Some(Action::FeaturesOk));
}

#[test]
fn features_above_bit_63_are_unknown_unless_zero() {
    let mut transport = transport(OFFERED);
    accept(&mut transport, OFFERED);
    assert_eq!(transport.write(common::DRIVER_FEATURE_SELECT, &2u32.to_le_bytes()), None);
    assert_eq!(transport.write(common::DRIVER_FEATURE, &[0; 4]), None);
    assert_eq!(write_status(&mut transport, 0x0b), Some(Action::FeaturesOk));
    reset(&mut transport);
    accept(&mut transport, OFFERED);
    assert_eq!(transport.write(common::DRIVER_FEATURE_SELECT, &2u32.to_le_bytes()), None);
    assert_eq!(transport.write(common::DRIVER_FEATURE, &[1, 0, 0, 0]), None);
    assert_eq!(write_status(&mut transport, 0x0b), None);
    assert_eq!(device_status(&transport), 0x03);
}

#[test]
fn features_are_frozen_once_agreed() {
    let mut transport = agreed(OFFERED);
    accept(&mut transport, 0);
    assert_eq!(transport.features(), OFFERED);
}

#[test]
fn driver_ok_needs_features_ok() {
    let mut transport = transport(OFFERED);
    assert_eq!(write_status(&mut transport, 0x07), None);
    assert_eq!(device_status(&transport), 0x03);
    accept(&mut transport, OFFERED | 1);
    assert_eq!(write_status(&mut transport, LIVE), None, "both at once, with bad features");
    assert_eq!(device_status(&transport), 0x03);
    accept(&mut transport, OFFERED);
    assert_eq!(write_status(&mut transport, LIVE), Some(Action::DriverOk));
}

#[test]
fn status_bits_only_come_and_unknown_ones_never_do() {
    let mut transport = agreed(OFFERED);
    assert_eq!(write_status(&mut transport, status::ACKNOWLEDGE), None);
    assert_eq!(device_status(&transport), 0x0b);
    assert_eq!(write_status(&mut transport, 0x70), None);
    assert_eq!(device_status(&transport), 0x0b, "needs-reset belongs to the device, the others to nobody");
    assert_eq!(write_status(&mut transport, status::FAILED), Some(Action::DriverFailed));
    assert_eq!(write_status(&mut transport, LIVE), None, "a driver that gave up has to reset first");
    assert_eq!(device_status(&transport), 0x8b);
}

#[test]
fn a_failed_device_does_not_come_to_life() {
    let mut transport = agreed(OFFERED);
    transport.status().fail();
    assert_eq!(write_status(&mut transport, LIVE), None);
    assert_eq!(device_status(&transport), 0x4b);
    reset(&mut transport);
    assert_eq!(device_status(&transport), 0);
}

#[test]
fn a_reset_reads_non_zero_until_done_and_ignores_writes() {
    let mut transport = agreed(OFFERED);
    assert_eq!(set_up_queue(&mut transport, 0), Some(Action::QueueEnabled(0)));
    assert_eq!(write_status(&mut transport, LIVE), Some(Action::DriverOk));
    assert_eq!(write_status(&mut transport, 0), Some(Action::Reset));
    assert!(transport.is_resetting());
    assert_eq!(device_status(&transport), LIVE);
    assert_eq!(write_status(&mut transport, 0), None, "one reset at a time");
    assert_eq!(write_status(&mut transport, status::FAILED), None);
    assert_eq!(write_u16(&mut transport, common::QUEUE_SELECT, 2), None);
    assert_eq!(device_status(&transport), LIVE);
    assert_eq!(read_u16(&transport, common::QUEUE_SELECT), 0);
    assert!(transport.queue(0).is_some_and(|queue| queue.enabled), "in use until the device says otherwise");
    transport.reset_done();
    let fresh = super::tests::transport(OFFERED);
    assert_eq!(read::<60>(&transport, 0), read::<60>(&fresh, 0));
    assert_eq!(transport.features(), 0);
    transport.status().fail();
    transport.reset_done();
    assert!(transport.status().needs_reset(), "without a reset in progress nothing is done");
}

#[test]
fn a_reset_of_a_device_at_zero_is_visible_too() {
    let mut transport = transport(OFFERED);
    assert_eq!(write_status(&mut transport, 0), Some(Action::Reset));
    assert_ne!(device_status(&transport), 0);
    transport.reset_done();
    assert_eq!(device_status(&transport), 0);
}

#[test]
fn queue_sizes_that_cannot_be_are_refused() {
    let mut transport = agreed(OFFERED);
    for size in [0, 3, 129, 256, 0xffff] {
        assert_eq!(write_u16(&mut transport, common::QUEUE_SIZE, size), None);
        assert_eq!(read_u16(&transport, common::QUEUE_SIZE), 128, "size {size}");
    }
    assert_eq!(write_u16(&mut transport, common::QUEUE_SIZE, 1), None);
    assert_eq!(read_u16(&transport, common::QUEUE_SIZE), 1);
}

#[test]
fn packed_rings_have_any_size_once_agreed() {
    let mut transport = agreed(OFFERED | feature::RING_PACKED);
    assert_eq!(write_u16(&mut transport, common::QUEUE_SIZE, 100), None);
    assert_eq!(set_up_queue(&mut transport, 0), Some(Action::QueueEnabled(0)));
    assert_eq!(transport.queue(0).map(|queue| queue.size), Some(100));
}

#[test]
fn an_enabled_queue_is_frozen_but_for_its_vector() {
    let mut transport = agreed(OFFERED);
    assert_eq!(set_up_queue(&mut transport, 1), Some(Action::QueueEnabled(1)));
    let before = transport.queue(1);
    assert_eq!(write_u16(&mut transport, common::QUEUE_SIZE, 2), None);
    for register in [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE] {
        assert_eq!(transport.write(register, &[0; 8]), None);
    }
    for value in [0, 1, 2] {
        assert_eq!(write_u16(&mut transport, common::QUEUE_ENABLE, value), None);
    }
    assert_eq!(transport.queue(1), before);
    assert_eq!(write_u16(&mut transport, common::QUEUE_MSIX_VECTOR, 2), Some(Action::QueueVector(1)));
    assert_eq!(transport.queue(1).map(|queue| queue.vector), Some(2));
}

#[test]
fn a_queue_select_out_of_range_shows_nothing_and_takes_nothing() {
    let mut transport = agreed(OFFERED);
    for select in [3, 0x7fff, 0xffff] {
        assert_eq!(write_u16(&mut transport, common::QUEUE_SELECT, select), None);
        assert_eq!(read_u16(&transport, common::QUEUE_SELECT), select);
        for offset in [common::QUEUE_SIZE, common::QUEUE_MSIX_VECTOR, common::QUEUE_ENABLE, common::QUEUE_RESET] {
            assert_eq!(write_u16(&mut transport, offset, 1), None);
        }
        assert_eq!(transport.write(common::QUEUE_DESC, &[0xff; 8]), None);
        assert_eq!(read_u16(&transport, common::QUEUE_MSIX_VECTOR), 0xffff);
        for offset in [common::QUEUE_SIZE, common::QUEUE_ENABLE, common::QUEUE_NOTIFY_OFF, common::QUEUE_RESET] {
            assert_eq!(read_u16(&transport, offset), 0);
        }
        assert_eq!(read::<24>(&transport, common::QUEUE_DESC), [0; 24]);
    }
    assert!((0..3).all(|n| transport.queue(n).is_some_and(|queue| !queue.enabled)));
}

#[test]
fn vectors_out_of_range_read_back_as_none() {
    let mut transport = agreed(OFFERED);
    for (vector, read_back) in [(3, 3), (4, 0xffff), (0, 0), (0xfffe, 0xffff)] {
        for register in [common::CONFIG_MSIX_VECTOR, common::QUEUE_MSIX_VECTOR] {
            let _ = write_u16(&mut transport, register, vector);
            assert_eq!(read_u16(&transport, register), read_back);
        }
    }
}

#[test]
fn a_ring_that_cannot_be_fails_the_device_once() {
    let bad = [
        (common::QUEUE_DESC, 0x10008),
        (common::QUEUE_DRIVER, 0x11001),
        (common::QUEUE_DEVICE, 0x12002),
        (common::QUEUE_DEVICE, 0x11000),
        (common::QUEUE_DESC, u64::MAX - 15),
    ];
    for (register, address) in bad {
        let mut transport = agreed(OFFERED);
        assert_eq!(set_up_queue(&mut transport, 1), Some(Action::QueueEnabled(1)));
        assert_eq!(write_u16(&mut transport, common::QUEUE_SELECT, 0), None);
        for (register, at) in [(common::QUEUE_DESC, 0x10000u64), (0x28, 0x11000), (0x30, 0x12000)] {
            assert_eq!(transport.write(register, &at.to_le_bytes()), None);
        }
        assert_eq!(transport.write(register, &address.to_le_bytes()), None);
        assert_eq!(write_u16(&mut transport, common::QUEUE_ENABLE, 1), Some(Action::NeedsReset));
        assert_eq!(write_u16(&mut transport, common::QUEUE_ENABLE, 1), None);
        assert_eq!(read_u16(&transport, common::QUEUE_ENABLE), 0);
        assert!(transport.status().needs_reset());
    }
}

#[test]
fn no_queue_is_enabled_before_features_are_agreed() {
    let mut transport = transport(OFFERED);
    assert_eq!(set_up_queue(&mut transport, 0), None);
    assert_eq!(read_u16(&transport, common::QUEUE_ENABLE), 0);
    assert_eq!(device_status(&transport), 0);
}

#[test]
fn addresses_are_written_whole_or_by_halves() {
    let mut transport = agreed(OFFERED);
    assert_eq!(transport.write(common::QUEUE_DESC, &0x1122_3344_5566_7788u64.to_le_bytes()), None);
    assert_eq!(transport.queue(0).map(|queue| queue.desc), Some(Gpa(0x1122_3344_5566_7788)));
    assert_eq!(transport.write(common::QUEUE_DESC + 4, &0xaabb_ccddu32.to_le_bytes()), None);
    assert_eq!(transport.queue(0).map(|queue| queue.desc), Some(Gpa(0xaabb_ccdd_5566_7788)));
    assert_eq!(transport.write(common::QUEUE_DESC, &0x10u32.to_le_bytes()), None);
    assert_eq!(transport.queue(0).map(|queue| queue.desc), Some(Gpa(0xaabb_ccdd_0000_0010)));
    assert_eq!(read_u32(&transport, common::QUEUE_DESC + 4), 0xaabb_ccdd);
}

#[test]
fn writes_of_a_part_or_of_several_registers_are_ignored() {
    let mut transport = agreed(OFFERED);
    let before = read::<60>(&transport, 0);
    for (offset, len) in [(0, 1), (0, 8), (0x10, 4), (0x14, 2), (0x13, 2), (0x16, 1), (0x22, 4), (0x20, 24), (0, 60)] {
        assert_eq!(transport.write(offset, &vec![1; len]), None);
        assert_eq!(read::<60>(&transport, 0), before, "{len} bytes at {offset:#x}");
    }
    for offset in [common::LEN, 0x1000, u64::MAX] {
        assert_eq!(transport.write(offset, &[1; 4]), None);
    }
    assert_eq!(transport.write(common::DEVICE_STATUS, &[]), None);
    assert_eq!(read::<60>(&transport, 0), before);
}

#[test]
fn reads_have_any_offset_and_length() {
    let transport = transport(OFFERED);
    assert_eq!(read::<3>(&transport, 0x11), [0xff, 3, 0]);
    assert_eq!(read::<4>(&transport, common::LEN - 2), [0; 4]);
    assert_eq!(read::<8>(&transport, u64::MAX - 3), [0; 8]);
    let mut huge = vec![0xee; 1 << 16];
    transport.read(0, &mut huge);
    assert_eq!(huge[0x18], 128);
    assert!(huge[0x3c..].iter().all(|byte| *byte == 0));
}

#[test]
fn read_only_registers_stay() {
    let mut transport = agreed(OFFERED);
    let before = read::<60>(&transport, 0);
    assert_eq!(transport.write(common::DEVICE_FEATURE, &[0xff; 4]), None);
    assert_eq!(write_u16(&mut transport, common::NUM_QUEUES, 9), None);
    assert_eq!(transport.write(common::CONFIG_GENERATION, &[9]), None);
    assert_eq!(write_u16(&mut transport, common::QUEUE_NOTIFY_OFF, 9), None);
    assert_eq!(write_u16(&mut transport, common::QUEUE_NOTIFY_DATA, 9), None);
    assert_eq!(read::<60>(&transport, 0), before);
}

#[test]
fn the_generation_moves_with_the_configuration() {
    let mut transport = transport(OFFERED);
    transport.config_changed();
    assert_eq!(read::<1>(&transport, common::CONFIG_GENERATION), [1]);
    reset(&mut transport);
    assert_eq!(read::<1>(&transport, common::CONFIG_GENERATION), [1], "no reader is fooled by a reset");
}

#[test]
fn single_queues_are_reset_only_if_agreed() {
    let mut transport = agreed(OFFERED);
    assert_eq!(set_up_queue(&mut transport, 0), Some(Action::QueueEnabled(0)));
    assert_eq!(write_u16(&mut transport, common::QUEUE_RESET, 1), None);
    assert_eq!(read_u16(&transport, common::QUEUE_RESET), 0);
    transport.queue_reset_done(0);
    assert!(transport.queue(0).is_some_and(|queue| queue.enabled));

    let mut transport = agreed(OFFERED | feature::RING_RESET);
    assert_eq!(write_u16(&mut transport, common::QUEUE_RESET, 1), None, "it is not enabled");
    assert_eq!(set_up_queue(&mut transport, 0), Some(Action::QueueEnabled(0)));
    assert_eq!(write_u16(&mut transport, common::QUEUE_RESET, 1), Some(Action::QueueReset(0)));
    assert_eq!(write_u16(&mut transport, common::QUEUE_RESET, 1), None);
    assert_eq!(read_u16(&transport, common::QUEUE_RESET), 1);
    transport.queue_reset_done(0);
    assert_eq!(read_u16(&transport, common::QUEUE_RESET), 0);
    assert_eq!(read_u16(&transport, common::QUEUE_ENABLE), 0);
    assert_eq!(set_up_queue(&mut transport, 0), Some(Action::QueueEnabled(0)));
}

#[test]
fn notify_data_is_the_queue_number_if_agreed() {
    let mut transport = agreed(OFFERED | feature::NOTIF_CONFIG_DATA);
    assert_eq!(write_u16(&mut transport, common::QUEUE_SELECT, 2), None);
    assert_eq!(read_u16(&transport, common::QUEUE_NOTIFY_DATA), 2);
}
