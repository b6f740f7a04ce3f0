//! Labels of images and of containers, and containers that other tools manage, on a real Engine.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::command::run;
use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// The agent watches every container.
const EVERY_CONTAINER: (&str, &str) = ("PILOTFISH_OPT_IN", "false");

/// Labels of images count.
const TRUSTING: (&str, &str) = ("PILOTFISH_TRUST_IMAGE_LABELS", "true");

/// The document of `check --json`, with these environment variables.
fn check(pi: &Pi, variables: &[(&str, &str)]) -> Value {
    let output = pi.agent.run_with(&pi.engine, variables, &["check", "--json"]).expect_code(0);
    serde_json::from_str(&output.out).expect("JSON")
}

#[test]
fn labels_of_an_image_do_not_set_the_policy() {
    let pi = Pi::new();
    let enabled = Release::new("1").with_label("pilotfish.enable", "true");
    let greedy = pi.registry.publish("greedy", &enabled);
    let window = "pilotfish.update.window";
    let wide = pi.registry.publish("wide", &Release::new("1").with_label(window, "00:00-24:00"));
    let id = pi.start("greedy", &greedy.reference, &[]);
    pi.start("wide", &wide.reference, &WATCHED);
    let two = pi.registry.publish("greedy", &enabled.with("TILL_EDITION", "2"));
    pi.registry.publish("wide", &Release::new("2"));

    // The agent's update window is closed on every day of this test.
    let closed = ("PILOTFISH_UPDATE_WINDOW", "Mon 00:00-00:01");
    pi.agent.run_with(&pi.engine, &[closed], &["update"]).expect_code(0);
    assert_eq!(pi.id("greedy"), id, "only its image's labels asked for that");
    let output = check(&pi, &[closed]);
    assert_eq!(output["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(output["containers"][0]["reason"], "outside_window");
    let ignored = &output["ignored_labels"];
    assert_eq!(ignored[0]["container"], "greedy");
    assert_eq!(ignored[0]["labels"]["pilotfish.enable"], "true");
    assert_eq!(ignored[0]["watched"], false);
    assert_eq!(ignored[1]["container"], "wide");
    assert_eq!(ignored[1]["labels"][window], "00:00-24:00");
    let text = pi.agent.run(&pi.engine, &["check"]).expect_code(0).out;
    assert!(text.contains("1 container ignored"), "{text}");
    assert!(text.contains("greedy: image label pilotfish.enable=true does not count"), "{text}");
    assert!(text.contains("trust_image_labels = true"), "{text}");
    let refused = pi.agent.run(&pi.engine, &["update", "greedy"]).expect_code(1).err;
    assert!(refused.contains("image label pilotfish.enable=true does not count"), "{refused}");

    pi.agent.run_with(&pi.engine, &[TRUSTING], &["update", "greedy"]).expect_code(0);
    pi.assert_settled("greedy", &two, 2);
}

#[test]
fn a_container_that_another_tool_manages_is_held_with_that_reason() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let rows = [
        ("task", "com.docker.swarm.task.id=x", "swarm_task"),
        ("pod", "io.kubernetes.pod.uid=x", "managed_elsewhere"),
        ("addon", "supervisor_managed=", "managed_elsewhere"),
    ];
    for (name, label, _) in rows {
        pi.start(name, &one.reference, &[&format!("--label={label}")]);
    }
    let file = format!(
        "services:\n  shop:\n    image: {}\n    labels:\n      pilotfish.enable: 'true'\n",
        one.reference
    );
    let project = pi.engine.directory().join("shop");
    fs::create_dir_all(&project).expect("a project");
    fs::write(project.join("docker-compose.yml"), file).expect("a project's file");
    let compose = |words: &[&str]| {
        let mut compose = Command::new("docker-compose");
        compose.env("DOCKER_HOST", pi.engine.host()).current_dir(&project);
        run(compose.args(words))
    };
    compose(&["up", "--detach"]);
    compose(&["run", "--detach", "--name=migration", "shop"]);
    let names = ["task", "pod", "addon", "migration"];
    let before = names.map(|name| pi.id(name));
    pi.registry.publish("till", &Release::new("2"));

    // The migration inherits the label of its service, so it is watched.
    let output = check(&pi, &[]);
    let of = |output: &Value, name: &str| {
        let rows = output["containers"].as_array().expect("rows").clone();
        rows.into_iter().find(|row| row["container"] == name).expect("a row")
    };
    assert_eq!(of(&output, "migration")["reason"], "one_off");
    let output = check(&pi, &[EVERY_CONTAINER]);
    assert_eq!(of(&output, "migration")["reason"], "one_off");
    for (name, _, reason) in rows {
        assert_eq!(of(&output, name)["reason"], reason, "{name}");
        assert_eq!(of(&output, name)["verdict"], "held", "{name}");
    }
    let force = [&["update", "--force"], &names[..]].concat();
    pi.agent.run_with(&pi.engine, &[EVERY_CONTAINER], &force).expect_code(0);
    assert_eq!(names.map(|name| pi.id(name)), before);
    assert_eq!(pi.names().len(), 5);
}
