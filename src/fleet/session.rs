//! One agent at one broker: the loop that tells the state, and hears what the fleet says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::announcements::AnnouncedLooks;
use super::commands;
use super::sequence::Sequence;
use super::state::{Percents, messages};
use crate::agent::{AgentHandle, CheckPushed, EventFilter};
use crate::broker::{Broker, BrokerEvent, BrokerEvents, Message, Publication, RefusedAct};
use crate::core::fleet::commands::SeenCommands;
use crate::core::fleet::message::Incoming;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::presence::{DevicePresence, PresenceState};
use crate::core::fleet::message::reply::CommandReply;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::Roster;
use crate::core::fleet::topic::{Topic, Topics};
use crate::core::update::event::{Asker, Event, NumberedEvent};
use crate::documents::EventMessage;

/// Shortest time between two messages about the progress of one pull.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The progress of a pull is told in steps of so many percents.
const PERCENT_STEP: u8 = 5;

/// How long the broker keeps a retained message of a device: a device that is gone for good leaves
/// nothing behind.
const STATE_EXPIRY_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long the broker keeps an event for a subscriber that is away.
const EVENT_EXPIRY_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the broker keeps a reply: its asker waits for it now.
const REPLY_EXPIRY_TIME: Duration = Duration::from_secs(10 * 60);

/// Most commands that are carried out at the same time; a person gives one at a time.
const COMMANDS_MAX: usize = 16;

/// The device, as its fleet knows it.
#[derive(Debug, Clone)]
pub struct FleetDevice {
    pub topics: Topics,
    pub name: DeviceName,
    /// The agent's version.
    pub version: String,
    /// Counts the starts of the agent.
    pub boot: u64,
    /// Whether commands are carried out.
    pub takes_commands: bool,
    /// The devices of the fleet; absent if their number is not known.
    pub roster: Option<Roster>,
}

/// Tells the state of the agent to the fleet and hears what the fleet says, until `end`.
pub async fn serve(
    broker: impl Broker,
    mut events: BrokerEvents,
    agent: AgentHandle,
    device: FleetDevice,
    end: CancellationToken,
) {
    let mut session = Session::new(broker, agent.clone(), device);
    let mut snapshot = agent.changes();
    let mut happened = agent.subscribe(EventFilter::ALL, Some(0));
    loop {
        let look = session.looks.next();
        tokio::select! {
            () = end.cancelled() => break,
            event = events.next() => match event {
                Some(event) => session.receive(event),
                None => break,
            },
            changed = snapshot.changed() => match changed {
                Ok(()) => session.tell(),
                Err(_) => break,
            },
            event = happened.next() => match event {
                Some(event) => session.happened(&event),
                None => break,
            },
            () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                session.look();
            }
            Some(done) = session.tasks.join_next() => session.done(done.ok().flatten()),
            () = session.events.answered() => {}
            () = session.replies.answered() => {}
        }
        session.advance();
    }
}

/// The state of the conversation with the fleet.
struct Session<B> {
    broker: B,
    agent: AgentHandle,
    device: FleetDevice,
    is_connected: bool,
    /// What the broker retains of this device, as far as this connection has told it.
    told: BTreeMap<Topic, Vec<u8>>,
    percents: Percents,
    /// When the progress of each pull was told last.
    progress_told: BTreeMap<String, Instant>,
    looks: AnnouncedLooks,
    seen: SeenCommands,
    events: Sequence,
    replies: Sequence,
    /// Commands that are carried out, and looks that are asked for. They end with a reply, or with
    /// nothing.
    tasks: JoinSet<Option<CommandReply>>,
}

impl<B: Broker> Session<B> {
    fn new(broker: B, agent: AgentHandle, device: FleetDevice) -> Self {
        let sequence = |topic: Topic, expiry| Sequence::new(device.topics.name(&topic), expiry);
        Self {
            events: sequence(Topic::Event(device.name.clone()), EVENT_EXPIRY_TIME),
            replies: sequence(Topic::Reply(device.name.clone()), REPLY_EXPIRY_TIME),
            looks: AnnouncedLooks::new(device.roster.clone()),
            broker,
            agent,
            device,
            is_connected: false,
            told: BTreeMap::new(),
            percents: Percents::new(),
            progress_told: BTreeMap::new(),
            seen: SeenCommands::default(),
            tasks: JoinSet::new(),
        }
    }

    fn receive(&mut self, event: BrokerEvent) {
        match event {
            BrokerEvent::Connected => {
                tracing::info!("connected to the broker");
                self.is_connected = true;
                self.told.clear();
                self.tell_presence();
                self.tell();
            }
            BrokerEvent::Subscribed => {}
            BrokerEvent::Message(message) => self.message(&message),
            BrokerEvent::Lost(loss) => {
                self.is_connected = false;
                tracing::warn!("no connection to the broker: {loss}");
            }
            BrokerEvent::Refused { act, topic, reason } => {
                let act = match act {
                    RefusedAct::Publish => "a message on",
                    RefusedAct::Subscribe => "the subscription of",
                };
                tracing::warn!("the broker refuses {act} {topic}: {reason}");
            }
        }
    }

    fn tell_presence(&self) {
        let presence = DevicePresence {
            state: PresenceState::Online,
            boot: self.device.boot,
            version: Some(self.device.version.clone()),
        };
        self.publish(&Topic::Online(self.device.name.clone()), presence.encode());
    }

