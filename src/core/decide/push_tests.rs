//! Pushed images, and containers whose images are pushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use serde_json::json;

use super::memory::Refusal;
use super::push::{PushedImage, policy, push};
use super::tests::{circumstances, observation, offer};
use super::update_lock::{LockState, SeenLock};
use super::*;
use crate::core::decide::evidence::missing;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::deployment::{ClientAct, Definition, Deployment, DeploymentFacts};
use crate::core::policy::{Policy, PolicyDefaults, Selection};
use crate::core::time::zone::zone;
use crate::core::update::plan::Strategy;

fn now() -> Circumstances {
    circumstances(zone("UTC"), "2027-01-01T08:00:00Z", "")
}

fn defaults() -> PolicyDefaults {
    PolicyDefaults {
        opt_in: true,
        trusts_image_labels: false,
        deployments: Arc::default(),
        update_window: "".parse().expect("a window"),
        health_timeout: std::time::Duration::from_secs(60),
        health_stable: std::time::Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    }
}

fn of_deployment(window: &str, pushed: bool, is_watched_anyway: bool) -> Observation {
    let act = || ClientAct { by: "dns:ci".into(), at: DateTime::UNIX_EPOCH };
    let pushed = pushed.then(act);
    let mut observation = observation(window);
    observation.deployment = Some(Box::new(DeploymentFacts {
        name: "till".into(),
        is_watched_anyway,
        pushed,
        stopped: None,
    }));
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.is_pulled = true;
    readiness.is_prefetched = true;
    observation
}

fn deployment(definition: Option<Definition>) -> Deployment {
    Deployment { name: "till".into(), container: "till".into(), definition }
}

fn decided(
    observation: &Observation,
    offer: &Offer,
    deployment: &Deployment,
    force: bool,
) -> Result<Option<Plan>, No> {
    let readiness = observation.readiness.as_ref().expect("it is there");
    let pushed = PushedImage { deployment, offer, by: "dns:ci" };
    let circumstances = Circumstances { force, ..now() };
    push(observation, readiness, &pushed, (&circumstances, &defaults()))
}

#[test]
fn a_pushed_image_follows_no_registry() {
    for (pushed, is_watched_anyway, expected) in [
        (true, true, Some("pushed by dns:ci at 1970-01-01 00:00 UTC")),
        (true, false, Some("pushed by dns:ci at 1970-01-01 00:00 UTC")),
        (false, false, Some("no image was pushed yet for deployment till")),
        (false, true, None),
    ] {
        let observation = of_deployment("", pushed, is_watched_anyway);
        let no = match decide(&observation, &now()) {
            Decision::No(no) => Some(no),
            _ => None,
        };
        assert_eq!(no.as_ref().map(|no| no.detail.as_str()), expected);
        assert!(no.is_none_or(|no| no.reason == Reason::PushedOnly));
        if expected.is_some() {
            let unasked = Observation { offered: observation::Offered::Unasked, ..observation };
            assert_eq!(missing(&unasked, &now()), None, "a registry is asked");
        }
    }
}

#[test]
fn windows_and_refusals_hold_unless_the_client_insists() {
    let adopt = deployment(None);
    let closed = of_deployment("10:00-11:00", false, false);
    let no = decided(&closed, &offer("two"), &adopt, false).expect_err("outside");
    assert_eq!(no.reason, Reason::OutsideWindow);
    assert!(decided(&closed, &offer("two"), &adopt, true).expect("a plan").is_some());
    let mut refused = of_deployment("", false, false);
    let digests = offer("two").digests();
    let at = DateTime::UNIX_EPOCH;
    refused.refusal = Some(Box::new(Refusal { digests, at, detail: "it exited".into() }));
    let no = decided(&refused, &offer("two"), &adopt, false).expect_err("refused");
    assert_eq!((no.reason, no.detail.as_str()), (Reason::RefusedDigest, "it exited"));
    let plan = decided(&refused, &offer("two"), &adopt, true).expect("a plan").expect("an update");
    let (_, update) = plan.first_changed().expect("a new image");
    assert_eq!((update.source, plan.by.as_deref()), (ImageSource::Pushed, Some("dns:ci")));
}

#[test]
fn the_image_that_runs_needs_no_update() {
    let observation = of_deployment("", true, false);
    assert_eq!(decided(&observation, &offer("one"), &deployment(None), false), Ok(None));
}

