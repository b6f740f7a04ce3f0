//! What people, and Compose, make of a service in the middle of its update.

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED};

/// By these Compose knows a container again.
const COMPOSED: [&str; 3] = [
    "--label=com.docker.compose.project=shop",
    "--label=com.docker.compose.service=till",
    "--label=com.docker.compose.container-number=1",
];

/// A Pi on which a till that Compose knows runs version 1; version 2 takes its time on trial.
fn with_a_composed_till() -> (Pi, Published, Published) {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    let options = [&COMPOSED[..], &["--label=pilotfish.health.stable=8s"]].concat();
    pi.start_watched("till", &one.reference, 8080, &options);
    let two = pi.registry.publish("till", &Release::new("2"));
    (pi, one, two)
}

/// What Compose makes of the service, under this name.
fn make(pi: &Pi, name: &str, image: &Published) -> String {
    let name = format!("--name={name}");
    let options = [&["create", &name, "--restart=always", "--publish=8080:8080"], &WATCHED[..]];
    let arguments = [&options.concat(), &COMPOSED[..], &[image.reference.as_str()]].concat();
    pi.engine.docker(&arguments)
}

/// Compose 2 makes it anew under a name with twelve digits before it, removes what is there, and
/// then gives it the name. Where it fails in between, nothing would be left of the service.
#[test]
fn what_compose_leaves_half_made_is_not_the_service() {
    let (pi, one, two) = with_a_composed_till();
    let agent = pi.update_until("verify");

    make(&pi, "0123456789ab_till", &two);
    pi.engine.docker(&["rm", "--force", "pilotfish-old-till", "till"]);

    agent.finish();
    pi.assert_settled("till", &one, 2);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert_eq!(pi.history("till")[0]["outcome"], "interrupted");
}

/// It takes a few seconds between what it removes and what it starts, because it makes everything
/// anew first.
#[test]
fn what_compose_makes_anew_is_waited_for() {
    let (pi, _, two) = with_a_composed_till();
    let agent = pi.update_until("verify");

    make(&pi, "0123456789ab_till", &two);
    pi.engine.docker(&["rm", "--force", "pilotfish-old-till", "till"]);
    std::thread::sleep(std::time::Duration::from_secs(5));
    pi.engine.docker(&["rename", "0123456789ab_till", "till"]);
    let theirs = pi.engine.docker(&["start", "till"]);

    agent.finish();
    assert_eq!(theirs.trim(), "till");
    pi.assert_settled("till", &two, 1);
    assert_eq!(pi.check("till")["verdict"], "up_to_date");
}
