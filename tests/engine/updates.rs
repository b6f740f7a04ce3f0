//! Successful updates, and containers that are left unchanged.

use std::time::Duration;

use crate::support::agent::scrape;
use crate::support::command::{run, wait_until};
use crate::support::images::{Release, static_till};
use crate::support::registry::is_containerd_store;
use crate::support::{Pi, WATCHED, text};

/// Longer than a round of an agent with a schedule of one second, with an update.
const ROUND: Duration = Duration::from_secs(60);

/// An agent that has nothing to finish ends within this time, also on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_new_image_replaces_the_old_one() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let options = ["--env=SHIFT=day", "--label=shop=corner", "--volume=/ledger"];
    let old = pi.start_watched("till", &one.reference, 8080, &options);
    let ledger = text(&pi.inspect("till")["Mounts"][0]["Name"]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_ne!(pi.id("till"), old);
    let container = pi.inspect("till");
    let environment = container["Config"]["Env"].to_string();
    assert!(environment.contains("SHIFT=day") && environment.contains("TILL_VERSION=2"));
    assert_eq!(container["Config"]["Labels"]["shop"], "corner");
    assert_eq!(container["Config"]["Image"], one.reference.as_str());
    assert_eq!(text(&container["Mounts"][0]["Name"]), ledger, "the anonymous volume was replaced");
}

#[test]
fn check_and_history_show_an_update() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    let two = pi.registry.publish("till", &Release::new("2"));

    let offered = pi.check("till");
    assert_eq!(offered["verdict"], "update");
    assert_eq!(offered["running"], one.digest.as_str());
    assert_eq!(offered["offered"], two.digest.as_str());
    pi.update(&["till"]).expect_code(0);

    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    let history = pi.history("till");
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["outcome"], "updated");
    assert_eq!(history[0]["from"], one.digest.as_str());
    assert_eq!(history[0]["to"], two.digest.as_str());
    let gap = history[0]["gap_seconds"].as_f64().expect("the service gap");
    assert!(gap > 0.0 && gap < 20.0, "the service gap is {gap} s");
}

#[test]
fn check_changes_nothing() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.agent.run(&pi.engine, &["check"]).expect_code(0);

    assert_eq!(pi.id("till"), old);
    let pulled = pi.engine.call("GET", &format!("/images/{}/json", two.image));
    assert_eq!(pulled.status, 404, "check pulled the image");
}

#[test]
fn the_running_agent_follows_the_tag_and_ends_at_once_on_sigterm() {
    let pi = Pi::with(&[], "every = \"1s\"\njitter = \"0%\"");
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");

    let two = pi.registry.publish("till", &Release::new("2"));
    let updated = r#"pilotfish_updates_total{container="till",outcome="updated"} 1"#;
    wait_until("the update is counted", ROUND, || scrape(&pi.engine, "/metrics").contains(updated));

    pi.assert_settled("till", &two, 1);
    let begun = std::time::Instant::now();
    agent.terminate().expect_code(0);
    let took = begun.elapsed();
    assert!(took < AT_ONCE, "SIGTERM took {took:?} with nothing in flight");
}

#[test]
fn a_republished_index_with_the_same_image_changes_nothing() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.registry.publish_index("till", &one, "first");
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish_index("till", &one, "second");

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    assert!(pi.history("till").is_empty());
}

#[test]
fn an_index_with_a_new_image_is_followed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.registry.publish_index("till", &one, "first");
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.registry.publish_index("till", &two, "second");

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}

#[test]
fn a_notify_only_container_is_not_touched() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let options = ["--label=pilotfish.mode=notify"];
    let old = pi.start_watched("till", &one.reference, 8080, &options);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    let row = pi.check("till");
    assert_eq!(row["verdict"], "held");
    assert_eq!(row["reason"], "notify_only");
    assert_eq!(row["offered"], two.digest.as_str());
    assert_eq!(pi.id("till"), old);
    let pulled = pi.engine.call("GET", &format!("/images/{}/json", two.image));
    assert_eq!(pulled.status, 404, "notify pulled the image");
}

#[test]
fn a_container_pinned_by_digest_is_held() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let pinned = format!("127.0.0.1:5000/till@{}", one.digest);
    let old = pi.start_watched("till", &pinned, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.id("till"), old);
    let row = pi.check("till");
    assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &"pinned_by_digest".into()));
}

