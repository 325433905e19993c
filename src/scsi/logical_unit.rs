//! A disk: what it does at each command.
//!
//! A [`LogicalUnit`] is immutable, so that every core can look at the same one without a lock. What changes, whether it
//! is stopped and what attentions are pending, lives with the caller and comes in as a [`Condition`].

use bdev::{Discard, Info, IoError, OpKind, WriteCache};

use super::command::{CdbForm, Command};
use super::identity::{Identity, Port};
use super::limits::Limits;
use super::long::buffers::Buffers;
use super::mode::{Medium, ModeValues};
use super::outcome::{Behind, BlockOp, Condition, Effect, Outcome, Step};
use super::provisioning::Threshold;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::{Asc, SenseKey};
use super::third_party_copy::{Copies, Rods};
use super::{capacity, diagnostics, inquiry, luns, mode, query, vpd};

/// A disk.
#[derive(Debug, Clone)]
pub struct LogicalUnit {
    pub(super) identity: Identity,
    /// Number of logical blocks; their bytes fit 64 bits.
    pub(super) blocks: u64,
    /// Bytes of a logical block.
    pub(super) block_size: u32,
    /// log2 of the logical blocks in a physical block, at most 15.
    pub(super) physical_exponent: u8,
    pub(super) read_only: bool,
    /// Acknowledged writes may be lost with the power until a flush.
    pub(super) write_back: bool,
    pub(super) solid_state: bool,
    /// Most blocks of one transfer; none if nothing limits it.
    pub(super) transfer_blocks_max: Option<u32>,
    /// Best blocks of one transfer, 0 if it does not matter.
    pub(super) transfer_blocks_optimal: u32,
    /// What the device does with space that is given back; none if it takes none.
    pub(super) discard: Option<Discard>,
    /// Most bytes that the device makes zero by itself in one operation, 0 if it does not.
    pub(super) write_zeroes_max: u64,
    pub(super) limits: Limits,
    /// What WRITE BUFFER has left: with what follows the one thing here that changes.
    pub(super) buffers: Buffers,
    /// The copies that the initiator has named.
    pub(super) copies: Copies,
    /// The tokens that stand for blocks of this disk.
    pub(super) rods: Rods,
    /// The target port through which commands come.
    pub(super) port: Port,
    /// There is a place where mode pages outlive a loss of power.
    saves_modes: bool,
    /// The medium can be ejected and loaded.
    pub(super) removable: bool,
    /// Where somebody looks how much space there is.
    pub(super) threshold: Option<Threshold>,
}

/// What is asked of a stopped unit has to wait for START STOP UNIT.
pub(super) const STOPPED: Sense = Sense::new(SenseKey::NOT_READY, Asc::INITIALIZING_COMMAND_REQUIRED);

/// SWP of the control mode page forbids all that writes to the medium.
pub(super) const SOFTWARE_WRITE_PROTECTED: Sense = Sense::new(SenseKey::DATA_PROTECT, Asc::SOFTWARE_WRITE_PROTECTED);

impl LogicalUnit {
    /// Describes a disk on a device with `info`.
    pub fn new(identity: Identity, info: &Info) -> Self {
        let block_size = info.block_size.max(1);
        let transfer_blocks_max = match info.max_transfer {
            0 => None,
            bytes => Some((bytes / block_size).max(1)),
        };
        let physical_exponent = info.physical_exponent.min(15);
        Self {
            identity,
            blocks: info.blocks.min(u64::MAX / u64::from(block_size)),
            block_size,
            physical_exponent,
            read_only: info.read_only,
            write_back: info.write_cache == WriteCache::WriteBack,
            solid_state: info.solid_state,
            transfer_blocks_max,
            transfer_blocks_optimal: vpd::optimal_blocks(info, transfer_blocks_max, physical_exponent),
            discard: info.discard,
            write_zeroes_max: info.write_zeroes_max,
            limits: Limits::new(info),
            buffers: Buffers::default(),
            copies: Copies::default(),
            rods: Rods::default(),
            port: Port::derive(1, ""),
            saves_modes: false,
            removable: false,
            threshold: None,
        }
    }

