//! Where reservations, mode pages and names outlive a loss of power: a directory with a file of reservations, and one of the rest,
//! for each disk that has some (SPC-5, preserving persistent reservations, saved mode pages, device identifying information).
//!
//! A file is replaced in one step: whatever happens meanwhile, it is the one from before or the one from after.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::scsi::reservations::Registry;
use crate::scsi::{KeptUnit, Naa};

/// A directory that can be written to.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the directory unless it is there, and tries whether it can be written to.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        create(&probe)?;
        fs::remove_file(probe)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// The reservations of a disk as they were kept. A file that cannot be understood is told of, and stays.
    pub(super) fn load(&self, naa: Naa) -> Registry {
        let path = self.path(naa);
        let image = match read(&path, Registry::IMAGE_LEN_MAX) {
            Ok(image) => image,
            Err(error) if error.kind() == ErrorKind::NotFound => return Registry::default(),
            Err(error) => return lost(&path, &error),
        };
        Registry::from_bytes(&image).unwrap_or_else(|error| lost(&path, &error))
    }

    /// Keeps an image, or forgets what was kept. Returns when that is on the medium.
    ///
    /// # Errors
    /// What the system says: then what was there is still there.
    pub(super) fn save(&self, naa: Naa, image: Option<&[u8]>) -> io::Result<()> {
        self.replace(&self.path(naa), image)
    }

    /// Mode pages and names of a disk as they were kept. A file that cannot be understood is told of: then they are as at first.
    pub(super) fn load_unit(&self, naa: Naa) -> KeptUnit {
        let path = self.unit_path(naa);
        let image = read(&path, KeptUnit::IMAGE_LEN_MAX);
        if image.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return KeptUnit::default();
        }
        image.ok().and_then(|image| KeptUnit::from_bytes(&image)).unwrap_or_else(|| {
            tracing::error!(
                "mode pages and names that were kept in {} cannot be read: those at first hold",
                path.display()
            );
            KeptUnit::default()
        })
    }

    /// Keeps mode pages and names. Returns when they are on the medium.
    ///
    /// # Errors
    /// What the system says: then what was there is still there.
    pub(super) fn save_unit(&self, naa: Naa, kept: &KeptUnit) -> io::Result<()> {
        self.replace(&self.unit_path(naa), Some(&kept.to_bytes()))
    }

    fn replace(&self, path: &Path, image: Option<&[u8]>) -> io::Result<()> {
        match image {
            Some(image) => {
                let next = path.with_extension("next");
                let mut file = create(&next)?;
                file.write_all(image)?;
                file.sync_all()?;
                fs::rename(next, path)?;
            }
            None => match fs::remove_file(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            },
        }
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, naa: Naa) -> PathBuf {
        self.dir.join(format!("{naa}.reservations"))
    }

    fn unit_path(&self, naa: Naa) -> PathBuf {
        self.dir.join(format!("{naa}.unit"))
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Never reads much more than an image of at most `len_max` bytes can have.
fn read(path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    let mut image = Vec::new();
    File::open(path)?.take(len_max as u64 + 1).read_to_end(&mut image)?;
    Ok(image)
}

fn lost(path: &Path, error: &dyn std::fmt::Display) -> Registry {
    tracing::error!(
        "reservations that were kept in {} cannot be read: {error}; until a host says what holds (REPLACE LOST \
         RESERVATION), or the file is removed before a start, the disk is not accessible",
        path.display()
    );
    Registry::lost()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::reservations::{Nexus, OutAction, OutParameters, Rights, SasAddress};
    use crate::scsi::{Identifying, ModeState};

    const NEXUS: Nexus = Nexus { initiator: SasAddress(1), port: 1 };

    fn naa() -> Naa {
        Naa::parse("3000000000000001").unwrap()
    }

    fn registered() -> Registry {
        let mut registry = Registry::default();
        let asked = OutParameters { action_key: 5, aptpl: true, ..OutParameters::default() };
        registry.persistent_out(NEXUS, OutAction::Register, &asked, &[1]).unwrap();
        registry
    }

    #[test]
    fn what_is_kept_comes_back_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("a/b")).unwrap();
        assert_eq!(store.load(naa()), Registry::default());
        let image = registered().to_bytes();
        store.save(naa(), image.as_deref()).unwrap();
        assert_eq!(store.load(naa()).to_bytes(), image);
        let names: Vec<_> = fs::read_dir(&store.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["3000000000000001.reservations"], "nothing else is left");
        store.save(naa(), None).unwrap();
        store.save(naa(), None).unwrap();
        assert_eq!(store.load(naa()), Registry::default());
    }

    #[test]
    fn mode_pages_and_names_are_kept_and_bad_ones_are_those_at_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load_unit(naa()), KeptUnit::default());
        let mut kept = KeptUnit { mode: ModeState::from_bits(2 << 32).restored(), ..KeptUnit::default() };
        kept.names.keep(Identifying::Name, b"vm7");
        store.save_unit(naa(), &kept).unwrap();
        assert_eq!(store.load_unit(naa()), kept);
        assert_eq!(store.load(naa()), Registry::default());
        fs::write(store.unit_path(naa()), [0; 40]).unwrap();
        assert_eq!(store.load_unit(naa()), KeptUnit::default());
    }

    #[test]
    fn what_cannot_be_read_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let image = registered().to_bytes().unwrap();
        let flipped: Vec<u8> = image.iter().map(|byte| byte ^ 1).collect();
        for bad in [&image[..image.len() - 1], &flipped, &[], &[0; 1 << 20]] {
            fs::write(store.path(naa()), bad).unwrap();
            assert_eq!(store.load(naa()).rights(NEXUS), Rights::Lost);
        }
        fs::remove_file(store.path(naa())).unwrap();
        fs::create_dir(store.path(naa())).unwrap();
        assert_eq!(store.load(naa()).rights(NEXUS), Rights::Lost);
        assert!(store.save(naa(), Some(&image)).is_err());
    }

    #[test]
    fn a_place_that_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(Store::open(&dir.path().join("file")).is_err());
        assert!(Store::open(Path::new("/proc/nowhere")).is_err());
    }
}
