//! The adapter: a task that connects, serves the connection, pauses, and connects again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::handshake::{Accepted, connect};
use crate::broker::loss::Loss;
use crate::broker::outbox::Outbox;
use crate::broker::reconnect::{failures_after, pause};
use crate::broker::session::{BrokerSession, SessionEnd, Surroundings};
use crate::broker::settings::BrokerSettings;
use crate::broker::told::Told;
use crate::broker::{Broker, BrokerEvent, BrokerEvents, Publication, Receipt};

/// A real broker. Clones publish on the same connection.
#[derive(Debug, Clone)]
pub struct MqttBroker {
    outbox: Arc<Outbox>,
}

/// The connection, which its owner runs.
#[derive(Debug)]
pub struct BrokerTask {
    settings: BrokerSettings,
    outbox: Arc<Outbox>,
    events: mpsc::Sender<BrokerEvent>,
}

impl MqttBroker {
    /// A connection that begins with [`BrokerTask::run`]. New settings need a new one.
    #[must_use]
    pub fn new(settings: BrokerSettings) -> (Self, BrokerTask, BrokerEvents) {
        let outbox = Arc::new(Outbox::default());
        let (events, receiver) = BrokerEvents::channel();
        let task = BrokerTask { settings, outbox: outbox.clone(), events };
        (Self { outbox }, task, receiver)
    }
}

impl Broker for MqttBroker {
    fn publish(&self, publication: Publication) -> Receipt {
        self.outbox.put(publication)
    }
}

impl BrokerTask {
    /// Keeps the connection until `stop`, or until the events have no reader any more. Then it
    /// waits a moment for what was published before, and leaves without the last will.
    pub async fn run(self, stop: CancellationToken) {
        let (mut told, mut failures, chance) = (Told::default(), 0, RandomState::new());
        loop {
            let began = Instant::now();
            let attempt = tokio::select! {
                () = stop.cancelled() => return,
                attempt = connect(&self.settings) => attempt,
            };
            let (loss, is_news, life) = match attempt {
                Err(loss) => {
                    let is_news = told.is_new_loss(&loss);
                    (loss, is_news, None)
                }
                Ok(accepted) => {
                    let accepted_at = Instant::now();
                    told.forget_losses();
                    match Box::pin(self.serve(accepted, &mut told, &stop)).await {
                        SessionEnd::Stopped => return,
                        SessionEnd::Lost(loss) => (loss, true, Some(accepted_at.elapsed())),
                    }
                }
            };
            failures = failures_after(failures, life, &self.settings.limits);
            let pause = pause(loss.pace(), failures, &self.settings, chance.hash_one(began));
            let rest = async {
                let is_read = !is_news || self.tell(loss).await;
                sleep(pause).await;
                is_read
            };
            let is_read = tokio::select! {
                () = stop.cancelled() => false,
                is_read = rest => is_read,
            };
            if !is_read || self.events.is_closed() {
                return;
            }
        }
    }

    async fn serve(
        &self,
        accepted: Accepted,
        told: &mut Told,
        stop: &CancellationToken,
    ) -> SessionEnd {
        self.outbox.open();
        let (settings, outbox, events) = (&self.settings, &*self.outbox, &self.events);
        let around = Surroundings { settings, outbox, events, told };
        let Accepted { reader, writer, agreement } = accepted;
        let end = BrokerSession::new(around, (reader, writer), agreement).run(stop).await;
        self.outbox.close();
        end
    }

    /// Whether the event has a reader.
    async fn tell(&self, loss: Loss) -> bool {
        self.events.send(BrokerEvent::Lost(loss)).await.is_ok()
    }
}
