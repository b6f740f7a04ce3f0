//! A device of a fleet, and a program of the fleet's operator that hears everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pilotfish::broker::BrokerEvent;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::support::agent::Running;
use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto};
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET};

/// How long anything in a fleet may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A device: a Pi with `till` on version 1, and an agent that is in a fleet.
pub struct Member {
    pub pi: Pi,
    pub one: Published,
    agent: Option<Running>,
}

impl Member {
    /// A device whose agent does not run yet. `more` are settings.
    pub fn new(name: &str, broker: &mut Option<Mosquitto>, names: &[&str], more: &str) -> Self {
        let mut pi = Pi::new();
        let gateway = pi.engine.gateway();
        let broker =
            broker.get_or_insert_with(|| Mosquitto::start_at(gateway, BrokerKind::Shipped, names));
        let settings = settings(name, broker, more);
        pi.agent.set(&pi.engine, &settings);
        let one = pi.registry.publish("till", &Release::new("1"));
        pi.start_watched("till", &one.reference, 8080, &[]);
        Self { pi, one, agent: None }
    }

    /// Starts the agent, and waits until it is in the fleet.
    pub fn start(&mut self) {
        let mut agent = self.pi.agent.spawn(&self.pi.engine, &["run"]);
        wait_until("the agent is in the fleet", SOON, || {
            assert!(agent.is_running(), "the agent ended: {}", agent.log());
            agent.log().contains("connected to the broker")
        });
        self.agent = Some(agent);
    }

    pub fn log(&self) -> String {
        self.agent.as_ref().map(Running::log).unwrap_or_default()
    }

    /// The running agent; it is not this device's any more.
    pub fn take_agent(&mut self) -> Running {
        self.agent.take().expect("a running agent")
    }

    /// How many HEAD requests for a tag the registry got.
    pub fn heads(&self) -> usize {
        let asks = |line: &&String| line.starts_with("HEAD ") && line.contains("/manifests/latest");
        self.pi.registry.requests().iter().filter(asks).count()
    }
}

/// The settings of an agent in the fleet `home`.
pub fn settings(name: &str, broker: &Mosquitto, more: &str) -> String {
    let file = |file| broker.file_of(name, file).display().to_string();
    format!(
        "{QUIET}\n[device]\nname = {name:?}\n[mqtt]\nurl = \"mqtts://{}\"\nca_file = {:?}\n\
         cert_file = {:?}\nkey_file = {:?}\n{more}",
        broker.address(),
        file("ca.crt"),
        file("client.crt"),
        file("client.key"),
    )
}

/// A program that hears everything in the fleet, and keeps the newest message of each topic.
pub struct Operator {
    runtime: Runtime,
    client: BrokerClient,
    heard: BTreeMap<String, Vec<u8>>,
    /// All messages in their order.
    pub all: Vec<(String, Vec<u8>)>,
}

const ROOT: &str = "pilotfish/1/home/";

impl Operator {
    pub fn new(broker: &Mosquitto) -> Self {
        Self::with_filters(broker, "operator", &["pilotfish/1/home/#"])
    }

    pub fn with_filters(broker: &Mosquitto, name: &str, filters: &[&str]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(BrokerClient::connect(broker.subscriber(name, filters)));
        Self { runtime, client, heard: BTreeMap::new(), all: Vec::new() }
    }

    /// Publishes below the fleet's topics.
    pub fn publish(&self, topic: &str, payload: &Value) {
        let topic = format!("{ROOT}{topic}");
        let payload = payload.to_string();
        self.runtime.block_on(self.client.publish(&topic, &payload)).expect("the broker takes it");
    }

    pub fn retain(&self, topic: &str, payload: &Value) {
        let topic = format!("{ROOT}{topic}");
        let payload = payload.to_string();
        self.runtime.block_on(self.client.retain(&topic, &payload)).expect("the broker takes it");
    }

    /// Removes what the broker retains.
    pub fn clear(&self, topic: &str) {
        let topic = format!("{ROOT}{topic}");
        self.runtime.block_on(self.client.retain(&topic, "")).expect("the broker takes it");
    }

    /// Hears for a time.
    pub fn hear_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.hear(left);
        }
    }

    fn hear(&mut self, within: Duration) {
        let event = self.runtime.block_on(self.client.next_within(within));
        if let Some(BrokerEvent::Message(message)) = event {
            let topic = message.topic.strip_prefix(ROOT).unwrap_or(&message.topic).to_owned();
            self.all.push((topic.clone(), message.payload.clone()));
            if message.payload.is_empty() {
                self.heard.remove(&topic);
            } else {
                self.heard.insert(topic, message.payload);
            }
        }
    }

    /// The newest message of a topic.
    pub fn last(&self, topic: &str) -> Option<Value> {
        serde_json::from_slice(self.heard.get(topic)?).ok()
    }

    /// Waits until the newest message of the topic is like this.
    #[track_caller]
    pub fn wait(&mut self, topic: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = self.last(topic).filter(&is_meant) {
                return found;
            }
            assert!(Instant::now() < end, "no such message on {topic}: {:#?}", self.last(topic));
            self.hear(Duration::from_millis(200));
        }
    }

    /// Waits until the broker retains nothing of the topic.
    #[track_caller]
    pub fn wait_until_gone(&mut self, topic: &str) {
        let end = Instant::now() + SOON;
        while self.heard.contains_key(topic) {
            assert!(Instant::now() < end, "{topic} is still there: {:#?}", self.last(topic));
            self.hear(Duration::from_millis(200));
        }
    }

    /// The messages on a topic, in their order.
    pub fn on(&self, topic: &str) -> Vec<Value> {
        let of_topic = self.all.iter().filter(|(other, _)| other == topic);
        of_topic.filter_map(|(_, payload)| serde_json::from_slice(payload).ok()).collect()
    }
}
