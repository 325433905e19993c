//! A block device in the memory of this process, for the tests of block devices: `ublk BYTES BLOCK-SIZE` makes `/dev/ublkbN`,
//! prints its path when it can be used, and serves it until it is killed. Needs root and the module `ublk_drv` (Linux 6.5).
//!
//! Never part of a target. One queue; data moves through the character device (`UBLK_F_USER_COPY`), so that only the table of
//! requests is memory which is shared with the kernel. Numbers and layouts are those of `<linux/ublk_cmd.h>`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::mm::{MapFlags, ProtFlags, mmap};

const DEPTH: u16 = 64;
const IO_BYTES_MAX: u32 = 512 << 10;
const SECTOR: u64 = 512;

const ADD_DEV: u32 = control(0x04);
const START_DEV: u32 = control(0x06);
const SET_PARAMS: u32 = control(0x08);
const FETCH_REQ: u32 = ioctl(0x20, 16);
const COMMIT_AND_FETCH_REQ: u32 = ioctl(0x21, 16);

const F_CMD_IOCTL_ENCODE: u64 = 1 << 6;
const F_USER_COPY: u64 = 1 << 7;
const PARAM_BASIC_AND_DISCARD: u32 = 3;
const ATTR_VOLATILE_CACHE_AND_FUA: u32 = 0xC;

const OP_READ: u32 = 0;
const OP_WRITE: u32 = 1;
const OP_FLUSH: u32 = 2;
const OP_DISCARD: u32 = 3;
const OP_WRITE_ZEROES: u32 = 5;

/// Where the buffer of a request with a tag lies in the character device.
const IO_BUF_OFFSET: u64 = 0x8000_0000;
const TAG_SHIFT: u32 = 25;

/// `_IOWR('u', number, [u8; size])`.
const fn ioctl(number: u32, size: u32) -> u32 {
    3 << 30 | size << 16 | (b'u' as u32) << 8 | number
}

const fn control(number: u32) -> u32 {
    ioctl(number, 32)
}

/// What the kernel says of a request: `struct ublksrv_io_desc`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    op_flags: u32,
    sectors: u32,
    first_sector: u64,
    _addr: u64,
}

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (Some(bytes), Some(block_size @ (512 | 4096)), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(io::Error::other("usage: ublk BYTES 512|4096"));
    };
    let control = Control::open()?;
    let device = control.add()?;
    control.set_limits(device, bytes, block_size)?;
    let server = std::thread::spawn(move || {
        let error = Server::new(device, bytes).and_then(Server::serve).expect_err("it serves until the device goes");
        eprintln!("ublk: {error}");
        // What waits for the device to start would wait for ever.
        std::process::exit(1)
    });
    // Ends when the server has fetched every request that there can be, and has answered whoever looks for partitions.
    control.command(START_DEV, device, &mut [], u64::from(std::process::id()))?;
    println!("/dev/ublkb{device}");
    server.join().expect("it does not panic");
    Ok(())
}

/// The control device. Its commands wait until they are done.
struct Control {
    file: File,
    ring: std::cell::RefCell<IoUring<squeue::Entry128, cqueue::Entry>>,
}

impl Control {
    fn open() -> io::Result<Self> {
        let file = File::options().read(true).write(true).open("/dev/ublk-control")?;
        Ok(Self { file, ring: IoUring::builder().build(4)?.into() })
    }

