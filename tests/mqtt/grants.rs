//! What each role may do, tried with its certificate: with the shipped ACL, and with dynamic
//! security.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use pilotfish::broker::{BrokerEvent, Loss, NotTaken, ReasonCode, RefusedAct};

use crate::support::broker::{BrokerClient, BrokerKind, Mosquitto, shipped};

/// Everybody with a certificate.
const NAMES: [&str; 8] =
    ["pi-1", "pi-2", "bridge", "mirror", "viewer", "operator", "home-assistant", "administrator"];

/// The longest wait for what happens at once.
const SOON: Duration = Duration::from_secs(10);

/// Long enough for all that is retained to arrive.
const QUIET_TIME: Duration = Duration::from_millis(300);

/// A topic, who may write it, and who may read it. Everybody else may not.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const ADMIN: &str = "administrator";
const HA: &str = "home-assistant";
const OPS: &str = "operator";
const VIEW: &str = "viewer";

/// The patterns of the ACL hold for these, too; the roles of dynamic security do not.
const WITH_PATTERNS: [&str; 3] = ["bridge", "mirror", HA];

/// Announcements, which a mirror reads by its own role.
const ANNOUNCED: &str = "pilotfish/1/home/announce/0123456789abcdef";

const ALL: &[&str] = &["pi-1", "pi-2", "bridge", "mirror", VIEW, OPS, HA, ADMIN];

/// The role table of docs/fleet.md.
const ROWS: [Row; 21] = [
    ("pilotfish/1/home/device/pi-1/online", &["pi-1", ADMIN], &[VIEW, OPS, HA, ADMIN]),
    ("pilotfish/1/home/device/pi-1/agent", &["pi-1", ADMIN], &[VIEW, OPS, HA, ADMIN]),
    (
        "pilotfish/1/home/device/pi-1/container/web",
        &["pi-1", ADMIN],
        &["pi-1", VIEW, OPS, HA, ADMIN],
    ),
    ("pilotfish/1/home/device/pi-1/service/web", &["pi-1", ADMIN], &["pi-1", VIEW, OPS, HA, ADMIN]),
    ("pilotfish/1/home/device/pi-1/event", &["pi-1", ADMIN], &[VIEW, OPS, HA, ADMIN]),
    ("pilotfish/1/home/device/pi-1/reply", &["pi-1", ADMIN], &[VIEW, OPS, HA, ADMIN]),
    (
        "pilotfish/1/home/device/pi-2/container/web",
        &["pi-2", ADMIN],
        &["pi-2", VIEW, OPS, HA, ADMIN],
    ),
    ("pilotfish/1/home/verdict/0123456789abcdef/pi-1", &["pi-1", ADMIN], ALL),
    ("pilotfish/1/home/verdict/0123456789abcdef/pi-2", &["pi-2", ADMIN], ALL),
    ("pilotfish/1/home/command/pi-1/check", &[OPS, HA, ADMIN], &["pi-1", VIEW, OPS, ADMIN]),
    ("pilotfish/1/home/command/pi-1/update", &[OPS, HA, ADMIN], &["pi-1", VIEW, OPS, ADMIN]),
    ("pilotfish/1/home/command/pi-1/rollback", &[OPS, ADMIN], &["pi-1", VIEW, OPS, ADMIN]),
    ("pilotfish/1/home/command/pi-1/allow", &[OPS, ADMIN], &["pi-1", VIEW, OPS, ADMIN]),
    ("pilotfish/1/home/command/pi-2/check", &[OPS, HA, ADMIN], &["pi-2", VIEW, OPS, ADMIN]),
    (ANNOUNCED, &["bridge", "mirror", ADMIN], ALL),
    ("pilotfish/1/home/build/till", &["bridge", ADMIN], &[VIEW, OPS, ADMIN]),
    ("pilotfish/1/home/stop", &[OPS, ADMIN], ALL),
    ("pilotfish/1/shop/stop", &[], &[]),
    ("homeassistant/device/pi-1/config", &[HA], &[HA]),
    ("homeassistant/status", &[HA], &[HA]),
    ("elsewhere", &[], &[]),
];

