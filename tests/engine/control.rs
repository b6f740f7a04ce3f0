//! Commands while an agent runs: they work through its control socket. If either end dies, nothing
//! breaks and the other end reports it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::agent::{Running, begins_step};
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, text};

/// How long an agent may take to open its socket, or an update to reach a step.
const SOON: Duration = Duration::from_secs(60);

/// A Pi with `till` on version 1, and an agent that starts no round by itself.
fn with_an_agent() -> (Pi, Running, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let agent = start_agent(&pi);
    (pi, agent, one)
}

/// Starts the agent, and waits until it answers.
fn start_agent(pi: &Pi) -> Running {
    let mut agent = pi.agent.spawn(&pi.engine, &["run"]);
    let socket = pi.agent.state().join("control.sock");
    wait_until("the agent answers", SOON, || {
        assert!(agent.is_running(), "the agent ended: {}", agent.log());
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    agent
}

/// Waits until the journal says that the update has reached the step.
fn wait_for_step(pi: &Pi, step: &str) {
    wait_until(&format!("the update comes to {step}"), SOON, || {
        pi.agent.entries().iter().any(|entry| begins_step(entry, step))
    });
}

/// How many HEAD requests for a tag the registry got.
fn heads(pi: &Pi) -> usize {
    let asks = |line: &&String| line.starts_with("HEAD ") && line.contains("/manifests/");
    pi.registry.requests().iter().filter(asks).count()
}

/// The output of an update without digests and times.
fn without_digits(out: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| !c.is_ascii_digit());
    let line = |line: &str| line.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ");
    out.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn check_answers_from_the_agents_snapshot_and_fresh_asks_the_registry() {
    let (pi, agent, _) = with_an_agent();
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    let asked = heads(&pi);
    assert!(asked > 0, "the agent has never looked");
    let two = pi.registry.publish("till", &Release::new("2"));

    let known = pi.agent.json(&pi.engine, &["check", "--json"]);

    assert_eq!(heads(&pi), asked, "the registry was asked again");
    assert_eq!(known["containers"][0]["verdict"], "up_to_date");
    let again = pi.agent.json(&pi.engine, &["check", "--json"]);
    assert_eq!(known, again, "the cached answer changed");
    let fresh = pi.agent.json(&pi.engine, &["check", "--fresh", "--json"]);
    assert_eq!(heads(&pi), asked + 1);
    assert_eq!(fresh["containers"][0]["offered"], two.digest.as_str());
    assert_eq!(pi.check("till")["verdict"], "update");
    assert_eq!(heads(&pi), asked + 1);
    agent.terminate().expect_code(0);
}

#[test]
fn check_shows_new_containers_and_drops_removed_ones() {
    let (pi, _agent, one) = with_an_agent();
    pi.check("till");

    pi.start_watched("kiosk", &one.reference, 8081, &[]);

    assert_eq!(pi.check("kiosk")["verdict"], "up_to_date");
    pi.engine.docker(&["rm", "--force", "kiosk"]);
    let document = pi.agent.json(&pi.engine, &["check", "--json"]);
    assert_eq!(document["containers"].as_array().map(Vec::len), Some(1), "{document:#}");
}

#[test]
fn an_update_through_the_agent_prints_the_same_as_without() {
    let (pi, agent, _) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));

    let through = pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    agent.terminate().expect_code(0);
    pi.registry.publish("till", &Release::new("3"));
    let alone = pi.update(&[]).expect_code(0);
    assert_eq!(without_digits(&through.out), without_digits(&alone.out));
    let ends = through.out.lines().filter(|line| line.starts_with("till: updated, "));
    assert_eq!(ends.count(), 1, "{}", through.out);
    for step in ["pull", "create", "switch", "verify", "clean"] {
        assert!(through.out.contains(&format!("till: {step}")), "{step}: {}", through.out);
    }
}

