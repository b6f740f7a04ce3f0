//! What Home Assistant was told of this device.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::device::FleetDevice;
use crate::broker::{Broker, Publication};
use crate::core::fleet::home_assistant::{Discovery, config_topic};
use crate::core::subject::Subject;

/// Shortest time between two descriptions. While Home Assistant works on one, it skips parts of the
/// next one (`discovery.py`: "queuing update" returns at the first component that is not done).
const DESCRIPTION_PAUSE: Duration = Duration::from_secs(5);

/// Most marks for removal. A day with more removed containers leaves some entities behind.
const MARKS_MAX: usize = 4096;

/// The description of this device for Home Assistant.
#[derive(Debug)]
pub(super) struct ToldDescription {
    topic: String,
    /// What this connection has told.
    told: Vec<u8>,
    described: BTreeSet<Subject>,
    /// What is marked for removal. The marks stay until everything is told again, because Home
    /// Assistant may be away when the first message with them comes.
    gone: BTreeSet<Subject>,
    left_out: usize,
    /// Before this time nothing is told.
    quiet_until: Option<Instant>,
    /// When a change must be told that came too early.
    due: Option<Instant>,
}

impl ToldDescription {
    /// Nothing was told yet; `None` without Home Assistant.
    pub(super) fn new(device: &FleetDevice) -> Option<Self> {
        let topic = config_topic(device.discovery_prefix.as_ref()?, &device.name);
        Some(Self {
            topic,
            told: Vec::new(),
            described: BTreeSet::new(),
            gone: BTreeSet::new(),
            left_out: 0,
            quiet_until: None,
            due: None,
        })
    }

    /// There is another connection: the broker may have forgotten everything.
    pub(super) fn connected(&mut self) {
        self.told.clear();
        self.quiet_until = None;
        self.due = None;
    }

    /// Everything is told again. The marks were there long enough.
    pub(super) fn repeat(&mut self) {
        self.told.clear();
        self.gone.clear();
    }

    /// When a change is due that came too early.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells which containers and services there are, if that has changed. The broker had rows of
    /// those that are `gone`.
    pub(super) fn tell(
        &mut self,
        broker: &impl Broker,
        device: &FleetDevice,
        subjects: &BTreeSet<Subject>,
        gone: BTreeSet<Subject>,
        expiry: Duration,
    ) {
        self.gone.extend(gone);
        self.gone.extend(self.described.difference(subjects).cloned());
        self.gone.retain(|subject| !subjects.contains(subject));
        while self.gone.len() > MARKS_MAX {
            self.gone.pop_last();
        }
        self.due = None;
        let now = Instant::now();
        if let Some(until) = self.quiet_until.filter(|until| now < *until) {
            self.due = Some(until);
            return;
        }
        let FleetDevice { topics, name, version, takes_commands, .. } = device;
        let discovery =
            Discovery { topics, device: name, version, takes_commands: *takes_commands };
        // What no longer fits is gone for Home Assistant.
        let lost = &self.gone | &self.described;
        let document = discovery.document(subjects, &lost);
        if document.left_out != self.left_out {
            self.left_out = document.left_out;
            self.warn();
        }
        self.described = document.described;
        if self.told != document.payload {
            self.told.clone_from(&document.payload);
            self.quiet_until = Some(now + DESCRIPTION_PAUSE);
            let (topic, payload) = (self.topic.clone(), document.payload);
            drop(broker.publish(Publication::retained(topic, payload, Some(expiry))));
        }
    }

    fn warn(&self) {
        let left_out = self.left_out;
        if left_out > 0 {
            tracing::warn!(
                "Home Assistant does not learn of {left_out} containers: the message that \
                 describes this device would be larger than 60 KiB"
            );
        }
    }
}

