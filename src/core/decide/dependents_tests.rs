//! Decisions about a container that has dependents.

use serde_json::json;

use super::tests::{observation, offer};
use super::*;
use crate::core::decide::observation::{DependentFacts, OpenUpdate};
use crate::core::decide::start_requirements::{CheckedRequirement, Presence, StartRequirement};
use crate::core::policy::{LabelError, Policy, Selection};

/// A container in the network of `till`, as the Engine reports it.
pub(super) fn side(policy: &Policy) -> DependentFacts {
    DependentFacts {
        original: json!({
            "Id": "5".repeat(64),
            "Name": "/side",
            "Image": "sha256:5",
            "State": { "Status": "running", "Running": true },
            "Config": { "Image": "shop/side:1" },
            "HostConfig": {
                "AutoRemove": false,
                "NetworkMode": format!("container:{}", "0123".repeat(16)),
                "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            },
            "Mounts": [],
            "NetworkSettings": { "Networks": {} },
        }),
        image: json!({ "Id": "sha256:5", "Config": {} }),
        manager: None,
        selection: Selection::Watched(policy.clone()),
        is_self: false,
        open_update: None,
        probe: None,
        lock: None,
        declared_files: Vec::new(),
        start_needs: Vec::new(),
    }
}

fn decided(change: impl FnOnce(&mut DependentFacts)) -> Decision {
    let mut observation = observation("");
    let mut side = side(observation.policy.as_ref().expect("a policy"));
    change(&mut side);
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.others.push(side.original.clone().into());
    readiness.dependent_facts.insert("5".repeat(64), side);
    decide(&observation, &circumstances())
}

/// Noon, without windows.
pub(super) fn circumstances() -> Circumstances {
    tests::circumstances(Zone::utc(), "2027-01-01T12:00:00Z", "")
}

fn describe(change: impl FnOnce(&mut DependentFacts)) -> String {
    match decided(change) {
        Decision::No(no) => format!("{}: {}", no.reason, no.detail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_opted_in_is_part_of_the_plan() {
    let Decision::Update(plan) = decided(|_| {}) else { panic!("no update") };
    assert_eq!(plan.dependent_names(), ["side"]);
    assert_eq!(plan.member(1).old_container, "5".repeat(64));
    assert!(plan.member(1).restart_policy.is_no());
    assert_eq!(plan.member(1).recreation.body["Image"], "shop/side:1");
    assert_eq!(plan.member(0).update().map(|update| &update.to), Some(&offer("two")));
    assert_eq!(plan.member(1).update(), None);
}

type Change = fn(&mut DependentFacts);

#[test]
fn every_obstacle_of_a_dependent_is_named_with_it() {
    let rows: [(Change, &str); 9] = [
        (
            |it| it.selection = Selection::OptedOut,
            "has_dependents: side shares its network, and it is not opted in",
        ),
        (
            |it| {
                let (label, value) = ("pilotfish.mode".into(), "x".into());
                let error = LabelError { label, value, why: "`x` is no mode".into() };
                it.selection = Selection::BadLabels(vec![error]);
            },
            "has_dependents: side shares its network, and its labels are wrong: label \
             `pilotfish.mode`: `x` is no mode",
        ),
        (
            |it| {
                let Selection::Watched(policy) = &mut it.selection else { return };
                policy.mode = Mode::Notify;
            },
            "has_dependents: side shares its network, and it is only reported on \
             (pilotfish.mode=notify)",
        ),
        (
            |it| it.original["State"]["Status"] = json!("exited"),
            "has_dependents: side shares its network, and it is exited",
        ),
        (
            |it| it.open_update = Some(OpenUpdate::InFlight),
            "has_dependents: side shares its network, and an update of it is not finished",
        ),
        (
            |it| it.is_self = true,
            "has_dependents: side shares its network, and the agent runs in it",
        ),
        (
            |it| it.original["HostConfig"]["AutoRemove"] = json!(true),
            "cannot_recreate: side: HostConfig.AutoRemove is set (`--rm`): stopping the container \
             would delete it",
        ),
        (
            |it| it.probe = Some(Err("answered 503".into())),
            "probe_failing: side: the probe fails on the running container: answered 503",
        ),
        (
            |it| {
                let Selection::Watched(policy) = &mut it.selection else { return };
                policy.update_window = "04:00-05:00".parse().expect("a window");
            },
            "outside_window",
        ),
    ];
    for (change, expected) in rows {
        if expected == "outside_window" {
            let Decision::Fetch(fetch) = decided(change) else { panic!("no fetch") };
            let waits = "to be pulled; the update window of side opens Sat 02 Jan 04:00";
            assert_eq!(fetch.waits.detail, waits);
        } else {
            assert_eq!(describe(change), expected);
        }
    }
}

#[test]
fn a_dependent_without_facts_holds_the_update() {
    let mut observation = observation("");
    let side = side(observation.policy.as_ref().expect("a policy"));
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.others.push(side.original.into());
    let Err(no) = followers(readiness) else { panic!("it is passed over") };
    assert_eq!(no.reason, Reason::HasDependents);
}

#[test]
fn a_label_asks_only_where_its_container_may_be_recreated() {
    let observation = observation("");
    let mut policy = observation.policy.expect("a policy");
    policy.commands.depends_on = vec!["till".to_owned()];
    let notify = Policy { mode: Mode::Notify, ..policy.clone() };
    let container = side(&policy).original;
    let mut ended = container.clone();
    ended["State"]["Status"] = json!("exited");
    let watched = Selection::Watched(policy);
    assert_eq!(depends_on(&container, &watched, false), ["till"]);
    for (container, selection, is_self) in [
        (&container, &Selection::OptedOut, false),
        (&container, &Selection::BadLabels(Vec::new()), false),
        (&container, &Selection::Watched(notify), false),
        (&container, &watched, true),
        (&ended, &watched, false),
    ] {
        assert_eq!(depends_on(container, selection, is_self), Vec::<String>::new());
    }
}

#[test]
fn a_dependent_whose_device_is_gone_holds_the_update() {
    let decision = decided(|side| {
        side.start_needs = vec![CheckedRequirement {
            need: StartRequirement::Device("/dev/ttyUSB0".into()),
            seen: Presence::Missing,
        }];
    });
    let Decision::No(no) = decision else { panic!("{decision:?}") };
    assert_eq!(no.reason, Reason::DeviceMissing);
    assert!(no.detail.starts_with("side: the device /dev/ttyUSB0 is not there"), "{}", no.detail);
}

#[test]
fn a_container_that_could_not_be_started_again_is_not_stopped() {
    let now = Circumstances { force: true, ..circumstances() };
    let decided = |need, seen| {
        let mut observation = observation("");
        let readiness = observation.readiness.as_mut().expect("it is there");
        readiness.start_needs = vec![CheckedRequirement { need, seen }];
        decide(&observation, &now)
    };
    let device = || StartRequirement::Device("/dev/ttyUSB0".into());
    let reason = |decision| match decision {
        Decision::No(no) => Some(no.reason),
        _ => None,
    };
    assert_eq!(reason(decided(device(), Presence::Missing)), Some(Reason::DeviceMissing));
    let source = StartRequirement::Source("/srv/data".into());
    assert_eq!(reason(decided(source, Presence::Missing)), Some(Reason::StartWouldFail));
    assert_eq!(reason(decided(device(), Presence::Unknown)), None);
}
