//! Watchtower's labels on a real Engine: with `compat.watchtower` they have the same effect.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET};

/// The prefix of Watchtower's own labels.
const PREFIX: &str = "--label=com.centurylinklabs.watchtower.";

/// A Pi whose agent reads Watchtower's labels and runs their hooks.
fn pi() -> Pi {
    Pi::with(&[], &format!("{QUIET}\n[compat]\nwatchtower = true\nlifecycle_hooks = true"))
}

fn label(word: &str, value: &str) -> String {
    format!("{PREFIX}{word}={value}")
}

#[test]
fn a_dependent_by_label_is_replaced_with_its_service() {
    let pi = pi();
    let one = pi.registry.publish("till", &Release::new("1"));
    let side = pi.registry.publish("side", &Release::new("side"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let asks = label("depends-on", "db,till");
    let guest = pi.start_watched("guest", &side.reference, 8081, &[&asks]);
    // A container that is not watched is not touched, and does not block.
    let unwatched = pi.start("unwatched", &side.reference, &[&asks]);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 3);
    pi.assert_settled("guest", &side, 3);
    assert_ne!(pi.id("guest"), guest);
    assert_eq!(pi.id("unwatched"), unwatched);
    assert_eq!(pi.history("till")[0]["dependents"][0], "guest");
}

/// A container with a shell, and a file in which its hooks log their runs.
pub struct Hooked {
    pub pi: Pi,
    pub one: Published,
    pub hook_log: PathBuf,
}

impl Hooked {
    /// A till with these labels below `lifecycle.`, and a new version of it in the registry.
    fn new(pi: Pi, hooks: &[(&str, &str)]) -> (Self, Published) {
        let labels = hooks.iter().map(|(word, what)| label(&format!("lifecycle.{word}"), what));
        let hooked = Self::with_labels(pi, labels.collect());
        let two = hooked.pi.registry.publish("till", &Release::new("2"));
        (hooked, two)
    }

    /// A till with these options.
    pub fn with_labels(pi: Pi, labels: Vec<String>) -> Self {
        let one = pi.registry.publish("till", &Release::new("1"));
        let hook_log = pi.engine.directory().join("hook_log");
        fs::create_dir_all(&hook_log).expect("a directory for the hook log");
        let mut options = vec![format!("--volume={}:/hook_log", hook_log.display())];
        // The till's image has no shell, so it gets the one of this machine.
        let shell = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
        options.extend(shell.map(|path| format!("--volume={path}:{path}:ro")));
        options.extend(labels);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        pi.start_watched("till", &one.reference, 8080, &options);
        Self { pi, one, hook_log }
    }

    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.hook_log.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Starts an update and kills the agent once a hook has written its first line.
    fn kill_in_a_hook(&self) {
        self.kill_in_hook("");
    }

    /// Starts an update and kills the agent once this hook has written its line.
    pub fn kill_in_hook(&self, word: &str) {
        let running = self.pi.agent.spawn(&self.pi.engine, &["update"]);
        let has_begun = || self.lines().iter().any(|line| line.starts_with(word));
        wait_until("a hook runs", HOOK_STARTS, has_begun);
        assert!(running.kill(), "the agent had ended before");
    }
}

/// How long an update may take until its hook has begun.
pub const HOOK_STARTS: Duration = Duration::from_secs(60);

/// Writes the word and the container's ID to the log file.
pub fn write_entry(word: &str) -> String {
    format!("echo {word} $HOSTNAME >> /hook_log/log")
}

#[test]
fn hooks_run_around_a_check_and_an_update() {
    let words = ["post-update", "pre-check", "post-check", "pre-update"];
    let says = words.map(write_entry);
    let hooks: Vec<_> = words.into_iter().zip(says.iter().map(String::as_str)).collect();
    let (hooked, two) = Hooked::new(pi(), &hooks);
    let pi = &hooked.pi;
    let old = pi.id("till")[..12].to_owned();
    // A check changes nothing.
    assert_eq!(pi.check("till")["verdict"], "update");
    assert_eq!(hooked.lines(), Vec::<String>::new());

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    let new = pi.id("till")[..12].to_owned();
    let of = |word: &str, id: &str| format!("{word} {id}");
    let expected = [
        of("pre-check", &old),
        of("pre-update", &old),
        of("post-update", &new),
        of("post-check", &new),
    ];
    assert_eq!(hooked.lines(), expected);
}

#[test]
fn a_pre_update_hook_can_hold_its_container_without_a_limit() {
    let (hooked, two) = Hooked::new(pi(), &[("pre-update", "test -e /hook_log/open || exit 75")]);
    let pi = &hooked.pi;
    let old = pi.id("till");

    for arguments in [&["update"][..], &["update", "--force", "till"]] {
        let output = pi.agent.run(&pi.engine, arguments).expect_code(0);
        assert!(output.out.contains("asks to be tried later (exit code 75)"), "{output:?}");
    }
    pi.assert_settled("till", &hooked.one, 1);
    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.history("till"), Vec::<serde_json::Value>::new());

    // The image is on the disk: only the agent reads its configuration, and the Engine fetches
    // nothing.
    let before = pi.registry.requests().len();
    fs::write(hooked.hook_log.join("open"), "").expect("a file");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    let blobs = pi.registry.requests()[before..].iter().filter(|it| it.contains("/blobs/")).count();
    assert_eq!(blobs, 1);
}

