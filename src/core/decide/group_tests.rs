//! Which members take part in the update of a group, and in which order.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::core::decide::tests::{circumstances, observation};
use crate::core::decide::{Circumstances, decide};
use crate::core::policy::{Policy, PolicyDefaults, Selection};
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;

fn now() -> Circumstances {
    circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "")
}

fn defaults() -> PolicyDefaults {
    PolicyDefaults {
        opt_in: false,
        trusts_image_labels: false,
        deployments: std::sync::Arc::default(),
        update_window: Windows::always(),
        health_timeout: std::time::Duration::from_secs(60),
        health_stable: std::time::Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    }
}

/// A member of the group `shop` with these labels besides; `is_news`: it is offered a new image.
fn member(name: &str, labels: &[(&str, &str)], is_news: bool) -> Observation {
    let mut seen = observation("");
    (seen.id, seen.name) = (format!("id of {name}"), name.to_owned());
    let all = [&[("pilotfish.group", "shop")], labels].concat();
    let all: BTreeMap<_, _> =
        all.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    seen.policy = match Policy::from_labels(&all, &defaults()) {
        Selection::Watched(policy) => Ok(policy),
        other => panic!("{other:?}"),
    };
    let readiness = seen.readiness.as_mut().expect("it is there");
    readiness.original["Id"] = json!(seen.id);
    readiness.original["Name"] = json!(format!("/{name}"));
    if !is_news && let Ok(running) = &mut seen.running {
        running.digests.extend(seen.offered.digest().cloned());
    }
    seen
}

/// The same for a job that has ended.
fn job(name: &str, is_news: bool) -> Observation {
    let mut seen = member(name, &[("pilotfish.job", "before")], is_news);
    (seen.is_job, seen.state, seen.exit_code) = (true, "exited".to_owned(), Some(0));
    let readiness = seen.readiness.as_mut().expect("it is there");
    readiness.original["HostConfig"]["RestartPolicy"] = json!({ "Name": "no" });
    seen
}

/// The plan of a group: the members that change, `+` those that keep their image, `!` its jobs.
fn joined(members: &[Observation]) -> Result<Vec<String>, String> {
    let decisions: Vec<_> = members.iter().map(|seen| decide(seen, &now())).collect();
    let views: Vec<_> = members
        .iter()
        .zip(&decisions)
        .map(|(observation, decision)| GroupMember { observation, decision })
        .collect();
    let plan =
        join("shop", &views, &now()).map_err(|no| format!("{}: {}", no.reason, no.detail))?;
    assert_eq!(plan.subject, Subject::group("shop"));
    let mark = |member: &Member| if member.update().is_some() { "" } else { "+" };
    let members = plan.members.iter().map(|it| format!("{}{}", mark(it), it.container));
    let jobs = plan.jobs.iter().map(|it| format!("!{}{}", mark(&it.member), it.member.container));
    Ok(jobs.chain(members).collect())
}

fn names(words: &[&str]) -> Result<Vec<String>, String> {
    Ok(words.iter().map(|word| (*word).to_owned()).collect())
}

const ON_MIGRATE: (&str, &str) = ("pilotfish.depends-on", "migrate:completed");

#[test]
fn members_that_change_are_in_one_plan_in_the_order_of_their_starts() {
    let api = || member("api", &[("pilotfish.depends-on", "db")], true);
    let web = || member("web", &[("pilotfish.depends-on", "api")], true);
    assert_eq!(joined(&[web(), api(), member("db", &[], false)]), names(&["api", "web"]));
    assert_eq!(joined(&[web(), api(), member("db", &[], true)]), names(&["db", "api", "web"]));
    let circle = member("db", &[("pilotfish.depends-on", "web")], true);
    let why = joined(&[web(), api(), circle]).expect_err("a circle");
    assert!(why.starts_with("group_incomplete: they depend on each other"), "{why}");
}

#[test]
fn a_job_runs_for_its_own_image_and_for_that_of_a_member_that_waits_for_it() {
    let api = || member("api", &[ON_MIGRATE], true);
    assert_eq!(joined(&[api(), job("migrate", true)]), names(&["!migrate", "api"]));
    assert_eq!(joined(&[api(), job("migrate", false)]), names(&["!+migrate", "api"]));
    let web = || member("web", &[], true);
    assert_eq!(joined(&[web(), job("migrate", false)]), names(&["web"]));
    assert_eq!(joined(&[member("web", &[], false), job("migrate", true)]), names(&["!migrate"]));
}

#[test]
fn a_member_that_asks_for_it_is_recreated_on_its_own_image() {
    let mut api = member("api", &[], false);
    let policy = api.policy.as_mut().expect("a policy");
    let around = policy.around_updates.as_mut().expect("labels");
    let membership = around.group.as_mut().expect("a group");
    membership.depends_on = vec![crate::core::group::dependency::Dependency {
        on: "db".to_owned(),
        condition: crate::core::group::dependency::Condition::Healthy,
        restarts: true,
    }];
    assert_eq!(joined(&[api, member("db", &[], true)]), names(&["db", "+api"]));
}

#[test]
fn a_job_that_cannot_run_in_a_copy_holds_the_group() {
    let mut always = job("migrate", true);
    let readiness = always.readiness.as_mut().expect("it is there");
    readiness.original["HostConfig"]["RestartPolicy"] = json!({ "Name": "always" });
    let why = joined(&[always]).expect_err("a policy");
    assert!(why.contains("its restart policy is `always`"), "{why}");
    let Decision::Update(plan) = decide(&job("migrate", true), &now()) else { panic!("no plan") };
    let alone = json!({ "HostConfig": { "NetworkMode": "shop" } });
    assert_eq!(check_untied(plan.member(0), Some(&alone)), Ok(()));
    let tied = json!({ "HostConfig": { "NetworkMode": "container:db" } });
    let why = check_untied(plan.member(0), Some(&tied)).expect_err("a tie").detail;
    assert!(why.contains("a job must stand on its own"), "{why}");
}
