//! What a device tells its fleet, over MQTT.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ContainerRow, EventDocument, EventRow, InFlightRow, TriggerDocument, rounded};
use crate::core::decide::report::{Report, Verdict};
use crate::core::decide::snapshot::Snapshot;
use crate::core::decide::versions::ShownVersions;
use crate::core::subject::{self, Subject};
use crate::core::update::Step;
use crate::core::update::event::NumberedEvent;

/// The version of the messages.
const VERSION: u32 = 1;

/// Largest message about an event in bytes. The last lines of a container's log are cut to fit.
const EVENT_BYTES_MAX: usize = 4 * 1024;

/// The state of a device's agent: the message on `device/ID/agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentMessage {
    /// The version of this message.
    pub v: u32,
    /// The agent's version.
    pub version: String,
    /// The Engine has answered, and the agent has handled the updates that were left open.
    pub ready: bool,
    /// Why the last round could not run at all.
    pub error: Option<String>,
    pub last_check: Option<DateTime<Utc>>,
    pub next_check: Option<DateTime<Utc>>,
    /// How many containers and services are watched.
    pub watched: usize,
    /// How many of them have an update that is held.
    pub held: usize,
    /// How many of them could not be checked.
    pub errors: usize,
    /// The free space in bytes on the disk of the images, if it is known.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// The updates in flight.
    pub in_flight: Vec<InFlightRow>,
    /// Those whose update can be neither finished nor undone.
    #[serde(with = "subject::list")]
    pub stuck: Vec<Subject>,
    /// Those that an update has stopped and that still do not run.
    #[serde(with = "subject::list")]
    pub down: Vec<Subject>,
}

impl AgentMessage {
    /// The message of the agent with this version.
    #[must_use]
    pub fn new(version: &str, snapshot: &Snapshot) -> Self {
        let count = |verdict| snapshot.reports.iter().filter(|it| it.verdict == verdict).count();
        Self {
            v: VERSION,
            version: version.to_owned(),
            ready: snapshot.is_ready,
            error: snapshot.error.clone(),
            last_check: snapshot.last_check.map(rounded),
            next_check: snapshot.next_check.map(rounded),
            watched: snapshot.reports.len(),
            held: count(Verdict::Held),
            errors: count(Verdict::Error),
            free_bytes: snapshot.free_bytes,
            in_flight: snapshot.in_flight.iter().map(InFlightRow::from).collect(),
            stuck: snapshot.stuck.clone(),
            down: snapshot.down.clone(),
        }
    }
}

/// What a device says about one container or service: the message on `device/ID/container/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMessage {
    /// The version of this message.
    pub v: u32,
    #[serde(flatten)]
    pub row: ContainerRow,
    /// The version of the running image, for people: the one that the image states, else the first
    /// 12 digits of its digest. It is equal to `latest_version` exactly if there is no other image.
    #[serde(default)]
    pub version: Option<String>,
    /// The version of the offered image, in the same way.
    #[serde(default)]
    pub latest_version: Option<String>,
    /// Whether an update of it is in flight.
    pub busy: bool,
    /// The step that the update is at; absent before its first step.
    pub step: Option<Step>,
    /// How much of the image is pulled, from 0 to 100; absent outside of a pull.
    pub percent: Option<u8>,
}

impl ContainerMessage {
    /// The message about this container, whose pull has come this far.
    #[must_use]
    pub fn new(report: &Report, snapshot: &Snapshot, percent: Option<u8>) -> Self {
        let update = snapshot.in_flight.iter().find(|update| update.subject == report.subject);
        let step = update.and_then(|update| update.step);
        let ShownVersions { running: version, offered: latest_version } = report.shown_versions();
        Self {
            v: VERSION,
            row: ContainerRow::from(report),
            version,
            latest_version,
            busy: update.is_some(),
            step,
            percent: percent.filter(|_| step == Some(Step::Pull)),
        }
    }
}

/// One event of a device: the message on `device/ID/event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMessage {
    /// The version of this message.
    pub v: u32,
    /// Counts the starts of the agent.
    pub boot: u64,
    /// Rises with each event since this start. Other events of the agent have the numbers between.
    pub seq: u64,
    /// When it happened, by the device's clock.
    pub at: DateTime<Utc>,
    pub trigger: TriggerDocument,
    pub event: EventDocument,
}

impl EventMessage {
    /// The message about an event of the agent's start with this number.
    #[must_use]
    pub fn new(boot: u64, event: &NumberedEvent) -> Self {
        let EventRow { number: seq, at, trigger, event } = EventRow::from(event);
        Self { v: VERSION, boot, seq, at, trigger, event }
    }

    /// The message as JSON. Of a log that makes it too large the oldest lines are left out.
    #[must_use]
    pub fn to_json(mut self) -> Vec<u8> {
        loop {
            // The type has text keys only, so writing it cannot fail.
            let json = serde_json::to_vec(&self).unwrap_or_default();
            let EventDocument::UpdateEnded(update) = &mut self.event else { return json };
            if json.len() <= EVENT_BYTES_MAX || update.log.is_empty() {
                return json;
            }
            let half = update.log.len().div_ceil(2);
            update.log.drain(..half);
        }
    }
}
