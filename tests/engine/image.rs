//! The shipped image, started as the documentation says. It needs a release build for a target, so
//! it is no part of `make test`: `make test-image`, `make test-arm`.

use std::env;
use std::path::Path;
use std::time::Duration;

use crate::support::Pi;
use crate::support::command::{run, wait_until};
use crate::support::images::Release;

/// The largest allowed size of the shipped image, in bytes.
const SIZE_MAX: u64 = 9_000_000;

/// Longer than an emulated agent takes to start and to answer three requests.
const SOON: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs a release build: make test-image"]
fn the_image_does_the_main_job_as_documented() {
    let target = env::var("TEST_IMAGE_TARGET").expect("TEST_IMAGE_TARGET names the target");
    let pi = Pi::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image");
    let mut build = pi.engine.command(script);
    println!("{}", run(build.args([&target, "pilotfish"]).env("DOCKER_HOST", pi.engine.host())));
    let size = pi.engine.docker(&["image", "inspect", "--format={{.Size}}", "pilotfish"]);
    assert!(size.parse::<u64>().expect("a size") < SIZE_MAX, "{size} bytes");
    let one = pi.registry.publish("till", &Release::new("1"));
    let quick = ["--label=pilotfish.health.stable=1s"];
    pi.start_watched("till", &one.reference, 8080, &quick);
    let socket = format!("--volume={}:/var/run/docker.sock", pi.engine.socket().display());
    pi.engine.docker(&[
        "run",
        "--detach",
        "--name=pilotfish",
        "--restart=always",
        "--network=host",
        "--health-interval=2s",
        &socket,
        "--volume=pilotfish:/var/lib/pilotfish",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "pilotfish",
    ]);
    wait_until("the agent is healthy", SOON, || {
        pi.inspect("pilotfish")["State"]["Health"]["Status"] == "healthy"
    });
    let two = pi.registry.publish("till", &Release::new("2"));

    let output = pi.engine.docker(&["exec", "pilotfish", "/pilotfish", "update"]);

    assert!(output.contains("till: updated"), "{output}");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_eq!(pi.image("till"), two.image);
    pi.registry.publish("till", &Release::new("3").with("TILL_EXIT_AFTER", "0s"));
    let mut bad = pi.engine.command("docker");
    bad.args(["exec", "pilotfish", "/pilotfish", "update"]).env("DOCKER_HOST", pi.engine.host());
    assert_eq!(bad.status().expect("docker").code(), Some(3), "rolled back");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    // At worst it ends with the grace period.
    pi.engine.docker(&["stop", "pilotfish"]);
    assert_eq!(pi.inspect("pilotfish")["State"]["ExitCode"], 0);
}
