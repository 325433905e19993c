//! The PCI function: configuration space, capabilities, BARs, MSI-X and INTx.
//!
//! Owns the 4 KiB that a client sees as configuration space ([`Function`]) and the way of an interrupt to the client's
//! eventfds ([`Interrupts`]). Never looks into a BAR, except for the MSI-X table, and knows nothing of virtio, guest
//! memory or the wire. The control thread of a controller calls [`Function`]; every reactor may call
//! [`Interrupts::signal`].

mod capability;
mod config;
mod eventfd;
mod function;
mod interrupts;
mod intx;
mod msix;
pub mod spec;

pub use capability::{Capability, WindowFields};
pub use eventfd::AttachError;
pub use function::{Bar, Effects, Function, FunctionSpec, WindowAccess};
pub use interrupts::Interrupts;
pub use msix::MsixLayout;
