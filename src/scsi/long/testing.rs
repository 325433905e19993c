//! A small disk in memory on which the tests of this room run commands from their first byte to their last.

use std::sync::Arc;

use bdev::{Extent, Info, IoError, OpKind, Provision};

use crate::scsi::testing::{disk, info};
use crate::scsi::{
    Background, BlockOp, Command, Condition, DataBuffer, DataDirection, Demand, Designator, Desk, Found, LogicalUnit,
    LongStep, LongTask, Neighbour, Neighbours, OpMemory, Outcome, Place, Port, Reply, Rod, Sense, Status, Step,
    TOKEN_LEN, Work, decode,
};

/// Steps after which a command that has not ended is broken.
const STEPS_MAX: usize = 10_000;

/// A disk.
pub struct Rig {
    pub info: Info,
    pub unit: LogicalUnit,
    pub bytes: Vec<u8>,
    /// Blocks without space.
    pub holes: Vec<bool>,
    /// All operations that were asked for.
    pub ops: Vec<BlockOp>,
    /// The ranges that commands had for themselves.
    pub locks: Vec<(u64, u64)>,
    /// Work on the medium that was begun, and whether its command waited for it. Here it is done at once.
    pub works: Vec<(Work, bool)>,
    /// What commands wanted of what the disk's ports share.
    pub demands: Vec<Demand>,
    /// What becomes of an operation instead.
    pub fails: fn(&BlockOp) -> Option<IoError>,
    /// What the clock shows.
    pub now_ms: u64,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub data_in: Vec<u8>,
}

/// Where data-out comes from and data-in goes to.
struct Data<'a> {
    out: &'a [u8],
    given: Vec<u8>,
}

impl DataBuffer for Data<'_> {
    fn out_len(&self) -> u64 {
        self.out.len() as u64
    }

    fn take(&mut self, at: u64, into: &mut [u8]) {
        into.copy_from_slice(&self.out[at as usize..at as usize + into.len()]);
    }

    fn give(&mut self, at: u64, from: &[u8]) {
        let end = at as usize + from.len();
        self.given.resize(self.given.len().max(end), 0xee);
        self.given[at as usize..end].copy_from_slice(from);
    }
}

/// A device with one logical unit.
struct Alone<'a> {
    unit: &'a LogicalUnit,
    now_ms: u64,
}

