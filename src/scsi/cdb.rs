//! `decode`: a CDB to a [`Command`], driven by one table of commands.

use super::command::Command;
use super::sense::Sense;
use super::spec::Asc;

/// Decodes a CDB. Bytes past the command's own length are ignored: transports hand over a fixed number.
pub fn decode(_cdb: &[u8]) -> Result<Command, Sense> {
    Err(Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE))
}
