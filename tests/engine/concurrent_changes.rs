//! Changes to a service by a person or by Compose during its update.

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED};

/// The labels by which Compose recognises a container.
const COMPOSED: [&str; 3] = [
    "--label=com.docker.compose.project=shop",
    "--label=com.docker.compose.service=till",
    "--label=com.docker.compose.container-number=1",
];

/// A Pi on which a till of Compose runs version 1. The verification of version 2 takes a while.
fn with_a_composed_till() -> (Pi, Published, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let options = [&COMPOSED[..], &["--label=pilotfish.health.stable=8s"]].concat();
    pi.start_watched("till", &one.reference, 8080, &options);
    let two = pi.registry.publish("till", &Release::new("2"));
    (pi, one, two)
}

/// Creates the container of the service as Compose does, under this name.
fn create_as_compose(pi: &Pi, name: &str, image: &Published) -> String {
    let name = format!("--name={name}");
    let options = [&["create", &name, "--restart=always", "--publish=8080:8080"], &WATCHED[..]];
    let arguments = [&options.concat(), &COMPOSED[..], &[image.reference.as_str()]].concat();
    pi.engine.docker(&arguments)
}

/// Compose 2 recreates the container under a name with a twelve-digit prefix, removes the present
/// ones, and then renames it. If Compose fails in between, the service would be gone.
#[test]
fn a_half_finished_recreate_of_compose_is_not_the_service() {
    let (pi, one, two) = with_a_composed_till();
    let agent = pi.update_until("verify");

    create_as_compose(&pi, "0123456789ab_till", &two);
    pi.engine.docker(&["rm", "--force", "pilotfish-old-till", "till"]);

    agent.finish();
    pi.assert_settled("till", &one, 2);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert_eq!(pi.history("till")[0]["outcome"], "interrupted");
}

/// Compose needs a few seconds between the removal and the start, because it creates all containers
/// of the project first.
#[test]
fn a_recreate_by_compose_is_waited_for() {
    let (pi, _, two) = with_a_composed_till();
    let agent = pi.update_until("verify");

    create_as_compose(&pi, "0123456789ab_till", &two);
    pi.engine.docker(&["rm", "--force", "pilotfish-old-till", "till"]);
    std::thread::sleep(std::time::Duration::from_secs(5));
    pi.engine.docker(&["rename", "0123456789ab_till", "till"]);
    let theirs = pi.engine.docker(&["start", "till"]);

    agent.finish();
    assert_eq!(theirs.trim(), "till");
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}
