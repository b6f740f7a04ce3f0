//! The port to an MQTT 5 broker: one connection that comes back by itself.
//!
//! ```text
//! mqtt                    MqttBroker: connect, serve, pause, connect again   <- start here
//!   handshake               TCP, TLS and CONNACK within one time limit
//!     certificates            the files of the settings -> the TLS configuration
//!   session                 one connection, from CONNACK to its end
//!     wire                    packets to bytes and back; the only file that names the library
//!     outbox                  the newest payload of each topic, until the broker has taken it
//!   reconnect               how long the pause is after which failure
//!   told                    each failure is told once
//! settings                what an operator sets
//! loss                    why there is no connection, in words
//! reason_code             the reason codes of MQTT 5
//! ```
//!
//! While there is no connection nothing is kept: after each [`BrokerEvent::Connected`] the user of
//! this port publishes its whole state again. So the broker may forget everything, and memory is
//! bounded by the number of topics.

mod certificates;
mod handshake;
mod loss;
mod mqtt;
mod outbox;
mod reason_code;
mod reconnect;
mod session;
mod settings;
mod told;
mod wire;

pub mod fuzzing;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use loss::Loss;
pub use mqtt::{BrokerTask, MqttBroker};
pub use reason_code::ReasonCode;
pub use settings::{
    BrokerAddress, BrokerAddressError, BrokerLimits, BrokerLogin, BrokerSettings, LastWill,
    TopicSubscription,
};

/// How many events may wait for the user of the port. If it is slower, the connection reads no
/// further, and the broker waits.
const EVENTS_WAITING_MAX: usize = 16;

/// Publishes to a broker.
pub trait Broker: Send + Sync + 'static {
    /// Hands over the newest payload of a topic, with QoS 1, and returns at once.
    ///
    /// One publication of a topic is on its way at a time. If another one of the same topic still
    /// waits, this one takes its place. Two messages that both must arrive need two topics, or the
    /// [`Receipt`] of the first one awaited before the second one is handed over.
    fn publish(&self, publication: Publication) -> Receipt;
}

/// A message for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub topic: String,
    /// An empty payload removes what the broker retains under this topic (MQTT 5, 3.3.1.3).
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub is_retained: bool,
    /// How long the broker may keep it, in whole seconds.
    pub expiry: Option<Duration>,
}

impl Publication {
    /// A message that the broker keeps for later subscribers, for this time at most.
    #[must_use]
    pub const fn retained(topic: String, payload: Vec<u8>, expiry: Option<Duration>) -> Self {
        Self { topic, payload, is_retained: true, expiry }
    }
}

/// What became of a [`Publication`]. It may be dropped. While events wait unread, no answer of the
/// broker is read either: the task that reads the events must not wait for a receipt alone.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<(), NotTaken>>);

/// Why the broker did not take a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A newer payload of the same topic took its place.
    #[error("a newer payload took its place")]
    Replaced,
    /// There is no connection, or it ended before the broker answered.
    #[error("there is no connection to the broker")]
    Away,
    /// The broker refused it, or would: it is too large, its topic is not valid, or the broker
    /// retains nothing.
    #[error("the broker refused it: {0}")]
    Refused(ReasonCode),
    /// Too many topics wait for the broker.
    #[error("too many topics wait for the broker")]
    TooMany,
}

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerEvent {
    /// There is a connection. Everything must be published again.
    Connected,
    /// The broker has answered all subscriptions. What it retains arrives before or after this.
    Subscribed,
    /// A message of a subscription.
    Message(Message),
    /// There is no connection. After each `Connected` this comes once; a failed attempt to connect
    /// is told once for each cause.
    Lost(Loss),
    /// The broker refused a topic: told once for each topic and reason.
    Refused { act: RefusedAct, topic: String, reason: ReasonCode },
}

/// What a broker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedAct {
    Publish,
    Subscribe,
}

/// A message from the broker. Topic and payload are text from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    /// Whether the broker had kept it; see [`TopicSubscription::shows_retain_flag`].
    pub is_retained: bool,
}

/// The events of one connection.
#[derive(Debug)]
pub struct BrokerEvents(mpsc::Receiver<BrokerEvent>);

impl BrokerEvents {
    /// Both ends. Tests of the port's users take them without a connection.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<BrokerEvent>, Self) {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        (sender, Self(receiver))
    }

    /// The next event; `None` after the connection was stopped.
    pub async fn next(&mut self) -> Option<BrokerEvent> {
        self.0.recv().await
    }
}

impl Receipt {
    /// A receipt, and its other end. If that is dropped, the receipt says [`NotTaken::Away`].
    #[must_use]
    pub fn channel() -> (oneshot::Sender<Result<(), NotTaken>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Receipt {
    type Output = Result<(), NotTaken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(NotTaken::Away)))
    }
}
