//! Ends what takes long when the user asks for it.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::flag;

/// What a shell says of a program that ended by SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// The first of these signals sets the flag; the second one ends this process at once.
///
/// # Errors
/// The kernel allows no handler.
pub fn on_signals(signals: &[i32], stop: &Arc<AtomicBool>) -> Result<()> {
    for &signal in signals {
        flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}