/// Removes the description that an earlier run has left under another prefix.
pub(super) fn clear(broker: &impl Broker, device: &FleetDevice, prefix: &str) {
    let topic = config_topic(prefix, &device.name);
    drop(broker.publish(Publication::retained(topic, Vec::new(), None)));
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;
    use tokio::time::advance;

    use super::*;
    use crate::broker::Receipt;
    use crate::core::fleet::topic::Topics;

    const EXPIRY: Duration = Duration::from_secs(1000);

    /// A broker that keeps the last message and counts all.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<Publication>>);

    impl Broker for Recorder {
        fn publish(&self, publication: Publication) -> Receipt {
            self.0.lock().expect("the messages").push(publication);
            Receipt::channel().1
        }
    }

    impl Recorder {
        fn count(&self) -> usize {
            self.0.lock().expect("the messages").len()
        }

        /// The updates that the last message describes, and with `-` those that it removes.
        fn updates(&self) -> Vec<String> {
            let all = self.0.lock().expect("the messages");
            let last = all.last().expect("a message");
            assert_eq!(last.topic, "ha/device/till-1/config");
            let json: Value = serde_json::from_slice(&last.payload).expect("JSON");
            let components = json["cmps"].as_object().into_iter().flatten();
            let updates = components.filter(|(_, it)| it["p"] == "update");
            let word = |(id, it): (&String, &Value)| {
                if it["name"].is_null() { format!("-{id}") } else { id.clone() }
            };
            updates.map(word).collect()
        }
    }

    fn device() -> FleetDevice {
        FleetDevice {
            topics: Topics::new(&"home".parse().expect("a name")),
            name: "till-1".parse().expect("a name"),
            version: "1".into(),
            boot: 1,
            takes_commands: false,
            is_staged: false,
            discovery_prefix: Some("ha".into()),
            fleet_size: 1,
        }
    }

    fn subjects(names: &[&str]) -> BTreeSet<Subject> {
        names.iter().map(|name| Subject::container(*name)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_stays_until_everything_is_told_again() {
        let (broker, device) = (Recorder::default(), device());
        let mut told = ToldDescription::new(&device).expect("a description");
        let tell = |told: &mut ToldDescription, names: &[&str], gone: &[&str]| {
            told.tell(&broker, &device, &subjects(names), subjects(gone), EXPIRY);
            broker.updates()
        };
        assert_eq!(tell(&mut told, &["a", "b"], &["old"]), ["c-a", "c-b", "-c-old"]);
        advance(DESCRIPTION_PAUSE).await;
        assert_eq!(tell(&mut told, &["a"], &[]), ["c-a", "-c-b", "-c-old"]);
        advance(DESCRIPTION_PAUSE).await;
        assert_eq!(tell(&mut told, &["a", "b"], &[]), ["c-a", "c-b", "-c-old"]);
        told.connected();
        assert_eq!(tell(&mut told, &["a", "b"], &[]), ["c-a", "c-b", "-c-old"]);
        advance(DESCRIPTION_PAUSE).await;
        told.repeat();
        assert_eq!(tell(&mut told, &["a", "b"], &[]), ["c-a", "c-b"]);
        assert_eq!(broker.count(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_come_fast_are_one_message() {
        let (broker, device) = (Recorder::default(), device());
        let mut told = ToldDescription::new(&device).expect("a description");
        let tell = |told: &mut ToldDescription, names: &[&str], gone: &[&str]| {
            told.tell(&broker, &device, &subjects(names), subjects(gone), EXPIRY);
            broker.count()
        };
        assert_eq!(tell(&mut told, &["a"], &[]), 1);
        assert_eq!(tell(&mut told, &["a"], &[]), 1);
        assert_eq!(tell(&mut told, &["a"], &["x"]), 1);
        assert_eq!(tell(&mut told, &["b"], &["y"]), 1);
        assert_eq!(told.due(), Some(Instant::now() + DESCRIPTION_PAUSE));
        advance(DESCRIPTION_PAUSE).await;
        assert_eq!(tell(&mut told, &["b"], &[]), 2);
        assert_eq!(told.due(), None);
        assert_eq!(broker.updates(), ["-c-a", "c-b", "-c-x", "-c-y"]);
        // Nothing has changed.
        advance(DESCRIPTION_PAUSE).await;
        assert_eq!(tell(&mut told, &["b"], &[]), 2);
        let without = FleetDevice { discovery_prefix: None, ..device };
        assert!(ToldDescription::new(&without).is_none());
    }
}
