//! The agent itself on the manager of a Swarm: what a person types, and what it does by itself.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::{Agent, METRICS_PORT};
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::support::swarm::{Swarm, node_id};
use crate::tables::Tables;

/// Longer than an update of two tables.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(120);

const SETTINGS: &str =
    "every = \"1000h\"\njitter = \"0%\"\n[health]\nstable = \"4s\"\ntimeout = \"12s\"";

fn row(agent: &Agent, swarm: &Swarm) -> Value {
    let document = agent.json(&swarm.manager, &["check", "--json", "--fresh"]);
    let rows = document["containers"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["service"] == "tableservice");
    row.unwrap_or_else(|| panic!("no service in {document:#}")).clone()
}

#[test]
fn a_service_is_checked_updated_rolled_back_and_allowed_like_a_container() {
    let tables = Tables::with(&Release::new("1"), false);
    let swarm = &tables.swarm;
    let agent = Agent::install(&swarm.manager, SETTINGS);
    let run = |words: &[&str]| agent.run(&swarm.manager, words);
    // Nobody knows what runs, so the first look counts.
    let first = run(&["update"]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert_eq!(row(&agent, swarm)["verdict"], "up_to_date");

    let two = tables.publish(&Release::new("2"));
    let offered = row(&agent, swarm);
    assert_eq!(
        (&offered["verdict"], &offered["offered"]),
        (&"update".into(), &two.digest.clone().into())
    );
    let rehearsed = run(&["update", "--dry-run", "tableservice"]);
    for line in ["service tableservice would be updated:", "on 2 nodes before any task is stopped"]
    {
        assert!(rehearsed.out.contains(line), "{rehearsed:?}");
    }
    assert_eq!(row(&agent, swarm)["verdict"], "update", "a rehearsal changes nothing");
    let good = run(&["update", "tableservice"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(good.out.contains("service tableservice"), "{good:?}");
    tables.wait_until_serving("till 2");
    assert_eq!(row(&agent, swarm)["verdict"], "up_to_date");

    let bad = tables.publish(&Release::new("3").with("TILL_EXIT_AFTER", "0s"));
    let refused = run(&["update", "service/tableservice"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    tables.wait_until_serving("till 2");
    // Swarm watches the way back for a few seconds more than the agent.
    wait_until("the service is held for its refused digest", UPDATE_TIMEOUT, || {
        row(&agent, swarm)["reason"] == "refused_digest"
    });
    let held = row(&agent, swarm);
    assert_eq!(held["offered"], Value::from(bad.digest));
    let again = run(&["update"]);
    assert_eq!(again.status.code(), Some(0), "a bad image is not tried twice: {again:?}");

    let back = run(&["rollback", "tableservice"]);
    assert_eq!(back.status.code(), Some(0), "{back:?}");
    tables.wait_until_serving("till 1");
    let updates = agent.json(&swarm.manager, &["history", "--json"]);
    let outcomes: Vec<_> = updates["updates"]
        .as_array()
        .expect("updates")
        .iter()
        .map(|update| (update["service"].clone(), update["outcome"].clone()))
        .collect();
    let service = || Value::from("tableservice");
    let expected = ["updated", "rolled_back", "updated"].map(|word| (service(), Value::from(word)));
    assert_eq!(outcomes, expected);
    let allowed = run(&["allow", "tableservice"]);
    assert!(allowed.out.contains('2'), "the bad digest and the one that was left: {allowed:?}");
    let unknown = run(&["update", "tableservices"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    tables.assert_settled();
}

#[test]
fn an_agent_that_runs_follows_the_tag_of_a_service_and_takes_up_what_it_left() {
    let tables = Tables::with(&Release::new("1"), false);
    let swarm = &tables.swarm;
    let settings = SETTINGS.replace("1000h", "1s");
    let agent = Agent::install(&swarm.manager, &settings);
    let address = swarm.manager.address_of(METRICS_PORT);
    let page =
        || Peer::Tcp(address).get("/metrics").map(|answer| answer.text()).unwrap_or_default();
    let running = agent.spawn(&swarm.manager, &["run"]);
    wait_until("the service is watched", UPDATE_TIMEOUT, || {
        let page = page();
        page.contains("pilotfish_service_info{service=\"tableservice\"")
            && page
                .contains("pilotfish_service_tasks{service=\"tableservice\",state=\"running\"} 2")
    });
    let two = tables.publish(&Release::new("2"));
    wait_until("the update has begun", UPDATE_TIMEOUT, || {
        let image = tables.service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
        image.as_str().is_some_and(|image| image.contains(&two.digest))
    });
    sleep(Duration::from_secs(1));
    running.kill();
    assert_eq!(tables.open_updates_in(&agent.state()), 1, "the journal stays");
    let running = agent.spawn(&swarm.manager, &["run"]);
    wait_until("the update ends", UPDATE_TIMEOUT, || tables.open_updates_in(&agent.state()) == 0);
    tables.wait_until_serving("till 2");
    wait_until("it is counted and up to date", UPDATE_TIMEOUT, || {
        let page = page();
        page.contains("outcome=\"updated\"} 1") && page.contains("verdict=\"up_to_date\"")
    });
    drop(running);
    tables.assert_settled();
}

/// Only the leader acts. Another manager says so, and a worker knows nothing of services.
#[ignore = "takes long: make test-swarm"]
#[test]
fn other_managers_say_that_they_do_not_lead_and_workers_say_nothing() {
    let tables = Tables::with(&Release::new("1"), true);
    let swarm = &tables.swarm;
    let [manager, worker] = &swarm.tables[..] else { panic!("two tables") };
    swarm.manager.docker(&["node", "promote", &node_id(manager)]);
    let (of_manager, of_worker) =
        (Agent::install(manager, SETTINGS), Agent::install(worker, SETTINGS));
    wait_until("it is a manager", UPDATE_TIMEOUT, || {
        manager.call("GET", "/services").status == 200
    });
    let document = of_manager.json(manager, &["check", "--json"]);
    assert_eq!(document["containers"][0]["reason"], "not_leader", "{document:#}");
    let document = of_worker.json(worker, &["check", "--json"]);
    let rows = document["containers"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row.get("service").is_none()), "{document:#}");
    let two = tables.publish(&Release::new("2"));
    let update = of_manager.run(manager, &["update"]);
    assert_eq!(update.status.code(), Some(0), "{update:?}");
    let image = tables.service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
    assert!(image.as_str().is_some_and(|image| !image.contains(&two.digest)), "{image}");
}
