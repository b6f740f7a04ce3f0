//! Bad releases: the old container is restored, and the bad release is not tried again.

use std::time::Duration;

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED};

/// A release whose HEALTHCHECK runs five times a second.
fn checked(version: &str) -> Release {
    Release::new(version).with_healthcheck(Duration::from_millis(200), 1)
}

/// Publishes the bad release after a good one, and checks that the good one is restored.
fn assert_restored_from(good: &Release, bad: &Release) -> (Pi, Published, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", good);
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", bad);

    pi.update(&[]).expect_code(3);

    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.id("till"), old, "the old container itself is restored");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    let history = pi.history("till");
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["outcome"], "rolled_back");
    assert_eq!(history[0]["to"], two.digest.as_str());
    assert!(history[0]["reason"].is_string(), "no reason: {}", history[0]);
    let row = pi.check("till");
    assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &"refused_digest".into()));
    (pi, one, two)
}

#[test]
fn a_release_that_exits_at_start() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "0s");
    let (pi, _, two) = assert_restored_from(&Release::new("1"), &bad);

    let log = pi.history("till")[0]["log"].to_string();
    assert!(log.contains("the cash drawer is missing"), "its last output is missing: {log}");
    let left = pi.engine.call("GET", &format!("/images/{}/json", two.image));
    assert_eq!(left.status, 404, "the failed image is left behind");
}

#[test]
fn a_release_that_exits_with_zero() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "0s").with("TILL_EXIT_CODE", "0");
    assert_restored_from(&Release::new("1"), &bad);
}

#[test]
fn a_release_that_is_never_healthy() {
    let bad = checked("2").with("TILL_UNHEALTHY_AFTER", "0s");
    assert_restored_from(&checked("1"), &bad);
}

#[test]
fn a_release_that_stays_in_starting() {
    // With a thousand retries the Engine never says `unhealthy`, so only the time limit ends this.
    let bad = Release::new("2")
        .with("TILL_UNHEALTHY_AFTER", "0s")
        .with_healthcheck(Duration::from_secs(1), 1000);
    assert_restored_from(&checked("1"), &bad);
}

#[test]
fn a_release_that_becomes_unhealthy_in_the_stable_window() {
    let bad = checked("2").with("TILL_UNHEALTHY_AFTER", "1s");
    assert_restored_from(&checked("1"), &bad);
}

#[test]
fn a_release_that_dies_in_the_stable_window() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "1s");
    assert_restored_from(&Release::new("1"), &bad);
}

#[test]
fn a_release_whose_binary_is_not_there() {
    let bad = Release::new("2").with_entrypoint("/no-such-file");
    assert_restored_from(&Release::new("1"), &bad);
}

#[test]
fn a_slow_health_check_is_waited_for() {
    // The first result comes after three seconds, longer than the agent waits by default.
    let pi = Pi::with(&[], "every = \"1000h\"\n[health]\ntimeout = \"1s\"\nstable = \"1s\"");
    let slow = |version| Release::new(version).with_healthcheck(Duration::from_secs(3), 1);
    let one = pi.registry.publish("till", &slow("1"));
    pi.start("till", &one.reference, &[WATCHED[0], "--publish=8080:8080"]);
    let two = pi.registry.publish("till", &slow("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.inspect("till")["State"]["Health"]["Status"], "healthy");
}

#[test]
fn a_refused_digest_is_not_tried_again() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "0s");
    let (pi, one, two) = assert_restored_from(&Release::new("1"), &bad);
    let old = pi.id("till");

    // Each command is a new agent process.
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.check("till")["reason"], "refused_digest");
    pi.registry.publish_index("till", &two, "the same bad image");
    pi.update(&[]).expect_code(0);

    assert_eq!(pi.check("till")["reason"], "refused_digest");
    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.history("till").len(), 1, "it was tried again");
    let three = pi.registry.publish("till", &Release::new("3"));
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &three, 1);
    assert_ne!(one.image, three.image);
}

#[test]
fn one_of_two_containers_on_one_image_fails() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("careful", &one.reference, 8081, &["--env=SHIFT=day"]);
    let old = pi.start_watched("careless", &one.reference, 8082, &[]);
    let two = pi.registry.publish("till", &Release::new("2").with("TILL_NEEDS", "SHIFT"));

    pi.update(&[]).expect_code(3);

    pi.assert_settled("careful", &two, 2);
    pi.assert_settled("careless", &one, 2);
    assert_eq!(pi.id("careless"), old);
    assert_eq!(pi.serving(8081).as_deref(), Some("till 2"));
    assert_eq!(pi.serving(8082).as_deref(), Some("till 1"));
    assert_eq!(pi.check("careful")["verdict"], "up_to_date");
    assert_eq!(pi.check("careless")["reason"], "refused_digest");
}

#[test]
fn a_probe_verifies_an_image_without_a_health_check() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let probe = ["--network=host", "--label=pilotfish.health.probe=http://:8080/healthz"];
    let mut options = WATCHED.to_vec();
    options.extend(probe);
    let old = pi.start("till", &one.reference, &options);
    pi.registry.publish("till", &Release::new("2").with("TILL_UNHEALTHY_AFTER", "0s"));

    pi.update(&[]).expect_code(3);

    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.id("till"), old);
    let three = pi.registry.publish("till", &Release::new("3"));
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &three, 1);
}

#[test]
fn a_probe_counts_although_the_engine_sends_health_events_all_the_time() {
    let pi = Pi::new();
    let often = Duration::from_millis(200);
    let release = |version| Release::new(version).with_healthcheck(often, 3);
    let one = pi.registry.publish("till", &release("1"));
    let mut options = WATCHED.to_vec();
    options.extend(["--network=host", "--label=pilotfish.health.probe=http://:8080/healthz"]);
    pi.start("till", &one.reference, &options);
    pi.wait_until_serving(8080);
    let two = pi.registry.publish("till", &release("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
}
