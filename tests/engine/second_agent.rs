//! A second agent with its own state directory on the same Engine: only one of them works.

use std::time::Duration;

use crate::support::agent::{Agent, Finished};
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::{Pi, QUIET, WATCHED};

/// Longer than an agent takes to notice that the other one is gone.
const SOON: Duration = Duration::from_secs(30);

const LOCK: &str = "/volumes/pilotfish-lock";

/// A Pi on which `till` runs version 1 while version 2 is in the registry, and a second agent.
fn with_two_agents() -> (Pi, Agent) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    let second = Agent::install_as("second", &pi.engine, QUIET);
    // Without a listen address, so that the two agents do not collide.
    let file = pi.engine.directory().join("second/pilotfish.toml");
    let written = std::fs::read_to_string(&file).expect("its configuration");
    let (head, tail) = written.split_once("address = \"").expect("an address");
    let (_, tail) = tail.split_once('"').expect("its end");
    std::fs::write(&file, format!("{head}address = \"\"{tail}")).expect("its configuration");
    (pi, second)
}

fn owner(pi: &Pi) -> Option<String> {
    let answer = pi.engine.call("GET", LOCK);
    (answer.status == 200)
        .then(|| answer.json()["Labels"]["pilotfish.lock.state-dir"].as_str().map(str::to_owned))
        .flatten()
}

fn is_held(output: &Finished, other: &Agent) -> bool {
    let state = other.state();
    output.out.contains("till is held: another_agent")
        && output.out.contains(&format!("state directory {}", state.display()))
}

#[test]
fn a_second_agent_is_found_before_either_acts_and_takes_over_when_it_is_alone() {
    let (pi, second) = with_two_agents();
    let before = pi.id("till");
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());

    let output = second.run(&pi.engine, &["update"]).expect_code(0);
    let checked = second.check(&pi.engine, "till");

    assert!(is_held(&output, &pi.agent), "{output:?}");
    assert_eq!(checked["reason"], "another_agent");
    assert!(second.run(&pi.engine, &["recover"]).err.contains("another agent works"), "recover");
    assert!(
        second.run(&pi.engine, &["rollback", "till"]).err.contains("another agent"),
        "rollback"
    );
    assert_eq!(pi.id("till"), before);
    // A running agent waits, and says so, until the first one is gone; then it takes over.
    let waiting = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one waits", SOON, || waiting.log().contains("another agent works"));
    first.terminate().expect_code(0);
    let theirs = second.state().display().to_string();
    wait_until("the second one takes over", SOON, || owner(&pi).as_ref() == Some(&theirs));
    // A moment passes between the creation of the lock and the look of the agent that created it.
    let is_told = || second.check(&pi.engine, "till")["reason"] != "another_agent";
    wait_until("the second one says that it is alone", SOON, is_told);
    let updated = second.run(&pi.engine, &["update"]).expect_code(0);
    assert_ne!(pi.id("till"), before, "{updated:?} {}", waiting.log());
    waiting.terminate().expect_code(0);
    assert_eq!(owner(&pi), None, "a clean end releases the lock");
}

#[test]
fn a_killed_agent_does_not_block_others_and_its_parked_container_stays() {
    let (pi, second) = with_two_agents();
    pi.update_until("verify").kill();
    let parked = pi.id("pilotfish-old-till");

    // The other one takes over, and watches before it changes anything.
    let agent = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one takes over", SOON, || agent.log().contains("takes over"));
    assert_eq!(pi.id("pilotfish-old-till"), parked);
    let output = pi.update(&[]).expect_code(0);
    assert!(is_held(&output, &second), "{output:?}");
    assert_eq!(pi.id("pilotfish-old-till"), parked);
    assert!(agent.kill());

    // The other way round: the first one finishes its own update.
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.names(), ["till running"]);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_pruned_lock_is_created_again_before_the_next_update() {
    let (pi, second) = with_two_agents();
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());
    pi.engine.call("DELETE", LOCK).succeeded("docker volume prune");

    pi.update(&[]).expect_code(0);

    assert_eq!(owner(&pi), Some(pi.agent.state().display().to_string()));
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    // If another agent was faster, this one changes nothing.
    pi.engine.call("DELETE", LOCK).succeeded("docker volume prune");
    let other = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one holds the Engine", SOON, || owner(&pi).is_some());
    pi.registry.publish("till", &Release::new("3"));
    let output = pi.update(&[]).expect_code(0);
    assert!(is_held(&output, &second), "{output:?}");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    drop((first, other));
}

/// Docker 20.10 returns a volume without its labels if the volume existed before the Engine's
/// start.
#[test]
fn the_lock_outlives_the_engine() {
    let (pi, second) = with_two_agents();
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());

    pi.engine.stop();
    pi.engine.start_again(&[]);

    let output = second.run(&pi.engine, &["update"]).expect_code(0);
    assert!(is_held(&output, &pi.agent), "{output:?}");
    pi.update(&[]).expect_code(0);
    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    drop(first);
}

#[test]
fn a_copy_of_the_state_directory_is_another_agent() {
    let (pi, second) = with_two_agents();
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());
    std::fs::create_dir_all(second.state()).expect("a directory");
    let copy = std::fs::copy(pi.agent.state().join("agent-id"), second.state().join("agent-id"));
    copy.expect("a copy");

    let output = second.run(&pi.engine, &["update"]).expect_code(0);

    assert!(is_held(&output, &pi.agent), "{output:?}");
    drop(first);
}

#[test]
fn a_volume_that_no_agent_created_is_never_removed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start("till", &one.reference, &WATCHED);
    pi.registry.publish("till", &Release::new("2"));
    pi.engine.docker(&["volume", "create", "pilotfish-lock"]);
    let before = pi.id("till");

    let output = pi.update(&[]).expect_code(0);

    assert!(output.out.contains("a volume pilotfish-lock that no agent made"), "{}", output.out);
    assert_eq!(pi.id("till"), before);
    assert_eq!(pi.engine.call("GET", LOCK).status, 200);
}
