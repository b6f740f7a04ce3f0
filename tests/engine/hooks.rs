//! Pilotfish's own hooks and locks on a real Engine.

use std::fs;
use std::time::Duration;

use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET};
use crate::watchtower::{HOOK_STARTS, Hooked, write_entry};

fn label(word: &str, value: &str) -> String {
    format!("--label=pilotfish.hook.{word}={value}")
}

/// A till with these labels below `pilotfish.hook.`.
fn hooked(hooks: &[(&str, &str)]) -> Hooked {
    let labels = hooks.iter().map(|(word, value)| label(word, value));
    Hooked::with_labels(Pi::new(), labels.collect())
}

/// The next version of the till.
fn publish(hooked: &Hooked) -> Published {
    hooked.pi.registry.publish("till", &Release::new("2"))
}

/// A next version that ends during its verification.
fn publish_bad(hooked: &Hooked) -> Published {
    hooked.pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "1s"))
}

/// A command for a shell that writes an entry.
fn writes(word: &str) -> String {
    format!("sh:{}", write_entry(word))
}

/// A command that writes an entry, and then hangs until a file `open` is there.
fn hangs(word: &str) -> String {
    format!("sh:{}; test -e /hook_log/open || sleep 1000", write_entry(word))
}

/// All four hooks, each of which writes an entry.
fn hooked_with_all() -> Hooked {
    let words = ["pre-update", "pre-stop", "post-update", "post-rollback"];
    let commands = words.map(writes);
    let hooks: Vec<_> = words.into_iter().zip(commands.iter().map(String::as_str)).collect();
    hooked(&hooks)
}

/// The short ID of the till.
fn short_id(hooked: &Hooked) -> String {
    hooked.pi.id("till")[..12].to_owned()
}

#[test]
fn hooks_run_around_an_update_without_any_setting() {
    let hooked = hooked_with_all();
    let two = publish(&hooked);
    let old = short_id(&hooked);
    assert_eq!(hooked.pi.check("till")["verdict"], "update");
    assert_eq!(hooked.lines(), Vec::<String>::new(), "a check runs no hook");

    hooked.pi.update(&[]).expect_code(0);

    hooked.pi.assert_settled("till", &two, 1);
    let new = short_id(&hooked);
    let expected =
        [format!("pre-update {old}"), format!("pre-stop {old}"), format!("post-update {new}")];
    assert_eq!(hooked.lines(), expected);
}

#[test]
fn the_old_container_hears_of_a_rollback() {
    let hooked = hooked_with_all();
    publish_bad(&hooked);
    let old = short_id(&hooked);

    hooked.pi.update(&[]).expect_code(3);

    hooked.pi.assert_settled("till", &hooked.one, 1);
    assert_eq!(short_id(&hooked), old);
    let expected =
        [format!("pre-update {old}"), format!("pre-stop {old}"), format!("post-rollback {old}")];
    assert_eq!(hooked.lines(), expected);
}

