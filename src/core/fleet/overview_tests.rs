//! What an observer keeps of the messages of a fleet.

use serde_json::{Value, json};

use super::*;
use crate::core::fleet::overview_rollouts::RolloutCounts;
use crate::core::fleet::topic::Topics;

const ONE: &str = "shop/till:v1";

fn digest(seed: &str) -> Digest {
    Digest::of(seed.as_bytes())
}

/// A fleet that has heard these messages, all of them retained.
fn heard(messages: &[(&str, Value)]) -> FleetOverview {
    let mut fleet = FleetOverview::default();
    messages.iter().for_each(|(topic, payload)| note(&mut fleet, topic, payload, None));
    fleet
}

/// `now` is set for a message that was not retained.
fn note(fleet: &mut FleetOverview, topic: &str, payload: &Value, now: Option<u64>) {
    let topics = Topics::new(&"home".parse().expect("a name"));
    let topic = topics.parse(&format!("pilotfish/1/home/{topic}")).expect("a topic");
    let payload = if payload.is_null() { String::new() } else { payload.to_string() };
    let now_or_zero = Duration::from_secs(now.unwrap_or_default());
    fleet.note(&topic, payload.as_bytes(), now.is_none(), now_or_zero);
}

fn presence(state: &str, boot: u64) -> Value {
    json!({"v": 1, "state": state, "boot": boot, "version": "0.1.0"})
}

fn row(running: &str, offered: &str, verdict: &str, reason: Option<&str>) -> Value {
    json!({
        "v": 1, "container": "till", "image": ONE, "running": digest(running),
        "offered": digest(offered), "verdict": verdict, "reason": reason, "busy": false,
    })
}

fn verdict(of: &str, ok: bool) -> (String, Value) {
    let reference: Reference = ONE.parse().expect("a reference");
    let key = ReferenceKey::of(&reference).expect("a tag");
    (key.as_str().to_owned(), json!({"v": 1, "ref": ONE, "digest": digest(of), "ok": ok}))
}

#[test]
fn devices_and_their_containers_are_counted() {
    let fleet = heard(&[
        ("device/till-10/online", presence("online", 1)),
        ("device/till-10/agent", json!({"v": 1, "watched": 3})),
        ("device/till-10/container/till", row("a", "a", "up_to_date", None)),
        ("device/till-10/service/web", row("a", "b", "held", Some("outside_window"))),
        ("device/till-2/online", presence("offline", 1)),
        ("device/till-2/container/till", row("a", "b", "error", Some("a_word_of_tomorrow"))),
    ]);
    let expected = FleetCounts {
        devices: 2,
        online: 1,
        away: 1,
        containers: 3,
        up_to_date: 1,
        held: 1,
        errors: 1,
        missing: 1,
        ..FleetCounts::default()
    };
    assert_eq!(fleet.counts(), expected);
    let names: Vec<_> = fleet.devices().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["till-2", "till-10"]);
    let attention: Vec<_> = fleet.devices().iter().map(|(_, it)| it.attention()).collect();
    assert_eq!(attention, [Attention::Error, Attention::Held]);
}

#[test]
fn what_is_cleared_is_gone() {
    let mut fleet = heard(&[
        ("device/a/online", presence("online", 1)),
        ("device/a/container/till", row("a", "a", "up_to_date", None)),
    ]);
    note(&mut fleet, "device/a/container/till", &Value::Null, Some(1));
    assert_eq!(fleet.counts().containers, 0);
    note(&mut fleet, "device/a/online", &Value::Null, Some(1));
    assert_eq!(fleet, FleetOverview::default());
}

#[test]
fn only_a_change_that_was_seen_has_a_time() {
    let mut fleet = heard(&[("device/a/online", presence("online", 2))]);
    let of_a = |fleet: &FleetOverview| {
        let (_, device) = fleet.devices()[0];
        (device.is_online() == Some(true), device.changed_at.map(|it| it.as_secs()))
    };
    for (state, boot, now, expected) in [
        ("online", 2, Some(5), (true, None)),
        // A late last will of the agent before.
        ("offline", 1, Some(6), (true, None)),
        ("offline", 2, Some(7), (false, Some(7))),
        ("offline", 2, Some(8), (false, Some(7))),
        ("online", 3, Some(9), (true, Some(9))),
        ("offline", 3, None, (false, None)),
    ] {
        note(&mut fleet, "device/a/online", &presence(state, boot), now);
        assert_eq!(of_a(&fleet), expected, "{state} {boot} {now:?}");
    }
}

