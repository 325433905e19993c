//! READ BUFFER (10) and WRITE BUFFER (SPC-5): memory in which initiators try their way to the disk.
//!
//! There is a data buffer, and an echo buffer that can only be read once it has been written. Each nexus has its own.

use std::sync::{Mutex, PoisonError};

use super::super::command::BufferAccess;
use super::super::outcome::Outcome;
use super::super::reply::Reply;
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::{Desk, LogicalUnit, LongStep, LongTask};

/// Bytes of each buffer.
const CAPACITY: u32 = 4096;

/// MODE: data.
const DATA: u8 = 0x02;
/// MODE: what the data buffer is.
const DESCRIPTOR: u8 = 0x03;
/// MODE: data of the echo buffer.
const ECHO: u8 = 0x0a;
/// MODE: what the echo buffer is.
const ECHO_DESCRIPTOR: u8 = 0x0b;

const BAD_MODE: Sense = Sense::invalid_field(1, Some(4));
const BAD_ID: Sense = Sense::invalid_field(2, None);
const BAD_OFFSET: Sense = Sense::invalid_field(3, None);
const BAD_LENGTH: Sense = Sense::invalid_field(6, None);

/// Both buffers of a unit, shared with the tasks that write them.
#[derive(Debug, Default, Clone)]
pub(in super::super) struct Buffers(std::sync::Arc<Mutex<Contents>>);

/// Empty until they are written, to take no memory for nothing.
#[derive(Debug, Default)]
struct Contents {
    data: Vec<u8>,
    echo: Option<Vec<u8>>,
}

/// A WRITE BUFFER in progress.
#[derive(Debug)]
struct WriteBuffer {
    buffers: Buffers,
    access: BufferAccess,
}

impl Buffers {
    /// READ BUFFER.
    pub(in super::super) fn read(&self, access: &BufferAccess, reply: &mut Reply) -> Result<(), Sense> {
        reply.begin(access.len.get());
        let [_, high, middle, low] = CAPACITY.to_be_bytes();
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match access.mode {
            // There is one buffer: of the others the descriptor says that they have no bytes.
            DESCRIPTOR if access.id != 0 => reply.put(&[0; 4]),
            DESCRIPTOR => reply.put(&[0, high, middle, low]),
            ECHO_DESCRIPTOR => reply.put(&[0, 0, middle, low]),
            ECHO => {
                let echo = contents.echo.as_ref().ok_or(Sense::illegal(Asc::COMMAND_SEQUENCE_ERROR))?;
                reply.put(echo);
            }
            DATA if access.id != 0 => return Err(BAD_ID),
            DATA if access.offset.get() > CAPACITY => return Err(BAD_OFFSET),
            DATA => {
                let offset = access.offset.get();
                let written = contents.data.get(offset as usize..).unwrap_or_default();
                reply.put(written);
                reply.put(&vec![0; (CAPACITY - offset) as usize - written.len()]);
            }
            _ => return Err(BAD_MODE),
        }
        Ok(())
    }

    fn write(&self, access: &BufferAccess, bytes: &[u8]) {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if access.mode == ECHO {
            contents.echo = Some(bytes.to_vec());
            return;
        }
        let offset = access.offset.get() as usize;
        let end = offset + bytes.len();
        let len = contents.data.len().max(end);
        contents.data.resize(len, 0);
        contents.data[offset..end].copy_from_slice(bytes);
    }
}

/// Begins a WRITE BUFFER.
pub(super) fn begin_write(unit: &LogicalUnit, access: BufferAccess) -> Result<Box<dyn LongTask>, Outcome> {
    let BufferAccess { mode, id, .. } = access;
    let (offset, len) = (access.offset.get(), access.len.get());
    let wrong = match mode {
        DATA if id != 0 => Some(BAD_ID),
        DATA if offset > CAPACITY => Some(BAD_OFFSET),
        DATA if len > CAPACITY - offset => Some(BAD_LENGTH),
        ECHO if len > CAPACITY => Some(BAD_LENGTH),
        DATA | ECHO => None,
        _ => Some(BAD_MODE),
    };
    match wrong {
        Some(sense) => Err(sense.into()),
        None if len == 0 => Err(Outcome::GOOD),
        None => Ok(Box::new(WriteBuffer { buffers: unit.buffers.clone(), access })),
    }
}

