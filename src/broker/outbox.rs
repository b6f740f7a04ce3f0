//! What waits for the broker: the newest payload of each topic, and no queue. So memory is bounded
//! by the number of topics, however often they change.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::broker::{NotTaken, Publication, Receipt};

/// Most topics that wait or are on their way. A device has some topics for each container; a bridge
/// has one for each reference.
const TOPICS_MAX: usize = 4096;

/// The other end of a [`Receipt`].
pub(super) type ReceiptSender = oneshot::Sender<Result<(), NotTaken>>;

/// A publication and who waits for its fate.
#[derive(Debug)]
pub(super) struct WaitingPublication {
    pub publication: Publication,
    pub receipt: ReceiptSender,
}

/// Publications of the port's users, until the connection takes them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    content: Mutex<Content>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Content {
    is_open: bool,
    /// Topics with a waiting publication and none on its way, the oldest first.
    ready: VecDeque<Arc<str>>,
    topics: HashMap<Arc<str>, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    is_on_its_way: bool,
    waiting: Option<WaitingPublication>,
}

impl Outbox {
    /// Begins to keep publications, because there is a connection.
    pub fn open(&self) {
        self.content().is_open = true;
    }

    /// Drops all publications and keeps no further ones: there is no connection.
    pub fn close(&self) {
        *self.content() = Content::default();
    }

    /// Keeps a publication until the connection takes it.
    pub fn put(&self, publication: Publication) -> Receipt {
        let (receipt, other_end) = Receipt::channel();
        if let Err((why, waiting)) = self.content().put(WaitingPublication { publication, receipt })
        {
            // The other end exists: it is in this function.
            let _ = waiting.receipt.send(Err(why));
        } else {
            self.changed.notify_one();
        }
        other_end
    }

    /// The next publication whose topic has none on its way.
    pub fn take(&self) -> Option<WaitingPublication> {
        self.content().take()
    }

    /// The publication of a topic is not on its way any more.
    pub fn ended(&self, topic: &str) {
        self.content().ended(topic);
    }

    /// Whether nothing waits and nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.content().topics.is_empty()
    }

    /// Waits until something was put in.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn put(&mut self, waiting: WaitingPublication) -> Result<(), (NotTaken, WaitingPublication)> {
        if !self.is_open {
            return Err((NotTaken::Away, waiting));
        }
        let topic: Arc<str> = waiting.publication.topic.as_str().into();
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            return Err((NotTaken::TooMany, waiting));
        }
        let slot = self.topics.entry(topic.clone()).or_default();
        match slot.waiting.replace(waiting) {
            // The user may have dropped the receipt.
            Some(earlier) => drop(earlier.receipt.send(Err(NotTaken::Replaced))),
            None if !slot.is_on_its_way => self.ready.push_back(topic),
            None => {}
        }
        Ok(())
    }

    fn take(&mut self) -> Option<WaitingPublication> {
        let topic = self.ready.pop_front()?;
        let slot = self.topics.get_mut(&topic)?;
        slot.is_on_its_way = true;
        slot.waiting.take()
    }

    fn ended(&mut self, topic: &str) {
        let Some((topic, mut slot)) = self.topics.remove_entry(topic) else { return };
        if slot.waiting.is_some() {
            slot.is_on_its_way = false;
            self.ready.push_back(topic.clone());
            self.topics.insert(topic, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(topic: &str, payload: &str) -> Publication {
        let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
        Publication::retained(topic, payload, None)
    }

    fn answer(receipt: &mut Receipt) -> Option<Result<(), NotTaken>> {
        receipt.0.try_recv().ok()
    }

    fn taken(outbox: &Outbox) -> Option<String> {
        let publication = outbox.take()?.publication;
        let payload = String::from_utf8_lossy(&publication.payload).into_owned();
        Some(format!("{}={payload}", publication.topic))
    }

    #[test]
    fn the_newest_payload_takes_the_place_of_a_waiting_one() {
        let outbox = Outbox::default();
        outbox.open();
        let mut first = outbox.put(publication("a", "1"));
        outbox.put(publication("b", "1"));
        outbox.put(publication("a", "2"));
        assert_eq!(answer(&mut first), Some(Err(NotTaken::Replaced)));
        assert_eq!(taken(&outbox).as_deref(), Some("a=2"));
        assert_eq!(taken(&outbox).as_deref(), Some("b=1"));
        assert_eq!(taken(&outbox), None);
    }

    #[test]
    fn one_publication_of_a_topic_is_on_its_way() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.put(publication("a", "1"));
        assert_eq!(taken(&outbox).as_deref(), Some("a=1"));
        outbox.put(publication("a", "2"));
        assert_eq!(taken(&outbox), None);
        outbox.ended("a");
        assert_eq!(taken(&outbox).as_deref(), Some("a=2"));
        outbox.ended("a");
        assert!(outbox.is_empty());
    }

    #[test]
    fn without_a_connection_nothing_is_kept() {
        let outbox = Outbox::default();
        let mut early = outbox.put(publication("a", "1"));
        assert_eq!(answer(&mut early), Some(Err(NotTaken::Away)));
        outbox.open();
        outbox.put(publication("a", "1"));
        outbox.close();
        assert!(outbox.is_empty() && taken(&outbox).is_none());
    }

    #[test]
    fn a_flood_is_bounded_by_the_number_of_topics() {
        let outbox = Outbox::default();
        outbox.open();
        for number in 0..3 * TOPICS_MAX {
            outbox.put(publication(&number.to_string(), "1"));
        }
        assert_eq!(outbox.content().topics.len(), TOPICS_MAX);
        let mut late = outbox.put(publication("late", "1"));
        assert_eq!(answer(&mut late), Some(Err(NotTaken::TooMany)));
    }
}