impl Neighbours for Alone<'_> {
    fn find(&self, designator: &Designator<'_>) -> Option<Neighbour> {
        self.unit.is_designated(designator).then(|| self.unit.neighbour(Place(0), None))
    }

    fn rod(&self, token: &[u8; TOKEN_LEN]) -> Option<Result<Found, Sense>> {
        let (neighbour, rods) = (self.unit.neighbour(Place(0), None), self.unit.rods().clone());
        Some(self.unit.rod(token, self.now_ms)?.map(|rod| Found { neighbour, rod, rods }))
    }

    fn watch(&self, designator: &Designator<'_>, rod: &Arc<Rod>) {
        assert!(self.unit.is_designated(designator) && !rod.is_cancelled());
    }

    fn random(&self, into: &mut [u8]) {
        into.fill(0x5a);
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

impl Rig {
    fn alone(&self) -> Alone<'_> {
        Alone { unit: &self.unit, now_ms: self.now_ms }
    }

    /// On a disk with `info`, whose blocks hold their own number in every byte: the first ones, those of a huge disk.
    pub fn new(info: &Info) -> Self {
        let (block_size, blocks) = (info.block_size as usize, info.blocks.min(1000) as usize);
        let bytes = (0..blocks).flat_map(|lba| vec![lba as u8; block_size]).collect();
        Self {
            info: info.clone(),
            unit: disk(info),
            bytes,
            holes: vec![false; blocks],
            ops: Vec::new(),
            locks: Vec::new(),
            works: Vec::new(),
            demands: Vec::new(),
            fails: |_| None,
            now_ms: 0,
        }
    }

    /// 1,000 blocks of 512 bytes, write-through, at most 64 KiB a transfer.
    pub fn plain() -> Self {
        Self::new(&Info { write_cache: bdev::WriteCache::WriteThrough, ..info() })
    }

    /// The same through a port of target port group `group`.
    pub fn plain_in_group(group: u16) -> Self {
        let plain = Self::plain();
        let port = Port { group: Some(group), ..Port::derive(1, "") };
        Self { unit: plain.unit.at_port(port), ..plain }
    }

    /// Runs a command that must come to a demand, whose outcome it is.
    pub fn demand(&mut self, cdb: &[u8], out: &[u8]) -> Demand {
        self.good(cdb, out);
        self.demands.pop().expect("a demand")
    }

    /// Runs a command with this data-out.
    pub fn run(&mut self, cdb: &[u8], out: &[u8]) -> Ended {
        let (condition, mut reply) = (Condition::default(), Reply::new());
        let command = match decode(cdb) {
            Ok(command) => command,
            Err(sense) => return Ended { outcome: sense.into(), data_in: Vec::new() },
        };
        match self.unit.start(&command, &condition, &mut reply) {
            Step::Done(outcome) => return Ended { outcome, data_in: reply.as_bytes().to_vec() },
            step => assert_eq!(step, Step::Long, "{command:?}"),
        }
        match self.unit.begin(&command, &condition) {
            Ok(task) => self.drive(task, &command, out),
            Err(outcome) => Ended { outcome, data_in: Vec::new() },
        }
    }

    /// Takes a task from its first step to its last.
    pub fn drive(&mut self, task: Box<dyn LongTask>, command: &Command, out: &[u8]) -> Ended {
        assert_eq!(task.data_out_len() > 0, command.direction() == DataDirection::Out, "{command:?}");
        self.steps(task, command, out)
    }

    fn steps(&mut self, mut task: Box<dyn LongTask>, command: &Command, out: &[u8]) -> Ended {
        assert!(task.memory_len() <= super::MEMORY_MAX);
        let mut memory = vec![0; task.memory_len()];
        let mut data = Data { out, given: Vec::new() };
        let mut step = task.next(&mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() });
        for _ in 0..STEPS_MAX {
            step = match step {
                LongStep::Done(outcome) => return Ended { outcome, data_in: data.given },
                LongStep::Background(Background { work, wait }) => {
                    self.works.push((work, wait));
                    return self.work(task.background(), work, wait, command);
                }
                LongStep::Elsewhere(_, op, place) => match self.operate(op, place, &mut memory, out) {
                    Ok(()) => task.next(&mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() }),
                    Err(error) => task.failed(
                        &op,
                        error,
                        &mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() },
                    ),
                },
                LongStep::Share(demand) => {
                    self.demands.push(*demand);
                    return Ended { outcome: Outcome::GOOD, data_in: data.given };
                }
                LongStep::Lock { offset, len } => {
                    self.locks.push((offset, len));
                    task.next(&mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() })
                }
                LongStep::Block(op, place) => match self.operate(op, place, &mut memory, out) {
                    Ok(()) => task.next(&mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() }),
                    Err(error) => task.failed(
                        &op,
                        error,
                        &mut Desk { memory: &mut memory, data: &mut data, neighbours: &self.alone() },
                    ),
                },
            };
        }
        panic!("{command:?} does not end");
    }

    fn work(&mut self, task: Box<dyn LongTask>, work: Work, wait: bool, command: &Command) -> Ended {
        assert_eq!((task.data_out_len(), task.progress()), (0, 0));
        let ended = self.steps(task, command, &[]);
        let outcome = if wait && ended.outcome != Outcome::GOOD { work.failure() } else { Outcome::GOOD };
        Ended { outcome, ..ended }
    }

    /// Runs a command that must be refused, or fail; its sense data.
    pub fn refused(&mut self, cdb: &[u8], out: &[u8]) -> Sense {
        let ended = self.run(cdb, out);
        assert_eq!(ended.outcome.status, Status::CHECK_CONDITION, "{cdb:02x?}");
        ended.outcome.sense.expect("with CHECK CONDITION")
    }

    /// Runs a command that must succeed; its data-in.
    pub fn good(&mut self, cdb: &[u8], out: &[u8]) -> Vec<u8> {
        let ended = self.run(cdb, out);
        assert_eq!(ended.outcome, Outcome::GOOD, "{cdb:02x?}");
        ended.data_in
    }

    /// Kind, first block and number of blocks of all operations.
    pub fn done(&self) -> Vec<(OpKind, u64, u64)> {
        let size = u64::from(self.info.block_size);
        self.ops.iter().map(|op| (op.kind, op.offset / size, op.len / size)).collect()
    }

    fn operate(&mut self, op: BlockOp, place: OpMemory, memory: &mut [u8], out: &[u8]) -> Result<(), IoError> {
        self.ops.push(op);
        let size = u64::from(self.info.block_size);
        assert!(op.offset.is_multiple_of(size) && op.len.is_multiple_of(size), "{op:?}");
        assert!(self.info.contains(op.offset, op.len), "{op:?}");
        assert!(!op.kind.moves_data() || op.len <= u64::from(self.info.max_transfer), "{op:?}");
        assert!(!(op.kind.is_change() && self.info.read_only), "{op:?}");
        if let Some(error) = (self.fails)(&op) {
            return Err(error);
        }
        let range = op.offset as usize..(op.offset + op.len) as usize;
        let blocks = (op.offset / size) as usize..((op.offset + op.len) / size) as usize;
        match (op.kind, place) {
            (OpKind::Flush, OpMemory::Without) => {}
            (OpKind::Read, OpMemory::Own { at, len }) => memory[at..at + len].copy_from_slice(&self.bytes[range]),
            (OpKind::Write { .. }, OpMemory::Own { at, len }) => {
                self.bytes[range].copy_from_slice(&memory[at..at + len]);
                self.holes[blocks].fill(false);
            }
            (OpKind::Write { .. } | OpKind::WriteAtomic { .. }, OpMemory::Data(at)) => {
                self.bytes[range].copy_from_slice(&out[at as usize..][..op.len as usize]);
                self.holes[blocks].fill(false);
            }
            (OpKind::Verify, OpMemory::Without) => assert!(op.len <= self.info.verify_max),
            (OpKind::Compare, OpMemory::Data(at)) => {
                assert!(self.info.compare);
                let same = self.bytes[range] == out[at as usize..][..op.len as usize];
                return if same { Ok(()) } else { Err(IoError::Miscompare) };
            }
            (OpKind::Unmap, OpMemory::Without) => {
                assert!(self.info.discard.is_some_and(|discard| op.len <= discard.max));
                self.bytes[range].fill(0);
                self.holes[blocks].fill(true);
            }
            (OpKind::Anchor { .. }, OpMemory::Without) => {
                assert!(self.info.anchor);
                self.bytes[range].fill(0);
                self.holes[blocks].fill(false);
            }
            (OpKind::WriteZeroes { unmap, .. }, OpMemory::Without) => {
                assert!(op.len <= self.info.write_zeroes_max);
                self.bytes[range].fill(0);
                self.holes[blocks].fill(unmap);
            }
            (OpKind::Extents, OpMemory::Own { at, len }) => self.extents(&op, &mut memory[at..at + len]),
            other => panic!("{other:?} has not the memory that it needs"),
        }
        Ok(())
    }

    fn extents(&self, op: &BlockOp, into: &mut [u8]) {
        let size = u64::from(self.info.block_size);
        let mut rest = op.offset / size..(op.offset + op.len) / size;
        for place in into.as_chunks_mut::<{ Extent::LEN }>().0 {
            let first = rest.start;
            let is_hole = self.holes.get(first as usize).copied().unwrap_or(false);
            let same = rest.clone().take_while(|&lba| self.holes[lba as usize] == is_hole).count() as u64;
            let provision = if is_hole { Provision::Deallocated } else { Provision::Mapped };
            *place = Extent { offset: first * size, len: same * size, provision }.to_bytes();
            rest.start += same;
        }
    }
}