#[test]
fn commands_work_through_the_agent_and_check_shows_the_result_at_once() {
    let (pi, agent, one) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&["till"]).expect_code(0);
    let command = |words: &[&str]| pi.agent.run(&pi.engine, words);

    command(&["rollback", "till"]).expect_code(0);

    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.check("till")["reason"], "refused_digest");
    command(&["allow", "till"]).expect_code(0);
    assert_eq!(pi.check("till")["verdict"], "update");
    let nothing = command(&["recover"]).expect_code(0);
    assert_eq!(nothing.out, "Nothing was left open.\n");
    for words in [&["check", "kiosk"][..], &["update", "kiosk"], &["rollback", "kiosk"]] {
        let output = command(words).expect_code(1);
        assert!(output.err.contains("no watched container is named kiosk;"), "{output:?}");
    }
    let dry = command(&["update", "--dry-run"]).expect_code(0);
    assert!(dry.out.contains("till"), "{}", dry.out);
    command(&["update"]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    agent.terminate().expect_code(0);
}

#[test]
fn two_update_commands_at_once() {
    let (pi, _agent, _) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));
    let first = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify");

    let second = pi.update(&[]).expect_code(0);

    assert!(second.err.contains("the agent is updating till; this waits for it"), "{second:?}");
    assert!(second.out.ends_with("1 container: 1 up to date\n"), "{}", second.out);
    first.finish().expect_code(0);
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.history("till").len(), 1);
}

#[test]
fn a_check_does_not_wait_for_an_update() {
    let (pi, _agent, _) = with_an_agent();
    pi.check("till");
    pi.registry.publish("till", &Release::new("2"));
    let update = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify");

    pi.check("till");

    let status = pi.agent.json(&pi.engine, &["status", "--json"]);
    assert_eq!(status["in_flight"][0]["container"], "till", "check has waited for the update");
    update.finish().expect_code(0);
}

#[test]
fn an_update_in_verification_delays_no_check_and_no_command() {
    let (pi, _agent, one) = with_an_agent();
    let kiosk = pi.registry.publish("kiosk", &Release::new("1"));
    let long = ["--label=pilotfish.enable=true", "--label=pilotfish.health.stable=8s"];
    pi.engine.docker(&["rm", "--force", "till"]);
    pi.start("till", &one.reference, &[&long[..], &["--env=PORT=8080"]].concat());
    pi.start_watched("kiosk", &kiosk.reference, 8081, &[]);
    pi.registry.publish("till", &Release::new("2"));
    let two = pi.registry.publish("kiosk", &Release::new("2"));
    let update = pi.agent.spawn(&pi.engine, &["update", "till"]);
    wait_for_step(&pi, "verify");

    let fresh = pi.agent.json(&pi.engine, &["check", "--fresh", "--json"]);
    pi.agent.run(&pi.engine, &["allow", "kiosk"]).expect_code(0);

    let rows = fresh["containers"].as_array().expect("rows");
    let of = |name: &str| rows.iter().find(|row| row["container"] == name).expect("a row");
    assert_eq!(of("kiosk")["offered"], two.digest.as_str());
    assert_eq!(of("till")["reason"], "update_in_flight");
    let status = pi.agent.json(&pi.engine, &["status", "--json"]);
    assert_eq!(status["in_flight"][0]["container"], "till", "a command waited for the update");
    // An update of another container on another image runs beside it.
    let second = pi.update(&["kiosk"]).expect_code(0);
    assert_eq!(second.err, "", "the update has waited");
    update.finish().expect_code(0);
    assert_eq!(pi.history("kiosk").len(), 1);
}

