//! The limits that a guest is told are those of what is behind its controller: read of the kernel, told in registers and pages,
//! and kept, on the real binary.

mod common;

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::{Command, Lun};
use common::io::{LUN, good, pattern, settle, sixteen};
use common::loops::Loop;
use common::{Target, directory, image};

/// What sysfs says of the queue of a block device.
fn queue(device: &Loop, name: &str) -> u32 {
    let path = queue_file(device, name);
    std::fs::read_to_string(&path).unwrap().trim().parse().unwrap_or_else(|_| panic!("{path} has a number"))
}

fn queue_file(device: &Loop, name: &str) -> String {
    format!("/sys/block/{}/queue/{name}", device.path().trim_start_matches("/dev/"))
}

/// MAXIMUM and OPTIMAL TRANSFER LENGTH of the Block Limits page, in blocks.
fn transfer_blocks(guest: &mut Guest, lun: Lun) -> [u32; 2] {
    let page = good(guest, &Command::data_in(lun, cdb::inquiry(Some(0xb0), 64), 64)).data;
    [8, 12].map(|at| u32::from_be_bytes(page[at..at + 4].try_into().unwrap()))
}

/// What READ (16) or WRITE (16) of a length says that is not served: key, code and qualifier, and the field that it points to.
fn refusal(guest: &mut Guest, command: &Command) -> ((u8, u8, u8), [u8; 3]) {
    let answer = guest.execute(0, command).unwrap();
    let code = answer.sense_code().expect("it is refused");
    (code, answer.sense[15..18].try_into().unwrap())
}

#[test]
fn what_the_kernel_says_of_a_device_is_what_a_guest_is_told() {
    const SOFT_KIB: u32 = 64;
    let dir = directory();
    let path = image(dir.path(), "a.img", 16 << 20);
    let Some(device) = Loop::over(&path) else { return };
    std::fs::write(queue_file(&device, "max_sectors_kb"), SOFT_KIB.to_string()).unwrap();
    let hard_blocks = 2 * queue(&device, "max_hw_sectors_kb");
    let other = Lun::new(0, 1);
    let target =
        Target::start_in(dir, &["--disk", &format!("{},lun=0", device.path()), "--disk", "mem:size=64M,lun=1"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    settle(&mut guest, other);

    let config = *guest.config();
    assert_eq!(config.max_sectors, hard_blocks, "the smaller one of two disks");
    assert_eq!(config.seg_max, queue(&device, "max_segments").clamp(32, 254));
    assert_eq!(config.cmd_per_lun, queue(&device, "nr_requests").clamp(32, 256));
    assert_eq!(transfer_blocks(&mut guest, LUN), [hard_blocks, 2 * SOFT_KIB]);
    assert_eq!(transfer_blocks(&mut guest, other), [32768, 0], "that of each disk is its own");

    // More than the kernel asks the device for at once is served, up to what it can do.
    let data = pattern(1, hard_blocks as usize * 512);
    good(&mut guest, &Command::write(LUN, 0, 512, data.clone()));
    assert!(good(&mut guest, &Command::read(LUN, 0, hard_blocks, 512)).data == data);
    // INVALID FIELD IN CDB, at TRANSFER LENGTH: SKSV, C/D, byte 10.
    let field = ((5, 0x24, 0), [0xc0, 0, 10]);
    let len = (hard_blocks as usize + 1) * 512;
    let read = sixteen(0x88, 0, 0, hard_blocks + 1);
    assert_eq!(refusal(&mut guest, &Command::data_in(LUN, read.clone(), len)), field);
    let write = sixteen(0x8a, 0, 0, hard_blocks + 1);
    assert_eq!(refusal(&mut guest, &Command::data_out(LUN, write, vec![0; len])), field);
    good(&mut guest, &Command::data_in(other, read, len));
    assert!(std::fs::read(&path).unwrap()[..data.len()] == data, "what was refused has changed nothing");
    drop(guest);
    target.stop();
}
