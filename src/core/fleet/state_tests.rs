//! The state of a device: messages in, turns and messages out.

use serde_json::json;

use super::*;
use crate::core::fleet::rollout::Patience;

const ZERO: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

fn reference() -> Reference {
    "registry:443/shop/till:v1".parse().expect("a reference")
}

fn key() -> String {
    ReferenceKey::of(&reference()).expect("a tag").as_str().to_owned()
}

fn membership(index: u32, waves: Option<&str>) -> FleetMembership {
    let device: DeviceName = format!("pi-{index}").parse().expect("a name");
    let roster = Roster::new(10, device.clone(), None).expect("a roster");
    let rollout = waves.map(|waves| {
        let waves = waves.parse().expect("waves");
        Rollout::new(roster.clone(), waves, Patience::default()).expect("a rollout")
    });
    let fleet = "shop".parse().expect("a name");
    FleetMembership {
        fleet,
        device,
        takes_commands: true,
        discovery_prefix: None,
        roster: Some(roster),
        rollout,
    }
}

fn state(index: u32, waves: Option<&str>) -> FleetState {
    let mut state = FleetState::new(membership(index, waves), FleetMemory::default(), ZERO);
    state.follow([&reference()]);
    state
}

fn deliver(
    state: &mut FleetState,
    topic: &str,
    payload: &[u8],
    is_retained: bool,
) -> Result<Effect, IgnoredMessage> {
    let topic = format!("pilotfish/1/shop/{topic}");
    let (delivery, now) = (Delivery { topic: &topic, payload, is_retained }, state.counted);
    state.receive(delivery, |_| KnownDigests::default(), now)
}

fn send(state: &mut FleetState, outgoing: &Outgoing) -> Result<Effect, IgnoredMessage> {
    deliver(state, &outgoing.topic.to_string(), &outgoing.payload, true)
}

/// The canary of a digest in a fleet of 10 with the waves `canary`, and another device.
fn canary_and_other(digest: &Digest) -> (u32, u32) {
    let is_canary = |index: &u32| {
        state(*index, Some("canary")).turn(&reference(), digest, ZERO).turn == Turn::Now
    };
    let canary = (0..10).find(is_canary).expect("a canary");
    (canary, (canary + 1) % 10)
}

#[test]
fn the_description_under_an_earlier_prefix_is_left_until_the_next_connection() {
    let with = |prefix: Option<&str>, memory: FleetMemory| {
        let discovery_prefix = prefix.map(str::to_owned);
        FleetState::new(FleetMembership { discovery_prefix, ..membership(1, None) }, memory, ZERO)
    };
    let connected = |mut state: FleetState| {
        state.note_broker(true);
        state
    };
    let state = with(Some("homeassistant"), FleetMemory::default());
    assert_eq!(state.discovery_left(), None);
    let state = connected(state);
    assert!(state.must_be_saved());
    assert_eq!(state.discovery_left(), None);
    let json = serde_json::to_string(state.memory()).expect("JSON");
    let memory = || serde_json::from_str::<FleetMemory>(&json).expect("a memory");

    assert!(!connected(with(Some("homeassistant"), memory())).must_be_saved());
    for other in [None, Some("home")] {
        let state = with(other, memory());
        assert_eq!(state.discovery_left(), Some("homeassistant"));
        assert_eq!(connected(state).discovery_left(), None);
    }
}

#[test]
fn a_canary_tells_and_the_others_follow_or_stay() {
    let digest = Digest::of(b"image");
    let (canary, other) = canary_and_other(&digest);
    let image = Cause::image("exited with code 1");
    for (ended, hold) in [
        ((Outcome::Updated, None), Some("waiting_for_canaries")),
        ((Outcome::RolledBack, Some(&image)), Some("fleet_refused")),
    ] {
        let (mut first, mut second) = (state(canary, Some("canary")), state(other, Some("canary")));
        let now = HOUR;
        for state in [&mut first, &mut second] {
            state.note_broker(true);
        }
        let waiting = second.turn(&reference(), &digest, now);
        assert_eq!(waiting.turn.hold().map(|it| it.word()), Some("waiting_for_canaries"));
        let told = first.note_ended(&reference(), &digest, ended).expect("a verdict");
        assert_eq!(first.verdicts(), std::slice::from_ref(&told));
        assert_eq!(send(&mut second, &told), Ok(Effect::AskTurns));
        // The release counts from the message, although the device asks later.
        let now = now + HOUR / 12;
        let found = second.turn(&reference(), &digest, now);
        assert_eq!(found.turn.hold().map(|it| it.word()), hold, "{}", found.detail());
        let now = now + HOUR / 8;
        let found = second.turn(&reference(), &digest, now).turn;
        assert_eq!(found == Turn::Now, ended.0 == Outcome::Updated, "{found:?}");
        // Another digest begins again, and a person may go on with this one.
        assert_ne!(second.turn(&reference(), &Digest::of(b"next"), now).turn.hold(), None);
        second.allow(&reference(), &digest);
        assert_eq!(second.turn(&reference(), &digest, now).turn, Turn::Now);
    }
}

