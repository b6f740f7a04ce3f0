//! What people do while an update is under way: what they made stays, and the service is there.

use std::time::{Duration, Instant};

use crate::cases::{assert_kept, every, lengths};
use crate::fault::{Fault, UserAction};
use crate::releases::Kind;
use crate::rig::Rig;
use crate::service::Setup;
use crate::support::Pi;
use crate::support::agent::METRICS_PORT;
use crate::support::command::wait_until;
use crate::support::http::Peer;

/// Every `stride`th place of an update, on a machine of its own.
fn meddle(user_action: UserAction, stride: usize) {
    let setup = if user_action.is_compose() { Setup::Composed } else { Setup::Alone };
    let mut rig = Rig::with(setup, &[]);
    let lengths = lengths(&mut rig, &[Kind::Good]);
    let cases = every(Kind::Good, Fault::Person(user_action), &lengths, stride);
    assert_kept(rig, cases);
}

#[test]
fn somebody_removes_the_service() {
    meddle(UserAction::Remove, 13);
}

#[test]
fn somebody_restarts_the_service() {
    meddle(UserAction::Restart, 17);
}

#[test]
fn somebody_renames_the_service() {
    meddle(UserAction::Rename, 17);
}

#[test]
fn somebody_prunes() {
    meddle(UserAction::Prune, 17);
}

#[test]
fn somebody_has_compose_bring_the_service_up() {
    meddle(UserAction::ComposeUp, 19);
}

#[test]
fn somebody_has_compose_make_the_service_anew() {
    meddle(UserAction::ComposeRecreate, 23);
}

#[test]
fn somebody_has_compose_pull_and_bring_the_service_up() {
    meddle(UserAction::ComposePull, 27);
}

#[test]
fn somebody_has_compose_take_the_service_down() {
    meddle(UserAction::ComposeDown, 21);
}

#[test]
fn another_agent_has_its_round() {
    meddle(UserAction::AnotherAgent, 23);
}

/// Of an agent that has nothing to do, systemd need not wait.
#[test]
fn an_idle_agent_ends_at_once() {
    const START_LIMIT: Duration = Duration::from_secs(20);
    const GOAL: Duration = Duration::from_millis(100);
    // The test itself may have to wait for a processor that others use.
    const LIMIT: Duration = Duration::from_secs(5);
    let pi = Pi::new();
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let peer = Peer::Tcp(pi.engine.reach(METRICS_PORT));
    wait_until("the agent is ready", START_LIMIT, || {
        peer.get("/readyz").is_ok_and(|answer| answer.status == 200)
    });
    let begun = Instant::now();
    agent.terminate().expect_code(0);
    let took = begun.elapsed();
    eprintln!("SIGTERM to an idle agent: {took:?}, the goal is {GOAL:?}");
    assert!(took < LIMIT, "it took {took:?}");
}
