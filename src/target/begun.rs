//! Long commands that were put back after they had been started, because their queue was about to rest.
//!
//! When the queue goes on and their chains are looked at again, what was allowed then still is: a reservation or an attention
//! that came meanwhile is for commands behind them. Those that said so go on where they were; all others begin again. Where the
//! logical unit was removed they are *lost*: nobody can say what they have done, whoever answers at its address now.
//!
//! Such a command is known by its chain, which nobody else can have as long as it has not ended, and from the moment at which
//! its chain is a request again by the name of that. So it never is taken for another one, however it ends.

use std::sync::Arc;

use crate::scsi::{Command, LongTask, Place};

use super::standing::Standing;
use super::tag::RequestName;

/// Those of one queue.
#[derive(Debug, Default)]
pub(crate) struct Begun(Vec<PutBack>);

/// One of them.
#[derive(Debug)]
pub(crate) struct PutBack {
    pub(crate) chain: u16,
    pub(crate) command: Command,
    /// Its logical unit, and what that was to its nexus.
    pub(crate) place: Place,
    pub(crate) standing: Arc<Standing>,
    /// There if it goes on where it was.
    pub(crate) rested: Option<Rested>,
    /// The request that its chain has become.
    pub(crate) name: Option<RequestName>,
    pub(crate) is_lost: bool,
}

/// What is left of a command that goes on where it was.
#[derive(Debug)]
pub(crate) struct Rested {
    pub(crate) task: Box<dyn LongTask>,
    /// Bytes of the data buffer that it has used.
    pub(crate) used: u64,
}

impl Begun {
    /// Whether there are none, as there are nearly always.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, put_back: PutBack) {
        self.0.push(put_back);
    }

    /// A chain has become this request.
    #[cold]
    pub(crate) fn recognize(&mut self, chain: u16, name: RequestName) {
        let mut of_chain = self.0.iter_mut().filter(|it| it.chain == chain && it.name.is_none());
        of_chain.next().into_iter().for_each(|it| it.name = Some(name));
    }

    /// A request is forgotten but for its chain once more.
    pub(crate) fn put_back(&mut self, name: RequestName) {
        self.0.iter_mut().filter(|it| it.name == Some(name)).for_each(|it| it.name = None);
    }

    /// Those are lost for whose logical unit `is_removed` holds.
    pub(crate) fn lose(&mut self, is_removed: impl Fn(&Standing) -> bool) {
        self.0.iter_mut().for_each(|it| it.is_lost |= is_removed(&it.standing));
    }

    /// Whether a request is one that is lost.
    pub(crate) fn is_lost(&self, name: RequestName) -> bool {
        self.0.iter().any(|it| it.is_lost && it.name == Some(name))
    }

    /// Whether a request is one of them. It is not if the driver has made another command of it, or its unit is another one.
    #[cold]
    pub(crate) fn has(&self, name: RequestName, command: &Command, standing: &Arc<Standing>) -> bool {
        let is_it = |it: &PutBack| it.command == *command && Arc::ptr_eq(&it.standing, standing);
        self.0.iter().any(|it| it.name == Some(name) && is_it(it))
    }

    /// Takes what is left of a request, if it goes on where it was: on the same unit, of the same size, with the same command.
    pub(crate) fn take(&mut self, name: RequestName, command: &Command, place: Place) -> Option<Rested> {
        let at = self.0.iter().position(|it| it.name == Some(name))?;
        let found = self.0.swap_remove(at);
        found.rested.filter(|_| found.command == *command && found.place == place)
    }

    /// Forgets those whose request has ended.
    pub(crate) fn forget(&mut self, mut is_open: impl FnMut(RequestName) -> bool) {
        self.0.retain(|it| it.name.is_none_or(&mut is_open));
    }
}
