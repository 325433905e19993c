//! The threads that look how much space is behind disks, and how the devices are, and have guests told when space runs short. A
//! file system or a device may keep whoever asks waiting, so nobody else does, and neither of them the other.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bdev::{Bdev, Space};

use super::{Office, Sharing, State};
use crate::scsi::{Attention, ModeValues, Threshold};

/// How often it is looked how much space there is.
const LOOK_SPACE: Duration = Duration::from_secs(1);
/// How often devices are asked how they are: that is a command to each.
const LOOK_HEALTH: Duration = Duration::from_secs(60);

/// What there is to look at of a disk.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Gauged>);

#[derive(Debug, Default)]
struct Gauged {
    /// The device; nothing before there is one.
    bdev: Option<Weak<dyn Bdev>>,
    /// It tells how much space there is.
    tells_space: bool,
}

impl Gauge {
    fn lock(&self) -> MutexGuard<'_, Gauged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device, if it is still there.
    fn bdev(&self) -> Option<Arc<dyn Bdev>> {
        self.lock().bdev.as_ref().and_then(Weak::upgrade)
    }
}

/// The threads, until this is dropped. One that a file system or a device keeps waiting ends when that lets it.
#[derive(Debug)]
pub(crate) struct Surveyor {
    _stop: [Sender<()>; 2],
}

impl Surveyor {
    /// Starts them.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(crate) fn spawn(office: &Weak<Office>) -> io::Result<Self> {
        let start = |name: &str, every: Duration, look: fn(&Sharing)| {
            let ((stop, stopped), office) = (channel(), office.clone());
            std::thread::Builder::new().name(name.into()).spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout)
                    && let Some(office) = office.upgrade()
                {
                    office.all().iter().for_each(|sharing| look(sharing));
                }
            })?;
            Ok::<_, io::Error>(stop)
        };
        let space = start("surveyor", LOOK_SPACE, Sharing::survey)?;
        Ok(Self { _stop: [space, start("checkup", LOOK_HEALTH, Sharing::check_up)?] })
    }
}

impl Office {
    fn all(&self) -> Vec<Arc<Sharing>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).disks.values().filter_map(Weak::upgrade).collect()
    }
}

impl Sharing {
    /// The disk is on this device from now on.
    pub(crate) fn measure(&self, bdev: &Arc<dyn Bdev>) {
        let space = bdev.space();
        *self.gauge.lock() = Gauged { bdev: Some(Arc::downgrade(bdev)), tells_space: space.is_some() };
        self.state().shared.space = space;
        self.survey();
    }

    /// Whether somebody looks how much space there is.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.gauge.lock().tells_space
    }

    /// Looks how much space there is, and has those told who want to know and were not. Who shows the disk no more is forgotten,
    /// if nobody has noticed.
    pub(crate) fn survey(&self) {
        self.state().prune();
        // Nobody waits for what is behind the device.
        let bdev = self.gauge.bdev().filter(|_| self.is_surveyed());
        if let Some((bdev, space)) = bdev.and_then(|bdev| bdev.space().map(|space| (bdev, space))) {
            self.state().note(space, Threshold::of(bdev.info()).is_reached(space.available));
        }
    }

    /// Asks the device how it is: it may say nothing this time, or never.
    pub(crate) fn check_up(&self) {
        let health = self.gauge.bdev().and_then(|bdev| bdev.health());
        self.state().shared.health = health;
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
