//! Disk strings: `disk.img`, `path=disk.img,target=0,lun=0,serial=A1,ro`, `null:size=1T,block-size=4096`.
//!
//! What is about the device behind a disk its kind reads; here stands what is about the SCSI disk.

use bdev::Wanted;
use bdev::wanted::{Key, Keys, Kind};

use super::{ConfigError, MAX_LUNS};

/// The keys that are about the disk as guests see it.
const KEYS: [Key; 10] = [
    Key { name: "target", form: "target=N", help: "target, 0 to 255 (default: the next free one)" },
    Key { name: "lun", form: "lun=N", help: "logical unit, 0 to 16383 (default: 0)" },
    Key { name: "removable", form: "removable", help: "the guest can eject the medium, and load it again" },
    Key { name: "serial", form: "serial=TEXT", help: "serial number that the guest is told" },
    Key { name: "vendor", form: "vendor=TEXT", help: "vendor that it is told" },
    Key { name: "product", form: "product=TEXT", help: "product that it is told" },
    Key { name: "revision", form: "revision=TEXT", help: "revision that it is told" },
    Key { name: "naa", form: "naa=HEX", help: "NAA identifier that it is told" },
    Key { name: "eui64", form: "eui64=HEX", help: "EUI-64 based identifier that it is told" },
    Key { name: "uuid", form: "uuid=UUID", help: "UUID that it is told" },
];

/// All keys that a disk string can have.
fn keys() -> impl Iterator<Item = &'static Key> {
    Wanted::keys().into_iter().chain(&KEYS)
}

/// What help says of disk strings: all kinds and all keys.
pub(super) fn help() -> String {
    let line = |what: &str, help: &str| format!("  {what:<22} {help}\n");
    let kinds = bdev::wanted::KINDS.iter().map(|kind| line(&format!("{}:", kind.name), kind.help));
    let keys = keys().map(|key| line(key.form, key.help));
    let head = "Disks:\n  [KIND:]PATH or [KIND:]KEY=VALUE,...   a comma in a value is written twice\n";
    let text = format!("{head}{}\n{}", kinds.collect::<String>(), keys.collect::<String>());
    text.trim_end().to_owned()
}

/// A disk: its device and what the guest is told about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DiskConfig {
    /// As the user wrote it, for messages.
    pub text: String,
    /// What holds the data.
    pub device: Wanted,
    /// The medium can be ejected and loaded by the guest.
    pub removable: bool,
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

impl DiskConfig {
    /// Reads a disk string.
    ///
    /// # Errors
    /// [`ConfigError::Disk`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_keys(text).map_err(|why| ConfigError::Disk { disk: text.into(), why })
    }

    fn parse_keys(text: &str) -> Result<Self, String> {
        let (kind, rest) = Kind::split(text)?;
        let mut fields = Keys::read(kind, rest)?;
        let disk = Self {
            text: text.into(),
            device: Wanted::read(kind, &mut fields)?,
            removable: fields.flag("removable")?,
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
        fields.finish(kind, keys().map(|key| key.name))?;
        Ok(disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DiskConfig {
        DiskConfig::parse(text).expect(text)
    }

    #[test]
    fn every_key_of_the_disk() {
        let disk = parse(
            "path=d,target=3,lun=16383,serial=A1,vendor=V,product=P,revision=1,naa=3000000000000001,eui64=0123456789abcdef,uuid=u,ro",
        );
        assert_eq!((disk.target, disk.lun, disk.device.is_read_only()), (Some(3), Some(16383), true));
        let said = [disk.vendor, disk.product, disk.revision, disk.serial, disk.naa].map(Option::unwrap);
        assert_eq!(said, ["V", "P", "1", "A1", "3000000000000001"]);
        assert_eq!((disk.eui64.as_deref(), disk.uuid.as_deref()), (Some("0123456789abcdef"), Some("u")));
        let none = parse("a/disk.img");
        assert_eq!((none.target, none.lun, none.device.is_read_only(), none.serial), (None, None, false, None));
        assert_eq!([none.removable, parse("x,removable").removable], [false, true]);
        assert_eq!(none.device, parse("path=a/disk.img,target=3").device);
    }

    #[test]
    fn help_has_a_line_for_each_kind_and_key() {
        let help = help();
        let has = |start: &str| help.lines().filter(|line| line.trim_start().starts_with(start)).count() == 1;
        for kind in bdev::wanted::KINDS {
            assert!(has(&format!("{}: ", kind.name)), "{help}");
        }
        for key in keys() {
            assert!(key.form.starts_with(key.name) && has(&format!("{} ", key.form)), "{}: {help}", key.name);
        }
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
            ("nvme:/dev/ng0n1,size=1G", "'size' does not fit a nvme disk"),
            ("mem:size=1G,direct=off", "'direct' does not fit a mem disk"),
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
