//! How much of the [`clerk`](super::clerk)'s work one port has asked for: bounded, for a command that is given up leaves its order
//! with the clerk, who may be waiting for a file meanwhile, and a guest may do that again and again.

use std::sync::Arc;

/// Orders of one port that the clerk may have at a time.
pub(crate) const ORDERS_MAX: usize = 256;

/// The account of a port. Each order of it has a copy, and is counted by that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account(Arc<()>);

impl Account {
    /// What one more order is counted by until it is dropped; none if there are too many. Of those who ask at the same moment each
    /// may get one.
    pub(super) fn open(&self) -> Option<Self> {
        (Arc::strong_count(&self.0) <= ORDERS_MAX).then(|| self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_is_done() {
        let account = Account::default();
        let mut orders: Vec<_> = (0..ORDERS_MAX).map(|_| account.open().expect("room")).collect();
        assert!(account.open().is_none());
        orders.pop();
        assert!(account.open().is_some());
    }
}