#[test]
fn a_command_needs_no_shell_and_its_arguments_stay_as_they_are() {
    let hooked = hooked(&[
        ("pre-update", r#"/usr/bin/touch "/hook_log/a b" '/hook_log/$HOME'"#),
        ("pre-stop", "/nowhere/command"),
    ]);
    let two = publish(&hooked);

    let output = hooked.pi.update(&[]).expect_code(0);

    hooked.pi.assert_settled("till", &two, 1);
    assert!(hooked.hook_log.join("a b").exists());
    assert!(hooked.hook_log.join("$HOME").exists());
    let log = format!("{}{}", output.out, output.err);
    assert!(log.contains("the pre-stop hook could not be started (exit code 12"), "{log}");
}

#[test]
fn a_pre_update_hook_holds_its_container_with_any_code_but_0() {
    let script = "sh:exit $(cat /hook_log/code)";
    let hooked = hooked(&[("pre-update", script)]);
    let two = publish(&hooked);
    for (code, words) in
        [("75", "asks to be tried later (exit code 75)"), ("3", "failed (exit code 3)")]
    {
        fs::write(hooked.hook_log.join("code"), code).expect("a file");
        let output = hooked.pi.update(&["--force", "till"]).expect_code(0);
        assert!(output.out.contains("held_by_hook"), "{output:?}");
        assert!(output.out.contains(words), "{output:?}");
        hooked.pi.assert_settled("till", &hooked.one, 1);
    }
    assert_eq!(hooked.pi.history("till"), Vec::<serde_json::Value>::new());

    fs::write(hooked.hook_log.join("code"), "0").expect("a file");
    hooked.pi.update(&[]).expect_code(0);
    hooked.pi.assert_settled("till", &two, 1);
}

#[test]
fn a_hook_that_hangs_is_no_longer_waited_for_after_its_timeout() {
    let hooked = hooked(&[("pre-update", "sleep 1000"), ("pre-update.timeout", "2s")]);
    publish(&hooked);
    let output = hooked.pi.update(&[]).expect_code(0);
    assert!(output.out.contains("took longer than 2 s"), "{output:?}");
    hooked.pi.assert_settled("till", &hooked.one, 1);
}

#[test]
fn a_pre_stop_hook_that_hangs_or_fails_does_not_hold_the_update() {
    for (command, words) in [("sleep 1000", "took longer than 2 s"), ("sh:exit 3", "exit code 3")] {
        let hooked = hooked(&[("pre-stop", command), ("pre-stop.timeout", "2s")]);
        let two = publish(&hooked);
        let output = hooked.pi.update(&[]).expect_code(0);
        hooked.pi.assert_settled("till", &two, 1);
        let log = format!("{}{}", output.out, output.err);
        assert!(log.contains("the pre-stop hook") && log.contains(words), "{log}");
        // The old container served while its hook ran.
        let gap = hooked.pi.history("till")[0]["gap_seconds"].as_f64().expect("a gap");
        assert!(gap < 2.0, "{gap}");
    }
}

#[test]
fn a_failing_post_update_hook_is_told_and_a_required_one_refuses_the_image() {
    let is_told = hooked(&[("post-update", "sh:exit 3")]);
    let two = publish(&is_told);
    let output = is_told.pi.update(&[]).expect_code(0);
    is_told.pi.assert_settled("till", &two, 1);
    let log = format!("{}{}", output.out, output.err);
    assert!(log.contains("the post-update hook failed (exit code 3)"), "{log}");

    let required = hooked(&[("post-update", "sh:exit 3"), ("post-update.required", "true")]);
    publish(&required);
    required.pi.update(&[]).expect_code(3);
    required.pi.assert_settled("till", &required.one, 1);
    let record = &required.pi.history("till")[0];
    assert_eq!(record["outcome"], "rolled_back");
    assert_eq!(record["reason"], "the post-update hook failed (exit code 3)");
    assert_eq!(required.pi.check("till")["reason"], "refused_digest");
}

#[test]
fn a_required_hook_that_succeeds_runs_before_the_commit() {
    let script = format!("sh:{}; cat /proc/1/cmdline > /dev/null", write_entry("post-update"));
    let hooked = hooked(&[("post-update", &script), ("post-update.required", "true")]);
    let two = publish(&hooked);
    hooked.pi.update(&[]).expect_code(0);
    hooked.pi.assert_settled("till", &two, 1);
    assert_eq!(hooked.lines().len(), 1);
}

#[test]
fn a_hook_is_run_again_after_the_agent_was_killed_in_it() {
    for word in ["pre-update", "pre-stop", "post-update"] {
        for is_required in [false, word == "post-update"] {
            let command = hangs(word);
            let required = if is_required { "true" } else { "false" };
            let mut hooks = vec![(word, command.as_str())];
            if word == "post-update" {
                hooks.push(("post-update.required", required));
            }
            let hooked = hooked(&hooks);
            let two = publish(&hooked);
            hooked.kill_in_hook(word);
            fs::write(hooked.hook_log.join("open"), "").expect("a file");

            hooked.pi.update(&[]).expect_code(0);

            hooked.pi.assert_settled("till", &two, 1);
            assert_eq!(hooked.lines().len(), 2, "{word}: {:?}", hooked.lines());
        }
    }
}

#[test]
fn a_post_rollback_hook_is_run_again_after_the_agent_was_killed_in_it() {
    let hooked = hooked(&[("post-rollback", &hangs("post-rollback"))]);
    publish_bad(&hooked);
    let old = hooked.pi.id("till");
    hooked.kill_in_hook("post-rollback");
    assert_eq!(hooked.pi.serving(8080).as_deref(), Some("till 1"));
    fs::write(hooked.hook_log.join("open"), "").expect("a file");

    hooked.pi.update(&[]);

    hooked.pi.assert_settled("till", &hooked.one, 1);
    assert_eq!(hooked.pi.id("till"), old);
    assert_eq!(hooked.lines().len(), 2, "{:?}", hooked.lines());
    assert_eq!(hooked.pi.check("till")["reason"], "refused_digest");
}

#[test]
fn a_hook_that_hangs_delays_no_other_container() {
    let hooked = hooked(&[("pre-update", &hangs("pre-update")), ("pre-update.timeout", "10m")]);
    let pi = &hooked.pi;
    let side = pi.registry.publish("side", &Release::new("1"));
    pi.start_watched("side", &side.reference, 8081, &[]);
    publish(&hooked);
    pi.registry.publish("side", &Release::new("2"));

    let running = pi.agent.spawn(&pi.engine, &["update"]);

    wait_until("the hook runs", HOOK_STARTS, || !hooked.lines().is_empty());
    let serves_two = || pi.serving(8081).as_deref() == Some("till 2");
    wait_until("the other container is updated", Duration::from_secs(60), serves_two);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert!(running.kill(), "the agent had ended before");
}

#[test]
fn pilotfishs_own_hook_counts_beside_watchtowers_and_check_says_so() {
    let settings = format!("{QUIET}\n[compat]\nwatchtower = true\nlifecycle_hooks = true");
    let theirs = |word: &str| {
        let command = write_entry(&format!("watchtower-{word}"));
        format!("--label=com.centurylinklabs.watchtower.lifecycle.{word}={command}")
    };
    let labels = vec![
        theirs("pre-update"),
        theirs("post-update"),
        label("pre-update", &writes("own-pre-update")),
    ];
    let hooked = Hooked::with_labels(Pi::with(&[], &settings), labels);
    let two = publish(&hooked);

    let output = hooked.pi.agent.run(&hooked.pi.engine, &["check"]).expect_code(0);
    assert!(output.out.contains("lifecycle.pre-update"), "{output:?}");
    assert!(!output.out.contains("lifecycle.post-update"), "{output:?}");
    hooked.pi.update(&[]).expect_code(0);

    hooked.pi.assert_settled("till", &two, 1);
    let words: Vec<_> =
        hooked.lines().iter().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    assert_eq!(words, ["own-pre-update", "watchtower-post-update"]);
}

#[test]
fn a_hook_of_a_compose_file_is_named_because_no_update_runs_it() {
    let pi = Pi::new();
    let file = pi.engine.directory().join("docker-compose.yml");
    let text = "services:\n  api:\n    image: api\n    post_start:\n      - command: /warm-up\n";
    fs::write(&file, text).expect("a Compose file");
    let files = format!("--label=com.docker.compose.project.config_files={}", file.display());
    let image = pi.registry.publish("till", &Release::new("1"));
    let labels = ["--label=com.docker.compose.service=api", files.as_str()];
    pi.start_watched("shop_api_1", &image.reference, 8080, &labels);

    let check = pi.agent.run(&pi.engine, &["check"]).expect_code(0);

    let expected = format!(
        "shop_api_1: Pilotfish does not run post_start of {}, only Compose does; use its \
         own hooks",
        file.display()
    );
    let out = check.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(out.contains(&expected), "{}", check.out);
}
