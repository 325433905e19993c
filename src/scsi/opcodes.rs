//! REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-5).
//!
//! The former reads the table that decodes commands: what it has is supported, and nothing else. The latter tells of the functions
//! in the table of the control queue, which decodes those.

use super::cdb::{Supported, supported};
use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::Sense;

/// REPORT SUPPORTED OPERATION CODES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedOpcodes {
    /// RCTD, with timeouts, and REPORTING OPTIONS, as they stand in the CDB.
    pub wanted: u8,
    /// REQUESTED OPERATION CODE.
    pub opcode: u8,
    /// REQUESTED SERVICE ACTION.
    pub service_action: u16,
    /// Bytes that the initiator has room for.
    pub allocation_length: u32,
}

impl SupportedOpcodes {
    /// RCTD: with timeouts.
    fn rctd(&self) -> bool {
        self.wanted & 0x80 != 0
    }

    /// REPORTING OPTIONS.
    fn options(&self) -> u8 {
        self.wanted & 0x07
    }
}

/// REPORTING OPTIONS: all commands.
const ALL: u8 = 0x00;
/// REPORTING OPTIONS: an operation code that has no service actions.
const WITHOUT_SERVICE_ACTION: u8 = 0x01;
/// REPORTING OPTIONS: an operation code that has service actions.
const WITH_SERVICE_ACTION: u8 = 0x02;
/// REPORTING OPTIONS: an operation code, with a service action if it has some.
const EITHER: u8 = 0x03;

/// Answers REPORT SUPPORTED OPERATION CODES.
pub(super) fn report(unit: &LogicalUnit, request: &SupportedOpcodes, reply: &mut Reply) -> Result<(), Sense> {
    reply.begin(request.allocation_length);
    if request.options() == ALL {
        report_all(unit, request.rctd(), reply);
        return Ok(());
    }
    let command = find(request)?.filter(|command| unit.supports(&command.sample()));
    report_one(command, request.rctd(), reply);
    Ok(())
}

/// The command that is asked for, if there is one; or what is wrong with the question.
fn find(request: &SupportedOpcodes) -> Result<Option<Supported>, Sense> {
    let mut commands = supported().filter(|command| command.opcode().0 == request.opcode).peekable();
    let has_actions = commands.peek().is_some_and(|command| command.service_action.is_some());
    let is_known = commands.peek().is_some();
    match request.options() {
        WITHOUT_SERVICE_ACTION if has_actions => return Err(Sense::invalid_field(2, Some(2))),
        WITH_SERVICE_ACTION if is_known && !has_actions => return Err(Sense::invalid_field(2, Some(2))),
        WITHOUT_SERVICE_ACTION | WITH_SERVICE_ACTION | EITHER => {}
        _ => return Err(Sense::invalid_field(2, Some(2))),
    }
    let wanted = request.service_action;
    let matches = |command: &Supported| match command.service_action {
        Some(action) => u16::from(action) == wanted,
        None => request.options() == WITHOUT_SERVICE_ACTION || wanted == 0,
    };
    Ok(commands.find(matches))
}

fn report_all(unit: &LogicalUnit, rctd: bool, reply: &mut Reply) {
    const CTDP: u8 = 0x02;
    const SERVACTV: u8 = 0x01;
    reply.put(&[0; 4]);
    for command in supported().filter(|command| unit.supports(&command.sample())) {
        let servactv = if command.service_action.is_some() { SERVACTV } else { 0 };
        let flags = servactv | if rctd { CTDP } else { 0 };
        let (opcode, action) = (command.opcode().0, command.service_action.unwrap_or(0));
        reply.put(&[opcode, 0, 0, action, 0, flags, 0, command.usage.len() as u8]);
        if rctd {
            put_timeouts(&command, reply);
        }
    }
    let len = (reply.written() - 4) as u32;
    reply.patch(0, &len.to_be_bytes());
}

fn report_one(command: Option<Supported>, rctd: bool, reply: &mut Reply) {
    const CTDP: u8 = 0x80;
    const NOT_SUPPORTED: u8 = 0x01;
    const AS_IN_THE_STANDARD: u8 = 0x03;
    let Some(command) = command else { return reply.put(&[0, NOT_SUPPORTED, 0, 0]) };
    let ctdp = if rctd { CTDP } else { 0 };
    reply.put(&[0, ctdp | AS_IN_THE_STANDARD, 0, command.usage.len() as u8]);
    reply.put(command.usage);
    if rctd {
        put_timeouts(&command, reply);
    }
}

/// The command timeouts descriptor: no nominal time, and after how many seconds to begin with recovery.
fn put_timeouts(command: &Supported, reply: &mut Reply) {
    reply.put(&[0, 0x0a, 0, 0, 0, 0, 0, 0]);
    reply.put(&command.timeout_s.to_be_bytes());
}

/// Task management functions that are supported: a set, as the first two bytes of the report have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskFunctions(u16);

impl TaskFunctions {
    /// ATS: ABORT TASK.
    pub const ABORT_TASK: Self = Self(0x8000);
    /// ATSS: ABORT TASK SET.
    pub const ABORT_TASK_SET: Self = Self(0x4000);
    /// CACAS: CLEAR ACA.
    pub const CLEAR_ACA: Self = Self(0x2000);
    /// CTSS: CLEAR TASK SET.
    pub const CLEAR_TASK_SET: Self = Self(0x1000);
    /// LURS: LOGICAL UNIT RESET.
    pub const LOGICAL_UNIT_RESET: Self = Self(0x0800);
    /// QTS: QUERY TASK.
    pub const QUERY_TASK: Self = Self(0x0400);
    /// QTSS: QUERY TASK SET.
    pub const QUERY_TASK_SET: Self = Self(0x0002);
    /// ITNRS: I_T NEXUS RESET.
    pub const I_T_NEXUS_RESET: Self = Self(0x0001);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Answers REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS. No timeouts are told, for a function waits for the disk.
pub(super) fn report_task_functions(TaskFunctions(bits): TaskFunctions, repd: bool, reply: &mut Reply) {
    let [first, second] = bits.to_be_bytes();
    reply.put(&[first, second, 0, if repd { 0x0c } else { 0 }]);
    if repd {
        reply.put(&[0; 12]);
    }
}

#[cfg(test)]
mod tests;
