//! Commands over the broker do what the same command on the device does, once each.

use std::time::Duration;

use serde_json::json;

use crate::member::{Member, Operator, SOON};
use crate::support::agent::scrape;
use crate::support::broker::Mosquitto;
use crate::support::command::wait_until;
use crate::support::images::Release;

fn device(more: &str) -> (Member, Mosquitto) {
    let mut broker = None;
    let mut member = Member::new("till-1", &mut broker, &["till-1", "operator"], more);
    member.start();
    (member, broker.expect("a broker"))
}

#[test]
fn update_rollback_and_allow_are_answered_each_under_its_id() {
    let (member, broker) = device("commands = true");
    let mut operator = Operator::new(&broker);
    let two = member.pi.registry.publish("till", &Release::new("2"));
    let rows = [
        ("update", json!({"v": 1, "id": "1", "container": "till"}), true, "till updated"),
        ("rollback", json!({"v": 1, "id": "2", "container": "till"}), true, "till updated"),
        ("update", json!({"v": 1, "id": "3", "container": "till"}), true, "1 held"),
        ("allow", json!({"v": 1, "id": "4", "container": "till"}), true, "1 refused"),
        ("update", json!({"v": 1, "id": "5", "container": "nobody"}), false, "nobody"),
        ("check", json!({"v": 1, "id": "6"}), true, "1 update"),
    ];
    for (word, payload, ok, detail) in rows {
        operator.publish(&format!("command/till-1/{word}"), &payload);
        let id = payload["id"].clone();
        let reply = operator.wait("device/till-1/reply", |it| it["id"] == id);
        assert_eq!(reply["ok"], ok, "{word}: {reply}");
        let text = reply["detail"].as_str().unwrap_or_default();
        assert!(text.contains(detail), "{word}: {reply}");
    }
    // An ID that was seen does nothing.
    operator.publish("command/till-1/update", &json!({"v": 1, "id": "5", "container": "till"}));
    operator.hear_for(Duration::from_secs(1));
    let replies = operator.on("device/till-1/reply");
    assert_eq!(replies.len(), 6, "{replies:#?}");
    member.pi.assert_settled("till", &member.one, 1);
    assert_eq!(member.pi.check("till")["offered"], two.digest.as_str());
}

#[test]
fn a_retained_command_does_nothing_and_is_told() {
    let (member, broker) = device("commands = true");
    let mut operator = Operator::new(&broker);
    member.pi.registry.publish("till", &Release::new("2"));

    operator.retain("command/till-1/update", &json!({"v": 1, "container": "till"}));

    wait_until("the log tells it", SOON, || member.log().contains("must not be retained"));
    operator.hear_for(Duration::from_secs(1));
    operator.clear("command/till-1/update");
    member.pi.assert_settled("till", &member.one, 1);
    let page = scrape(&member.pi.engine, "/metrics");
    let line = "pilotfish_mqtt_refused_total{reason=\"retained_command\"} 1";
    assert!(page.contains(line), "{page}");
}

#[test]
fn without_the_setting_a_command_does_nothing() {
    let (member, broker) = device("");
    let mut operator = Operator::new(&broker);
    member.pi.registry.publish("till", &Release::new("2"));
    operator.publish("command/till-1/update", &json!({"v": 1, "id": "1", "container": "till"}));
    operator.hear_for(Duration::from_secs(2));
    assert!(operator.on("device/till-1/reply").is_empty());
    member.pi.assert_settled("till", &member.one, 1);
}
