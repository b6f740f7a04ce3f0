//! One event of an update or of a round.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ContainerRow, UpdateRow, rounded, seconds};
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::event::{self, Asker};
use crate::core::update::history::Fault;

/// The progress of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgressDocument {
    /// Bytes fetched so far.
    pub current: u64,
    /// Bytes of all layers that must be fetched, as far as known.
    pub total: u64,
    /// Layers that are complete.
    pub layers_done: usize,
    /// Layers that are known.
    pub layers: usize,
}

/// One event: an object with one field, whose name says what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventDocument {
    /// An update begins.
    UpdateBegun {
        #[serde(flatten)]
        subject: Subject,
        /// The container of a group that gets the image; there is one event for each of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        /// The image as the user wrote it.
        image: String,
        /// The digest that runs.
        from: Option<Digest>,
        /// The digest that shall run.
        to: Digest,
        /// The dependents that are recreated with it.
        #[serde(default)]
        dependents: Vec<String>,
    },
    /// An unfinished update is continued.
    Continued {
        #[serde(flatten)]
        subject: Subject,
        /// What happens with it now.
        intent: String,
    },
    /// A step begins.
    StepBegun {
        #[serde(flatten)]
        subject: Subject,
        step: Step,
    },
    /// A step is complete.
    StepDone {
        #[serde(flatten)]
        subject: Subject,
        step: Step,
        #[serde(rename = "seconds", with = "seconds")]
        took: Duration,
    },
    /// Layers arrive.
    Pulling {
        #[serde(flatten)]
        subject: Subject,
        /// The registry that the layers come from.
        registry: String,
        progress: PullProgressDocument,
    },
    /// A pull is complete.
    Pulled {
        /// The registry that the image came from.
        registry: String,
        /// Bytes that were fetched.
        bytes: u64,
    },
    /// An image is on this machine, and waits for the window of its container.
    FetchedAhead {
        #[serde(flatten)]
        subject: Subject,
        /// The digest that shall run then.
        to: Digest,
    },
    /// The self-update helper now updates the agent's own container.
    SelfUpdating {
        #[serde(flatten)]
        subject: Subject,
        /// The name of the helper's container.
        helper: String,
    },
    /// The rollback begins.
    RollingBack {
        #[serde(flatten)]
        subject: Subject,
        fault: Fault,
        /// What happened, in one sentence.
        detail: String,
    },
    /// An update ended.
    UpdateEnded(Box<UpdateRow>),
    /// A round ended.
    RoundEnded {
        /// How many containers were checked.
        containers: usize,
        /// The rows that differ from the round before.
        news: Vec<ContainerRow>,
        #[serde(rename = "seconds", with = "seconds")]
        took: Duration,
    },
    /// Something that a person should know, but that stops nothing.
    Warning {
        /// Absent if the warning is about no container and no service.
        #[serde(flatten)]
        subject: Option<Subject>,
        detail: String,
    },
}

/// Why the agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerDocument {
    /// The schedule, or a window that opened.
    Schedule,
    /// An update that was left open.
    Recovery,
    /// A question, with its number.
    Asked { id: u64, by: Asker },
}

/// An event with its number, its time and its trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Counts from 1 since the process started.
    pub number: u64,
    /// When it happened, by the machine's clock.
    pub at: DateTime<Utc>,
    pub trigger: TriggerDocument,
    pub event: EventDocument,
}

impl From<event::Trigger> for TriggerDocument {
    fn from(trigger: event::Trigger) -> Self {
        match trigger {
            event::Trigger::Schedule => Self::Schedule,
            event::Trigger::Recovery => Self::Recovery,
            event::Trigger::Asked { id, by } => Self::Asked { id, by },
        }
    }
}

impl From<&event::NumberedEvent> for EventRow {
    fn from(event: &event::NumberedEvent) -> Self {
        let event::NumberedEvent { number, at, trigger, event } = event;
        Self {
            number: *number,
            at: rounded(*at),
            trigger: TriggerDocument::from(*trigger),
            event: EventDocument::from(event),
        }
    }
}