#[test]
fn a_restart_keeps_the_time_the_stop_and_the_verdict() {
    let digest = Digest::of(b"image");
    let (canary, other) = canary_and_other(&digest);
    let mut first = state(other, Some("day"));
    first.turn(&reference(), &digest, ZERO);
    first.advance_to(HOUR / 2);
    let stop = json!({"v": 1, "refs": ["*"], "why": "bad day"}).to_string();
    assert_eq!(deliver(&mut first, "stop", stop.as_bytes(), true), Ok(Effect::AskTurns));
    assert_eq!(deliver(&mut first, "stop", stop.as_bytes(), true), Ok(Effect::Nothing));
    first.advance_to(HOUR);
    assert!(first.must_be_saved());
    let restarted = |state: &FleetState| {
        let json = serde_json::to_string(state.memory()).expect("JSON");
        let mut again = FleetState::new(
            state.membership.clone(),
            serde_json::from_str(&json).expect("a memory"),
            ZERO,
        );
        again.follow([&reference()]);
        again
    };
    let mut again = restarted(&first);
    assert!(!again.must_be_saved());
    assert_eq!(again.stopped_for(), Some(HOUR / 2));
    let report = again.turn(&reference(), &digest, ZERO);
    assert_eq!(report.detail(), "the fleet is stopped: bad day");
    assert_eq!(report.stage.map(|stage| stage.elapsed), Some(HOUR));
    let lift = br#"{"v":1,"refs":[]}"#;
    assert_eq!(deliver(&mut again, "stop", lift, false), Ok(Effect::AskTurns));
    assert_eq!(again.stopped_for(), None);
    let mut first = state(canary, Some("canary"));
    first.note_ended(&reference(), &digest, (Outcome::Updated, None)).expect("a verdict");
    assert_eq!(restarted(&first).verdicts(), first.verdicts());
    first.follow([]);
    assert!(first.verdicts().is_empty() && first.must_be_saved());
}

#[test]
fn without_waves_only_a_stop_holds() {
    let digest = Digest::of(b"image");
    let mut state = state(3, None);
    assert_eq!(
        state.turn(&reference(), &digest, ZERO),
        TurnReport { turn: Turn::Now, stage: None }
    );
    assert_eq!(state.note_ended(&reference(), &digest, (Outcome::Updated, None)), None);
    assert!(!state.must_be_saved());
    let other = br#"{"v":1,"refs":["registry:443/shop/till:v2"]}"#;
    deliver(&mut state, "stop", other, true).expect("a stop");
    assert_eq!(state.turn(&reference(), &digest, ZERO).turn, Turn::Now);
    let this = br#"{"v":1,"refs":["registry:443/shop/till:v1"],"by":"ann"}"#;
    deliver(&mut state, "stop", this, true).expect("a stop");
    assert_eq!(state.turn(&reference(), &digest, ZERO).detail(), "the fleet is stopped by ann");
}

