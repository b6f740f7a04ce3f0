//! Messages: what is encoded is read again, and each kind of wrong payload has its reason.

use serde_json::json;

use super::*;
use crate::core::docker::reference::Digest;
use crate::core::fleet::message::presence::PresenceState;
use crate::core::fleet::message::stop::{STOP_REFERENCES_MAX, StopScope};
use crate::core::fleet::topic::{CommandKind, whole_name};
use crate::core::subject::Subject;

fn reference() -> Reference {
    "registry:443/shop/till:v1".parse().expect("a reference")
}

fn key() -> ReferenceKey {
    ReferenceKey::of(&reference()).expect("a tag")
}

fn device() -> DeviceName {
    "till-07".parse().expect("a device")
}

fn verdict(why: &str) -> FleetVerdict {
    let digest = Digest::of(b"image");
    FleetVerdict { reference: reference(), digest, ok: false, why: Some(why.to_owned()) }
}

fn read(topic: &Topic, document: &serde_json::Value) -> Result<Incoming, MessageError> {
    Incoming::read(topic, document.to_string().as_bytes())
}

#[test]
fn what_is_encoded_is_read_again() {
    let name: BuildName = "ci".parse().expect("a name");
    let build = BuildResult { name: name.clone(), ok: true, url: Some("https://ci/1".into()) };
    let (by, digest) = (Some("bridge-ci".to_owned()), Some(Digest::of(b"image")));
    let announcement = Announcement { reference: reference(), digest, by: by.clone() };
    let bare = Announcement { digest: None, by: None, ..announcement.clone() };
    let verdict = verdict("exited with code 1");
    let presence = |state| DevicePresence { state, boot: 17, version: Some("0.1.0".into()) };
    let online = presence(PresenceState::Online);
    let reply = CommandReply { id: Some("a".into()), ok: false, detail: Some("busy".into()) };
    let announce = Topic::Announce(key());
    let rows = [
        (announce.clone(), announcement.encode(), Incoming::Announcement(announcement)),
        (announce, bare.encode(), Incoming::Announcement(bare)),
        (Topic::Build(name), Some(build.encode()), Incoming::Build(build)),
        (
            Topic::Verdict(key(), device()),
            verdict.encode(),
            Incoming::Verdict(device(), verdict.clone()),
        ),
        (
            Topic::Online(device()),
            Some(online.encode()),
            Incoming::Presence(device(), online.clone()),
        ),
        (Topic::Reply(device()), Some(reply.encode()), Incoming::Reply(device(), reply.clone())),
    ];
    for (topic, payload, expected) in rows {
        let payload = payload.expect("a tag");
        assert_eq!(Incoming::read(&topic, &payload), Ok(expected), "{topic}");
    }
    let scopes = [StopScope::Nothing, StopScope::All, StopScope::References(vec![reference()])];
    for scope in scopes {
        let stop = FleetStop { scope, why: Some("bad day".into()), by: by.clone() };
        assert_eq!(Incoming::read(&Topic::Stop, &stop.encode()), Ok(Incoming::Stop(stop)));
    }
}

