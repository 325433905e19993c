//! The thread that looks how much space is behind disks, and how the devices are, and has guests told when space runs short. A file
//! system or a device may keep whoever asks waiting, so nobody else does.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bdev::{Bdev, Space};

use super::{Office, Sharing, State};
use crate::scsi::{Attention, ModeValues, Threshold};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// It asks a device how it is each so many looks: that is a command to it.
const LOOKS_HEALTH: u32 = 60;

/// What there is to look at of a disk.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Gauged>);

#[derive(Debug, Default)]
struct Gauged {
    /// What tells how much space there is; nothing where that cannot be told.
    space: Option<Weak<dyn Bdev>>,
    /// What tells how it is; nothing where it does not.
    health: Option<Weak<dyn Bdev>>,
    /// Looks since it was told.
    looks: u32,
}

impl Gauge {
    fn lock(&self) -> MutexGuard<'_, Gauged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gauged {
    /// Those who are to be asked now: for space, and for health.
    fn due(&mut self) -> [Option<Arc<dyn Bdev>>; 2] {
        let is_due = self.looks == 0;
        self.looks = (self.looks + 1) % LOOKS_HEALTH;
        let living = |bdev: &Option<Weak<dyn Bdev>>| bdev.as_ref().and_then(Weak::upgrade);
        [living(&self.space), living(&self.health).filter(|_| is_due)]
    }
}

/// The thread, until this is dropped. One that a file system keeps waiting ends when that lets it.
#[derive(Debug)]
pub(crate) struct Surveyor {
    _stop: Sender<()>,
}

impl Surveyor {
    /// Starts it.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(crate) fn spawn(office: Weak<Office>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        std::thread::Builder::new().name("surveyor".into()).spawn(move || {
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
                && let Some(office) = office.upgrade()
            {
                office.all().iter().for_each(|sharing| sharing.survey());
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

impl Office {
    fn all(&self) -> Vec<Arc<Sharing>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).disks.values().filter_map(Weak::upgrade).collect()
    }
}

impl Sharing {
    /// The disk is on this device from now on. It is asked once at once: whoever opens it may wait, too.
    pub(crate) fn measure(&self, bdev: &Arc<dyn Bdev>) {
        let (space, health) = (bdev.space().is_some(), bdev.health().is_some());
        let if_told = |is_told: bool| is_told.then(|| Arc::downgrade(bdev));
        *self.gauge.lock() = Gauged { space: if_told(space), health: if_told(health), looks: 0 };
        self.survey();
    }

    /// Whether somebody looks how much space there is.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.gauge.lock().space.is_some()
    }

    /// Looks, and has those told who want to know and were not.
    pub(crate) fn survey(&self) {
        // Nobody waits for what the device says.
        let [space, health] = self.gauge.lock().due();
        if let Some(bdev) = health {
            let health = bdev.health();
            self.state().shared.health = health;
        }
        if let Some((bdev, space)) = space.and_then(|bdev| bdev.space().map(|space| (bdev, space))) {
            self.state().note(space, Threshold::of(bdev.info()).is_reached(space.available));
        }
    }
}

impl State {
    fn note(&mut self, space: Space, is_short: bool) {
        const TOLD: ModeValues = ModeValues::LBPERE.and(ModeValues::THRESHOLD);
        self.shared.space = Some(space);
        for member in &mut self.members {
            let Some(standing) = member.standing.upgrade() else { continue };
            let was_warned = std::mem::replace(&mut member.is_warned, is_short && standing.mode().current.has(TOLD));
            if member.is_warned && !was_warned {
                member.tell(&standing, Attention::SoftThresholdReached);
            }
        }
    }
}
