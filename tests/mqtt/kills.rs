//! The broker dies again and again: what the client publishes after each connection is what the
//! broker retains.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pilotfish::broker::{Broker as _, NotTaken, Publication, Receipt};

use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto};

/// From CONNACK until the broker retains everything.
const STATE_TIMEOUT: Duration = Duration::from_secs(2);

/// The rows of a device with so many containers.
const CONTAINERS: usize = 20;

/// The state of a device in one round. Every payload is another one in each round.
fn state(round: usize) -> BTreeMap<String, String> {
    let top = "pilotfish/1/home/device/pi-1";
    let row = |number| (format!("{top}/container/c{number}"), format!("row {number} of {round}"));
    let mut state: BTreeMap<_, _> = (0..CONTAINERS).map(row).collect();
    state.insert(format!("{top}/online"), format!("online {round}"));
    state.insert(format!("{top}/agent"), format!("agent {round}"));
    state
}

fn publish(client: &BrokerClient, state: &BTreeMap<String, String>) -> Vec<Receipt> {
    let one = |(topic, payload): (&String, &String)| {
        client.broker.publish(Publication {
            topic: topic.clone(),
            payload: payload.clone().into_bytes(),
            is_retained: true,
            expiry: None,
        })
    };
    state.iter().map(one).collect()
}

/// What the broker retains for a new subscriber.
async fn retained(broker: &Mosquitto, count: usize) -> BTreeMap<String, String> {
    let filters = ["pilotfish/1/home/device/#"];
    let mut operator = BrokerClient::connect(broker.subscriber("operator", &filters)).await;
    let mut found = BTreeMap::new();
    while found.len() < count {
        let message = operator.message().await;
        assert!(message.is_retained, "{message:?}");
        let payload = String::from_utf8(message.payload).expect("text");
        found.insert(message.topic, payload);
    }
    operator.leave().await;
    found
}

/// Kills the broker so often. Every third time it dies while the client publishes.
async fn survive(kills: usize) {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "operator"]);
    let mut device = BrokerClient::connect(broker.settings("pi-1")).await;
    let mut slowest = Duration::ZERO;
    for round in 0..kills {
        if round % 3 == 0 {
            publish(&device, &state(usize::MAX));
        }
        broker.kill();
        broker.start_again();
        device.connected().await;
        let connected_at = Instant::now();
        let expected = state(round);
        for receipt in publish(&device, &expected) {
            // The connection before may end only now, and then the next one must tell everything.
            assert!(matches!(receipt.await, Ok(())), "round {round}");
        }
        assert_eq!(retained(&broker, expected.len()).await, expected, "round {round}");
        slowest = slowest.max(connected_at.elapsed());
        assert!(slowest < STATE_TIMEOUT, "round {round} took {slowest:?}");
    }
    println!("{kills} kills; from CONNACK to the whole state {slowest:?} at most");
    device.leave().await;
}

#[tokio::test]
async fn after_each_of_a_hundred_kills_the_broker_has_the_whole_state() {
    survive(100).await;
}

#[tokio::test]
#[ignore = "takes minutes: `make test-mqtt`"]
async fn after_each_of_a_thousand_kills_the_broker_has_the_whole_state() {
    survive(1000).await;
}

#[tokio::test]
async fn what_is_published_without_a_broker_is_away_at_once() {
    let mut broker = Mosquitto::start(BrokerKind::Plain, &[]);
    let mut device = BrokerClient::connect(broker.settings("pi-1")).await;
    broker.kill();
    let words = device.loss().await.to_string();
    assert_eq!(words, "the broker closed the connection");
    assert_eq!(device.retain("a", "1").await, Err(NotTaken::Away));
    broker.start_again();
    device.connected().await;
    assert_eq!(device.retain("a", "2").await, Ok(()));
    device.leave().await;
}
