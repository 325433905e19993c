//! The kinds of backends and the wrappers around them: the two tables that name them all. A new one is a line here, and all
//! else about it stands in its own file or folder.

use super::{Kind, WrapperKind};
use crate::wrappers::{delay, error, split};
use crate::{file, mem, null, nvme};

/// All kinds. The first one is meant where none is named.
pub const KINDS: &[Kind] = &[file::FILE, file::URING, file::THREADS, nvme::KIND, null::KIND, mem::KIND];

/// All wrappers, from the inside out.
pub(super) const WRAPPERS: &[WrapperKind] = &[split::KIND, error::KIND, delay::KIND];
