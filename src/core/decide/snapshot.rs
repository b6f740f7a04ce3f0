//! The state of the agent, as `/metrics`, `/healthz` and `status` show it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::decide::quota::Quota;
use crate::core::decide::report::Report;
use crate::core::fleet::state::Outgoing;
use crate::core::policy::own_labels::IgnoredLabels;
use crate::core::service::task::TaskCounts;
use crate::core::subject::Subject;
use crate::core::update::Step;

/// After so many due rounds in a row that could not run, the agent reports itself unhealthy.
pub const MISSED_ROUNDS_MAX: u32 = 3;

/// Longest delay of the agent's loop before the agent reports itself unhealthy. Between two turns
/// the loop asks the Engine a few questions, and each of them ends after a minute, so an Engine
/// that hangs does not get the agent killed in the middle of an update. A turn never waits for a
/// registry, an update, a hook or a pull, however long they take.
pub const LOOP_OVERDUE_MAX: Duration = Duration::from_secs(300);

/// The error if the loop no longer runs.
pub const LOOP_HAS_ENDED: &str = "the agent's loop has ended";

/// An update in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveUpdate {
    pub subject: Subject,
    /// The step that it is at; absent before its first step.
    pub step: Option<Step>,
}

impl fmt::Display for ActiveUpdate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(formatter, "{} ({})", self.subject, step.word()),
            None => self.subject.fmt(formatter),
        }
    }
}

/// The state of the agent. Replaced as a whole after every round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The newest report on every watched container, by name.
    pub reports: Vec<Report>,
    /// When the last round ended.
    pub last_check: Option<DateTime<Utc>>,
    /// When the last round ended in which every container could be checked.
    pub last_success: Option<DateTime<Utc>>,
    pub next_check: Option<DateTime<Utc>>,
    /// How many due rounds in a row could not run.
    pub missed_rounds: u32,
    /// Why the last one could not run.
    pub error: Option<String>,
    /// Whether the Engine has answered and the recovery is done.
    pub is_ready: bool,
    /// The updates in flight, by subject.
    pub in_flight: Vec<ActiveUpdate>,
    /// Those whose update can be neither finished nor undone.
    pub stuck: Vec<Subject>,
    /// Those that an update has stopped and that do not run since then.
    pub down: Vec<Subject>,
    /// How many digests are refused, by subject.
    pub refused: BTreeMap<Subject, usize>,
    /// What the registries say of their quotas, by registry.
    pub quotas: BTreeMap<String, Quota>,
    /// Labels of images that are ignored.
    pub ignored_labels: Vec<IgnoredLabels>,
    /// The free space on the disk of the images, after the last round.
    pub free_bytes: Option<u64>,
    /// The device in its fleet; absent if it is in none.
    pub fleet: Option<FleetSnapshot>,
    /// The tasks of each watched service, by its name.
    pub service_tasks: BTreeMap<String, TaskCounts>,
}

/// The device in its fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetSnapshot {
    /// What the device tells others about its updates.
    pub verdicts: Vec<Outgoing>,
    /// Since when an operator has stopped the fleet.
    pub stopped_since: Option<DateTime<Utc>>,
    /// The discovery prefix of a Home Assistant that still knows this device, and must not.
    pub discovery_left: Option<String>,
    /// The device's place, counted from 1, in each rollout whose turn it waits for.
    pub places: BTreeMap<Subject, u32>,
}

impl Snapshot {
    /// The updates in flight, in words; absent if there are none.
    #[must_use]
    pub fn in_flight_words(&self) -> Option<String> {
        let words: Vec<_> = self.in_flight.iter().map(ToString::to_string).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Whether an update is pulling or switching, so that other work must leave it the network and
    /// the disk. Its verification needs neither.
    #[must_use]
    pub fn is_pulling_or_switching(&self) -> bool {
        // Swarm replaces the tasks of a service, on all nodes.
        let needs_all = |update: &ActiveUpdate| {
            update.subject.container_name().is_some()
                && !matches!(update.step, Some(Step::Verify | Step::Commit | Step::Clean))
        };
        self.in_flight.iter().any(needs_all)
    }

    /// What is wrong with the agent, whose loop is late by `overdue`; `None` if it is healthy. A
    /// registry that is down does not make the agent unhealthy.
    #[must_use]
    pub fn unhealthy_reason(&self, overdue: Duration) -> Option<String> {
        if overdue > LOOP_OVERDUE_MAX {
            return Some(format!("the loop has not turned for {} s", overdue.as_secs()));
        }
        if self.missed_rounds < MISSED_ROUNDS_MAX {
            return None;
        }
        let missed = format!("{} due rounds in a row could not run", self.missed_rounds);
        Some(self.error.as_ref().map_or(missed.clone(), |error| format!("{missed}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_ill_whatever_its_rounds_say() {
        let well = Snapshot::default();
        assert_eq!(well.unhealthy_reason(LOOP_OVERDUE_MAX), None);
        let late = well.unhealthy_reason(LOOP_OVERDUE_MAX + Duration::from_secs(1));
        assert_eq!(late.as_deref(), Some("the loop has not turned for 301 s"));
    }

    #[test]
    fn rounds_that_could_not_run_are_counted() {
        let missed = |missed_rounds| {
            let error = Some("no such file".to_owned());
            Snapshot { missed_rounds, error, ..Snapshot::default() }
                .unhealthy_reason(Duration::ZERO)
        };
        assert_eq!(missed(MISSED_ROUNDS_MAX - 1), None);
        let expected = "3 due rounds in a row could not run: no such file";
        assert_eq!(missed(MISSED_ROUNDS_MAX).as_deref(), Some(expected));
    }
}
