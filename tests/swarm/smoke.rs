//! The fixture, the adapter and the rules on a real Swarm.

use std::time::{Duration, Instant};

use pilotfish::core::service::decision::ServiceDecision;
use pilotfish::core::service::facts::{ServiceFacts, ServiceMode, UpdateState};
use pilotfish::core::service::node::read_nodes;
use pilotfish::core::service::task::{SwarmTask, read_tasks};
use pilotfish::engine::docker::DockerEngine;
use pilotfish::engine::docker::address::Address;
use pilotfish::engine::{ServiceChange, Services};
use serde_json::json;

use crate::support::images::Release;
use crate::support::swarm::node_id;
use crate::tables::{Tables, plan_of};

/// How long a node may take to tell its manager of a task that serves.
const TOLD_TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn the_adapter_and_the_rules_understand_a_real_swarm() {
    let tables = Tables::with(&Release::new("1"), false);
    tables.block_on(async {
        asks_a_manager(&tables).await;
        a_worker_refuses(&tables).await;
        changes_are_guarded(&tables).await;
        decides(&tables).await;
    });
}

async fn asks_a_manager(tables: &Tables) {
    let engine = engine(&tables.swarm.manager);
    let membership = engine.swarm().await.expect("the Swarm");
    assert!(membership.is_manager);
    let nodes = read_nodes(&engine.nodes().await.expect("the nodes"));
    assert_eq!(nodes.len(), 3);
    let own = nodes.iter().find(|node| node.id == membership.node_id).expect("its own node");
    assert!(own.is_leader);
    let services = engine.services().await.expect("the services");
    let facts = ServiceFacts::read(&services[0]).expect("a service");
    assert_eq!((facts.name.as_str(), facts.mode), ("tableservice", ServiceMode::Global));
    assert_eq!((facts.update_config.as_ref(), facts.state), (None, UpdateState::None));
    assert_eq!(facts.host_ports[0].published, 80);
    assert_eq!(facts.labels["pilotfish.enable"], "true");
    let mut eligible: Vec<_> = facts.eligible(&nodes).map(|node| node.id.clone()).collect();
    let mut expected: Vec<_> = tables.swarm.tables.iter().map(node_id).collect();
    eligible.sort();
    expected.sort();
    assert_eq!(eligible, expected);
    wait_until_told(&engine, &facts).await;
    assert_eq!(engine.service("no-such-service").await, Ok(None));
}

/// Waits until the manager tells of both tasks with their ports. A node reports a task and its
/// ports to the manager some time after the port answers.
async fn wait_until_told(engine: &DockerEngine, facts: &ServiceFacts) {
    let end = Instant::now() + TOLD_TIMEOUT;
    loop {
        let tasks = read_tasks(&engine.tasks(&facts.id).await.expect("the tasks"));
        let is_told = |task: &SwarmTask| task.is_serving() && task.publishes(&facts.host_ports);
        if tasks.iter().filter(|task| is_told(task)).count() == 2 {
            return;
        }
        assert!(Instant::now() < end, "two tasks serve, and their ports are told: {tasks:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn a_worker_refuses(tables: &Tables) {
    let worker = engine(&tables.swarm.tables[0]);
    let membership = worker.swarm().await.expect("an answer");
    assert!(!membership.is_manager);
    assert_eq!(membership.node_id, node_id(&tables.swarm.tables[0]));
    for refused in [
        worker.services().await.expect_err("a worker"),
        worker.nodes().await.expect_err("a worker"),
        worker.tasks("tableservice").await.expect_err("a worker"),
        worker.service("tableservice").await.expect_err("a worker"),
    ] {
        assert!(refused.is_no_manager(), "{refused}");
    }
}

/// A change with an old version is refused. A change of the settings for updates alone restarts
/// nothing, and what the program does not know comes back.
async fn changes_are_guarded(tables: &Tables) {
    let engine = engine(&tables.swarm.manager);
    let service = engine.service("tableservice").await.expect("an answer").expect("the service");
    let facts = ServiceFacts::read(&service).expect("a service");
    let mut spec = service["Spec"].clone();
    spec["UpdateConfig"] =
        json!({ "Parallelism": 1, "Delay": 7_000_000_000_u64, "Order": "stop-first" });
    let change =
        |version, spec| ServiceChange { service: &facts.id, version, spec, credentials: None };
    let before = engine.tasks(&facts.id).await.expect("the tasks");
    engine.update_service(change(facts.version, &spec)).await.expect("the change");
    let stale = engine.update_service(change(facts.version, &spec)).await.expect_err("stale");
    assert!(stale.is_out_of_sequence(), "{stale}");
    let changed = engine.service(&facts.id).await.expect("an answer").expect("the service");
    assert_eq!(changed["Spec"]["UpdateConfig"]["Delay"], 7_000_000_000_u64);
    assert_eq!(changed["Spec"]["TaskTemplate"], service["Spec"]["TaskTemplate"]);
    let version = ServiceFacts::read(&changed).expect("a service").version;
    engine.update_service(change(version, &service["Spec"])).await.expect("the change back");
    let again = engine.service(&facts.id).await.expect("an answer").expect("the service");
    assert_eq!(again["Spec"], service["Spec"]);
    let after = engine.tasks(&facts.id).await.expect("the tasks");
    let ids = |tasks: &[serde_json::Value]| {
        let mut ids: Vec<_> = tasks.iter().map(|task| task["ID"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&before), ids(&after), "nothing was restarted");
}

async fn decides(tables: &Tables) {
    let same = tables.publish(&Release::new("1"));
    let (decision, ..) = tables.decide(&same).await;
    assert_eq!(decision, ServiceDecision::UpToDate);
    let two = tables.publish(&Release::new("2"));
    let plan = plan_of(tables.decide(&two).await.0);
    assert!(!plan.is_pinned());
    assert_eq!(plan.new_image, format!("{}@{}", plan.image, two.digest));
    assert_eq!(plan.update_config["FailureAction"], "pause");
}

fn engine(engine: &crate::support::engine::Engine) -> DockerEngine {
    DockerEngine::new(Address::Unix(engine.socket()), None).expect("an adapter")
}
