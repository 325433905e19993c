//! What may hold of a disk that two guests share, as far as they can know, and so how each of their commands may end.
//!
//! One operation on what is shared is open at a time, so that what holds is known when it ends. Where one was ended early, or
//! its life was, it may have been done or not, and from then on several things may hold.

use std::collections::BTreeMap;

use super::guest::{Ended, TASK_ABORTED};
use super::rights::{Deed, Fate, Need, Rights};

/// Passes of each core in which a message that was sent before has come to it.
const GRACE: [u32; 2] = [8; 2];

/// What is known of one disk.
#[derive(Debug)]
pub(super) struct Book {
    may_be: Vec<Rights>,
    /// The open operation, and whether the other guest may have ended it.
    open: Option<(Operation, bool)>,
    /// Since it was sent the first guest's way to the disk went or came: nobody can say which was first.
    is_unsure: bool,
    /// What may have held when the first guest lost its way to the disk, as long as not every core knows: some may still serve it.
    stale: Vec<Rights>,
    /// Operations of lives that are over and not gone: they may be done at any time.
    haunting: Vec<(usize, Deed)>,
    /// Functions that end the reservation of RESERVE (6): of whom, everyone if of none; and those of lives that are over.
    resets: BTreeMap<(usize, u64), Option<usize>>,
    haunting_resets: Vec<(usize, Option<usize>)>,
    /// Functions that have ended, and lives that are gone. They are forgotten when no operation is open, for nobody can say
    /// which was first.
    ended_resets: Vec<(usize, u64)>,
    gone: Vec<usize>,
    /// Passes of each core for which commands may be ended by what was given up.
    grace: [u32; 2],
    commands: BTreeMap<(usize, u64), Watched>,
}

/// An operation on what is shared: whose, its name, and what it is.
type Operation = (usize, u64, Deed);

/// A command on its way.
#[derive(Debug)]
struct Watched {
    need: Need,
    /// How it may end.
    fates: Vec<Fate>,
    /// Whether the other guest may have ended it.
    at_risk: bool,
}

