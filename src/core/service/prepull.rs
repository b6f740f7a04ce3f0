//! The job that makes every node pull the new image before anything is stopped.
//!
//! Swarm stops the old task first and pulls then, so that the pull is an outage. The job is a
//! global job with the constraints of the service. Its program does not exist in any image: a task
//! of it can only fail, and it fails after the pull. Nothing of the image is ever run by it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::core::docker::reference::Digest;
use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::SwarmNode;
use crate::core::service::plan::ServicePlan;
use crate::core::service::spec::placement;
use crate::core::service::task::{SwarmTask, TaskState};

/// The program of the job, which no image has.
const PROGRAM: &str = "/pilotfish-pull-only";

/// The label by which a job is found that a killed agent left behind. Its value is the ID of the
/// service that the job pulls for.
const JOB_LABEL: &str = "pilotfish.internal.pull-for";

/// Longest name of a service (swarmkit: a label of DNS).
const NAME_LENGTH_MAX: usize = 63;

/// From this age on a job is a leftover: longer than the pull of a large image.
const LEFTOVER_AGE: TimeDelta = TimeDelta::hours(2);

/// After so many failed pulls on one node the update ends. Swarm repeats each at once, so a single
/// broken connection is not the end.
const REJECTIONS_MAX: usize = 3;

/// The name of the job. It contains the digest, so that two jobs of one service are told apart.
#[must_use]
pub fn job_name(service: &str, digest: &Digest) -> String {
    let ends = ("pilotfish-pull-", format!("-{}", digest.short()));
    let room = NAME_LENGTH_MAX - ends.0.len() - ends.1.len();
    let middle: String = service.chars().take(room).collect();
    format!("{}{middle}{}", ends.0, ends.1)
}

/// The specification of the job, for a service with this specification.
#[must_use]
pub fn job(plan: &ServicePlan, spec: &Value) -> Value {
    json!({
        "Name": job_name(&plan.service, &plan.to),
        "Labels": { JOB_LABEL: plan.service_id },
        "TaskTemplate": {
            "ContainerSpec": { "Image": plan.new_image, "Command": [PROGRAM] },
            "Placement": placement(spec, plan.platforms.as_ref()),
            "RestartPolicy": { "Condition": "none" },
        },
        "Mode": { "GlobalJob": {} },
    })
}

/// Whether a service is such a job for the service with this ID.
#[must_use]
pub fn is_job_for(facts: &ServiceFacts, service_id: &str) -> bool {
    facts.labels.get(JOB_LABEL).is_some_and(|value| value == service_id)
}

/// Whether a document of a service is a job that no agent waits for any more. Swarm replaces its
/// failed tasks again and again. A young one may be that of another manager's agent.
#[must_use]
pub fn is_leftover(service: &Value, now: DateTime<Utc>) -> bool {
    let is_job =
        ServiceFacts::read(service).is_some_and(|facts| facts.labels.contains_key(JOB_LABEL));
    let created = service.get("CreatedAt").and_then(Value::as_str);
    let created = created.and_then(|at| at.parse::<DateTime<Utc>>().ok());
    is_job && created.is_some_and(|created| now - created > LEFTOVER_AGE)
}

/// How far the job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepull {
    /// Nodes that have not said yet that the image is there.
    Waiting(Vec<String>),
    /// Every node has the image.
    Done,
    /// A node cannot pull it, in its own words.
    Failed(String),
}

/// How far the job is, from its tasks. `nodes` are those that may run the service.
#[must_use]
pub fn judge<'a>(tasks: &[SwarmTask], nodes: impl Iterator<Item = &'a SwarmNode>) -> Prepull {
    let (mut waiting, mut is_empty) = (Vec::new(), true);
    for node in nodes {
        is_empty = false;
        let of_node = || tasks.iter().filter(|task| task.node_id == node.id);
        if of_node().any(has_image) {
            continue;
        }
        let rejected: Vec<_> = of_node().filter(|task| task.state == TaskState::Rejected).collect();
        if let Some(last) = rejected.last().filter(|_| rejected.len() >= REJECTIONS_MAX) {
            return Prepull::Failed(format!("{}: {}", node.name(), last.words()));
        }
        waiting.push(node.name());
    }
    // After a change of the leader no node is known to be there for a moment.
    if waiting.is_empty() && !is_empty { Prepull::Done } else { Prepull::Waiting(waiting) }
}

/// A container that was created has its image; only then can its start fail.
fn has_image(task: &SwarmTask) -> bool {
    matches!(
        task.state,
        TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Failed
            | TaskState::Complete
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::{TABLES, look};

    fn digest() -> Digest {
        format!("sha256:{}", "9".repeat(64)).parse().expect("a digest")
    }

    #[test]
    fn a_job_is_a_leftover_after_two_hours() {
        let now: DateTime<Utc> = "2026-05-01T12:00:00Z".parse().expect("a time");
        let service = |label: &str, created: &str| {
            json!({
                "ID": "j", "CreatedAt": created,
                "Spec": { "Name": "x", "Labels": { label: "s" }, "TaskTemplate": {} },
            })
        };
        for (label, created, expected) in [
            (JOB_LABEL, "2026-05-01T09:00:00.123456789Z", true),
            (JOB_LABEL, "2026-05-01T11:00:00Z", false),
            (JOB_LABEL, "", false),
            ("another", "2026-05-01T09:00:00Z", false),
        ] {
            assert_eq!(is_leftover(&service(label, created), now), expected, "{created}");
        }
    }

    #[test]
    fn every_node_must_have_the_image() {
        let look = look("prepull-tasks");
        let judge = |tasks: &[SwarmTask]| judge(tasks, look.facts.eligible(&look.nodes));
        assert_eq!(judge(&look.tasks), Prepull::Done);
        assert_eq!(super::judge(&look.tasks, std::iter::empty()), Prepull::Waiting(Vec::new()));
        let of = |node: &str| -> Vec<_> {
            look.tasks.iter().filter(|task| task.node_id == node).cloned().collect()
        };
        assert_eq!(judge(&of(TABLES[0])), Prepull::Waiting(vec!["vm (roh8kel)".into()]));
        assert_eq!(
            judge(&[]),
            Prepull::Waiting(vec!["vm (bxkjm9s)".into(), "vm (roh8kel)".into()])
        );
    }

    #[test]
    fn a_node_that_cannot_pull_is_named_with_its_own_words() {
        let look = look("prepull-rejected");
        let judge = |tasks: &[SwarmTask]| judge(tasks, look.facts.eligible(&look.nodes));
        let Prepull::Failed(detail) = judge(&look.tasks) else { panic!("it cannot be pulled") };
        assert!(
            detail.contains("(bxkjm9s): No such image: 10.78.0.1:5000/till:2@sha256:1"),
            "{detail}"
        );
        let rejected = |task: &&SwarmTask| task.state == TaskState::Rejected;
        let of_one: Vec<_> = look.tasks.iter().filter(rejected).take(2).cloned().collect();
        assert!(matches!(judge(&of_one), Prepull::Waiting(nodes) if nodes.len() == 2));
    }

    #[test]
    fn a_name_is_short_enough_and_ends_with_the_digest() {
        let job = |service: &str| job_name(service, &digest());
        assert_eq!(job("tableservice"), "pilotfish-pull-tableservice-999999999999");
        let long = "s".repeat(NAME_LENGTH_MAX);
        let name = job(&long);
        assert_eq!(name.len(), NAME_LENGTH_MAX);
        assert!(name.ends_with("s-999999999999"), "{name}");
    }
}