#[test]
fn a_message_has_an_effect_or_a_reason() {
    let (key, other) = (key(), "0123456789abcdef");
    let announce = format!("announce/{key}");
    let announcement = json!({"v": 1, "ref": reference().to_string()}).to_string();
    let elsewhere = json!({"v": 1, "ref": "nginx:1"}).to_string();
    let elsewhere_key = ReferenceKey::of(&"nginx:1".parse().expect("a reference"));
    let elsewhere_topic = format!("announce/{}", elsewhere_key.expect("a tag").as_str());
    let verdict = |digest: &str| {
        json!({"v": 1, "ref": reference().to_string(), "digest": digest, "ok": true}).to_string()
    };
    let (good, bad) = (verdict(Digest::of(b"x").as_str()), verdict("sha256:0"));
    let large = format!("{announcement}{}", " ".repeat(65_536));
    let deep = format!(r#"{{"v":1,"ref":{}"#, "[".repeat(10_000));
    let rows: [(&str, &[u8], bool, &str); 20] = [
        (&announce, announcement.as_bytes(), true, "look"),
        (&announce, announcement.as_bytes(), true, "repeated"),
        (&announce, b"", true, "nothing"),
        (&announce, large.as_bytes(), true, "too_large"),
        (&announce, deep.as_bytes(), true, "not_json"),
        (&announce, b"\xff\xfe", true, "not_utf8"),
        (&announce, b"{\"v\":2}", true, "unknown_version"),
        (&announce, elsewhere.as_bytes(), true, "wrong_topic"),
        (&elsewhere_topic, elsewhere.as_bytes(), true, "not_followed"),
        (&format!("verdict/{key}/bridge-ci"), good.as_bytes(), true, "no_vote"),
        (&format!("verdict/{key}/pi-11"), good.as_bytes(), true, "no_vote"),
        (&format!("verdict/{key}/pi-1"), bad.as_bytes(), true, "wrong_shape"),
        (&format!("verdict/{key}/pi-\u{7}"), good.as_bytes(), true, "unknown_topic"),
        (&format!("verdict/{other}/pi-1"), b"", true, "not_followed"),
        ("command/pi-3/check", b"{\"v\":1,\"id\":\"a\"}", true, "retained_command"),
        ("command/pi-3/check", b"{\"v\":1,\"id\":\"a\"}", false, "command"),
        ("command/pi-3/check", b"{\"v\":1,\"id\":\"a\"}", false, "repeated_command"),
        ("command/pi-4/check", b"{\"v\":1}", false, "unknown_topic"),
        ("device/pi-4/online", b"{\"v\":1,\"state\":\"online\",\"boot\":1}", true, "unknown_topic"),
        ("nonsense", b"", false, "unknown_topic"),
    ];
    let mut state = state(3, Some("canary"));
    for (topic, payload, is_retained, expected) in rows {
        let word = match deliver(&mut state, topic, payload, is_retained) {
            Ok(Effect::Nothing) => "nothing",
            Ok(Effect::Look(..)) => "look",
            Ok(Effect::NoLook(why)) => why.word(),
            Ok(Effect::Command(_)) => "command",
            Ok(Effect::AskTurns) => "ask",
            Err(ignored) => ignored.word(),
        };
        assert_eq!(word, expected, "{topic}");
    }
}

#[test]
fn commands_and_verdicts_are_read_only_if_the_settings_say_so() {
    let unread = Err(IgnoredMessage::Message(MessageError::UnknownTopic));
    let mut membership = membership(3, None);
    membership.takes_commands = false;
    let mut state = FleetState::new(membership, FleetMemory::default(), ZERO);
    state.follow([&reference()]);
    assert_eq!(deliver(&mut state, "command/pi-3/check", b"{\"v\":1}", false), unread);
    let (key, digest) = (key(), Digest::of(b"x"));
    let verdict = json!({"v": 1, "ref": reference().to_string(), "digest": digest, "ok": false});
    let topic = format!("verdict/{key}/pi-1");
    assert_eq!(deliver(&mut state, &topic, verdict.to_string().as_bytes(), true), unread);
}

#[test]
fn what_is_not_followed_is_forgotten_and_never_early() {
    let digest = Digest::of(b"image");
    let (_, other) = canary_and_other(&digest);
    let mut state = state(other, Some("canary"));
    state.follow([]);
    state.advance_to(HOUR * 1000);
    let turn = state.turn(&reference(), &digest, HOUR * 1000).turn;
    assert!(matches!(turn, Turn::WaitingForCanaries { is_overdue: false, .. }), "{turn:?}");
    assert_eq!(state.memory(), &FleetMemory::default());
    let many: Vec<Reference> =
        (0..2000).map(|it| format!("till:v{it}").parse().expect("a reference")).collect();
    state.follow(&many);
    assert_eq!(state.followed.len(), FOLLOWED_MAX);
}