    /// The same disk as it is seen through `port`; one that is not told has the port 1.
    pub fn at_port(self, port: Port) -> Self {
        Self { port, ..self }
    }

    /// The same disk with a place where mode pages outlive a loss of power, or without.
    pub fn saving_modes(self, saves_modes: bool) -> Self {
        Self { saves_modes, ..self }
    }

    /// The same disk with a medium that can be ejected and loaded, or without.
    pub fn with_removable_medium(self, removable: bool) -> Self {
        Self { removable, ..self }
    }

    /// The same disk with a soft threshold, which means something where it can give space back; or without.
    pub fn with_threshold(self, threshold: Option<Threshold>) -> Self {
        Self { threshold: threshold.filter(|_| self.discard.is_some()), ..self }
    }

    /// The same disk for an initiator that has `copies` and tokens.
    pub fn with_copies(self, copies: Copies, rods: Rods) -> Self {
        Self { copies, rods, ..self }
    }

    /// What the mode pages have to know.
    pub(super) fn medium(&self) -> Medium {
        let Self { blocks, block_size, read_only, write_back, saves_modes: saves, threshold, .. } = *self;
        let in_port_group = self.port.group.is_some();
        Medium { blocks, block_size, read_only, write_back, saves, in_port_group, threshold }
    }

    /// Its names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes of a logical block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of logical blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Starts a command: see [`Unit::start`](super::Unit::start).
    #[inline]
    pub fn start(&self, command: &Command, condition: &Condition<'_>, reply: &mut Reply) -> Step {
        reply.begin(0);
        if let Some(hindrance) = condition.hindrance
            && !hindrance.allows(command)
        {
            return hindrance.sense().into();
        }
        match *command {
            Command::Read { lba, blocks, fua, form, .. } => self.read(lba, blocks, fua, form, condition.stopped),
            Command::Write { lba, blocks, fua, form, .. } => {
                let mode = condition.mode.current;
                let fua = fua || mode.has(ModeValues::WRITE_THROUGH);
                match self.write(lba, blocks, fua, form, condition.stopped) {
                    Step::Block(_) if mode.has(ModeValues::SWP) => SOFTWARE_WRITE_PROTECTED.into(),
                    step => step,
                }
            }
            Command::TestUnitReady if condition.stopped => STOPPED.into(),
            Command::TestUnitReady => Step::Done(Outcome::GOOD),
            Command::SynchronizeCache { lba, blocks, immed } => self.synchronize_cache((lba, blocks), immed, condition),
            Command::StartStopUnit { .. } => self.start_stop(command, condition),
            Command::PreventAllowMediumRemoval { prevent } if self.removable => {
                Step::Done(Outcome::good_with(Effect::Prevented(prevent)))
            }
            Command::PreFetch { lba, blocks, .. } => self.pre_fetch(lba, blocks, condition),
            _ if command.is_long() => Step::Long,
            _ => Step::Done(self.answer(command, condition, reply)),
        }
    }

    /// Goes on with a command: see [`Unit::resume`](super::Unit::resume).
    #[inline]
    pub fn resume(&self, command: &Command, finished: &BlockOp, result: Result<(), IoError>) -> Step {
        if let Err(error) = result
            && !command.is_long()
        {
            return self.failed(command, finished, error);
        }
        match (command, finished.kind) {
            (&Command::Read { lba, blocks, .. }, OpKind::Flush) => {
                Step::Block(self.block_op(OpKind::Read, lba, blocks))
            }
            (&Command::Read { lba, blocks, .. }, _) if finished.len != self.block_op(OpKind::Read, lba, blocks).len => {
                self.look_on((lba, blocks), finished, false)
            }
            (Command::StartStopUnit { load_eject, start, .. }, _) => moved(*load_eject, *start),
            _ if command.is_long() => Step::Long,
            _ => Step::Done(Outcome::GOOD),
        }
    }

