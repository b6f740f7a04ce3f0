//! Liveness is measured by the turns of the main loop, and not by a separate task.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pilotfish::agent::{AgentHandle, Allow, Heartbeat, RoundRequest};
use pilotfish::core::decide::report::Verdict;
use pilotfish::core::decide::snapshot::LOOP_OVERDUE_MAX;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::event::Asker;
use pilotfish::core::update::history::Outcome;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::images::{Behaviour, Image};
use crate::machine::{Hook, Machine};
use crate::service::RunOptions as Service;
use crate::session::{EVERY, agent, asked_agent, run_during};

const SECOND: Duration = Duration::from_secs(1);
const APP: &str = "shop.example/app:1";
const OTHER: &str = "shop.example/other:1";

/// A machine on which `till` and `web` run, with a newer image for `till`.
fn machine() -> Arc<Machine> {
    let machine = Machine::new();
    {
        let registry = &mut machine.lock().registry;
        for name in ["v1", "v2", "w1", "w2"] {
            registry.built(Image::new(name, Behaviour::Good));
        }
        registry.push(APP, "v1");
        registry.push(OTHER, "w1");
    }
    machine.run_service(&Service::new("till", APP, "always"));
    machine.run_service(&Service::new("web", OTHER, "always"));
    machine.lock().registry.push(APP, "v2");
    machine
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_unhealthy_and_an_idle_loop_is_healthy() {
    let (machine, heart) = (machine(), Heartbeat::default());
    let (agent, seen) = agent(&machine, CancellationToken::new()).expect("an agent");
    let mut agent = agent.with_heart(heart.clone());
    let unhealthy = || seen.borrow().unhealthy_reason(heart.overdue());
    let (_wishes, mut queue) = mpsc::channel(1);
    let life = async {
        tokio::time::sleep(SECOND).await;
        // First an update is being verified, and later the loop has nothing to do.
        for _ in 0..10 {
            assert_eq!(unhealthy(), None);
            tokio::time::sleep(EVERY).await;
        }
        machine.lock().hangs = true;
        tokio::time::sleep(EVERY + LOOP_OVERDUE_MAX + SECOND).await;
        let reason = unhealthy().expect("it hangs");
        assert!(reason.starts_with("the loop has not turned for "), "{reason}");
    };
    run_during(&mut agent, &mut queue, life).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_in_verification_does_not_delay_checks_of_others() {
    let machine = machine();
    let (mut agent, handle, mut queue) = asked_agent(&machine);
    let life = async {
        in_flight(&handle, 1).await;
        let begun = machine.now();
        let request = RoundRequest { dry_run: true, ..RoundRequest::default() };
        let end = handle.ask(Asker::CommandLine, request).await.expect("a round");
        let of = |name: &str| {
            end.reports.iter().find(|it| it.subject.is_container(name)).expect("a report")
        };
        assert_eq!(of("web").verdict, Verdict::UpToDate);
        assert_eq!(of("till").verdict, Verdict::Held);
        let allow = Allow { container: "web".into() };
        handle.ask(Asker::CommandLine, allow).await.expect("an answer to `allow`");
        assert!(machine.now() - begun < SECOND, "the commands waited for the update");
        assert!(!handle.snapshot().in_flight.is_empty(), "the update is not over");
        let request =
            RoundRequest { names: Some(["till".to_owned()].into()), ..RoundRequest::default() };
        let end = handle.ask(Asker::CommandLine, request).await.expect("a round");
        assert_eq!(
            end.reports[0].verdict,
            Verdict::UpToDate,
            "the round did not wait for the update"
        );
        assert!(handle.snapshot().in_flight.is_empty());
    };
    run_during(&mut agent, &mut queue, life).await;
}

/// Waits until so many updates are in flight, for ten minutes of the model at most.
async fn in_flight(handle: &AgentHandle, count: usize) {
    for _ in 0..6000 {
        if handle.snapshot().in_flight.len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{count} updates are never in flight: {:?}", handle.snapshot());
}

/// A person updates one container while another one is on trial: its update begins at once, and its
/// events are told apart from the other's.
#[tokio::test(start_paused = true)]
async fn a_command_for_one_container_does_not_wait_for_the_trial_of_another() {
    let machine = machine();
    let (mut agent, handle, mut queue) = asked_agent(&machine);
    let life = async {
        in_flight(&handle, 1).await;
        machine.lock().registry.push(OTHER, "w2");
        let names = Some(BTreeSet::from(["web".to_owned()]));
        let request = RoundRequest { names, ..RoundRequest::default() };
        let begun = machine.now();
        let mut pending = handle.begin(Asker::CommandLine, request).expect("it is taken");
        in_flight(&handle, 2).await;
        assert!(machine.now() - begun < 5 * SECOND, "it waited for the trial of till");
        let end = pending.answer().await.expect("a round");
        assert_eq!(end.records.len(), 1, "{end:?}");
        assert_eq!(end.records[0].subject, Subject::container("web"));
    };
    run_during(&mut agent, &mut queue, life).await;
}

/// Every read of one container or one image fails once, each in a run of its own.
#[tokio::test(start_paused = true)]
async fn no_error_of_one_container_ends_the_round_for_the_others() {
    let mut refused = 0;
    for call in ["inspect", "inspect image", "list images"] {
        for nth in 1..=40 {
            let machine = machine();
            machine.lock().registry.push(OTHER, "v2");
            let hook = Hook { call: call.into(), nth, after: false, fault: Fault::Refuse };
            machine.lock().hooks.push(hook);
            let (mut agent, _) = agent(&machine, CancellationToken::new()).expect("an agent");
            let end = agent.round(&RoundRequest::default()).await.expect("a round");
            let what = format!("{call} {nth}: {:#?}", end.reports);
            assert_eq!(end.reports.len(), 2, "{what}");
            let updated = end.records.iter().filter(|it| it.outcome == Outcome::Updated).count();
            let is_refused = machine.lock().hooks.is_empty();
            refused += usize::from(is_refused);
            assert!(updated >= if is_refused { 1 } else { 2 }, "{what}");
        }
    }
    assert!(refused > 20, "only {refused} reads were refused");
}
