//! Who may do what with a disk that two guests share: the rules of reservations and of access states told a second time, in
//! the smallest form, to compare the target with.

/// An operation on what is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Register { key: u8, new: u8 },
    RegisterAndIgnore { new: u8 },
    Reserve { key: u8, kind: u8 },
    Release { key: u8, kind: u8 },
    Clear { key: u8 },
    Preempt { key: u8, other: u8, kind: u8, abort: bool },
    ReserveUnit,
    ReleaseUnit,
    SetState { group: u8, state: u8 },
}

/// What a command does to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Read,
    Write,
    /// Something to other logical units, too.
    Several,
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done, or fails for another reason.
    Done,
    /// RESERVATION CONFLICT.
    Conflict,
    /// NOT READY: its port does not reach the disk.
    NotReady,
    /// ILLEGAL REQUEST.
    Refused,
}

/// All that is shared. Guests are 0 and 1, and each is at a port group of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rights {
    /// By guest; 0 where it is not registered.
    keys: [u8; 2],
    /// Holder and type of the persistent reservation.
    held: Option<(usize, u8)>,
    /// Holder of the reservation of RESERVE (6).
    pub(super) unit: Option<usize>,
    /// By guest: access state of its port group.
    states: [u8; 2],
    /// The first guest has no way to the disk, so that its port group is not there.
    is_away: bool,
}

const STANDBY: u8 = 2;
const UNAVAILABLE: u8 = 3;

impl Deed {
    /// CDB and parameter list.
    pub(super) fn encode(self) -> (Vec<u8>, Vec<u8>) {
        let out = |action: u8, kind: u8, key: u8, other: u8| {
            let mut list = vec![0; 24];
            (list[7], list[15]) = (key, other);
            (vec![0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], list)
        };
        match self {
            Self::Register { key, new } => out(0, 0, key, new),
            Self::Reserve { key, kind } => out(1, kind, key, 0),
            Self::Release { key, kind } => out(2, kind, key, 0),
            Self::Clear { key } => out(3, 0, key, 0),
            Self::Preempt { key, other, kind, abort } => out(if abort { 5 } else { 4 }, kind, key, other),
            Self::RegisterAndIgnore { new } => out(6, 0, 0, new),
            Self::ReserveUnit => (vec![0x16, 0, 0, 0, 0, 0], Vec::new()),
            Self::ReleaseUnit => (vec![0x17, 0, 0, 0, 0, 0], Vec::new()),
            Self::SetState { group, state } => {
                (vec![0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], vec![0, 0, 0, 0, state, 0, 0, group + 1])
            }
        }
    }

    /// Whether it ends commands of the other.
    pub(super) fn aborts(self) -> bool {
        matches!(self, Self::Preempt { abort: true, .. })
    }
}

impl Rights {
    /// After the end of the reservation of RESERVE (6).
    pub(super) fn without_unit(&self) -> Self {
        Self { unit: None, ..self.clone() }
    }

    /// After the first guest has lost its way to the disk: with it go its port group and what RESERVE (6) gave it.
    pub(super) fn left(&self) -> Self {
        let states = [0, self.states[1]];
        Self { unit: self.unit.filter(|&holder| holder != 0), states, is_away: true, ..self.clone() }
    }

    /// After it has found one again.
    pub(super) fn came(&self) -> Self {
        Self { is_away: false, ..self.clone() }
    }

    fn holds(&self, guest: usize) -> bool {
        self.held.is_some_and(|(holder, kind)| if kind >= 7 { self.keys[guest] != 0 } else { holder == guest })
    }

    /// What becomes of a command that needs this of the medium.
    pub(super) fn fate(&self, guest: usize, need: Need) -> Fate {
        let conflicts = match (self.unit, self.held) {
            (Some(holder), _) => holder != guest,
            (None, Some((_, kind))) => {
                let may_all = self.holds(guest) || kind >= 5 && self.keys[guest] != 0;
                let reads = matches!(kind, 1 | 5 | 7);
                !may_all && (need == Need::Write || need == Need::Read && !reads)
            }
            (None, None) => false,
        };
        match (conflicts, self.states[guest]) {
            (true, _) => Fate::Conflict,
            (false, STANDBY | UNAVAILABLE) => Fate::NotReady,
            _ => Fate::Done,
        }
    }

