//! Interrupted updates: by a kill of the agent in each step, by an Engine restart, by a prune, by a
//! power cut. The service is never lost, and nothing is left behind.

use std::process::Command;
use std::time::Duration;

use crate::support::Pi;
use crate::support::agent::begins_step;
use crate::support::command::{run, wait_until};
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::text;

/// How often the test tries to hit a step. A `kill -9` can come too late for a step of three
/// milliseconds; another update is a new chance.
const ATTEMPTS: u32 = 20;

/// How long the Engine may take to start its containers.
const ENGINE_STARTS: Duration = Duration::from_secs(20);

/// A Pi on which `till` runs version 1 while version 2 is in the registry.
fn with_an_update_waiting(flags: &[&str], second: &Release) -> (Pi, Published, Published) {
    let pi = Pi::with(flags, "every = \"1000h\"");
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", second);
    (pi, one, two)
}

/// The names of the running containers.
fn running(pi: &Pi) -> Vec<String> {
    let names = pi.names().into_iter();
    names.filter_map(|name| name.strip_suffix(" running").map(str::to_owned)).collect()
}

/// Kills the agent until a kill hits the step, and runs recovery after each kill.
fn killed_in(step: &str) {
    let pi = Pi::new();
    let first = pi.registry.publish("till", &Release::new("0"));
    pi.start_watched("till", &first.reference, 8080, &[]);
    for aim in 1..=ATTEMPTS {
        let next = pi.registry.publish("till", &Release::new(&aim.to_string()));
        let was_running = pi.update_until(step).kill();
        let entries = pi.agent.entries();
        let landed = was_running && entries.last().is_some_and(|entry| begins_step(entry, step));

        pi.update(&[]).expect_code(0);

        pi.assert_settled("till", &next, 1);
        assert_eq!(pi.serving(8080), Some(format!("till {aim}")));
        if landed {
            return;
        }
    }
    panic!("no kill hit {step}");
}

#[test]
fn the_agent_is_killed_in_pull() {
    killed_in("pull");
}

#[test]
fn the_agent_is_killed_in_sync() {
    killed_in("sync");
}

#[test]
fn the_agent_is_killed_in_create() {
    killed_in("create");
}

#[test]
fn the_agent_is_killed_in_switch() {
    killed_in("switch");
}

#[test]
fn the_agent_is_killed_in_start() {
    killed_in("start");
}

#[test]
fn the_agent_is_killed_in_verify() {
    killed_in("verify");
}

#[test]
fn the_agent_is_killed_in_commit() {
    killed_in("commit");
}

#[test]
fn the_agent_is_killed_in_clean() {
    killed_in("clean");
}

#[test]
fn the_agent_is_killed_while_a_bad_release_is_verified() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "1500ms");
    let (pi, one, _) = with_an_update_waiting(&[], &bad);
    pi.update_until("verify").kill();

    // Recovery may roll back without a refusal, and the next round then tries the release once
    // more. In both cases the release is refused in the end.
    let code = pi.update(&[]).code();

    assert!([0, 3].contains(&code), "exit code {code}");
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert_eq!(pi.check("till")["reason"], "refused_digest");
}

#[test]
fn sigterm_ends_the_agent_after_the_current_step_and_the_next_agent_continues() {
    let (pi, _, two) = with_an_update_waiting(&[], &Release::new("2"));
    let agent = pi.update_until("create");
    let begun = std::time::Instant::now();

    agent.terminate().expect_code(1);

    assert!(begun.elapsed() < Duration::from_secs(10), "SIGTERM took {:?}", begun.elapsed());
    assert_eq!(running(&pi).len(), 1, "{:?}", pi.names());
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

/// The Engine restarts while the new container is being verified.
fn engine_restarts_in_verify(flags: &[&str]) {
    let (pi, _, two) = with_an_update_waiting(flags, &Release::new("2"));
    let agent = pi.update_until("verify");

    pi.engine.stop();
    pi.engine.start_again(flags);

    agent.finish();
    wait_until("one container runs", ENGINE_STARTS, || running(&pi).len() == 1);
    // An Engine restart says nothing about the image: it is not refused.
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}

#[test]
fn the_engine_restarts_during_verify() {
    engine_restarts_in_verify(&[]);
}

#[test]
fn an_engine_with_live_restore_restarts_during_verify() {
    engine_restarts_in_verify(&["--live-restore"]);
}

#[test]
fn an_engine_with_live_restore_is_killed_before_the_first_healthcheck() {
    const LIVE_RESTORE: &[&str] = &["--live-restore"];
    let second = Release::new("2").with_healthcheck(Duration::from_secs(3), 1);
    let (pi, _, two) = with_an_update_waiting(LIVE_RESTORE, &second);
    let agent = pi.update_until("verify");

    pi.engine.kill();
    pi.engine.start_again(LIVE_RESTORE);

    agent.finish();
    // Docker 20.10 then stays at `starting`, which is not the image's fault.
    let outcome = text(&pi.history("till")[0]["outcome"]);
    assert!(["updated", "interrupted"].contains(&&*outcome), "{outcome}");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn system_prune_during_the_verification_of_a_good_release() {
    let (pi, _, two) = with_an_update_waiting(&[], &Release::new("2"));
    let agent = pi.update_until("verify");

    pi.engine.docker(&["system", "prune", "--force"]);

    agent.finish().expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn system_prune_during_the_verification_of_a_bad_release() {
    let bad = Release::new("2").with("TILL_EXIT_AFTER", "1500ms");
    let (pi, one, _) = with_an_update_waiting(&[], &bad);
    let agent = pi.update_until("verify");

    pi.engine.docker(&["system", "prune", "--force"]);

    agent.finish().expect_code(3);
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
}

#[test]
fn after_a_power_cut_in_verify_the_engine_alone_starts_the_old_container() {
    let (pi, one, two) = with_an_update_waiting(&[], &Release::new("2"));
    pi.update_until("verify").kill();

    pi.engine.cut();
    pi.engine.start_again(&[]);

    wait_until("something serves", ENGINE_STARTS, || pi.serving(8080).is_some());
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"), "an unproven release serves");
    let alone = running(&pi);
    assert_eq!(alone.len(), 1, "{:?}", pi.names());
    assert_eq!(pi.image(&alone[0]), one.image);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

/// After a power cut shortly after a pull, on ext4: the image is listed, and its files are empty. A
/// fresh pull repairs it, and the release is not refused.
#[test]
fn an_image_with_an_empty_program_after_an_unclean_boot_is_pulled_again() {
    let release = Release::new("2").with_own_till();
    let (pi, one, two) = with_an_update_waiting(&[], &release);
    pi.engine.docker(&["pull", "--quiet", &two.reference]);
    pi.engine.cut();
    let data = pi.engine.directory().join("data");
    let empty =
        ["-name", "own-till", "-type", "f", "-print", "-exec", "truncate", "-s0", "{}", ";"];
    let emptied = run(Command::new("find").arg(data).args(empty));
    assert!(!emptied.is_empty(), "the program is not where Engines keep it");
    pi.engine.start_again(&[]);

    pi.update(&[]).expect_code(3);

    pi.assert_settled("till", &one, 1);
    let reason = pi.history("till")[0]["reason"].to_string();
    assert!(reason.contains("may be damaged"), "{reason}");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}