    /// `struct ublksrv_ctrl_cmd`, with `buffer` for what goes with the command.
    fn command(&self, number: u32, device: u32, buffer: &mut [u8], data: u64) -> io::Result<()> {
        let mut command = [0; 80];
        command[..4].copy_from_slice(&device.to_ne_bytes());
        // No queue.
        command[4..6].copy_from_slice(&u16::MAX.to_ne_bytes());
        command[6..8].copy_from_slice(&(buffer.len() as u16).to_ne_bytes());
        command[8..16].copy_from_slice(&(buffer.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
        command[16..24].copy_from_slice(&data.to_ne_bytes());
        let entry = opcode::UringCmd80::new(Fd(self.file.as_raw_fd()), number).cmd(command).build();
        let mut ring = self.ring.borrow_mut();
        // SAFETY: the buffer is borrowed until the answer has come, which is waited for.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let answer = ring.completion().next().expect("one was waited for").result();
        if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(()) }
    }

    /// Adds a device and gives its number, which the kernel chooses.
    fn add(&self) -> io::Result<u32> {
        // struct ublksrv_ctrl_dev_info
        let mut info = [0; 64];
        info[..2].copy_from_slice(&1_u16.to_ne_bytes());
        info[2..4].copy_from_slice(&DEPTH.to_ne_bytes());
        info[8..12].copy_from_slice(&IO_BYTES_MAX.to_ne_bytes());
        info[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        info[24..32].copy_from_slice(&(F_CMD_IOCTL_ENCODE | F_USER_COPY).to_ne_bytes());
        self.command(ADD_DEV, u32::MAX, &mut info, 0)?;
        Ok(u32::from_ne_bytes([info[12], info[13], info[14], info[15]]))
    }

    fn set_limits(&self, device: u32, bytes: u64, block_size: u64) -> io::Result<()> {
        // struct ublk_params up to the end of struct ublk_param_discard
        let mut params = [0; 60];
        let mut put = |at: usize, value: u32| params[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        let space_sectors_max = (1 << 20) / SECTOR as u32;
        put(0, 60);
        put(4, PARAM_BASIC_AND_DISCARD);
        put(8, ATTR_VOLATILE_CACHE_AND_FUA);
        put(12, block_size.ilog2() | 12 << 8 | 12 << 16 | block_size.ilog2() << 24);
        put(16, IO_BYTES_MAX / SECTOR as u32);
        put(24, (bytes / SECTOR) as u32);
        put(28, ((bytes / SECTOR) >> 32) as u32);
        put(44, block_size as u32);
        put(48, space_sectors_max);
        put(52, space_sectors_max);
        put(56, 1);
        self.command(SET_PARAMS, device, &mut params, 0)
    }
}

/// The one queue and what it keeps.
struct Server {
    file: File,
    ring: IoUring,
    requests: *const Request,
    store: Vec<u8>,
}

impl Server {
    fn new(device: u32, bytes: u64) -> io::Result<Self> {
        let path = format!("/dev/ublkc{device}");
        let deadline = Instant::now() + Duration::from_secs(60);
        // It appears behind the back of who added it.
        while !Path::new(&path).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let file = File::options().read(true).write(true).open(path)?;
        let table_bytes = usize::from(DEPTH) * size_of::<Request>();
        // SAFETY: the kernel chooses the address; it is never unmapped.
        let table =
            unsafe { mmap(std::ptr::null_mut(), table_bytes, ProtFlags::READ, MapFlags::SHARED, file.as_fd(), 0) }?;
        Ok(Self { file, ring: IoUring::new(u32::from(DEPTH))?, requests: table.cast(), store: vec![0; bytes as usize] })
    }

    fn serve(mut self) -> io::Result<std::convert::Infallible> {
        for tag in 0..DEPTH {
            self.fetch(FETCH_REQ, tag, 0)?;
        }
        loop {
            self.ring.submit_and_wait(1)?;
            let answers: Vec<_> = self.ring.completion().map(|answer| (answer.user_data(), answer.result())).collect();
            for (tag, result) in answers {
                if result < 0 {
                    // The device goes.
                    return Err(io::Error::from_raw_os_error(-result));
                }
                let tag = tag as u16;
                let result = self.answer(tag).unwrap_or_else(|error| {
                    eprintln!("ublk: {error}");
                    -error.raw_os_error().unwrap_or(libc::EIO)
                });
                self.fetch(COMMIT_AND_FETCH_REQ, tag, result)?;
            }
        }
    }

    /// Says how a request has ended, if there was one, and asks for the next one with its tag.
    fn fetch(&mut self, number: u32, tag: u16, result: i32) -> io::Result<()> {
        // struct ublksrv_io_cmd
        let mut command = [0; 16];
        command[2..4].copy_from_slice(&tag.to_ne_bytes());
        command[4..8].copy_from_slice(&result.to_ne_bytes());
        let entry = opcode::UringCmd16::new(Fd(self.file.as_raw_fd()), number).cmd(command);
        // SAFETY: the command points to no memory.
        unsafe { self.ring.submission().push(&entry.build().user_data(tag.into())) }.map_err(io::Error::other)
    }

    /// Does what the request with this tag asks for; gives the bytes of it.
    fn answer(&mut self, tag: u16) -> io::Result<i32> {
        // SAFETY: one of `DEPTH` entries; the kernel has filled it in, and changes it when the request has ended.
        let request = unsafe { self.requests.add(usize::from(tag)).read_volatile() };
        let op = request.op_flags & 0xFF;
        if op == OP_FLUSH {
            // It has no place on the device.
            return Ok(0);
        }
        let start = (request.first_sector * SECTOR) as usize;
        let len = request.sectors as usize * SECTOR as usize;
        let buffer = IO_BUF_OFFSET + (u64::from(tag) << TAG_SHIFT);
        let range = self.store.get_mut(start..start + len).ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        match op {
            OP_READ => self.file.write_all_at(range, buffer)?,
            OP_WRITE => self.file.read_exact_at(range, buffer)?,
            OP_DISCARD | OP_WRITE_ZEROES => range.fill(0),
            _ => return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        }
        Ok(len as i32)
    }
}