#[test]
fn a_changed_definition_is_applied_with_the_same_image() {
    let body = json!({
        "Image": "till:v9", "Env": ["A=2"], "Labels": { "pilotfish.health.stable": "5s" },
        "HostConfig": { "RestartPolicy": { "Name": "unless-stopped" } },
    });
    let definition = Definition::read("till", body).expect("a definition");
    let observation = of_deployment("", true, false);
    let deployment = deployment(Some(definition.clone()));
    let plan = decided(&observation, &offer("one"), &deployment, false).expect("a plan");
    let plan = plan.expect("an update");
    let (main, update) = plan.first_changed().expect("the container");
    assert_eq!(main.image, "till:v9");
    assert_eq!(main.recreation.body["Env"], json!(["A=2"]));
    assert_eq!(main.restart_policy.name, "unless-stopped");
    assert_eq!(main.health.stable, std::time::Duration::from_secs(5));
    // A failure of it is not the image's.
    assert!(update.changes_only_definition());
    let mut applied = observation;
    let labels = json!({ "pilotfish.deployment": definition.hash() });
    let readiness = applied.readiness.as_mut().expect("it is there");
    readiness.original["Config"]["Labels"] = labels;
    assert_eq!(decided(&applied, &offer("one"), &deployment, false), Ok(None));
    let bad = json!({ "Labels": { "pilotfish.helth": "1" } });
    let bad = Deployment { definition: Definition::read("till", bad).ok(), ..deployment };
    let no = decided(&applied, &offer("one"), &bad, false).expect_err("a bad label");
    assert_eq!(no.reason, Reason::BadLabel);
}

/// An observation whose container has these labels, besides its health.
fn labelled(labels: &[(&str, &str)]) -> Observation {
    let defaults = PolicyDefaults { opt_in: false, ..defaults() };
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let Selection::Watched(own) = Policy::from_labels(&labels, &defaults) else {
        unreachable!("the labels are right")
    };
    let mut observation = of_deployment("", true, false);
    observation.policy = Ok(own);
    observation
}

#[test]
fn a_member_of_a_group_is_not_pushed_alone() {
    let member = labelled(&[("pilotfish.group", "shop")]);
    let no = decided(&member, &offer("two"), &deployment(None), true).expect_err("a member");
    assert_eq!(no.reason, Reason::MemberOfGroup);
    assert!(no.detail.contains("a member of group shop"), "{}", no.detail);
    // A restart replaces nothing.
    assert_eq!(decided(&member, &offer("one"), &deployment(None), true), Ok(None));
    // A definition that would make it one, and the first container of such a definition.
    let body = json!({ "Image": "till:v9", "Labels": { "pilotfish.group": "shop" } });
    let definition = Definition::read("till", body).expect("a definition");
    let deployment = deployment(Some(definition.clone()));
    let alone = of_deployment("", true, false);
    let no = decided(&alone, &offer("two"), &deployment, true).expect_err("a new member");
    assert_eq!(no.reason, Reason::MemberOfGroup);
    let no = policy(&definition, &defaults()).expect_err("a first member");
    assert_eq!(no.reason, Reason::MemberOfGroup);
}

#[test]
fn a_push_takes_the_order_of_the_labels_unless_the_definition_changes() {
    let first = ("pilotfish.update.order", "start-first");
    let labels =
        [first, ("pilotfish.update.shared", "ok"), ("pilotfish.health.probe", "tcp://:80")];
    let mut observation = labelled(&labels);
    let plan = decided(&observation, &offer("two"), &deployment(None), false).expect("a plan");
    assert!(plan.expect("an update").strategy.starts_first());
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.original["HostConfig"]["PortBindings"] = json!({ "80/tcp": [{ "HostPort": "80" }] });
    let no = decided(&observation, &offer("two"), &deployment(None), true).expect_err("a port");
    assert_eq!(no.reason, Reason::CannotStartFirst);
    let body = json!({ "Image": "till:v9", "Labels": { "pilotfish.update.order": "start-first" } });
    let definition = Definition::read("till", body).expect("a definition");
    let deployment = deployment(Some(definition));
    let plan = decided(&observation, &offer("two"), &deployment, false).expect("a plan");
    assert_eq!(plan.expect("an update").strategy, Strategy::StopFirst);
}

#[test]
fn a_lock_holds_a_push_also_with_force() {
    let mut observation = labelled(&[("pilotfish.update.lock", "/busy")]);
    let lock = observation.policy.as_ref().expect("labels").update_lock().expect("a lock");
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.lock = Some(SeenLock { lock, state: LockState::Present(None) });
    let no = decided(&observation, &offer("two"), &deployment(None), true).expect_err("locked");
    assert_eq!(no.reason, Reason::UpdateLocked);
}

#[test]
fn the_advice_of_a_refusal_names_the_container() {
    let no = No::new(Reason::RefusedDigest, "it exited");
    let refusal = PushRefusal::held("till", &no);
    assert!(refusal.detail.contains("`pilotfish allow till`"), "{}", refusal.detail);
    // No round brings the image again.
    let no = No::new(Reason::HeldByHook, "");
    assert!(PushRefusal::held("till", &no).detail.starts_with("push again later"));
    for reason in Reason::ALL {
        assert!(!PushRefusal::held("till", &No::new(reason, "")).detail.contains("NAME"));
    }
}
