//! Documents of a real Swarm for tests: Engine 20.10, one manager and two workers with
//! `node.labels.type=table`, the service `tableservice` on them. `tests/fixtures/swarm/` has them
//! as the Engine sent them, without certificates, plugins and resources of the nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::{SwarmNode, read_nodes};
use crate::core::service::plan::{ServiceHeader, ServicePlan};
use crate::core::service::task::read_tasks;
use crate::core::service::watch::ServiceLook;

/// Each moment, with what the Swarm said then.
const MOMENTS: [(&str, &str); 15] = [
    // The service as a user creates it with `--no-resolve-image`.
    ("unpinned", include_str!("../../../tests/fixtures/swarm/unpinned.json")),
    // An update by digest that has replaced the first of two tasks; then both; then with the user's
    // own settings again.
    ("good-middle", include_str!("../../../tests/fixtures/swarm/good-middle.json")),
    ("good-done", include_str!("../../../tests/fixtures/swarm/good-done.json")),
    ("good-settled", include_str!("../../../tests/fixtures/swarm/good-settled.json")),
    // An image that exits at once, with `FailureAction: pause`; then the way back by a change of
    // the image.
    ("paused", include_str!("../../../tests/fixtures/swarm/paused.json")),
    ("back-middle", include_str!("../../../tests/fixtures/swarm/back-middle.json")),
    ("back-done", include_str!("../../../tests/fixtures/swarm/back-done.json")),
    // The same image with `FailureAction: rollback`.
    ("rollback-started", include_str!("../../../tests/fixtures/swarm/rollback-started.json")),
    ("rollback-completed", include_str!("../../../tests/fixtures/swarm/rollback-completed.json")),
    // A rollback of Swarm's that hung for a minute, 11 seconds after its beginning.
    ("stuck-rollback", include_str!("../../../tests/fixtures/swarm/stuck-rollback.json")),
    // After a kill of the manager in the middle of an update: a task without its ports.
    ("manager-killed", include_str!("../../../tests/fixtures/swarm/manager-killed.json")),
    ("worker-away", include_str!("../../../tests/fixtures/swarm/worker-away.json")),
    // Another service, with three replicas.
    ("replicated", include_str!("../../../tests/fixtures/swarm/replicated.json")),
    // The tasks of a job that pulls, and of one whose image does not exist.
    ("prepull-tasks", include_str!("../../../tests/fixtures/swarm/prepull-tasks.json")),
    ("prepull-rejected", include_str!("../../../tests/fixtures/swarm/prepull-rejected.json")),
];

/// The two workers.
pub const TABLES: [&str; 2] = ["bxkjm9secdvjkfv9ld7sii235", "roh8kelrha337ky9kif1sctms"];

/// The manager.
pub const MANAGER: &str = "i89iz1xzjovtx2z7a2vp8k3vp";

/// The documents of a moment: `service`, `tasks` and `nodes`.
pub fn document(moment: &str) -> Value {
    let found = MOMENTS.iter().find(|(name, _)| *name == moment);
    let (_, text) = found.unwrap_or_else(|| panic!("no moment {moment}"));
    serde_json::from_str(text).expect("JSON")
}

/// A moment, as the agent sees it.
pub fn look(moment: &str) -> ServiceLook {
    let document = document(moment);
    let list = |field: &str| document[field].as_array().expect("a list").clone();
    ServiceLook {
        facts: ServiceFacts::read(&document["service"]).expect("a service"),
        tasks: read_tasks(&list("tasks")),
        nodes: read_nodes(&list("nodes")),
    }
}

/// The nodes of that Swarm.
pub fn nodes() -> Vec<SwarmNode> {
    look("unpinned").nodes
}

/// A header of an update from or to this image.
pub fn header(image: &str, is_new: bool) -> ServiceHeader {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse().expect("a digest");
    let other = format!("10.78.0.1:5000/till:other@sha256:{}", "3".repeat(64));
    let (old, new) = if is_new { (other.as_str(), image) } else { (image, other.as_str()) };
    let plan = ServicePlan {
        id: "20261127T000000.000Z-tableservice".into(),
        service: "tableservice".into(),
        service_id: "mduzva2kon4g9dfdbwyzomswh".into(),
        image: old.into(),
        from: digest("1"),
        to: digest("2"),
        digests: BTreeSet::from([digest("2")]),
        new_image: new.into(),
        old_image: old.into(),
        platforms: None,
        update_config: json!({ "FailureAction": "rollback", "Parallelism": 1 }),
        back_config: json!({ "FailureAction": "continue", "Parallelism": 1 }),
        stable: Duration::from_secs(5),
        healthy: Duration::from_secs(20),
    };
    let spec = document("unpinned")["service"]["Spec"].clone();
    let started_at = DateTime::UNIX_EPOCH;
    ServiceHeader { version: 1, plan, spec, known: BTreeSet::new(), started_at }
}