#[test]
fn a_failing_post_update_hook_is_reported_and_refuses_no_image() {
    let (hooked, two) = Hooked::new(pi(), &[("post-update", "exit 3"), ("post-check", "exit 4")]);

    let output = hooked.pi.update(&[]).expect_code(0);

    hooked.pi.assert_settled("till", &two, 1);
    let log = format!("{}{}", output.out, output.err);
    assert!(log.contains("the post-update hook failed (exit code 3)"), "{log}");
    assert!(log.contains("the post-check hook failed (exit code 4)"), "{log}");
}

#[test]
fn a_hook_that_hangs_is_cut_off() {
    let hooks = [("pre-update", "sleep 1000"), ("pre-update-timeout", "1")];
    let (hooked, _) = Hooked::new(pi(), &hooks);

    let output = hooked.pi.update(&[]).expect_code(0);

    assert!(output.out.contains("took longer than 60 s"), "{output:?}");
    hooked.pi.assert_settled("till", &hooked.one, 1);
}

#[test]
fn hooks_are_not_run_without_permission() {
    let pi = Pi::with(&[], &format!("{QUIET}\n[compat]\nwatchtower = true"));
    let (hooked, two) =
        Hooked::new(pi, &[("pre-update", "exit 1"), ("pre-check", &write_entry("here"))]);

    hooked.pi.update(&[]).expect_code(0);

    hooked.pi.assert_settled("till", &two, 1);
    assert_eq!(hooked.lines(), Vec::<String>::new());
}

#[test]
fn the_agent_is_killed_in_a_pre_update_hook() {
    let slow = format!("{}; test -e /hook_log/open || sleep 1000", write_entry("pre-update"));
    let (hooked, two) = Hooked::new(pi(), &[("pre-update", &slow)]);

    hooked.kill_in_a_hook();

    hooked.pi.assert_settled("till", &hooked.one, 1);
    fs::write(hooked.hook_log.join("open"), "").expect("a file");
    hooked.pi.update(&[]).expect_code(0);
    hooked.pi.assert_settled("till", &two, 1);
}

#[test]
fn a_post_update_hook_is_not_run_twice_after_a_kill_and_that_is_reported() {
    let slow = format!("{}; sleep 1000", write_entry("post-update"));
    let (hooked, two) = Hooked::new(pi(), &[("post-update", &slow)]);

    hooked.kill_in_a_hook();

    let output = hooked.pi.update(&[]).expect_code(0);
    hooked.pi.assert_settled("till", &two, 1);
    assert_eq!(hooked.lines().len(), 1, "{:?}", hooked.lines());
    let log = format!("{}{}", output.out, output.err);
    assert!(log.contains("may not have ended; it is not run again"), "{log}");
}

