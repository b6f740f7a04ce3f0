//! SIGHUP: a valid configuration is applied; an invalid one is reported and the old one stays.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::support::Pi;
use crate::support::agent::{METRICS_PORT, Running, begins_step, scrape};
use crate::support::command::wait_until;
use crate::support::images::Release;

/// Longer than the agent takes for a command, an update included.
const SOON: Duration = Duration::from_secs(60);

fn file(pi: &Pi) -> PathBuf {
    pi.engine.directory().join("agent/pilotfish.toml")
}

fn send_sighup(agent: &Running) {
    kill_process(agent.pid(), Signal::HUP).expect("to signal the agent");
}

/// Waits until this text is in the log.
fn wait_for_log(agent: &Running, words: &str) {
    wait_until(&format!("the agent says {words:?}"), SOON, || agent.log().contains(words));
}

#[test]
fn sighup_applies_a_valid_file_and_keeps_the_old_one_on_an_invalid_one() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let mut agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");
    let file = file(&pi);
    let before = fs::read_to_string(&file).expect("the configuration");

    fs::write(&file, before.replace("every", "evry")).expect("a wrong one");
    send_sighup(&agent);

    wait_for_log(&agent, "the configuration stays as it was");
    assert!(agent.log().contains("there is no key `schedule.evry`; did you mean"));
    let two = pi.registry.publish("till", &Release::new("2"));
    fs::write(&file, before.replace("\"1000h\"", "\"1s\"\njitter = \"0%\"")).expect("a good one");
    send_sighup(&agent);
    wait_for_log(&agent, "using the new configuration");
    wait_until("the update by the new schedule", SOON, || !pi.history("till").is_empty());
    wait_until("its journal goes", SOON, || pi.agent.journals().is_empty());
    pi.assert_settled("till", &two, 1);
    assert!(agent.is_running());
    agent.terminate().expect_code(0);
}

#[test]
fn sighup_with_a_file_that_cannot_be_applied_keeps_the_old_one() {
    let pi = Pi::new();
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");
    let file = file(&pi);
    let before = fs::read_to_string(&file).expect("the configuration");

    // The registry listens on that port.
    let taken = format!(":{METRICS_PORT}");
    fs::write(&file, before.replace(&taken, ":5000")).expect("a configuration");
    send_sighup(&agent);

    wait_for_log(&agent, "the configuration stays as it was: 0.0.0.0:5000 is used");
    assert_eq!(scrape(&pi.engine, "/healthz"), "ok\n");
    fs::write(&file, before).expect("the old configuration");
    pi.agent.run(&pi.engine, &["healthcheck"]).expect_code(0);
    agent.terminate().expect_code(0);
}

#[test]
fn sighup_waits_for_the_update_and_loses_no_command() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");
    let two = pi.registry.publish("till", &Release::new("2"));
    let first = pi.agent.spawn(&pi.engine, &["update"]);
    wait_until("the update comes to verify", SOON, || {
        pi.agent.entries().iter().any(|entry| begins_step(entry, "verify"))
    });
    let second = pi.agent.spawn(&pi.engine, &["update"]);
    wait_until("the second one waits", SOON, || second.log().contains("this waits for it"));

    send_sighup(&agent);

    first.finish().expect_code(0);
    let second = second.finish().expect_code(0);
    assert!(second.out.ends_with("1 container: 1 up to date\n"), "{}", second.out);
    wait_for_log(&agent, "using the new configuration");
    pi.assert_settled("till", &two, 1);
    agent.terminate().expect_code(0);
}
