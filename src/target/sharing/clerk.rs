//! The thread that changes what disks share, one change after the other: it waits for files and for commands of other
//! guests, which no reactor may. Guests are served in [turn](super::turns), and each has a bounded [account](super::account).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use reactor::Gate;

use crate::scsi::reservations::Nexus;
use crate::scsi::{Demand, Outcome};

use super::super::ticket::Ticket;
use super::Sharing;
use super::account::Account;
use super::turns::Turns;

/// How often it looks whether commands that it ended have been answered.
const LOOK: Duration = Duration::from_millis(1);

/// What the clerk is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Change what a disk's ports share.
    Change(Change),
    /// End.
    Stop,
}

/// A change of what a disk's ports share.
#[derive(Debug)]
pub(crate) struct Change {
    /// Of which disk.
    pub(super) sharing: Arc<Sharing>,
    /// Who wants it.
    pub(super) nexus: Nexus,
    /// What.
    pub(super) demand: Box<Demand>,
    /// Where the answer is waited for, unless it is given up.
    pub(super) ticket: Ticket,
    /// By which it is counted.
    pub(super) account: Account,
}

/// Who carries orders out.
#[derive(Debug)]
pub(crate) struct Clerk {
    orders: Receiver<Order>,
    /// Changes that wait for their turn.
    turns: Turns<Change>,
    /// Changes that are made, and wait for the end of commands of others.
    open: Vec<(Gate, Ticket, Account)>,
    /// What was begun, and not done.
    #[cfg(test)]
    begun: Vec<Change>,
}

impl Clerk {
    /// A clerk, and the way to it.
    pub(crate) fn new() -> (Sender<Order>, Self) {
        let (sender, orders) = channel();
        let clerk = Self {
            orders,
            turns: Turns::default(),
            open: Vec::new(),
            #[cfg(test)]
            begun: Vec::new(),
        };
        (sender, clerk)
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        while self.take_in() {
            if let Some(change) = self.turns.next() {
                self.carry_out(change);
            }
            self.settle();
        }
    }

    /// Takes in what was ordered, and waits for an order as long as there is nothing else to do. False if it is to end.
    fn take_in(&mut self) -> bool {
        let first = match (self.turns.is_empty(), self.open.is_empty()) {
            (false, _) => self.orders.recv_timeout(Duration::ZERO),
            (true, false) => self.orders.recv_timeout(LOOK),
            (true, true) => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let first = match first {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        for order in first.into_iter().chain(self.orders.try_iter()) {
            match order {
                Order::Change(change) => self.turns.add(change.nexus, change),
                Order::Stop => return false,
            }
        }
        true
    }

    /// Does all that can be done now. Whether that was anything.
    #[cfg(test)]
    pub(crate) fn pass(&mut self) -> bool {
        let (begun, open) = (std::mem::take(&mut self.begun), self.open.len());
        let mut count = begun.len();
        begun.into_iter().for_each(|change| self.finish(change));
        self.sort();
        while let Some(change) = self.turns.next() {
            self.carry_out(change);
            count += 1;
        }
        self.settle();
        count > 0 || self.open.len() < open
    }

    /// Begins all that there is, and does none of it: [`pass`](Self::pass) does. How many there were.
    #[cfg(test)]
    pub(crate) fn begin(&mut self) -> usize {
        self.sort();
        while let Some(change) = self.turns.next() {
            self.begun.extend(Some(change).filter(|change| change.ticket.begin()));
        }
        self.begun.len()
    }

    /// As [`take_in`](Self::take_in), without waiting.
    #[cfg(test)]
    fn sort(&mut self) {
        for order in self.orders.try_iter() {
            let Order::Change(change) = order else { return };
            self.turns.add(change.nexus, change);
        }
    }

    fn carry_out(&mut self, change: Change) {
        // If it is wanted still. Whoever ends its command from now on waits until it is done.
        if change.ticket.begin() {
            self.finish(change);
        }
    }

    fn finish(&mut self, change: Change) {
        let Change { sharing, nexus, demand, ticket, account } = change;
        let made = sharing.carry_out(nexus, &demand);
        ticket.done();
        match made {
            Ok(gate) => self.open.push((gate, ticket, account)),
            Err(outcome) => ticket.settle(outcome),
        }
    }

    /// Answers what waits for nobody any more.
    fn settle(&mut self) {
        for (_, ticket, _) in self.open.extract_if(.., |(gate, ..)| gate.is_open()) {
            ticket.settle(Outcome::GOOD);
        }
    }
}
