//! Disk strings: `disk.img`, `path=disk.img,target=0,lun=0,serial=A1,ro`, `null:size=1T,block-size=4096`.

mod fields;
mod kinds;
mod wrappers;

use std::path::PathBuf;

pub use wrappers::{ERROR_OPS, ErrorConfig, ErrorKind, SplitConfig, Wrappers};

use super::{ConfigError, MAX_LUNS};
use fields::Fields;

/// Every key that a disk string can have, for the message about one that it cannot.
const KEYS: &str = "path, size, block-size, target, lun, serial, vendor, product, revision, naa, eui64, uuid, direct, iopoll, split, error, \
                    error-rate, error-ops, delay, cancel, ro, removable";

/// All that help is to name.
#[cfg(test)]
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    kinds::KINDS.iter().map(|kind| kind.name).chain(KEYS.split(", "))
}

/// A disk: its backend and what the guest is told about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DiskConfig {
    /// As the user wrote it, for messages.
    pub text: String,
    /// What holds the data.
    pub backend: BackendConfig,
    /// Logical block size in bytes; the backend's own if not given.
    pub block_size: Option<u32>,
    /// Refuse writes.
    pub read_only: bool,
    /// The medium can be ejected and loaded by the guest.
    pub removable: bool,
    /// What stands around the backend.
    pub wrappers: Box<Wrappers>,
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
    /// EUI-64 based identifier, as hexadecimal digits.
    pub eui64: Option<String>,
    /// UUID, as hexadecimal digits with or without hyphens.
    pub uuid: Option<String>,
}

/// What holds the data of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendConfig {
    /// A file or block device.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether to go around the page cache.
        direct: DirectMode,
        /// Who does the I/O.
        engine: Engine,
        /// Whether results are looked for in the device's own queues.
        iopoll: Iopoll,
    },
    /// The character device of an NVMe namespace.
    Nvme {
        /// Where it is.
        path: PathBuf,
        /// Whether results are looked for in the device's own queues.
        iopoll: Iopoll,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DirectMode {
    /// Where the file system can.
    #[default]
    Auto,
    /// Or not at all.
    On,
    /// Never.
    Off,
}

/// Whether results are looked for in the queues of the device, so that it does not interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Iopoll {
    /// Where a block device has queues for that.
    #[default]
    Auto,
    /// Or not at all.
    On,
    /// Never.
    Off,
}

/// Who reads and writes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Engine {
    /// io_uring where that is allowed, else threads.
    #[default]
    Auto,
    /// io_uring.
    Uring,
    /// Threads.
    Threads,
}

impl DiskConfig {
    /// Whether both are about the same bytes.
    pub fn is_on_data_of(&self, other: &Self) -> bool {
        self.backend == other.backend && self.wrappers.split == other.wrappers.split
    }