    /// Commands that return what is known without the device.
    #[cold]
    fn answer(&self, command: &Command, condition: &Condition<'_>, reply: &mut Reply) -> Outcome {
        let shared = condition.facts.and_then(|facts| facts.shared);
        let result = match *command {
            Command::Inquiry { evpd: false, page: 0, allocation_length } => {
                reply.begin(allocation_length.into());
                inquiry::standard(self, condition.several_ports, reply)
            }
            Command::Inquiry { evpd: false, .. } => Err(inquiry::UNKNOWN_PAGE),
            Command::Inquiry { evpd: true, page, allocation_length } => {
                reply.begin(allocation_length.into());
                vpd::page(self, page, shared.map(|shared| &shared.ports[..]), reply)
            }
            Command::ModeSense(ref request) => mode::sense(&self.medium(), request, condition.mode, reply),
            Command::Query(query) => query::answer(self, query, condition, reply),
            Command::ReadCapacity10 => capacity::read_capacity_10(self, reply),
            Command::ReadCapacity16 { allocation_length } => {
                reply.begin(allocation_length);
                capacity::read_capacity_16(self, reply)
            }
            Command::RequestSense { desc, allocation_length } => {
                reply.begin(allocation_length.into());
                reply.put_sense(&pending(condition), desc);
                Ok(())
            }
            Command::ReportLuns { select_report, allocation_length } => {
                reply.begin(allocation_length);
                luns::report(select_report, condition.luns, reply)
            }
            Command::ReadDefectData(ref request) => diagnostics::defect_data(request, reply),
            Command::ReceiveDiagnosticResults { page, allocation_length } => {
                reply.begin(allocation_length.into());
                diagnostics::results(page, reply)
            }
            Command::ReadBuffer(ref access) => self.buffers.read(access, reply),
            Command::TestUnitReady
            | Command::PreventAllowMediumRemoval { .. }
            | Command::Read { .. }
            | Command::Write { .. }
            | Command::SynchronizeCache { .. }
            | Command::StartStopUnit { .. }
            | Command::PreFetch { .. }
            | Command::OnRange { .. }
            | Command::GetLbaStatus { .. }
            | Command::Long(_) => Ok(()),
        };
        result.map_or_else(Outcome::check, |()| Outcome::GOOD)
    }

    #[inline(always)]
    fn read(&self, lba: u64, blocks: u32, fua: bool, form: CdbForm, stopped: bool) -> Step {
        if let Err(sense) = self.check_transfer(lba, blocks, form, stopped) {
            return sense.into();
        }
        if blocks == 0 {
            return Step::Done(Outcome::GOOD);
        }
        // Blocks that a cache holds and the medium does not yet have to be written before they are read from there
        // (SBC-4, force unit access for read operations).
        if fua && self.may_cache_writes() {
            return Step::Block(BlockOp::FLUSH);
        }
        Step::Block(self.block_op(OpKind::Read, lba, blocks))
    }

    #[inline(always)]
    fn write(&self, lba: u64, blocks: u32, fua: bool, form: CdbForm, stopped: bool) -> Step {
        if let Err(sense) = self.check_transfer(lba, blocks, form, stopped) {
            return sense.into();
        }
        if blocks == 0 {
            return Step::Done(Outcome::GOOD);
        }
        if let Err(sense) = self.check_writable() {
            return sense.into();
        }
        Step::Block(self.block_op(OpKind::Write { fua }, lba, blocks))
    }

    /// The whole cache is written, whatever the range.
    fn synchronize_cache(&self, (lba, blocks): (u64, u32), immed: bool, condition: &Condition<'_>) -> Step {
        if condition.stopped {
            return STOPPED.into();
        }
        match self.check_range(lba, blocks) {
            Err(sense) => sense.into(),
            Ok(()) if self.read_only => Step::Done(Outcome::GOOD),
            Ok(()) if immed => behind(Behind::Flush),
            Ok(()) => Step::Block(BlockOp::FLUSH),
        }
    }

