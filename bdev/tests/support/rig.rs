//! One core with one device: submits operations, runs passes as a reactor would, and keeps books.

use std::collections::HashMap;
use std::time::Duration;

use bdev::{Bdev, Channel, Io, IoConfig, IoError, Op, OpKind, SubmitError, Tag};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::arena;
use super::awkward::Layout;
use super::memory::Memory;

pub const WRITE: OpKind = OpKind::Write { fua: false };
pub const WRITE_FUA: OpKind = OpKind::Write { fua: true };

/// How long the kernel may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Rig {
    pub io: Io,
    pub channel: Box<dyn Channel>,
    /// Memory of the operations in flight, by tag.
    memory: HashMap<Tag, Memory>,
    next_tag: u64,
    now_ns: u64,
}

/// An ended operation.
pub struct Ended {
    pub tag: Tag,
    pub result: Result<(), IoError>,
    pub memory: Memory,
}

impl Rig {
    pub fn new(bdev: &dyn Bdev) -> Self {
        Self::with(bdev, IoConfig::default())
    }

    pub fn with(bdev: &dyn Bdev, config: IoConfig) -> Self {
        let mut io = match arena::registrar() {
            Some(registrar) => Io::with_registrar(config, registrar),
            None => Io::new(config),
        };
        let channel = bdev.channel(&mut io).unwrap();
        Self { io, channel, memory: HashMap::new(), next_tag: 0, now_ns: 0 }
    }

    /// Submits an operation on `memory`, which the rig keeps until it has ended.
    pub fn submit(&mut self, kind: OpKind, offset: u64, memory: Memory) -> Result<Tag, (SubmitError, Memory)> {
        let len = memory.len() as u64;
        self.submit_range(kind, offset, len, memory)
    }

    /// The same where the range is not as long as the memory.
    pub fn submit_range(
        &mut self,
        kind: OpKind,
        offset: u64,
        len: u64,
        memory: Memory,
    ) -> Result<Tag, (SubmitError, Memory)> {
        let op = Op { kind, offset, len, segments: memory.segments() };
        let tag = Tag(self.next_tag);
        match self.channel.submit(&mut self.io, &op, tag) {
            Ok(()) => {
                self.next_tag += 1;
                self.memory.insert(tag, memory);
                Ok(tag)
            }
            Err(error) => Err((error, memory)),
        }
    }

    pub fn flush(&mut self) -> Result<Tag, SubmitError> {
        self.submit(OpKind::Flush, 0, Memory::new(&Layout { skew: 0, lengths: vec![] })).map_err(|(error, _)| error)
    }

    pub fn cancel(&mut self, tag: Tag) {
        self.channel.cancel(&mut self.io, tag);
    }

    pub fn in_flight(&self) -> usize {
        self.memory.len()
    }

    /// One pass of the core. Time goes on to the next deadline.
    pub fn pass(&mut self) -> Vec<Ended> {
        self.busy_pass().1
    }

    /// A pass, and whether a timer had something to do: then a core does not sleep after it.
    fn busy_pass(&mut self) -> (bool, Vec<Ended>) {
        self.now_ns = self.channel.next_deadline_ns().unwrap_or(0).max(self.now_ns + 1);
        self.io.set_now_ns(self.now_ns);
        self.io.reap();
        let mut ended = Vec::new();
        while let Some(completion) = self.io.next_completion() {
            let memory = self.memory.remove(&completion.tag).expect("each operation ends once, with its own tag");
            memory.check_gaps();
            ended.push(Ended { tag: completion.tag, result: completion.result, memory });
        }
        let busy = self.channel.poll(&mut self.io) > 0;
        self.io.submit();
        assert_eq!(self.io.in_flight(), self.in_flight(), "the engine counts what is in flight");
        (busy, ended)
    }

    /// Passes until something ends. Sleeps as an idle core does.
    pub fn wait(&mut self) -> Vec<Ended> {
        assert!(self.in_flight() > 0, "there is nothing to wait for");
        loop {
            let (busy, ended) = self.busy_pass();
            if !ended.is_empty() {
                return ended;
            }
            if busy || self.channel.next_deadline_ns().is_some() {
                continue;
            }
            if self.io.arm() {
                let fd = self.io.bell().expect("what has no deadline ends behind the core's back");
                let timeout = Timespec::try_from(PATIENCE).unwrap();
                let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
                assert!(ready == 1, "{} operations in flight and no answer", self.in_flight());
            }
            self.io.disarm();
        }
    }

    /// Passes until nothing is in flight.
    pub fn drain(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        while self.in_flight() > 0 {
            ended.append(&mut self.wait());
        }
        assert_eq!(self.io.in_flight(), 0);
        ended
    }

    /// One operation, alone.
    pub fn run(&mut self, kind: OpKind, offset: u64, memory: Memory) -> (Result<(), IoError>, Memory) {
        let len = memory.len() as u64;
        self.run_range(kind, offset, len, memory)
    }

    /// One operation, alone, on a range that is not as long as the memory.
    pub fn run_range(&mut self, kind: OpKind, offset: u64, len: u64, memory: Memory) -> (Result<(), IoError>, Memory) {
        assert_eq!(self.in_flight(), 0);
        let Ok(_) = self.submit_range(kind, offset, len, memory) else { panic!("there is room for one") };
        let mut ended = self.drain();
        let one = ended.pop().unwrap();
        (one.result, one.memory)
    }

    /// One operation without memory, alone.
    pub fn change(&mut self, kind: OpKind, offset: u64, len: u64) -> Result<(), IoError> {
        self.run_range(kind, offset, len, Memory::aligned(0)).0
    }

    /// Writes `bytes` from memory that lies as `layout` says.
    pub fn write(&mut self, kind: OpKind, offset: u64, layout: &Layout, bytes: &[u8]) -> Result<(), IoError> {
        let mut memory = Memory::new(layout);
        memory.put(bytes);
        self.run(kind, offset, memory).0
    }

    /// Reads into memory that lies as `layout` says.
    pub fn read(&mut self, offset: u64, layout: &Layout) -> Result<Vec<u8>, IoError> {
        let (result, memory) = self.run(OpKind::Read, offset, Memory::new(layout));
        result.map(|()| memory.get())
    }

    /// Closes the channel as its owner would.
    pub fn close(mut self) {
        self.drain();
        self.channel.close(&mut self.io);
        arena::count(self.io.stats().fixed);
    }
}