#[test]
fn the_payloads_are_those_of_the_contract() {
    let text = |payload: Vec<u8>| String::from_utf8(payload).expect("text");
    let digest = Digest::of(b"image");
    assert_eq!(
        text(verdict("x").encode().expect("a tag")),
        format!(
            r#"{{"digest":"{digest}","ok":false,"ref":"registry:443/shop/till:v1","v":1,"why":"x"}}"#
        )
    );
    let stop = FleetStop { scope: StopScope::All, why: None, by: None };
    assert_eq!(text(stop.encode()), r#"{"refs":["*"],"v":1}"#);
    let nginx: Reference = "nginx".parse().expect("a reference");
    assert_eq!(whole_name(&nginx).as_deref(), Some("docker.io/library/nginx:latest"));
    let offline = DevicePresence { state: PresenceState::Offline, boot: 1, version: None };
    assert_eq!(text(offline.encode()), r#"{"boot":1,"state":"offline","v":1}"#);
}

#[test]
fn commands_are_read_as_people_and_home_assistant_send_them() {
    use CommandKind::{Allow, Check, Rollback, Update};
    let web = Some(Subject::container("web"));
    for (kind, payload, id, subject) in [
        (Update, json!({"v": 1, "id": "a", "container": "web"}), Some("a"), web.clone()),
        (Update, json!({"v": 1, "container": "web", "force": true}), None, web.clone()),
        (Rollback, json!({"v": 1, "service": "web"}), None, Some(Subject::service("web"))),
        (Allow, json!({"v": 1, "id": null, "container": "web"}), None, web),
        (Check, json!({"v": 1}), None, None),
        (Update, json!({"v": 1}), None, None),
    ] {
        let command = FleetCommand { kind, id: id.map(str::to_owned), subject };
        let topic = Topic::Command(device(), kind);
        let expected = Ok(Incoming::Command(device(), command.clone()));
        assert_eq!(read(&topic, &payload), expected, "{payload}");
        assert_eq!(Incoming::read(&topic, &command.encode()), expected);
    }
    for (kind, payload) in [
        (Rollback, json!({"v": 1})),
        (Allow, json!({"v": 1, "id": "a"})),
        (Update, json!({"v": 1, "id": "", "container": "web"})),
        (Update, json!({"v": 1, "id": 7, "container": "web"})),
        (Update, json!({"v": 1, "container": "a/b"})),
        (Update, json!({"v": 1, "container": "web", "service": "web"})),
        (Update, json!({"v": 1, "id": "x".repeat(129)})),
    ] {
        let topic = Topic::Command(device(), kind);
        assert_eq!(read(&topic, &payload), Err(MessageError::WrongShape), "{payload}");
    }
}

#[test]
fn each_wrong_payload_has_its_reason() {
    use MessageError::{NotJson, NotUtf8, TooLarge, UnknownVersion, WrongShape, WrongTopic};
    let announce = Topic::Announce(key());
    let long = format!(r#"{{"v":1,"x":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX));
    let deep = format!(r#"{{"v":1,"x":{}}}"#, "[".repeat(1000));
    let closed = format!(r#"{{"v":1,"ref":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let rows: [(&[u8], MessageError); 21] = [
        (long.as_bytes(), TooLarge),
        (b"{\"v\":1,\"ref\":\"\xff\"}", NotUtf8),
        (b"hello", NotJson),
        (b"{\"v\":1", NotJson),
        (b"{\"v\":1} x", NotJson),
        (deep.as_bytes(), NotJson),
        (closed.as_bytes(), WrongShape),
        (b"{}", UnknownVersion),
        (b"{\"v\":2,\"ref\":7}", UnknownVersion),
        (b"{\"v\":\"1\"}", UnknownVersion),
        (b"{\"v\":1,\"v\":2}", UnknownVersion),
        (b"{\"v\":1.0}", UnknownVersion),
        (b"null", UnknownVersion),
        (b"{\"v\":1}", WrongShape),
        (b"{\"v\":1,\"ref\":7}", WrongShape),
        (b"{\"v\":1,\"ref\":\"UPPER\"}", WrongShape),
        (b"{\"v\":1,\"ref\":\"registry:443/shop/till:v1\",\"digest\":\"sha256:x\"}", WrongShape),
        (b"{\"v\":1,\"ref\":\"registry:443/shop/till:v1\",\"by\":[]}", WrongShape),
        (b"{\"v\":1,\"ref\":\"registry:443/shop/till:v2\"}", WrongTopic),
        (b"{\"v\":1,\"ref\":\"till:v1\"}", WrongTopic),
        (b"{\"v\":1,\"ref\":\"a\",\"ref\":\"b\"}", WrongShape),
    ];
    for (payload, expected) in rows {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]);
        assert_eq!(Incoming::read(&announce, payload), Err(expected), "{shown}");
    }
    let pinned = format!("{}@{}", reference(), Digest::of(b"x"));
    assert_eq!(read(&announce, &json!({"v": 1, "ref": pinned})), Err(WrongShape));
    let build = Topic::Build("ci".parse().expect("a name"));
    assert_eq!(read(&build, &json!({"v": 1, "name": "cd", "ok": true})), Err(WrongTopic));
    assert_eq!(Incoming::read(&Topic::Agent(device()), b"{}"), Err(MessageError::UnknownTopic));
}

#[test]
fn every_text_and_list_has_a_limit() {
    let text = reference().to_string();
    let (short, long) = ("ß".repeat(128), "ß".repeat(129));
    let announce = Topic::Announce(key());
    assert!(read(&announce, &json!({"v": 1, "ref": text, "by": short})).is_ok());
    let wrong = Err(MessageError::WrongShape);
    assert_eq!(read(&announce, &json!({"v": 1, "ref": text, "by": long})), wrong);
    let many = vec![text.as_str(); STOP_REFERENCES_MAX + 1];
    assert!(read(&Topic::Stop, &json!({"v": 1, "refs": many[1..]})).is_ok());
    for stop in [
        json!({"v": 1, "refs": many}),
        json!({"v": 1, "refs": "*"}),
        json!({"v": 1}),
        json!({"v": 1, "refs": ["nginx", "A b"]}),
        json!({"v": 1, "refs": ["*"], "why": "x".repeat(501)}),
    ] {
        assert_eq!(read(&Topic::Stop, &stop), wrong, "{stop}");
    }
    // What goes out is cut, so that the reader takes it.
    let verdict = verdict(&"ß".repeat(600));
    let payload = verdict.encode().expect("a tag");
    assert!(Incoming::read(&Topic::Verdict(key(), device()), &payload).is_ok());
}

#[test]
fn an_empty_payload_removes_a_verdict_and_never_lifts_a_stop() {
    let verdict = Topic::Verdict(key(), device());
    assert_eq!(Incoming::read(&verdict, b""), Ok(Incoming::VerdictCleared(key(), device())));
    assert_eq!(Incoming::read(&Topic::Announce(key()), b""), Ok(Incoming::Cleared));
    assert_eq!(Incoming::read(&Topic::Stop, b""), Err(MessageError::NotJson));
}

#[test]
fn no_word_stands_twice() {
    let words: std::collections::BTreeSet<_> =
        MessageError::ALL.iter().map(|it| it.word()).collect();
    assert_eq!(words.len(), MessageError::ALL.len());
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC{0,60}", key_text in "v|ref|refs|id|ok|digest|by") {
        let topics = [Topic::Stop, Topic::Announce(key()), Topic::Verdict(key(), device())];
        for topic in topics {
            let _ = Incoming::read(&topic, text.as_bytes());
            let _ = read(&topic, &json!({"v": 1, &key_text: text}));
        }
    }
}
