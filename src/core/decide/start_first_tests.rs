//! What stands in the way of two containers at the same time, each by its name.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::dependents_tests::{circumstances, side};
use super::super::tests::{observation, offer};
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::reason::Reason;
use crate::core::decide::{Decision, decide, roll_back};
use crate::core::docker::api_version::ApiVersion;
use crate::core::policy::{LABEL_HEALTH_PROBE, Policy, PolicyDefaults, Selection};
use crate::core::time::window::Windows;

fn defaults() -> PolicyDefaults {
    PolicyDefaults {
        opt_in: false,
        trusts_image_labels: false,
        deployments: Arc::default(),
        update_window: Windows::always(),
        health_timeout: Duration::from_secs(60),
        health_stable: Duration::from_secs(30),
        images_keep: 1,
        watchtower: None,
    }
}

/// A container that can run twice, with the label that asks for it.
fn container(labels: &[(&str, &str)]) -> Observation {
    let mut observation = observation("");
    let all = labels.iter().chain(&[("pilotfish.update.order", "start-first")]);
    let all = all.map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    observation.policy = match Policy::from_labels(&all.collect(), &defaults()) {
        Selection::Watched(policy) => Ok(policy),
        other => panic!("{other:?}"),
    };
    let readiness = observation.readiness.as_mut().expect("it is there");
    let original = &mut readiness.original;
    original["Config"]["Hostname"] = json!("012301230123");
    original["Config"]["Healthcheck"] = json!({ "Test": ["CMD", "/check"] });
    original["HostConfig"]["NetworkMode"] = json!("shop");
    original["NetworkSettings"]["Networks"] = json!({ "shop": { "Aliases": ["till"] } });
    observation
}

/// Why it cannot be started first; nothing if it can.
fn obstacle(labels: &[(&str, &str)], change: impl FnOnce(&mut Readiness)) -> Option<String> {
    let mut observation = container(labels);
    change(observation.readiness.as_mut().expect("it is there"));
    match decide(&observation, &circumstances()) {
        Decision::Update(_) => None,
        Decision::No(no) if no.reason == Reason::CannotStartFirst => Some(no.detail),
        other => panic!("{other:?}"),
    }
}

const SHARED: [(&str, &str); 1] = [("pilotfish.update.shared", "ok")];

#[test]
fn a_container_on_its_own_network_with_a_healthcheck_can_run_twice() {
    assert_eq!(obstacle(&[], |_| {}), None);
    let read_only = json!([
        { "Type": "bind", "Source": "/etc/shop", "Destination": "/etc/shop", "RW": false },
        { "Type": "tmpfs", "Destination": "/run", "RW": true },
    ]);
    assert_eq!(obstacle(&[], |it| it.original["Mounts"] = read_only), None);
    let probe = [(LABEL_HEALTH_PROBE, "http://:8080/healthz")];
    let unchecked = |it: &mut Readiness| it.original["Config"]["Healthcheck"] = json!(null);
    assert_eq!(obstacle(&probe, unchecked), None);
}

#[test]
fn what_no_user_can_allow_is_named() {
    type Change = fn(&mut Readiness);
    let rows: [(&str, Change); 11] = [
        ("it publishes 80/tcp", |it| {
            it.original["HostConfig"]["PortBindings"] =
                json!({ "80/tcp": [{ "HostPort": "80" }], "81/tcp": null, "82/tcp": [] });
        }),
        ("it publishes all its ports", |it| {
            it.original["HostConfig"]["PublishAllPorts"] = json!(true);
        }),
        ("it has the fixed address 10.1.2.3 on the network shop", |it| {
            it.original["NetworkSettings"]["Networks"]["shop"]["IPAMConfig"] =
                json!({ "IPv4Address": "10.1.2.3" });
        }),
        ("it has the fixed address fd00::3 on the network shop", |it| {
            it.original["NetworkSettings"]["Networks"]["shop"]["IPAMConfig"] =
                json!({ "IPv6Address": "fd00::3" });
        }),
        ("it has the fixed MAC address 00:11:22:33:44:55", |it| {
            it.original["Config"]["MacAddress"] = json!("00:11:22:33:44:55");
        }),
        ("it has the fixed MAC address 00:11:22:33:44:56", |it| {
            it.api = ApiVersion::V1_51;
            it.original["NetworkSettings"]["Networks"]["back"] =
                json!({ "MacAddress": "00:11:22:33:44:56", "IPAddress": "10.9.0.2" });
        }),
        ("it uses devices", |it| {
            it.original["HostConfig"]["Devices"] =
                json!([{ "PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0" }]);
        }),
        ("it uses devices", |it| {
            it.original["HostConfig"]["DeviceRequests"] = json!([{ "Driver": "nvidia" }]);
        }),
        ("it is privileged, so it may use every device", |it| {
            it.original["HostConfig"]["Privileged"] = json!(true);
        }),
        ("it has no HEALTHCHECK and no probe", |it| {
            it.original["Config"]["Healthcheck"] = json!({ "Test": ["NONE"] });
        }),
        ("this Engine cannot change the restart policy of a container", |it| {
            it.original["HostConfig"]["RestartPolicy"]["Name"] = json!("no");
            it.can_update = false;
        }),
    ];
    for (expected, change) in rows {
        assert_eq!(obstacle(&[], change).as_deref(), Some(expected));
        assert_eq!(obstacle(&SHARED, change).as_deref(), Some(expected), "no label allows it");
    }
}

