//! How an update ended, read from its journal.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::update::JournalProgress;
use crate::core::update::history::{
    Cause, Fault, GroupRecord, JobRecord, MemberRecord, Outcome, Record,
};
use crate::core::update::plan::{Header, ImageSource, Plan};

/// The outcome of an update that was rolled back for this cause, or was not.
#[must_use]
pub fn outcome(failed: Option<&Cause>, was_tried: bool) -> Outcome {
    match failed.map(|cause| cause.fault) {
        None => Outcome::Updated,
        Some(Fault::Interruption | Fault::Person | Fault::Lock) => Outcome::Interrupted,
        Some(Fault::Image | Fault::Surroundings | Fault::DamagedCopy) if was_tried => {
            Outcome::RolledBack
        }
        Some(Fault::Image | Fault::Surroundings | Fault::DamagedCopy) => Outcome::Failed,
    }
}

/// The line of history for a journal.
#[must_use]
pub fn record(header: &Header, progress: &JournalProgress, finished_at: DateTime<Utc>) -> Record {
    let plan = &header.plan;
    let first = plan.first_changed();
    let by_hand = first
        .is_some_and(|(_, update)| update.source == ImageSource::Kept)
        .then(|| "a person rolled back to the previous image".to_owned());
    let gap = progress.known.gap_milliseconds.map(Duration::from_millis);
    Record {
        by: plan.by.clone(),
        id: plan.id.clone(),
        subject: plan.subject(),
        image: first.map(|(member, _)| member.image.clone()).unwrap_or_default(),
        from: first.and_then(|(_, update)| update.from.digest.clone()),
        to: first.map(|(_, update)| update.to.index.clone()),
        started_at: header.started_at,
        finished_at,
        outcome: outcome(progress.failed.as_ref(), progress.was_tried()),
        tries: 1,
        reason: progress.failed.as_ref().map(|cause| cause.detail.clone()).or(by_hand),
        gap_seconds: gap.map(|gap| gap.as_secs_f64()),
        log: progress.known.log.clone(),
        dependents: plan.dependent_names(),
        group: group_record(plan, progress),
    }
}

fn group_record(plan: &Plan, progress: &JournalProgress) -> GroupRecord {
    if plan.subject.group_name().is_none() {
        return GroupRecord::default();
    }
    let changed = plan.changed().map(|(_, member, update)| MemberRecord {
        container: member.container.clone(),
        image: member.image.clone(),
        from: update.from.digest.clone(),
        to: Some(update.to.index.clone()),
    });
    let jobs = plan.job_numbers().map(|number| {
        let known = progress.known.job(number);
        JobRecord {
            container: plan.member(number).container.clone(),
            runs: known.map_or(0, |job| job.runs),
            exit_code: known.and_then(|job| job.exit_code),
            log: known.map(|job| job.log.clone()).unwrap_or_default(),
        }
    });
    let data = progress.failed.as_ref().and_then(|_| progress.data_state()).or(plan.data);
    GroupRecord { members: changed.collect(), jobs: jobs.collect(), data }
}

/// The line of history for an update that could be neither finished nor undone so far. It has an ID
/// of its own, so that the line of its real end is written as well. If the service is down, the gap
/// is the time it has been down until now.
#[must_use]
pub fn stuck(
    header: &Header,
    progress: &JournalProgress,
    finished_at: DateTime<Utc>,
    (error, is_down): (&str, Option<bool>),
) -> Record {
    let record = record(header, progress, finished_at);
    let since = progress.switched_at.filter(|_| is_down == Some(true));
    let down_for = since.and_then(|since| (finished_at - since).to_std().ok());
    Record {
        id: format!("{}-stuck", record.id),
        outcome: Outcome::Stuck,
        reason: Some(error.to_owned()),
        gap_seconds: down_for.map(|gap| gap.as_secs_f64()).or(record.gap_seconds),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_outcome() {
        assert_eq!(outcome(None, true), Outcome::Updated);
        assert_eq!(outcome(Some(&Cause::image("bad")), true), Outcome::RolledBack);
        assert_eq!(outcome(Some(&Cause::surroundings("port")), true), Outcome::RolledBack);
        assert_eq!(outcome(Some(&Cause::surroundings("pull")), false), Outcome::Failed);
        assert_eq!(outcome(Some(&Cause::interrupted("cut")), true), Outcome::Interrupted);
        assert_eq!(outcome(Some(&Cause::person("rm")), false), Outcome::Interrupted);
        assert_eq!(outcome(Some(&Cause::lock("/lock")), false), Outcome::Interrupted);
    }
}
