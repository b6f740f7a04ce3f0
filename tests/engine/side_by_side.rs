//! Updates of containers that share nothing: pulls and verifications overlap, switches do not. The
//! Engine's own events show when a service was down.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::agent::{Running, begins_step};
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, text};

/// How long an agent may take to open its socket, and updates to reach a step.
const SOON: Duration = Duration::from_secs(60);

/// The label with the name of the service. All containers of an update have it, whatever their
/// names.
const SERVICE_LABEL: &str = "service";

/// A release of a service. No two services have the same image.
fn release(service: &str, version: u32) -> Release {
    Release::new(&format!("{service} {version}"))
}

/// Starts a watched container of version 1 with this stable time, and publishes `next`.
fn start_before(pi: &Pi, service: &str, stable: &str, next: &Release) -> Published {
    let one = pi.registry.publish(service, &release(service, 1));
    let labels = [
        "--label=pilotfish.enable=true".to_owned(),
        format!("--label=pilotfish.health.stable={stable}"),
        format!("--label={SERVICE_LABEL}={service}"),
    ];
    pi.start(service, &one.reference, &labels.each_ref().map(String::as_str));
    pi.registry.publish(service, next)
}

/// Starts each of the services on version 1; version 2 is in the registry.
fn start_all(pi: &Pi, services: &[&str], stable: &str) -> Vec<Published> {
    services.iter().map(|it| start_before(pi, it, stable, &release(it, 2))).collect()
}