#[test]
fn a_probe_of_a_host_that_the_old_container_may_be_is_named() {
    let probe = [(LABEL_HEALTH_PROBE, "tcp://api.shop:80")];
    let expected = "its probe asks api.shop, where the old container may answer";
    let mut observation = container(&probe);
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.probe = Some(Ok(()));
    let Decision::No(no) = decide(&observation, &circumstances()) else { panic!("held") };
    assert_eq!((no.reason, no.detail.as_str()), (Reason::CannotStartFirst, expected));
}

#[test]
fn what_two_may_share_is_named_with_the_label_that_allows_it() {
    type Change = fn(&mut Readiness);
    let rows: [(&str, Change); 7] = [
        ("it may write to /data", |it| {
            it.original["Mounts"] = json!([
                { "Type": "volume", "Name": "data", "Destination": "/data", "Driver": "local", "RW": true },
            ]);
            it.original["HostConfig"]["Binds"] = json!(["data:/data"]);
        }),
        ("it may write to /var/run/docker.sock", |it| {
            it.original["Mounts"] = json!([{
                "Type": "bind", "Source": "/var/run/docker.sock",
                "Destination": "/var/run/docker.sock", "RW": true,
            }]);
        }),
        ("it uses the host's network", |it| {
            it.original["HostConfig"]["NetworkMode"] = json!("host");
            it.original["NetworkSettings"]["Networks"] = json!({ "host": {} });
        }),
        ("it is on no network of its own project, which could name both", |it| {
            it.original["HostConfig"]["NetworkMode"] = json!("default");
            it.original["NetworkSettings"]["Networks"] = json!({ "bridge": {} });
        }),
        ("it is on no network of its own project, which could name both", |it| {
            it.original["HostConfig"]["NetworkMode"] = json!("none");
            it.original["NetworkSettings"]["Networks"] = json!({ "none": {} });
        }),
        ("it has the host name api", |it| it.original["Config"]["Hostname"] = json!("api")),
        ("it may need its MAC address ce:15:9e:ed:72:d6", |it| {
            it.api = ApiVersion::V1_51;
            it.original["NetworkSettings"]["Networks"]["back"] =
                json!({ "MacAddress": "ce:15:9e:ed:72:d6", "IPAddress": "10.9.0.2" });
        }),
    ];
    let hint = " (the label pilotfish.update.shared=ok allows it)";
    for (expected, change) in rows {
        assert_eq!(obstacle(&[], change), Some(format!("{expected}{hint}")));
        assert_eq!(obstacle(&SHARED, change), None, "{expected}");
    }
}

#[test]
fn ties_to_others_and_from_others_are_named() {
    let to = |it: &mut Readiness| {
        it.original["HostConfig"]["Links"] = json!(["/db:/till/db"]);
    };
    assert_eq!(obstacle(&SHARED, to).as_deref(), Some("it links to db"));

    let mut observation = container(&SHARED);
    let policy: Policy = observation.policy.clone().expect("a policy");
    let side = side(&policy);
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.others.push(Arc::new(side.original.clone()));
    readiness.dependent_facts.insert("5".repeat(64), side);
    let Decision::No(no) = decide(&observation, &circumstances()) else { panic!("held") };
    assert_eq!(no.reason, Reason::CannotStartFirst);
    assert_eq!(no.detail, "side shares the network of till");
}

#[test]
fn everything_that_stands_in_the_way_is_named_at_once() {
    let both = |it: &mut Readiness| {
        it.original["HostConfig"]["PublishAllPorts"] = json!(true);
        it.original["Config"]["Hostname"] = json!("api");
    };
    let detail = obstacle(&[], both).expect("two obstacles");
    assert_eq!(detail.split("; ").count(), 2, "{detail}");
}

#[test]
fn a_rollback_by_hand_stops_first_and_so_it_is_never_refused_for_this() {
    let mut observation = container(&[]);
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.original["HostConfig"]["PublishAllPorts"] = json!(true);
    let readiness = observation.readiness.clone().expect("it is there");
    assert!(roll_back(&observation, &readiness, &offer("kept"), &circumstances()).is_ok());
}
