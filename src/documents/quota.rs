//! What a registry says about its quota.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::core::decide::quota;

/// What a registry last said about the quota of this address or login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRow {
    /// Pulls in one window, if the registry says it.
    pub limit: Option<u64>,
    /// Pulls that are left.
    pub remaining: u64,
    /// The length of the window, if the registry says it.
    pub window_seconds: Option<u64>,
}

impl QuotaRow {
    /// For people: `76 of 100 pulls left, per 6h`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { limit, remaining, window_seconds } = *self;
        let window = window_seconds.map(Duration::from_secs);
        quota::Quota { limit, remaining, window }.in_words()
    }
}

impl From<&quota::Quota> for QuotaRow {
    fn from(quota::Quota { limit, remaining, window }: &quota::Quota) -> Self {
        let window_seconds = window.map(|window| window.as_secs());
        Self { limit: *limit, remaining: *remaining, window_seconds }
    }
}
