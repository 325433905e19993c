//! Commands that report what is known without the device, each in a page or list of its own.
//!
//! They need more than other commands do of what the caller knows: [`Facts`], which it hands in with these alone.

use super::identifying::{self, ReportIdentifying};
use super::log::{self, LogSense, SelfTestRecord, Statistics};
use super::logical_unit::LogicalUnit;
use super::opcodes::{self, SupportedOpcodes, TaskFunctions};
use super::outcome::Condition;
use super::reply::Reply;
use super::sense::Sense;
use super::sharing::Shared;
use super::spec::Asc;
use super::third_party_copy;
use super::timestamp::{self, Clock};

/// A command that reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// LOG SENSE.
    LogSense(LogSense),
    /// REPORT SUPPORTED OPERATION CODES.
    SupportedOpcodes(SupportedOpcodes),
    /// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
    SupportedTaskFunctions {
        /// The longer form is wanted, with timeouts.
        repd: bool,
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
    /// RECEIVE COPY STATUS and its like.
    Copy {
        /// What is asked.
        what: CopyResult,
        /// LIST IDENTIFIER, where one is.
        list_id: u32,
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
    /// REPORT TIMESTAMP.
    Timestamp {
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
    /// REPORT IDENTIFYING INFORMATION.
    Identifying(ReportIdentifying),
    /// PERSISTENT RESERVE IN.
    PersistentIn {
        /// SERVICE ACTION.
        service_action: u8,
        /// Bytes that the initiator has room for.
        allocation_length: u16,
    },
    /// REPORT TARGET PORT GROUPS.
    PortGroups {
        /// PARAMETER DATA FORMAT.
        format: u8,
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
}

/// What is asked of third-party copies (SPC-5, SBC-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyResult {
    /// RECEIVE COPY STATUS (LID1).
    Status,
    /// RECEIVE COPY DATA (LID1).
    Data,
    /// RECEIVE COPY OPERATING PARAMETERS.
    OperatingParameters,
    /// RECEIVE COPY FAILURE DETAILS (LID1).
    FailureDetails,
    /// RECEIVE COPY STATUS (LID4).
    Status4,
    /// RECEIVE ROD TOKEN INFORMATION.
    RodToken,
    /// REPORT ALL ROD TOKENS.
    RodTokens,
}

/// What the caller knows of a logical unit beside its device and its [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// What time it is.
    pub clock: Clock,
    /// What has been counted.
    pub statistics: Statistics,
    /// The last self-tests, the latest first: at most [`SELF_TESTS_MAX`](super::SELF_TESTS_MAX).
    pub self_tests: &'a [SelfTestRecord],
    /// What it shares with the disk's other ports.
    pub shared: Option<&'a Shared>,
    /// Task management functions that whoever decodes them knows.
    pub task_functions: TaskFunctions,
}

/// Answers a command that reports.
pub(super) fn answer(
    unit: &LogicalUnit,
    query: Query,
    condition: &Condition<'_>,
    reply: &mut Reply,
) -> Result<(), Sense> {
    let none = Facts::default();
    let facts = condition.facts.unwrap_or(&none);
    let nothing = Shared::default();
    let shared = facts.shared.unwrap_or(&nothing);
    match query {
        Query::LogSense(request) => log::sense(unit, &request, facts, reply),
        Query::SupportedOpcodes(request) => opcodes::report(unit, &request, reply),
        Query::SupportedTaskFunctions { repd, allocation_length } => {
            reply.begin(allocation_length);
            opcodes::report_task_functions(facts.task_functions, repd, reply);
            Ok(())
        }
        Query::Copy { what, list_id, allocation_length } => {
            third_party_copy::answer(unit, (what, list_id), allocation_length, facts.clock.host_ms, reply)
        }
        Query::Timestamp { allocation_length } => {
            reply.begin(allocation_length);
            timestamp::report(&facts.clock, reply);
            Ok(())
        }
        Query::Identifying(request) => identifying::report(&request, &shared.names, reply),
        Query::PersistentIn { service_action, allocation_length } => {
            reply.begin(allocation_length.into());
            shared.registry.persistent_in(service_action, shared.keeps, reply)
        }
        Query::PortGroups { .. } if unit.port.group.is_none() => {
            Err(Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE))
        }
        Query::PortGroups { format: format @ (0 | 1), allocation_length } => {
            reply.begin(allocation_length);
            shared.groups.report(format == 1, reply);
            Ok(())
        }
        Query::PortGroups { .. } => Err(Sense::invalid_field(1, Some(7))),
    }
}
