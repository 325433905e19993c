//! A controller as SCSI sees it: a target port of each of its disks, with one initiator port at its other end.
//!
//! The relative identifier of the port is the controller's number, from 1; the initiator port has an address that is a hash
//! of the controller's socket path. So whoever comes back to the same socket, after a restart too, is the same initiator.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reactor::{Handle, Pass};

use crate::scsi::Port;
use crate::scsi::port_groups::AccessState;
use crate::scsi::reservations::{Nexus, SasAddress};
use crate::virtio_scsi::Address;

use super::message::{BarId, Life, Message, Purpose, Scope};
use super::news::News;
use super::sharing::account::Account;
use super::slots::Verdict;
use super::standing::Stir;

/// A target port.
#[derive(Debug)]
pub(crate) struct TargetPort {
    pub(crate) port: Port,
    /// The driver's nexus with it.
    pub(crate) nexus: Nexus,
    /// What a disk's group with this port has at first: an [`AccessState`].
    access: AtomicU8,
    /// What happens to the driver's nexus.
    pub(crate) stir: Arc<Stir>,
    /// What the driver is to be told of.
    pub(crate) news: Arc<News>,
    /// Changes that its driver has asked for, and that are not made yet.
    pub(crate) account: Account,
    reactors: Arc<[Handle<Message>]>,
    /// The one that began last.
    life: Mutex<Option<Life>>,
    /// It has not ended.
    is_live: AtomicBool,
}

impl TargetPort {
    /// The port of the controller on the socket `name`, whose queues are on `reactors`.
    pub(crate) fn new(port: Port, name: &str, access: AccessState, reactors: Arc<[Handle<Message>]>) -> Self {
        let nexus = Nexus { initiator: SasAddress::derive(name), port: port.relative };
        let access = AtomicU8::new(access as u8);
        let (stir, news, account) = (Arc::default(), Arc::default(), Account::default());
        let (life, is_live) = (Mutex::default(), AtomicBool::default());
        Self { port, nexus, access, stir, news, account, reactors, life, is_live }
    }

    /// The port `relative` of a test without reactors.
    #[cfg(test)]
    pub(crate) fn of_test(relative: u16) -> Arc<Self> {
        let name = format!("test {relative}");
        Arc::new(Self::new(Port::derive(relative, &name), &name, AccessState::default(), Arc::new([])))
    }

    /// What a disk's group with this port has at first.
    pub(crate) fn access(&self) -> AccessState {
        AccessState::from_code(self.access.load(Ordering::Relaxed)).expect("only states are stored")
    }

    /// Disks that come from now on begin with this.
    pub(crate) fn set_access(&self, access: AccessState) {
        self.access.store(access as u8, Ordering::Relaxed);
    }

    /// The device of this port begins another life.
    pub(crate) fn begin(&self, life: Life) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
        self.is_live.store(true, Ordering::Release);
    }

    /// That life comes to its end.
    pub(crate) fn end(&self) {
        self.is_live.store(false, Ordering::Release);
    }

    /// Whether there is a driver at work.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    /// Those that serve its queues.
    pub(crate) fn reactors(&self) -> &[Handle<Message>] {
        &self.reactors
    }

    /// How many reactors [`ends`](Self::ends) wants a pass for.
    pub(crate) fn parties(&self) -> usize {
        self.reactors.len()
    }

    /// Messages that end, for another initiator, the commands that the device has taken for the logical unit at `address`,
    /// with the reactor that each is for. A life that is over has none. `origin` is woken when they have.
    pub(crate) fn ends(
        &self,
        address: Address,
        verdict: Verdict,
        passes: Vec<Pass>,
        origin: Option<&Handle<Message>>,
    ) -> Vec<(Handle<Message>, Message)> {
        let Some(life) = *self.life.lock().unwrap_or_else(PoisonError::into_inner) else { return Vec::new() };
        let message = |(reactor, pass): (&Handle<Message>, Pass)| {
            let (scope, origin) = (Scope::Unit(address), origin.unwrap_or(reactor).clone());
            let (bar, purpose) = (BarId::next(), Purpose::EndTaken(verdict));
            let message = Message::Tasks { life, bar, scope, purpose, pass, origin };
            (reactor.clone(), message)
        };
        self.reactors.iter().zip(passes).map(message).collect()
    }

    /// Messages that let commands go on that nothing holds back any more, with the reactor that each is for. A life that is over
    /// has none.
    pub(crate) fn lifts(&self) -> Vec<(Handle<Message>, Message)> {
        let Some(life) = *self.life.lock().unwrap_or_else(PoisonError::into_inner) else { return Vec::new() };
        let lift = |reactor: &Handle<Message>| (reactor.clone(), Message::Lift { life, bar: BarId::next() });
        self.reactors.iter().map(lift).collect()
    }
}
