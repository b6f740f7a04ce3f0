//! Actions of people during an update: their changes stay, and the service runs.

use std::time::{Duration, Instant};

use crate::cases::{assert_no_findings, every, lengths};
use crate::fault::{Fault, UserAction};
use crate::releases::Kind;
use crate::rig::Rig;
use crate::service::Setup;
use crate::support::Pi;
use crate::support::agent::METRICS_PORT;
use crate::support::command::wait_until;
use crate::support::http::Peer;

/// The action at every `stride`th place of an update, on its own machine.
fn act(user_action: UserAction, stride: usize) {
    let setup = if user_action.is_compose() { Setup::Composed } else { Setup::Alone };
    let mut rig = Rig::with(setup, &[]);
    let lengths = lengths(&mut rig, &[Kind::Good]);
    let cases = every(Kind::Good, Fault::Person(user_action), &lengths, stride);
    assert_no_findings(rig, cases);
}

#[test]
fn a_person_removes_the_service() {
    act(UserAction::Remove, 13);
}

#[test]
fn a_person_restarts_the_service() {
    act(UserAction::Restart, 17);
}

#[test]
fn a_person_renames_the_service() {
    act(UserAction::Rename, 17);
}

#[test]
fn a_person_prunes() {
    act(UserAction::Prune, 17);
}

#[test]
fn compose_up() {
    act(UserAction::ComposeUp, 19);
}

#[test]
fn compose_up_with_force_recreate() {
    act(UserAction::ComposeRecreate, 23);
}

#[test]
fn compose_pull_and_up() {
    act(UserAction::ComposePull, 27);
}

#[test]
fn compose_down() {
    act(UserAction::ComposeDown, 21);
}

#[test]
fn another_agent_runs_a_round() {
    act(UserAction::AnotherAgent, 23);
}

/// systemd need not wait for an agent that has nothing to do.
#[test]
fn an_idle_agent_ends_at_once() {
    const START_LIMIT: Duration = Duration::from_secs(20);
    const GOAL: Duration = Duration::from_millis(100);
    // The test itself may have to wait for a busy processor.
    const LIMIT: Duration = Duration::from_secs(5);
    let pi = Pi::new();
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let peer = Peer::Tcp(pi.engine.address_of(METRICS_PORT));
    wait_until("the agent is ready", START_LIMIT, || {
        peer.get("/readyz").is_ok_and(|answer| answer.status == 200)
    });
    let begun = Instant::now();
    agent.terminate().expect_code(0);
    let took = begun.elapsed();
    eprintln!("SIGTERM to an idle agent: {took:?}, the goal is {GOAL:?}");
    assert!(took < LIMIT, "it took {took:?}");
}
