//! A host that has no space left for a disk.

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::Command;
use common::full::SmallFileSystem;
use common::io::{LUN, good, pattern, settle, sixteen, unmap};
use common::loops::Mounted;
use common::{Target, directory, image};

const MIB: u64 = 1 << 20;
/// DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT.
const NO_SPACE: Option<(u8, u8, u8)> = Some((7, 0x27, 7));
const BLOCKS: u32 = 128;

#[test]
fn a_write_without_space_says_so_and_works_when_there_is_some() {
    let dir = directory();
    let Some(host) = SmallFileSystem::mount(&dir.path().join("small"), 4 * MIB) else { return };
    image(host.path(), "disk.img", 16 * MIB);
    host.fill("filler", 2 * MIB);
    let target = Target::start_in(dir, &["--disk", "small/disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let data = |lba: u64| pattern(lba, BLOCKS as usize * 512);
    let refused = (0..).map(|piece| piece * u64::from(BLOCKS)).find(|&lba| {
        let answer = guest.execute(0, &Command::write(LUN, lba, 512, data(lba))).unwrap();
        answer.sense_code().inspect(|_| assert_eq!(answer.sense_code(), NO_SPACE)).is_some()
    });
    let full = refused.expect("it is full at last");
    assert!(full >= 1024, "only {full} blocks found room");
    // All commands that need space say the same, and those that need none work.
    let write_same = [&[0x93, 0][..], &full.to_be_bytes(), &BLOCKS.to_be_bytes(), &[0, 0]].concat();
    let answer = guest.execute(0, &Command::data_out(LUN, write_same, pattern(7, 512))).unwrap();
    assert_eq!(answer.sense_code(), NO_SPACE);
    let read = |lba| Command::read(LUN, lba, BLOCKS, 512);
    for lba in [0, 512] {
        assert!(good(&mut guest, &read(lba)).data == data(lba), "what was written before is there");
    }
    good(&mut guest, &Command::write(LUN, 0, 512, data(1)));
    good(&mut guest, &Command::new(LUN, vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    // The guest makes room itself, with UNMAP; then somebody else does.
    good(&mut guest, &unmap(LUN, 0, BLOCKS));
    good(&mut guest, &Command::write(LUN, full, 512, data(full)));
    std::fs::remove_file(host.path().join("filler")).unwrap();
    for lba in (0..20).map(|piece| full + piece * u64::from(BLOCKS)) {
        good(&mut guest, &Command::write(LUN, lba, 512, data(lba)));
        assert!(good(&mut guest, &read(lba)).data == data(lba));
    }
    assert!(good(&mut guest, &read(512)).data == data(512));
    target.stop();
}

#[test]
fn a_limit_of_file_sizes_is_a_lack_of_space_to_the_guest_and_ends_nothing() {
    let dir = directory();
    image(dir.path(), "disk.img", 16 * MIB);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    target.limit_file_size(Some(8 * MIB));
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let limit = 8 * MIB / 512;
    let write = |lba: u64| Command::write(LUN, lba, 512, pattern(lba, BLOCKS as usize * 512));
    good(&mut guest, &write(limit - u64::from(BLOCKS)));
    // Wholly behind the limit, and across it.
    for lba in [limit, limit + 5000, limit - 8] {
        assert_eq!(guest.execute(0, &write(lba)).unwrap().sense_code(), NO_SPACE, "{lba}");
    }
    good(&mut guest, &Command::read(LUN, limit, BLOCKS, 512));
    good(&mut guest, &Command::new(LUN, vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    target.limit_file_size(None);
    for lba in [limit, limit + 5000, limit - 8] {
        good(&mut guest, &write(lba));
        let written = good(&mut guest, &Command::read(LUN, lba, BLOCKS, 512)).data;
        assert!(written == pattern(lba, BLOCKS as usize * 512), "{lba}");
    }
    target.stop();
}

/// GET LBA STATUS from a block on: where the first descriptor begins, how many blocks it is about, and their status.
fn status_at(guest: &mut Guest, lba: u64) -> (u64, u32, u8) {
    let cdb = [&[0x9e, 0x12][..], &lba.to_be_bytes(), &24_u32.to_be_bytes(), &[0, 0]].concat();
    let data = good(guest, &Command::data_in(LUN, cdb, 24)).data;
    let (lba, blocks) = (&data[8..16], &data[16..20]);
    (u64::from_be_bytes(lba.try_into().unwrap()), u32::from_be_bytes(blocks.try_into().unwrap()), data[20])
}

/// Fills what is left, to the last byte that a file may have.
fn fill_all(dir: &Path) {
    let mut filler = File::create(dir.join("filler")).unwrap();
    for len in [1 << 20, 1 << 16, 1 << 12] {
        while filler.write_all(&vec![1; len]).and_then(|()| filler.sync_data()).is_ok() {}
    }
}

#[test]
fn blocks_that_are_anchored_find_their_space_on_a_host_that_is_full() {
    const ANCHORED: u32 = 8192;
    let dir = directory();
    let Some(host) = Mounted::on(&image(dir.path(), "host.img", 64 * MIB), "ext4") else { return };
    let disk = image(host.path(), "disk.img", 256 * MIB);
    let target = Target::start_in(dir, &["--disk", disk.to_str().unwrap()]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let page = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(Some(0xb2), 8), 8)).data;
    assert_eq!(page[5] & 2, 2, "ANC_SUP");
    // WRITE SAME (16) with UNMAP, ANCHOR and NDOB; UNMAP with ANCHOR behind it.
    let half = ANCHORED / 2;
    good(&mut guest, &Command::new(LUN, sixteen(0x93, 0x19, 0, half)));
    let mut unmap = unmap(LUN, half.into(), half);
    unmap.cdb[1] = 1;
    good(&mut guest, &unmap);
    assert_eq!(status_at(&mut guest, 0), (0, ANCHORED, 2), "anchored");
    assert_eq!(status_at(&mut guest, ANCHORED.into()).2, 1, "deallocated");
    assert!(good(&mut guest, &Command::read(LUN, 0, BLOCKS, 512)).data == vec![0; BLOCKS as usize * 512]);
    // 128 MiB of 64 are too many.
    let answer = guest.execute(0, &Command::new(LUN, sixteen(0x93, 0x19, 262_144, 65535))).unwrap();
    let more = guest.execute(0, &Command::new(LUN, sixteen(0x93, 0x19, 393_216, 65535))).unwrap();
    assert!([answer.sense_code(), more.sense_code()].contains(&NO_SPACE), "{answer:?} {more:?}");
    fill_all(host.path());

    let data = |lba: u64| pattern(lba, BLOCKS as usize * 512);
    let elsewhere = Command::write(LUN, 100_000, 512, data(1));
    assert_eq!(guest.execute(0, &elsewhere).unwrap().sense_code(), NO_SPACE, "the host is full");
    let pieces = || (0..ANCHORED).step_by(BLOCKS as usize).map(u64::from);
    // Every second one first, so that what was set aside comes to pieces.
    for lba in pieces().step_by(2).chain(pieces().skip(1).step_by(2)) {
        good(&mut guest, &Command::write(LUN, lba, 512, data(lba)));
    }
    good(&mut guest, &Command::new(LUN, vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    for lba in pieces() {
        assert!(good(&mut guest, &Command::read(LUN, lba, BLOCKS, 512)).data == data(lba), "{lba}");
    }
    assert_eq!(status_at(&mut guest, 0), (0, ANCHORED, 0), "mapped");
    drop(guest);
    target.stop();
}