/// Tries to write every topic of the table as every name, then to read all that is retained.
async fn check(kind: BrokerKind) {
    let broker = Mosquitto::start(kind, &NAMES);
    let refused = Err(NotTaken::Refused(ReasonCode::NOT_AUTHORIZED));
    for name in NAMES {
        let mut client = BrokerClient::connect(broker.settings(name)).await;
        for (topic, writers, _) in ROWS {
            let is_granted = writers.contains(&name);
            let expected = if is_granted { Ok(()) } else { refused };
            assert_eq!(client.retain(topic, "x").await, expected, "{name} writes {topic}");
            if !is_granted {
                let told = (RefusedAct::Publish, topic.to_owned(), ReasonCode::NOT_AUTHORIZED);
                assert_eq!(client.refusal().await, told);
            }
        }
        client.leave().await;
    }
    for name in NAMES {
        let filters = match kind {
            BrokerKind::DynamicSecurity => ROWS.map(|(topic, ..)| topic).to_vec(),
            _ => vec!["#"],
        };
        let is_readable = |(topic, _, readers): &&Row| {
            let is_own = name == "mirror" && *topic == ANNOUNCED;
            let is_by_pattern =
                readers.len() == ALL.len() && WITH_PATTERNS.contains(&name) && !is_own;
            readers.contains(&name) && !(is_by_pattern && kind == BrokerKind::DynamicSecurity)
        };
        let expected = ROWS.iter().filter(is_readable).map(|(topic, ..)| (*topic).to_owned());
        let expected: BTreeSet<_> = expected.collect();
        let mut client = BrokerClient::start(broker.subscriber(name, &filters));
        let mut found = BTreeSet::new();
        while let Some(event) = client.next_within(QUIET_TIME).await {
            if let BrokerEvent::Message(message) = event {
                found.insert(message.topic);
            }
        }
        assert_eq!(found, expected, "{name} reads");
        client.leave().await;
    }
}

#[tokio::test]
async fn the_acl_grants_each_role_its_row() {
    check(BrokerKind::Shipped).await;
}

#[tokio::test]
async fn dynamic_security_grants_the_same() {
    check(BrokerKind::DynamicSecurity).await;
}

/// A device that also mirrors: its own topics, and announcements. `pki` says what the ACL needs.
async fn check_mirroring_device(kind: BrokerKind) {
    let mut broker = Mosquitto::stopped(Ipv4Addr::LOCALHOST.into(), kind, &["pi-1", "pi-2"]);
    let said = broker.pki(&["mirroring-device", "pi-1"]);
    let lines = ["user pi-1", "topic write pilotfish/1/home/announce/#"];
    assert!(lines.iter().all(|line| said.contains(&format!("`{line}`"))), "{said}");
    let acl = fs::read_to_string(shipped("pilotfish.acl")).expect("the ACL");
    fs::write(broker.path("pilotfish.acl"), format!("{acl}\n{}\n", lines.join("\n"))).expect("it");
    broker.start_again();
    let mut mirror = BrokerClient::connect(broker.subscriber("pi-1", &[ANNOUNCED])).await;
    assert_eq!(mirror.retain(ANNOUNCED, "x").await, Ok(()));
    match mirror.next_within(SOON).await {
        Some(BrokerEvent::Message(message)) => assert_eq!(message.topic, ANNOUNCED),
        other => panic!("it does not hear what was announced: {other:?}"),
    }
    let refused = Err(NotTaken::Refused(ReasonCode::NOT_AUTHORIZED));
    for (topic, expected) in [
        ("pilotfish/1/home/device/pi-1/agent", Ok(())),
        ("pilotfish/1/home/verdict/0123456789abcdef/pi-1", Ok(())),
        ("pilotfish/1/home/device/pi-2/agent", refused),
        ("pilotfish/1/home/build/till", refused),
        ("pilotfish/1/home/command/pi-2/check", refused),
        ("pilotfish/1/home/stop", refused),
    ] {
        assert_eq!(mirror.publish(topic, "x").await, expected, "{topic}");
    }
    let other = BrokerClient::connect(broker.settings("pi-2")).await;
    assert_eq!(other.publish(ANNOUNCED, "x").await, refused, "only this device mirrors");
    other.leave().await;
    mirror.leave().await;
}

