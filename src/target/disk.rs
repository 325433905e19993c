//! Disks: a block device with a name, opened once however many controllers show it.

use std::collections::HashMap;
use std::sync::Arc;

use bdev::{Bdev, Data, Names, OpenError};

use crate::config::DiskConfig;
use crate::scsi::{Eui64, Identity, IdentityError, IoStatistics, LogicalUnit, Naa, Port, Threshold, parse_uuid};

use super::backend::Backends;
use super::job::Hold;
use super::long::claims::Claims;
#[cfg(test)]
use super::sharing::store::Store;
use super::sharing::{Office, Sharing};
use super::tally::Tallies;

/// Place of a disk among all that the process serves; each reactor has a channel at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct DiskIndex(pub(crate) usize);

/// A disk that is open.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) index: DiskIndex,
    pub(crate) config: Arc<DiskConfig>,
    pub(crate) bdev: Arc<dyn Bdev>,
    pub(crate) identity: Identity,
    /// What long commands have of it.
    pub(crate) claims: Arc<Claims>,
    /// What keeps everybody from its medium.
    pub(crate) hold: Arc<Hold>,
    /// What was read and written.
    pub(crate) tallies: Arc<Tallies>,
    /// What controllers that show it share.
    pub(crate) sharing: Arc<Sharing>,
    #[cfg(test)]
    pub(crate) clerk: std::sync::Mutex<Option<super::sharing::clerk::Clerk>>,
}

/// Why a disk cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The backend does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name that does not fit where SCSI has it.
    #[error("bad disk '{disk}': {error}")]
    Identity {
        /// As the user wrote it.
        disk: String,
        /// What is wrong.
        error: IdentityError,
    },
    /// Two disks that are parts of one file and have bytes in common.
    #[error("disks '{first}' and '{second}' overlap; give each a part of its own (split=OFFSET+SIZE)")]
    Overlap {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// Two disks with one identifier.
    #[error("disks '{first}' and '{second}' differ and have the same {key}=; give each its own, or leave it out")]
    SameIdentity {
        /// Which identifier.
        key: &'static str,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

impl Disk {
    /// Opens the disk that `config` describes, beside those that are open.
    pub(crate) fn open(
        config: &Arc<DiskConfig>,
        index: DiskIndex,
        backends: &mut Backends,
        office: &Office,
    ) -> Result<Self, DiskError> {
        let bdev = backends.open(config)?;
        let identity = identify(config, index, bdev.names())
            .map_err(|error| DiskError::Identity { disk: config.text.clone(), error })?;
        let sharing = office.sharing(identity.naa());
        let disk = Self::new(index, config.clone(), bdev, identity, sharing);
        // Once at once: whoever opens it may wait.
        disk.sharing.check_up();
        Ok(disk)
    }

    fn new(
        index: DiskIndex,
        config: Arc<DiskConfig>,
        bdev: Arc<dyn Bdev>,
        identity: Identity,
        sharing: Arc<Sharing>,
    ) -> Self {
        sharing.measure(&bdev);
        Self {
            index,
            config,
            bdev,
            identity,
            claims: Arc::default(),
            hold: Arc::default(),
            tallies: Arc::default(),
            sharing,
            #[cfg(test)]
            clerk: Default::default(),
        }
    }

    /// The same disk on `bdev`, which has another size.
    pub(crate) fn resized(&self, config: &Arc<DiskConfig>, bdev: Arc<dyn Bdev>, index: DiskIndex) -> Self {
        let (claims, hold, tallies) = (self.claims.clone(), self.hold.clone(), self.tallies.clone());
        Self {
            claims,
            hold,
            tallies,
            ..Self::new(index, config.clone(), bdev, self.identity.clone(), self.sharing.clone())
        }
    }

    /// What has to be its own: the NAA identifier, and others that the user has given it. Those that a device has it may share
    /// with other parts of that.
    fn own_names(&self) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        let (config, identity) = (&self.config, &self.identity);
        let naa = ("naa", identity.naa().as_bytes().to_vec());
        let eui64 =
            identity.eui64().next().filter(|_| config.eui64.is_some()).map(|id| ("eui64", id.as_bytes().to_vec()));
        let uuid = identity.uuid().filter(|_| config.uuid.is_some()).map(|uuid| ("uuid", uuid.to_vec()));
        std::iter::once(naa).chain(eui64).chain(uuid)
    }

    /// What answers for it at a port.
    pub(crate) fn unit(&self, port: Port) -> LogicalUnit {
        let info = self.bdev.info();
        let unit = LogicalUnit::new(self.identity.clone(), info).at_port(port).saving_modes(self.sharing.keeps());
        let threshold = self.sharing.is_surveyed().then(|| Threshold::of(info));
        unit.with_removable_medium(self.config.removable).with_threshold(threshold)
    }

    /// Whether they are one disk, if perhaps in different sizes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hold, &other.hold)
    }

    /// What was read, written and verified, through all controllers.
    pub(crate) fn done(&self) -> IoStatistics {
        self.tallies.sum(self.bdev.info().block_size)
    }

    /// A disk on a device that a test has made, with a clerk of its own who works when the test says so.
    #[cfg(test)]
    pub(crate) fn of(bdev: Arc<dyn Bdev>, index: DiskIndex) -> Self {
        Self::keeping(bdev, index, None)
    }

    /// The same with a place for what outlives a loss of power.
    #[cfg(test)]
    pub(crate) fn keeping(bdev: Arc<dyn Bdev>, index: DiskIndex, store: Option<Arc<Store>>) -> Self {
        Self::described("null:size=1M", bdev, index, store)
    }

    /// The same with these keys beside its device.
    #[cfg(test)]
    pub(crate) fn described(text: &str, bdev: Arc<dyn Bdev>, index: DiskIndex, store: Option<Arc<Store>>) -> Self {
        let config = Arc::new(DiskConfig::parse(text).expect("a legal disk"));
        let identity = Identity::derive(&format!("disk {}", index.0));
        let (clerk, own) = super::sharing::clerk::Clerk::new();
        let sharing = Office::new(clerk, store).sharing(identity.naa());
        let disk = Self::new(index, config, bdev, identity, sharing);
        Self { clerk: std::sync::Mutex::new(Some(own)), ..disk }
    }

    /// The clerk of a test's disk works. Whether there was something to do.
    #[cfg(test)]
    pub(crate) fn work(&self) -> bool {
        self.clerk.lock().expect("tests do not poison it").as_mut().is_some_and(|clerk| clerk.pass())
    }
}

