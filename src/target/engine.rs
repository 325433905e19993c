//! What io_uring of this machine gives: looked at once, at start.

use bdev::{Io, IoConfig, Registrar};

use crate::config::{BackendConfig, Register, ServeConfig};

/// What was found and chosen.
#[derive(Debug)]
pub(super) struct Engine {
    /// Registers guest memory, if that is wanted and can be.
    pub(super) registrar: Option<Registrar>,
    /// For people. `None` if no disk needs io_uring.
    pub(super) description: Option<String>,
}

impl Engine {
    /// Looks, if a disk is behind io_uring. Never fails: what is missing is done without, or said by the reactors.
    pub(super) fn probe(config: &ServeConfig) -> Self {
        let mut disks = config.controllers.iter().flat_map(|controller| &controller.disks);
        if !disks.any(|placed| matches!(placed.disk.backend, BackendConfig::File { .. } | BackendConfig::Nvme { .. })) {
            return Self { registrar: None, description: None };
        }
        let (registrar, memory) = registrar(config);
        let mut io = Io::new(IoConfig { entries: 1, channels: 1, ..IoConfig::default() });
        let ring = match io.open_ring() {
            Ok(()) => io.ring_description().unwrap_or_default().to_owned(),
            // The reactors will say so.
            Err(_) => return Self { registrar: None, description: None },
        };
        let description = format!("{ring}; guest memory {memory}");
        Self { registrar, description: Some(description) }
    }
}

fn registrar(config: &ServeConfig) -> (Option<Registrar>, String) {
    if config.register == Register::Off {
        return (None, "not registered, as asked for".to_owned());
    }
    match Registrar::new(config.register_chunk.and_then(|bytes| usize::try_from(bytes).ok())) {
        Ok(registrar) => {
            let how = format!("registered, {}", registrar.description());
            (Some(registrar), how)
        }
        Err(error) => {
            tracing::warn!("guest memory is not registered with io_uring, which costs some speed: {error}");
            (None, "not registered".to_owned())
        }
    }
}
