//! Threads that do what a core must not wait for: a few for each channel that needs them, and the core's mailbox.
//!
//! A [`Lane`] serves one channel of one core: where io_uring is forbidden it does all of its operations, elsewhere only
//! those for which io_uring has none. Each channel has threads of its own, so that a disk which does not answer holds up
//! nobody else. They are started when there is work for them, sleep when there is none, and end with the channel. What
//! they have ended lies in the [`Mailbox`] of the core, which looks there once a pass and is woken if it sleeps.

mod lane;
mod letters;
mod mailbox;
mod raw;
mod work;

pub(crate) use lane::{Job, Lane};
pub(crate) use mailbox::{Mailbox, new_bell};
pub(crate) use work::Served;
