//! A host that has no space left for a disk.

mod common;

use annulus_bench::guest::scsi::Command;
use common::full::SmallFileSystem;
use common::io::{LUN, good, pattern, settle};
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
    let unmap = |lba: u64| {
        let descriptor = [&lba.to_be_bytes()[..], &BLOCKS.to_be_bytes(), &[0; 4]].concat();
        let list = [&[0, 22, 0, 16, 0, 0, 0, 0][..], &descriptor].concat();
        Command::data_out(LUN, vec![0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list)
    };
    good(&mut guest, &unmap(0));
    good(&mut guest, &Command::write(LUN, full, 512, data(full)));
    std::fs::remove_file(host.path().join("filler")).unwrap();
    for lba in (0..20).map(|piece| full + piece * u64::from(BLOCKS)) {
        good(&mut guest, &Command::write(LUN, lba, 512, data(lba)));
        assert!(good(&mut guest, &read(lba)).data == data(lba));
    }
    assert!(good(&mut guest, &read(512)).data == data(512));
    target.stop();
}
