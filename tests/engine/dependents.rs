//! Containers that depend on others: they are recreated together, or not at all.

use std::time::Duration;

use crate::support::agent::begins_step;
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED, text};

/// How often the test tries to hit a step, as in `interruptions`.
const ATTEMPTS: u32 = 20;

/// How long the Engine may take to start its containers.
const ENGINE_STARTS: Duration = Duration::from_secs(20);

/// The port of the sidecar in the network of the till.
const SIDE_PORT: u16 = 8081;

/// A Pi on which `till` runs version 1, started with these options.
fn with_a_till(options: &[&str]) -> (Pi, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, options);
    (pi, one)
}

/// The same with the sidecar `side` in its network.
fn with_a_sidecar() -> (Pi, Published, Published) {
    with_a_sidecar_of(&[])
}

/// The same with a long verification, so that the test can act during it.
fn with_a_sidecar_and_long_verification() -> (Pi, Published, Published) {
    with_a_sidecar_of(&["--label=pilotfish.health.stable=6s"])
}

fn with_a_sidecar_of(options: &[&str]) -> (Pi, Published, Published) {
    let (pi, one) = with_a_till(&[&["--publish=8081:8081"], options].concat());
    let side = side(&pi);
    start_dependent(&pi, "side", &side, "--network=container:till");
    pi.wait_until_serving(SIDE_PORT);
    (pi, one, side)
}

/// The image of the dependents.
fn side(pi: &Pi) -> Published {
    pi.registry.publish("side", &Release::new("side").with("TILL_PORT", "8081"))
}

fn start_dependent(pi: &Pi, name: &str, image: &Published, how: &str) -> String {
    let mut options = WATCHED.to_vec();
    options.push(how);
    pi.start(name, &image.reference, &options)
}

/// The value of a field in `HostConfig`.
fn host_config(pi: &Pi, name: &str, field: &str) -> String {
    let container = pi.inspect(name);
    match &container["HostConfig"][field] {
        serde_json::Value::Array(list) => text(&list[0]),
        value => text(value),
    }
}

/// Updates a till that `guest` depends on, and checks that both are replaced.
fn assert_follows(of_till: &[&str], how: &str) -> Pi {
    let (pi, _) = with_a_till(of_till);
    let side = side(&pi);
    let guest = start_dependent(&pi, "guest", &side, how);
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 2);
    pi.assert_settled("guest", &side, 2);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_ne!(pi.id("guest"), guest, "the guest still depends on the old container");
    assert_eq!(pi.inspect("guest")["Config"]["Image"], side.reference.as_str());
    pi
}

#[test]
fn a_sidecar_in_the_network_of_a_service_is_reached_after_the_update() {
    let (pi, _, side) = with_a_sidecar();
    let two = pi.registry.publish("till", &Release::new("2"));
    let row = pi.check("till");
    assert_eq!(row["verdict"], "update");
    assert!(text(&row["detail"]).contains("side"), "{row}");
    let output = pi.agent.run(&pi.engine, &["update", "--dry-run"]).expect_code(0);
    assert!(output.out.lines().any(|line| line.trim() == "with     side"), "{}", output.out);

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 2);
    pi.assert_settled("side", &side, 2);
    assert_eq!(host_config(&pi, "side", "NetworkMode"), format!("container:{}", pi.id("till")));
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
    let history = pi.history("till");
    assert_eq!(history[0]["outcome"], "updated");
    assert_eq!(history[0]["dependents"][0], "side");
}

#[test]
fn a_dependent_in_the_process_namespace_follows_the_service() {
    let pi = assert_follows(&[], "--pid=container:till");
    assert_eq!(host_config(&pi, "guest", "PidMode"), format!("container:{}", pi.id("till")));
}

#[test]
fn a_dependent_in_the_memory_namespace_follows_the_service() {
    let pi = assert_follows(&["--ipc=shareable"], "--ipc=container:till");
    assert_eq!(host_config(&pi, "guest", "IpcMode"), format!("container:{}", pi.id("till")));
}

#[test]
fn a_dependent_with_the_volumes_of_a_service_follows_it() {
    let pi = assert_follows(&["--volume=/ledger"], "--volumes-from=till");
    assert_eq!(host_config(&pi, "guest", "VolumesFrom"), "till");
    let ledger = |name| text(&pi.inspect(name)["Mounts"][0]["Name"]);
    assert_eq!(ledger("guest"), ledger("till"));
}

