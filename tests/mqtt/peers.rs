//! Peers that are no MQTT 5 broker, or a hostile one: each has its own words, nothing secret is in
//! them, and the client tries again at the stated pace.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pilotfish::broker::{Broker as _, BrokerEvent, BrokerLogin, Loss, NotTaken, Publication};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::peer::{ACCEPTED, Afterwards, FakePeer};
use crate::support::broker::{BrokerClient, subscription};

/// What no message may contain.
const PASSWORD: &str = "opensesame";

/// The base of the pauses; see `reconnect.rs`.
const PAUSE: Duration = Duration::from_millis(100);

/// What a busy machine may add to a pause.
const SLACK: Duration = Duration::from_millis(900);

/// An answer, and what is said about it. A complaint is the reason code of the DISCONNECT that the
/// peer gets (MQTT 5, 3.14.2.1).
struct Case {
    answer: Vec<u8>,
    afterwards: Afterwards,
    words: &'static str,
    complaint: Option<u8>,
}

fn case(answer: &[u8], afterwards: Afterwards, words: &'static str) -> Case {
    Case { answer: answer.to_vec(), afterwards, words, complaint: None }
}

/// An answer that is said after CONNACK, and the code of the complaint.
fn after_connack(answer: &[u8], complaint: u8, words: &'static str) -> Case {
    let answer = [&ACCEPTED[..], answer].concat();
    Case { answer, afterwards: Afterwards::Reads, words, complaint: Some(complaint) }
}

/// The same without a complaint.
fn quiet(answer: &[u8], words: &'static str) -> Case {
    Case { complaint: None, ..after_connack(answer, 0, words) }
}

