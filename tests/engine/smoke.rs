//! The fixtures of the other tests: the private Engine, the registry and the images.

use std::time::Duration;

use rustix::process::Pid;

use crate::support::Pi;
use crate::support::command::wait_until;
use crate::support::engine::has_ended;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::support::registry::is_containerd_store;

#[test]
fn a_published_release_runs_and_serves() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));

    pi.start_watched("till", &one.reference, 8080, &[]);

    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    pi.assert_settled("till", &one, 1);
}

#[test]
fn the_registry_answers_with_the_published_digest_and_logs_requests() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let two = pi.registry.publish("till", &Release::new("2"));
    assert_ne!(one.digest, two.digest);

    let registry = Peer::Tcp(pi.engine.address_of(crate::support::registry::PORT));
    let accept = ("Accept", "application/vnd.docker.distribution.manifest.v2+json");
    let head = registry.request("HEAD", "/v2/till/manifests/latest", &[accept], b"");

    let head = head.expect("the registry");
    assert_eq!(head.header("Docker-Content-Digest"), Some(two.digest.as_str()));
    let heads = |request: &String| request.starts_with("HEAD /v2/till/manifests/latest");
    assert_eq!(pi.registry.requests().iter().filter(|request| heads(request)).count(), 1);
}

#[test]
fn an_index_around_an_image_is_the_same_image_under_another_digest() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let first = pi.registry.publish_index("till", &one, "first");
    let second = pi.registry.publish_index("till", &one, "second");
    assert_ne!(first, second);

    pi.engine.docker(&["pull", &one.reference]);

    let image = pi.engine.call("GET", &format!("/images/{}/json", one.reference)).json();
    assert_eq!(image["RepoDigests"][0], format!("127.0.0.1:5000/till@{second}"));
    if !is_containerd_store() {
        assert_eq!(image["Id"], one.image);
    }
}

#[test]
fn broken_releases_fail_as_configured() {
    let pi = Pi::new();
    let exits = Release::new("2").with("TILL_EXIT_AFTER", "0s").with("TILL_EXIT_CODE", "7");
    let exits = pi.registry.publish("exits", &exits);
    let needs = pi.registry.publish("needs", &Release::new("2").with("TILL_NEEDS", "SHIFT"));
    let sick = Release::new("2")
        .with("TILL_UNHEALTHY_AFTER", "0s")
        .with_healthcheck(Duration::from_millis(200), 1);
    let sick = pi.registry.publish("sick", &sick);
    for (name, image) in [("exits", &exits), ("needs", &needs), ("sick", &sick)] {
        pi.engine.docker(&["run", "--detach", "--name", name, &image.reference]);
    }

    assert_eq!(pi.engine.docker(&["wait", "exits"]), "7");
    assert_eq!(pi.engine.docker(&["wait", "needs"]), "1");
    wait_until("sick becomes unhealthy", Duration::from_secs(10), || {
        pi.inspect("sick")["State"]["Health"]["Status"] == "unhealthy"
    });
}

#[test]
fn the_engine_pulls_over_tls_under_a_private_authority() {
    let mut pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let name = pi.registry.serve_tls(&pi.engine);

    pi.engine.docker(&["pull", &format!("{name}/till:latest")]);

    let image = pi.engine.call("GET", &format!("/images/{}/json", one.image)).json();
    assert_eq!(image["RepoDigests"][0], format!("{name}/till@{}", one.digest));
}

#[test]
fn after_a_power_cut_the_engine_starts_containers_with_restart_always() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);

    pi.engine.cut();
    assert_eq!(pi.serving(8080), None);
    pi.engine.start_again(&[]);

    wait_until("till serves again", Duration::from_secs(10), || pi.serving(8080).is_some());
}

#[test]
fn an_engine_with_live_restore_keeps_containers_running_while_it_is_down() {
    let pi = Pi::with(&["--live-restore"], "");
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--network=host"]);
    let before = pi.inspect("till")["State"]["Pid"].clone();

    pi.engine.kill();
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    pi.engine.start_again(&["--live-restore"]);
    assert_eq!(pi.inspect("till")["State"]["Pid"], before);
    pi.engine.stop();
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    pi.engine.start_again(&["--live-restore"]);
    assert_eq!(pi.inspect("till")["State"]["Pid"], before);
}

#[test]
fn nothing_is_left_after_a_pi_is_dropped() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let directory = pi.engine.directory().to_owned();
    let till = pi.inspect("till")["State"]["Pid"].as_i64().expect("a process id");
    let till = Pid::from_raw(i32::try_from(till).expect("a process id")).expect("a process id");
    assert!(!has_ended(till));

    drop(pi);

    assert!(!directory.exists());
    wait_until("the till ends", Duration::from_secs(5), || has_ended(till));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&directory.display().to_string()));
}
