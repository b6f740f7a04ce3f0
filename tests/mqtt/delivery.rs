//! What becomes of messages: receipts, refusals, limits, and the last will.

use std::time::{Duration, Instant};

use pilotfish::broker::{BrokerSettings, LastWill, NotTaken, ReasonCode, RefusedAct};

use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto};

/// The delay of the last will in these tests.
const WILL_DELAY: Duration = Duration::from_secs(1);

/// Long enough to see that nothing comes.
const QUIET_TIME: Duration = Duration::from_millis(300);

/// The largest packet that the shipped configuration accepts.
const PACKET_BYTES_MAX: usize = 65_536;

const ONLINE: &str = "pilotfish/1/home/device/pi-1/online";
const STOP: &str = "pilotfish/1/home/stop";
const EVENT: &str = "pilotfish/1/home/device/pi-1/event";

fn with_will(mut settings: BrokerSettings) -> BrokerSettings {
    let (topic, payload) = (ONLINE.to_owned(), b"offline".to_vec());
    settings.last_will = Some(LastWill { topic, payload, is_retained: true, delay: WILL_DELAY });
    settings
}

#[tokio::test]
async fn the_last_will_comes_after_its_delay_and_only_if_the_device_stays_away() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let settings = with_will(broker.settings("pi-1"));
    let mut operator = BrokerClient::connect(broker.subscriber("operator", &[ONLINE])).await;
    BrokerClient::connect(settings.clone()).await.vanish().await;
    let back = BrokerClient::connect(settings.clone()).await;
    let longer = WILL_DELAY + 3 * QUIET_TIME;
    assert_eq!(operator.next_within(longer).await, None, "it came back in time");
    let gone_at = Instant::now();
    back.vanish().await;
    let will = operator.message().await;
    // The broker counts whole seconds.
    assert!(gone_at.elapsed() + Duration::from_secs(1) > WILL_DELAY, "{:?}", gone_at.elapsed());
    assert_eq!(will.payload, b"offline");
    BrokerClient::connect(settings).await.leave().await;
    assert_eq!(operator.next_within(longer).await, None, "it left in good order");
}

#[tokio::test]
async fn a_clean_start_brings_nothing_of_the_time_before() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let filters = ["pilotfish/1/home/command/pi-1/+"];
    // With the last will the broker keeps the session for a while, and queues for it.
    let settings = with_will(broker.subscriber("pi-1", &filters));
    BrokerClient::connect(settings.clone()).await.vanish().await;
    let operator = BrokerClient::connect(broker.settings("operator")).await;
    let command = "pilotfish/1/home/command/pi-1/check";
    assert_eq!(operator.publish(command, "old").await, Ok(()));
    let mut device = BrokerClient::connect(settings).await;
    assert_eq!(operator.publish(command, "new").await, Ok(()));
    assert_eq!(device.message().await.payload, b"new");
    device.leave().await;
}

#[tokio::test]
async fn each_message_says_whether_it_was_sent_to_be_kept() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let operator = BrokerClient::connect(broker.settings("operator")).await;
    let filters = ["pilotfish/1/home/command/pi-1/+"];
    let mut device = BrokerClient::connect(broker.subscriber("pi-1", &filters)).await;
    for retain in [false, true] {
        let topic = "pilotfish/1/home/command/pi-1/update";
        let sent = if retain {
            operator.retain(topic, "x").await
        } else {
            operator.publish(topic, "x").await
        };
        assert_eq!(sent, Ok(()));
        assert_eq!(device.message().await.is_retained, retain);
    }
    device.leave().await;
}

#[tokio::test]
async fn a_refused_topic_has_its_receipts_and_is_told_once() {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let mut device = BrokerClient::connect(broker.settings("pi-1")).await;
    let refused = Err(NotTaken::Refused(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(device.publish(STOP, "{}").await, refused);
    assert_eq!(device.publish(STOP, "{}").await, refused);
    let told = (RefusedAct::Publish, STOP.to_owned(), ReasonCode::NOT_AUTHORIZED);
    assert_eq!(device.refusal().await, told);
    assert_eq!(device.next_within(QUIET_TIME).await, None);
    assert_eq!(device.publish(EVENT, "{}").await, Ok(()));
    broker.stop();
    broker.start_again();
    device.connected().await;
    assert_eq!(device.publish(STOP, "{}").await, refused);
    assert_eq!(device.next_within(QUIET_TIME).await, None, "a new connection is no news");
    device.leave().await;
}

#[tokio::test]
async fn dynamic_security_refuses_a_subscription_and_an_acl_does_not() {
    let filters = ["pilotfish/1/home/announce/+", "pilotfish/1/home/device/+/online"];
    let broker = Mosquitto::start(BrokerKind::DynamicSecurity, &["pi-1"]);
    let mut device = BrokerClient::start(broker.subscriber("pi-1", &filters));
    let told = (RefusedAct::Subscribe, filters[1].to_owned(), ReasonCode::NOT_AUTHORIZED);
    assert_eq!(device.refusal().await, told);
    assert_eq!(
        device.next_within(QUIET_TIME).await,
        Some(pilotfish::broker::BrokerEvent::Subscribed)
    );
    device.leave().await;
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1"]);
    let mut device = BrokerClient::connect(broker.subscriber("pi-1", &filters)).await;
    assert_eq!(device.next_within(QUIET_TIME).await, None);
    device.leave().await;
}

#[tokio::test]
async fn the_largest_packet_is_taken_and_a_larger_one_is_refused_here() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let mut operator = BrokerClient::connect(broker.subscriber("operator", &[EVENT])).await;
    let mut device = BrokerClient::connect(broker.settings("pi-1")).await;
    // Beside the payload: kind and length 4, length of the topic 2, identifier 2, properties 1.
    let largest = "x".repeat(PACKET_BYTES_MAX - 4 - 2 - EVENT.len() - 2 - 1);
    assert_eq!(device.publish(EVENT, &largest).await, Ok(()));
    assert_eq!(operator.message().await.payload.len(), largest.len());
    let too_large = Err(NotTaken::Refused(ReasonCode::TOO_LARGE));
    assert_eq!(device.publish(EVENT, &format!("{largest}x")).await, too_large);
    assert_eq!(
        device.refusal().await,
        (RefusedAct::Publish, EVENT.to_owned(), ReasonCode::TOO_LARGE)
    );
    assert_eq!(device.publish(EVENT, "still here").await, Ok(()));
    assert_eq!(operator.message().await.payload, b"still here");
    device.leave().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_for_the_device_never_reaches_it() {
    // This broker has no limit of its own.
    let broker = Mosquitto::start(BrokerKind::Plain, &[]);
    let mut device = BrokerClient::connect(broker.subscriber("pi-1", &["a/+"])).await;
    let other = BrokerClient::connect(broker.settings("other")).await;
    assert_eq!(other.publish("a/large", &"x".repeat(2 * PACKET_BYTES_MAX)).await, Ok(()));
    assert_eq!(other.publish("a/small", "y").await, Ok(()));
    let message = device.message().await;
    assert_eq!((message.topic.as_str(), message.payload.as_slice()), ("a/small", b"y".as_slice()));
    device.leave().await;
}
