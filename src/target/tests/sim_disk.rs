//! A disk for tests: keeps its blocks, and answers when, how and in which order the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bdev::segment::{copy_from, copy_to};
use bdev::{
    Bdev, Channel, ChannelId, Completion, Discard, Health, Info, Io, IoError, Op, OpKind, Ran, Space, SubmitError, Tag,
    WriteCache,
};

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// When an operation ends that waits for the test.
const NEVER: u64 = u64::MAX;

/// What becomes of an operation that is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancels {
    /// It ends.
    Work,
    /// Nothing: the disk does not let it go.
    Fail,
}

/// When operations end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce,
    /// When the test says so.
    Held,
    /// So many nanoseconds later, unless the test says so before.
    Late(u64),
}

/// A disk, and the test's hand on it: clones are the same disk.
#[derive(Debug, Clone)]
pub(super) struct SimDisk {
    info: Arc<Info>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    blocks: Vec<u8>,
    pace: Pace,
    cancels: Cancels,
    /// Operations that it holds at most.
    room: usize,
    channels: usize,
    held: VecDeque<Held>,
    answered: Vec<(Held, Result<(), IoError>)>,
    /// First block of each operation, in the order in which they were accepted.
    accepted: Vec<u64>,
    /// What each of them was.
    kinds: Vec<OpKind>,
    cancelled: usize,
    /// Operations are done where they are asked for, without a completion.
    runs: bool,
    /// It is a file to the cores that open it.
    is_file: bool,
    /// Blocks of which operations fail that touch them, and such that are not run.
    bad: Vec<u64>,
    unrun: Vec<u64>,
    available: Option<u64>,
    temperature: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    channel: usize,
    op: Op,
    tag: Tag,
    /// When it ends by itself.
    due_ns: u64,
}

impl SimDisk {
    /// A disk of `blocks` zero blocks, write-back, that answers at once.
    pub(super) fn new(blocks: u64) -> Self {
        let info = Info {
            block_size: BLOCK as u32,
            blocks,
            physical_exponent: 0,
            read_only: false,
            write_cache: WriteCache::WriteBack,
            thin: false,
            max_transfer: 1 << 20,
            segments_max: 0,
            queue_depth: 0,
            optimal_transfer: 0,
            transfer_granularity: 0,
            solid_state: true,
            discard: Some(Discard { granularity: BLOCK as u32, alignment: 0, max: 1 << 20, zeroes: true }),
            write_zeroes_max: 0,
            anchor: false,
            prefetch: false,
            verify_max: 0,
            compare: false,
            atomic: None,
            description: "simulated".into(),
        };
        let state = State {
            blocks: vec![0; blocks as usize * BLOCK],
            pace: Pace::AtOnce,
            cancels: Cancels::Work,
            room: usize::MAX,
            channels: 0,
            held: VecDeque::new(),
            answered: Vec::new(),
            accepted: Vec::new(),
            kinds: Vec::new(),
            cancelled: 0,
            runs: false,
            is_file: false,
            bad: Vec::new(),
            unrun: Vec::new(),
            available: None,
            temperature: None,
        };
        Self { info: Arc::new(info), state: Arc::new(Mutex::new(state)) }
    }

    /// From now on it is a file to cores that open it: see [`Io::has_files`].
    pub(super) fn be_file(&self) {
        self.state().is_file = true;
    }

    /// The file system behind it has so much for it, in bytes.
    pub(super) fn set_available(&self, available: u64) {
        self.state().available = Some(available);
    }

    /// It is so warm, in degrees Celsius.
    pub(super) fn set_temperature(&self, temperature: u8) {
        self.state().temperature = Some(temperature);
    }

    /// From now on operations wait for the test.
    pub(super) fn hold(&self) {
        self.state().pace = Pace::Held;
    }

    /// From now on operations end so many nanoseconds after they have come.
    pub(super) fn be_late(&self, late_ns: u64) {
        self.state().pace = Pace::Late(late_ns);
    }

    /// From now on operations end at once, those that wait included.
    pub(super) fn go(&self) {
        self.state().pace = Pace::AtOnce;
        self.release_all();
    }

    /// What becomes of cancelled operations from now on.
    pub(super) fn set_cancels(&self, cancels: Cancels) {
        self.state().cancels = cancels;
    }

    /// From now on it holds at most `room` operations.
    pub(super) fn set_room(&self, room: usize) {
        self.state().room = room;
    }

    /// From now on it is one that does operations here and now. Before anybody asks it.
    pub(super) fn begin_to_run(&self) {
        self.state().runs = true;
    }

    /// From now on operations fail that touch one of these blocks.
    pub(super) fn set_bad(&self, lbas: &[u64]) {
        self.state().bad = lbas.to_vec();
    }

    /// From now on operations that touch one of these blocks are not done here and now, but have to be submitted.
    pub(super) fn set_unrun(&self, lbas: &[u64]) {
        self.state().unrun = lbas.to_vec();
    }

    /// How many operations wait.
    pub(super) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Ends one of the operations that wait, counted from the oldest.
    pub(super) fn answer(&self, nth: usize, result: Result<(), IoError>) {
        let mut state = self.state();
        let held = state.held.remove(nth).expect("so many are held");
        state.answered.push((held, result));
    }

    /// Ends all that wait, oldest first.
    pub(super) fn release_all(&self) {
        while self.held() > 0 {
            self.answer(0, Ok(()));
        }
    }

