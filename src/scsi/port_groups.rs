//! Target port groups: how well a disk can be reached through each of its ports (SPC-5, asymmetric logical unit access).
//!
//! A [`PortGroups`] is all that one disk knows of them: a plain value without locks. The caller keeps one for each disk that
//! several ports show, changes it when an initiator (SET TARGET PORT GROUPS) or the user asks for it, and raises ASYMMETRIC
//! ACCESS STATE CHANGED at the nexuses of every group that comes back as changed.

use super::reply::Reply;
use super::sense::Sense;
use super::spec::{Asc, SenseKey};

/// How a port group reaches the disk (SPC-5, target port asymmetric access states).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum AccessState {
    /// As well as any.
    #[default]
    ActiveOptimized = 0,
    /// All commands work, others work better.
    ActiveNonOptimized = 1,
    /// The medium cannot be reached; the disk tells about itself, and reservations can be changed.
    Standby = 2,
    /// The disk tells about itself.
    Unavailable = 3,
}

impl AccessState {
    /// The state with this code. Offline and transitioning are never those of a group here.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::ActiveOptimized,
            1 => Self::ActiveNonOptimized,
            2 => Self::Standby,
            3 => Self::Unavailable,
            _ => return None,
        })
    }

    /// Why a command that needs more than the state gives is not done; none if all are.
    pub const fn refusal(self) -> Option<Sense> {
        match self {
            Self::ActiveOptimized | Self::ActiveNonOptimized => None,
            Self::Standby => Some(Sense::new(SenseKey::NOT_READY, Asc::TARGET_PORT_IN_STANDBY)),
            Self::Unavailable => Some(Sense::new(SenseKey::NOT_READY, Asc::TARGET_PORT_UNAVAILABLE)),
        }
    }
}

/// Who gave a group its state (SPC-5, STATUS CODE of a target port group descriptor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
enum Origin {
    #[default]
    Nobody = 0,
    /// SET TARGET PORT GROUPS.
    Initiator = 1,
    /// The user of this program.
    Target = 2,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    id: u16,
    state: AccessState,
    origin: Origin,
    /// Relative target port identifiers, ascending.
    ports: Vec<u16>,
}

/// The port groups of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortGroups {
    /// Ascending by id.
    groups: Vec<Group>,
}

/// Bytes of a parameter list of SET TARGET PORT GROUPS that are accepted at most: far more groups than one disk has.
pub const SET_LIST_LEN_MAX: usize = 4 + 4 * 256;

impl PortGroups {
    /// Adds a port. Its group is made with `state` if there is none with that `group` id; else it keeps the state that it
    /// has. Both numbers are from 1 up.
    pub fn add(&mut self, port: u16, group: u16, state: AccessState) {
        self.remove(port);
        match self.groups.binary_search_by_key(&group, |known| known.id) {
            Ok(place) => {
                let ports = &mut self.groups[place].ports;
                let at = ports.partition_point(|&other| other < port);
                ports.insert(at, port);
            }
            Err(place) => {
                self.groups.insert(place, Group { id: group, state, origin: Origin::Nobody, ports: vec![port] });
            }
        }
    }

    /// Removes a port, and with the last one its group.
    pub fn remove(&mut self, port: u16) {
        for group in &mut self.groups {
            group.ports.retain(|&other| other != port);
        }
        self.groups.retain(|group| !group.ports.is_empty());
    }

    /// The group of `port`, and its state.
    pub fn of(&self, port: u16) -> Option<(u16, AccessState)> {
        let group = self.groups.iter().find(|group| group.ports.contains(&port))?;
        Some((group.id, group.state))
    }

    /// All ports, ascending within each group.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.groups.iter().flat_map(|group| group.ports.iter().copied())
    }

    /// The ports of a group.
    pub fn ports_of(&self, group: u16) -> &[u16] {
        self.groups.iter().find(|known| known.id == group).map_or(&[], |known| &known.ports)
    }

    /// The user gives a group another state. Whether that changed anything; `None` if there is no such group.
    pub fn set(&mut self, group: u16, state: AccessState) -> Option<bool> {
        let known = self.groups.iter_mut().find(|known| known.id == group)?;
        Some(known.change(state, Origin::Target))
    }

    /// REPORT TARGET PORT GROUPS; `extended` is PARAMETER DATA FORMAT 1.
    pub fn report(&self, extended: bool, reply: &mut Reply) {
        const EXTENDED: [u8; 4] = [0x10, 0, 0, 0];
        // Active/optimized, active/non-optimized, standby, unavailable: bits 0 to 3 of the states that are supported.
        const SUPPORTED: u8 = 0x0f;
        let descriptors: usize = self.groups.iter().map(|group| 8 + 4 * group.ports.len()).sum();
        let length = descriptors + if extended { EXTENDED.len() } else { 0 };
        reply.put(&(length as u32).to_be_bytes());
        if extended {
            reply.put(&EXTENDED);
        }
        for group in &self.groups {
            let [high, low] = group.id.to_be_bytes();
            // TARGET PORT COUNT has one byte: a controller more than it can count is not told of here.
            let count = group.ports.len().min(255) as u8;
            reply.put(&[group.state as u8, SUPPORTED, high, low, 0, group.origin as u8, 0, count]);
            for port in group.ports.iter().take(255) {
                let [high, low] = port.to_be_bytes();
                reply.put(&[0, 0, high, low]);
            }
        }
    }

    /// SET TARGET PORT GROUPS with this parameter list. The groups whose state changed.
    ///
    /// # Errors
    /// PARAMETER LIST LENGTH ERROR, or INVALID FIELD IN PARAMETER LIST: then nothing has changed.
    pub fn set_by_initiator(&mut self, list: &[u8]) -> Result<Vec<u16>, Sense> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        if list.len() < 4 || !list.len().is_multiple_of(4) || list.len() > SET_LIST_LEN_MAX {
            return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
        }
        let mut next = self.clone();
        let mut changed = Vec::new();
        for (index, descriptor) in list[4..].chunks_exact(4).enumerate() {
            let at = 4 + 4 * index as u16;
            let id = u16::from_be_bytes([descriptor[2], descriptor[3]]);
            let state = AccessState::from_code(descriptor[0] & 0x0f).ok_or(Sense::invalid_parameter(at, Some(3)))?;
            let group =
                next.groups.iter_mut().find(|group| group.id == id).ok_or(Sense::invalid_parameter(at + 2, None))?;
            if group.change(state, Origin::Initiator) {
                changed.push(id);
            }
        }
        *self = next;
        Ok(changed)
    }
}

impl Group {
    fn change(&mut self, state: AccessState, origin: Origin) -> bool {
        let changes = self.state != state;
        if changes {
            (self.state, self.origin) = (state, origin);
        }
        changes
    }
}

#[cfg(test)]
mod tests;
