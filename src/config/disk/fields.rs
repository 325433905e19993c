//! The comma-separated fields of a disk string, and the values that several of them share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kinds::Kind;
use super::{BackendConfig, DirectMode, Engine, Iopoll, KEYS};
use crate::config::units;

/// The comma-separated fields that are still to be understood.
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(super) fn read(kind: &Kind, text: &str) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for (position, field) in split_commas(text).into_iter().enumerate().filter(|(_, field)| !field.is_empty()) {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None if position == 0 && kind.takes_path => ("path".to_string(), field),
                None => (field, String::new()),
            };
            if fields.insert(key.clone(), value).is_some() {
                return Err(format!("'{key}' stands twice"));
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// A file, through `engine`. Threads poll for nothing.
    pub(super) fn file(&mut self, engine: Engine) -> Result<BackendConfig, String> {
        let iopoll = if engine == Engine::Threads { Iopoll::Auto } else { self.iopoll()? };
        Ok(BackendConfig::File { path: self.path()?, direct: self.direct()?, engine, iopoll })
    }

    pub(super) fn path(&mut self) -> Result<PathBuf, String> {
        match self.take("path") {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => Err("it names no file; write the path first, or path=FILE".into()),
        }
    }

    fn direct(&mut self) -> Result<DirectMode, String> {
        match self.take("direct").as_deref() {
            None | Some("auto") => Ok(DirectMode::Auto),
            Some("on") => Ok(DirectMode::On),
            Some("off") => Ok(DirectMode::Off),
            Some(other) => Err(format!("direct={other} is unknown; it can be auto, on or off")),
        }
    }

    pub(super) fn iopoll(&mut self) -> Result<Iopoll, String> {
        match self.take("iopoll").as_deref() {
            None | Some("auto") => Ok(Iopoll::Auto),
            Some("on") => Ok(Iopoll::On),
            Some("off") => Ok(Iopoll::Off),
            Some(other) => Err(format!("iopoll={other} is unknown; it can be auto, on or off")),
        }
    }

    pub(super) fn size(&mut self, kind: &str) -> Result<u64, String> {
        let text = self.take("size").ok_or_else(|| format!("{kind} needs a size ({kind}:size=1G)"))?;
        units::parse_size(&text)
    }

    pub(super) fn block_size(&mut self) -> Result<Option<u32>, String> {
        match self.take("block-size").map(|text| units::parse_size(&text)).transpose()? {
            None => Ok(None),
            Some(bytes @ (512 | 4096)) => Ok(Some(bytes as u32)),
            Some(bytes) => Err(format!("block-size={bytes} is not possible; it can be 512 or 4096")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key).as_deref() {
            None | Some("off" | "false") => Ok(false),
            Some("" | "on" | "true") => Ok(true),
            Some(other) => Err(format!("{key}={other} is unknown; write {key} alone, or {key}=on, {key}=off")),
        }
    }

    pub(super) fn cancel(&mut self) -> Result<bool, String> {
        match self.take("cancel").as_deref() {
            None | Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(other) => Err(format!("cancel={other} is unknown; it can be yes or no")),
        }
    }

    pub(super) fn number(&mut self, key: &str, max: u64) -> Result<Option<u64>, String> {
        self.take(key)
            .map(|text| match text.parse::<u64>() {
                Ok(number) if number <= max => Ok(number),
                _ => Err(format!("{key}={text} is out of range; it can be 0 to {max}")),
            })
            .transpose()
    }

    pub(super) fn finish(self, kind: &Kind) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) if KEYS.split(", ").any(|known| known == key) => {
                Err(format!("'{key}' does not fit a {} disk", kind.name))
            }
            Some(key) => Err(format!("unknown key '{key}'; known are {KEYS}")),
        }
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
