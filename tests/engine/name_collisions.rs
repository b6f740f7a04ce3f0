//! Names are taken for proof: containers that bear names of an update, and are those of a person.
//! Only what is proved is put right, and no volume goes with it.

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// Short times, so that what was left behind is watched for seconds.
const SHORT: &str = "every = \"1000h\"\n[health]\ntimeout = \"1s\"\nstable = \"1s\"\n";

/// Longer than anything is watched with these times: stop 1 s, health 1 s and 1 s.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

/// Everything that a sweep could touch: IDs, names, states, restart policies, volumes.
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
fn a_name_alone_is_no_proof_and_nothing_of_a_person_is_touched() {
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
    // Opted in, but alone, or beside one that is another service.
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
    let mut told = String::new();
    while begun.elapsed() < LONG_ENOUGH {
        told = pi.update(&[]).expect_code(0).out;
    }

    assert_eq!(everything(&pi), before, "{told}");
    for name in ["pilotfish-old-ee", "pilotfish-old-ff and ff differ in Config.Env.SHIFT"] {
        assert!(told.contains(name), "{name} is not named:\n{told}");
    }
    for held in ["ff", "gg"] {
        assert_eq!(pi.check(held)["reason"], "another_agent", "{held}");
    }
}

/// Loses the state directory of the agent.
fn lose_the_state(agent: &Agent) {
    std::fs::remove_dir_all(agent.state()).expect("the state directory");
}

#[test]
fn a_proven_holder_stays_once_it_was_watched_and_no_volume_goes() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--stop-timeout=1", "--volume=/own"]);
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update_until("verify").kill();
    lose_the_state(&pi.agent);

    let told = pi.agent.run(&pi.engine, &["recover"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    assert!(told.out.contains("the policy before the update is unknown"), "{}", told.out);
    assert!(everything(&pi).len() >= 2, "the volume stays: {:?}", everything(&pi));
}

#[test]
fn what_does_not_prove_itself_gives_way_and_is_never_committed() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let healthy = Duration::from_millis(500);
    let sick = Release::new("2").with("TILL_UNHEALTHY_AFTER", "0s").with_healthcheck(healthy, 1);
    let all = [&WATCHED[..], &["--stop-timeout=1", "--publish=8080:8080"]].concat();
    // As a lost state directory leaves an update on trial.
    let old = pi.start("pilotfish-old-till", &one.reference, &all);
    pi.engine.docker(&["stop", "pilotfish-old-till"]);
    let two = pi.registry.publish("till", &sick);
    pi.engine.docker(&["pull", &two.reference]);
    pi.start("till", &two.reference, &all);
    pi.engine.docker(&["update", "--restart=no", "till"]);

    let told = pi.agent.run(&pi.engine, &["recover"]);

    assert_eq!(pi.names(), ["till running"], "{told:?}");
    assert_eq!(pi.id("till"), old);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
}

#[test]
fn what_bears_a_name_that_the_update_needs_stays_and_so_does_the_service() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    // In the very moment of the update, so that no round has seen it.
    pi.engine.docker(&["create", "--name=pilotfish-new-till", "--volume=/own", &one.reference]);
    let before = everything(&pi);

    pi.agent.run(&pi.engine, &["rollback", "till"]);
    pi.update(&["--force"]).expect_code(0);

    assert_eq!(everything(&pi), before);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
}
