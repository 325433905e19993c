//! What holds for a logical unit whoever asks, on all ports: whether it runs, whether its medium is in and has to stay there, its clock,
//! its self-tests, and its mode pages. Each nexus has a copy in its standing, so that a command looks at nothing that is shared.
//!
//! A reset of the unit brings back what was at first. A port that begins anew does so only where nobody else works with the disk: a
//! guest that starts must not take from the others what they have set.

use std::sync::Arc;

use super::Sharing;
use super::state::{Member, State};
use crate::scsi::reservations::Nexus;
use crate::scsi::{Asc, Attention, Clock, ModeValues, SELF_TESTS_MAX, SelfTestRecord, SelfTestResult, Sense};
use crate::target::notes::host_ms;
use crate::target::standing::{Standing, UnitState};
use crate::target::target_port::TargetPort;
use crate::virtio_scsi::Event;
use crate::virtio_scsi::spec::{ASYNC_MEDIA_CHANGE, ASYNC_POWER_MGMT};

impl Sharing {
    /// The unit is stopped, or started. Drivers that have subscribed to that are told.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.stopped, stopped) == stopped {
            return;
        }
        if !stopped {
            state.shared.start_stop_cycles = state.shared.start_stop_cycles.saturating_add(1);
        }
        state.publish();
        state.notify(ASYNC_POWER_MGMT);
    }

    /// The medium goes out; or `nexus` has it come in, and the unit starts: that others are told.
    ///
    /// # Errors
    /// Somebody wants it to stay in, perhaps since the command has begun: it does.
    pub(crate) fn set_ejected(&self, nexus: Nexus, ejected: bool) -> Result<(), Sense> {
        let mut state = self.state();
        if ejected && state.unit().prevented {
            return Err(Sense::illegal(Asc::MEDIUM_REMOVAL_PREVENTED));
        }
        let was_ejected = std::mem::replace(&mut state.ejected, ejected);
        state.stopped &= ejected;
        state.publish();
        if was_ejected != ejected {
            state.notify(ASYNC_MEDIA_CHANGE);
        }
        if was_ejected && !ejected {
            state.tell_others(nexus, Attention::MediumChanged);
        }
        Ok(())
    }

    /// Whether `nexus` wants the medium to stay in: it does as long as anybody wants it.
    pub(crate) fn set_prevented(&self, nexus: Nexus, prevented: bool) {
        let mut state = self.state();
        state.set_prevented(nexus, prevented);
        state.publish();
    }

    /// `nexus` sets the clock: others are told (SPC-5, SET TIMESTAMP).
    pub(crate) fn set_timestamp(&self, nexus: Nexus, timestamp_ms: u64) {
        let mut state = self.state();
        state.shared.ahead_ms = Some(Clock::ahead_of(host_ms(), timestamp_ms));
        state.tell_others(nexus, Attention::TimestampChanged);
    }

    /// For how long it has been there.
    pub(super) fn power_on_minutes(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_secs() / 60).unwrap_or(u32::MAX)
    }

    /// A self-test has ended. Of more than the log tells the oldest is forgotten.
    pub(crate) fn log_self_test(&self, result: SelfTestResult) {
        let power_on_hours = u16::try_from(self.power_on_minutes() / 60).unwrap_or(u16::MAX);
        let self_tests = &mut self.state().shared.self_tests;
        self_tests.truncate(SELF_TESTS_MAX - 1);
        self_tests.insert(0, SelfTestRecord { result, power_on_hours });
    }

    /// `port` shows the disk at an address that is new. If that is the only one, it is as if the port began anew; if not, its nexus
    /// keeps what it has. As [`nexus_lost`](Self::nexus_lost), whether writes are to be cached no more.
    pub(crate) fn arrived(&self, port: &TargetPort, standing: &Arc<Standing>) -> bool {
        let is_other_way = |member: &Member| {
            member.port.nexus == port.nexus && !member.is_parting && !member.has(standing) && member.is_there()
        };
        let has_other_way = self.state().members.iter().any(is_other_way);
        !has_other_way && self.nexus_lost(port, standing, Attention::PowerOn)
    }

    /// The nexus of `standing` was lost, or its `port` has begun anew: what it had of what is shared ends. If nobody else is at
    /// work with a unit whose port has begun anew, that starts anew.
    ///
    /// Whether writes are cached no more since then: the cache is to be written.
    pub(crate) fn nexus_lost(&self, port: &TargetPort, standing: &Arc<Standing>, attention: Attention) -> bool {
        let (mut state, mut has_ended_caching) = (self.state(), false);
        state.shared.registry.nexus_lost(port.nexus);
        state.set_prevented(port.nexus, false);
        let is_other = |member: &Member| !member.has(standing) && member.port.is_live();
        if attention.is_port_start() && !state.members.iter().any(is_other) {
            state.ejected = false;
            has_ended_caching = state.begin_anew();
        }
        state.publish();
        has_ended_caching
    }
}

impl State {
    /// What holds for the unit.
    pub(super) fn unit(&self) -> UnitState {
        let prevented = self.members.iter().any(|member| member.prevents && !member.is_parting);
        let several_ports = self.shared.ports.len() > 1;
        UnitState { mode: self.shared.mode, stopped: self.stopped, ejected: self.ejected, prevented, several_ports }
    }

    /// Whether `nexus` wants the medium to stay in.
    pub(super) fn is_prevented_by(&self, nexus: Nexus) -> bool {
        let mut its = self.members.iter().filter(|member| member.port.nexus == nexus && !member.is_parting);
        its.any(|member| member.prevents && member.is_there())
    }

    fn set_prevented(&mut self, nexus: Nexus, prevented: bool) {
        let its = self.members.iter_mut().filter(|member| member.port.nexus == nexus);
        its.for_each(|member| member.prevents = prevented);
    }

    /// A reset of the unit: it begins anew, and nobody keeps the medium in. Whether writes are cached no more.
    pub(super) fn reset_unit(&mut self) -> bool {
        self.shared.registry.unit_reset();
        let has_ended_caching = self.begin_anew();
        self.members.iter_mut().for_each(|member| member.prevents = false);
        self.publish();
        has_ended_caching
    }

    /// It runs, with the mode pages that were saved, and the host's clock. Whether writes are cached no more.
    fn begin_anew(&mut self) -> bool {
        let before = self.shared.mode.current;
        self.shared.restore_modes();
        (self.stopped, self.shared.ahead_ms) = (false, None);
        !before.has(ModeValues::WRITE_THROUGH) && self.shared.mode.current.has(ModeValues::WRITE_THROUGH)
    }

    /// Drivers that have subscribed to `events` are told.
    fn notify(&self, events: u32) {
        for (member, standing) in self.living().filter(|(member, _)| !member.is_parting) {
            let events = standing.notes.subscribed(events);
            if events != 0 {
                member.port.news.announce(&[Event::Notify { unit: member.address, events }]);
            }
        }
    }
}
