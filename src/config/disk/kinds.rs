//! The kinds of disks: the one table that names them all.
//!
//! A new backend gets a line here, a [`BackendConfig`], and where `target` opens disks the arm that the compiler then asks for.

use super::fields::Fields;
use super::{BackendConfig, Engine};

/// A kind of disk.
pub(super) struct Kind {
    /// What stands before the colon.
    pub(super) name: &'static str,
    /// The first field may be a path without `path=`.
    pub(super) takes_path: bool,
    /// A disk string of this kind.
    pub(super) example: &'static str,
    /// Takes its own keys.
    pub(super) read: fn(&mut Fields) -> Result<BackendConfig, String>,
}

/// All of them. The first one is meant where no kind is named.
pub(super) const KINDS: &[Kind] = &[
    Kind { name: "file", takes_path: true, example: "file:disk.img", read: |fields| fields.file(Engine::Auto) },
    Kind { name: "uring", takes_path: true, example: "uring:/dev/nvme0n1", read: |fields| fields.file(Engine::Uring) },
    Kind {
        name: "threads",
        takes_path: true,
        example: "threads:disk.img",
        read: |fields| fields.file(Engine::Threads),
    },
    Kind {
        name: "nvme",
        takes_path: true,
        example: "nvme:/dev/ng0n1",
        read: |fields| Ok(BackendConfig::Nvme { path: fields.path()?, iopoll: fields.iopoll()? }),
    },
    Kind {
        name: "null",
        takes_path: false,
        example: "null:size=1T",
        read: |fields| Ok(BackendConfig::Null { size: fields.size("null")? }),
    },
    Kind {
        name: "mem",
        takes_path: false,
        example: "mem:size=1G",
        read: |fields| Ok(BackendConfig::Mem { size: fields.size("mem")? }),
    },
];

/// The kind of a disk string, and what stands behind its name.
pub(super) fn split(text: &str) -> Result<(&'static Kind, &str), String> {
    for kind in KINDS {
        if let Some(rest) = text.strip_prefix(kind.name).and_then(|rest| rest.strip_prefix(':')) {
            return Ok((kind, rest));
        }
        if text.split(',').next() == Some(kind.name) {
            let (name, example) = (kind.name, kind.example);
            return Err(format!("a kind has a colon behind it, as in {example}; a file of that name is ./{name}"));
        }
    }
    if let Some((name, _)) = text.split_once(':')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase())
    {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(format!("unknown kind '{name}'; known are {}; a file of that name is ./{text}", known.join(", ")));
    }
    Ok((&KINDS[0], text))
}
