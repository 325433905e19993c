//! The thread that changes what disks share, one change after the other: it waits for files and for commands of other
//! guests, which no reactor may.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use reactor::Gate;

use crate::scsi::reservations::Nexus;
use crate::scsi::{Demand, Outcome};

use super::super::ticket::Ticket;
use super::Sharing;

/// How often it looks whether commands that it ended have been answered.
const LOOK: Duration = Duration::from_millis(1);

/// What the clerk is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Change what a disk's ports share.
    Change {
        /// Of which disk.
        sharing: Arc<Sharing>,
        /// Who wants it.
        nexus: Nexus,
        /// What.
        demand: Box<Demand>,
        /// Where the answer is waited for, unless it is given up.
        ticket: Ticket,
    },
    /// End.
    Stop,
}

/// Who carries orders out.
#[derive(Debug)]
pub(crate) struct Clerk {
    orders: Receiver<Order>,
    /// Changes that are made, and wait for the end of commands of others.
    open: Vec<(Gate, Ticket)>,
    /// What was begun, and not done.
    #[cfg(test)]
    begun: Vec<Order>,
}

impl Order {
    /// Whether it is wanted still. If it is, whoever ends its command from now on waits until it is done.
    fn begin(&self) -> bool {
        match self {
            Self::Change { ticket, .. } => ticket.begin(),
            Self::Stop => true,
        }
    }
}

impl Clerk {
    /// A clerk, and the way to it.
    pub(crate) fn new() -> (Sender<Order>, Self) {
        let (sender, orders) = channel();
        let clerk = Self {
            orders,
            open: Vec::new(),
            #[cfg(test)]
            begun: Vec::new(),
        };
        (sender, clerk)
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        loop {
            let next = match self.open.is_empty() {
                true => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.orders.recv_timeout(LOOK),
            };
            match next {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(order) => self.carry_out(order),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.settle();
        }
    }

    /// Does all that can be done now. Whether that was anything.
    #[cfg(test)]
    pub(crate) fn pass(&mut self) -> bool {
        let (begun, orders): (_, Vec<_>) = (std::mem::take(&mut self.begun), self.orders.try_iter().collect());
        let (count, open) = (begun.len() + orders.len(), self.open.len());
        begun.into_iter().for_each(|order| self.finish(order));
        orders.into_iter().for_each(|order| self.carry_out(order));
        self.settle();
        count > 0 || self.open.len() < open
    }

    /// Begins all that there is, and does none of it: [`pass`](Self::pass) does. How many there were.
    #[cfg(test)]
    pub(crate) fn begin(&mut self) -> usize {
        let begun = self.orders.try_iter().filter(Order::begin);
        self.begun.extend(begun);
        self.begun.len()
    }

    fn carry_out(&mut self, order: Order) {
        // If not, the command has been ended by others.
        if order.begin() {
            self.finish(order);
        }
    }

    fn finish(&mut self, order: Order) {
        match order {
            Order::Change { sharing, nexus, demand, ticket } => {
                let made = sharing.carry_out(nexus, &demand);
                ticket.done();
                match made {
                    Ok(gate) => self.open.push((gate, ticket)),
                    Err(outcome) => ticket.settle(outcome),
                }
            }
            Order::Stop => {}
        }
    }

    /// Answers what waits for nobody any more.
    fn settle(&mut self) {
        for (_, ticket) in self.open.extract_if(.., |(gate, _)| gate.is_open()) {
            ticket.settle(Outcome::GOOD);
        }
    }
}
