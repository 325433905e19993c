//! Byte literals for each structure. They are written for little-endian hosts, the only ones the target is built for.

use super::*;

#[test]
fn header() {
    let bytes = [0x34, 0x12, 9, 0, 0x20, 0, 0, 0, 0x31, 0, 0, 0, 22, 0, 0, 0];
    let header = Header {
        message_id: 0x1234,
        command: Command::REGION_READ,
        message_size: 32,
        flags: FLAG_TYPE_REPLY | FLAG_NO_REPLY | FLAG_ERROR,
        error: 22,
    };
    assert_eq!(header.as_bytes(), bytes);
    assert_eq!(Header::read_from_bytes(&bytes), Ok(header));
}

#[test]
fn command_numbers() {
    let commands = [
        Command::VERSION,
        Command::DMA_MAP,
        Command::DMA_UNMAP,
        Command::DEVICE_GET_INFO,
        Command::DEVICE_GET_REGION_INFO,
        Command::DEVICE_GET_REGION_IO_FDS,
        Command::DEVICE_GET_IRQ_INFO,
        Command::DEVICE_SET_IRQS,
        Command::REGION_READ,
        Command::REGION_WRITE,
        Command::DMA_READ,
        Command::DMA_WRITE,
        Command::DEVICE_RESET,
        Command::DIRTY_PAGES,
        Command::REGION_WRITE_MULTI,
        Command::DEVICE_FEATURE,
        Command::MIG_DATA_READ,
        Command::MIG_DATA_WRITE,
    ];
    assert!(commands.iter().map(|command| command.0).eq(1..=18));
}

#[test]
fn version() {
    assert_eq!(Version { major: 0x0102, minor: 1 }.as_bytes(), [2, 1, 1, 0]);
}

#[test]
fn dma_map() {
    let map = DmaMap {
        argsz: 32,
        flags: DMA_MAP_READ | DMA_MAP_WRITE,
        offset: 0x1000,
        address: 0x1_0000_0000,
        size: 0x20_0000,
    };
    #[rustfmt::skip]
    assert_eq!(map.as_bytes(), [
        32, 0, 0, 0, 3, 0, 0, 0,
        0, 0x10, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 1, 0, 0, 0,
        0, 0, 0x20, 0, 0, 0, 0, 0,
    ]);
}

#[test]
fn dma_unmap() {
    let unmap = DmaUnmap { argsz: 24, flags: DMA_UNMAP_ALL | DMA_UNMAP_GET_DIRTY_BITMAP, address: 0x1000, size: 0x100 };
    #[rustfmt::skip]
    assert_eq!(unmap.as_bytes(), [
        24, 0, 0, 0, 3, 0, 0, 0,
        0, 0x10, 0, 0, 0, 0, 0, 0,
        0, 1, 0, 0, 0, 0, 0, 0,
    ]);
}

#[test]
fn device_info() {
    let info = DeviceInfo { argsz: 16, flags: DEVICE_FLAG_RESET | DEVICE_FLAG_PCI, num_regions: 9, num_irqs: 5 };
    assert_eq!(info.as_bytes(), [16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0]);
}

#[test]
fn region_info() {
    let info =
        RegionInfo { argsz: 64, flags: REGION_FLAG_CAPS, index: 4, cap_offset: 32, size: 0x4000, offset: 0x1000 };
    #[rustfmt::skip]
    assert_eq!(info.as_bytes(), [
        64, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 32, 0, 0, 0,
        0, 0x40, 0, 0, 0, 0, 0, 0,
        0, 0x10, 0, 0, 0, 0, 0, 0,
    ]);
}

#[test]
fn sparse_mmap() {
    let cap = SparseMmapCap { id: REGION_CAP_SPARSE_MMAP, version: 1, next: 0, nr_areas: 2, reserved: 0 };
    assert_eq!(cap.as_bytes(), [1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let area = SparseMmapArea { offset: 0x3000, size: 0x1000 };
    assert_eq!(area.as_bytes(), [0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn region_io_fds() {
    let fds = RegionIoFds { argsz: 16, flags: 0, index: 4, count: 1 };
    assert_eq!(fds.as_bytes(), [16, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn irqs() {
    let info = IrqInfo { argsz: 16, flags: 1, index: 2, count: 5 };
    assert_eq!(info.as_bytes(), [16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]);
    let enable = IRQ_SET_DATA_EVENTFD | IRQ_SET_ACTION_TRIGGER;
    let set = IrqSet { argsz: 20, flags: enable, index: 2, start: 1, count: 3 };
    assert_eq!(set.as_bytes(), [20, 0, 0, 0, 0x24, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
    let others = IRQ_SET_DATA_NONE | IRQ_SET_DATA_BOOL | IRQ_SET_ACTION_MASK | IRQ_SET_ACTION_UNMASK;
    assert_eq!(others, 0x1b);
}

#[test]
fn accesses() {
    let access = RegionAccess { offset: 0x3000, region: 4, count: 2 };
    assert_eq!(access.as_bytes(), [0, 0x30, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0]);
    let write = MultiWrite { access, data: [1, 2, 0, 0, 0, 0, 0, 0] };
    #[rustfmt::skip]
    assert_eq!(write.as_bytes(), [
        0, 0x30, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0,
        1, 2, 0, 0, 0, 0, 0, 0,
    ]);
    assert_eq!(WriteMulti { wr_cnt: 200 }.as_bytes(), [200, 0, 0, 0, 0, 0, 0, 0]);
    let dma = DmaAccess { address: 0x1000, count: 512 };
    assert_eq!(dma.as_bytes(), [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn device_feature() {
    assert_eq!(DeviceFeature { argsz: 8, flags: 0x1_0001 }.as_bytes(), [8, 0, 0, 0, 1, 0, 1, 0]);
}
