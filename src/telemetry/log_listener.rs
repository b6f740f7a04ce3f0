//! Events as log lines.

use std::time::Duration;

use crate::core::decide::reason::Reason;
use crate::core::decide::report::{Report, Verdict};
use crate::core::docker::reference::Digest;
use crate::core::update::event::{Event, EventSink, NumberedEvent};
use crate::core::update::history::{Cause, Outcome, Record};
use crate::output;

/// Writes every event that matters to a person to the log.
///
/// Both the message and the field `container` name the container: one is for reading, the other for
/// searching. The other fields are `image`, `from`, `to`, `step`, `seconds`, `outcome`, `reason`,
/// `gap_seconds`, `registry` and `bytes`; a field that does not apply is absent. The format escapes
/// fields, so only messages are made one line here.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogListener;

impl EventSink for LogListener {
    fn receive(&self, event: &NumberedEvent) {
        match &event.event {
            Event::UpdateBegun { container, image, from, to, dependents } => {
                begun(container, image, (from.as_ref(), to), dependents);
            }
            Event::Continued { container, intent } => taken_up(container, intent),
            Event::StepBegun { container, step } => {
                tracing::trace!(container, step = step.word(), "{container}: {}", step.word());
            }
            Event::StepDone { container, step, took } => {
                let (step, seconds) = (step.word(), took.as_secs_f64());
                tracing::debug!(container, step, seconds, "{container}: {step} done");
            }
            // Ten lines a second are too many for a log; the terminal shows them.
            Event::Pulling { .. } => {}
            Event::Pulled { registry, bytes } => {
                let amount = output::bytes(*bytes);
                tracing::info!(registry, bytes, "pulled {amount} from {registry}");
            }
            Event::FetchedAhead { container, to } => {
                let (to, short) = (to.as_str(), to.short());
                tracing::info!(
                    container,
                    to,
                    "{container}: image {short} fetched, waits for its window"
                );
            }
            Event::SelfUpdating { container, helper } => {
                tracing::info!(container, "{container}: {helper} updates the agent itself");
            }
            Event::RoundEnded { containers, news, took } => round_ended(*containers, news, *took),
            Event::RollingBack { container, cause } => going_back(container, cause),
            Event::UpdateEnded(record) => ended(record),
            Event::Warning { container, detail } => warning(container, detail),
        }
    }
}

fn begun(
    container: &str,
    image: &str,
    (from, to): (Option<&Digest>, &Digest),
    dependents: &[String],
) {
    let change = output::change(from, Some(to)) + &output::together(dependents);
    let from = from.map(Digest::as_str);
    let to = to.as_str();
    tracing::info!(container, image, from, to, "{container}: update begun: {image}, {change}");
}

fn taken_up(container: &str, intent: &str) {
    let intent = output::one_line(intent);
    tracing::info!(container, "{container}: an unfinished update is continued: {intent}");
}

fn going_back(container: &str, cause: &Cause) {
    let reason = cause.detail.as_str();
    tracing::warn!(container, reason, "{container}: rolling back: {}", output::one_line(reason));
}

/// The last log lines of a failed container are not repeated here: they are the container's own,
/// may contain anything, and are in the history.
fn ended(record: &Record) {
    let container = record.container.as_str();
    let outcome = record.outcome.word();
    let reason = record.reason.as_deref();
    let gap_seconds = record.gap_seconds;
    let sentence = output::ended(record);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(container, outcome, reason, gap_seconds, "{container}: {sentence}")
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
        let container = report.container.as_str();
        let verdict = report.verdict.word();
        let reason = report.reason.map(Reason::word);
        let detail = output::one_line(report.detail.as_deref().unwrap_or_default());
        let words = reason.unwrap_or(verdict);
        let sentence = if detail.is_empty() { words.into() } else { format!("{words}: {detail}") };
        match report.verdict {
            Verdict::Error => {
                tracing::warn!(container, verdict, reason, "{container}: {sentence}");
            }
            _ => tracing::info!(container, verdict, reason, "{container}: {sentence}"),
        }
    }
}

fn warning(container: &str, detail: &str) {
    let detail = output::one_line(detail);
    if container.is_empty() {
        tracing::warn!("{detail}");
    } else {
        tracing::warn!(container, "{container}: {detail}");
    }
}
