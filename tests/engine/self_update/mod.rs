//! The agent in its own container, which it updates like any other with a self-update helper. Every
//! test ends with exactly one agent and no self-update helper.

mod agent_container;
mod kills;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use self::agent_container::{AGENT, AgentInContainer, FLAGS, HELPER, PUBLISH, UPDATE};
use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::text;

/// The parts that must be the same before and after.
fn shape(container: &Value) -> Value {
    let mut mounts: Vec<_> = container["Mounts"].as_array().expect("mounts").clone();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    json!({
        "name": container["Name"],
        "mounts": mounts,
        "ports": container["HostConfig"]["PortBindings"],
        "policy": container["HostConfig"]["RestartPolicy"],
        "binds": container["HostConfig"]["Binds"],
        "networks": container["NetworkSettings"]["Networks"].as_object().expect("networks").len(),
    })
}

#[test]
fn the_agent_updates_itself_twice_and_then_other_containers() {
    let home = AgentInContainer::new();
    let (till, _) = home.publish_till("1");
    home.pi.start_watched("till", &till, 8080, &[]);
    let before = home.pi.inspect(AGENT);
    for version in ["VERSION=2", "VERSION=3"] {
        let next = home.publish(version);
        let row = home.check();
        assert_eq!(row["verdict"], "update", "{row:#}");
        assert!(text(&row["detail"]).contains("the self-update helper"), "{row:#}");

        home.start_self_update();

        home.assert_settled_on(&next);
        let container = home.pi.inspect(AGENT);
        assert_ne!(container["Id"], before["Id"]);
        assert_eq!(shape(&container), shape(&before));
        assert_eq!(home.check()["verdict"], "up_to_date");
        assert_eq!(home.counted("updated"), 1, "each of the two agents counts its own update");
    }
    assert_eq!(home.outcomes(), ["updated", "updated"]);
    let (_, two) = home.publish_till("2");
    home.pi.update(&["till"]).expect_code(0);
    home.pi.assert_settled("till", &two, 2);
    assert_eq!(home.pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_bad_release_of_the_agent_is_rolled_back_and_refused() {
    let home = AgentInContainer::new();
    let old = home.pi.id(AGENT);
    let one = home.pi.image(AGENT);
    // The first does not start; the second starts and does not reach the Engine.
    for bad in ["PILOTFISH_SCHEDULE_EVERY=never", "DOCKER_HOST=unix:///nowhere.sock"] {
        home.publish(bad);

        home.start_self_update();

        home.wait_until_alone();
        assert_eq!(home.outcomes()[0], "rolled_back", "{bad}");
        assert_eq!(home.check()["reason"], "refused_digest", "{bad}");
        // The old agent was stopped and started again, so it counts from zero.
        assert_eq!(home.counted("rolled_back"), 1, "{bad}");
        assert_eq!((home.pi.id(AGENT), home.pi.image(AGENT)), (old.clone(), one.clone()));
    }
    // A refused image does not start another self-update.
    home.pi.update(&[AGENT]).expect_code(0);
    assert_eq!(home.outcomes().len(), 2);
    let good = home.publish("VERSION=3");
    home.start_self_update();
    home.assert_settled_on(&good);
}

#[test]
fn the_helper_is_killed_in_four_steps() {
    let home = AgentInContainer::new();
    let mut kills = 0;
    for step in ["create", "switch", "verify", "commit"] {
        let next = home.publish(&format!("STEP={step}"));
        home.start_self_update();
        home.wait_for_step(step);
        kills += u32::from(home.kill(HELPER));

        home.assert_settles_on(&next);
    }
    // The last steps take milliseconds, so the helper may be done before the kill.
    assert!(kills >= 3, "only {kills} kills hit a helper");
}

#[test]
fn the_helper_is_removed_during_verification() {
    let home = AgentInContainer::new();
    let next = home.publish("VERSION=2");
    home.start_self_update();
    home.wait_for_step("verify");

    home.pi.engine.docker(&["rm", "--force", HELPER]);

    // The agent under verification finds an open update without a helper, and creates another
    // helper.
    home.assert_settled_on(&next);
    assert_eq!(home.outcomes(), ["updated"]);
}

#[test]
fn the_waiting_agent_is_killed() {
    let home = AgentInContainer::new();
    let next = home.publish("VERSION=2");
    home.start_self_update();
    home.wait_for_step("pull");

    assert!(home.kill(AGENT), "the agent does not run");

    // The kill may come in the middle of the stop; then the helper rolls back.
    home.assert_settles_on(&next);
}

#[test]
fn a_self_update_without_a_helper_is_cancelled() {
    let home = AgentInContainer::new();
    let file = home.pi.agent.state().join("handover.json");
    let next = home.publish("VERSION=2");
    home.start_self_update();
    let output = fs::read(&file).expect("the command for the helper");
    home.assert_settled_on(&next);
    home.pi.engine.docker(&["stop", AGENT]);
    fs::write(&file, output).expect("the state of an agent that died before it created the helper");

    home.pi.engine.docker(&["start", AGENT]);

    home.assert_settled_on(&next);
    let log = home.pi.engine.call("GET", &format!("/containers/{AGENT}/logs?stderr=1")).text();
    assert!(log.contains("the helper was not there"), "{log}");
}

/// The Engine ends in this way during the verification of the new agent, and is started again.
fn engine_ends_during_verification(end: fn(&Engine)) {
    let home = AgentInContainer::new();
    let next = home.publish("VERSION=2");
    home.start_self_update();
    home.wait_for_step("verify");

    end(&home.pi.engine);
    home.pi.engine.start_again(&FLAGS);

    home.assert_settles_on(&next);
}

#[test]
fn the_engine_is_killed_during_verification() {
    engine_ends_during_verification(Engine::kill);
}

#[test]
fn the_power_is_cut_during_verification() {
    engine_ends_during_verification(Engine::cut);
}

#[test]
fn a_rollback_of_the_agent_by_hand() {
    let home = AgentInContainer::new();
    let one = home.pi.image(AGENT);
    let two = home.publish("VERSION=2");
    home.start_self_update();
    home.assert_settled_on(&two);

    home.pi.agent.run(&home.pi.engine, &["rollback", AGENT]).expect_code(0);

    home.wait_until_alone();
    assert_eq!(home.pi.image(AGENT), one);
    assert_eq!(home.check()["reason"], "refused_digest");
}

#[test]
fn an_agent_whose_state_would_be_lost_is_held_and_says_what_to_do() {
    let home = AgentInContainer::without_an_agent(&[]);
    home.publish("VERSION=1");
    let old = home.start_agent(&["--tmpfs=/state", "--restart=unless-stopped", PUBLISH]);
    home.wait_until_ready();
    home.publish("VERSION=2");

    let row = home.pi.engine.docker(&["exec", AGENT, "/pilotfish", "check", "--json", "--fresh"]);

    let row: Value = serde_json::from_str(&row).expect("JSON");
    assert_eq!(row["containers"][0]["reason"], "cannot_hand_over", "{row:#}");
    assert_eq!(home.pi.id(AGENT), old);
    let log = home.pi.engine.call("GET", &format!("/containers/{AGENT}/logs?stderr=1")).text();
    assert!(log.contains("has the restart policy `unless-stopped`"), "{log}");
}

/// An update, a rollback and another update, with this kind of agent container.
fn assert_updates_itself(home: &AgentInContainer) {
    let before = home.pi.inspect(AGENT);
    let two = home.publish("VERSION=2");
    home.start_self_update();
    home.assert_settled_on(&two);
    home.publish("DOCKER_HOST=unix:///nowhere.sock");
    home.start_self_update();
    home.assert_settled_on(&two);
    assert_eq!(home.outcomes(), ["rolled_back", "updated"]);
    let four = home.publish("VERSION=4");
    home.start_self_update();
    home.assert_settled_on(&four);
    let after = home.pi.inspect(AGENT);
    assert_eq!(shape(&after), shape(&before));
    for part in ["NetworkMode", "ReadonlyRootfs", "CapDrop", "SecurityOpt", "GroupAdd"] {
        assert_eq!(after["HostConfig"][part], before["HostConfig"][part], "{part}");
    }
    assert_eq!(after["Config"]["User"], before["Config"]["User"]);
}

#[test]
fn an_agent_on_the_host_network_updates_itself() {
    assert_updates_itself(&AgentInContainer::with(&[], &["--network=host"]));
}

#[test]
fn an_agent_with_a_read_only_root_and_no_capabilities_updates_itself() {
    let options = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", PUBLISH];
    assert_updates_itself(&AgentInContainer::with(&[], &options));
}

#[test]
fn an_agent_that_is_not_root_updates_itself() {
    // A group that nothing else uses, so that only the group gives access to the socket.
    let (user, group) = (65_532, 65_533);
    let home = AgentInContainer::without_an_agent(&[]);
    let one = home.publish("VERSION=1");
    let state = home.pi.agent.state();
    chown(&state, Some(user), Some(user)).expect("the owner of the state directory");
    chown(home.pi.engine.socket(), None, Some(group)).expect("the socket's group");
    let settings = home.pi.engine.directory().join("inside.toml");
    fs::set_permissions(settings, Permissions::from_mode(0o644)).expect("settings for all");
    let state = format!("--volume={}:/state", state.display());
    let (user, group) = (format!("--user={user}:{user}"), format!("--group-add={group}"));
    home.start_agent(&[&state, &user, &group, PUBLISH]);
    home.wait_until_ready();
    assert_eq!(home.pi.image(AGENT), one.image);

    assert_updates_itself(&home);
}

#[test]
fn an_agent_updates_itself_where_containers_outlive_the_engine() {
    const LIVE_RESTORE: &[&str] = &["--live-restore"];
    // The verification is longer than the interval at which the helper and the agent check their
    // socket.
    let options = [PUBLISH, "--label=pilotfish.health.stable=5s"];
    let home = AgentInContainer::with(LIVE_RESTORE, &options);
    assert_updates_itself(&home);
    // Now only the Engine ends, in the middle. It comes back with a new socket, and only a
    // container that is started again gets that.
    let next = home.publish("VERSION=5");
    home.start_self_update();
    home.wait_for_step("verify");
    wait_until("the new agent answers", UPDATE, || home.serves("/healthz"));

    home.pi.engine.kill();
    home.pi.engine.start_again(&[&FLAGS, LIVE_RESTORE].concat());

    // After a restart with live-restore, Docker 20.10 does not run the HEALTHCHECK of running
    // containers. So the new agent cannot be verified; it is not refused, and the update is tried
    // again.
    home.wait_until_alone();
    let outcome = home.outcomes().remove(0);
    assert!(["updated", "interrupted"].contains(&&*outcome), "{outcome}");
    home.assert_settles_on(&next);
}
