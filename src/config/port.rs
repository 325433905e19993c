//! Target port groups: how well a controller reaches its disks, for guests that reach them through several.

use std::fmt;
use std::path::PathBuf;

use super::{ConfigError, ControllerConfig};

/// How well a target port group reaches its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessState {
    /// As well as any.
    #[default]
    Optimized,
    /// All commands work, others work better.
    NonOptimized,
    /// The disks tell about themselves, and reservations can be changed.
    Standby,
    /// The disks tell about themselves.
    Unavailable,
}

impl fmt::Display for AccessState {
    /// As the user writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Optimized => "optimized",
            Self::NonOptimized => "non-optimized",
            Self::Standby => "standby",
            Self::Unavailable => "unavailable",
        })
    }
}

/// Checks what one controller says.
pub(super) fn check(socket: &str, group: Option<u16>, state: Option<AccessState>) -> Result<(), ConfigError> {
    let wrong = |why: &str| Err(ConfigError::PortGroup { socket: socket.into(), why: why.into() });
    match (group, state) {
        (Some(0), _) => wrong("--port-group is 1 to 65535"),
        (None, Some(_)) => wrong("--access-state is that of a --port-group, which it has not"),
        _ => Ok(()),
    }
}

/// Checks that no two controllers say different things about one group.
pub(super) fn check_all(controllers: &[ControllerConfig]) -> Result<(), ConfigError> {
    for (index, controller) in controllers.iter().enumerate() {
        let differs = |before: &&ControllerConfig| {
            before.port_group == controller.port_group && before.access_state != controller.access_state
        };
        let before = controllers[..index].iter().filter(|_| controller.port_group.is_some()).find(differs);
        if let Some(before) = before {
            let why = format!("{} is in its --port-group with another --access-state", before.socket.display());
            return Err(ConfigError::PortGroup { socket: controller.socket.display().to_string(), why });
        }
    }
    Ok(())
}

/// Where reservations are kept if the user does not say: `annulus` in `XDG_STATE_HOME`, or what that is by default.
pub(super) fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(home) = absolute("XDG_STATE_HOME") {
        return Some(home.join("annulus"));
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/annulus".into());
    }
    Some(absolute("HOME")?.join(".local/state/annulus"))
}
