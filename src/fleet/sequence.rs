//! Messages of one topic that must arrive one after the other: events and replies.

use std::collections::VecDeque;
use std::time::Duration;

use crate::broker::{Broker, NotTaken, Publication, Receipt};

/// Most messages that wait; the oldest go first. While the broker is away they are kept, so that
/// the last ones can be told after the next connection.
const WAITING_MAX: usize = 32;

/// The messages of one topic, in their order. The next one is handed over when the broker has
/// answered the one before, because the port keeps only the newest message of a topic.
#[derive(Debug)]
pub(super) struct Sequence {
    topic: String,
    /// How long the broker may keep a message for a subscriber that is away.
    expiry: Duration,
    waiting: VecDeque<Vec<u8>>,
    on_its_way: Option<(Vec<u8>, Receipt)>,
}

impl Sequence {
    pub(super) fn new(topic: String, expiry: Duration) -> Self {
        Self { topic, expiry, waiting: VecDeque::new(), on_its_way: None }
    }

    /// Appends a message.
    pub(super) fn push(&mut self, payload: Vec<u8>) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(payload);
    }

    /// Hands over the next message, if none is on its way.
    pub(super) fn advance(&mut self, broker: &impl Broker) {
        if self.on_its_way.is_some() {
            return;
        }
        let Some(payload) = self.waiting.pop_front() else { return };
        let publication = Publication {
            topic: self.topic.clone(),
            payload: payload.clone(),
            is_retained: false,
            expiry: Some(self.expiry),
        };
        self.on_its_way = Some((payload, broker.publish(publication)));
    }

    /// Waits until the broker has answered the message on its way. A message that was lost with its
    /// connection waits again; one that the broker refused is gone.
    pub(super) async fn answered(&mut self) {
        let Some((_, receipt)) = &mut self.on_its_way else {
            return std::future::pending().await;
        };
        let answer = receipt.await;
        let payload = self.on_its_way.take().map(|(payload, _)| payload);
        let is_lost = matches!(answer, Err(NotTaken::Away)) && self.waiting.len() < WAITING_MAX;
        if let Some(payload) = payload.filter(|_| is_lost) {
            self.waiting.push_front(payload);
        }
    }
}
