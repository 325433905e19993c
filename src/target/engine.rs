//! What io_uring of this machine gives: looked at once, when the first disk comes that needs it.

use bdev::{Bdev, Io, IoConfig, LateRegistrar, Registrar};

use crate::config::{Register, ServeConfig};

/// What was found and chosen.
#[derive(Debug)]
pub(super) struct Engine {
    /// Whether guest memory is to be registered, and in pieces of what length.
    wanted: (Register, Option<u64>),
    /// Registers guest memory, if that is wanted and can be.
    registrar: LateRegistrar,
    /// For people. `None` if no disk has needed io_uring.
    description: Option<String>,
    has_looked: bool,
    is_told: bool,
}

impl Engine {
    /// Nothing is known yet.
    pub(super) fn new(config: &ServeConfig) -> Self {
        let wanted = (config.register, config.register_chunk);
        Self { wanted, registrar: LateRegistrar::default(), description: None, has_looked: false, is_told: false }
    }

    /// What the user wants of memory, which cannot change.
    pub(super) fn wanted(&self) -> (Register, Option<u64>) {
        self.wanted
    }

    /// What registers memory, from when there is a disk that has something of it.
    pub(super) fn registrar(&self) -> LateRegistrar {
        self.registrar.clone()
    }

    /// What was found, for people.
    pub(super) fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Looks, if one of `disks` is the first behind io_uring. Never fails: what is missing is done without, or said by the
    /// reactors.
    pub(super) fn look<'a>(&mut self, mut disks: impl Iterator<Item = &'a dyn Bdev>) {
        if self.has_looked || !disks.any(Bdev::needs_ring) {
            return;
        }
        self.has_looked = true;
        let (registrar, memory) = find_registrar(self.wanted);
        let mut io = Io::new(IoConfig { entries: 1, channels: 1, ..IoConfig::default() });
        // If there is none the reactors will say so.
        if io.open_ring().is_ok() {
            registrar.into_iter().for_each(|registrar| _ = self.registrar.set(registrar));
            self.description = Some(format!("{}; guest memory {memory}", io.ring_description().unwrap_or_default()));
        }
    }

    /// Tells what was found, once.
    pub(super) fn tell(&mut self) {
        if let Some(description) = &self.description
            && !std::mem::replace(&mut self.is_told, true)
        {
            tracing::info!("io_uring: {description}");
        }
    }
}

fn find_registrar((register, chunk): (Register, Option<u64>)) -> (Option<Registrar>, String) {
    if register == Register::Off {
        return (None, "not registered, as asked for".to_owned());
    }
    match Registrar::new(chunk.and_then(|bytes| usize::try_from(bytes).ok())) {
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
