//! What a device tells Home Assistant, and what Home Assistant can do.

use std::fs;

use serde_json::{Value, json};

use crate::member::{Member, Operator, settings};
use crate::support::broker::Mosquitto;
use crate::support::images::Release;

const CONFIG: &str = "homeassistant/device/till-1/config";
const ROW: &str = "device/till-1/container/till";
const ON: &str = "commands = true\nhome_assistant = \"homeassistant\"";

/// A device that may describe itself, and a client with the rights of Home Assistant.
fn device() -> (Member, Mosquitto, Operator) {
    let mut broker = None;
    let member = Member::new("till-1", &mut broker, &["till-1", "home-assistant"], ON);
    let broker = broker.expect("a broker");
    let acl = broker.path("pilotfish.acl");
    let text = fs::read_to_string(&acl).expect("an ACL");
    let line = "pattern write homeassistant/device/%u/config";
    let open = text.replace(&format!("#{line}"), line);
    assert_ne!(text, open, "the shipped ACL lacks `#{line}`");
    fs::write(&acl, open).expect("an ACL");
    broker.reload();
    let filters = ["homeassistant/#", "pilotfish/1/home/device/#"];
    let home_assistant = Operator::with_filters(&broker, "home-assistant", &filters);
    (member, broker, home_assistant)
}

fn release(version: &str) -> Release {
    let release = Release::new(version).with_label("org.opencontainers.image.title", "till");
    release.with_label("org.opencontainers.image.version", version)
}

fn first(all: &[(String, Vec<u8>)], topic: &str) -> Option<usize> {
    all.iter().position(|(other, _)| other == topic)
}

#[test]
fn a_device_describes_itself_after_its_state_and_install_updates() {
    let (mut member, _broker, mut home_assistant) = device();
    member.start();
    member.pi.check("till");

    let config = home_assistant.wait(CONFIG, |it| !it["cmps"]["c-till"].is_null());
    let (row, description) = (first(&home_assistant.all, ROW), first(&home_assistant.all, CONFIG));
    assert!(row.is_some() && row < description, "{row:?} {description:?}");
    let update = &config["cmps"]["c-till"];
    assert_eq!(update["stat_t"], format!("pilotfish/1/home/{ROW}"));
    let row = home_assistant.wait(ROW, |it| it["verdict"] == "up_to_date");
    assert_eq!(row["version"], member.one.digest.as_str()[7..19]);
    assert_eq!(row["latest_version"], row["version"]);

    let two = member.pi.registry.publish("till", &release("2.0"));
    let press = |home_assistant: &Operator, component: &Value, payload: &str| {
        let topic = component["cmd_t"].as_str().expect("a topic");
        let topic = topic.strip_prefix("pilotfish/1/home/").expect("the fleet's");
        let payload = component[payload].as_str().expect("a payload");
        home_assistant.publish(topic, &serde_json::from_str(payload).expect("JSON"));
    };
    press(&home_assistant, &config["cmps"]["check"], "pl_prs");
    let row = home_assistant.wait(ROW, |it| it["verdict"] == "update");
    let latest = format!("2.0 ({})", &two.digest.as_str()[7..19]);
    assert_eq!(row["latest_version"], latest.as_str());
    press(&home_assistant, update, "pl_inst");
    home_assistant.wait(ROW, |it| it["busy"] == true);
    let row = home_assistant.wait(ROW, |it| it["busy"] == false && it["version"] == "2.0");
    assert_eq!((&row["latest_version"], &row["percent"]), (&json!("2.0"), &json!(null)));
    member.pi.assert_settled("till", &two, 1);

    member.pi.registry.publish("till", &release("3.0"));
    press(&home_assistant, &config["cmps"]["check"], "pl_prs");
    let row = home_assistant.wait(ROW, |it| it["verdict"] == "update");
    assert_eq!((&row["version"], &row["latest_version"]), (&json!("2.0"), &json!("3.0")));
    assert_eq!(home_assistant.on(CONFIG).len(), 1, "a change of state is no new description");
}

#[test]
fn what_is_gone_is_removed_also_after_a_restart_and_everything_without_the_setting() {
    let (mut member, broker, mut home_assistant) = device();
    let removed = json!({"p": "update"});
    member.start();
    member.pi.check("till");
    home_assistant.wait(CONFIG, |it| !it["cmps"]["c-till"].is_null());

    member.take_agent().terminate().expect_code(0);
    member.pi.engine.docker(&["rename", "till", "shop.till"]);
    member.start();
    member.pi.check("shop.till");
    let of_new = |it: &Value| {
        let all = it["cmps"].as_object().into_iter().flatten();
        all.filter(|(id, _)| id.starts_with("c--shop_till-")).map(|(_, it)| it.clone()).next()
    };
    let config = home_assistant.wait(CONFIG, |it| it["cmps"]["c-till"] == removed);
    let update = of_new(&config).expect("the new name");
    assert_eq!(update["name"], "shop.till");
    home_assistant.wait_until_gone(ROW);

    member.pi.engine.docker(&["rm", "--force", "shop.till"]);
    member.pi.agent.json(&member.pi.engine, &["check", "--json"]);
    home_assistant.wait(CONFIG, |it| of_new(it).as_ref() == Some(&removed));

    member.take_agent().terminate().expect_code(0);
    let off = settings("till-1", &broker, "commands = true");
    member.pi.agent.set(&member.pi.engine, &off);
    member.start();
    home_assistant.wait_until_gone(CONFIG);
}
