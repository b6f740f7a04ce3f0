//! The agent as it stands: what `/metrics`, `/healthz` and `status` show.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::quota::Quota;
use crate::core::decide::report::Report;
use crate::core::policy::own_labels::PassedOver;

/// How many due rounds in a row may fail to run before the agent calls itself ill.
pub const MISSED_ROUNDS_MAX: u32 = 3;

/// The agent as it stands. Replaced as a whole after every round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The newest report on every watched container, by name.
    pub reports: Vec<Report>,
    /// When the last round ended.
    pub last_check: Option<DateTime<Utc>>,
    /// When the last round ended in which every container could be checked.
    pub last_success: Option<DateTime<Utc>>,
    /// When the next round is due.
    pub next_check: Option<DateTime<Utc>>,
    /// How many due rounds in a row could not run at all.
    pub missed_rounds: u32,
    /// Why the last one could not.
    pub trouble: Option<String>,
    /// Whether the Engine has answered and recovery is done.
    pub is_ready: bool,
    /// The container that is being updated.
    pub in_flight: Option<String>,
    /// Containers whose update can be neither finished nor undone.
    pub stuck: Vec<String>,
    /// Those that an update has stopped and that do not run since.
    #[serde(default)]
    pub down: Vec<String>,
    /// How many digests are refused, by container.
    pub refused: Vec<(String, usize)>,
    /// What the registries say of their quotas, by registry.
    #[serde(default)]
    pub quotas: BTreeMap<String, Quota>,
    /// Labels of images that do not count.
    #[serde(default)]
    pub passed_over: Vec<PassedOver>,
}

impl Snapshot {
    /// Whether the agent is well. A registry that is down is not ill health of the agent.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.missed_rounds < MISSED_ROUNDS_MAX
    }
}
