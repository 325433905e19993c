//! The control queue and the event queue.

use std::time::Instant;

use super::error::{Error, Result};
use super::framing::{Buffers, Shape};
use super::queue::Piece;
use super::spec::scsi;
use super::task::{Event, TaskManagement};
use super::{Guest, Pending};

impl Guest {
    /// Sends a task management request without waiting for its answer.
    ///
    /// # Errors
    /// No room; the connection is gone.
    pub fn submit_task_management(&mut self, request: &TaskManagement) -> Result<()> {
        self.submit_control(&request.encode(), 1, &Shape::default())
    }

    /// Sends any bytes on the control queue, with room for `answer_len` bytes of answer.
    ///
    /// # Errors
    /// As above.
    pub fn submit_control(&mut self, request: &[u8], answer_len: usize, shape: &Shape) -> Result<()> {
        let buffers = Buffers::new(&mut self.memory, shape, (request, &[]), (answer_len, 0))?;
        // A response code that no device gives.
        buffers.response.fill(0xFF);
        let lane = &mut self.lanes[usize::from(scsi::CONTROL_QUEUE)];
        match lane.queue.add(buffers.pieces()) {
            Ok(head) => lane.in_flight.insert(head, Pending { id: 0, buffers }),
            Err(error) => {
                buffers.free(&mut self.memory);
                return Err(error);
            }
        };
        self.flush_virtqueue(scsi::CONTROL_QUEUE)
    }

    /// Takes the next answer from the control queue, if there is one.
    ///
    /// # Errors
    /// The device gave back something that it does not have.
    pub fn poll_control(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((pending, _)) = self.lanes[usize::from(scsi::CONTROL_QUEUE)].take()? else { return Ok(None) };
        let answer = pending.buffers.response.to_vec();
        pending.buffers.free(&mut self.memory);
        Ok(Some(answer))
    }

    /// Waits for the next answer from the control queue.
    ///
    /// # Errors
    /// As above; [`Error::TimedOut`].
    pub fn wait_control(&mut self) -> Result<Vec<u8>> {
        let limit = self.options.limit;
        self.wait_used(scsi::CONTROL_QUEUE, Instant::now(), limit)?;
        self.poll_control()?.ok_or(Error::TimedOut { what: "answer on the control queue", limit })
    }

    /// Has a task management function carried out; returns the response code.
    ///
    /// # Errors
    /// As above.
    pub fn task_management(&mut self, request: &TaskManagement) -> Result<u8> {
        self.submit_task_management(request)?;
        Ok(self.wait_control()?[0])
    }

    /// Gives the device `count` buffers to put events in.
    ///
    /// # Errors
    /// As above.
    pub fn post_event_buffers(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let window = self.memory.allocate(scsi::EVENT_LEN, 8)?;
            let piece = Piece { gpa: window.gpa(), len: scsi::EVENT_LEN as u32, device_writes: true };
            let queue = &mut self.lanes[usize::from(scsi::EVENT_QUEUE)].queue;
            let head = queue.add(&[piece])?;
            self.events.insert(head, window);
        }
        self.flush_virtqueue(scsi::EVENT_QUEUE)
    }

    /// Takes the next event, if there is one. Its buffer is not posted again.
    ///
    /// # Errors
    /// As above.
    pub fn poll_event(&mut self) -> Result<Option<Event>> {
        let queue = &mut self.lanes[usize::from(scsi::EVENT_QUEUE)].queue;
        let Some(used) = queue.poll()? else { return Ok(None) };
        let unknown = Error::UnknownHead { queue: scsi::EVENT_QUEUE, head: used.head.into() };
        let window = self.events.remove(&used.head).ok_or(unknown)?;
        let mut bytes = [0; scsi::EVENT_LEN];
        window.read(0, &mut bytes);
        self.memory.free(&window);
        Ok(Some(Event::parse(&bytes)))
    }
}
