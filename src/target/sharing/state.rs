//! What is shared of one disk, as it is under its lock, and the logical units of controllers that are this disk.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use reactor::Handle;

use super::Seat;
use super::fence;
use crate::scsi::port_groups::AccessState;
use crate::scsi::reservations::{Changes, Nexus};
use crate::scsi::{Attention, Rod, Shared};
use crate::target::message::Message;
use crate::target::news::event_of;
use crate::target::standing::Standing;
use crate::target::target_port::TargetPort;
use crate::virtio_scsi::Address;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) shared: Shared,
    pub(super) members: Vec<Member>,
    /// Those of the members when somebody looked last.
    pub(super) nexuses: HashSet<Nexus>,
    /// What tokens stand for that are in use.
    pub(super) watched: Vec<Weak<Rod>>,
    /// START STOP UNIT has stopped it.
    pub(super) stopped: bool,
    /// Its medium is out.
    pub(super) ejected: bool,
    /// Who wants a range of it for himself.
    pub(super) line: fence::Line,
    /// All that have ever served a controller that shows it: they may have operations of former lives.
    pub(super) reactors: Vec<Handle<Message>>,
}

/// A logical unit of a controller that is this disk.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) port: Arc<TargetPort>,
    pub(super) address: Address,
    pub(super) standing: Weak<Standing>,
    /// It was told that space runs short, which still is so.
    pub(super) is_warned: bool,
    /// No address leads to it any more, but requests may be on it.
    pub(super) is_parting: bool,
    /// Its nexus wants the medium to stay in.
    pub(super) prevents: bool,
}

impl Member {
    pub(super) fn new(port: Arc<TargetPort>, address: Address, standing: Weak<Standing>) -> Self {
        Self { port, address, standing, is_warned: false, is_parting: false, prevents: false }
    }

    pub(super) fn is(&self, port: &Arc<TargetPort>, address: Address) -> bool {
        Arc::ptr_eq(&self.port, port) && self.address == address
    }

    pub(super) fn has(&self, standing: &Arc<Standing>) -> bool {
        std::ptr::eq(self.standing.as_ptr(), Arc::as_ptr(standing))
    }

    /// Its controller has not dropped it.
    pub(super) fn is_there(&self) -> bool {
        self.standing.strong_count() > 0
    }

    /// Tells its nexus of something that another has caused.
    pub(super) fn tell(&self, standing: &Standing, attention: Attention) {
        standing.raise(attention);
        if !self.is_parting {
            self.port.news.announce(&[event_of(attention, self.address)]);
        }
    }
}

impl State {
    pub(super) fn living(&self) -> impl Iterator<Item = (&Member, Arc<Standing>)> {
        self.members.iter().filter_map(|member| Some((member, member.standing.upgrade()?)))
    }

    /// Forgets who does not show the disk any more, and what the nexuses had that have no way to it now.
    pub(super) fn prune(&mut self) {
        let Self { shared, members, nexuses, .. } = self;
        members.retain(Member::is_there);
        let stays = || members.iter().filter(|member| !member.is_parting);
        let mut ports: Vec<_> = stays().map(|member| member.port.port).collect();
        ports.sort_unstable_by_key(|port| port.relative);
        ports.dedup();
        for gone in shared.ports.iter().filter(|port| !ports.contains(port)) {
            shared.groups.remove(gone.relative);
        }
        let mut has_changed = *ports != *shared.ports;
        shared.ports = ports;
        let present: HashSet<_> = stays().map(|member| member.port.nexus).collect();
        if *nexuses != present {
            nexuses.difference(&present).for_each(|&gone| shared.registry.nexus_lost(gone));
            *nexuses = present;
            has_changed = true;
        }
        if has_changed {
            self.publish();
        }
    }

    /// Writes down for each nexus what it may do, and what holds for the unit.
    pub(super) fn publish(&self) {
        let unit = self.unit();
        for (member, standing) in self.living() {
            standing.set_unit(unit);
            standing.set_rights(self.shared.registry.rights(member.port.nexus));
            if !member.is_parting {
                let group = self.shared.groups.of(member.port.port.relative);
                standing.set_access(group.map_or(AccessState::default(), |(_, access)| access));
            }
        }
    }

    /// Raises the attentions of what `sender` has changed.
    pub(super) fn tell(&self, sender: Nexus, changes: &Changes, groups: &[u16]) {
        for (member, standing) in self.living() {
            let own = changes.attentions.iter().filter(|(nexus, _)| *nexus == member.port.nexus);
            own.for_each(|&(_, attention)| member.tell(&standing, attention));
        }
        if !groups.is_empty() {
            self.tell_groups(Some(sender));
        }
    }

    /// Tells every nexus but `sender`.
    pub(super) fn tell_others(&self, sender: Nexus, attention: Attention) {
        let others = self.living().filter(|(member, _)| member.port.nexus != sender);
        others.for_each(|(member, standing)| member.tell(&standing, attention));
    }

    /// A port group has another state: every nexus but that which changed it is told, for it may be the one that has to
    /// take another path.
    pub(super) fn tell_groups(&self, sender: Option<Nexus>) {
        for (member, standing) in self.living() {
            if sender != Some(member.port.nexus) && member.port.port.group.is_some() {
                member.tell(&standing, Attention::AccessStateChanged);
            }
        }
    }

    /// The commands of `nexuses` are to end, and with them what faults there were (SPC-5, PREEMPT AND ABORT).
    pub(super) fn clear_aca_of(&self, nexuses: &[Nexus]) {
        let concerned = self.living().filter(|(member, _)| nexuses.contains(&member.port.nexus));
        concerned.for_each(|(_, standing)| standing.clear_aca());
    }

    pub(super) fn seats_of(&self, nexuses: &[Nexus]) -> Vec<Seat> {
        let concerned = self.members.iter().filter(|member| nexuses.contains(&member.port.nexus));
        concerned.map(|member| (member.port.clone(), member.address)).collect()
    }
}
