//! From what a user writes of a device to the device: its kind and keys, and the wrappers around it.
//!
//! Owns the words that all kinds share and the order in which wrappers stand. What a kind is, only its own folder knows: it
//! reads its keys into a `Backend`, which opens a [`Bdev`] when its time has come. Used by `config`, which adds what is
//! about a SCSI disk, and by `target`, which opens.

mod keys;
mod table;
pub mod units;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::channel::Bdev;
use crate::error::OpenError;
use crate::wrappers::read_only::ReadOnlyBdev;

pub(crate) use keys::{IOPOLL, PATH, SIZE};
pub use keys::{Key, Keys};
pub use table::KINDS;
use table::WRAPPERS;

/// A kind of backend.
#[derive(Debug)]
pub struct Kind {
    /// What stands before the colon.
    pub name: &'static str,
    /// What it is, for help.
    pub help: &'static str,
    /// A disk string of this kind.
    pub example: &'static str,
    /// The keys that it takes.
    pub keys: &'static [Key],
    /// Takes them.
    pub(crate) read: fn(&mut Keys) -> Result<Arc<dyn Backend>, String>,
}

impl Kind {
    /// Whether the first field may be a path without `path=`.
    fn takes_path(&self) -> bool {
        self.keys.iter().any(|key| key.name == PATH.name)
    }

    /// The kind of a disk string, and what stands behind its name.
    ///
    /// # Errors
    /// It names none that there is.
    pub fn split(text: &str) -> Result<(&'static Self, &str), String> {
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
            let known = known.join(", ");
            return Err(format!("unknown kind '{name}'; known are {known}; a file of that name is ./{text}"));
        }
        Ok((&KINDS[0], text))
    }
}

/// A kind of wrapper.
pub(crate) struct WrapperKind {
    /// The keys that it takes.
    pub(crate) keys: &'static [Key],
    /// Takes them; `None` if it does not stand around the device.
    pub(crate) read: fn(&mut Keys) -> ReadWrapper,
}

/// What comes of reading the keys of a wrapper.
pub(crate) type ReadWrapper = Result<Option<Arc<dyn Wrapper>>, String>;

/// What a disk string says of a backend.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// All that it says, and the same of another one only if that says the same.
    fn says(&self) -> String {
        format!("{self:?}")
    }

    /// Opens the device.
    fn open(&self, common: Common) -> Result<Arc<dyn Bdev>, OpenError>;

    /// Where its data is.
    fn data(&self) -> Data<'_>;
}

/// What a disk string says of a wrapper. Two are the same if they show the same (`Debug`).
pub(crate) trait Wrapper: fmt::Debug + Send + Sync {
    /// Stands around `inner` from now on.
    fn wrap(&self, inner: Arc<dyn Bdev>) -> Result<Arc<dyn Bdev>, OpenError>;

    /// The bytes of the device that are left, if they are fewer.
    fn part(&self) -> Option<Range<u64>> {
        None
    }
}

/// What may be said of a device of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Common {
    /// Logical block size in bytes; the backend's own if not given.
    pub(crate) block_size: Option<u32>,
    /// Refuse writes.
    pub(crate) read_only: bool,
}

impl Common {
    /// Bytes of a block of a device without a medium.
    pub(crate) fn block_size_or_default(self) -> u32 {
        self.block_size.unwrap_or(512)
    }
}

/// Where the data of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// In a file or device that is there without us.
    At(&'a Path),
    /// In our own memory, gone with it.
    Memory,
    /// Nowhere.
    Nowhere,
}

/// What a user wants of a device.
#[derive(Debug, Clone)]
pub struct Wanted {
    kind: &'static str,
    backend: Arc<dyn Backend>,
    wrappers: Vec<Arc<dyn Wrapper>>,
    common: Common,
    /// What the backend says, without its size where that is no matter.
    says: String,
    /// What the wrappers say.
    around: String,
}

impl Wanted {
    /// The keys that may stand in the string of a device of any kind.
    pub const KEYS: [Key; 2] = [
        Key {
            name: "block-size",
            form: "block-size=512|4096",
            help: "logical block size (that of the device, else 512)",
        },
        Key { name: "ro", form: "ro", help: "refuse writes" },
    ];

