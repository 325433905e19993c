//! Commands: put in a request queue, taken out when the device is done.

use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::framing::{Buffers, Shape};
use super::scsi::{Command, Response};
use super::spec::scsi;
use super::{Guest, Lane, Pending};

/// Looks at a ring so often before it sleeps between looks.
const SPINS: u32 = 200;
/// How long a polling guest sleeps between looks.
const NAP: Duration = Duration::from_micros(50);

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The command's identifier.
    pub id: u64,
    /// How it ended.
    pub response: Response,
}

impl Guest {
    /// Sends a command on request queue `queue`, counted from 0. Returns its identifier.
    ///
    /// # Errors
    /// [`Error::Full`]: try again when something has completed. The connection is gone.
    pub fn submit(&mut self, queue: u16, command: &Command, shape: &Shape) -> Result<u64> {
        let id = self.enqueue(queue, command, shape)?;
        self.flush(queue)?;
        Ok(id)
    }

    /// Lays a command out without telling the device; [`flush`](Self::flush) does, for all of them.
    ///
    /// # Errors
    /// As above.
    pub fn enqueue(&mut self, queue: u16, command: &Command, shape: &Shape) -> Result<u64> {
        let (cdb_size, sense_size) = (self.config().cdb_size as usize, self.config().sense_size as usize);
        let id = command.id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        let request = command.encode(id, cdb_size);
        let response_len = scsi::RESPONSE_HEADER_LEN + sense_size;
        let outs = (&request[..], &command.data_out[..]);
        let buffers = Buffers::new(&mut self.memory, shape, outs, (response_len, command.data_in))?;
        let lane = &mut self.lanes[usize::from(scsi::FIRST_REQUEST_QUEUE + queue)];
        let added = if shape.indirect {
            lane.queue.add_indirect(&buffers.table, buffers.pieces())
        } else {
            lane.queue.add(buffers.pieces())
        };
        match added {
            Ok(head) => {
                lane.in_flight.insert(head, Pending { id, buffers });
                Ok(id)
            }
            Err(error) => {
                buffers.free(&mut self.memory);
                Err(error)
            }
        }
    }

    /// Shows the device what was enqueued; rings the doorbell if the device asks for it.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn flush(&mut self, queue: u16) -> Result<()> {
        self.flush_virtqueue(scsi::FIRST_REQUEST_QUEUE + queue)
    }

    /// The same for any virtqueue.
    pub(super) fn flush_virtqueue(&mut self, number: u16) -> Result<()> {
        if self.lanes[usize::from(number)].queue.publish() { self.ring_bell(number) } else { Ok(()) }
    }

    /// Rings the doorbell of virtqueue `number`, which was set up.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn ring_bell(&mut self, number: u16) -> Result<()> {
        let doorbell = self.lanes[usize::from(number)].doorbell;
        self.device.notify(&mut self.connection, doorbell, number)
    }

    /// Takes the next completion of a request queue, if there is one.
    ///
    /// # Errors
    /// The device gave back something that it does not have.
    pub fn poll(&mut self, queue: u16) -> Result<Option<Completion>> {
        let lane = &mut self.lanes[usize::from(scsi::FIRST_REQUEST_QUEUE + queue)];
        let Some((pending, len)) = lane.take()? else { return Ok(None) };
        let data = pending.buffers.data_in.to_vec();
        let response = Response::parse(&pending.buffers.response.to_vec(), data, len);
        pending.buffers.free(&mut self.memory);
        Ok(Some(Completion { id: pending.id, response: response? }))
    }

    /// Waits for the next completion of a request queue.
    ///
    /// # Errors
    /// As above; [`Error::TimedOut`].
    pub fn wait(&mut self, queue: u16) -> Result<Completion> {
        let limit = self.options.limit;
        self.wait_for(queue, limit)?.ok_or(Error::TimedOut { what: "completion", limit })
    }

    /// Waits for the next completion of a request queue for at most `limit`.
    ///
    /// # Errors
    /// As above.
    pub fn wait_for(&mut self, queue: u16, limit: Duration) -> Result<Option<Completion>> {
        let number = scsi::FIRST_REQUEST_QUEUE + queue;
        let start = Instant::now();
        if let Some(completion) = self.poll(queue)? {
            return Ok(Some(completion));
        }
        self.wait_used(number, start, limit)?;
        self.poll(queue)
    }

    /// Waits until virtqueue `number` has something to take, or the time is over. With interrupts, the interrupt itself is
    /// waited for, so that a lost one shows.
    pub(super) fn wait_used(&mut self, number: u16, start: Instant, limit: Duration) -> Result<()> {
        let mut looks = 0;
        loop {
            let asked = self.options.interrupts;
            let queue = &mut self.lanes[usize::from(number)].queue;
            if queue.set_interrupts(asked) {
                return Ok(());
            }
            let Some(left) = limit.checked_sub(start.elapsed()) else { return Ok(()) };
            match self.queue_interrupt(number) {
                Some(interrupt) => {
                    let fired = interrupt.wait(left)?;
                    let queue = &mut self.lanes[usize::from(number)].queue;
                    if fired == 0 && start.elapsed() >= limit && queue.set_interrupts(true) {
                        return Err(Error::Device(format!("queue {number} has a completion and no interrupt came")));
                    }
                }
                None => {
                    looks += 1;
                    if looks < SPINS { std::hint::spin_loop() } else { std::thread::sleep(NAP.min(left)) }
                }
            }
        }
    }

    /// Sends one command and waits for it. Nothing else may be in flight on the queue.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`wait`](Self::wait).
    pub fn execute(&mut self, queue: u16, command: &Command) -> Result<Response> {
        self.execute_shaped(queue, command, &Shape::default())
    }

    /// The same, laid out as told.
    ///
    /// # Errors
    /// As above.
    pub fn execute_shaped(&mut self, queue: u16, command: &Command, shape: &Shape) -> Result<Response> {
        let id = self.submit(queue, command, shape)?;
        let completion = self.wait(queue)?;
        if completion.id != id {
            return Err(Error::Command(format!("command {:#x} ended instead of {id:#x}", completion.id)));
        }
        Ok(completion.response)
    }

    /// Commands in flight on a request queue.
    pub fn in_flight(&self, queue: u16) -> usize {
        self.lanes[usize::from(scsi::FIRST_REQUEST_QUEUE + queue)].in_flight.len()
    }
}

impl Lane {
    /// The next request given back, with the bytes that the device wrote.
    pub(super) fn take(&mut self) -> Result<Option<(Pending, u32)>> {
        let Some(used) = self.queue.poll()? else { return Ok(None) };
        let unknown = Error::UnknownHead { queue: self.queue.number(), head: used.head.into() };
        Ok(Some((self.in_flight.remove(&used.head).ok_or(unknown)?, used.len)))
    }
}
