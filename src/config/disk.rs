//! Disk strings: `disk.img`, `path=disk.img,target=0,lun=0,serial=A1,ro`, `null:size=1T,block-size=4096`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, MAX_LUNS, units};

/// Every key that a disk string can have, for the message about one that it cannot.
const KEYS: &str =
    "path, size, block-size, target, lun, serial, vendor, product, revision, naa, direct, delay, cancel, ro";

/// A disk: its backend and what the guest is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// As the user wrote it, for messages.
    pub text: String,
    /// What holds the data.
    pub backend: BackendConfig,
    /// Logical block size in bytes; the backend's own if not given.
    pub block_size: Option<u32>,
    /// Refuse writes.
    pub read_only: bool,
    /// Make every operation wait this long.
    pub delay: Option<Duration>,
    /// What waits can be cancelled. False only with a delay.
    pub cancel: bool,
    /// Wanted target.
    pub target: Option<u8>,
    /// Wanted LUN.
    pub lun: Option<u16>,
    /// INQUIRY vendor identification.
    pub vendor: Option<String>,
    /// INQUIRY product identification.
    pub product: Option<String>,
    /// INQUIRY product revision level.
    pub revision: Option<String>,
    /// Unit serial number.
    pub serial: Option<String>,
    /// NAA identifier, as hexadecimal digits.
    pub naa: Option<String>,
}

/// What holds the data of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendConfig {
    /// A file or block device, through io_uring.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether to go around the page cache.
        direct: DirectMode,
    },
    /// Nothing: writes vanish.
    Null {
        /// Bytes.
        size: u64,
    },
    /// Our own memory, gone with the process.
    Mem {
        /// Bytes.
        size: u64,
    },
}

/// Whether a file is read and written around the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectMode {
    /// Where the file system can.
    #[default]
    Auto,
    /// Or not at all.
    On,
    /// Never.
    Off,
}

impl DiskConfig {
    /// Reads a disk string.
    ///
    /// # Errors
    /// [`ConfigError::Disk`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_fields(text).map_err(|why| ConfigError::Disk { disk: text.into(), why })
    }

    fn parse_fields(text: &str) -> Result<Self, String> {
        let (kind, rest) = split_kind(text);
        let mut fields = Fields::read(kind, rest)?;
        let backend = match kind {
            Kind::File => BackendConfig::File { path: fields.path()?, direct: fields.direct()? },
            Kind::Null => BackendConfig::Null { size: fields.size("null")? },
            Kind::Mem => BackendConfig::Mem { size: fields.size("mem")? },
        };
        let disk = Self {
            text: text.into(),
            backend,
            block_size: fields.block_size()?,
            read_only: fields.flag("ro")?,
            delay: fields.take("delay").map(|value| units::parse_duration(&value)).transpose()?,
            cancel: fields.cancel()?,
            target: fields.number("target", 255)?.map(|target| target as u8),
            lun: fields.number("lun", u64::from(MAX_LUNS) - 1)?.map(|lun| lun as u16),
            vendor: fields.take("vendor"),
            product: fields.take("product"),
            revision: fields.take("revision"),
            serial: fields.take("serial"),
            naa: fields.take("naa"),
        };
        fields.finish(kind)?;
        if !disk.cancel && disk.delay.is_none() {
            return Err("cancel=no needs a delay (delay=60s,cancel=no)".into());
        }
        Ok(disk)
    }

    /// A string that stays the same across restarts and names the disk's data, for identifiers made from it.
    pub fn stable_name(&self) -> String {
        match &self.backend {
            BackendConfig::File { path, .. } => {
                let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                format!("file:{}", path.display())
            }
            BackendConfig::Null { size } => format!("null:{size}"),
            BackendConfig::Mem { size } => format!("mem:{size}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Null,
    Mem,
}

fn split_kind(text: &str) -> (Kind, &str) {
    for (prefix, kind) in [("file:", Kind::File), ("uring:", Kind::File), ("null:", Kind::Null), ("mem:", Kind::Mem)] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return (kind, rest);
        }
    }
    (Kind::File, text)
}