    /// All keys that a kind or a wrapper takes, each once, in the order of the tables.
    pub fn keys() -> Vec<&'static Key> {
        let all = KINDS.iter().flat_map(|kind| kind.keys).chain(&Self::KEYS);
        let all = all.chain(WRAPPERS.iter().flat_map(|wrapper| wrapper.keys));
        let mut keys: Vec<&Key> = Vec::new();
        for key in all {
            if keys.iter().all(|known| known.name != key.name) {
                keys.push(key);
            }
        }
        keys
    }

    /// Takes from `keys` all that is about a device of this kind.
    ///
    /// # Errors
    /// What is wrong with a value, and what it can be.
    pub fn read(kind: &'static Kind, keys: &mut Keys) -> Result<Self, String> {
        let backend = (kind.read)(keys)?;
        let common = Common { block_size: keys.block_size()?, read_only: keys.flag("ro")? };
        let mut wrappers = Vec::new();
        for wrapper in WRAPPERS {
            wrappers.extend((wrapper.read)(keys)?);
        }
        let (says, around) = (backend.says(), format!("{wrappers:?}"));
        Ok(Self { kind: kind.name, backend, wrappers, common, says, around })
    }

    /// Opens the device without what stands around it.
    ///
    /// # Errors
    /// [`OpenError`], in words for the user.
    pub fn open(&self) -> Result<Arc<dyn Bdev>, OpenError> {
        let bdev = self.backend.open(self.common)?;
        // Those without a medium have no such mode.
        let is_missed = self.common.read_only && !bdev.info().read_only;
        Ok(if is_missed { Arc::new(ReadOnlyBdev::new(bdev)) } else { bdev })
    }

    /// Puts the wrappers around a device.
    ///
    /// # Errors
    /// [`OpenError`]: it has no such part.
    pub fn wrap(&self, bdev: Arc<dyn Bdev>) -> Result<Arc<dyn Bdev>, OpenError> {
        self.wrappers.iter().try_fold(bdev, |bdev, wrapper| wrapper.wrap(bdev))
    }

    /// Where its data is.
    pub fn data(&self) -> Data<'_> {
        self.backend.data()
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.common.read_only
    }

    /// The bytes of the device that are the disk, if not all are.
    pub fn part(&self) -> Option<Range<u64>> {
        self.wrappers.iter().find_map(|wrapper| wrapper.part())
    }

    /// Whether both open the same device in the same way, whatever stands around it.
    pub fn is_on_device_of(&self, other: &Self) -> bool {
        self.is_on_backend_of(other) && self.common == other.common
    }

    /// Whether both are about the same bytes.
    pub fn is_on_data_of(&self, other: &Self) -> bool {
        self.is_on_backend_of(other) && self.part() == other.part()
    }

    fn is_on_backend_of(&self, other: &Self) -> bool {
        (self.kind, &self.says) == (other.kind, &other.says)
    }

    /// The same without the size of one that has no place.
    pub fn without_size(self) -> Self {
        match self.data() {
            Data::At(_) => self,
            Data::Memory | Data::Nowhere => Self { says: String::new(), ..self },
        }
    }

    /// A string that stays the same across restarts and names its data, for identifiers made from it.
    pub fn stable_name(&self) -> String {
        let whole = match self.data() {
            Data::At(path) => {
                let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                format!("file:{}", path.display())
            }
            Data::Memory | Data::Nowhere => format!("{}:{}", self.kind, self.says),
        };
        match self.part() {
            Some(part) => format!("{whole}:{}+{}", part.start, part.end - part.start),
            None => whole,
        }
    }

    fn said(&self) -> (&'static str, &str, &str, Common) {
        (self.kind, &self.says, &self.around, self.common)
    }
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.said() == other.said()
    }
}

impl Eq for Wanted {}

impl Hash for Wanted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.said().hash(state);
    }
}

#[cfg(test)]
mod tests;