#[test]
fn ctrl_c_detaches_and_the_update_continues() {
    let (pi, _agent, _) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));
    let update = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify");

    kill_process(update.pid(), Signal::INT).expect("to interrupt the command");

    let output = update.finish().expect_code(1);
    assert_eq!(
        output.err,
        "pilotfish: detached; the agent continues, and `pilotfish status` and `pilotfish history` \
         show the result\n"
    );
    wait_until("the update ends", SOON, || !pi.history("till").is_empty());
    wait_until("its journal goes", SOON, || pi.agent.journals().is_empty());
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_command_reports_that_the_agent_died_and_recover_repairs() {
    let (pi, agent, _) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));
    let update = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify");

    agent.kill();

    let output = update.finish().expect_code(1);
    assert_eq!(
        output.err,
        "pilotfish: the agent ended, or was restarted, before it was done; `pilotfish status` and \
         `pilotfish history` show the result\n"
    );
    let recovered = pi.agent.run(&pi.engine, &["recover"]).expect_code(0);
    assert!(recovered.out.lines().any(|line| line.starts_with("till: ")), "{}", recovered.out);
    assert_eq!(pi.agent.journals().len(), 0);
    let nothing = pi.agent.run(&pi.engine, &["recover"]).expect_code(0);
    assert_eq!(nothing.out, "Nothing was left open.\n");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_command_reports_that_the_agent_was_stopped() {
    let (pi, agent, _) = with_an_agent();
    let two = pi.registry.publish("till", &Release::new("2"));
    let update = pi.agent.spawn(&pi.engine, &["update"]);
    wait_for_step(&pi, "verify");

    agent.terminate().expect_code(0);

    update.finish().expect_code(1);
    let agent = start_agent(&pi);
    wait_until("the agent takes it up", SOON, || pi.agent.journals().is_empty());
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    agent.terminate().expect_code(0);
}

#[test]
fn a_second_agent_names_the_first() {
    let (pi, agent, _) = with_an_agent();

    let second = pi.agent.run(&pi.engine, &["run"]).expect_code(1);

    let expected = format!(
        "pilotfish: {} is in use by process {}; two agents must not share a state directory",
        pi.agent.state().display(),
        agent.pid()
    );
    assert_eq!(second.err.lines().last(), Some(expected.as_str()));
    pi.agent.run(&pi.engine, &["healthcheck"]).expect_code(0);
}

#[test]
fn status_and_healthcheck_show_the_state_of_the_agent() {
    let (pi, agent, _) = with_an_agent();
    pi.agent.run(&pi.engine, &["check", "--fresh"]).expect_code(0);

    let status = pi.agent.run(&pi.engine, &["status"]).expect_code(0);

    let titles = status.out.lines().map(|line| line.split("  ").next().unwrap_or_default());
    let expected = ["agent", "watches", "last check", "next check", "updating"];
    assert_eq!(titles.collect::<Vec<_>>(), expected);
    let process =
        format!("running, version {}, process {}", env!("CARGO_PKG_VERSION"), agent.pid());
    assert!(status.out.contains(&process), "{}", status.out);
    assert!(status.out.contains("1 container: 1 up to date, 0 to update"), "{}", status.out);
    let document = pi.agent.json(&pi.engine, &["status", "--json"]);
    assert_eq!(document["pid"], agent.pid().as_raw_pid());
    assert_eq!(document["ready"], true);
    assert_eq!((&document["error"], &document["in_flight"]), (&Value::Null, &json!([])));
    assert_eq!(document["containers"][0]["verdict"], "up_to_date");
    assert!(text(&document["last_check"]) < text(&document["next_check"]));
    let mode = |name: &str| {
        let path = pi.agent.state().join(name);
        std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("control.sock")), (0o700, 0o600));
    pi.agent.run(&pi.engine, &["healthcheck"]).expect_code(0);
    agent.kill();
    pi.agent.run(&pi.engine, &["healthcheck"]).expect_code(1);
    pi.agent.run(&pi.engine, &["status"]).expect_code(1);
}

#[test]
fn an_agent_without_an_engine_becomes_unhealthy_and_says_why() {
    let pi = Pi::with(&[], "every = \"1s\"\njitter = \"0%\"");
    let _agent = start_agent(&pi);
    pi.agent.run(&pi.engine, &["healthcheck"]).expect_code(0);

    pi.engine.stop();

    wait_until("the agent is unhealthy", SOON, || {
        let output = pi.agent.run(&pi.engine, &["healthcheck"]);
        output.code() == 1 && output.err.contains("cannot be reached")
    });
    let status = pi.agent.run(&pi.engine, &["status"]).expect_code(0);
    assert!(
        status.out.starts_with("agent       in trouble: the Engine at unix://"),
        "{}",
        status.out
    );
}