    /// Stopped, and ejected, when the cache has been written, unless the initiator does not wait for that.
    fn start_stop(&self, command: &Command, condition: &Condition<'_>) -> Step {
        const NO_TRAY: Sense = Sense::invalid_field(4, Some(1));
        const PREVENTED: Sense = Sense::illegal(Asc::MEDIUM_REMOVAL_PREVENTED);
        let Command::StartStopUnit { immed, no_flush, load_eject, start } = *command else {
            return Outcome::GOOD.into();
        };
        match (load_eject, start) {
            (true, _) if !self.removable => NO_TRAY.into(),
            (true, false) if condition.removal_prevented => PREVENTED.into(),
            (_, true) => moved(load_eject, start),
            (_, false) if no_flush || self.read_only || condition.hindrance.is_some() => moved(load_eject, start),
            (_, false) if immed => behind(if load_eject { Behind::Ejected } else { Behind::Stopped }),
            (_, false) => Step::Block(BlockOp::FLUSH),
        }
    }

    /// Whether blocks may be in a cache that are not on the medium yet.
    #[inline]
    pub fn may_cache_writes(&self) -> bool {
        self.write_back && !self.read_only
    }

    /// Whether a transfer may be done: the unit runs, the range exists and is not too long.
    #[inline(always)]
    fn check_transfer(&self, lba: u64, blocks: u32, form: CdbForm, stopped: bool) -> Result<(), Sense> {
        if stopped {
            return Err(STOPPED);
        }
        self.check_length(lba, blocks, form)
    }

    /// Whether a range exists, and is not too long for one transfer.
    #[inline]
    pub(super) fn check_length(&self, lba: u64, blocks: u32, form: CdbForm) -> Result<(), Sense> {
        self.check_range(lba, blocks)?;
        match self.transfer_blocks_max {
            Some(blocks_max) if blocks > blocks_max => Err(Sense::invalid_field(form.transfer_length_byte(), None)),
            _ => Ok(()),
        }
    }

    /// Whether all blocks of a range exist. A range of no blocks may begin right behind the last one.
    #[inline(always)]
    pub(super) fn check_range(&self, lba: u64, blocks: u32) -> Result<(), Sense> {
        match self.blocks.checked_sub(lba) {
            Some(left) if u64::from(blocks) <= left => Ok(()),
            _ => Err(Sense::lba_out_of_range(lba.max(self.blocks))),
        }
    }

    /// The operation on a range that has been checked: then nothing here can overflow.
    #[inline(always)]
    pub(super) fn block_op(&self, kind: OpKind, lba: u64, blocks: u32) -> BlockOp {
        let block_size = u64::from(self.block_size);
        BlockOp { kind, offset: lba * block_size, len: u64::from(blocks) * block_size }
    }
}

/// How START STOP UNIT ends.
fn moved(load_eject: bool, start: bool) -> Step {
    let effect = if load_eject { Effect::Ejected(!start) } else { Effect::Stopped(!start) };
    Step::Done(Outcome::good_with(effect))
}

/// How a command ends whose flush goes on behind it.
fn behind(behind: Behind) -> Step {
    Step::Done(Outcome::good_with(Effect::Behind(behind)))
}

/// What REQUEST SENSE returns (SPC-5): a unit attention before the state of the unit.
fn pending(condition: &Condition<'_>) -> Sense {
    match (condition.attention, condition.hindrance) {
        (Some(attention), _) => attention.sense(),
        (None, Some(hindrance)) => hindrance.sense(),
        (None, None) if condition.stopped => STOPPED,
        (None, None) => Sense::NONE,
    }
}

#[cfg(test)]
mod tests;
