use proptest::prelude::*;

use super::super::eventfd::testing::{count, eventfd};
use super::*;

const FIELDS: WindowFields = WindowFields { bar: 4, offset: 8, len: 12, data: 16 };
/// Where the capabilities of [`function`] come to lie.
const POWER: u64 = 0x40;
const MSIX: u64 = 0x48;
const WINDOW: u64 = 0x54;

fn window_capability() -> Capability {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&[9, 0, 20, 5]);
    let mut writable = [0; 20];
    writable[4] = 0xff;
    writable[8..].fill(0xff);
    Capability::window(&bytes, &writable, FIELDS)
}

fn function_with(no_soft_reset: bool) -> Function {
    let layout = MsixLayout::new(4);
    let mut bars = [None; spec::BAR_COUNT];
    bars[1] = Some(Bar { len: layout.bar_len().into(), wide: false, prefetchable: false });
    bars[4] = Some(Bar { len: 0x4000, wide: true, prefetchable: true });
    let capabilities =
        vec![Capability::power_management(no_soft_reset), Capability::msix(layout, 1), window_capability()];
    Function::new(&FunctionSpec {
        id: (0x1af4, 0x1048),
        subsystem: (0x1af4, 0x0008),
        revision: 1,
        class: (spec::CLASS_STORAGE, spec::SUBCLASS_SCSI, 0),
        bars,
        capabilities,
    })
}

fn function() -> Function {
    function_with(true)
}

fn read<const LEN: usize>(function: &Function, offset: u64) -> [u8; LEN] {
    let mut data = [0xee; LEN];
    function.read(offset, &mut data);
    data
}

fn write_u16(function: &mut Function, offset: usize, value: u16) -> Effects {
    function.write(offset as u64, &value.to_le_bytes())
}

fn write_u32(function: &mut Function, offset: u64, value: u32) -> Effects {
    function.write(offset, &value.to_le_bytes())
}