/// The comma-separated fields that are still to be understood.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn read(kind: Kind, text: &str) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for (position, field) in split_commas(text).into_iter().enumerate().filter(|(_, field)| !field.is_empty()) {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None if position == 0 && kind == Kind::File => ("path".to_string(), field),
                None => (field, String::new()),
            };
            if fields.insert(key.clone(), value).is_some() {
                return Err(format!("'{key}' stands twice"));
            }
        }
        Ok(Self(fields))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn path(&mut self) -> Result<PathBuf, String> {
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

    fn size(&mut self, kind: &str) -> Result<u64, String> {
        let text = self.take("size").ok_or_else(|| format!("{kind} needs a size ({kind}:size=1G)"))?;
        units::parse_size(&text)
    }

    fn block_size(&mut self) -> Result<Option<u32>, String> {
        match self.take("block-size").map(|text| units::parse_size(&text)).transpose()? {
            None => Ok(None),
            Some(bytes @ (512 | 4096)) => Ok(Some(bytes as u32)),
            Some(bytes) => Err(format!("block-size={bytes} is not possible; it can be 512 or 4096")),
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key).as_deref() {
            None | Some("off" | "false") => Ok(false),
            Some("" | "on" | "true") => Ok(true),
            Some(other) => Err(format!("{key}={other} is unknown; write {key} alone, or {key}=on, {key}=off")),
        }
    }

    fn cancel(&mut self) -> Result<bool, String> {
        match self.take("cancel").as_deref() {
            None | Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(other) => Err(format!("cancel={other} is unknown; it can be yes or no")),
        }
    }

    fn number(&mut self, key: &str, max: u64) -> Result<Option<u64>, String> {
        self.take(key)
            .map(|text| match text.parse::<u64>() {
                Ok(number) if number <= max => Ok(number),
                _ => Err(format!("{key}={text} is out of range; it can be 0 to {max}")),
            })
            .transpose()
    }

    fn finish(self, kind: Kind) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) if KEYS.split(", ").any(|known| known == key) => {
                Err(format!("'{key}' does not fit a {} disk", format!("{kind:?}").to_lowercase()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DiskConfig {
        DiskConfig::parse(text).expect(text)
    }

    #[test]
    fn a_bare_path() {
        let disk = parse("a/disk.img");
        assert_eq!(disk.backend, BackendConfig::File { path: "a/disk.img".into(), direct: DirectMode::Auto });
        assert_eq!((disk.target, disk.lun, disk.read_only, disk.block_size), (None, None, false, None));
        let odd = BackendConfig::File { path: "a,b=c.img".into(), direct: DirectMode::Auto };
        assert_eq!(parse("path=a,,b=c.img").backend, odd);
    }

    #[test]
    fn every_key() {
        let disk = parse(
            "path=d,target=3,lun=16383,serial=A1,vendor=V,product=P,revision=1,naa=3000000000000001,ro,direct=off,delay=5ms,block-size=4096",
        );
        assert_eq!((disk.target, disk.lun, disk.read_only), (Some(3), Some(16383), true));
        assert_eq!(disk.block_size, Some(4096));
        assert_eq!(disk.delay, Some(Duration::from_millis(5)));
        assert_eq!(disk.serial.as_deref(), Some("A1"));
        assert_eq!(disk.naa.as_deref(), Some("3000000000000001"));
    }

    #[test]
    fn what_waits_can_be_cancelled_unless_said_otherwise() {
        let cancel = |text| parse(text).cancel;
        assert_eq!(
            ["x", "x,delay=5s", "x,delay=5s,cancel=yes", "x,delay=5s,cancel=no"].map(cancel),
            [true, true, true, false]
        );
    }

    #[test]
    fn kinds() {
        assert_eq!(parse("null:size=1T,block-size=4096").backend, BackendConfig::Null { size: 1 << 40 });
        assert_eq!(parse("mem:size=64M").backend, BackendConfig::Mem { size: 64 << 20 });
        assert_eq!(parse("file:x").backend, parse("x").backend);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, why) in [
            ("", "names no file"),
            ("path=", "names no file"),
            ("ro=maybe,path=x", "ro=maybe"),
            ("x,sizee=1", "unknown key 'sizee'; known are path"),
            ("x,size=1G", "'size' does not fit a file disk"),
            ("null:", "needs a size"),
            ("null:size=1T,path=x", "'path' does not fit a null disk"),
            ("x,target=256", "0 to 255"),
            ("x,lun=16384", "0 to 16383"),
            ("x,block-size=1024", "512 or 4096"),
            ("x,ro,ro", "stands twice"),
            ("x,direct=yes", "auto, on or off"),
            ("x,delay=5", "not a duration"),
            ("x,delay=5s,cancel=off", "yes or no"),
            ("x,cancel=no", "needs a delay"),
        ] {
            let error = DiskConfig::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
