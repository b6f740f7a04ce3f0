//! Webhooks and what the broker gets of them.

use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::broker::Receipt;
use crate::core::docker::reference::Digest;

/// A broker that keeps what it gets, and answers everything in the same way.
struct FakeBroker {
    answer: Result<(), NotTaken>,
    taken: Mutex<Vec<Publication>>,
}

impl Broker for FakeBroker {
    fn publish(&self, publication: Publication) -> Receipt {
        self.taken.lock().expect("no panic").push(publication);
        let (sender, receipt) = Receipt::channel();
        sender.send(self.answer).expect("the receipt is here");
        receipt
    }
}

fn sink(answer: Result<(), NotTaken>) -> BrokerSink<FakeBroker> {
    let broker = FakeBroker { answer, taken: Mutex::default() };
    let topics = Topics::new(&"shop".parse().expect("a name"));
    BrokerSink { broker, topics, name: "bridge".to_owned() }
}

fn push(registry: Option<&str>, tag: Option<&str>, digest: Option<&[u8]>) -> Push {
    let (registry, tag) = (registry.map(str::to_owned), tag.map(str::to_owned));
    Push { registry, repository: "shop/till".to_owned(), tag, digest: digest.map(Digest::of) }
}

async fn take(
    answer: Result<(), NotTaken>,
    news: WebhookNews,
) -> (Result<(), SinkError>, Vec<Publication>) {
    let sink = sink(answer);
    let taken = sink.take("ci", news).await;
    (taken, sink.broker.taken.into_inner().expect("no panic"))
}

#[tokio::test]
async fn a_reference_is_announced_once_with_its_last_digest() {
    let (host, tag) = (Some("registry:443"), Some("v1"));
    let pushes = vec![
        push(host, tag, Some(b"a")),
        push(host, tag, Some(b"b")),
        push(None, tag, None),
        push(host, None, None),
        push(host, Some("v2"), None),
    ];
    let (taken, publications) = take(Ok(()), WebhookNews::Pushed(pushes)).await;
    assert_eq!(taken, Ok(()));
    let payloads: Vec<Value> =
        publications.iter().map(|it| serde_json::from_slice(&it.payload).expect("JSON")).collect();
    let of = |reference: &str| payloads.iter().find(|it| it["ref"] == reference).cloned();
    assert_eq!(payloads.len(), 2);
    let first = of("registry:443/shop/till:v1").expect("an announcement");
    assert_eq!(first["digest"], Digest::of(b"b").as_str());
    assert_eq!(first["by"], "bridge (ci)");
    assert_eq!(of("registry:443/shop/till:v2").expect("an announcement").get("digest"), None);
    assert!(publications.iter().all(|it| it.is_retained && it.expiry.is_some()));
    assert!(publications.iter().all(|it| it.topic.starts_with("pilotfish/1/shop/announce/")));
}

#[tokio::test]
async fn a_build_has_its_own_topic() {
    let url = Some("https://ci.example.com/1".to_owned());
    let build = Build { name: "till".to_owned(), ok: false, url };
    let (taken, publications) = take(Ok(()), WebhookNews::Built(build)).await;
    assert_eq!(taken, Ok(()));
    assert_eq!(publications[0].topic, "pilotfish/1/shop/build/till");
    let wrong = Build { name: "a/b".to_owned(), ok: true, url: None };
    let (taken, publications) = take(Ok(()), WebhookNews::Built(wrong)).await;
    assert!(matches!(taken, Err(SinkError::Unwanted(_))) && publications.is_empty());
}

#[tokio::test]
async fn a_webhook_counts_only_after_the_broker_took_it() {
    let pushed = || WebhookNews::Pushed(vec![push(Some("registry:443"), Some("v1"), None)]);
    for (answer, is_taken) in [
        (Ok(()), true),
        (Err(NotTaken::Replaced), true),
        (Err(NotTaken::Away), false),
        (Err(NotTaken::TooMany), false),
        (Err(NotTaken::Refused(ReasonCode::NOT_AUTHORIZED)), false),
    ] {
        let (taken, _) = take(answer, pushed()).await;
        assert_eq!(taken.is_ok(), is_taken, "{answer:?}");
        assert!(is_taken || matches!(taken, Err(SinkError::Busy { .. })), "{taken:?}");
    }
    let unnamed = WebhookNews::Pushed(vec![push(None, Some("v1"), None)]);
    let (taken, _) = take(Ok(()), unnamed).await;
    assert!(matches!(taken, Err(SinkError::Unwanted(_))), "{taken:?}");
}
