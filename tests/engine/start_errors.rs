//! Who is at fault for a failed start, tested on the present Engine: the cases of
//! `src/core/update/start_error.rs` are reproduced.

use std::fs;

use pilotfish::core::update::start_error::{self, Blame};
use serde_json::{Value, json};

use crate::support::Pi;
use crate::support::http::Peer;
use crate::support::images::Release;

/// Starts a container with this configuration, and returns the Engine's error.
#[track_caller]
fn refusal(pi: &Pi, image: &str, what: &str, mut body: Value) -> String {
    body["Image"] = image.into();
    let json = [("Content-Type", "application/json")];
    let body = body.to_string();
    let engine = Peer::Unix(pi.engine.socket());
    let created = engine.request("POST", "/containers/create", &json, body.as_bytes());
    let created = created.expect("the Engine");
    let refused = match created.status {
        201 => {
            let id = crate::support::text(&created.json()["Id"]);
            let started = pi.engine.call("POST", &format!("/containers/{id}/start"));
            pi.engine.call("DELETE", &format!("/containers/{id}?force=1&v=1"));
            started
        }
        _ => created,
    };
    assert!(refused.status >= 400, "{what}: it started");
    crate::support::text(&refused.json()["message"])
}

/// The cases, each with the expected blame. Unknown and environment have the same effect: the image
/// is not refused.
fn cases(directory: &str) -> Vec<(&'static str, Blame, Value)> {
    let with_entrypoint = |program: &str| json!({ "Entrypoint": [program] });
    let host = |config: Value| json!({ "HostConfig": config });
    let device = |path: &str| {
        let entry =
            json!({ "PathOnHost": path, "PathInContainer": "/dev/x", "CgroupPermissions": "rwm" });
        host(json!({ "Devices": [entry] }))
    };
    let mounted = |from: &str, to: &str| host(json!({ "Binds": [format!("{from}:{to}")] }));
    let port = json!([{ "HostIp": "203.0.113.7", "HostPort": "8080" }]);
    vec![
        ("a missing program", Blame::Image, with_entrypoint("/no-such-file")),
        ("one of the path", Blame::Image, with_entrypoint("no-such-file")),
        ("a name with a mount in it", Blame::Image, with_entrypoint("/usr/bin/s3-mounter")),
        (
            "a rude name",
            Blame::Image,
            with_entrypoint("/opt/network: mount \"x\" port is already allocated"),
        ),
        ("a directory", Blame::Image, with_entrypoint("/proc")),
        ("a program in a file", Blame::Image, with_entrypoint("/till/app")),
        ("a user who is not there", Blame::Image, json!({ "User": "nosuchuser" })),
        ("a missing device", Blame::Surroundings, device("/dev/ttyUSB9")),
        ("a rude device", Blame::Surroundings, device("/dev/exec format error")),
        ("a file as a device", Blame::Surroundings, device(&format!("{directory}/file"))),
        ("a directory over a file", Blame::Unknown, mounted(directory, "/till/x")),
        ("a source that cannot be made", Blame::Surroundings, mounted("/proc/none/x", "/m")),
        (
            "a port of a foreign address",
            Blame::Surroundings,
            json!({ "ExposedPorts": { "80/tcp": {} },
                    "HostConfig": { "PortBindings": { "80/tcp": port } } }),
        ),
        ("a missing network", Blame::Surroundings, host(json!({ "NetworkMode": "nosuchnetwork" }))),
        (
            "a sysctl that is not there",
            Blame::Surroundings,
            host(json!({ "Sysctls": { "net.ipv4.nosuch": "1" } })),
        ),
        (
            "a missing log driver",
            Blame::Surroundings,
            host(json!({ "LogConfig": { "Type": "x" } })),
        ),
        (
            "an unreachable log server",
            Blame::Surroundings,
            host(json!({ "LogConfig": { "Type": "syslog",
                    "Config": { "syslog-address": "tcp://127.0.0.1:1" } } })),
        ),
        ("a host name that is too long", Blame::Unknown, json!({ "Hostname": "a".repeat(80) })),
    ]
}

#[test]
fn the_message_of_this_engine_shows_who_is_at_fault_for_a_failed_start() {
    let pi = Pi::new();
    let image = pi.registry.publish("till", &Release::new("1")).reference;
    pi.engine.docker(&["pull", &image]);
    fs::write(pi.engine.directory().join("file"), "").expect("a file");
    let directory = pi.engine.directory().display().to_string();

    for (what, expected, body) in cases(&directory) {
        let message = refusal(&pi, &image, what, body);
        let blamed = start_error::of(&message);
        let is_image = (blamed == Blame::Image, expected == Blame::Image);
        assert_eq!(is_image.0, is_image.1, "{what}: {blamed:?} by: {message}");
    }
}

#[test]
fn a_release_without_its_program_is_refused_at_once_whatever_its_name() {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2").with_entrypoint("/usr/bin/s3-mounter"));

    pi.update(&[]).expect_code(3);

    assert_eq!(pi.check("till")["reason"], "refused_digest");
    pi.assert_settled("till", &one, 1);
}
