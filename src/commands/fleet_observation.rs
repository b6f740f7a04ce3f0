//! What a client of the fleet's broker has heard, and whether it has heard all that is retained.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep_until};

use crate::broker::{BrokerEvent, BrokerEvents, Loss, Message, ReasonCode, RefusedAct};
use crate::core::fleet::overview::FleetOverview;
use crate::core::fleet::topic::Topics;

/// After this time without a retained message the broker has sent all of them. It sends them one
/// after the other, so a longer pause is one of the network.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// A connection that is closed before this time was hardly one.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// So many short connections in a row are a fight: two programs with one certificate disconnect
/// each other. The first one may be a broker that was restarted.
const SHORT_LIVES_MAX: u32 = 2;

/// What the operator's client has heard.
pub(super) struct FleetObservation {
    topics: Topics,
    pub overview: FleetOverview,
    /// When this connection began.
    began: Instant,
    /// When the last retained message came, once the broker has answered the subscriptions.
    retained_at: Option<Instant>,
    /// Whether the retained messages were all there once.
    has_settled: bool,
    is_connected: bool,
    /// Connections in a row that were closed soon.
    short_lives: u32,
    /// Why there is no connection now.
    pub loss: Option<String>,
}

impl FleetObservation {
    pub(super) fn new(topics: Topics) -> Self {
        Self {
            topics,
            overview: FleetOverview::default(),
            began: Instant::now(),
            retained_at: None,
            has_settled: false,
            is_connected: false,
            short_lives: 0,
            loss: None,
        }
    }

    /// How long this connection observes the fleet.
    pub(super) fn time(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether all retained messages have come.
    pub(super) fn is_settled(&self) -> bool {
        self.retained_at.is_some_and(|at| at.elapsed() >= QUIET_TIME)
    }

    /// Hears until the last retained message has come.
    ///
    /// # Errors
    /// The broker cannot be used.
    pub(super) async fn settle(&mut self, events: &mut BrokerEvents) -> anyhow::Result<()> {
        while !self.is_settled() {
            let quiet = self.retained_at.map(|at| at + QUIET_TIME);
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = sleep_until(quiet.unwrap_or(self.began)), if quiet.is_some() => continue,
            };
            self.receive(event)?;
        }
        self.has_settled = true;
        Ok(())
    }

    /// Takes an event.
    ///
    /// # Errors
    /// The broker cannot be used: the first connection fails, or trying again would not help.
    pub(super) fn receive(&mut self, event: Option<BrokerEvent>) -> anyhow::Result<()> {
        match event {
            None => bail!("the connection to the broker has ended"),
            Some(BrokerEvent::Connected) => {
                // What was retained before may be gone, so everything is heard again.
                let Self { has_settled, short_lives, .. } = *self;
                let new = Self::new(self.topics.clone());
                *self = Self { is_connected: true, has_settled, short_lives, ..new };
            }
            Some(BrokerEvent::Subscribed) => self.retained_at = Some(Instant::now()),
            Some(BrokerEvent::Message(message)) => self.message(&message),
            Some(BrokerEvent::Lost(loss)) => self.lost(&loss)?,
            Some(BrokerEvent::Refused { act: RefusedAct::Publish, .. }) => {}
            Some(BrokerEvent::Refused { act: RefusedAct::Subscribe, topic, reason }) => bail!(
                "the broker does not let this client read {topic}: {reason}; give the certificate \
                 of the operator with --cert-file and --key-file"
            ),
        }
        Ok(())
    }

    /// Mosquitto 2.0 closes the earlier one of two connections without the reason that MQTT 5 has
    /// for it, so a fight shows by short connections.
    fn lost(&mut self, loss: &Loss) -> anyhow::Result<()> {
        let was_connected = std::mem::take(&mut self.is_connected);
        if was_connected {
            let is_short = self.began.elapsed() < SHORT_LIFE;
            self.short_lives = if is_short { self.short_lives + 1 } else { 0 };
        }
        let is_taken = *loss == Loss::Ended { reason: ReasonCode::TAKEN_OVER };
        let is_fight = is_taken || self.short_lives >= SHORT_LIVES_MAX;
        if is_fight || (was_connected && !self.has_settled) {
            bail!("{}; does another program use the same certificate?", loss.cause());
        }
        if !self.has_settled {
            bail!(loss.cause());
        }
        self.loss = Some(loss.cause());
        self.retained_at = None;
        Ok(())
    }

    fn message(&mut self, message: &Message) {
        if message.is_retained && self.retained_at.is_some() {
            self.retained_at = Some(Instant::now());
        }
        match self.topics.parse(&message.topic) {
            Some(topic) => self.overview.note(
                &topic,
                &message.payload,
                message.is_retained,
                self.began.elapsed(),
            ),
            None => self.overview.note_unknown(),
        }
    }
}
