//! Mode pages that a guest saves: they hold for all who share the disk, and are in force at the next start, however the target ended.

mod common;

use std::sync::Arc;

use annulus_bench::guest::scsi::Command;
use annulus_bench::{Guest, Options};
use common::io::{LUN, good, settle};
use common::{Target, cpumask, directory, image};
use tempfile::TempDir;

/// Caching page with WCE 1 and 0, as MODE SENSE gives its first three bytes.
const ON: [u8; 3] = [0x88, 0x12, 0x04];
const OFF: [u8; 3] = [0x88, 0x12, 0x00];
/// Page control: values in force, those at first, those saved.
const CURRENT: u8 = 0;
const DEFAULT: u8 = 2;
const SAVED: u8 = 3;

/// Two controllers that show one disk in a file.
fn start(dir: &Arc<TempDir>, args: &[&str]) -> (Target, [Guest; 2]) {
    let mask = cpumask(1);
    let sockets = ["--disk", "disk.img", "--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(dir.clone(), &[&["--cpumask", &mask], args, &sockets[..]].concat());
    let guests = ["a.sock", "b.sock"].map(|socket| {
        let mut guest = target.guest_on(socket, Options::default());
        settle(&mut guest, LUN);
        guest
    });
    (target, guests)
}

fn sense(control: u8) -> Command {
    Command::data_in(LUN, vec![0x1a, 0x08, control << 6 | 0x08, 0, 24, 0], 24)
}

fn caching(guest: &mut Guest, control: u8) -> [u8; 3] {
    good(guest, &sense(control)).data[4..7].try_into().expect("three bytes")
}

/// MODE SELECT that turns the cache off, and saves that.
fn save_off() -> Command {
    let list = [&[0, 0, 0, 0, 0x08, 0x12][..], &[0; 18]].concat();
    Command::data_out(LUN, vec![0x15, 0x11, 0, 0, 24, 0], list)
}

#[test]
fn what_is_saved_holds_for_all_and_outlives_the_target() {
    let dir = directory();
    image(dir.path(), "disk.img", 1 << 20);
    let (target, [mut a, mut b]) = start(&dir, &[]);
    assert_eq!([CURRENT, DEFAULT, SAVED].map(|control| caching(&mut a, control)), [ON, ON, ON]);
    good(&mut a, &save_off());
    assert_eq!([CURRENT, DEFAULT, SAVED].map(|control| caching(&mut a, control)), [OFF, ON, OFF]);
    let told = b.execute(0, &Command::new(LUN, vec![0; 6])).unwrap();
    assert_eq!(told.sense_code(), Some((6, 0x2a, 1)));
    assert_eq!([CURRENT, DEFAULT, SAVED].map(|control| caching(&mut b, control)), [OFF, ON, OFF]);
    target.kill();
    drop((a, b));

    let (target, [mut a, mut b]) = start(&dir, &[]);
    assert_eq!([CURRENT, DEFAULT, SAVED].map(|control| caching(&mut a, control)), [OFF, ON, OFF]);
    assert_eq!(caching(&mut b, CURRENT), OFF);
    target.stop();
    drop((a, b));

    // A file that somebody has spoilt is not believed.
    let state = dir.path().join("state/annulus");
    let files: Vec<_> = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "unit")).collect();
    let mut image = std::fs::read(kept[0]).unwrap();
    image[19] ^= 2;
    std::fs::write(kept[0], image).unwrap();
    let (target, [mut a, _b]) = start(&dir, &[]);
    assert_eq!(caching(&mut a, CURRENT), ON);
    assert!(target.output().contains("mode pages and names that were kept in"));
    target.stop();
}

#[test]
fn without_a_place_for_them_no_page_can_be_saved() {
    let dir = directory();
    image(dir.path(), "disk.img", 1 << 20);
    let (target, [mut guest, _]) = start(&dir, &["--state-dir", "/proc/nowhere"]);
    assert_eq!(caching(&mut guest, CURRENT), [0x08, 0x12, 0x04]);
    let refused = guest.execute(0, &sense(SAVED)).unwrap();
    assert_eq!(refused.sense_code(), Some((5, 0x39, 0)));
    let refused = guest.execute(0, &save_off()).unwrap();
    assert_eq!(refused.sense_code(), Some((5, 0x24, 0)));
    assert_eq!(caching(&mut guest, CURRENT), [0x08, 0x12, 0x04]);
    target.stop();
}
