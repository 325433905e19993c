//! The seed of a random test, which tells how to have its failure again.

/// Runs this seed alone: `ANNULUS_SEED=17 cargo test simulation`.
pub(super) const SEED_VARIABLE: &str = "ANNULUS_SEED";

/// Tells the seed of a failure.
pub(super) struct TellSeed(pub(super) u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {SEED_VARIABLE}={}", self.0);
        }
    }
}