    /// First block of each operation that was accepted, in order.
    pub(super) fn accepted(&self) -> Vec<u64> {
        self.state().accepted.clone()
    }

    /// What the operations were that were accepted, in order.
    pub(super) fn kinds(&self) -> Vec<OpKind> {
        self.state().kinds.clone()
    }

    /// How often somebody tried to end an operation early.
    pub(super) fn cancelled(&self) -> usize {
        self.state().cancelled
    }

    /// The bytes of block `lba`.
    pub(super) fn block(&self, lba: u64) -> Vec<u8> {
        let at = lba as usize * BLOCK;
        self.state().blocks[at..at + BLOCK].to_vec()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }
}

impl State {
    /// Notes that an operation was accepted.
    fn accept(&mut self, op: &Op) {
        self.accepted.push(op.offset / BLOCK as u64);
        self.kinds.push(op.kind);
    }

    /// Does an operation, unless one of its blocks is bad.
    fn try_run(&mut self, op: &Op) -> Result<(), IoError> {
        if touches(op, &self.bad) {
            return Err(IoError::Medium);
        }
        self.run(op);
        Ok(())
    }

    /// Moves the bytes of an operation that succeeds.
    fn run(&mut self, op: &Op) {
        let range = op.offset as usize..(op.offset + op.len) as usize;
        let segments = op.segments.as_slice();
        let moved = match op.kind {
            OpKind::Read => copy_to(segments, 0, &self.blocks[range]),
            OpKind::Write { .. } | OpKind::WriteAtomic { .. } => copy_from(segments, 0, &mut self.blocks[range]),
            OpKind::Flush | OpKind::Extents | OpKind::Verify | OpKind::Compare | OpKind::Prefetch => 0,
            OpKind::Unmap | OpKind::WriteZeroes { .. } | OpKind::Anchor { .. } => {
                self.blocks[range].fill(0);
                return;
            }
        };
        assert_eq!(moved as u64, op.len, "an operation's segments hold its length");
    }
}

/// Whether one of these blocks is in the range of an operation.
fn touches(op: &Op, lbas: &[u64]) -> bool {
    lbas.iter().any(|lba| (op.offset..op.offset + op.len).contains(&(lba * BLOCK as u64)))
}

impl Bdev for SimDisk {
    fn info(&self) -> &Info {
        &self.info
    }

    fn health(&self) -> Option<Health> {
        self.state().temperature.map(|temperature| Health { temperature: Some(temperature), ..Health::default() })
    }

    fn space(&self) -> Option<Space> {
        self.state().available.map(|available| Space { used: Some(0), available })
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        let mut state = self.state();
        state.channels += 1;
        let (id, is_file) = (io.register()?, state.is_file);
        if is_file {
            io.add_file();
        }
        Ok(Box::new(SimChannel { id, disk: self.clone(), number: state.channels, is_file }))
    }
}

struct SimChannel {
    id: ChannelId,
    disk: SimDisk,
    number: usize,
    is_file: bool,
}

impl Channel for SimChannel {
    fn id(&self) -> ChannelId {
        self.id
    }

    fn runs(&self) -> bool {
        self.disk.state().runs
    }

    fn run(&mut self, ops: &[Op]) -> Ran {
        let mut state = self.disk.state();
        assert!(state.runs, "nobody else is asked to");
        for (done, op) in ops.iter().enumerate() {
            if touches(op, &state.unrun) {
                return Ran { done, failed: None };
            }
            state.accept(op);
            if let Err(error) = state.try_run(op) {
                return Ran { done, failed: Some(error) };
            }
        }
        Ran { done: ops.len(), failed: None }
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        let mut state = self.disk.state();
        if state.held.len() >= state.room {
            return Err(SubmitError::Full);
        }
        io.admit(self.id)?;
        state.accept(op);
        let due_ns = match state.pace {
            Pace::AtOnce => {
                let result = state.try_run(op);
                io.complete(self.id, Completion { tag, result });
                return Ok(());
            }
            Pace::Held => NEVER,
            Pace::Late(late_ns) => io.now_ns() + late_ns,
        };
        state.held.push_back(Held { channel: self.number, op: *op, tag, due_ns });
        Ok(())
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        let mut state = self.disk.state();
        state.cancelled += 1;
        let is_it = |held: &Held| held.channel == self.number && held.tag == tag;
        if state.cancels == Cancels::Work
            && let Some(at) = state.held.iter().position(is_it)
        {
            state.held.remove(at);
            io.complete(self.id, Completion { tag, result: Err(IoError::Cancelled) });
        }
    }

    fn poll(&mut self, io: &mut Io) -> usize {
        let mut state = self.disk.state();
        let is_due = |held: &Held| held.channel == self.number && held.due_ns <= io.now_ns();
        while let Some(due) = state.held.iter().position(is_due) {
            let held = state.held.remove(due).expect("it was found");
            state.answered.push((held, Ok(())));
        }
        let all = std::mem::take(&mut state.answered);
        let (mine, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(held, _)| held.channel == self.number);
        state.answered = others;
        for (held, result) in &mine {
            if result.is_ok() {
                state.run(&held.op);
            }
            io.complete(self.id, Completion { tag: held.tag, result: *result });
        }
        mine.len()
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        let state = self.disk.state();
        let own = state.held.iter().filter(|held| held.channel == self.number && held.due_ns != NEVER);
        own.map(|held| held.due_ns).min()
    }

    fn close(&mut self, io: &mut Io) {
        if self.is_file {
            io.remove_file();
        }
        io.unregister(self.id);
    }
}