/// Refuses disks that differ and tell guests that they are one: a guest with several paths would join them.
pub(crate) fn check_identities<'a>(disks: impl IntoIterator<Item = &'a Arc<Disk>>) -> Result<(), DiskError> {
    let mut known: HashMap<(&str, Vec<u8>), &Disk> = HashMap::new();
    for disk in disks {
        for (key, name) in disk.own_names() {
            let first = *known.entry((key, name)).or_insert(disk);
            if !first.config.device.is_on_data_of(&disk.config.device) {
                let (first, second) = (first.config.text.clone(), disk.config.text.clone());
                return Err(DiskError::SameIdentity { key, first, second });
            }
        }
    }
    Ok(())
}

fn identify(config: &DiskConfig, index: DiskIndex, names: Option<&Names>) -> Result<Identity, IdentityError> {
    let seed = match config.device.data() {
        _ if let Some(names) = names => names.unique.clone(),
        Data::At(_) => config.device.stable_name(),
        // Nothing but its place tells one such disk from the next.
        Data::Memory | Data::Nowhere => format!("{}:{}", config.device.stable_name(), index.0),
    };
    let mut identity = names.map_or_else(|| Identity::derive(&seed), |names| named(Identity::derive(&seed), names));
    if let Some(vendor) = &config.vendor {
        identity = identity.with_vendor(vendor)?;
    }
    if let Some(product) = &config.product {
        identity = identity.with_product(product)?;
    }
    if let Some(revision) = &config.revision {
        identity = identity.with_revision(revision)?;
    }
    if let Some(serial) = &config.serial {
        identity = identity.with_serial(serial)?;
    }
    if let Some(eui64) = &config.eui64 {
        identity = identity.with_only_eui64(Eui64::parse(eui64)?);
    }
    if let Some(uuid) = &config.uuid {
        identity = identity.with_uuid(parse_uuid(uuid)?);
    }
    match &config.naa {
        Some(naa) => Ok(identity.with_naa(Naa::parse(naa)?)),
        None => Ok(identity),
    }
}

