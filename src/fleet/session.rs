//! One agent at one broker: the loop that tells the state, and hears what the fleet says.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::FleetObserver;
use super::announcements::AnnouncedLooks;
use super::commands;
use super::device::FleetDevice;
use super::sequence::Sequence;
use super::told::ToldState;
use crate::agent::{AgentHandle, CheckPushed, EventFilter};
use crate::broker::{Broker, BrokerEvent, BrokerEvents, Message, ReasonCode, RefusedAct};
use crate::core::fleet::commands::SeenCommands;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::reply::CommandReply;
use crate::core::fleet::message::{Incoming, MessageError};
use crate::core::fleet::topic::Topic;
use crate::core::update::event::{Asker, Event, NumberedEvent};
use crate::documents::EventMessage;

/// How long the broker keeps an event for a subscriber that is away.
const EVENT_EXPIRY_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the broker keeps a reply: its asker waits for it now.
const REPLY_EXPIRY_TIME: Duration = Duration::from_secs(10 * 60);

/// Most commands that are carried out at the same time; a person gives one at a time.
const COMMANDS_MAX: usize = 16;

/// Tells the state of the agent to the fleet and hears what the fleet says, until `end`.
pub async fn serve(
    broker: impl Broker,
    mut events: BrokerEvents,
    agent: AgentHandle,
    (device, observer): (FleetDevice, Arc<dyn FleetObserver>),
    end: CancellationToken,
) {
    observer.connected(false);
    let mut session = FleetSession::new(broker, agent.clone(), device, observer);
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
            () = sleep_until(session.state.repeat_at()) => session.repeat(),
            Some(done) = session.tasks.join_next() => session.done(done.ok().flatten()),
            () = session.events.answered() => {}
            () = session.replies.answered() => {}
        }
        session.advance();
    }
    session.state.leave(&session.broker);
}

/// The state of the conversation with the fleet.
struct FleetSession<B> {
    broker: B,
    agent: AgentHandle,
    device: FleetDevice,
    observer: Arc<dyn FleetObserver>,
    state: ToldState,
    looks: AnnouncedLooks,
    seen: SeenCommands,
    events: Sequence,
    replies: Sequence,
    /// Commands that are carried out, and looks that are asked for. They end with a reply, or with
    /// nothing.
    tasks: JoinSet<Option<CommandReply>>,
}

impl<B: Broker> FleetSession<B> {
    fn new(
        broker: B,
        agent: AgentHandle,
        device: FleetDevice,
        observer: Arc<dyn FleetObserver>,
    ) -> Self {
        let sequence = |topic: Topic, expiry| Sequence::new(device.topics.name(&topic), expiry);
        Self {
            events: sequence(Topic::Event(device.name.clone()), EVENT_EXPIRY_TIME),
            replies: sequence(Topic::Reply(device.name.clone()), REPLY_EXPIRY_TIME),
            looks: AnnouncedLooks::new(device.roster.clone()),
            state: ToldState::new(device.clone()),
            broker,
            agent,
            device,
            observer,
            seen: SeenCommands::default(),
            tasks: JoinSet::new(),
        }
    }

    fn receive(&mut self, event: BrokerEvent) {
        match event {
            BrokerEvent::Connected => {
                tracing::info!(device = %self.device.name, "connected to the broker");
                self.observer.connected(true);
                self.state.connected(&self.broker);
                self.tell();
            }
            BrokerEvent::Subscribed => {}
            BrokerEvent::Message(message) => self.message(&message),
            BrokerEvent::Lost(loss) => {
                self.observer.connected(false);
                self.state.lost();
                tracing::warn!("no connection to the broker: {loss}");
            }
            BrokerEvent::Refused { act, topic, reason } => self.refused(act, &topic, reason),
        }
    }

    fn refused(&self, act: RefusedAct, topic: &str, reason: ReasonCode) {
        self.observer.refused(&format!("broker_{}", reason.0));
        let act = match act {
            RefusedAct::Publish => "a message on",
            RefusedAct::Subscribe => "the subscription of",
        };
        let name = &self.device.name;
        let advice = match reason {
            ReasonCode::NOT_AUTHORIZED => format!(
                ": its ACL must allow it to `{name}`, which must also be the name in this device's \
                 certificate"
            ),
            _ => String::new(),
        };
        tracing::warn!("the broker refuses {act} {topic}: {reason}{advice}");
    }

    /// Tells what has changed.
    fn tell(&mut self) {
        self.state.tell(&self.broker, &self.agent.snapshot());
    }

    /// Tells everything again.
    fn repeat(&mut self) {
        self.state.forget();
        self.tell();
    }

    fn message(&mut self, Message { topic, payload, is_retained }: &Message) {
        let Some(read) = self.device.topics.parse(topic) else {
            return self.ignore(MessageError::UnknownTopic.word());
        };
        if let Topic::Container(..) | Topic::Service(..) = &read {
            if !payload.is_empty() {
                self.state.row_heard(read);
                self.tell();
            }
            return;
        }
        match Incoming::read(&read, payload) {
            Ok(Incoming::Announcement(announcement)) => self.announced(&announcement, *is_retained),
            Ok(Incoming::Command(command)) => self.command(command, *is_retained),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("a message on {read} is ignored: {error}");
                self.ignore(error.word());
            }
        }
    }

    fn ignore(&self, reason: &str) {
        self.observer.refused(reason);
    }

    fn announced(&mut self, announcement: &Announcement, is_retained: bool) {
        let image = &announcement.reference;
        match self.looks.take(announcement, is_retained, &self.agent.snapshot()) {
            Ok(Some(delay)) => tracing::info!(%image, ?delay, "a push was announced"),
            Ok(None) => {}
            Err(why) => tracing::debug!(%image, why = why.word(), "an announcement needs no look"),
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
            return self.ignore("commands_off");
        }
        let command = match self.seen.take(command, is_retained) {
            Ok(command) => command,
            Err(why) => {
                tracing::warn!("a command is ignored: {why}");
                return self.ignore(why.word());
            }
        };
        if self.tasks.len() >= COMMANDS_MAX {
            let detail = Some(format!("{COMMANDS_MAX} commands are in progress; try again later"));
            self.ignore("too_many_commands");
            return self.done(Some(CommandReply { id: command.id, ok: false, detail }));
        }
        tracing::info!(command = command.kind.word(), "a command came over MQTT");
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
                if self.state.pulled(subject, progress.current, progress.total) {
                    self.tell();
                }
            }
            Event::StepDone { subject, .. } => self.state.pull_ended(subject),
            Event::RoundEnded { .. } | Event::Pulled { .. } | Event::StepBegun { .. } => {}
            _ => self.events.push(EventMessage::new(self.device.boot, event).to_json()),
        }
    }

    /// Hands over the next event and the next reply.
    fn advance(&mut self) {
        if self.state.is_connected() {
            self.events.advance(&self.broker);
            self.replies.advance(&self.broker);
        }
    }
}