#[test]
fn a_no_pull_container_follows_its_local_tag() {
    let pi = pi();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[&label("no-pull", "true")]);
    let two = pi.registry.publish("till", &Release::new("2"));
    let before = pi.registry.requests().len();

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    assert_eq!(pi.registry.requests().len(), before, "the registry was asked");

    // A person pulls, and the registry goes down.
    pi.engine.docker(&["pull", "--quiet", &two.reference]);
    let before = pi.registry.requests().len();
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 1);
    pi.agent.run(&pi.engine, &["rollback", "till"]).expect_code(0);
    pi.assert_settled("till", &one, 1);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.registry.requests().len(), before, "the registry was asked");
}

#[test]
fn a_bad_image_behind_the_local_tag_is_refused_and_stays_on_disk() {
    let pi = pi();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[&label("no-pull", "true")]);
    let bad = pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "1s"));
    pi.engine.docker(&["pull", "--quiet", &bad.reference]);
    let built = pi.engine.docker(&["image", "inspect", "--format={{.Id}}", &bad.reference]);

    pi.update(&[]).expect_code(3);

    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date", "the tag is back at the old image");
    // If a person tags it again, that is reported, and nothing is tried again.
    pi.engine.docker(&["tag", &built, &bad.reference]);
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &one, 1);
    assert_eq!(pi.check("till")["reason"], "refused_digest");
}

/// Till 1 with a label that names a signal, and version 2 in the registry. The till logs the signal
/// that ended it.
fn with_a_stop_signal(signal: &str, options: &[&str]) -> (Pi, Published) {
    let pi = pi();
    let one = pi.registry.publish("till", &Release::new("1"));
    let (label, mount) =
        (label("stop-signal", signal), format!("{}:/book", signal_log_path(&pi).display()));
    let mut all = vec![&*label, "--volume", &mount, "--env=TILL_FAREWELL=/book/farewell"];
    all.extend(options);
    pi.start_watched("till", &one.reference, 8080, &all);
    let two = pi.registry.publish("till", &Release::new("2"));
    (pi, two)
}

fn signal_log_path(pi: &Pi) -> PathBuf {
    pi.engine.directory().join("book")
}

/// The signals that ended tills.
fn logged_signals(pi: &Pi) -> Vec<String> {
    let text = fs::read_to_string(signal_log_path(pi).join("farewell")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_labels_stop_signal_stops_the_old_container() {
    let (pi, two) = with_a_stop_signal("SIGQUIT", &[]);

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(logged_signals(&pi), ["SIGQUIT"]);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_container_restarted_after_the_labels_stop_signal_is_stopped() {
    // Engines treat an end by another signal than the container's own as a crash.
    let (pi, two) = with_a_stop_signal("sigquit", &["--stop-signal=SIGINT"]);

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(logged_signals(&pi)[0], "SIGQUIT");
    assert_eq!(pi.inspect("till")["Config"]["StopSignal"], "SIGINT");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_container_that_ignores_the_labels_stop_signal_is_killed_after_its_timeout() {
    let (pi, two) = with_a_stop_signal("SIGURG", &["--stop-timeout=2"]);

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    let gap = pi.history("till")[0]["gap_seconds"].as_f64().expect("a gap");
    assert!((2.0..8.0).contains(&gap), "{gap}");
}

#[test]
fn the_agent_is_killed_while_the_old_container_is_still_ending() {
    let (pi, two) = with_a_stop_signal("SIGURG", &["--stop-timeout=4"]);
    assert!(pi.update_until("switch").kill(), "the agent had ended before");

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn an_unknown_stop_signal_holds_only_its_own_container() {
    let (pi, two) = with_a_stop_signal("SIGNAL", &[]);
    let old = pi.id("till");
    pi.start_watched("other", &two.reference, 8081, &[]);

    let output = pi.update(&[]).expect_code(4);

    assert!(output.out.contains("`SIGNAL` is no signal"), "{output:?}");
    assert_eq!(pi.id("till"), old);
    pi.assert_settled("other", &two, 2);
}