#[test]
fn a_reference_with_two_digests_is_a_rollout() {
    let mut busy = row("old", "new", "update", None);
    busy["busy"] = json!(true);
    let mut messages = vec![
        ("device/a/container/till", row("new", "new", "up_to_date", None)),
        ("device/b/container/till", busy),
        ("device/c/container/till", row("old", "new", "held", Some("waiting_for_canaries"))),
        ("device/d/container/till", row("old", "new", "held", Some("fleet_refused"))),
        ("device/e/container/till", row("old", "old", "up_to_date", None)),
        ("device/a/container/web", row("new", "new", "up_to_date", None)),
    ];
    messages[5].1["image"] = json!("shop/web:v1");
    let mut fleet = heard(&messages);
    for (device, of, ok) in [("a", "new", true), ("d", "new", false), ("e", "withdrawn", false)] {
        let (key, payload) = verdict(of, ok);
        note(&mut fleet, &format!("verdict/{key}/{device}"), &payload, None);
    }
    // A name that is no device has no vote.
    let (key, payload) = verdict("new", true);
    note(&mut fleet, &format!("verdict/{key}/bridge"), &payload, None);
    let found: Vec<_> =
        fleet.rollouts().into_iter().map(|it| (it.digest, it.counts, it.is_stopped)).collect();
    let new = RolloutCounts { runs: 1, updating: 1, waiting: 1, refused: 1, ok: 1, bad: 1 };
    let old = RolloutCounts { runs: 4, ..RolloutCounts::default() };
    assert_eq!(found, [(digest("new"), new, false), (digest("old"), old, false)]);
    note(&mut fleet, "stop", &json!({"v": 1, "refs": [ONE]}), None);
    assert!(fleet.rollouts().iter().all(|it| it.is_stopped));
    note(&mut fleet, "stop", &json!({"v": 1, "refs": ["shop/other:v1"]}), None);
    assert!(fleet.rollouts().iter().all(|it| !it.is_stopped));
    note(&mut fleet, "stop", &json!({"v": 1, "refs": []}), None);
    assert_eq!(fleet.stop(), None);
}

#[test]
fn a_stolen_device_fills_only_its_own_limits() {
    let mut fleet = heard(&[("device/good/container/till", row("a", "a", "up_to_date", None))]);
    let mut huge = row("a", "b", "held", Some("x\u{1b}[2J"));
    huge["image"] = json!("i".repeat(40_000));
    huge["detail"] = json!("d".repeat(20_000));
    for number in 0..3 * SUBJECTS_MAX {
        note(&mut fleet, &format!("device/bad/container/c{number}"), &huge, None);
        let (reference, topic) = {
            let text = format!("shop/x{number}:v1");
            let reference: Reference = text.parse().expect("a reference");
            let key = ReferenceKey::of(&reference).expect("a tag");
            (text, format!("verdict/{}/bad", key.as_str()))
        };
        let told = json!({"v": 1, "ref": reference, "digest": digest("a"), "ok": true});
        note(&mut fleet, &topic, &told, None);
    }
    for wrong in [json!("no row"), json!({"v": 2}), json!({"v": 1, "image": ONE})] {
        note(&mut fleet, "device/bad/container/c0", &wrong, None);
    }
    let devices = fleet.devices();
    let (_, bad) = devices.iter().find(|(name, _)| name.as_str() == "bad").expect("the device");
    assert_eq!((bad.subjects.len(), bad.verdicts.len()), (SUBJECTS_MAX, VERDICTS_MAX));
    assert!(bad.has_more);
    assert!(bad.subjects.values().all(|it| it.image.chars().count() <= 512));
    assert_eq!(fleet.ignored(), 2 * 2 * SUBJECTS_MAX as u64 + 3);
    assert_eq!(fleet.counts().devices, 2);
}

#[test]
fn ten_thousand_devices_are_seen_at_once() {
    let mut fleet = FleetOverview::default();
    for number in 0..10_000 {
        let (running, name) = (if number < 100 { "new" } else { "old" }, format!("till-{number}"));
        note(&mut fleet, &format!("device/{name}/online"), &presence("online", 1), None);
        let row = row(running, "new", "held", Some("waiting_for_canaries"));
        note(&mut fleet, &format!("device/{name}/container/till"), &row, None);
    }
    assert_eq!(fleet.counts().devices, 10_000);
    let rollouts = fleet.rollouts();
    assert_eq!((rollouts[0].counts.runs, rollouts[0].counts.waiting), (100, 9_900));
}
