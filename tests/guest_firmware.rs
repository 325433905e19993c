//! What happens before Linux: the firmware boots from a disk, and machines whose memory is not shared.

mod common;
mod guest;

use std::fs::File;
use std::os::unix::fs::FileExt;

use annulus_bench::Options;
use common::io::{alive, pattern};
use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

const SECTOR_BYTES: u64 = 512;
/// What the boot sector copies: how much, from where, to where.
const DATA_SECTORS: u8 = 64;
const DATA_LBA: u64 = 8;
const COPY_LBA: u64 = 4096;

/// Copies the data through the firmware's disk services, prints the text at the data's start on the serial port and
/// powers off. If a service fails, it prints the message that it carries instead. The first byte is at 0:7C00.
#[rustfmt::skip]
const BOOT_CODE: &[(u16, &[u8])] = &[
    (0x00, &[0x31, 0xC0]),       //         xor ax, ax
    (0x02, &[0x8E, 0xD8]),       //         mov ds, ax
    (0x04, &[0x8E, 0xD0]),       //         mov ss, ax
    (0x06, &[0xBC, 0x00, 0x7C]), //         mov sp, 7C00h
    (0x09, &[0xFC]),             //         cld
    (0x0A, &[0xB4, 0x42]),       //         mov ah, 42h       extended read from the drive that dl names
    (0x0C, &[0xBE, 0x80, 0x7C]), //         mov si, 7C80h     its packet
    (0x0F, &[0xCD, 0x13]),       //         int 13h
    (0x11, &[0x72, 0x13]),       //         jc failed
    (0x13, &[0xB8, 0x00, 0x43]), //         mov ax, 4300h     extended write
    (0x16, &[0xBE, 0x90, 0x7C]), //         mov si, 7C90h     its packet
    (0x19, &[0xCD, 0x13]),       //         int 13h
    (0x1B, &[0x72, 0x09]),       //         jc failed
    (0x1D, &[0xB8, 0x00, 0x10]), //         mov ax, 1000h
    (0x20, &[0x8E, 0xD8]),       //         mov ds, ax
    (0x22, &[0x31, 0xF6]),       //         xor si, si        the text in the data, at 1000:0
    (0x24, &[0xEB, 0x03]),       //         jmp print
    (0x26, &[0xBE, 0xA0, 0x7C]), // failed: mov si, 7CA0h     the message
    (0x29, &[0xAC]),             // print:  lodsb
    (0x2A, &[0x84, 0xC0]),       //         test al, al
    (0x2C, &[0x74, 0x11]),       //         jz off
    (0x2E, &[0x88, 0xC3]),       //         mov bl, al
    (0x30, &[0xBA, 0xFD, 0x03]), //         mov dx, 3FDh      the serial port's line status
    (0x33, &[0xEC]),             // wait:   in al, dx
    (0x34, &[0xA8, 0x20]),       //         test al, 20h      is there room for a byte?
    (0x36, &[0x74, 0xFB]),       //         jz wait
    (0x38, &[0xB2, 0xF8]),       //         mov dl, F8h       3F8h: its data
    (0x3A, &[0x88, 0xD8]),       //         mov al, bl
    (0x3C, &[0xEE]),             //         out dx, al
    (0x3D, &[0xEB, 0xEA]),       //         jmp print
    (0x3F, &[0xBA, 0x04, 0x06]), // off:    mov dx, 604h      ACPI's power control
    (0x42, &[0xB8, 0x00, 0x20]), //         mov ax, 2000h
    (0x45, &[0xEF]),             //         out dx, ax
    (0x46, &[0xF4]),             // halt:   hlt
    (0x47, &[0xEB, 0xFD]),       //         jmp halt
];

fn boot_sector() -> [u8; SECTOR_BYTES as usize] {
    let mut sector = [0; SECTOR_BYTES as usize];
    let mut put = |offset: usize, bytes: &[u8]| sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    for (offset, instruction) in BOOT_CODE {
        put(usize::from(*offset), instruction);
    }
    put(0x80, &packet(DATA_LBA));
    put(0x90, &packet(COPY_LBA));
    put(0xA0, b"the firmware's disk service failed\r\nANNULUS-GUEST: exit 1\r\n\0");
    put(510, &[0x55, 0xAA]);
    sector
}

/// A disk address packet of the firmware's services: the data at 1000:0, from or to an LBA.
fn packet(lba: u64) -> [u8; 16] {
    let mut packet = [16, 0, DATA_SECTORS, 0, 0x00, 0x00, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    packet[8..].copy_from_slice(&lba.to_le_bytes());
    packet
}

#[test]
fn the_firmware_boots_from_a_disk_though_its_queue_loses_all_memory_before() {
    let lab = Lab::enter();
    let dir = directory();
    let path = image(dir.path(), "disk.img", 16 << 20);
    let mut data = pattern(1, usize::from(DATA_SECTORS) * SECTOR_BYTES as usize);
    let text = b"ANNULUS-RESULT: booted from the disk\r\nANNULUS-GUEST: exit 0\r\n\0";
    data[..text.len()].copy_from_slice(text);
    let disk = File::options().read(true).write(true).open(path).unwrap();
    disk.write_all_at(&boot_sector(), 0).unwrap();
    disk.write_all_at(&data, DATA_LBA * SECTOR_BYTES).unwrap();

    let mask = cpumask(1);
    let target = Target::serve_verbose(dir, &["--cpumask", &mask, "--socket", SOCKET, "--disk", "disk.img"]);
    let guest = lab.boot_disk(&target, "firmware", &["--socket", SOCKET]).finish();
    assert_eq!(guest.results("booted"), ["from the disk"]);
    assert!(guest.firmware().contains("virtio-scsi vendor='ANNULUS'"), "{}", guest.firmware());
    // Between its first look at the disk and the boot, all memory went away and came back.
    assert!(target.output().contains("queue waits for its memory"), "the firmware's queue never lost its memory");
    let mut copy = vec![0; data.len()];
    disk.read_exact_at(&mut copy, COPY_LBA * SECTOR_BYTES).unwrap();
    assert!(copy == data, "the firmware wrote other bytes than it had read");
    target.stop();
}

#[test]
fn a_machine_that_shares_no_memory_is_told_what_to_do_and_disturbs_nobody() {
    let lab = Lab::enter();
    let target = Target::start_two(&["--disk", "mem:size=16M"], &["--disk", "mem:size=16M"]);
    let private = ["-object", "memory-backend-ram,id=private,size=512M", "-machine", "memory-backend=private"];
    let args = [&["--socket", "a.sock", "--"], &private[..]].concat();
    let mut guest = lab.boot(&target, "private", "", &args);
    let told =
        || target.output().lines().filter(|line| line.contains("does not share") && line.contains("share=on")).count();
    target.until("word of the memory", || told() > 0);
    alive(&mut target.guest_on("b.sock", Options::default()));
    // The firmware waits for its first command, which cannot be seen.
    guest.kill();
    alive(&mut target.guest_on("a.sock", Options::default()));
    assert_eq!(told(), 1, "once is enough");
    target.stop();
}