#[test]
fn a_dependent_with_a_link_to_a_service_follows_it() {
    let pi = assert_follows(&[], "--link=till:pay");
    assert_eq!(host_config(&pi, "guest", "Links"), "/till:/guest/pay");
}

#[test]
fn a_chain_of_two_dependents_follows_in_order() {
    let (pi, one, side) = with_a_sidecar();
    start_dependent(&pi, "alarm", &side, "--pid=container:side");
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 3);
    pi.assert_settled("side", &side, 3);
    pi.assert_settled("alarm", &side, 3);
    assert_eq!(host_config(&pi, "alarm", "PidMode"), format!("container:{}", pi.id("side")));
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));

    // And a rollback by hand of all three.
    pi.agent.run(&pi.engine, &["rollback", "till"]).expect_code(0);

    pi.assert_settled("till", &one, 3);
    assert_eq!(host_config(&pi, "alarm", "PidMode"), format!("container:{}", pi.id("side")));
    assert_eq!(host_config(&pi, "side", "NetworkMode"), format!("container:{}", pi.id("till")));
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
}

/// Publishes a bad release after a good one, and checks that all old containers are restored.
fn assert_all_restored_from(bad: &Release) -> Pi {
    let (pi, one, side) = with_a_sidecar();
    let before = [pi.id("till"), pi.id("side")];
    pi.registry.publish("till", bad);

    pi.update(&[]).expect_code(3);

    pi.assert_settled("till", &one, 2);
    pi.assert_settled("side", &side, 2);
    assert_eq!(
        [pi.id("till"), pi.id("side")],
        before,
        "the old containers themselves are restored"
    );
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    wait_until("the sidecar serves", ENGINE_STARTS, || pi.serving(SIDE_PORT).is_some());
    assert_eq!(pi.history("till")[0]["outcome"], "rolled_back");
    assert_eq!(pi.check("till")["reason"], "refused_digest");
    pi
}

#[test]
fn a_bad_release_restores_all_old_containers() {
    assert_all_restored_from(&Release::new("2").with("TILL_EXIT_AFTER", "1s"));
    assert_all_restored_from(&Release::new("2").with("TILL_EXIT_AFTER", "0s"));
}

#[test]
fn a_release_under_which_a_dependent_dies_is_refused() {
    // It takes the port of the sidecar in the network that they share.
    let pi = assert_all_restored_from(&Release::new("2").with("TILL_PORT", "8081"));
    let reason = text(&pi.history("till")[0]["reason"]);
    assert!(reason.starts_with("side: exited"), "{reason}");
}

#[test]
fn a_dependent_that_is_not_opted_in_is_named_and_holds_the_update() {
    let (pi, one, side) = with_a_sidecar();
    pi.start("guest", &side.reference, &["--pid=container:side"]);
    pi.registry.publish("till", &Release::new("2"));
    let before = [pi.id("till"), pi.id("side"), pi.id("guest")];

    pi.update(&["till", "--force"]).expect_code(0);

    let row = pi.check("till");
    assert_eq!(row["reason"], "has_dependents");
    assert_eq!(row["detail"], "guest shares the processes of side, and it is not opted in");
    assert_eq!([pi.id("till"), pi.id("side"), pi.id("guest")], before);
    pi.assert_settled("till", &one, 3);
}

#[test]
fn a_dependent_with_an_update_of_its_own_gets_both_in_one_round() {
    let (pi, one) = with_a_till(&["--volume=/ledger"]);
    // The same image under the same tag, so the tag has moved when the dependent is recreated.
    start_dependent(&pi, "worker", &one, "--volumes-from=till");
    let two = pi.registry.publish("till", &Release::new("2"));

    pi.update(&[]).expect_code(0);

    pi.assert_settled("till", &two, 2);
    pi.assert_settled("worker", &two, 2);
    assert_eq!(pi.history("till")[0]["dependents"][0], "worker");
    assert_eq!(pi.history("worker").len(), 1);
    let local = pi.engine.call("GET", &format!("/images/{}/json", two.reference)).json();
    assert_eq!(local["Id"], pi.inspect("till")["Image"], "the tag was not put back");
}

#[test]
fn after_a_power_cut_in_verify_both_are_restored_and_then_updated() {
    let (pi, _, side) = with_a_sidecar();
    let two = pi.registry.publish("till", &Release::new("2"));
    pi.update_until("verify").kill();

    pi.engine.cut();
    pi.engine.start_again(&[]);

    wait_until("something serves", ENGINE_STARTS, || pi.serving(8080).is_some());
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"), "an unproven release serves");
    pi.update(&[]).expect_code(0);
    pi.assert_settled("till", &two, 2);
    pi.assert_settled("side", &side, 2);
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
}