    /// What becomes of an operation on what is shared, and what holds then.
    pub(super) fn after(&self, guest: usize, deed: Deed) -> (Fate, Self) {
        let mut next = self.clone();
        let fate = match self.stop(guest, deed) {
            Fate::Done => next.carry_out(guest, deed),
            stopped => stopped,
        };
        if fate == Fate::Done { (fate, next) } else { (fate, self.clone()) }
    }

    /// Why it does not begin.
    fn stop(&self, guest: usize, deed: Deed) -> Fate {
        match (deed, self.states[guest]) {
            (Deed::SetState { .. }, _) => match self.fate(guest, Need::Write) {
                Fate::Conflict => Fate::Conflict,
                _ => Fate::Done,
            },
            (Deed::ReserveUnit | Deed::ReleaseUnit, STANDBY | UNAVAILABLE) => Fate::NotReady,
            (Deed::ReserveUnit | Deed::ReleaseUnit, _) => Fate::Done,
            _ if self.unit.is_some_and(|holder| holder != guest) => Fate::Conflict,
            (_, UNAVAILABLE) => Fate::NotReady,
            _ => Fate::Done,
        }
    }

    fn carry_out(&mut self, guest: usize, deed: Deed) -> Fate {
        let own = self.keys[guest];
        match deed {
            Deed::SetState { group: 0, .. } if self.is_away => return Fate::Refused,
            Deed::SetState { group, state } => self.states[usize::from(group)] = state,
            Deed::ReserveUnit | Deed::ReleaseUnit if self.keys != [0, 0] => {
                let is_so = self.holds(guest) || own != 0 && self.held.is_some_and(|(_, kind)| kind >= 5);
                return if is_so { Fate::Done } else { Fate::Conflict };
            }
            Deed::ReserveUnit if self.unit.is_some_and(|holder| holder != guest) => return Fate::Conflict,
            Deed::ReserveUnit => self.unit = Some(guest),
            Deed::ReleaseUnit => self.unit = self.unit.filter(|&holder| holder != guest),
            Deed::RegisterAndIgnore { new } => self.register(guest, new),
            Deed::Register { key, new } if key == own => self.register(guest, new),
            Deed::Reserve { key, .. } | Deed::Release { key, .. } | Deed::Clear { key } | Deed::Preempt { key, .. }
                if own == 0 || key != own =>
            {
                return Fate::Conflict;
            }
            Deed::Register { .. } => return Fate::Conflict,
            Deed::Reserve { kind, .. } => match self.held {
                Some((_, its)) if self.holds(guest) && its == kind => {}
                Some(_) => return Fate::Conflict,
                None => self.held = Some((guest, kind)),
            },
            Deed::Release { kind, .. } => match self.held {
                Some((_, its)) if self.holds(guest) && its != kind => return Fate::Refused,
                _ if self.holds(guest) => self.held = None,
                _ => {}
            },
            Deed::Clear { .. } => (self.keys, self.held) = ([0; 2], None),
            Deed::Preempt { other, kind, .. } => return self.preempt(guest, other, kind),
        }
        Fate::Done
    }

    fn register(&mut self, guest: usize, new: u8) {
        self.keys[guest] = new;
        self.end_without_holder();
    }

    /// A reservation ends with the registration of its holder, or of the last registrant.
    fn end_without_holder(&mut self) {
        let keys = self.keys;
        self.held = self.held.filter(|&(holder, kind)| if kind >= 7 { keys != [0, 0] } else { keys[holder] != 0 });
    }

    fn preempt(&mut self, guest: usize, other: u8, kind: u8) -> Fate {
        let takes_over =
            self.held.is_some_and(|(holder, its)| if its >= 7 { other == 0 } else { self.keys[holder] == other });
        if takes_over {
            let far = 1 - guest;
            if other == 0 || self.keys[far] == other {
                self.keys[far] = 0;
            }
            self.held = Some((guest, kind));
            return Fate::Done;
        }
        if other == 0 {
            return Fate::Refused;
        }
        if !self.keys.contains(&other) {
            return Fate::Conflict;
        }
        self.keys.iter_mut().filter(|key| **key == other).for_each(|key| *key = 0);
        self.end_without_holder();
        Fate::Done
    }
}
