//! The thread that changes what disks share, one change after the other: it waits for files and for commands of other
//! guests, which no reactor may.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use reactor::Gate;

use crate::scsi::reservations::Nexus;
use crate::scsi::{Demand, ModeChange, Outcome};

use super::super::standing::Standing;
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
        /// Where the answer is waited for. Nobody else has it: the command has ended.
        ticket: Ticket,
    },
    /// Change mode pages of a target port, and keep them.
    SaveMode {
        /// Of which disk.
        sharing: Arc<Sharing>,
        /// Who wants it.
        nexus: Nexus,
        /// Where they are.
        standing: Arc<Standing>,
        /// What.
        change: ModeChange,
        /// Where the answer is waited for. Nobody else has it: the command has ended.
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
}

impl Clerk {
    /// A clerk, and the way to it.
    pub(crate) fn new() -> (Sender<Order>, Self) {
        let (sender, orders) = channel();
        (sender, Self { orders, open: Vec::new() })
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
        let orders: Vec<_> = self.orders.try_iter().collect();
        let (count, open) = (orders.len(), self.open.len());
        orders.into_iter().for_each(|order| self.carry_out(order));
        self.settle();
        count > 0 || self.open.len() < open
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Change { ticket, .. } | Order::SaveMode { ticket, .. } if ticket.is_abandoned() => {}
            Order::Change { sharing, nexus, demand, ticket } => match sharing.carry_out(nexus, &demand) {
                Ok(gate) => self.open.push((gate, ticket)),
                Err(outcome) => ticket.settle(outcome),
            },
            Order::SaveMode { sharing, nexus, standing, change, ticket } => {
                let saved = sharing.carry_out_save(nexus, &standing, change);
                ticket.settle(saved.map_or_else(|outcome| outcome, |()| Outcome::GOOD));
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
