//! The listening socket and its file.

/// Why a server could not listen.
#[derive(Debug, thiserror::Error)]
#[error("the socket could not be set up")]
pub struct BindError {}
