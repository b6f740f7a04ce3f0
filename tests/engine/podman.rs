//! Podman's Docker API (4.3), which has no `update`: `make test-engines`.

use std::time::Duration;

use serde_json::Value;

use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// A Pi on which `till` runs version 1 with these options.
fn with_a_till(options: &[&str]) -> Pi {
    assert_eq!(std::env::var("TEST_ENGINE").as_deref(), Ok("podman"), "see scripts/private-engine");
    let pi = Pi::new();
    run_a_till(&pi, &Release::new("1"), options);
    pi
}

fn run_a_till(pi: &Pi, release: &Release, options: &[&str]) {
    let one = pi.registry.publish("till", release);
    let mut all = vec!["run", "--detach", "--name=till"];
    all.extend(WATCHED);
    all.extend(options);
    all.push(&one.reference);
    pi.engine.docker(&all);
}

#[test]
#[ignore = "takes Podman: make test-engines"]
fn podman_updates_a_container_without_a_restart_policy() {
    let pi = with_a_till(&["--publish=8080:8080"]);
    pi.registry.publish("till", &Release::new("2"));

    let output = pi.update(&[]).expect_code(0);

    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"), "{}", output.out);
    assert_eq!(pi.names().len(), 1, "{:?}", pi.names());
}

#[test]
#[ignore = "takes Podman: make test-engines"]
fn podman_rolls_back_a_release_that_exits() {
    let pi = with_a_till(&["--publish=8080:8080"]);
    pi.registry.publish("till", &Release::new("bad").with("TILL_EXIT_AFTER", "0s"));

    pi.update(&[]).expect_code(3);

    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert_eq!(pi.names(), ["till running"]);
}

#[test]
#[ignore = "takes Podman: make test-engines"]
fn podman_cannot_change_a_restart_policy_so_such_a_container_is_held() {
    let pi = with_a_till(&["--restart=always"]);
    pi.registry.publish("till", &Release::new("2"));
    let before = pi.id("till");

    let output = pi.update(&[]).expect_code(0);

    assert!(output.out.contains("HostConfig.RestartPolicy.Name"), "{}", output.out);
    assert_eq!(pi.check("till")["reason"], "cannot_recreate");
    assert_eq!(pi.id("till"), before);
}

#[test]
#[ignore = "takes Podman: make test-engines"]
fn podman_hides_fixed_addresses_so_a_container_on_a_users_network_is_held() {
    let pi = Pi::new();
    pi.engine.docker(&["network", "create", "--subnet=10.50.0.0/24", "blue"]);
    run_a_till(&pi, &Release::new("1"), &["--network=blue", "--ip=10.50.0.77"]);
    pi.registry.publish("till", &Release::new("2"));
    let before = pi.id("till");

    let output = pi.update(&[]).expect_code(0);

    let field = "NetworkSettings.Networks.blue.IPAMConfig";
    assert!(output.out.contains(field), "{}", output.out);
    assert_eq!(pi.check("till")["reason"], "cannot_recreate");
    assert_eq!(pi.id("till"), before);
}

#[test]
#[ignore = "takes Podman: make test-engines"]
fn on_podman_the_health_check_follows_the_image_and_the_mac_address_stays() {
    let pi = Pi::new();
    let checked = Release::new("1").with_healthcheck(Duration::from_secs(11), 5);
    run_a_till(&pi, &checked, &["--publish=8080:8080"]);
    let before = pi.engine.inspect("till").expect("the till");
    pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    let after = pi.engine.inspect("till").expect("the till");
    assert_ne!(after["Image"], before["Image"]);
    assert!(before["Config"]["Healthcheck"].is_object(), "{before}");
    assert_eq!(after["Config"]["Healthcheck"], Value::Null);
    let place = "/NetworkSettings/Networks/podman/MacAddress";
    assert!(before.pointer(place).is_some_and(Value::is_string), "{before}");
    assert_eq!(after.pointer(place), before.pointer(place));
}