#[tokio::test]
async fn a_device_that_also_mirrors_may_announce_and_nothing_more() {
    check_mirroring_device(BrokerKind::Shipped).await;
    check_mirroring_device(BrokerKind::DynamicSecurity).await;
}

/// A pattern of Mosquitto holds for every user. So verdicts count only from names of devices.
#[tokio::test]
async fn with_the_acl_each_name_may_speak_as_a_device_of_that_name() {
    let broker = Mosquitto::start(BrokerKind::Shipped, &["bridge"]);
    let bridge = BrokerClient::connect(broker.settings("bridge")).await;
    let own = "pilotfish/1/home/verdict/0123456789abcdef/bridge";
    assert_eq!(bridge.publish(own, "x").await, Ok(()));
    bridge.leave().await;
}

#[tokio::test]
async fn topics_of_the_broker_itself_are_closed() {
    let broker = Mosquitto::start(BrokerKind::DynamicSecurity, &["pi-1", "operator"]);
    for name in ["pi-1", "operator"] {
        let client = BrokerClient::connect(broker.settings(name)).await;
        for topic in ["$SYS/broker/uptime", "$CONTROL/dynamic-security/v1"] {
            let sent = client.publish(topic, "{}").await;
            assert_eq!(sent, Err(NotTaken::Refused(ReasonCode::NOT_AUTHORIZED)), "{name} {topic}");
        }
        client.leave().await;
    }
}

#[tokio::test]
async fn a_revoked_device_cannot_come_back_and_a_restart_ends_its_connection() {
    let mut broker = Mosquitto::start(BrokerKind::Shipped, &["pi-1", "pi-2"]);
    let mut thief = BrokerClient::connect(broker.settings("pi-1")).await;
    let mut other = BrokerClient::connect(broker.settings("pi-2")).await;
    let said = broker.pki(&["revoke", "pi-1"]);
    assert!(said.contains("pi-1 is on the revocation list"), "{said}");
    broker.reload();
    // What the page says: the open connection goes on.
    let topic = "pilotfish/1/home/device/pi-1/event";
    assert_eq!(thief.publish(topic, "x").await, Ok(()));
    let mut new = BrokerClient::start(broker.settings("pi-1"));
    let revoked = "the broker says that the certificate of this device is revoked";
    assert_eq!(new.loss().await.to_string(), revoked);
    broker.stop();
    broker.start_again();
    other.connected().await;
    let is_revoked = |loss: Loss| (loss.to_string() == revoked).then_some(());
    while is_revoked(thief.loss().await).is_none() {}
    other.leave().await;
}

/// The plugin ends the connection without a restart. It does not keep a certificate out: Mosquitto
/// does not ask it about clients with certificates. So the revocation list comes first.
#[tokio::test]
async fn dynamic_security_ends_the_connection_of_a_revoked_device() {
    let broker = Mosquitto::start(BrokerKind::DynamicSecurity, &["pi-1", "administrator"]);
    let mut thief = BrokerClient::connect(broker.settings("pi-1")).await;
    let kick = || {
        let arguments = ["dynsec", "disableClient", "pi-1"];
        let said = broker.run_client("mosquitto_ctrl", "administrator", &arguments);
        assert_eq!(said, "");
    };
    kick();
    let ended = "the broker ended the connection: administrative action (152)";
    assert_eq!(thief.loss().await.to_string(), ended);
    thief.connected().await;
    broker.pki(&["revoke", "pi-1"]);
    broker.reload();
    kick();
    assert_eq!(thief.loss().await.to_string(), ended);
    let revoked = "the broker says that the certificate of this device is revoked";
    assert_eq!(thief.loss().await.to_string(), revoked);
}