fn before_connack() -> Vec<Case> {
    use Afterwards::{Closes, Reads};
    vec![
        case(
            &[0x20, 0x02, 0, 1],
            Closes,
            "the broker does not speak MQTT 5; Mosquitto does since 1.6",
        ),
        case(
            &[0x20, 0x02, 0, 0],
            Reads,
            "the broker does not speak MQTT 5; Mosquitto does since 1.6",
        ),
        case(
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            Closes,
            "the broker closed the connection before it accepted this device; its log says why",
        ),
        case(
            &[],
            Closes,
            "the broker closed the connection before it accepted this device; its log says why",
        ),
        case(&[], Reads, "ADDRESS is not a ready broker within 1 s"),
        case(&[0, 0], Reads, "the broker sent what is not MQTT 5: an unknown kind of packet"),
        case(
            &[0x20, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            Reads,
            "the broker sent what is not MQTT 5: a length that has no end",
        ),
        case(
            &[0x20, 0xFF, 0xFF, 0xFF, 0x7F],
            Reads,
            "the broker sent a packet larger than 65536 bytes",
        ),
        case(
            &[0x40, 2, 0, 9],
            Reads,
            "the broker sent what is not MQTT 5: a packet before CONNACK",
        ),
        case(
            &[0x20, 5, 0, 0, 2, 0x24, 0],
            Reads,
            "the broker cannot be used: it does not acknowledge messages (maximum QoS 0)",
        ),
        case(
            &[0x20, 3, 0, 0x9C, 0],
            Closes,
            "the broker refuses the connection: use another server (156), which Pilotfish does not \
             follow: set mqtt.url",
        ),
    ]
}

fn in_a_session() -> Vec<Case> {
    vec![
        after_connack(
            &[0x34, 6, 0, 1, b'a', 0, 1, 0],
            0x81,
            "the broker sent what is not MQTT 5: a message with QoS 2, which was not asked",
        ),
        after_connack(
            &[0x30, 6, 0, 0, 3, 0x23, 0, 1],
            0x81,
            "the broker sent what is not MQTT 5: a topic alias, which was not agreed",
        ),
        after_connack(&ACCEPTED, 0x81, "the broker sent what is not MQTT 5: a second CONNACK"),
        after_connack(
            &[0x40, 2, 0, 9],
            0x81,
            "the broker sent what is not MQTT 5: an answer to no publication",
        ),
        after_connack(
            &[0x30, 3, 0, 0xFF, b'a'],
            0x81,
            "the broker sent what is not MQTT 5: a field longer than its packet",
        ),
        after_connack(
            &[0x30, 4, 0, 1, 0xFF, 0],
            0x81,
            "the broker sent what is not MQTT 5: a text that is not UTF-8",
        ),
        after_connack(
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            0x95,
            "the broker sent a packet larger than 65536 bytes",
        ),
        quiet(&[0xE0, 2, 0x8B, 0], "the broker ended the connection: server shutting down (139)"),
        // The short form.
        quiet(&[0xE0, 1, 0x98], "the broker ended the connection: administrative action (152)"),
        // It answers no SUBSCRIBE.
        quiet(&[], "the broker does not answer any more"),
    ]
}

/// A client with a password, whose times are short.
async fn client(peer: &FakePeer, directory: &TempDir) -> BrokerClient {
    let file = directory.path().join("password");
    std::fs::write(&file, PASSWORD).expect("a password");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its mode");
    let mut settings = peer.settings();
    settings.login = Some(BrokerLogin { username: "robot".to_owned(), password_file: Some(file) });
    settings.subscriptions = vec![subscription("a/#")];
    settings.limits.connect = Duration::from_secs(1);
    settings.limits.answer = Duration::from_millis(300);
    settings.limits.pause = PAUSE;
    // Each failure makes the pause longer.
    settings.limits.good_life = Duration::from_secs(60);
    BrokerClient::start(settings)
}

fn check_words(loss: &Loss, words: &str, peer: &FakePeer) {
    let expected = words.replace("ADDRESS", &peer.address.to_string());
    assert_eq!(loss.to_string(), expected);
    assert!(!format!("{loss} {loss:?}").contains(PASSWORD));
}

async fn check(case: Case) {
    let directory = TempDir::new().expect("a directory");
    let peer = FakePeer::start(case.answer.clone(), case.afterwards).await;
    let mut client = client(&peer, &directory).await;
    check_words(&client.loss().await, case.words, &peer);
    while peer.pauses().len() < 3 {
        if let Some(event) = client.next_within(Duration::from_millis(10)).await {
            let was_told =
                matches!(&event, BrokerEvent::Lost(_)) && !case.answer.starts_with(&ACCEPTED);
            assert!(!was_told, "{event:?} was told before");
        }
    }
    // An attempt itself may take all its time.
    let life = if case.answer.is_empty() { Duration::from_secs(1) } else { Duration::ZERO };
    let limits = [1, 2, 4].map(|factor| PAUSE * factor + SLACK + life);
    let pauses = peer.pauses();
    let is_in_time = pauses.iter().zip(limits).all(|(pause, limit)| *pause <= limit);
    assert!(is_in_time, "{}: {pauses:?}", case.words);
    if let Some(code) = case.complaint {
        let heard = peer.heard();
        let last = heard.first().expect("an ended connection");
        let expected: &[u8] = &[0xE0, 0x02, code, 0x00];
        let short = [0xE0, 0x01, code];
        assert!(last.ends_with(expected) || last.ends_with(&short), "{}: {last:?}", case.words);
    }
}

/// All cases at the same time, because each of them waits most of its time.
async fn check_all(cases: Vec<Case>) {
    let mut checks: JoinSet<()> = cases.into_iter().map(check).collect();
    while let Some(done) = checks.join_next().await {
        done.expect("a case");
    }
}

#[tokio::test]
async fn a_peer_that_is_no_broker_is_told_once_and_tried_again() {
    check_all(before_connack()).await;
}

#[tokio::test]
async fn a_hostile_broker_hears_what_is_wrong_and_is_tried_again() {
    check_all(in_a_session()).await;
}

#[tokio::test]
async fn a_refused_client_waits_an_hour() {
    let directory = TempDir::new().expect("a directory");
    let words = "the broker refuses the connection: not authorized (135); check user, password and \
                 the grants of this device; the next attempt is in an hour";
    let peer = FakePeer::start(vec![0x20, 3, 0, 0x87, 0], Afterwards::Closes).await;
    let mut client = client(&peer, &directory).await;
    check_words(&client.loss().await, words, &peer);
    sleep(20 * PAUSE).await;
    assert!(peer.pauses().is_empty());
    client.leave().await;
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_left_and_publications_are_away() {
    let peer = FakePeer::start(ACCEPTED.to_vec(), Afterwards::Reads).await;
    let mut settings = peer.settings();
    settings.limits.answer = Duration::from_millis(300);
    let mut client = BrokerClient::connect(settings).await;
    let receipt = client.broker.publish(Publication {
        topic: "a".to_owned(),
        payload: b"1".to_vec(),
        is_retained: false,
        expiry: None,
    });
    assert_eq!(client.loss().await, Loss::Silent);
    assert_eq!(receipt.await, Err(NotTaken::Away));
    client.connected().await;
}
