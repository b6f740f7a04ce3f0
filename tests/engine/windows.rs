//! Images that are fetched in one window and applied in another.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::support::agent::scrape;
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET, text};

/// How long the agent may take from the opening of a window to the end of the update.
const OPENING_TIMEOUT: Duration = Duration::from_secs(150);

#[expect(clippy::disallowed_methods, reason = "the Engine and the agent use this clock too")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A window of one hour that is closed now, and stays closed for some hours.
fn closed() -> String {
    let begins = now() + TimeDelta::hours(6);
    let ends = begins + TimeDelta::hours(1);
    format!("{}-{}", begins.format("%H:%M"), ends.format("%H:%M"))
}

/// Settings with these windows, for an agent that starts no round by itself.
fn windows(pull: &str, update: &str) -> String {
    format!("{QUIET}\n[pull]\nwindow = {pull:?}\n[update]\nwindow = {update:?}")
}

fn pi(pull: &str, update: &str) -> Pi {
    Pi::with(&[], &windows(pull, update))
}

fn is_present(pi: &Pi, image: &Published) -> bool {
    pi.engine.call("GET", &format!("/images/{}/json", image.image)).status == 200
}

/// The tags that keep an image until its window opens.
fn prefetch_tags(pi: &Pi) -> Vec<String> {
    let images = pi.engine.call("GET", "/images/json").json();
    let tags = images.as_array().expect("images").iter().filter_map(|it| it["RepoTags"].as_array());
    let names = tags.flatten().filter_map(Value::as_str);
    names.filter(|name| name.starts_with("pilotfish-next/")).map(str::to_owned).collect()
}

fn prefetch_tag(container: &str, image: &Published) -> String {
    format!("pilotfish-next/{container}:{}", &image.image["sha256:".len()..][..12])
}

/// How many blobs the Engine has requested. The agent itself reads configurations, no layers.
fn downloads(pi: &Pi) -> usize {
    let is_blob = |it: &&String| it.starts_with("GET") && it.contains("/blobs/");
    let is_engine = |it: &&String| !it.contains("\"pilotfish/");
    pi.registry.requests().iter().filter(is_blob).filter(is_engine).count()
}

#[track_caller]
fn assert_waits(pi: &Pi, name: &str, detail: &str) {
    let row = pi.check(name);
    assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &"outside_window".into()));
    let actual = text(&row["detail"]);
    assert!(actual.starts_with(detail), "{actual}");
}

#[test]
fn an_image_is_fetched_ahead_superseded_and_applied_without_another_download() {
    let mut pi = pi("", &closed());
    let one = pi.registry.publish("till", &Release::new("1"));
    let old = pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    assert_waits(&pi, "till", "to be pulled; the update window opens ");
    assert!(!is_present(&pi, &two), "check pulled the image");
    let finished = pi.update(&[]).expect_code(0);
    assert!(finished.out.contains("fetched, its update waits"), "{finished:?}");
    assert!(is_present(&pi, &two));
    assert_eq!(prefetch_tags(&pi), [prefetch_tag("till", &two)]);
    pi.engine.docker(&["image", "prune", "--force"]);
    assert!(is_present(&pi, &two), "image prune took the image");
    assert_waits(&pi, "till", "pulled; the update window opens ");
    let before = downloads(&pi);
    assert!(before > 0, "{:#?}", pi.registry.requests());
    let finished = pi.update(&[]).expect_code(0);
    assert!(!finished.out.contains("fetched"), "a round without news: {finished:?}");
    assert_eq!(downloads(&pi), before);

    let three = pi.registry.publish("till", &Release::new("3"));
    pi.update(&[]).expect_code(0);
    assert!(!is_present(&pi, &two), "the superseded image is still on disk");
    assert_eq!(prefetch_tags(&pi), [prefetch_tag("till", &three)]);
    assert_eq!(pi.id("till"), old);
    assert!(pi.history("till").is_empty());

    pi.agent.set(&pi.engine, &windows("", ""));
    let before = downloads(&pi);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &three, 1);
    assert_eq!(downloads(&pi), before, "the image was downloaded again");
    assert_eq!(prefetch_tags(&pi), [""; 0]);
}

#[test]
fn nothing_is_fetched_outside_the_pull_window() {
    let pi = pi(&closed(), &closed());
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    assert_waits(&pi, "till", "the pull window opens ");
    assert!(!is_present(&pi, &two));
    assert_eq!(prefetch_tags(&pi), [""; 0]);
}

#[test]
fn nothing_is_fetched_for_notify_only_containers() {
    let pi = pi("", &closed());
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--label=pilotfish.mode=notify"]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.check("till")["reason"], "notify_only");
    assert!(!is_present(&pi, &two));
}

#[test]
fn force_updates_outside_both_windows() {
    let pi = pi(&closed(), &closed());
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&["--force"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
}

#[test]
fn a_fetched_image_of_a_removed_container_is_removed_unless_it_is_in_use() {
    let pi = pi("", &closed());
    let one = pi.registry.publish("till", &Release::new("1"));
    for (name, port) in [("Till", 8080), ("kiosk", 8081)] {
        pi.start_watched(name, &one.reference, port, &[]);
    }
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&[]).expect_code(0);
    assert_eq!(prefetch_tags(&pi).len(), 2, "each container has a name of its own");

    pi.engine.docker(&["rm", "--force", "Till"]);
    pi.update(&[]).expect_code(0);
    assert_eq!(prefetch_tags(&pi), [prefetch_tag("kiosk", &two)]);
    let pinned = format!("127.0.0.1:5000/till@{}", two.digest);
    pi.start("by-hand", &pinned, &[]);
    pi.engine.docker(&["rm", "--force", "kiosk"]);
    pi.update(&[]).expect_code(0);

    assert_eq!(prefetch_tags(&pi), [""; 0]);
    assert!(is_present(&pi, &two), "an image in use was dropped");
}

#[test]
fn an_agent_that_checks_once_a_year_wakes_when_the_window_opens() {
    let mut pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));
    // A full minute, at least half a minute from now.
    let opens = now() + TimeDelta::seconds(90);
    let closes = opens + TimeDelta::hours(1);
    let window = format!("{}-{}", opens.format("%H:%M"), closes.format("%H:%M"));
    let yearly = "cron = \"0 0 1 1 *\"\njitter = \"0%\"";
    pi.agent.set(&pi.engine, &format!("{yearly}\n[update]\nwindow = {window:?}"));
    pi.update(&[]).expect_code(0);
    assert_eq!(prefetch_tags(&pi), [prefetch_tag("till", &two)]);

    // When the agent starts, it finds the image that another process has fetched.
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let updated = r#"pilotfish_updates_total{container="till",outcome="updated"} 1"#;
    wait_until("the update is counted", OPENING_TIMEOUT, || {
        scrape(&pi.engine, "/metrics").contains(updated)
    });

    assert!(now() >= opens - TimeDelta::seconds(60), "the update came before its window");
    pi.assert_settled("till", &two, 1);
    agent.terminate().expect_code(0);
}