/// Starts the agent, and waits until it answers.
fn start_agent(pi: &Pi) -> Running {
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let socket = pi.agent.state().join("control.sock");
    wait_until("the agent answers", SOON, || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    agent
}

/// Waits until so many open journals say that the step has begun.
fn wait_for_step(pi: &Pi, step: &str, count: usize) {
    wait_until(&format!("{count} updates come to {step}"), SOON, || {
        let journals = pi.agent.entries_by_container();
        let is_there = |entries: &&Vec<Value>| entries.iter().any(|it| begins_step(it, step));
        journals.values().filter(is_there).count() == count
    });
}

/// The starts and ends of containers of the services, oldest first: the service, and `start` or
/// `die`. The Engine remembers its last 256 events. `docker` cuts the end of the list to a whole
/// second, so that is one second from now.
fn starts_and_ends(pi: &Pi) -> Vec<(String, String)> {
    let filter = format!("label={SERVICE_LABEL}");
    let words = ["events", "--since=0", "--until=-1s", "--format={{json .}}", "--filter"];
    let kinds = [filter.as_str(), "--filter=event=start", "--filter=event=die"];
    let events = pi.engine.docker(&[&words[..], &kinds].concat());
    let events = events.lines().map(|line| serde_json::from_str(line).expect("an event"));
    let pair =
        |event: Value| (text(&event["Actor"]["Attributes"][SERVICE_LABEL]), text(&event["Action"]));
    events.map(pair).collect()
}

/// Asserts that no two containers of one service ever ran at the same time, and that at the end one
/// of each runs. Returns the most services that were down at the same time.
#[track_caller]
fn assert_never_doubled(pi: &Pi, services: &[&str]) -> usize {
    let events = starts_and_ends(pi);
    let (mut running, mut down, mut most_down) = (Vec::new(), Vec::new(), 0);
    for (service, action) in &events {
        if action == "start" {
            assert!(!running.contains(service), "{service} ran twice: {events:?}");
            running.push(service.clone());
            down.retain(|it| it != service);
        } else {
            assert!(running.contains(service), "{service} ended twice: {events:?}");
            running.retain(|it| it != service);
            down.push(service.clone());
        }
        most_down = most_down.max(down.len());
    }
    running.sort();
    let mut expected = services.to_vec();
    expected.sort_unstable();
    assert_eq!(running, expected, "not one of each service runs: {events:?}");
    most_down
}

/// Asserts that each of the updates began before the first of them had ended.
#[track_caller]
fn assert_overlap(pi: &Pi, services: &[&str]) {
    let time = |service: &str, key: &str| -> DateTime<Utc> {
        text(&pi.history(service)[0][key]).parse().expect("a time")
    };
    let last_begin = services.iter().map(|it| time(it, "started_at")).max();
    let first_end = services.iter().map(|it| time(it, "finished_at")).min();
    assert!(last_begin < first_end, "the last began {last_begin:?}, the first ended {first_end:?}");
}

#[test]
fn four_updates_overlap_and_only_one_service_is_down_at_a_time() {
    const SERVICES: [&str; 4] = ["till", "kiosk", "door", "lamp"];
    let pi = Pi::new();
    let next = start_all(&pi, &SERVICES, "4s");

    pi.update(&[]).expect_code(0);

    for (service, image) in SERVICES.iter().zip(&next) {
        pi.assert_settled(service, image, SERVICES.len());
    }
    assert_overlap(&pi, &SERVICES);
    assert_eq!(assert_never_doubled(&pi, &SERVICES), 1, "services were down at the same time");
}

#[test]
fn one_of_four_updates_is_rolled_back_and_the_others_are_not() {
    const GOOD: [&str; 3] = ["kiosk", "door", "lamp"];
    let pi = Pi::new();
    let bad = release("till", 2).with("TILL_EXIT_AFTER", "1s");
    start_before(&pi, "till", "2s", &bad);
    let before = pi.id("till");
    let next = start_all(&pi, &GOOD, "2s");

    pi.update(&[]).expect_code(3);

    for (service, image) in GOOD.iter().zip(&next) {
        pi.assert_settled(service, image, 4);
    }
    assert_eq!(pi.id("till"), before, "the old container itself is restored");
    assert_eq!(pi.history("till")[0]["outcome"], "rolled_back");
    assert_eq!(pi.check("till")["reason"], "refused_digest");
    assert_never_doubled(&pi, &["till", "kiosk", "door", "lamp"]);
}

#[test]
fn an_agent_that_ends_during_two_verifications_leaves_both_to_the_next_one() {
    const SERVICES: [&str; 2] = ["till", "kiosk"];
    let pi = Pi::new();
    let next = start_all(&pi, &SERVICES, "4s");
    let agent = start_agent(&pi);
    let update = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify", 2);

    agent.terminate().expect_code(0);

    update.finish().expect_code(1);
    assert_eq!(pi.agent.journals().len(), 2, "both updates are open");
    let agent = start_agent(&pi);
    wait_until("the agent finishes both", SOON, || pi.agent.journals().is_empty());
    agent.terminate().expect_code(0);
    for (service, image) in SERVICES.iter().zip(&next) {
        pi.assert_settled(service, image, SERVICES.len());
        assert_eq!(pi.history(service)[0]["outcome"], "updated");
    }
    assert_never_doubled(&pi, &SERVICES);
}

#[test]
fn an_update_and_a_rollback_do_not_wait_for_two_others_in_verification() {
    let pi = Pi::new();
    // The test ends before these two.
    start_all(&pi, &["till", "kiosk"], "10m");
    let two = start_before(&pi, "door", "1s", &release("door", 2));
    let _agent = start_agent(&pi);
    let _update = pi.agent.spawn(&pi.engine, &["update", "till", "kiosk"]);
    wait_for_step(&pi, "verify", 2);
    let assert_both_in_flight = || {
        let status = pi.agent.json(&pi.engine, &["status", "--json"]);
        let both = ["kiosk", "till"].map(|it| json!({ "container": it, "step": "verify" }));
        assert_eq!(status["in_flight"], json!(both));
    };
    assert_both_in_flight();
    let status = pi.agent.run(&pi.engine, &["status"]).expect_code(0);
    assert!(status.out.contains("updating    kiosk (verify), till (verify)\n"), "{}", status.out);

    let updated = pi.update(&["door"]).expect_code(0);

    assert_eq!(updated.err, "", "the update has waited");
    assert_eq!(pi.image("door"), two.image);
    let rolled_back = pi.agent.run(&pi.engine, &["rollback", "door"]).expect_code(0);
    assert_eq!(rolled_back.err, "", "the rollback has waited");
    assert_ne!(pi.image("door"), two.image);
    assert_both_in_flight();
}
