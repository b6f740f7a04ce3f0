//! One agent at one broker: the loop that tells the state, and hears what the fleet says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::FleetObserver;
use super::commands;
use super::device::FleetDevice;
use super::looks::DueLooks;
use super::sequence::Sequence;
use super::told::ToldState;
use crate::agent::{AgentHandle, CheckPushed, EventFilter, FleetNews, FleetStep};
use crate::broker::{Broker, BrokerEvent, BrokerEvents, Message, ReasonCode, RefusedAct};
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::reply::CommandReply;
use crate::core::fleet::message::{Incoming, MessageError};
use crate::core::fleet::state::IgnoredMessage;
use crate::core::fleet::topic::Topic;
use crate::core::update::event::{Asker, Event, NumberedEvent};
use crate::documents::EventMessage;
use crate::mirror::MirrorHandle;

/// How long the broker keeps an event for a subscriber that is away.
const EVENT_EXPIRY_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the broker keeps a reply: its asker waits for it now.
const REPLY_EXPIRY_TIME: Duration = Duration::from_secs(10 * 60);

/// Most commands that are carried out at the same time; a person gives one at a time.
const COMMANDS_MAX: usize = 16;

/// How long after the subscription the retained stop must have come. An ACL that does not let the
/// device read it looks the same as no stop (Mosquitto grants every subscription, and filters
/// messages later), so its absence is told.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells the state of the agent to the fleet and hears what the fleet says, until `end`.
pub async fn serve(
    broker: impl Broker,
    mut events: BrokerEvents,
    agent: AgentHandle,
    (device, observer, mirror): (FleetDevice, Arc<dyn FleetObserver>, Option<MirrorHandle>),
    end: CancellationToken,
) {
    observer.connected(false);
    let mut session = FleetSession::new(broker, agent.clone(), device, observer);
    session.mirror = mirror;
    let mut snapshot = agent.changes();
    let mut happened = agent.subscribe(EventFilter::ALL, Some(0));
    loop {
        tokio::select! {
            () = end.cancelled() => break,
            // One message at a time: while the agent is slow, the broker waits.
            event = events.next(), if session.asked.is_none() => match event {
                Some(event) => session.receive(event),
                None => break,
            },
            step = answered(&mut session.asked) => session.follow(step),
            changed = snapshot.changed() => match changed {
                Ok(()) => session.tell(),
                Err(_) => break,
            },
            event = happened.next() => match event {
                Some(event) => session.happened(&event),
                None => break,
            },
            () = at(session.looks.next()) => session.look(),
            () = at(session.state.description_due()) => session.tell(),
            () = at(session.stop_awaited) => session.miss_stop(),
            () = sleep_until(session.state.repeat_at()) => session.repeat(),
            Some(done) = session.tasks.join_next() => session.done(done.ok().flatten()),
            () = session.events.answered() => {}
            () = session.replies.answered() => {}
        }
        session.advance();
    }
    session.state.leave(&session.broker);
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The agent's answer to the question on its way.
async fn answered(asked: &mut Option<BoxFuture<'static, FleetStep>>) -> FleetStep {
    let Some(answer) = asked else { return std::future::pending().await };
    let step = answer.await;
    *asked = None;
    step
}

/// The state of the conversation with the fleet.
struct FleetSession<B> {
    broker: B,
    agent: AgentHandle,
    device: FleetDevice,
    observer: Arc<dyn FleetObserver>,
    /// The rules of the mirror beside the agent.
    mirror: Option<MirrorHandle>,
    state: ToldState,
    looks: DueLooks,
    /// The question about the last news of the broker.
    asked: Option<BoxFuture<'static, FleetStep>>,
    /// Until when the retained stop must have come; absent after it has.
    stop_awaited: Option<Instant>,
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
            looks: DueLooks::default(),
            asked: None,
            stop_awaited: None,
            state: ToldState::new(device.clone()),
            broker,
            agent,
            device,
            observer,
            mirror: None,
            tasks: JoinSet::new(),
        }
    }

    fn receive(&mut self, event: BrokerEvent) {
        match event {
            BrokerEvent::Connected => {
                tracing::info!(device = %self.device.name, "connected to the broker");
                self.observer.connected(true);
                self.state.connected(&self.broker);
                self.state.clear_description(&self.broker, &self.agent.snapshot());
                self.tell();
                self.ask(FleetNews::Connected(true));
            }
            BrokerEvent::Subscribed => self.stop_awaited = Some(Instant::now() + STOP_TIMEOUT),
            BrokerEvent::Message(message) => self.message(message),
            BrokerEvent::Lost(loss) => {
                self.observer.connected(false);
                self.state.lost();
                self.stop_awaited = None;
                tracing::warn!("no connection to the broker: {loss}");
                self.ask(FleetNews::Connected(false));
            }
            BrokerEvent::Refused { act, topic, reason } => self.refused(act, &topic, reason),
        }
    }

    /// Passes news on to the agent, which decides what follows from them. It waits for room in the
    /// agent's queue: a stop must not get lost.
    fn ask(&mut self, news: FleetNews) {
        let agent = self.agent.clone();
        // Without an answer the agent is ending, and so is this connection.
        let answer = async move { agent.ask(Asker::Mqtt, news).await };
        self.asked = Some(answer.map(|it| it.unwrap_or(FleetStep::Nothing)).boxed());
    }

    fn refused(&self, act: RefusedAct, topic: &str, reason: ReasonCode) {
        self.observer.refused_by_broker(reason);
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
        self.state.repeat();
        self.tell();
    }

    fn message(&mut self, Message { topic, payload, is_retained }: Message) {
        match self.device.topics.parse(&topic) {
            Some(row @ (Topic::Container(..) | Topic::Service(..))) => {
                if !payload.is_empty() {
                    self.state.row_heard(row);
                    self.tell();
                }
            }
            Some(read) => {
                if read == Topic::Stop {
                    self.stop_awaited = None;
                }
                if let Some(mirror) = &self.mirror
                    && let Ok(Incoming::Announcement(it)) = Incoming::read(&read, &payload)
                {
                    mirror.pushed(&[it.push()]);
                }
                self.ask(FleetNews::Message { topic, payload, is_retained });
            }
            None => self.observer.refused(MessageError::UnknownTopic.word()),
        }
    }

    /// No stop is retained, or the device may not read it.
    fn miss_stop(&mut self) {
        self.stop_awaited = None;
        let topic = self.device.topics.name(&Topic::Stop);
        tracing::warn!(
            "nothing is retained on {topic}, so this device cannot tell whether it would hear a \
             stop of the fleet: `pilotfish fleet go` publishes it; if it did already, the ACL of \
             the broker must let this device read it"
        );
    }

    /// Does what follows from a message.
    fn follow(&mut self, step: FleetStep) {
        match step {
            FleetStep::Nothing => {}
            FleetStep::Look(image, delay) => {
                tracing::info!(%image, ?delay, "a push was announced");
                self.looks.add(image, delay);
            }
            FleetStep::NoLook(why) => {
                tracing::debug!(why = why.word(), "an announcement needs no look");
            }
            FleetStep::Command(command) => self.command(command),
            FleetStep::Ignored(why) => {
                match why {
                    // A device hears the announcements of the whole fleet.
                    IgnoredMessage::NotFollowed => return,
                    IgnoredMessage::Command(why) => tracing::warn!("a command is ignored: {why}"),
                    why => tracing::debug!("a message is ignored: {why}"),
                }
                self.observer.refused(why.word());
            }
        }
    }

    /// Asks the agent for the looks that are due.
    fn look(&mut self) {
        let pushes = self.looks.take();
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

    fn command(&mut self, command: FleetCommand) {
        if self.tasks.len() >= COMMANDS_MAX {
            let detail = Some(format!("{COMMANDS_MAX} commands are in progress; try again later"));
            self.observer.refused("too_many_commands");
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
