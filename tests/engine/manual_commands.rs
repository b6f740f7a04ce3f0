//! Manual commands: `rollback`, `allow`, `update --force` and dry runs.

use crate::support::Pi;
use crate::support::agent::Finished;
use crate::support::images::Release;
use crate::support::registry::Published;

/// A Pi on which `till` was updated from version 1 to version 2.
fn updated_once() -> (Pi, Published, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--env=SHIFT=day"]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&[]).expect_code(0);
    (pi, one, two)
}

fn roll_back(pi: &Pi) -> Finished {
    pi.agent.run(&pi.engine, &["rollback", "till"])
}

/// The digest in its short form, as in the output.
fn short(digest: &str) -> &str {
    &digest["sha256:".len()..][..12]
}

#[test]
fn rollback_restores_the_previous_image_without_the_registry_and_refuses_the_newer_one() {
    let (mut pi, one, two) = updated_once();
    pi.registry.stop();

    let output = roll_back(&pi).expect_code(0);

    let last = output.out.lines().last().expect("a line");
    assert_eq!(
        last,
        format!(
            "till runs on {} again. {} is refused from now on; `pilotfish allow till` forgets that.",
            short(&one.digest),
            short(&two.digest)
        )
    );
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert!(pi.inspect("till")["Config"]["Env"].to_string().contains("SHIFT=day"));
    let history = pi.history("till");
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["from"], two.digest.as_str());
    assert_eq!(history[0]["to"], one.digest.as_str());
    assert_eq!(history[0]["reason"], "a person rolled back to the previous image");
    pi.registry.start_again(&pi.engine);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.check("till")["reason"], "refused_digest");
}

#[test]
fn allow_clears_the_refusal_of_a_rollback_and_the_next_update_applies_the_image() {
    let (pi, _, two) = updated_once();
    roll_back(&pi).expect_code(0);

    let output = pi.agent.run(&pi.engine, &["allow", "till"]).expect_code(0);

    assert_eq!(
        output.out,
        "till: one refused digest is forgotten; the next round may try it again.\n"
    );
    let again = pi.agent.run(&pi.engine, &["allow", "till"]).expect_code(0);
    assert_eq!(again.out, "till had no refused digests.\n");
    assert_eq!(pi.check("till")["verdict"], "update");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_rollback_of_a_rollback_restores_the_newer_image_and_refuses_the_other() {
    let (pi, _, two) = updated_once();
    roll_back(&pi).expect_code(0);

    roll_back(&pi).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    pi.registry.publish("till", &Release::new("1"));
    assert_eq!(pi.check("till")["reason"], "refused_digest");
}

#[test]
fn check_and_rollback_report_that_prune_removed_the_kept_image() {
    let (pi, _, two) = updated_once();
    let check = |words: &[&str]| pi.agent.run(&pi.engine, words).expect_code(0).out;
    assert!(!check(&["check"]).contains("rolled back"), "a rollback is possible");

    pi.engine.docker(&["image", "prune", "--all", "--force"]);

    let page = check(&["check"]);
    assert!(page.contains("till cannot be rolled back: the previous image"), "{page}");
    let output = roll_back(&pi).expect_code(1);
    assert_eq!(
        output.err,
        "pilotfish: till cannot be rolled back: the previous image is no longer on this machine; \
         `docker image prune -a` takes it\n"
    );
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.history("till").len(), 1);
}

#[test]
fn a_container_that_was_never_updated_or_is_not_watched_cannot_be_rolled_back() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    pi.start("silent", &one.reference, &[]);

    let output = roll_back(&pi).expect_code(1);

    assert_eq!(output.err, "pilotfish: till cannot be rolled back: it was never updated\n");
    for command in ["rollback", "allow", "check", "update"] {
        for name in ["silent", "nobody"] {
            let output = pi.agent.run(&pi.engine, &[command, name]).expect_code(1);
            let expected = format!(
                "pilotfish: no watched container is named {name}; a container is watched when it \
                 has the label pilotfish.enable=true\n"
            );
            assert_eq!((output.out.as_str(), output.err), ("", expected), "{command}");
        }
    }
    assert_eq!(pi.id("till"), old);
}

#[test]
fn a_rollback_to_an_image_that_fails_now_keeps_the_present_one() {
    // Version 1 exits before it has run long enough; it was never verified.
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1").with("TILL_EXIT_AFTER", "6s"));
    pi.start_watched("till", &one.reference, 8080, &["--label=pilotfish.health.stable=7s"]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&[]).expect_code(0);
    let present = pi.id("till");

    let output = roll_back(&pi).expect_code(1);

    assert!(output.out.contains("till: rolled back: exited with code 1"), "{}", output.out);
    let stays = format!(
        "till stays on {}: {} could not take its place.",
        short(&two.digest),
        short(&one.digest)
    );
    assert_eq!(output.out.lines().last(), Some(stays.as_str()));
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.id("till"), present);
    assert_eq!(pi.history("till")[0]["outcome"], "rolled_back");
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    let output = pi.agent.run(&pi.engine, &["update", "--dry-run"]).expect_code(0);

    let change = format!("{} → {}", short(&one.digest), short(&two.digest));
    assert!(output.out.contains(&change), "{}", output.out);
    let document = pi.agent.json(&pi.engine, &["update", "--dry-run", "--json"]);
    assert_eq!(document["containers"][0]["verdict"], "update");
    assert_eq!(pi.id("till"), old);
    assert!(!pi.agent.state().exists(), "a dry run has written something");
    let pulled = pi.engine.call("GET", &format!("/images/{}/json", two.image));
    assert_eq!(pulled.status, 404, "a dry run has pulled");
}

#[test]
fn force_overrides_a_refusal_and_a_window_but_not_safety() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    // A one-minute window, twelve hours away.
    let hours = chrono::Timelike::hour(&chrono::Utc::now());
    let window = format!("--label=pilotfish.update.window={0:02}:00-{0:02}:01", (hours + 12) % 24);
    let container = pi.start_watched("till", &one.reference, 8080, &[&window]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.check("till")["reason"], "outside_window");

    pi.update(&["till", "--force"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    roll_back(&pi).expect_code(0);
    pi.update(&["till", "--force"]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    assert_ne!(pi.id("till"), container);
    let guest = ["--network=container:till"];
    pi.start("guest", &one.reference, &guest);
    pi.registry.publish("till", &Release::new("3"));
    pi.update(&["till", "--force"]).expect_code(0);
    assert_eq!(pi.check("till")["reason"], "has_dependents");
    pi.assert_settled("till", &two, 2);
}