    /// Tells what has changed since the last time; after a connection everything.
    fn tell(&mut self) {
        if !self.is_connected {
            return;
        }
        let snapshot = self.agent.snapshot();
        let FleetDevice { name, version, .. } = &self.device;
        let now = messages(name, version, &snapshot, &self.percents);
        for (topic, payload) in &now {
            if self.told.get(topic) != Some(payload) {
                self.publish(topic, payload.clone());
            }
        }
        // Before the first round nothing is known of containers: none of them is gone.
        for topic in self.told.keys().filter(|topic| !now.contains_key(topic)) {
            self.publish(topic, Vec::new());
        }
        self.told = now;
    }

    fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        let expiry = (!payload.is_empty()).then_some(STATE_EXPIRY_TIME);
        let publication = Publication {
            topic: self.device.topics.name(topic),
            payload,
            is_retained: true,
            // A device that is away tells it by its last will, which has no end.
            expiry: expiry.filter(|_| !matches!(topic, Topic::Online(_))),
        };
        drop(self.broker.publish(publication));
    }

    fn message(&mut self, Message { topic, payload, is_retained }: &Message) {
        let Some(read) = self.device.topics.parse(topic) else {
            return tracing::debug!("a message on an unknown topic is ignored");
        };
        if let Topic::Container(..) | Topic::Service(..) = &read {
            return self.own_state(read, payload);
        }
        match Incoming::read(&read, payload) {
            Ok(Incoming::Announcement(announcement)) => self.announced(&announcement, *is_retained),
            Ok(Incoming::Command(command)) => self.command(command, *is_retained),
            Ok(_) => {}
            Err(error) => tracing::warn!("a message on {read} is ignored: {error}"),
        }
    }

    /// The broker retains a container of this device. One that is gone is cleared.
    fn own_state(&mut self, topic: Topic, payload: &[u8]) {
        let is_known = self.told.contains_key(&topic);
        let knows_all = self.agent.snapshot().last_check.is_some();
        if !payload.is_empty() && !is_known && knows_all && self.is_connected {
            self.publish(&topic, Vec::new());
        }
    }

    fn announced(&mut self, announcement: &Announcement, is_retained: bool) {
        let reference = &announcement.reference;
        match self.looks.take(announcement, is_retained, &self.agent.snapshot()) {
            Ok(Some(delay)) => {
                tracing::info!(image = %reference, ?delay, "a push was announced");
            }
            Ok(None) => {}
            Err(why) => tracing::debug!(image = %reference, why = why.word(), "no look"),
        }
    }

    /// Asks the agent for the looks that are due.
    fn look(&mut self) {
        let pushes = self.looks.take_due();
        if pushes.is_empty() {
            return;
        }
        let agent = self.agent.clone();
        self.tasks.spawn(async move {
            // The agent has told of a round that could not run.
            let _ = agent.ask(Asker::Mqtt, CheckPushed(pushes)).await;
            None
        });
    }

    fn command(&mut self, command: FleetCommand, is_retained: bool) {
        if !self.device.takes_commands {
            return;
        }
        let command = match self.seen.take(command, is_retained) {
            Ok(command) => command,
            Err(why) => return tracing::warn!("a command is ignored: {why}"),
        };
        let word = command.kind.word();
        if self.tasks.len() >= COMMANDS_MAX {
            let detail = Some(format!("{COMMANDS_MAX} commands are in progress; try again later"));
            let reply = CommandReply { id: command.id, ok: false, detail };
            return self.replies.push(reply.encode());
        }
        tracing::info!(command = word, "a command came over MQTT");
        let agent = self.agent.clone();
        self.tasks.spawn(async move { Some(commands::carry_out(agent, command).await) });
    }

    fn done(&mut self, reply: Option<CommandReply>) {
        if let Some(reply) = reply {
            self.replies.push(reply.encode());
        }
    }

    /// An event of the agent. The progress of a pull is part of the state; everything else about an
    /// update is told as an event.
    fn happened(&mut self, event: &Arc<NumberedEvent>) {
        match &event.event {
            Event::Pulling { subject, progress, .. } => {
                let share = progress.current.saturating_mul(100).checked_div(progress.total);
                let percent = share.and_then(|share| u8::try_from(share.min(100)).ok());
                let Some(percent) = percent.map(|it| it - it % PERCENT_STEP) else { return };
                let now = Instant::now();
                let last = self.progress_told.get(&subject.name);
                let is_early = last.is_some_and(|last| now < *last + PROGRESS_INTERVAL);
                if is_early || self.percents.get(subject) == Some(&percent) {
                    return;
                }
                self.percents.insert(subject.clone(), percent);
                self.progress_told.insert(subject.name.clone(), now);
                self.tell();
            }
            Event::StepDone { subject, .. } => {
                self.percents.remove(subject);
                self.progress_told.remove(&subject.name);
            }
            Event::RoundEnded { .. } | Event::Pulled { .. } | Event::StepBegun { .. } => {}
            _ => {
                let message = EventMessage::new(self.device.boot, event);
                self.events.push(message.to_json());
            }
        }
    }

    /// Hands over the next event and the next reply.
    fn advance(&mut self) {
        if self.is_connected {
            self.events.advance(&self.broker);
            self.replies.advance(&self.broker);
        }
    }
}

/// The topics that a device receives.
#[must_use]
pub fn filters(device: &FleetDevice) -> BTreeSet<String> {
    let own = [Topic::Online(device.name.clone())].map(|topic| device.topics.name(&topic));
    let own = own.map(|name| name.replace("/online", "/container/+"));
    let always = device.topics.device_filters(&device.name, device.takes_commands);
    always.into_iter().chain(own).collect()
}
