//! Containers that are held although a new image is offered, each with its reason.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::agent::{Agent, scrape};
use crate::support::command::{run, wait_until};
use crate::support::engine::Engine;
use crate::support::images::Release;
use crate::support::registry::Registry;
use crate::support::{Pi, QUIET, WATCHED};

/// Longer than three tries to repair an update.
const SOON: Duration = Duration::from_secs(60);

/// A Pi on which `till` runs version 1 with these options while version 2 is in the registry.
fn with_an_update_waiting(options: &[&str]) -> Pi {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let mut all = vec!["run", "--detach", "--name=till"];
    all.extend(WATCHED);
    all.extend(options);
    all.push(&one.reference);
    pi.engine.docker(&all);
    pi.registry.publish("till", &Release::new("2"));
    pi
}

/// The update is held for this reason, with and without `--force`, and changes nothing.
#[track_caller]
fn assert_held(pi: &Pi, reason: &str) {
    let before = pi.id("till");
    for words in [&[][..], &["till", "--force"]] {
        let output = pi.update(words).expect_code(0);
        assert!(output.out.contains(&format!("till is held: {reason}")), "{}", output.out);
    }
    assert_eq!(pi.check("till")["reason"], reason);
    assert_eq!(pi.id("till"), before);
}

#[test]
fn a_probe_that_fails_on_the_old_container_holds_the_update() {
    let probe = "--label=pilotfish.health.probe=http://:1/healthz";
    assert_held(&with_an_update_waiting(&[probe, "--network=host"]), "probe_failing");
}

#[test]
fn layers_that_do_not_fit_are_not_pulled_and_the_missing_space_is_named() {
    let make = |directory: &Path| {
        let data = directory.join("data");
        std::fs::create_dir(&data).expect("the Engine's data");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=60m", "tmpfs"]).arg(data));
    };
    let engine = Engine::start_in(&[], make);
    let registry = Registry::start(&engine);
    let agent = Agent::install(&engine, QUIET);
    let pi = Pi { registry, agent, engine };
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start("till", &one.reference, &WATCHED);
    let two = pi.registry.publish("till", &Release::new("2").with_ballast(1 << 20));

    assert_held(&pi, "disk_full");

    let row = pi.check("till");
    let detail = row["detail"].as_str().expect("a detail");
    assert!(detail.contains("are free") && detail.contains("are missing"), "{detail}");
    let pulled = pi.engine.call("GET", &format!("/images/{}/json", two.image));
    assert_eq!(pulled.status, 404, "the pull was started");
    let data = pi.engine.directory().join("data");
    run(Command::new("mount").args(["-o", "remount,size=1g"]).arg(data));
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_container_that_a_stop_would_delete_cannot_be_recreated() {
    assert_held(&with_an_update_waiting(&["--rm"]), "cannot_recreate");
}

#[test]
fn check_names_files_in_the_container_that_an_update_would_drop() {
    let pi = with_an_update_waiting(&[]);
    let file = pi.engine.directory().join("mine.conf");
    std::fs::write(&file, "mine").expect("a file");
    let file = file.display().to_string();
    pi.engine.docker(&["cp", &file, "till:/mine.conf"]);

    let output = pi.agent.run(&pi.engine, &["check"]).expect_code(0);

    let words = "an update of till drops /mine.conf, copied into the container";
    assert!(output.out.contains(words), "{}", output.out);
}

#[test]
fn an_open_update_is_in_flight() {
    let pi = with_an_update_waiting(&[]);
    pi.update_until("verify").kill();

    assert_eq!(pi.check("till")["reason"], "update_in_flight");
}

#[test]
fn an_update_of_another_agent_is_not_touched() {
    let pi = with_an_update_waiting(&[]);
    let first = pi.update_until("verify");
    let elsewhere = pi.engine.directory().join("other");
    let words = ["update", "--state-dir", elsewhere.to_str().expect("a path")];

    let second = pi.agent.run(&pi.engine, &words).expect_code(0);

    assert!(second.out.contains("till is held: another_agent"), "{}", second.out);
    first.finish().expect_code(0);
    assert_eq!(pi.names(), ["till running"]);
}

#[test]
fn an_update_that_three_tries_cannot_finish_is_stuck_until_a_person_helps() {
    let pi = with_an_update_waiting(&[]);
    pi.update_until("verify").kill();
    // A person takes the name for a container that does not run: it neither serves nor gets
    // removed.
    pi.engine.docker(&["rm", "--force", "till"]);
    let image = pi.image("pilotfish-old-till");
    pi.engine.docker(&["create", "--name=till", WATCHED[0], &image]);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");

    wait_until("it is stuck", SOON, || {
        pi.update(&[]).expect_code(1);
        pi.check("till")["reason"] == "stuck"
    });

    assert_eq!(pi.history("till")[0]["outcome"], "stuck");
    let page = scrape(&pi.engine, "/metrics");
    assert!(page.contains("\npilotfish_stuck 1\n"), "{page}");
    assert!(page.contains("pilotfish_updates_total{container=\"till\",outcome=\"stuck\"} 1"));
    assert_eq!(pi.agent.json(&pi.engine, &["status", "--json"])["stuck"][0], "till");
    let recover = |code| pi.agent.run(&pi.engine, &["recover"]).expect_code(code);
    assert!(
        recover(1).out.ends_with("till: could still not be finished or undone; the log says why\n")
    );
    pi.engine.docker(&["rm", "--force", "till"]);
    recover(0);
    assert_eq!(pi.names(), ["till running"]);
    assert!(scrape(&pi.engine, "/metrics").contains("\npilotfish_stuck 0\n"));
    agent.terminate().expect_code(0);
}
