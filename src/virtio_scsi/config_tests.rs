use super::*;

const LIMITS: Limits =
    Limits { num_queues: 4, seg_max: 254, max_sectors: 0x1_0000, cmd_per_lun: 128, max_target: 7, max_lun: 0x3fff };

fn config() -> DeviceConfig {
    DeviceConfig::new(&LIMITS)
}

const FRESH: [u8; 36] = [
    4, 0, 0, 0, 254, 0, 0, 0, 0, 0, 1, 0, 128, 0, 0, 0, 16, 0, 0, 0, 96, 0, 0, 0, 32, 0, 0, 0, 0, 0, 7, 0, 0xff, 0x3f,
    0, 0,
];

fn read<const N: usize>(config: &DeviceConfig, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    config.read(offset, &mut bytes);
    bytes
}

#[test]
fn registers_read_at_any_offset_and_length() {
    let config = config();
    assert_eq!(read(&config, 0), FRESH);
    for offset in 0..36 {
        assert_eq!(read::<1>(&config, offset), FRESH[offset as usize..][..1]);
    }
    assert_eq!(read(&config, 19), [0, 96, 0, 0, 0, 32]);
    assert_eq!(read(&config, 30), [7, 0], "max_target");
    assert_eq!(read(&config, 34), [0, 0, 0xff, 0xff], "past the end");
    for offset in [36, 37, 0x1000, u64::MAX] {
        assert_eq!(read(&config, offset), [0xff; 8]);
    }
    assert_eq!(read(&config, 36), [0_u8; 0]);
}

#[test]
fn only_the_two_sizes_can_be_written() {
    let mut config = config();
    config.write(0, &[0xee; 20]).unwrap();
    config.write(28, &[0xee; 20]).unwrap();
    for offset in [36, 0x1000, u64::MAX] {
        config.write(offset, &[1, 2, 3, 4]).unwrap();
    }
    assert_eq!(read(&config, 0), FRESH);
    config.write(20, &[252, 0, 0, 0]).unwrap();
    config.write(24, &[16, 0, 0, 0]).unwrap();
    assert_eq!(config.framing(), Framing { cdb_size: 16, sense_size: 252 });
    assert_eq!(read(&config, 20), [252, 0, 0, 0, 16, 0, 0, 0]);
    // Any width, also across both and into what is read-only.
    config.write(20, &[18]).unwrap();
    config.write(18, &[0xee, 0xee, 0, 0, 0, 0, 64, 0, 0, 0, 0xee, 0xee]).unwrap();
    assert_eq!(config.framing(), Framing { cdb_size: 64, sense_size: 0 });
    assert_eq!((read(&config, 16), read(&config, 28)), ([16, 0, 0, 0], [0, 0]));
    config.reset();
    assert_eq!(read(&config, 0), FRESH);
}

#[test]
fn sizes_that_cannot_be_served_change_nothing() {
    let mut config = config();
    for (offset, data, error) in [
        (20, &[253, 0, 0, 0][..], ConfigError::SenseSize(253)),
        (23, &[1], ConfigError::SenseSize(0x0100_0060)),
        (24, &[5, 0, 0, 0], ConfigError::CdbSize(5)),
        (24, &[0, 0, 0, 0], ConfigError::CdbSize(0)),
        (24, &[65, 0, 0, 0], ConfigError::CdbSize(65)),
        (20, &[1, 0, 0, 0, 1, 0, 0, 0], ConfigError::CdbSize(1)),
    ] {
        assert_eq!(config.write(offset, data), Err(error));
        assert_eq!(read(&config, 0), FRESH);
    }
}

#[test]
fn limits_follow_what_is_behind_the_device_and_the_driver_keeps_its_sizes() {
    let mut config = config();
    config.write(20, &[18, 0, 0, 0]).unwrap();
    assert!(!config.set_limits(&LIMITS));
    assert!(config.set_limits(&Limits { max_target: 0x0102, ..LIMITS }));
    assert_eq!(read(&config, 28), [0, 0, 2, 1, 0xff, 0x3f, 0, 0]);
    assert_eq!(config.framing(), Framing { cdb_size: 32, sense_size: 18 });
    config.reset();
    assert_eq!(read(&config, 30), [2, 1]);
}