fn add<T: PartialEq>(to: &mut Vec<T>, value: T) {
    if !to.contains(&value) {
        to.push(value);
    }
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            may_be: vec![Rights::default()],
            open: None,
            is_unsure: false,
            stale: Vec::new(),
            haunting: Vec::new(),
            resets: BTreeMap::new(),
            haunting_resets: Vec::new(),
            ended_resets: Vec::new(),
            gone: Vec::new(),
            grace: [0; 2],
            commands: BTreeMap::new(),
        }
    }

    /// Whether another operation on what is shared has to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.open.is_some()
    }

    /// A guest sent a command that needs this.
    pub(super) fn sent(&mut self, guest: usize, id: u64, need: Need) {
        self.commands.insert((guest, id), Watched { need, fates: Vec::new(), at_risk: false });
        self.note();
    }

    /// A guest sent an operation on what is shared.
    pub(super) fn sent_deed(&mut self, guest: usize, id: u64, deed: Deed) {
        self.open = Some(((guest, id, deed), false));
        self.is_unsure = !self.stale.is_empty();
        self.note();
    }

    /// The first guest has no way to the disk any more.
    pub(super) fn left(&mut self) {
        self.stale = self.now();
        self.change(Rights::left);
    }

    /// Every core knows that.
    pub(super) fn is_gone(&mut self) {
        self.stale.clear();
    }

    /// It has one again.
    pub(super) fn came(&mut self) {
        self.change(Rights::came);
    }

    fn change(&mut self, change: impl Fn(&Rights) -> Rights) {
        self.is_unsure = true;
        if let Some(((guest, _, deed), _)) = self.open {
            let afterwards = self.may_be.iter().map(|rights| rights.after(guest, deed).1).collect::<Vec<_>>();
            afterwards.into_iter().for_each(|rights| add(&mut self.may_be, rights));
        }
        let before = std::mem::take(&mut self.may_be);
        before.iter().for_each(|rights| add(&mut self.may_be, change(rights)));
        self.note();
    }

    /// A guest sent a function that ends the reservation of RESERVE (6), its own or `everyone`'s.
    pub(super) fn sent_reset(&mut self, guest: usize, id: u64, everyone: bool) {
        self.resets.insert((guest, id), (!everyone).then_some(guest));
        self.note();
    }

    fn all_resets(&self) -> impl Iterator<Item = Option<usize>> {
        self.resets.values().copied().chain(self.haunting_resets.iter().map(|&(_, of)| of))
    }

    /// Whether commands of this guest may be aborted by the other.
    fn is_at_risk(&self, guest: usize) -> bool {
        let open = self.open.is_some_and(|((by, _, deed), _)| by != guest && deed.aborts());
        let haunts = guest == 1 && self.haunting.iter().any(|(_, deed)| deed.aborts());
        open || haunts || self.grace != [0; 2]
    }

    /// All that may come of `states` without an operation of a guest.
    fn closed(&self, mut states: Vec<Rights>) -> Vec<Rights> {
        let mut place = 0;
        while let Some(rights) = states.get(place).cloned() {
            self.haunting.iter().for_each(|&(_, deed)| add(&mut states, rights.after(0, deed).1));
            if self.all_resets().any(|of| of.is_none() || rights.unit == of) {
                add(&mut states, rights.without_unit());
            }
            place += 1;
        }
        states
    }

    /// All that may hold, whether the open operation was done or not.
    fn now(&self) -> Vec<Rights> {
        let mut now = self.may_be.clone();
        if let Some(((guest, _, deed), _)) = self.open {
            self.may_be.iter().for_each(|rights| add(&mut now, rights.after(guest, deed).1));
            now = self.closed(now);
        }
        now
    }

    /// Something may hold that did not: finds out all that may, and how commands may end now.
    fn note(&mut self) {
        let may_be = std::mem::take(&mut self.may_be);
        self.may_be = self.closed(may_be);
        let now = self.now();
        let risks = [0, 1].map(|guest| self.is_at_risk(guest));
        for (&(guest, _), watched) in &mut self.commands {
            let stale = self.stale.iter().filter(|_| guest == 0);
            now.iter().chain(stale).for_each(|rights| add(&mut watched.fates, rights.fate(guest, watched.need)));
            watched.at_risk |= risks[guest];
        }
        if let Some(((guest, ..), at_risk)) = &mut self.open {
            *at_risk |= risks[*guest];
        }
    }

    /// A request has ended. Whether it is a command, and the other guest may have aborted it.
    pub(super) fn ended(&mut self, guest: usize, ended: &Ended) -> bool {
        if self.resets.contains_key(&(guest, ended.id)) {
            self.ended_resets.push((guest, ended.id));
            self.forget();
        }
        if let Some(((by, id, deed), at_risk)) = self.open
            && (by, id) == (guest, ended.id)
        {
            self.deed_ended(guest, deed, ended);
            self.forget();
            return at_risk;
        }
        let Some(watched) = self.commands.remove(&(guest, ended.id)) else { return false };
        if let Some(fate) = fate(ended).filter(|_| watched.need != Need::Several) {
            assert!(watched.fates.contains(&fate), "{ended:?} of guest {guest}: {watched:?}, {self:#?}");
        }
        watched.at_risk
    }

    fn deed_ended(&mut self, guest: usize, deed: Deed, ended: &Ended) {
        self.open = None;
        let afterwards = self.may_be.iter().map(|rights| rights.after(guest, deed)).collect::<Vec<_>>();
        let is_sure = !self.is_unsure && self.haunting.is_empty() && self.all_resets().next().is_none();
        match fate(ended) {
            Some(fate) if is_sure => {
                let fits = afterwards.into_iter().filter(|(its, _)| *its == fate);
                let mut next = Vec::new();
                fits.for_each(|(_, rights)| add(&mut next, rights));
                assert!(!next.is_empty(), "{deed:?} of guest {guest}: {ended:?}, {self:#?}");
                self.may_be = next;
            }
            None if matches!(ended.response, 0 | BAD_TARGET) && ended.status != TASK_ABORTED => {}
            _ => {
                afterwards.into_iter().for_each(|(_, rights)| add(&mut self.may_be, rights));
                self.grace = if deed.aborts() { GRACE } else { self.grace };
            }
        }
        self.note();
    }

    /// A core did a pass.
    pub(super) fn stepped(&mut self, core: usize) {
        self.grace[core] = self.grace[core].saturating_sub(1);
    }

    /// The first guest's life has ended.
    pub(super) fn life_ended(&mut self, life: usize) {
        self.commands.retain(|&(guest, _), _| guest != 0);
        let resets = self.resets.extract_if(.., |&(guest, _), _| guest == 0);
        self.haunting_resets.extend(resets.map(|(_, of)| (life, of)));
        if let Some(((_, _, deed), _)) = self.open.take_if(|((guest, ..), _)| *guest == 0) {
            self.haunting.push((life, deed));
        }
        self.note();
    }

    /// Nothing of a former life is left.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        self.gone.push(life);
        self.forget();
    }

    /// Forgets what can do nothing any more, unless an operation is open.
    fn forget(&mut self) {
        self.note();
        if self.open.is_some() {
            return;
        }
        let Self { resets, haunting, haunting_resets, .. } = self;
        self.ended_resets.drain(..).for_each(|id| _ = resets.remove(&id));
        for life in self.gone.drain(..) {
            let count = haunting.len() + haunting_resets.len();
            haunting.retain(|&(its, _)| its != life);
            haunting_resets.retain(|&(its, _)| its != life);
            if haunting.len() + haunting_resets.len() < count {
                self.grace = GRACE;
            }
        }
        self.note();
    }
}

/// The target has no logical unit.
const BAD_TARGET: u8 = 3;

/// What the end of a request says of reservations and access states; none if it says nothing.
fn fate(ended: &Ended) -> Option<Fate> {
    const CONFLICT: u8 = 0x18;
    const ACA_ACTIVE: u8 = 0x30;
    match (ended.response, ended.status, ended.sense) {
        (0, ACA_ACTIVE | TASK_ABORTED, _) => None,
        (0, _, Some((5, 0x4900) | (2, 0x0404 | 0x041b) | (3, 0x3100 | 0x3101 | 0x3103))) => None,
        (0, CONFLICT, _) => Some(Fate::Conflict),
        (0, _, Some((2, 0x040b | 0x040c))) => Some(Fate::NotReady),
        (0, _, Some((5, 0x2500))) => None,
        (0, _, Some((5, _))) => Some(Fate::Refused),
        (0, _, Some((6, _))) => None,
        (0, ..) => Some(Fate::Done),
        _ => None,
    }
}
