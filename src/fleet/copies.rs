//! What the mirror copied: the agent beside it looks at once, and the fleet hears of the local
//! reference. Devices follow that one only, so nothing else tells them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bridge::BrokerSink;
use crate::agent::{AgentHandle, CheckPushed};
use crate::broker::{Broker, NotTaken};
use crate::core::docker::reference::Reference;
use crate::core::docker::webhook::Push;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::topic::ReferenceKey;
use crate::core::mirror::rule::MirrorRule;
use crate::core::update::event::Asker;
use crate::mirror::{MirrorEvent, MirrorListener};

/// Most copies that wait to be announced: those of all rules in one run.
const WAITING_MAX: usize = 1024;

/// The pause before announcements are repeated that the broker did not take, because it was away.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// An image that was copied: the rule's name, and the reference at the target with its digest.
type CopiedImage = (String, Reference);

/// Hears of copies.
#[derive(Debug, Clone)]
pub struct CopyListener(mpsc::Sender<CopiedImage>);

/// The copies that were heard of.
#[derive(Debug)]
pub struct Copies(mpsc::Receiver<CopiedImage>);

/// Both ends.
#[must_use]
pub fn copies() -> (CopyListener, Copies) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (CopyListener(sender), Copies(receiver))
}

impl MirrorListener for CopyListener {
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        let MirrorEvent::TagEnded { report, .. } = event else { return };
        let Some(reference) = report.copied_reference(rule) else { return };
        if self.0.try_send((rule.name.clone(), reference)).is_err() {
            tracing::warn!("too many copies wait to be announced; devices find them by polling");
        }
    }
}

/// Tells the agent and the broker of copies, until `stop`. A broker that is away is told when it is
/// back, of the last copy of each reference.
pub async fn announce_copies<B: Broker>(
    mut copies: Copies,
    agent: Option<AgentHandle>,
    broker: Option<BrokerSink<B>>,
    stop: CancellationToken,
) {
    let mut waiting: BTreeMap<ReferenceKey, Announcement> = BTreeMap::new();
    loop {
        let pause = async {
            match waiting.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(RETRY_PAUSE).await,
            }
        };
        let copied = tokio::select! {
            () = stop.cancelled() => return,
            copied = copies.0.recv() => match copied {
                Some(copied) => Some(copied),
                None => return,
            },
            () = pause => None,
        };
        if let Some((rule, reference)) = copied {
            if let Some(agent) = &agent {
                look(agent, &reference).await;
            }
            if let Some(broker) = &broker {
                waiting.extend(broker.announcement_of_copy(&rule, reference));
            }
        }
        if let Some(broker) = &broker {
            stop.run_until_cancelled(publish(broker, &mut waiting)).await;
        }
    }
}

/// Containers of the agent that follow the reference are checked now.
async fn look(agent: &AgentHandle, reference: &Reference) {
    let Reference { registry, repository, tag, .. } = reference.clone();
    let push = Push { registry: Some(registry), repository, tag, digest: None };
    // Without an answer the agent is ending.
    if let Ok(containers @ 1..) = agent.ask(Asker::Webhook, CheckPushed(vec![push])).await {
        tracing::info!(%reference, containers, "checking what was copied");
    }
}

/// Publishes what waits, and keeps what a broker that is away did not take.
async fn publish<B: Broker>(
    broker: &BrokerSink<B>,
    waiting: &mut BTreeMap<ReferenceKey, Announcement>,
) {
    let receipts: Vec<_> =
        waiting.iter().filter_map(|(key, it)| Some((key.clone(), broker.announce(it)?))).collect();
    let (keys, receipts): (Vec<_>, Vec<_>) = receipts.into_iter().unzip();
    for (key, taken) in keys.into_iter().zip(join_all(receipts).await) {
        match taken {
            Err(NotTaken::Away | NotTaken::TooMany) => {}
            Ok(()) | Err(NotTaken::Replaced) => drop(waiting.remove(&key)),
            Err(why @ NotTaken::Refused(_)) => {
                let announcement = waiting.remove(&key);
                let image = announcement.map(|it| it.reference.to_string()).unwrap_or_default();
                tracing::warn!(image, "a copy is not announced: {}", broker.in_words(why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::broker::{Publication, Receipt};
    use crate::core::docker::reference::Digest;
    use crate::core::fleet::topic::Topics;

    /// A broker that is away for the first publications.
    #[derive(Clone, Default)]
    struct Shaky(Arc<Mutex<(usize, Vec<Publication>)>>);

    impl Broker for Shaky {
        fn publish(&self, publication: Publication) -> Receipt {
            let (answer, receipt) = Receipt::channel();
            let mut state = self.0.lock().expect("not poisoned");
            let taken = match state.0 {
                0 => {
                    state.1.push(publication);
                    Ok(())
                }
                _ => {
                    state.0 -= 1;
                    Err(NotTaken::Away)
                }
            };
            answer.send(taken).expect("somebody waits");
            receipt
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_is_announced_when_the_broker_is_back() {
        let broker = Shaky::default();
        broker.0.lock().expect("not poisoned").0 = 2;
        let topics = Topics::new(&"home".parse().expect("a fleet"));
        let sink = BrokerSink { broker: broker.clone(), topics, name: "store".to_owned() };
        let (listener, copies) = copies();
        let reference: Reference = "registry:443/table/till:v1".parse().expect("a reference");
        let digest = Some(Digest::of(b"x"));
        listener.0.try_send(("till".to_owned(), Reference { digest, ..reference })).expect("room");
        let stop = CancellationToken::new();
        let announcing = announce_copies(copies, None, Some(sink), stop.clone());
        let told = async {
            while broker.0.lock().expect("not poisoned").1.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            stop.cancel();
        };
        tokio::join!(announcing, told);
        let told = broker.0.lock().expect("not poisoned").1.clone();
        let payload = String::from_utf8_lossy(&told[0].payload).into_owned();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].topic.contains("/announce/") && told[0].is_retained);
        assert!(payload.contains("registry:443/table/till:v1"), "{payload}");
        assert!(
            payload.contains("store (mirror till)") && payload.contains("sha256:"),
            "{payload}"
        );
    }
}
