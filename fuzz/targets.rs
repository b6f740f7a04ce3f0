// The fuzzed parsers: everything that reads data of other programs. Each must end without a
// panic and without losing what it read; `tests/corpus.rs` reads the corpus with the same functions.

use pilotfish::broker;
use pilotfish::core::docker::manifest::{
    Document, candidates, parse_configuration, parse_document,
};
use pilotfish::core::docker::reference::{Platform, Reference};
use pilotfish::core::docker::webhook::{self, SenderKind, WebhookContent};
use pilotfish::core::fleet::message::Incoming;
use pilotfish::core::fleet::names::FleetName;
use pilotfish::core::fleet::topic::Topics;
use pilotfish::registry::fuzzing;

/// Parses data of another program.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const ALL: [(&str, Target); 7] = [
    ("reference", reference),
    ("challenge", challenge),
    ("manifest", manifest),
    ("docker_config", docker_config),
    ("notification", notification),
    ("packet", packet),
    ("message", message),
];

/// A parsed reference, printed and parsed again, is the same.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = text.parse::<Reference>() else { return };
    assert_eq!(read.to_string().parse().as_ref(), Ok(&read), "{text:?} became {read}");
}

/// `WWW-Authenticate`.
pub fn challenge(bytes: &[u8]) {
    fuzzing::challenge(bytes);
}

/// Manifests, indexes and configurations.
pub fn manifest(bytes: &[u8]) {
    let wanted = Platform { os: "linux".into(), architecture: "arm".into(), variant: "v7".into() };
    if let Ok(Document::Index(entries)) = parse_document(bytes) {
        assert!(candidates(&entries, &wanted).len() <= entries.len());
    }
    drop(parse_configuration(bytes));
}

/// Docker's `config.json`.
pub fn docker_config(bytes: &[u8]) {
    for registry in ["docker.io", "registry:443", "[::1]:5000"] {
        fuzzing::docker_config(bytes, registry);
    }
}

/// Webhooks, read as those of every kind of sender.
pub fn notification(bytes: &[u8]) {
    for kind in SenderKind::ALL {
        let Ok(read) = webhook::parse(kind, bytes) else { continue };
        let WebhookContent::Pushed(pushed) = read.content else { continue };
        assert!(pushed.len() <= webhook::PUSHES_MAX);
        // `auto` knows it too; it may take it for another kind, and refuse it.
        assert_ne!(webhook::parse(SenderKind::Auto, bytes), Err(webhook::WebhookError::Unknown));
    }
}

/// What an MQTT broker sends.
pub fn packet(bytes: &[u8]) {
    broker::fuzzing::packets(bytes);
}

/// Messages of a fleet: the first line is the topic, the rest is the payload. A topic that is read
/// has the same name when it is written.
pub fn message(bytes: &[u8]) {
    let Ok(fleet) = "home".parse::<FleetName>() else { return };
    let (topics, mut parts) = (Topics::new(&fleet), bytes.splitn(2, |byte| *byte == b'\n'));
    let (Some(name), Some(payload)) = (parts.next(), parts.next()) else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    let Some(topic) = topics.parse(name) else { return };
    assert_eq!(topics.name(&topic), name);
    drop(Incoming::read(&topic, payload));
}
