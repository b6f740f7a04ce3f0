//! What a device tells its fleet.

use std::time::Duration;

use serde_json::json;

use crate::member::{Member, Operator, SOON};
use crate::support::agent::scrape;
use crate::support::broker::Mosquitto;
use crate::support::command::wait_until;
use crate::support::images::Release;

fn device(names: &[&str], more: &str) -> (Member, Mosquitto) {
    let mut broker = None;
    let member = Member::new("till-1", &mut broker, names, more);
    (member, broker.expect("a broker"))
}

#[test]
fn a_device_tells_its_state_and_an_update_with_all_its_events() {
    let (mut member, broker) = device(&["till-1", "operator"], "commands = true");
    let mut operator = Operator::new(&broker);

    member.start();

    let online = operator.wait("device/till-1/online", |it| it["state"] == "online");
    assert_eq!((&online["v"], &online["boot"]), (&json!(1), &json!(1)));
    let agent = operator.wait("device/till-1/agent", |it| it["ready"] == true);
    assert_eq!(agent["version"], env!("CARGO_PKG_VERSION"));
    operator.publish("command/till-1/check", &json!({"v": 1, "id": "a"}));
    let row = operator.wait("device/till-1/container/till", |it| it["verdict"] == "up_to_date");
    assert_eq!((&row["busy"], &row["percent"]), (&json!(false), &json!(null)));
    assert_eq!(row["running"], member.one.digest.as_str());
    operator.wait("device/till-1/agent", |it| it["free_bytes"].as_u64() > Some(1_000_000));

    let two = member.pi.registry.publish("till", &Release::new("2"));
    operator.publish("command/till-1/update", &json!({"v": 1, "id": "b", "container": "till"}));
    operator.wait("device/till-1/container/till", |it| it["busy"] == true);
    let reply = operator.wait("device/till-1/reply", |it| it["id"] == "b");
    assert_eq!(reply["ok"], true, "{reply}");
    let row = operator.wait("device/till-1/container/till", |it| {
        it["busy"] == false && it["running"] == two.digest.as_str()
    });
    assert_eq!((&row["verdict"], &row["step"]), (&json!("up_to_date"), &json!(null)));
    member.pi.assert_settled("till", &two, 1);
    let ended = |it: &serde_json::Value| !it["event"]["update_ended"].is_null();
    let event = operator.wait("device/till-1/event", ended);
    assert_eq!(event["event"]["update_ended"]["outcome"], "updated", "{event}");
    let numbers: Vec<_> =
        operator.on("device/till-1/event").iter().map(|it| it["seq"].as_u64()).collect();
    assert!(numbers.len() >= 2 && numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn a_container_that_is_gone_is_cleared_also_after_a_restart() {
    let (mut member, broker) = device(&["till-1", "operator"], "");
    let mut operator = Operator::new(&broker);
    member.start();
    member.pi.check("till");
    operator.wait("device/till-1/container/till", |it| it["verdict"] == "up_to_date");

    member.take_agent().terminate().expect_code(0);
    operator.wait("device/till-1/online", |it| it["state"] == "offline");
    member.pi.engine.docker(&["rename", "till", "kiosk"]);
    member.start();
    member.pi.check("kiosk");

    operator.wait("device/till-1/container/kiosk", |it| it["verdict"] == "up_to_date");
    operator.wait_until_gone("device/till-1/container/till");
    operator.wait("device/till-1/online", |it| it["boot"] == 2 && it["state"] == "online");
    member.pi.engine.docker(&["rm", "--force", "kiosk"]);
    member.pi.agent.json(&member.pi.engine, &["check", "--json"]);
    operator.wait_until_gone("device/till-1/container/kiosk");
}

#[test]
fn a_killed_agent_is_offline_after_a_while_and_a_restarted_one_never_was() {
    let (mut member, broker) = device(&["till-1", "operator"], "");
    let mut operator = Operator::new(&broker);
    member.start();
    operator.wait("device/till-1/online", |it| it["state"] == "online");

    assert!(member.take_agent().kill());
    member.start();
    operator.wait("device/till-1/online", |it| it["boot"] == 2);
    let states: Vec<_> =
        operator.on("device/till-1/online").iter().map(|it| it["state"].clone()).collect();
    assert!(states.iter().all(|state| state == "online"), "{states:?}");

    assert!(member.take_agent().kill());
    operator.wait("device/till-1/online", |it| it["state"] == "offline" && it["boot"] == 2);
}

#[test]
fn a_broker_that_dies_changes_nothing_and_hears_everything_again() {
    let (mut member, mut broker) = device(&["till-1", "operator"], "");
    member.start();
    member.pi.check("till");
    let metric = |page: &str, line: &str| page.lines().any(|it| it == line);
    wait_until("the metric says connected", SOON, || {
        metric(&scrape(&member.pi.engine, "/metrics"), "pilotfish_mqtt_connected 1")
    });

    broker.kill();
    std::fs::remove_file(broker.path("data/mosquitto.db")).ok();
    let two = member.pi.registry.publish("till", &Release::new("2"));
    member.pi.update(&[]).expect_code(0);
    member.pi.assert_settled("till", &two, 1);
    wait_until("the metric says disconnected", SOON, || {
        metric(&scrape(&member.pi.engine, "/metrics"), "pilotfish_mqtt_connected 0")
    });

    broker.start_again();
    let mut operator = Operator::new(&broker);
    let row = operator.wait("device/till-1/container/till", |_| true);
    assert_eq!(row["running"], two.digest.as_str());
    operator.wait("device/till-1/online", |it| it["state"] == "online");
    // The events of the update that nobody could hear.
    operator.wait("device/till-1/event", |it| !it["event"]["update_ended"].is_null());
    let page = scrape(&member.pi.engine, "/metrics");
    assert!(metric(&page, "pilotfish_mqtt_reconnects_total 1"), "{page}");
}

#[test]
fn what_the_acl_forbids_is_told_once_and_counted() {
    let (mut member, broker) = device(&["till-1", "till-2", "operator"], "");
    // A certificate of another name: the broker knows this device as till-2.
    let settings = crate::member::settings("till-2", &broker, "")
        .replace("name = \"till-2\"", "name = \"till-1\"");
    member.pi.agent.set(&member.pi.engine, &settings);
    member.start();
    wait_until("the refusal is told", SOON, || member.log().contains("not authorized (135)"));
    std::thread::sleep(Duration::from_secs(1));
    let log = member.log();
    let line = "the broker refuses a message on pilotfish/1/home/device/till-1/online";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    assert!(log.contains("must also be the name in this device's certificate"), "{log}");
    let page = scrape(&member.pi.engine, "/metrics");
    assert!(page.contains("pilotfish_mqtt_refused_total{reason=\"broker_135\"}"), "{page}");
}

/// A Swarm of one node: the row, the update by a command, and the events are those of a container.
#[test]
fn a_service_of_a_swarm_has_a_row_and_takes_commands_like_a_container() {
    let (mut member, broker) = device(&["till-1", "operator"], "commands = true");
    let mut operator = Operator::new(&broker);
    let docker = |words: &str| member.pi.engine.docker(&words.split(' ').collect::<Vec<_>>());
    docker("swarm init --advertise-addr 127.0.0.1");
    let image = format!("{}@{}", member.one.reference, member.one.digest);
    docker(&format!(
        "service create --detach --name=web --label=pilotfish.enable=true \
         --label=pilotfish.health.stable=2s --no-resolve-image {image}"
    ));
    member.start();
    operator.wait("device/till-1/agent", |it| it["ready"] == true);
    operator.publish("command/till-1/check", &json!({"v": 1, "id": "a"}));
    let row = operator.wait("device/till-1/service/web", |it| it["verdict"] == "up_to_date");
    assert_eq!(row["running"], member.one.digest.as_str(), "{row}");

    let two = member.pi.registry.publish("till", &Release::new("2"));
    let command = json!({"v": 1, "id": "b", "service": "web"});
    operator.publish("command/till-1/update", &command);
    let busy = operator.wait("device/till-1/service/web", |it| it["busy"] == true);
    assert_eq!(busy["v"], 1);
    let reply = operator.wait("device/till-1/reply", |it| it["id"] == "b");
    assert_eq!(reply["ok"], true, "{reply}");
    let ended = |it: &serde_json::Value| it["event"]["update_ended"]["service"] == "web";
    let event = operator.wait("device/till-1/event", ended);
    assert_eq!(event["event"]["update_ended"]["outcome"], "updated", "{event}");
    operator.wait("device/till-1/service/web", |it| {
        it["busy"] == false && it["running"] == two.digest.as_str()
    });
    member.pi.engine.docker(&["service", "rm", "web"]);
    operator.publish("command/till-1/check", &json!({"v": 1, "id": "c"}));
    operator.wait_until_gone("device/till-1/service/web");
}