/// Takes over what a device calls itself, as far as SCSI has a place for it.
fn named(mut identity: Identity, names: &Names) -> Identity {
    if let Some(named) = names.serial.as_deref().and_then(|serial| identity.clone().with_serial(serial).ok()) {
        identity = named;
    }
    for id in names.nguid.map(Eui64::from).into_iter().chain(names.eui64.map(Eui64::from)) {
        identity = identity.with_eui64(id);
    }
    match names.uuid {
        Some(uuid) => identity.with_uuid(uuid),
        None => identity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(texts: &[&str]) -> Vec<Arc<Disk>> {
        let (mut backends, office) =
            (Backends::default(), Office::new(super::super::sharing::clerk::Clerk::new().0, None));
        let open = |(index, text): (usize, &&str)| {
            let config = Arc::new(DiskConfig::parse(text).unwrap());
            Arc::new(Disk::open(&config, DiskIndex(index), &mut backends, &office).unwrap())
        };
        texts.iter().enumerate().map(open).collect()
    }

    #[test]
    fn disks_without_a_file_are_told_apart() {
        let disks = open(&["mem:size=1M", "mem:size=1M", "null:size=1M"]);
        let serials: std::collections::BTreeSet<_> = disks.iter().map(|disk| disk.identity.serial()).collect();
        assert_eq!(serials.len(), 3);
        assert!(check_identities(&disks).is_ok());
        let again = open(&["mem:size=1M", "mem:size=1M", "null:size=1M"]);
        let same = disks.iter().zip(&again).all(|(disk, again)| disk.identity.naa() == again.identity.naa());
        assert!(same, "identifiers stay the same across restarts");
    }

    #[test]
    fn a_device_with_names_keeps_them() {
        let names = Names {
            unique: "nvme:one".to_owned(),
            serial: Some("S123_1".to_owned()),
            eui64: Some([2; 8]),
            nguid: Some([3; 16]),
            uuid: Some([4; 16]),
        };
        let disk = |text| DiskConfig::parse(text).unwrap();
        let identity = |text, index, names| identify(&disk(text), DiskIndex(index), Some(names)).unwrap();
        let one = identity("nvme:/dev/ng0n1", 0, &names);
        assert_eq!((one.serial(), one.uuid()), ("S123_1", Some([4; 16])));
        let eui64 = |identity: &Identity| -> Vec<_> { identity.eui64().map(|id| id.as_bytes().to_vec()).collect() };
        assert_eq!(eui64(&one), [vec![3; 16], vec![2; 8]]);
        assert_eq!(identity("/dev/ng7n1", 1, &names).naa(), one.naa(), "wherever it is plugged in");
        let short = Names { nguid: None, uuid: None, serial: Some("x".repeat(99)), ..names.clone() };
        let other = identity("nvme:/dev/ng0n1", 0, &short);
        assert_eq!((eui64(&other), other.uuid()), (vec![vec![2; 8]], None));
        assert_eq!(other.serial(), Identity::derive("nvme:one").serial(), "SCSI has no room for the other");
        assert_eq!(identity("nvme:/dev/ng0n1,serial=A1", 0, &names).serial(), "A1");
        let given = "nvme:/dev/ng0n1,eui64=0x0123456789abcdef,uuid=00112233-4455-6677-8899-aabbccddeeff";
        let own = identity(given, 0, &names);
        assert_eq!((eui64(&own), own.naa()), (vec![vec![1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]], one.naa()));
        assert_eq!(own.uuid().map(u128::from_be_bytes), Some(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
    }

    #[test]
    fn disks_that_differ_may_not_have_one_identifier() {
        let disks = open(&["mem:size=1M,naa=3000000000000001", "null:size=1M,naa=3000000000000001"]);
        let error = check_identities(&disks).unwrap_err().to_string();
        assert!(error.contains("'mem:size=1M,naa") && error.contains("'null:size=1M,naa"), "{error}");
        for (same, other) in [
            ("eui64=0123456789abcdef", "eui64=0123456789abcde0"),
            ("uuid=00112233445566778899aabbccddeeff", "uuid=00112233445566778899aabbccddeef0"),
        ] {
            let disks = |second| open(&[&format!("mem:size=1M,{same}"), &format!("null:size=1M,{second}")]);
            let error = check_identities(&disks(same)).unwrap_err().to_string();
            assert!(error.contains(&format!("the same {}", &same[..5])), "{error}");
            assert!(check_identities(&disks(other)).is_ok());
        }
    }
}
