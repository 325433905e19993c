//! Disks of every kind and with every wrapper, made and served by the real binary.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command as Process, Output};

use annulus_bench::guest::scsi::{Command, Lun};
use common::io::{LUN, alive, good, pattern, settle, unmap};
use common::{Target, directory, image};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

const MIB: u64 = 1 << 20;
/// UNRECOVERED READ ERROR and WRITE ERROR, as key, code and qualifier.
const READ_ERROR: (u8, u8, u8) = (3, 0x11, 0);
const WRITE_ERROR: (u8, u8, u8) = (3, 0x0C, 0);

fn create(dir: &Path, words: &str) -> Output {
    let mut annulus = Process::new(env!("CARGO_BIN_EXE_annulus"));
    annulus.args(["disk", "create"]).args(words.split_whitespace()).current_dir(dir).output().unwrap()
}

#[test]
fn a_disk_is_made_and_served_as_it_is_told() {
    let dir = directory();
    let made = create(dir.path(), "disk.img --size 8M --preallocate falloc --block-size 4096");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(made.stdout, b"made disk.img; serve it with --disk disk.img,block-size=4096\n");
    let again = create(dir.path(), "disk.img --size 8M");
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!((again.status.code(), said.lines().count()), (Some(1), 1));
    assert!(said.starts_with("annulus: disk.img: is there already") && said.contains("--force"), "{said}");
    let odd = create(dir.path(), "odd.img --size 1000");
    assert_eq!(odd.status.code(), Some(1));
    assert!(String::from_utf8(odd.stderr).unwrap().contains("Try 1024"));
    let typo = create(dir.path(), "typo.img --sise 1000");
    assert_eq!(typo.status.code(), Some(2));
    assert!(String::from_utf8(typo.stderr).unwrap().contains("annulus disk create --help"));

    let target = Target::start_in(dir, &["--disk", "disk.img,block-size=4096"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let data = pattern(1, 4096);
    good(&mut guest, &Command::write(LUN, 3, 4096, data.clone()));
    assert!(std::fs::read(target.path("disk.img")).unwrap()[3 * 4096..][..4096] == data);
    let served = create(target.directory().path(), "disk.img --size 1M --force");
    assert!(String::from_utf8(served.stderr).unwrap().contains("is being served"));
}

#[test]
fn threads_serve_where_io_uring_is_forbidden() {
    let rules: BTreeMap<_, _> = [(libc::SYS_io_uring_setup, vec![])].into_iter().collect();
    let errno = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // For this thread and what it starts: the target.
    seccompiler::apply_filter(&program).unwrap();
    let dir = directory();
    image(dir.path(), "disk.img", MIB);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let said = target.output();
    assert!(said.contains("disk.img, threads, ") && said.contains("WARN") && said.contains("seccomp"), "{said}");
    alive(&mut target.guest());
}

#[test]
fn threads_serve_who_asks_for_them() {
    let dir = directory();
    image(dir.path(), "disk.img", MIB);
    let target = Target::start_in(dir, &["--disk", "threads:disk.img"]);
    assert!(target.output().contains("disk.img, threads, "));
    let mut guest = target.guest();
    alive(&mut guest);
    let data = pattern(9, 65536);
    for lba in (0..1024).step_by(128) {
        good(&mut guest, &Command::write(LUN, lba, 512, data.clone()));
        assert!(good(&mut guest, &Command::read(LUN, lba, 128, 512)).data == data);
    }
}

#[test]
fn parts_of_one_file_are_disks_of_their_own() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", 2 * MIB);
    let target = Target::start_in(dir, &["--disk", "disk.img,split=0+1M", "--disk", "disk.img,split=1M+1M"]);
    let mut guest = target.guest();
    for number in 0..2 {
        let lun = Lun::new(number, 0);
        settle(&mut guest, lun);
        good(&mut guest, &Command::write(lun, 0, 512, pattern(u64::from(number), 512)));
        let past = guest.execute(0, &Command::read(lun, MIB / 512, 1, 512)).unwrap();
        assert_eq!(past.sense_code(), Some((5, 0x21, 0)), "nothing of the other part can be read");
    }
    let file = std::fs::read(path).unwrap();
    assert!(file[..512] == pattern(0, 512) && file[MIB as usize..][..512] == pattern(1, 512));
}

#[test]
fn a_sick_disk_fails_where_it_is_told_and_its_neighbour_is_well() {
    let disks = ["--disk", "mem:size=1M,error=medium@64K-128K", "--disk", "mem:size=1M"];
    let target = Target::start(&disks);
    let mut guest = target.guest();
    let (sick, well) = (Lun::new(0, 0), Lun::new(1, 0));
    settle(&mut guest, sick);
    settle(&mut guest, well);
    let mut sense = |lun, lba: u64| {
        let write = guest.execute(0, &Command::write(lun, lba, 512, pattern(lba, 1024))).unwrap().sense_code();
        (write, guest.execute(0, &Command::read(lun, lba, 2, 512)).unwrap().sense_code())
    };
    for lba in [127, 128, 255] {
        assert_eq!(sense(sick, lba), (Some(WRITE_ERROR), Some(READ_ERROR)), "{lba}");
    }
    for lba in [126, 256] {
        assert_eq!(sense(sick, lba), (None, None), "{lba}");
    }
    assert_eq!(sense(well, 128), (None, None));
}

#[test]
fn a_read_of_many_blocks_tells_which_one_is_bad() {
    for disk in ["mem:size=1M,error=medium@64K-128K", "path=disk.img,error=medium@64K-128K"] {
        let dir = directory();
        image(dir.path(), "disk.img", MIB);
        let target = Target::start_in(dir, &["--disk", disk]);
        let (mut guest, lun) = (target.guest(), Lun::new(0, 0));
        settle(&mut guest, lun);
        // READ by the short way and by the long one, and VERIFY.
        for (byte_1, opcode) in [(0, 0x28), (8, 0x28), (0, 0x2f)] {
            for (lba, blocks, bad) in [(0, 200_u8, 128), (100, 100, 128), (127, 3, 128), (130, 9, 130), (250, 20, 250)]
            {
                let command = Command::data_in(
                    lun,
                    vec![opcode, byte_1, 0, 0, 0, lba, 0, 0, blocks, 0],
                    usize::from(blocks) * 512,
                );
                let answer = guest.execute(0, &command).unwrap();
                assert_eq!(answer.sense_code(), Some(READ_ERROR));
                assert_eq!(answer.sense[..7], [0xf0, 0, 3, 0, 0, 0, bad], "{blocks} blocks at {lba} of {disk}");
            }
        }
        let fine = guest.execute(0, &Command::read(lun, 0, 128, 512)).unwrap();
        assert!(fine.is_good());
        target.stop();
    }
}

/// What GET LBA STATUS says of the blocks from `lba` on: first block, number, provisioning status.
fn lba_status(lun: Lun, lba: u64) -> Command {
    let mut cdb = vec![0; 16];
    (cdb[0], cdb[1], cdb[13]) = (0x9E, 0x12, 255);
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    Command::data_in(lun, cdb, 255)
}

fn statuses(data: &[u8]) -> Vec<(u64, u32, u8)> {
    let len = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize + 4;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let descriptors = data[8..len].chunks_exact(16);
    descriptors.map(|one| (number(&one[..8]), number(&one[8..12]) as u32, one[12] & 0xF)).collect()
}

#[test]
fn a_guest_gives_space_back_and_sees_where_it_has_some() {
    let dir = directory();
    for (kind, part) in [("uring", 0), ("threads", 0), ("uring", MIB), ("threads", MIB)] {
        let path = image(dir.path(), &format!("{kind}{part}.img"), 2 * MIB);
        std::fs::write(&path, pattern(7, 2 * MIB as usize)).unwrap();
        let disk = format!("{kind}:{kind}{part}.img,split={part}+1M");
        let target = Target::start_in(dir.clone(), &["--disk", &disk]);
        let mut guest = target.guest();
        settle(&mut guest, LUN);
        good(&mut guest, &unmap(LUN, 256, 512));
        assert!(good(&mut guest, &Command::read(LUN, 256, 512, 512)).data == vec![0; 256 << 10], "{disk}");
        let told = statuses(&good(&mut guest, &lba_status(LUN, 8)).data);
        assert_eq!(told, [(8, 248, 0), (256, 512, 1), (768, 1280, 0)], "{disk}");
        let file = std::fs::read(&path).unwrap();
        let hole = part as usize + (128 << 10)..part as usize + (384 << 10);
        let old = pattern(7, file.len());
        let is_right = |at: usize| file[at] == if hole.contains(&at) { 0 } else { old[at] };
        assert!((0..file.len()).all(is_right), "{disk}: only what was given back has changed");
    }
}
