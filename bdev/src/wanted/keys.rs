//! The comma-separated keys of a disk string, and the values that several kinds and wrappers have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Kind, units};

/// A key, and what help says of it: how it is written, and what it does.
#[derive(Debug)]
pub struct Key {
    /// What stands before the equals sign.
    pub name: &'static str,
    /// As people write it: `size=SIZE`.
    pub form: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
}

/// Where a file or device is.
pub(crate) const PATH: Key = Key { name: "path", form: "path=FILE", help: "the file (also: the first field alone)" };
/// How large one without a medium is.
pub(crate) const SIZE: Key = Key { name: "size", form: "size=SIZE", help: "size of a null or mem disk: 512M, 10G, 1T" };
/// Whether to poll for results.
pub(crate) const IOPOLL: Key = Key {
    name: "iopoll",
    form: "iopoll=auto|on|off",
    help: "look into the device's queues for results (default: where it has such)",
};

/// The keys that are still to be understood.
#[derive(Debug)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    /// Those of `text`, what stands behind the name of a kind.
    ///
    /// # Errors
    /// One stands twice.
    pub fn read(kind: &Kind, text: &str) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for (position, field) in split_commas(text).into_iter().enumerate().filter(|(_, field)| !field.is_empty()) {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None if position == 0 && kind.takes_path() => (PATH.name.to_string(), field),
                None => (field, String::new()),
            };
            if keys.insert(key.clone(), value).is_some() {
                return Err(format!("'{key}' stands twice"));
            }
        }
        Ok(Self(keys))
    }

    /// The value of a key, which is understood by that.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Where a file or device is.
    pub(crate) fn path(&mut self) -> Result<PathBuf, String> {
        match self.take(PATH.name) {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => Err("it names no file; write the path first, or path=FILE".into()),
        }
    }

    /// The size that a disk of `kind` must have, in bytes.
    pub(crate) fn size(&mut self, kind: &str) -> Result<u64, String> {
        let text = self.take(SIZE.name).ok_or_else(|| format!("{kind} needs a size ({kind}:size=1G)"))?;
        units::parse_size(&text)
    }

    /// One of a few words; the first one if there is none.
    ///
    /// # Errors
    /// It is another word.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<T, String> {
        let Some(text) = self.take(key) else { return Ok(words[0].1) };
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let (last, others) = words.split_last().expect("there is a choice");
            let others: Vec<_> = others.iter().map(|(word, _)| *word).collect();
            format!("{key}={text} is unknown; it can be {} or {}", others.join(", "), last.0)
        })
    }

    /// Logical block size in bytes.
    pub(crate) fn block_size(&mut self) -> Result<Option<u32>, String> {
        match self.take("block-size").map(|text| units::parse_size(&text)).transpose()? {
            None => Ok(None),
            Some(bytes @ (512 | 4096)) => Ok(Some(bytes as u32)),
            Some(bytes) => Err(format!("block-size={bytes} is not possible; it can be 512 or 4096")),
        }
    }

    /// Whether a key stands there that needs no value.
    ///
    /// # Errors
    /// It has a value that is neither yes nor no.
    pub fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key).as_deref() {
            None | Some("off" | "false") => Ok(false),
            Some("" | "on" | "true") => Ok(true),
            Some(other) => Err(format!("{key}={other} is unknown; write {key} alone, or {key}=on, {key}=off")),
        }
    }

    /// A number up to `max`.
    ///
    /// # Errors
    /// It is none, or a larger one.
    pub fn number(&mut self, key: &str, max: u64) -> Result<Option<u64>, String> {
        self.take(key)
            .map(|text| match text.parse::<u64>() {
                Ok(number) if number <= max => Ok(number),
                _ => Err(format!("{key}={text} is out of range; it can be 0 to {max}")),
            })
            .transpose()
    }

    /// Refuses what nobody has understood: keys of other kinds, and those that are none of `known`.
    ///
    /// # Errors
    /// There is such a key.
    pub fn finish<'a>(self, kind: &Kind, known: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let Some(key) = self.0.keys().next() else { return Ok(()) };
        let mut names = Vec::new();
        for name in known {
            if name == key {
                return Err(format!("'{key}' does not fit a {} disk", kind.name));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Err(format!("unknown key '{key}'; known are {}", names.join(", ")))
    }
}

/// Splits at commas; a doubled comma stands for one in a value, as in QEMU's options.
fn split_commas(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.last_mut().expect("there is always a field");
        match c {
            ',' if chars.peek() == Some(&',') => {
                chars.next();
                last.push(',');
            }
            ',' => fields.push(String::new()),
            _ => last.push(c),
        }
    }
    fields
}