#[test]
fn after_an_engine_restart_in_verify_a_link_leads_to_the_old_container() {
    let (pi, one) = with_a_till(&[]);
    let side = side(&pi);
    start_dependent(&pi, "guest", &side, "--link=till:pay");
    pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "20s"));
    let agent = pi.update_until("verify");

    pi.engine.stop();
    pi.engine.start_again(&[]);

    agent.finish();
    wait_until("both run", ENGINE_STARTS, || pi.names() == ["guest running", "till running"]);
    assert_eq!(host_config(&pi, "guest", "Links"), "/till:/guest/pay");
    pi.assert_settled("guest", &side, 2);
    drop(one);
}

/// Kills the agent until a kill hits the step, and runs recovery after each kill.
fn killed_in(step: &str) {
    let (pi, _, side) = with_a_sidecar();
    for aim in 2..=ATTEMPTS {
        let next = pi.registry.publish("till", &Release::new(&aim.to_string()));
        let was_running = pi.update_until(step).kill();
        let entries = pi.agent.entries();
        let landed = was_running && entries.last().is_some_and(|entry| begins_step(entry, step));

        pi.update(&[]).expect_code(0);

        pi.assert_settled("till", &next, 2);
        pi.assert_settled("side", &side, 2);
        let anchor = format!("container:{}", pi.id("till"));
        assert_eq!(host_config(&pi, "side", "NetworkMode"), anchor);
        assert_eq!(pi.serving(8080), Some(format!("till {aim}")));
        assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
        if landed {
            return;
        }
    }
    panic!("no kill hit {step}");
}

#[test]
fn the_agent_is_killed_in_create() {
    killed_in("create");
}

#[test]
fn the_agent_is_killed_in_switch() {
    killed_in("switch");
}

#[test]
fn the_agent_is_killed_in_start() {
    killed_in("start");
}

#[test]
fn the_agent_is_killed_in_verify() {
    killed_in("verify");
}

#[test]
fn the_agent_is_killed_in_commit() {
    killed_in("commit");
}

#[test]
fn the_agent_is_killed_in_clean() {
    killed_in("clean");
}

/// Replaces the container under verification, as Compose does: the new one joins the present till.
fn recreate_side(pi: &Pi, side: &Published) {
    pi.engine.docker(&["rm", "--force", "pilotfish-old-side", "side"]);
    pi.engine.docker(&["create", "--name=side", "--network=container:till", &side.reference]);
}

#[test]
fn a_dependent_recreated_by_a_person_is_theirs_and_the_update_continues() {
    let (pi, _, side) = with_a_sidecar_and_long_verification();
    let two = pi.registry.publish("till", &Release::new("2"));
    let agent = pi.update_until("verify");

    recreate_side(&pi, &side);
    pi.engine.docker(&["start", "side"]);

    agent.finish().expect_code(0);
    pi.assert_settled("till", &two, 2);
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
    assert_eq!(host_config(&pi, "side", "NetworkMode"), format!("container:{}", pi.id("till")));
    let container = pi.inspect("side");
    assert!(container["Config"]["Labels"]["pilotfish.enable"].is_null(), "it is the person's");
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}

#[test]
fn a_dependent_recreated_by_a_person_follows_the_rollback() {
    let (pi, one, side) = with_a_sidecar_and_long_verification();
    pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "4s"));
    let agent = pi.update_until("verify");

    recreate_side(&pi, &side);
    pi.engine.docker(&["start", "side"]);

    agent.finish().expect_code(3);
    pi.assert_settled("till", &one, 2);
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
    assert_eq!(host_config(&pi, "side", "NetworkMode"), format!("container:{}", pi.id("till")));
    let container = pi.inspect("side");
    assert!(container["Config"]["Labels"]["pilotfish.enable"].is_null(), "it is the person's");
}

/// It is created but not started: `docker compose up` gives up if the container it depends on ends.
#[test]
fn a_dependent_created_by_a_person_is_started_after_the_old_till() {
    let (pi, one, side) = with_a_sidecar_and_long_verification();
    pi.registry.publish("till", &Release::new("2").with("TILL_EXIT_AFTER", "4s"));
    let agent = pi.update_until("verify");

    recreate_side(&pi, &side);

    agent.finish().expect_code(3);
    pi.assert_settled("till", &one, 2);
    assert_eq!(pi.serving(SIDE_PORT).as_deref(), Some("till side"));
}