impl LongTask for WriteBuffer {
    fn data_out_len(&self) -> u64 {
        self.access.len.get().into()
    }

    fn memory_len(&self) -> usize {
        self.access.len.get() as usize
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        desk.data.take(0, desk.memory);
        self.buffers.write(&self.access, desk.memory);
        LongStep::GOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::long::testing::Rig;

    fn cdb(opcode: u8, mode: u8, offset: u16, len: u16) -> [u8; 10] {
        let ([a, b], [c, d]) = (offset.to_be_bytes(), len.to_be_bytes());
        [opcode, mode, 0, 0, a, b, 0, c, d, 0]
    }

    #[test]
    fn descriptors() {
        let mut rig = Rig::plain();
        assert_eq!(rig.good(&cdb(0x3c, 3, 0, 255), &[]), [0, 0, 0x10, 0]);
        assert_eq!(rig.good(&[0x3c, 3, 1, 0, 0, 0, 0, 0, 4, 0], &[]), [0; 4]);
        assert_eq!(rig.good(&cdb(0x3c, 0x0b, 0, 4), &[]), [0, 0, 0x10, 0]);
        assert_eq!(rig.good(&cdb(0x3c, 0x0b, 0, 2), &[]), [0, 0]);
    }

    #[test]
    fn an_echo_comes_back_once_something_was_said() {
        let mut rig = Rig::plain();
        let silence = Sense::illegal(Asc(0x2c00));
        assert_eq!(rig.refused(&cdb(0x3c, 0x0a, 0, 8), &[]), silence);
        rig.good(&cdb(0x3b, 0x0a, 0, 5), b"hello");
        assert_eq!(rig.good(&cdb(0x3c, 0x0a, 0, 8), &[]), b"hello");
        assert_eq!(rig.good(&cdb(0x3c, 0x0a, 0, 4), &[]), b"hell");
        rig.good(&cdb(0x3b, 0x0a, 0, 2), b"yo");
        assert_eq!(rig.good(&cdb(0x3c, 0x0a, 0, 8), &[]), b"yo");
    }

    #[test]
    fn data_is_kept_where_it_was_put() {
        let mut rig = Rig::plain();
        assert_eq!(rig.good(&cdb(0x3c, 2, 4090, 100), &[]), [0; 6]);
        rig.good(&cdb(0x3b, 2, 4, 3), b"abc");
        assert_eq!(rig.good(&cdb(0x3c, 2, 3, 5), &[]), b"\0abc\0");
        assert_eq!(rig.good(&cdb(0x3c, 2, 0, 5000), &[]).len(), 4096);
        assert_eq!(rig.good(&cdb(0x3c, 2, 4096, 1), &[]), [0; 0]);
    }

    #[test]
    fn refusals_point_to_the_field() {
        let mut rig = Rig::plain();
        for opcode in [0x3b, 0x3c] {
            assert_eq!(rig.refused(&cdb(opcode, 0, 0, 1), &[]), Sense::invalid_field(1, Some(4)));
            assert_eq!(rig.refused(&cdb(opcode, 2, 4097, 1), &[]), Sense::invalid_field(3, None));
            let other = [opcode, 2, 1, 0, 0, 0, 0, 0, 1, 0];
            assert_eq!(rig.refused(&other, &[]), Sense::invalid_field(2, None));
        }
        assert_eq!(rig.refused(&cdb(0x3b, 2, 4090, 7), &[]), Sense::invalid_field(6, None));
        assert_eq!(rig.refused(&cdb(0x3b, 0x0a, 0, 4097), &[]), Sense::invalid_field(6, None));
        assert_eq!(rig.run(&cdb(0x3b, 2, 4096, 0), &[]).outcome, Outcome::GOOD);
    }
}
