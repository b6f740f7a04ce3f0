//! The agent checks where an image came from: an image of the same name from somebody else replaces
//! nothing, and an image that came from the registry is updated, however it got its name.

use std::fs;
use std::process::Command;

use crate::support::command::run;
use crate::support::images::{Release, static_till};
use crate::support::registry::{Registry, is_containerd_store};
use crate::support::{Pi, QUIET, WATCHED, text};

/// The name of a repository in the test's registry.
fn name(repository: &str) -> String {
    format!("127.0.0.1:5000/{repository}:latest")
}

/// How many requests by digest the agent sent for this repository. The Engine sends some as well
/// when it pulls.
fn asked_by_digest(registry: &Registry, repository: &str) -> usize {
    let begin = format!("HEAD /v2/{repository}/manifests/sha256:");
    let is_it = |it: &&String| it.starts_with(&begin) && it.contains("pilotfish/");
    registry.requests().iter().filter(is_it).count()
}

/// A file system archive with the till program, as `docker export` writes it.
fn file_system(pi: &Pi) -> String {
    let archive = pi.engine.directory().join("root.tar");
    let till = static_till();
    let directory = till.parent().expect("a directory");
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(directory).arg("till"));
    archive.display().to_string()
}

fn import(pi: &Pi, name: &str, version: &str) {
    let (variable, archive) = (format!("ENV TILL_VERSION={version}"), file_system(pi));
    let changes = ["--change", "ENTRYPOINT [\"/till\"]", "--change", &variable];
    pi.engine.docker(&[&["import"], &changes[..], &[&archive, name]].concat());
}

fn build(pi: &Pi, from: &str, name: &str) {
    let directory = pi.engine.directory().join("context");
    fs::create_dir_all(&directory).expect("a directory");
    let recipe = format!("FROM {from}\nENV TILL_VERSION={name}\n");
    fs::write(directory.join("Dockerfile"), recipe).expect("a recipe");
    let mut docker = Command::new("docker");
    docker.env("DOCKER_HOST", pi.engine.host()).env("DOCKER_BUILDKIT", "0");
    run(docker.args(["build", "--tag", name]).arg(directory));
}

fn save_and_load(pi: &Pi, name: &str) {
    let archive = pi.engine.directory().join("saved.tar").display().to_string();
    pi.engine.docker(&["save", "--output", &archive, name]);
    pi.engine.docker(&["rmi", name]);
    pi.engine.docker(&["load", "--input", &archive]);
}

/// Starts a watched container of this name, on an image of this name.
fn start(pi: &Pi, name: &str, image: &str) -> String {
    pi.start(name, image, &WATCHED)
}

/// Each container is held for its reason, and `--force` does not override that.
#[track_caller]
fn assert_held(pi: &Pi, rows: &[(&str, &str)]) {
    let before: Vec<_> = rows.iter().map(|(name, _)| pi.id(name)).collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    pi.update(&[]).expect_code(0);
    let forced = pi.agent.run(&pi.engine, &[&["update", "--force"], &names[..]].concat());
    let forced = forced.expect_code(0);
    for ((name, reason), id) in rows.iter().zip(&before) {
        assert!(forced.out.contains(&format!("{name} is held: {reason}")), "{}", forced.out);
        pi.agent.run(&pi.engine, &["rollback", name]).expect_code(1);
        assert_eq!(pi.id(name), *id, "{name} was replaced");
    }
}

#[test]
fn a_local_image_is_not_replaced_by_a_foreign_image_of_the_same_name() {
    let pi = Pi::new();
    let base = pi.registry.publish("base", &Release::new("base"));
    pi.engine.docker(&["pull", &base.reference]);
    let made = ["tagged", "loaded", "imported", "committed", "built"];
    for repository in made {
        pi.registry.publish(repository, &Release::new("foreign"));
    }
    pi.engine.docker(&["tag", &base.reference, &name("tagged")]);
    import(&pi, &name("loaded"), "loaded");
    save_and_load(&pi, &name("loaded"));
    import(&pi, &name("imported"), "imported");
    let running = pi.start("base", &base.reference, &[]);
    pi.engine.docker(&["commit", &running, &name("committed")]);
    build(&pi, &base.reference, &name("built"));
    // No registry has a repository of this name.
    build(&pi, &base.reference, &name("nowhere"));
    for container in [&made[..], &["nowhere"]].concat() {
        start(&pi, container, &name(container));
    }
    // An image ID, short or long, names no repository; a short one looks like a name on Docker Hub.
    let id = pi.image("built");
    let digits = id.strip_prefix("sha256:").expect("an ID");
    start(&pi, "by-id", &id);
    start(&pi, "by-short-id", &digits[..12]);
    start(&pi, "by-shorter-id", &digits[..8]);

    let local = [&made[..], &["nowhere"]].concat();
    let mut rows: Vec<_> = local.iter().map(|name| (*name, "built_locally")).collect();
    rows.extend(["by-id", "by-short-id", "by-shorter-id"].map(|name| (name, "pinned_by_digest")));
    assert_held(&pi, &rows);

    // The registry was asked once, by the first of these processes, and not for images that were
    // never in a registry, on the classic store.
    let asked: Vec<_> = local.iter().map(|name| asked_by_digest(&pi.registry, name)).collect();
    if is_containerd_store() {
        assert!(asked.iter().all(|count| (1..=2).contains(count)), "{local:?}: {asked:?}");
    } else {
        assert_eq!(asked, [1, 0, 0, 0, 0, 0], "{local:?}");
    }
    let output = pi.check("tagged");
    let advice = text(&output["advice"]);
    assert!(advice.contains("docker pull") && advice.contains("pilotfish.origin=registry"));
    assert_eq!(output["verdict"], "held");
}

