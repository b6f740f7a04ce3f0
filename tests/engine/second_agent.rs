//! A second agent with a state directory of its own, on the same Engine: only one of them acts.

use std::time::Duration;

use crate::support::agent::{Agent, Finished};
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::{Pi, QUIET, WATCHED};

/// Longer than an agent takes to look whether another one is gone.
const SOON: Duration = Duration::from_secs(30);

const LOCK: &str = "/volumes/pilotfish-lock";

/// A Pi on which `till` runs version 1 while version 2 waits, and a second agent.
fn with_two_agents() -> (Pi, Agent) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    let second = Agent::install_as("second", &pi.engine, QUIET);
    // The two do not get in each other's way where they listen.
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

fn is_held(told: &Finished, other: &Agent) -> bool {
    let state = other.state();
    told.out.contains("till is held: another_agent")
        && told.out.contains(&format!("state directory {}", state.display()))
}

#[test]
fn a_second_agent_is_found_before_either_acts_and_takes_over_when_it_is_alone() {
    let (pi, second) = with_two_agents();
    let before = pi.id("till");
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());

    let told = second.run(&pi.engine, &["update"]).expect_code(0);
    let checked = second.check(&pi.engine, "till");

    assert!(is_held(&told, &pi.agent), "{told:?}");
    assert_eq!(checked["reason"], "another_agent");
    assert!(second.run(&pi.engine, &["recover"]).err.contains("another agent works"), "recover");
    assert!(
        second.run(&pi.engine, &["rollback", "till"]).err.contains("another agent"),
        "rollback"
    );
    assert_eq!(pi.id("till"), before);
    // One that runs waits, and says so, until the first one is gone; then it is the one.
    let waiting = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one waits", SOON, || waiting.log().contains("another agent works"));
    first.terminate().expect_code(0);
    let theirs = second.state().display().to_string();
    wait_until("the second one takes over", SOON, || owner(&pi).as_ref() == Some(&theirs));
    second.run(&pi.engine, &["update"]).expect_code(0);
    assert_ne!(pi.id("till"), before);
    waiting.terminate().expect_code(0);
    assert_eq!(owner(&pi), None, "a clean end lets go");
}

#[test]
fn an_agent_that_was_killed_locks_nobody_out_and_its_parked_container_stays() {
    let (pi, second) = with_two_agents();
    pi.update_until("verify").kill();
    let parked = pi.id("pilotfish-old-till");

    // The other one takes over, and watches before it touches anything.
    let agent = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one takes over", SOON, || agent.log().contains("takes over"));
    assert_eq!(pi.id("pilotfish-old-till"), parked);
    let told = pi.update(&[]).expect_code(0);
    assert!(is_held(&told, &second), "{told:?}");
    assert_eq!(pi.id("pilotfish-old-till"), parked);
    assert!(agent.kill());

    // The same the other way round: the first one ends its own update.
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.names(), ["till running"]);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_pruned_lock_is_made_anew_before_the_next_update() {
    let (pi, second) = with_two_agents();
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());
    pi.engine.call("DELETE", LOCK).succeeded("docker volume prune");

    pi.update(&[]).expect_code(0);

    assert_eq!(owner(&pi), Some(pi.agent.state().display().to_string()));
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    // And where another one was faster, this one keeps its hands off.
    pi.engine.call("DELETE", LOCK).succeeded("docker volume prune");
    let other = second.spawn(&pi.engine, &["run"]);
    wait_until("the second one holds the Engine", SOON, || owner(&pi).is_some());
    pi.registry.publish("till", &Release::new("3"));
    let told = pi.update(&[]).expect_code(0);
    assert!(is_held(&told, &second), "{told:?}");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    drop((first, other));
}

/// Docker 20.10 answers a create of a volume that it knew before its start without its labels.
#[test]
fn the_lock_outlives_the_engine() {
    let (pi, second) = with_two_agents();
    let first = pi.agent.spawn(&pi.engine, &["run"]);
    wait_until("the first one holds the Engine", SOON, || owner(&pi).is_some());

    pi.engine.stop();
    pi.engine.start_again(&[]);

    let told = second.run(&pi.engine, &["update"]).expect_code(0);
    assert!(is_held(&told, &pi.agent), "{told:?}");
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

    let told = second.run(&pi.engine, &["update"]).expect_code(0);

    assert!(is_held(&told, &pi.agent), "{told:?}");
    drop(first);
}

#[test]
fn a_volume_that_no_agent_made_is_never_removed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start("till", &one.reference, &WATCHED);
    pi.registry.publish("till", &Release::new("2"));
    pi.engine.docker(&["volume", "create", "pilotfish-lock"]);
    let before = pi.id("till");

    let told = pi.update(&[]).expect_code(0);

    assert!(told.out.contains("a volume pilotfish-lock that no agent made"), "{}", told.out);
    assert_eq!(pi.id("till"), before);
    assert_eq!(pi.engine.call("GET", LOCK).status, 200);
}