impl From<&event::PullProgress> for PullProgressDocument {
    fn from(progress: &event::PullProgress) -> Self {
        let event::PullProgress { current, total, layers_done, layers } = *progress;
        Self { current, total, layers_done, layers }
    }
}

impl From<&event::Event> for EventDocument {
    fn from(event: &event::Event) -> Self {
        match event.clone() {
            event::Event::UpdateBegun { subject, member, image, from, to, dependents } => {
                Self::UpdateBegun { subject, member, image, from, to, dependents }
            }
            event::Event::Continued { subject, intent } => Self::Continued { subject, intent },
            event::Event::StepBegun { subject, step } => Self::StepBegun { subject, step },
            event::Event::StepDone { subject, step, took } => {
                Self::StepDone { subject, step, took }
            }
            event::Event::Pulling { subject, registry, progress } => {
                Self::Pulling { subject, registry, progress: PullProgressDocument::from(&progress) }
            }
            event::Event::Pulled { registry, bytes } => Self::Pulled { registry, bytes },
            event::Event::FetchedAhead { subject, to } => Self::FetchedAhead { subject, to },
            event::Event::SelfUpdating { subject, helper } => {
                Self::SelfUpdating { subject, helper }
            }
            event::Event::RollingBack { subject, cause } => {
                Self::RollingBack { subject, fault: cause.fault, detail: cause.detail }
            }
            event::Event::UpdateEnded(record) => {
                Self::UpdateEnded(Box::new(UpdateRow::from(&*record)))
            }
            event::Event::RoundEnded { containers, news, took } => {
                let news = news.iter().map(ContainerRow::from).collect();
                Self::RoundEnded { containers, news, took }
            }
            event::Event::Warning { subject, detail } => Self::Warning { subject, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::update::history::Cause;

    #[test]
    fn an_event_is_written_as_one_field_and_read_again() {
        let (till, web) = (Subject::container("till"), Subject::service("web"));
        let (subject, cause) = (till.clone(), Cause::image("exited"));
        for (event, written) in [
            (
                event::Event::StepDone {
                    subject: web.clone(),
                    step: Step::Pull,
                    took: Duration::from_millis(1500),
                },
                json!({"step_done": {"service": "web", "step": "pull", "seconds": 1.5}}),
            ),
            (
                event::Event::RollingBack { subject, cause },
                json!({"rolling_back": {"container": "till", "fault": "image", "detail": "exited"}}),
            ),
            (
                event::Event::Warning { subject: None, detail: "slow".into() },
                json!({"warning": {"detail": "slow"}}),
            ),
            (
                event::Event::Warning { subject: Some(till), detail: "slow".into() },
                json!({"warning": {"container": "till", "detail": "slow"}}),
            ),
        ] {
            let event = EventDocument::from(&event);
            assert_eq!(serde_json::to_value(&event).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<EventDocument>(written).expect("an event"), event);
        }
    }

    #[test]
    fn an_event_says_when_and_why_it_happened() {
        let event = event::NumberedEvent {
            number: 3,
            at: DateTime::UNIX_EPOCH,
            trigger: event::Trigger::Asked { id: 7, by: Asker::CommandLine },
            event: event::Event::Pulled { registry: "docker.io".into(), bytes: 1 },
        };
        let written = json!({
            "number": 3, "at": "1970-01-01T00:00:00Z",
            "trigger": {"asked": {"id": 7, "by": "command_line"}},
            "event": {"pulled": {"registry": "docker.io", "bytes": 1}},
        });
        let event = EventRow::from(&event);
        assert_eq!(serde_json::to_value(&event).expect("JSON"), written);
        assert_eq!(serde_json::from_value::<EventRow>(written).expect("an event"), event);
    }
}
