//! What was acknowledged as stable is there after the target is killed.

mod common;

use annulus_bench::guest::cdb::{self, Direction, Width};
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::Command;
use common::io::{LUN, good, pattern, settle};
use common::{Target, directory, image};

const LEN: u64 = 4 << 20;

fn write_fua(lba: u64, data: Vec<u8>) -> Command {
    let blocks = (data.len() / 512) as u32;
    Command::data_out(LUN, cdb::transfer(Direction::Write, Width::Sixteen, lba, blocks, cdb::FUA), data)
}

#[test]
fn a_forced_write_survives_sigkill() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", LEN);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for index in 0..32 {
        good(&mut guest, &write_fua(index * 8, pattern(index, 4096)));
    }
    // More of them are under way when it dies.
    for index in 32..64 {
        let command = write_fua(index * 8, pattern(index, 4096)).with_id(index);
        guest.submit(0, &command, &Shape::default()).unwrap();
    }
    let mut acknowledged: Vec<u64> = (0..32).collect();
    acknowledged.push(guest.wait(0).unwrap().id);
    target.kill();
    while let Ok(Some(completion)) = guest.poll(0) {
        acknowledged.push(completion.id);
    }
    let file = std::fs::read(path).unwrap();
    for index in acknowledged {
        assert!(file[index as usize * 4096..][..4096] == pattern(index, 4096), "write {index} is lost");
    }
}

#[test]
fn writes_before_a_flush_survive_sigkill() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", LEN);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for index in 0..64 {
        let write = Command::write(LUN, index * 8, 512, pattern(index, 4096));
        guest.submit(0, &write, &Shape::default()).unwrap();
        if index % 16 == 15 {
            (0..16).for_each(|_| {
                guest.wait(0).unwrap().response.good().unwrap();
            });
        }
    }
    good(&mut guest, &Command::new(LUN, cdb::synchronize_cache_16(0, 0)));
    target.kill();
    let file = std::fs::read(path).unwrap();
    for index in 0..64 {
        assert!(file[index as usize * 4096..][..4096] == pattern(index, 4096), "write {index} is lost");
    }
}

#[test]
fn the_next_target_finds_what_the_last_one_wrote() {
    let dir = directory();
    image(dir.path(), "disk.img", LEN);
    let mut identities = Vec::new();
    for round in 0..3u64 {
        let target = Target::start_in(dir.clone(), &["--disk", "disk.img"]);
        let mut guest = target.guest();
        settle(&mut guest, LUN);
        for before in 0..round {
            let read = good(&mut guest, &Command::read(LUN, before, 1, 512));
            assert!(read.data == pattern(before, 512));
        }
        good(&mut guest, &Command::write(LUN, round, 512, pattern(round, 512)));
        identities.push(good(&mut guest, &Command::data_in(LUN, cdb::inquiry(Some(0x83), 255), 255)).data);
        if round == 1 {
            // Its socket stays behind and is replaced.
            target.kill();
            assert!(target.path(common::SOCKET).exists());
        } else {
            target.stop();
        }
    }
    assert!(identities.windows(2).all(|pair| pair[0] == pair[1]), "the identity changes");
}
