//! Every wait has a limit that only the operator can extend, and a failed step is repeated after a
//! pause. Cases: an image that asks for a year of verification, a check that the Engine runs too
//! rarely, a pull that always fails, a service that cannot be started.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::agent::METRICS_PORT;
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::{Release, digest_of};
use crate::support::{Pi, QUIET, WATCHED};

/// Longer than three tries with their pauses, and the pause after them.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(90);

const HOUR: Duration = Duration::from_secs(3_600);

/// The label of a watched container without its own limit for the verification.
const ONLY_ENABLED: [&str; 1] = ["--label=pilotfish.enable=true"];

#[test]
fn a_stop_timeout_of_the_user_is_kept() {
    let pi = Pi::with(&["--debug"], QUIET);
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--stop-timeout=600"]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    let log = fs::read_to_string(pi.engine.directory().join("engine.log")).expect("a log");
    let stops: Vec<_> = log.lines().filter(|line| line.contains("/stop?")).collect();
    assert!(!stops.is_empty() && stops.iter().all(|line| line.contains("t=600")), "{stops:?}");
}

#[test]
fn an_image_that_asks_for_a_year_of_verification_is_not_switched_to() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start("till", &one.reference, &ONLY_ENABLED);
    let slow = Release::new("2").with_healthcheck(Duration::from_millis(200), 1);
    let two = pi.registry.publish("till", &slow.with_start_period(8_760 * HOUR));

    pi.update(&[]).expect_code(1);

    assert_eq!(pi.id("till"), old);
    let row = pi.check("till");
    assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &"update_failing".into()));
    let detail = row["detail"].as_str().expect("a detail");
    assert!(detail.contains("pilotfish.health.timeout"), "{detail}");
    assert_eq!(pi.history("till")[0]["outcome"], "failed");
    assert!(pi.history("till")[0]["gap_seconds"].is_null(), "something was stopped");

    // The operator allows it, so the next round tries it without a pause.
    pi.engine.docker(&["rm", "--force", "till"]);
    pi.start("till", &one.reference, &WATCHED);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_healthcheck_that_the_engine_runs_too_rarely_is_run_by_the_agent() {
    let pi = Pi::new();
    let seldom = |version| Release::new(version).with_healthcheck(HOUR, 2);
    let one = pi.registry.publish("till", &seldom("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &seldom("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    pi.registry.publish("till", &seldom("3").with("TILL_UNHEALTHY_AFTER", "0s"));
    pi.update(&[]).expect_code(3);
    pi.assert_settled("till", &two, 1);
    let reason = pi.history("till")[0]["reason"].to_string();
    assert!(reason.contains("HEALTHCHECK"), "{reason}");
}

/// The path of a blob in the registry.
fn blob(pi: &Pi, digest: &str) -> PathBuf {
    let hash = digest.trim_start_matches("sha256:");
    let blobs = pi.engine.directory().join("registry/storage/docker/registry/v2/blobs/sha256");
    blobs.join(&hash[..2]).join(hash)
}

#[test]
fn a_pull_that_always_fails_pauses_and_is_one_line_of_history() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let release = Release::new("2").with_ballast(1 << 16);
    let two = pi.registry.publish("till", &release);
    let lost = blob(&pi, &digest_of(&release.layers()[1].compressed));
    let aside = pi.engine.directory().join("aside");
    fs::rename(&lost, &aside).expect("the blob goes");

    pi.update(&[]).expect_code(1);
    for _ in 0..3 {
        pi.update(&[]).expect_code(0);
    }

    let row = pi.check("till");
    assert_eq!(row["reason"], "update_failing");
    assert!(
        row["detail"].as_str().is_some_and(|it| it.contains("tried once, tried again")),
        "{row}"
    );
    // A manual update does not wait for the pause.
    pi.update(&["till"]).expect_code(1);
    let history = pi.history("till");
    assert_eq!((history.len(), &history[0]["tries"]), (1, &2.into()), "{history:?}");
    assert_eq!(pi.id("till"), old);
    fs::rename(&aside, &lost).expect("the blob is back");
    pi.update(&["till"]).expect_code(0);
    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_service_that_cannot_start_is_reported_down_and_retried_until_it_runs() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let stick = pi.engine.directory().join("stick");
    fs::create_dir(&stick).expect("a directory");
    let mount = format!("--mount=type=bind,source={},target=/stick", stick.display());
    let old = pi.start_watched("till", &one.reference, 8080, &[&mount]);
    pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "1s"));
    let update = pi.update_until("verify");

    // The stick is removed during the verification of the bad release.
    fs::remove_dir(&stick).expect("it goes");
    update.finish().expect_code(1);

    let check = pi.agent.run(&pi.engine, &["check"]).expect_code(4);
    assert!(check.out.contains("error: stuck") && check.out.contains("down"), "{}", check.out);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let peer = Peer::Tcp(pi.engine.address_of(METRICS_PORT));
    let page = |path: &str| peer.get(path).map(|answer| (answer.status, answer.text()));
    wait_until("it is down", RECOVERY_TIMEOUT, || {
        let metrics = page("/metrics").map(|(_, text)| text).unwrap_or_default();
        metrics.contains("\npilotfish_service_down{container=\"till\"} 1\n")
    });
    let (ready, why) = page("/readyz").expect("an answer");
    assert!(ready == 503 && why.contains("till"), "{ready} {why}");
    assert_eq!(page("/healthz").expect("an answer").0, 200);
    pi.agent.run(&pi.engine, &["check"]).expect_code(4);

    fs::create_dir(&stick).expect("it is back");

    wait_until("it serves again", RECOVERY_TIMEOUT, || pi.serving(8080).is_some());
    wait_until("nothing is open", RECOVERY_TIMEOUT, || pi.agent.journals().is_empty());
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.id("till"), old);
    let newest = &pi.history("till")[0];
    assert_eq!(newest["outcome"], "rolled_back");
    assert!(newest["gap_seconds"].as_f64().is_some_and(|gap| gap > 5.0), "{newest}");
    wait_until("it is ready", RECOVERY_TIMEOUT, || page("/readyz").is_ok_and(|it| it.0 == 200));
    agent.terminate().expect_code(0);
}