#[test]
fn an_image_that_was_built_locally_is_held() {
    let pi = Pi::new();
    let directory = static_till();
    let directory = directory.parent().expect("a directory");
    std::fs::write(
        directory.join("Dockerfile"),
        "FROM scratch\nCOPY till /till\nCMD [\"/till\"]\n",
    )
    .expect("Dockerfile");
    let mut build = std::process::Command::new("docker");
    build.env("DOCKER_HOST", pi.engine.host()).env("DOCKER_BUILDKIT", "0");
    run(build.args(["build", "--quiet", "--tag", "mine"]).arg(directory));
    let old = pi.start_watched("till", "mine", 8080, &[]);

    // Containerd's store also gives a digest to a local build, so the registry is asked.
    let (code, reason) =
        if is_containerd_store() { (4, "registry_unreachable") } else { (0, "built_locally") };
    pi.update(&[]).expect_code(code);

    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.check("till")["reason"], reason);
}

#[test]
fn containers_that_did_not_opt_in_are_never_touched() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let silent = pi.start("silent", &one.reference, &[]);
    let opted_out = pi.start("opted-out", &one.reference, &["--label=pilotfish.enable=false"]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 3);
    assert_eq!((pi.id("silent"), pi.id("opted-out")), (silent, opted_out));
    let document = pi.agent.json(&pi.engine, &["check", "--json"]);
    let rows = document["containers"].as_array().expect("containers");
    assert_eq!(rows.len(), 1, "check lists what it does not watch: {document:#}");
}

#[test]
fn a_stopped_container_stays_stopped() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    pi.engine.docker(&["stop", "till"]);
    pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    let container = pi.inspect("till");
    assert_eq!(text(&container["Id"]), old);
    assert_eq!(container["State"]["Status"], "exited");
    let row = pi.check("till");
    assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &"not_running".into()));
}

#[test]
fn a_bad_label_and_a_missing_repository_do_not_stop_the_others() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let wrong = [WATCHED[0], "--label=pilotfish.health.timeout=soon"];
    let labelled = pi.start("labelled", &one.reference, &wrong);
    let gone = pi.registry.publish("gone", &Release::new("gone"));
    let missing = pi.start("missing", &gone.reference, &WATCHED);
    pi.update(&["missing"]).expect_code(0);
    pi.registry.delete_manifest("gone", &gone.digest);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(4);

    pi.assert_settled("till", &two, 3);
    assert_eq!((pi.id("labelled"), pi.id("missing")), (labelled, missing));
    assert_eq!(pi.check("labelled")["reason"], "bad_label");
    assert_eq!(pi.check("missing")["reason"], "not_found");
}

#[test]
fn a_registry_that_is_down_changes_nothing_and_is_named() {
    let mut pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.registry.stop();

    pi.update(&[]).expect_code(4);

    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.check("till")["reason"], "registry_unreachable");
    pi.registry.start_again(&pi.engine);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_registry_with_a_private_authority_is_trusted_like_the_engine_does() {
    let mut pi = Pi::new();
    pi.registry.publish("till", &Release::new("1"));
    let name = pi.registry.serve_tls(&pi.engine);
    pi.start_watched("till", &format!("{name}/till:latest"), 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
}

#[test]
fn the_previous_image_stays_on_disk_and_older_ones_are_removed() {
    let pi = Pi::new();
    let releases = ["1", "2", "3"];
    let published: Vec<_> = releases
        .iter()
        .map(|version| {
            let image = pi.registry.publish("till", &Release::new(version));
            if *version == "1" {
                pi.start_watched("till", &image.reference, 8080, &[]);
            } else {
                pi.update(&[]).expect_code(0);
            }
            image
        })
        .collect();

    let there = |image: &str| pi.engine.call("GET", &format!("/images/{image}/json")).status == 200;
    assert!(!there(&published[0].image), "the image before the one before is still there");
    assert!(there(&published[1].image), "no rollback is possible");
    pi.assert_settled("till", &published[2], 1);
    pi.engine.docker(&["image", "prune", "--force"]);
    assert!(there(&published[1].image), "image prune took the kept image");
}
