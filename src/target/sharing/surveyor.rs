//! The thread that looks how much space is behind disks, and has guests told when it runs short. A file system may keep whoever
//! asks waiting, so nobody else does.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bdev::{Bdev, Space};

use super::{Office, Sharing, State};
use crate::scsi::{Attention, ModeValues, Threshold};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// What tells how much space there is; nothing where that cannot be told.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Option<Weak<dyn Bdev>>>);

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
        let is_told = bdev.space().is_some();
        *self.gauge.0.lock().unwrap_or_else(PoisonError::into_inner) = is_told.then(|| Arc::downgrade(bdev));
        self.survey();
    }

    /// Whether somebody looks how much space there is.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.gauge.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Looks, and has those told who want to know and were not.
    pub(crate) fn survey(&self) {
        let bdev = self.gauge.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        let Some((bdev, space)) = bdev.and_then(|bdev| bdev.space().map(|space| (bdev, space))) else { return };
        self.state().note(space, Threshold::of(bdev.info()).is_reached(space.available));
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
