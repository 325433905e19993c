//! The target port through which a command came: what a logical unit calls it in its pages.

use super::{Naa, hash};

/// A target port of a disk. A controller is one for each disk that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    /// Relative target port identifier: which of the disk's ports it is, from 1.
    pub relative: u16,
    /// Target port group; none where access is symmetric.
    pub group: Option<u16>,
    /// Its name.
    pub naa: Naa,
}

impl Port {
    /// The port number `relative`, whose name is a hash of the string `stable` that its owner keeps stable.
    pub fn derive(relative: u16, stable: &str) -> Self {
        Self { relative, group: None, naa: Naa::local(hash(&["port:", stable])) }
    }

    /// The name of the target device that the port belongs to: it has no other.
    pub(in crate::scsi) fn target_naa(&self) -> Naa {
        Naa::local(hash(&["target:", &self.naa.to_string()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts with several paths know a port by its name.
    #[test]
    fn derived_names_are_pinned() {
        let port = Port::derive(2, "/run/vm0.sock");
        assert_eq!((port.relative, port.group, port.naa.to_string().as_str()), (2, None, "34332a6301da3be4"));
        assert_ne!(Port::derive(2, "/run/vm1.sock").naa, port.naa);
    }
}
