//! The events of the agent. Each gets a number, a time and a trigger, and goes to the sinks and to
//! the subscribers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::event::{Event, EventSink, Listener, NumberedEvent, Trigger};
use crate::host::Host;
use crate::ports::Ports;

/// How many events a slow subscriber may lag behind before it misses some. A pull sends ten per
/// second.
const EVENTS_BEHIND_MAX: usize = 512;

/// How many past events are kept for a subscriber that reconnects. An update has some thirty; the
/// progress of a pull is not kept.
const EVENTS_KEPT_MAX: usize = 64;

/// The events of an agent. They continue after a change of its configuration.
pub struct Events {
    past: Mutex<Past>,
    live: broadcast::Sender<Arc<NumberedEvent>>,
    sinks: Vec<Arc<dyn EventSink>>,
}

#[derive(Default)]
struct Past {
    /// The number of the last event.
    number: u64,
    kept: VecDeque<Arc<NumberedEvent>>,
}

/// Which events a subscriber wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Events that belong to this question.
    pub ask: Option<u64>,
    /// Events of these containers; absent: events of all containers, and events that are about
    /// none.
    pub containers: Option<BTreeSet<String>>,
}

impl EventFilter {
    /// Admits every event.
    pub const ALL: Self = Self { ask: None, containers: None };

    /// Whether the subscriber wants this event.
    #[must_use]
    pub fn admits(&self, event: &NumberedEvent) -> bool {
        let is_asked = matches!(event.trigger, Trigger::Asked { id, .. } if Some(id) == self.ask);
        let is_named = self.containers.as_ref().is_none_or(|names| {
            event.event.subject().is_some_and(|subject| names.contains(&subject.name))
        });
        is_asked || is_named
    }
}

impl Events {
    /// Sends events to these sinks, in this order, and to subscribers.
    #[must_use]
    pub fn new(sinks: Vec<Arc<dyn EventSink>>) -> Arc<Self> {
        let live = broadcast::Sender::new(EVENTS_BEHIND_MAX);
        Arc::new(Self { past: Mutex::default(), live, sinks })
    }

    /// Gives an event its number, and sends it.
    pub fn publish(&self, at: DateTime<Utc>, trigger: Trigger, event: Event) {
        let event = self.number(at, trigger, event);
        self.sinks.iter().for_each(|sink| sink.receive(&event));
        // An error only means that there is no subscriber.
        let _ = self.live.send(event);
    }

    fn number(&self, at: DateTime<Utc>, trigger: Trigger, event: Event) -> Arc<NumberedEvent> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.number += 1;
        let is_kept = !matches!(event, Event::Pulling { .. });
        let event = Arc::new(NumberedEvent { number: past.number, at, trigger, event });
        if is_kept {
            past.kept.push_back(Arc::clone(&event));
            let surplus = past.kept.len().saturating_sub(EVENTS_KEPT_MAX);
            past.kept.drain(..surplus);
        }
        event
    }

    /// Subscribes to events from now on; with `after`, first to the kept events with a higher
    /// number.
    #[must_use]
    pub fn subscribe(&self, filter: EventFilter, after: Option<u64>) -> Subscription {
        // It subscribes before it reads the kept events, so that it misses none. `next` skips an
        // event that is in both.
        let live = self.live.subscribe();
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let last = after.unwrap_or(past.number);
        let kept = past.kept.iter().filter(|event| event.number > last).cloned().collect();
        Subscription { past: kept, live, last, filter }
    }
}

/// The subscription of one subscriber.
#[derive(Debug)]
pub struct Subscription {
    past: VecDeque<Arc<NumberedEvent>>,
    live: broadcast::Receiver<Arc<NumberedEvent>>,
    /// The number of the last event that it has seen.
    last: u64,
    filter: EventFilter,
}

impl Subscription {
    /// Replaces the filter for the next events.
    pub fn narrow(&mut self, filter: EventFilter) {
        self.filter = filter;
    }

    /// The next event that the filter admits; `None` when the agent has ended. A subscriber that
    /// lags too far behind misses some, and sees that numbers are missing.
    pub async fn next(&mut self) -> Option<Arc<NumberedEvent>> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => match self.live.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return None,
                },
            };
            if event.number <= self.last {
                continue;
            }
            self.last = event.number;
            if self.filter.admits(&event) {
                return Some(event);
            }
        }
    }
}

/// An update begins a step. The loop shows it in the snapshot.
pub(in crate::agent) struct StepNews {
    pub(in crate::agent) subject: Subject,
    pub(in crate::agent) step: Step,
}

/// Publishes events with one trigger, and tells the loop which steps begin.
pub(in crate::agent) struct Publisher<P> {
    pub(in crate::agent) ports: Arc<P>,
    pub(in crate::agent) events: Arc<Events>,
    pub(in crate::agent) trigger: Trigger,
    pub(in crate::agent) steps: mpsc::UnboundedSender<StepNews>,
}

impl<P: Ports> Listener for Publisher<P> {
    fn receive(&self, event: &Event) {
        self.events.publish(self.ports.host().now(), self.trigger, event.clone());
        if let Event::StepBegun { subject, step } = event {
            // If the loop has ended, the step is dropped. An update has few steps, so the queue
            // stays short.
            let _ = self.steps.send(StepNews { subject: subject.clone(), step: *step });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::core::update::event::Asker;

    use super::*;

    fn begun(container: &str) -> Event {
        Event::StepBegun { subject: Subject::container(container), step: Step::Pull }
    }

    fn asked(id: u64) -> Trigger {
        Trigger::Asked { id, by: Asker::CommandLine }
    }

    fn publish(events: &Events, trigger: Trigger, event: Event) {
        events.publish(DateTime::UNIX_EPOCH, trigger, event);
    }

    async fn numbers(mut subscription: Subscription, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.extend(subscription.next().await.map(|event| event.number));
        }
        numbers
    }

    #[tokio::test]
    async fn an_asker_hears_of_its_question_and_of_the_containers_that_it_named() {
        let events = Events::new(Vec::new());
        let containers = Some(BTreeSet::from(["till".to_owned()]));
        let filter = EventFilter { ask: Some(7), containers };
        let subscription = events.subscribe(filter, None);
        publish(&events, Trigger::Schedule, begun("web"));
        publish(&events, Trigger::Schedule, begun("till"));
        publish(&events, asked(8), begun("web"));
        publish(&events, asked(7), begun("web"));
        let drop = events.subscribe(EventFilter::ALL, None);
        assert_eq!(numbers(subscription, 2).await, [2, 4]);
        publish(&events, Trigger::Recovery, begun("web"));
        assert_eq!(numbers(drop, 1).await, [5]);
    }

    #[tokio::test]
    async fn a_subscriber_that_comes_back_hears_what_it_missed_once() {
        let events = Events::new(Vec::new());
        for _ in 0..EVENTS_KEPT_MAX + 10 {
            publish(&events, Trigger::Schedule, begun("till"));
        }
        let last = u64::try_from(EVENTS_KEPT_MAX).unwrap_or_default() + 10;
        let subscription = events.subscribe(EventFilter::ALL, Some(last - 2));
        publish(&events, Trigger::Schedule, begun("till"));
        assert_eq!(numbers(subscription, 3).await, [last - 1, last, last + 1]);
        let from_the_start = events.subscribe(EventFilter::ALL, Some(0));
        let kept = numbers(from_the_start, EVENTS_KEPT_MAX).await;
        assert_eq!(kept.first(), Some(&(last + 2 - EVENTS_KEPT_MAX as u64)));
    }
}
