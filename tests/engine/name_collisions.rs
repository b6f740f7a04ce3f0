//! Containers of a person with names that an update uses. Only proven leftovers are repaired, and
//! no volume is removed.

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// Short times, so that leftovers are watched for seconds.
const SHORT: &str = "every = \"1000h\"\n[health]\ntimeout = \"1s\"\nstable = \"1s\"\n";

/// Longer than leftovers are watched with these times: stop 1 s, health 1 s and 1 s.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

/// Everything that a cleanup could change: IDs, names, states, restart policies, volumes.
fn everything(pi: &Pi) -> Vec<String> {
    let mut all: Vec<String> = pi
        .engine
        .containers()
        .iter()
        .map(|container| {
            let id = container["Id"].as_str().expect("an ID");
            let found = pi.inspect(id);
            let policy = &found["HostConfig"]["RestartPolicy"]["Name"];
            format!("{id} {} {} {policy}", found["Name"], found["State"]["StartedAt"])
        })
        .collect();
    let volumes = pi.engine.call("GET", "/volumes").succeeded("volumes").json();
    for volume in volumes["Volumes"].as_array().into_iter().flatten() {
        let name = volume["Name"].as_str().expect("a name");
        // The lock comes and goes with the commands.
        if name != "pilotfish-lock" {
            all.push(name.to_owned());
        }
    }
    all.sort();
    all
}

#[test]
fn a_name_alone_is_no_proof_and_a_persons_containers_are_not_touched() {
    let pi = Pi::with(&[], SHORT);
    let one = pi.registry.publish("till", &Release::new("1"));
    let image = one.reference.as_str();
    let run = |name: &str, options: &[&str]| {
        pi.start(name, image, &[&["--stop-timeout=1", "--volume=/own"], options].concat());
    };
    let enable = "--label=pilotfish.enable=true";
    // Without any label, alone and in pairs; running, stopped and never started.
    run("pilotfish-old-aa", &[]);
    run("bb", &[]);
    run("pilotfish-old-bb", &[]);
    run("cc", &[]);
    let create = ["create", "--name=pilotfish-new-cc", "--volume=/own", image];
    pi.engine.docker(&create);
    pi.engine.docker(&["create", "--name=pilotfish-new-dd", "--volume=/own", image]);
    // Opted in, but alone, or beside a container of another service.
    run("pilotfish-old-ee", &[enable]);
    run("ff", &[enable, "--env=SHIFT=late"]);
    run("pilotfish-old-ff", &[enable, "--env=SHIFT=early"]);
    // One of the two is not opted in.
    run("gg", &[enable]);
    run("pilotfish-old-gg", &[]);
    pi.engine.docker(&["stop", "pilotfish-old-aa", "pilotfish-old-bb", "pilotfish-old-ee"]);
    pi.engine.docker(&["stop", "pilotfish-old-ff", "pilotfish-old-gg"]);
    let before = everything(&pi);
    pi.registry.publish("till", &Release::new("2"));

    let begun = Instant::now();
    let mut output = String::new();
    while begun.elapsed() < LONG_ENOUGH {
        output = pi.update(&[]).expect_code(0).out;
    }

    assert_eq!(everything(&pi), before, "{output}");
    for name in ["pilotfish-old-ee", "pilotfish-old-ff and ff differ in Config.Env.SHIFT"] {
        assert!(output.contains(name), "{name} is not named:\n{output}");
    }
    for held in ["ff", "gg"] {
        assert_eq!(pi.check(held)["reason"], "another_agent", "{held}");
    }
}

/// Removes the state directory of the agent.
fn remove_the_state(agent: &Agent) {
    std::fs::remove_dir_all(agent.state()).expect("the state directory");
}

#[test]
fn a_proven_container_stays_after_it_was_watched_and_no_volume_is_removed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--stop-timeout=1", "--volume=/own"]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update_until("verify").kill();
    remove_the_state(&pi.agent);

    let output = pi.agent.run(&pi.engine, &["recover"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert!(output.out.contains("the policy before the update is unknown"), "{}", output.out);
    assert!(everything(&pi).len() >= 2, "the volume stays: {:?}", everything(&pi));
}

#[test]
fn an_unproven_container_is_removed_and_never_committed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let healthy = Duration::from_millis(500);
    let sick = Release::new("2").with("TILL_UNHEALTHY_AFTER", "0s").with_healthcheck(healthy, 1);
    let all = [&WATCHED[..], &["--stop-timeout=1", "--publish=8080:8080"]].concat();
    // The state after an update in verification whose state directory was lost.
    let old = pi.start("pilotfish-old-till", &one.reference, &all);
    pi.engine.docker(&["stop", "pilotfish-old-till"]);
    let two = pi.registry.publish("till", &sick);
    pi.engine.docker(&["pull", &two.reference]);
    pi.start("till", &two.reference, &all);
    pi.engine.docker(&["update", "--restart=no", "till"]);

    let output = pi.agent.run(&pi.engine, &["recover"]);

    assert_eq!(pi.names(), ["till running"], "{output:?}");
    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
}

#[test]
fn a_container_with_a_name_that_the_update_needs_stays_and_so_does_the_service() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    // The container appears during the update, after the round has listed the containers.
    pi.engine.docker(&["create", "--name=pilotfish-new-till", "--volume=/own", &one.reference]);
    let before = everything(&pi);

    pi.agent.run(&pi.engine, &["rollback", "till"]);
    pi.update(&["--force"]).expect_code(0);

    assert_eq!(everything(&pi), before);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
}