#[test]
fn an_image_built_by_compose_is_not_replaced_by_one_of_docker_hub() {
    let mirror = "[registries.\"docker.io\"]\nmirrors = [\"http://127.0.0.1:5000\"]";
    let pi = Pi::with(&[], &format!("{QUIET}\n{mirror}"));
    let base = pi.registry.publish("base", &Release::new("base"));
    pi.registry.publish("library/shopfront-shop", &Release::new("foreign"));
    pi.engine.docker(&["pull", &base.reference]);
    for name in ["shopfront-shop", "shopfront-till"] {
        build(&pi, &base.reference, name);
        start(&pi, name, name);
    }

    assert_held(&pi, &[("shopfront-shop", "built_locally"), ("shopfront-till", "built_locally")]);
}

#[test]
fn an_image_from_its_registry_is_updated_however_it_got_its_name() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.registry.publish("copy", &Release::new("1"));
    pi.engine.docker(&["pull", &one.reference]);
    // The same image under another name of the registry, which has it as well.
    pi.engine.docker(&["tag", &one.reference, &name("copy")]);
    start(&pi, "copy", &name("copy"));
    start(&pi, "till", &one.reference);
    // A tag that a person moves says nothing about the running image.
    import(&pi, &one.reference, "moved");
    let two = pi.registry.publish("till", &Release::new("2"));
    let copy = pi.registry.publish("copy", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 2);
    pi.assert_settled("copy", &copy, 2);
    // On the classic store the digest of the till itself proves it; for the copy there is no proof.
    let expected = if is_containerd_store() { 1 } else { 0 };
    assert_eq!(asked_by_digest(&pi.registry, "till"), expected);
    assert_eq!(asked_by_digest(&pi.registry, "copy"), 1);

    // The agent remembers what it pulled: later rounds only ask for the tag, even after the
    // registry has deleted the running image, and a rollback asks nothing.
    pi.registry.delete_manifest("till", &two.digest);
    pi.registry.publish("till", &Release::new("3"));
    let before = pi.registry.requests().len();
    pi.update(&["copy"]).expect_code(0);
    pi.update(&["copy"]).expect_code(0);
    let requests = pi.registry.requests()[before..].to_vec();
    assert_eq!(requests.len(), 2, "{requests:?}");
    pi.update(&["till"]).expect_code(0);
    assert_eq!(asked_by_digest(&pi.registry, "till"), expected);
    let before = pi.registry.requests().len();
    pi.agent.run(&pi.engine, &["rollback", "till"]).expect_code(0);
    assert_eq!(pi.registry.requests().len(), before);
    pi.assert_settled("till", &two, 2);
}

#[test]
fn the_origin_label_lets_an_image_of_unknown_origin_be_updated() {
    let pi = Pi::new();
    import(&pi, &name("till"), "1");
    start(&pi, "till", &name("till"));
    let two = pi.registry.publish("till", &Release::new("2"));
    assert_held(&pi, &[("till", "built_locally")]);
    pi.engine.docker(&["rm", "--force", "till"]);

    let vouched = [&WATCHED[..], &["--label=pilotfish.origin=registry"]].concat();
    pi.start("till", &name("till"), &vouched);
    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
}

#[test]
fn an_image_that_was_pushed_by_hand_is_updated_afterwards() {
    let pi = Pi::new();
    import(&pi, &name("till"), "1");
    start(&pi, "till", &name("till"));
    assert_held(&pi, &[("till", "built_locally")]);

    pi.engine.docker(&["push", &name("till")]);
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 1);
}