#[test]
fn the_header_byte_for_byte() {
    #[rustfmt::skip]
    let expected = [
        0xf4, 0x1a, 0x48, 0x10, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf4, 0x1a, 0x08, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
        0x01, 0x48, 0x03, 0x00, 0x08, 0x00, 0x00, 0x00, 0x11, 0x54, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x01, 0x10, 0x00, 0x00, 0x09, 0x00, 0x14, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
    assert_eq!(read::<0x60>(&function(), 0), expected);
}

#[test]
fn bars_are_sized_with_all_ones_and_take_addresses() {
    let mut function = function();
    assert_eq!(function.write(0x10, &[0xff; 24]), Effects::empty());
    let sizes: Vec<u32> = (0..6).map(|bar| u32::from_le_bytes(read(&function, 0x10 + 4 * bar))).collect();
    assert_eq!(sizes, [0, 0xffff_e000, 0, 0, 0xffff_c00c, 0xffff_ffff]);
    write_u32(&mut function, 0x20, 0x1234_5678);
    write_u32(&mut function, 0x24, 0x9abc_def0);
    assert_eq!(read(&function, 0x20), 0x9abc_def0_1234_400cu64.to_le_bytes());
    write_u32(&mut function, 0x20, 0);
    assert_eq!(read(&function, 0x20), 0xcu32.to_le_bytes());
    write_u32(&mut function, 0x30, 0xffff_ffff);
    assert_eq!(read(&function, 0x30), [0; 4], "there is no expansion ROM");
    assert_eq!(
        (function.bar_len(1), function.bar_len(4), function.bar_len(5), function.bar_len(9)),
        (0x2000, 0x4000, 0, 0)
    );
}

#[test]
fn the_command_register_yields_what_changed() {
    let mut function = function();
    assert_eq!(write_u16(&mut function, spec::COMMAND, 0x0006), Effects::BUS_MASTER | Effects::MEMORY_SPACE);
    assert!(function.may_master() && function.memory_enabled());
    assert_eq!(write_u16(&mut function, spec::COMMAND, 0x0406), Effects::INTX_DISABLE);
    assert_eq!(write_u16(&mut function, spec::COMMAND, 0x0406), Effects::empty());
    assert_eq!(write_u16(&mut function, spec::COMMAND, 0xffff), Effects::empty());
    assert_eq!(read(&function, 4), 0x0546u16.to_le_bytes());
    assert_eq!(function.write(4, &[0]), Effects::BUS_MASTER | Effects::MEMORY_SPACE);
    assert!(!function.may_master());
}

#[test]
fn a_wide_write_over_many_registers_has_all_its_effects() {
    let mut function = function();
    let effects = function.write(0, &[0xff; 4096]);
    let expected = Effects::BUS_MASTER
        | Effects::MEMORY_SPACE
        | Effects::INTX_DISABLE
        | Effects::MSIX
        | Effects::POWER_STATE
        | Effects::WINDOW_DATA;
    assert_eq!(effects, expected - Effects::BUS_MASTER - Effects::MEMORY_SPACE, "in D3hot there is neither");
    assert_eq!(read(&function, 0), [0xf4, 0x1a, 0x48, 0x10]);
    assert_eq!(read(&function, 0x34), [0x40]);
    assert_eq!(read(&function, 0x100), [0]);
}

#[test]
fn accesses_outside_and_unaligned_are_harmless() {
    let mut function = function();
    assert_eq!(read::<4>(&function, 0x1000), [0xff; 4]);
    assert_eq!(read::<4>(&function, 0xffe), [0, 0, 0xff, 0xff]);
    assert_eq!(read::<4>(&function, u64::MAX - 1), [0xff; 4]);
    assert_eq!(read::<3>(&function, 1), [0x1a, 0x48, 0x10]);
    for offset in [0x100, 0xfff, 0x1000, u64::MAX] {
        assert_eq!(function.write(offset, &[0xff; 8]), Effects::empty());
    }
    let mut huge = vec![0xee; 1 << 20];
    function.read(0, &mut huge);
    assert_eq!((huge[0xfff], huge[0x1000]), (0, 0xff));
    assert_eq!(read::<0x60>(&function, 0), read::<0x60>(&function_with(true), 0));
}

#[test]
fn msix_enable_and_function_mask_reach_the_interrupts() {
    let mut function = function();
    let (fd, twin) = eventfd();
    write_u16(&mut function, spec::COMMAND, 0x0004);
    assert!(!function.interrupts().uses_msix());
    assert_eq!(write_u16(&mut function, MSIX as usize + 2, 0xffff), Effects::MSIX);
    assert_eq!(read(&function, MSIX + 2), 0xc003u16.to_le_bytes());
    assert!(function.interrupts().uses_msix());
    assert_eq!(function.interrupts().attach(3, Some(fd)), Ok(()));
    assert!(!function.interrupts().signal(3));
    assert_eq!(write_u16(&mut function, MSIX as usize + 2, spec::MSIX_ENABLE), Effects::MSIX);
    assert_eq!(count(&twin), 1);
    assert_eq!(write_u16(&mut function, spec::COMMAND, 0), Effects::BUS_MASTER);
    assert!(!function.interrupts().signal(3));
    assert_eq!(count(&twin), 0);
}

#[test]
fn the_interrupt_status_bit_shows_the_line_even_if_disabled() {
    let mut function = function();
    let (fd, twin) = eventfd();
    assert_eq!(function.interrupts().attach_intx(Some(fd)), Ok(()));
    write_u16(&mut function, spec::COMMAND, spec::COMMAND_INTX_DISABLE);
    function.interrupts().assert_intx();
    assert_eq!(read(&function, 6), [0x18]);
    assert_eq!(read(&function, 4), [0x00, 0x04, 0x18, 0x00]);
    assert_eq!(count(&twin), 0);
    write_u16(&mut function, spec::COMMAND, 0);
    assert_eq!(count(&twin), 1);
    function.interrupts().deassert_intx();
    assert_eq!(read(&function, 6), [0x10]);
}

#[test]
fn d3hot_takes_mastering_memory_and_interrupts_and_d0_gives_them_back() {
    let mut function = function();
    write_u16(&mut function, spec::COMMAND, 0x0006);
    let change = Effects::POWER_STATE | Effects::BUS_MASTER | Effects::MEMORY_SPACE;
    assert_eq!(write_u16(&mut function, POWER as usize + 4, 3), change);
    assert!(!function.is_powered() && !function.may_master() && !function.memory_enabled());
    assert_eq!(write_u16(&mut function, POWER as usize + 4, 0), change);
    assert!(function.may_master());
    assert_eq!(read(&function, POWER + 4), [0x08, 0]);
}

#[test]
fn power_states_that_do_not_exist_change_nothing() {
    let mut function = function();
    for (state, kept) in [(1, 0), (2, 0), (3, 3), (1, 3), (2, 3)] {
        write_u16(&mut function, POWER as usize + 4, state);
        assert_eq!(read(&function, POWER + 4), [0x08 | kept], "after writing {state}");
    }
}

#[test]
fn without_no_soft_reset_d0_is_a_reset() {
    let mut function = function_with(false);
    write_u16(&mut function, spec::COMMAND, 0x0006);
    write_u16(&mut function, MSIX as usize + 2, spec::MSIX_ENABLE);
    write_u32(&mut function, 0x14, 0xfe00_0000);
    write_u16(&mut function, POWER as usize + 4, 3);
    let effects = write_u16(&mut function, POWER as usize + 4, 0);
    assert_eq!(effects, Effects::POWER_STATE | Effects::SOFT_RESET | Effects::MSIX);
    assert_eq!(read::<0x60>(&function, 0), read::<0x60>(&function_with(false), 0));
    assert!(!function.interrupts().uses_msix());
}

#[test]
fn a_reset_restores_every_register() {
    let mut function = function();
    function.write(0, &[0xff; 256]);
    function.interrupts().assert_intx();
    function.reset();
    assert_eq!(read::<256>(&function, 0), read::<256>(&function_with(true), 0));
    assert!(!function.interrupts().uses_msix());
}

#[test]
fn the_window_reads_and_writes_where_it_points() {
    let mut function = function();
    assert_eq!(function.window(), None, "length 0 after reset");
    function.write(WINDOW + 4, &[4]);
    write_u32(&mut function, WINDOW + 8, 0x14);
    assert_eq!(write_u32(&mut function, WINDOW + 12, 1), Effects::empty());
    let access = WindowAccess { bar: 4, offset: 0x14, len: 1 };
    assert_eq!(function.window(), Some(access));
    assert_eq!(write_u32(&mut function, WINDOW + 16, 0x0403_0201), Effects::WINDOW_DATA);
    assert_eq!(function.window_data(), [1, 2, 3, 4]);
    assert_eq!(function.window_for_read(WINDOW + 16, 4), Some(access));
    assert_eq!(function.window_for_read(WINDOW + 12, 4), None);
    assert_eq!(function.window_for_read(0, 256), Some(access));
    function.set_window_data(&[0x5a]);
    assert_eq!(read(&function, WINDOW + 16), [0x5a, 2, 3, 4]);
    function.set_window_data(&[9; 100]);
    assert_eq!(read(&function, WINDOW + 15), [0, 9, 9, 9, 9, 0]);
}

#[test]
fn a_window_that_points_nowhere_is_none() {
    let mut function = function();
    let cases = [
        (4, 0, 0),
        (4, 0, 3),
        (4, 0, 8),
        (4, 0, u32::MAX),
        (4, 2, 4),
        (4, 0x4000, 4),
        (4, u32::MAX, 1),
        (5, 0, 4),
        (0, 0, 4),
        (6, 0, 4),
        (255, 0, 4),
    ];
    for (bar, offset, len) in cases {
        function.write(WINDOW + 4, &[bar]);
        write_u32(&mut function, WINDOW + 8, offset);
        write_u32(&mut function, WINDOW + 12, len);
        assert_eq!(function.window(), None, "bar {bar} offset {offset:#x} len {len}");
        assert_eq!(function.window_for_read(WINDOW + 16, 4), None);
    }
    function.write(WINDOW + 4, &[4]);
    write_u32(&mut function, WINDOW + 8, 0x3ffc);
    write_u32(&mut function, WINDOW + 12, 4);
    assert_eq!(function.window(), Some(WindowAccess { bar: 4, offset: 0x3ffc, len: 4 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whatever is written anywhere, what is read-only stays, effects tell the truth, and the window stays inside.
    #[test]
    fn any_access_is_harmless(
        no_soft_reset: bool,
        accesses in prop::collection::vec(
            (prop_oneof![9 => 0u64..0x110, 1 => any::<u64>()], prop::collection::vec(any::<u8>(), 0..40)), 1..60),
    ) {
        let mut function = function_with(no_soft_reset);
        for (offset, data) in accesses {
            let before = (function.may_master(), function.memory_enabled(), function.is_powered());
            let effects = function.write(offset, &data);
            prop_assert_eq!(effects.contains(Effects::BUS_MASTER), before.0 != function.may_master());
            prop_assert_eq!(effects.contains(Effects::MEMORY_SPACE), before.1 != function.memory_enabled());
            prop_assert_eq!(effects.contains(Effects::POWER_STATE), before.2 != function.is_powered());
            let mut copy = vec![0; data.len()];
            function.read(offset, &mut copy);
            prop_assert_eq!(read::<4>(&function, 0), [0xf4, 0x1a, 0x48, 0x10]);
            prop_assert_eq!(read::<2>(&function, MSIX), [0x11, 0x54]);
            if let Some(access) = function.window_for_read(offset, data.len()) {
                prop_assert!(access.offset + access.len as u64 <= function.bar_len(access.bar));
            }
        }
    }
}
