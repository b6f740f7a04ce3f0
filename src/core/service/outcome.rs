//! How the update of a service ended: the line of history, and how long its places were empty.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::service::plan::ServiceHeader;
use crate::core::service::progress::{ServiceProgress, ServiceStep};
use crate::core::service::task::SwarmTask;
use crate::core::service::watch::ServiceLook;
use crate::core::update::history::{GroupRecord, Record};
use crate::core::update::outcome;

/// The line of history.
#[must_use]
pub fn record(
    header: &ServiceHeader,
    progress: &ServiceProgress,
    finished_at: DateTime<Utc>,
) -> Record {
    let plan = &header.plan;
    let gap = progress.gap_milliseconds.map(Duration::from_millis);
    Record {
        by: None,
        id: plan.id.clone(),
        subject: plan.subject(),
        image: plan.image.clone(),
        from: Some(plan.from.clone()),
        to: Some(plan.to.clone()),
        started_at: header.started_at,
        finished_at,
        outcome: outcome::outcome(
            progress.failed.as_ref(),
            progress.begun >= Some(ServiceStep::Update),
        ),
        tries: 1,
        reason: progress.failed.as_ref().map(|cause| cause.detail.clone()),
        gap_seconds: gap.map(|gap| gap.as_secs_f64()),
        log: Vec::new(),
        dependents: Vec::new(),
        group: GroupRecord::default(),
    }
}

/// The longest time that a place was empty: from the end of its old task to the start of the task
/// that serves there now. Both times are of one node, so that no two clocks are compared; `None` if
/// no place can be measured.
#[must_use]
pub fn longest_gap(look: &ServiceLook, known: &BTreeSet<String>) -> Option<Duration> {
    let serving = look.tasks.iter().filter(|task| task.is_serving() && !known.contains(&task.id));
    let gap = |new: &SwarmTask| {
        let old = look.tasks.iter().filter(|old| {
            known.contains(&old.id)
                && old.node_id == new.node_id
                && look.facts.slot_of(old) == look.facts.slot_of(new)
        });
        let ended_at = old.filter_map(|old| old.at).max()?;
        (new.at? - ended_at).to_std().ok()
    };
    serving.filter_map(gap).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::look;

    #[test]
    fn the_gap_is_that_of_the_slowest_place() {
        let known = |moment| look(moment).tasks.into_iter().map(|task| task.id).collect();
        let known: BTreeSet<String> = known("unpinned");
        let gap = longest_gap(&look("good-done"), &known).expect("both places were replaced");
        assert!(gap > Duration::from_secs(1) && gap < Duration::from_secs(4), "{gap:?}");
        assert_eq!(longest_gap(&look("unpinned"), &known), None, "nothing was replaced");
        let half = longest_gap(&look("good-middle"), &known).expect("one place was replaced");
        assert!(half <= gap);
    }
}