    /// Reads a disk string.
    ///
    /// # Errors
    /// [`ConfigError::Disk`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_fields(text).map_err(|why| ConfigError::Disk { disk: text.into(), why })
    }

    fn parse_fields(text: &str) -> Result<Self, String> {
        let (kind, rest) = kinds::split(text)?;
        let mut fields = Fields::read(kind, rest)?;
        let backend = (kind.read)(&mut fields)?;
        let disk = Self {
            text: text.into(),
            backend,
            block_size: fields.block_size()?,
            read_only: fields.flag("ro")?,
            removable: fields.flag("removable")?,
            wrappers: Box::new(Wrappers::read(&mut fields)?),
            target: fields.number("target", 255)?.map(|target| target as u8),
            lun: fields.number("lun", u64::from(MAX_LUNS) - 1)?.map(|lun| lun as u16),
            vendor: fields.take("vendor"),
            product: fields.take("product"),
            revision: fields.take("revision"),
            serial: fields.take("serial"),
            naa: fields.take("naa"),
            eui64: fields.take("eui64"),
            uuid: fields.take("uuid"),
        };
        fields.finish(kind)?;
        Ok(disk)
    }

    /// A string that stays the same across restarts and names the disk's data, for identifiers made from it.
    pub fn stable_name(&self) -> String {
        let whole = match &self.backend {
            BackendConfig::File { path, .. } | BackendConfig::Nvme { path, .. } => {
                let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                format!("file:{}", path.display())
            }
            BackendConfig::Null { size } => format!("null:{size}"),
            BackendConfig::Mem { size } => format!("mem:{size}"),
        };
        match self.wrappers.split {
            Some(SplitConfig { offset, size }) => format!("{whole}:{offset}+{size}"),
            None => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(text: &str) -> DiskConfig {
        DiskConfig::parse(text).expect(text)
    }

    #[test]
    fn a_bare_path() {
        let disk = parse("a/disk.img");
        assert_eq!(
            disk.backend,
            BackendConfig::File {
                path: "a/disk.img".into(),
                direct: DirectMode::Auto,
                engine: Engine::Auto,
                iopoll: Iopoll::Auto
            }
        );
        assert_eq!((disk.target, disk.lun, disk.read_only, disk.block_size), (None, None, false, None));
        assert_eq!([disk.removable, parse("x,removable").removable], [false, true]);
        let path_of = |text| match parse(text).backend {
            BackendConfig::File { path, .. } => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path_of("path=a,,b=c.img"), PathBuf::from("a,b=c.img"));
    }

    #[test]
    fn every_key() {
        let disk = parse(
            "path=d,target=3,lun=16383,serial=A1,vendor=V,product=P,revision=1,naa=3000000000000001,eui64=0123456789abcdef,uuid=u,ro,direct=off,delay=5ms,block-size=4096",
        );
        assert_eq!((disk.target, disk.lun, disk.read_only), (Some(3), Some(16383), true));
        assert_eq!(disk.block_size, Some(4096));
        assert_eq!(disk.wrappers.delay, Some(Duration::from_millis(5)));
        assert_eq!(disk.serial.as_deref(), Some("A1"));
        assert_eq!(disk.naa.as_deref(), Some("3000000000000001"));
        assert_eq!((disk.eui64.as_deref(), disk.uuid.as_deref()), (Some("0123456789abcdef"), Some("u")));
    }

    #[test]
    fn what_waits_can_be_cancelled_unless_said_otherwise() {
        let cancel = |text| parse(text).wrappers.cancel;
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
        for (text, wanted) in [("uring:x", Engine::Uring), ("threads:x", Engine::Threads), ("./null", Engine::Auto)] {
            assert!(matches!(parse(text).backend, BackendConfig::File { engine, .. } if engine == wanted), "{text}");
        }
        for (text, wanted) in
            [("x,iopoll=auto", Iopoll::Auto), ("x,iopoll=on", Iopoll::On), ("uring:x,iopoll=off", Iopoll::Off)]
        {
            assert!(matches!(parse(text).backend, BackendConfig::File { iopoll, .. } if iopoll == wanted), "{text}");
        }
        for (text, iopoll) in [("nvme:/dev/ng0n1,ro", Iopoll::Auto), ("nvme:/dev/ng0n1,iopoll=on", Iopoll::On)] {
            assert_eq!(parse(text).backend, BackendConfig::Nvme { path: "/dev/ng0n1".into(), iopoll });
        }
        for kind in kinds::KINDS {
            parse(kind.example);
        }
    }

    #[test]
    fn every_key_of_a_wrapper() {
        let wrappers = |text| parse(text).wrappers;
        let none = wrappers("x");
        assert_eq!((none.split, none.error, none.delay, none.cancel), (None, None, None, true));
        assert_eq!(wrappers("x,split=1G+512M").split, Some(SplitConfig { offset: 1 << 30, size: 512 << 20 }));
        let all = ErrorConfig { kind: ErrorKind::Gone, range: None, rate_ppm: 1_000_000, ops: vec![] };
        assert_eq!(wrappers("x,error=gone").error, Some(all));
        let some = ErrorConfig {
            kind: ErrorKind::Medium,
            range: Some(4096..1 << 20),
            rate_ppm: 12_500,
            ops: vec!["read".into(), "flush".into()],
        };
        assert_eq!(wrappers("x,error=medium@4K-1M,error-rate=0.0125,error-ops=read+flush").error, Some(some));
    }

    #[test]
    fn parts_of_one_file_have_names_of_their_own() {
        let name = |text| parse(text).stable_name();
        assert_ne!(name("x,split=0+1M"), name("x,split=1M+1M"));
        assert_ne!(name("x,split=0+1M"), name("x"));
        let part = |offset| SplitConfig { offset, size: 10 };
        assert!(part(0).overlaps(&part(9)) && part(9).overlaps(&part(0)));
        assert!(!part(0).overlaps(&part(10)) && !part(10).overlaps(&part(0)));
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, why) in [
            ("", "names no file"),
            ("path=", "names no file"),
            ("ro=maybe,path=x", "ro=maybe"),
            ("x,sizee=1", "unknown key 'sizee'; known are path"),
            (
                "aio:x",
                "unknown kind 'aio'; known are file, uring, threads, nvme, null, mem; a file of that name is ./aio:x",
            ),
            ("x,size=1G", "'size' does not fit a file disk"),
            ("null:", "needs a size"),
            ("null:size=1T,path=x", "'path' does not fit a null disk"),
            ("x,target=256", "0 to 255"),
            ("x,lun=16384", "0 to 16383"),
            ("x,block-size=1024", "512 or 4096"),
            ("x,ro,ro", "stands twice"),
            ("x,direct=yes", "auto, on or off"),
            ("x,iopoll=yes", "iopoll=yes is unknown; it can be auto, on or off"),
            ("null:size=1G,iopoll=on", "does not fit a null disk"),
            ("threads:x,iopoll=off", "'iopoll' does not fit a threads disk"),
            ("x,delay=5", "not a duration"),
            ("x,delay=5s,cancel=off", "yes or no"),
            ("x,cancel=no", "needs a delay"),
            ("null", "null:size=1T; a file of that name is ./null"),
            ("mem,size=1G", "mem:size=1G"),
            ("nvme:/dev/ng0n1,direct=on", "'direct' does not fit a nvme disk"),
            ("x,split=1G", "where it begins and its size"),
            ("x,split=1G+0", "give it a size"),
            ("x,split=16777215P+512", "2^64"),
            ("x,error=sick", "medium, no-space"),
            ("x,error=medium@1M", "its two ends"),
            ("x,error=medium@2M-1M", "its two ends"),
            ("x,error=medium,error-rate=1.5", "0 to 1"),
            ("x,error=medium,error-rate=NaN", "0 to 1"),
            ("x,error=medium,error-ops=reads", "read+write"),
            ("x,error-rate=1", "need an error"),
        ] {
            let error = DiskConfig::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
