//! Events as log lines.

use std::time::Duration;

use crate::core::decide::reason::Reason;
use crate::core::decide::report::{Report, Verdict};
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::core::update::event::{Event, EventSink, NumberedEvent};
use crate::core::update::history::{Cause, Outcome, Record};
use crate::documents::UpdateRow;
use crate::output;

/// Writes every event that matters to a person to the log.
///
/// The message names the container for reading; the field `container` names it for searching. The
/// field of a service is `service`, that of a group `group`. The other fields are `image`, `from`,
/// `to`, `step`, `seconds`, `outcome`, `reason`, `gap_seconds`, `registry` and `bytes`; a field
/// that does not apply is absent. The format escapes fields, so only messages are made one
/// line here.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogListener;

impl EventSink for LogListener {
    fn receive(&self, event: &NumberedEvent) {
        match &event.event {
            Event::UpdateBegun { subject, member, image, from, to, dependents } => {
                let what = output::of_member(member.as_deref(), image);
                begun((subject, &what), image, (from.as_ref(), to), dependents);
            }
            Event::Continued { subject, intent } => taken_up(subject, intent),
            Event::StepBegun { subject, step } => {
                let [container, service, group] = fields(subject);
                let step = step.word();
                tracing::trace!(container, service, group, step, "{subject}: {step}");
            }
            Event::StepDone { subject, step, took } => {
                let [container, service, group] = fields(subject);
                let step = step.word();
                let seconds = took.as_secs_f64();
                tracing::debug!(container, service, group, step, seconds, "{subject}: {step} done");
            }
            // Ten lines a second are too many for a log; the terminal shows them.
            Event::Pulling { .. } => {}
            Event::Pulled { registry, bytes } => {
                let amount = output::bytes(*bytes);
                tracing::info!(registry, bytes, "pulled {amount} from {registry}");
            }
            Event::FetchedAhead { subject, to } => {
                let [container, service, group] = fields(subject);
                let short = to.short();
                let to = to.as_str();
                tracing::info!(
                    container,
                    service,
                    group,
                    to,
                    "{subject}: image {short} fetched, its update waits"
                );
            }
            Event::SelfUpdating { subject, helper } => {
                let [container, service, group] = fields(subject);
                tracing::info!(
                    container,
                    service,
                    group,
                    "{subject}: {helper} updates the agent itself"
                );
            }
            Event::RoundEnded { containers, news, took } => round_ended(*containers, news, *took),
            Event::RollingBack { subject, cause } => going_back(subject, cause),
            Event::UpdateEnded(record) => ended(record),
            Event::Warning { subject, detail } => warning(subject.as_ref(), detail),
        }
    }
}

/// The name as one of the fields `container`, `service` and `group`; the others are absent.
fn fields(subject: &Subject) -> [Option<&str>; 3] {
    [subject.container_name(), subject.service_name(), subject.group_name()]
}

fn begun(
    (subject, what): (&Subject, &str),
    image: &str,
    (from, to): (Option<&Digest>, &Digest),
    dependents: &[String],
) {
    let change = output::change(from, Some(to)) + &output::together(dependents);
    let from = from.map(Digest::as_str);
    let to = to.as_str();
    let [container, service, group] = fields(subject);
    tracing::info!(
        container,
        service,
        group,
        image,
        from,
        to,
        "{subject}: update begun: {what}, {change}"
    );
}

fn taken_up(subject: &Subject, intent: &str) {
    let [container, service, group] = fields(subject);
    let intent = output::one_line(intent);
    tracing::info!(
        container,
        service,
        group,
        "{subject}: an unfinished update is continued: {intent}"
    );
}

fn going_back(subject: &Subject, cause: &Cause) {
    let [container, service, group] = fields(subject);
    let reason = cause.detail.as_str();
    let sentence = output::one_line(reason);
    tracing::warn!(container, service, group, reason, "{subject}: rolling back: {sentence}");
}

/// The last log lines of a failed container are not repeated here: they are the container's own,
/// may contain anything, and are in the history.
fn ended(record: &Record) {
    let subject = &record.subject;
    let [container, service, group] = fields(subject);
    let outcome = record.outcome.word();
    let reason = record.reason.as_deref();
    let gap_seconds = record.gap_seconds;
    let sentence = output::ended(&UpdateRow::from(record));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                container,
                service,
                group,
                outcome,
                reason,
                gap_seconds,
                "{subject}: {sentence}"
            )
        };
    }
    match record.outcome {
        Outcome::Updated => line!(info),
        Outcome::RolledBack | Outcome::Failed | Outcome::Interrupted => line!(warn),
        Outcome::Stuck => line!(error),
    }
}

/// A round that changed nothing is one line at debug; each change is a line of its own.
fn round_ended(containers: usize, news: &[Report], took: Duration) {
    let seconds = took.as_secs_f64();
    tracing::debug!(containers, seconds, "checked {containers} containers");
    for report in news {
        let subject = &report.subject;
        let [container, service, group] = fields(subject);
        let verdict = report.verdict.word();
        let reason = report.reason.map(Reason::word);
        let detail = output::one_line(report.detail.as_deref().unwrap_or_default());
        let words = reason.unwrap_or(verdict);
        let sentence = if detail.is_empty() { words.into() } else { format!("{words}: {detail}") };
        match report.verdict {
            Verdict::Error => {
                tracing::warn!(container, service, group, verdict, reason, "{subject}: {sentence}");
            }
            _ => {
                tracing::info!(container, service, group, verdict, reason, "{subject}: {sentence}")
            }
        }
    }
}

fn warning(subject: Option<&Subject>, detail: &str) {
    let detail = output::one_line(detail);
    let Some(subject) = subject else {
        return tracing::warn!("{detail}");
    };
    let [container, service, group] = fields(subject);
    tracing::warn!(container, service, group, "{subject}: {detail}");
}
