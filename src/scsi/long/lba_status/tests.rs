use bdev::{Discard, Info, Provision};

use super::*;
use crate::scsi::long::testing::Rig;
use crate::scsi::spec::{Asc, SenseKey};
use crate::scsi::testing::info;

fn cdb(lba: u64, allocation_length: u32) -> Vec<u8> {
    [&[0x9e, 0x12][..], &lba.to_be_bytes(), &allocation_length.to_be_bytes(), &[0, 0]].concat()
}

fn thin() -> Info {
    Info { discard: Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true }), ..info() }
}

/// Parameter data with these descriptors.
fn data(descriptors: &[(u64, u32, u8)]) -> Vec<u8> {
    let len = 4 + 16 * descriptors.len() as u32;
    let mut data = [len.to_be_bytes(), [0; 4]].concat();
    for (lba, blocks, status) in descriptors {
        data.extend([&lba.to_be_bytes()[..], &blocks.to_be_bytes(), &[*status, 0, 0, 0]].concat());
    }
    data
}

#[test]
fn tells_holes_from_blocks_with_space() {
    let mut rig = Rig::new(&thin());
    rig.holes[8..16].fill(true);
    rig.holes[900..].fill(true);
    assert_eq!(rig.good(&cdb(0, 4096), &[]), data(&[(0, 8, 0), (8, 8, 1), (16, 884, 0), (900, 100, 1)]));
    assert_eq!(rig.good(&cdb(10, 4096), &[]), data(&[(10, 6, 1), (16, 884, 0), (900, 100, 1)]));
    assert_eq!(rig.good(&cdb(999, 4096), &[]), data(&[(999, 1, 1)]));
    assert_eq!(rig.done()[1], (OpKind::Extents, 10, 990));
}

#[test]
fn the_allocation_length_cuts_the_answer() {
    let mut rig = Rig::new(&thin());
    rig.holes[..8].fill(true);
    let whole = data(&[(0, 8, 1), (8, 992, 0)]);
    for len in [0, 3, 8, 24, 39, 40] {
        assert_eq!(rig.good(&cdb(0, len as u32), &[]), whole[..len]);
    }
}

#[test]
fn a_block_with_some_space_has_space() {
    let status =
        LbaStatus { block_size: 4096, first: 1, end: 100, allocation_length: 4096, must_ask: false, has_asked: true };
    let (mapped, hole, anchored) = (Provision::Mapped, Provision::Deallocated, Provision::Anchored);
    let extent = |from: u64, to: u64, provision| Extent { offset: from * 512, len: (to - from) * 512, provision };
    let report = |extents: &[Extent]| {
        let mut memory: Vec<u8> = extents.iter().flat_map(|extent| extent.to_bytes()).collect();
        memory.resize(EXTENTS * Extent::LEN, 0);
        status.report(&memory).0
    };
    // Block 2 ends in space, block 4 begins with it; only block 3 is a hole.
    let extents = [extent(8, 17, mapped), extent(17, 33, hole), extent(33, 800, mapped)];
    assert_eq!(report(&extents), [(1, 3, 0), (3, 4, 1), (4, 100, 0)]);
    // A hole that is no whole block, and a list that ends early.
    assert_eq!(report(&[extent(8, 9, mapped), extent(9, 20, hole)]), [(1, 2, 0)]);
    assert_eq!(report(&[extent(8, 64, hole), extent(64, 128, hole)]), [(1, 16, 1)]);
    // Space that is set aside beside a hole, within block 2; only blocks 3 and 4 are anchored as a whole.
    assert_eq!(report(&[extent(8, 17, hole), extent(17, 40, anchored)]), [(1, 2, 1), (2, 3, 0), (3, 5, 2)]);
    assert_eq!(report(&[]), []);
}

#[test]
fn more_blocks_than_a_descriptor_counts() {
    let mut rig = Rig::new(&Info { blocks: 1 << 33, ..info() });
    let most = u32::MAX;
    let expected = [(0, most, 0), (most.into(), most, 0), (2 * u64::from(most), 2, 0)];
    assert_eq!(rig.good(&cdb(0, 4096), &[]), data(&expected));
    let mut rig = Rig::new(&Info { blocks: 1 << 54, ..info() });
    assert_eq!(rig.good(&cdb(0, u32::MAX), &[]).len(), 8 + 512 * 16);
}

#[test]
fn a_disk_that_gives_nothing_back_or_cannot_tell_has_space_everywhere() {
    let mut rig = Rig::plain();
    assert_eq!(rig.good(&cdb(5, 24), &[]), data(&[(5, 995, 0)]));
    assert_eq!(rig.ops, []);
    let mut rig = Rig::new(&thin());
    rig.fails = |_| Some(IoError::Unsupported);
    assert_eq!(rig.good(&cdb(5, 24), &[]), data(&[(5, 995, 0)]));
}

#[test]
fn refusals() {
    let mut rig = Rig::new(&thin());
    assert_eq!(rig.refused(&cdb(1000, 24), &[]), Sense::lba_out_of_range(1000));
    assert_eq!(rig.refused(&cdb(u64::MAX, 24), &[]), Sense::lba_out_of_range(u64::MAX));
    let mut report_type = cdb(0, 24);
    report_type[14] = 1;
    assert_eq!(rig.refused(&report_type, &[]), Sense::invalid_field(14, Some(0)));
    rig.fails = |_| Some(IoError::Medium);
    assert_eq!(rig.refused(&cdb(0, 24), &[]), Sense::new(SenseKey(3), Asc(0x1100)));
}
