//! The last deliveries, so that a repeated one does nothing. GitHub, Gitea and others sign no time,
//! so without this list a recorded webhook could be sent again at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

/// Most deliveries that are remembered; the oldest goes first. A sender repeats within minutes, and
/// an older one causes no more than one more `HEAD`. 32 bytes each.
const DELIVERIES_MAX: usize = 256;

/// The identity of a delivery of one sender, as a digest: identities may have any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeliveryKey([u8; 32]);

impl DeliveryKey {
    pub(super) fn new(sender: &str, id: &[u8]) -> Self {
        // A name has no zero byte.
        Self(
            Sha256::new().chain_update(sender).chain_update([0]).chain_update(id).finalize().into(),
        )
    }
}

/// The last accepted deliveries.
#[derive(Debug, Default)]
pub(super) struct RecentDeliveries(Mutex<VecDeque<DeliveryKey>>);

impl RecentDeliveries {
    pub(super) fn contains(&self, key: DeliveryKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    pub(super) fn insert(&self, key: DeliveryKey) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= DELIVERIES_MAX {
            keys.pop_front();
        }
        keys.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deliveries_of_each_sender_are_known() {
        let recent = RecentDeliveries::default();
        let key = |sender: &str, number: usize| DeliveryKey::new(sender, &number.to_le_bytes());
        for number in 0..=DELIVERIES_MAX {
            assert!(!recent.contains(key("a", number)));
            recent.insert(key("a", number));
        }
        assert!(!recent.contains(key("a", 0)), "the oldest is forgotten");
        assert!(recent.contains(key("a", 1)) && recent.contains(key("a", DELIVERIES_MAX)));
        assert!(!recent.contains(key("b", 1)));
    }
}
