//! The create body of the self-update helper: the agent's, as far as the helper needs it to reach
//! the Engine, the registries and the state directory, and without anything that makes it look like
//! the agent.

use std::path::Path;

use serde_json::{Value, json};

use crate::core::docker::inspect;
use crate::core::recreate::{CannotRecreate, NetworkEndpoint, Recreation, RestartPolicy};
use crate::core::recreate::{set_restart_policy, volumes};

/// The word in the agent's command that the helper's command does not have.
const RUN: &str = "run";

/// The word that replaces it.
const ASSIST: &str = "assist";

/// Fields that only one container can have, or that would direct clients of the agent to the
/// helper.
const NOT_THE_HELPERS: [&str; 6] =
    ["Labels", "ExposedPorts", "Hostname", "Domainname", "MacAddress", "Healthcheck"];

/// The same in `HostConfig`.
const NOT_THE_HELPERS_HOST_CONFIG: [&str; 3] = ["PortBindings", "PublishAllPorts", "Links"];

/// How the helper is created: from the agent's inspect document, its recreation, and the image that
/// it runs.
///
/// # Errors
/// The agent's command has no word `run`.
pub fn helper(
    original: &Value,
    recreation: &Recreation,
    image_id: &str,
) -> Result<Recreation, CannotRecreate> {
    let (entrypoint, command) = command(original).ok_or_else(no_run)?;
    let Recreation { mut body, mut connect, platform } = recreation.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|field, _| !NOT_THE_HELPERS.contains(&field.as_str()));
    }
    body["Image"] = image_id.into();
    body["Entrypoint"] = entrypoint;
    body["Cmd"] = command;
    body["Healthcheck"] = json!({ "Test": ["NONE"] });
    if let Some(fields) = body["HostConfig"].as_object_mut() {
        fields.retain(|field, _| !NOT_THE_HELPERS_HOST_CONFIG.contains(&field.as_str()));
    }
    set_restart_policy(&mut body, &RestartPolicy::named("always"));
    if let Some(endpoints) = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut() {
        endpoints.values_mut().for_each(|settings| *settings = json!({}));
    }
    let bare = |NetworkEndpoint { config, .. }: &mut NetworkEndpoint| *config = json!({});
    connect.iter_mut().for_each(bare);
    Ok(Recreation { body, connect, platform })
}

/// Whether a helper could update the agent in this container.
///
/// # Errors
/// Says what the container lacks.
pub fn check(original: &Value, state_dir: &Path) -> Result<(), CannotRecreate> {
    command(original).ok_or_else(no_run)?;
    let refuse = |why: String| CannotRecreate { field: "Mounts".into(), why };
    let directory = volumes::clean(&state_dir.to_string_lossy());
    let mounts = original.pointer("/Mounts").and_then(Value::as_array).into_iter().flatten();
    let holds = |mount: &&Value| {
        let inside = volumes::clean(inspect::text(mount, "/Destination"));
        directory == inside || directory.starts_with(&format!("{inside}/"))
    };
    // The deepest mount contains the directory.
    let mount = mounts.filter(holds).max_by_key(|mount| inspect::text(mount, "/Destination").len());
    let Some(mount) = mount else {
        return Err(refuse(format!("have none for the state directory {directory}")));
    };
    let kind = inspect::text(mount, "/Type");
    if !matches!(kind, "volume" | "bind") {
        return Err(refuse(format!("have a {kind} for the state directory {directory}")));
    }
    if !inspect::flag(mount, "/RW") {
        return Err(refuse(format!("have the state directory {directory} read-only")));
    }
    Ok(())
}

/// Whether a container is a helper that an agent with this image created: it runs that image,
/// written as an ID (which no person does), with the helper's word in its command. A name alone is
/// no proof.
#[must_use]
pub fn is_self_update_helper(container: &Value, image_id: &str) -> bool {
    let words = |pointer| container.pointer(pointer).and_then(Value::as_array);
    let mut all = words("/Config/Entrypoint").into_iter().chain(words("/Config/Cmd")).flatten();
    let has_a_program = all.next().is_some();
    !image_id.is_empty()
        && inspect::image_id(container) == image_id
        && inspect::image_as_written(container) == image_id
        && has_a_program
        && all.any(|word| word == ASSIST)
}

fn no_run() -> CannotRecreate {
    CannotRecreate { field: "Config.Cmd".into(), why: format!("has no word `{RUN}`") }
}

/// Entrypoint and command with this one word replaced. The first word is the program.
fn command(original: &Value) -> Option<(Value, Value)> {
    let words = |pointer| original.pointer(pointer).and_then(Value::as_array).cloned();
    let entrypoint = words("/Config/Entrypoint").unwrap_or_default();
    let command = words("/Config/Cmd").unwrap_or_default();
    let first_of_command = entrypoint.len();
    let mut all: Vec<Value> = entrypoint.into_iter().chain(command).collect();
    let place = all.iter().skip(1).position(|word| word == RUN)? + 1;
    all[place] = ASSIST.into();
    let command = all.split_off(first_of_command);
    Some((all.into(), command.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(entrypoint: &Value, command: &Value) -> Value {
        json!({
            "Config": { "Entrypoint": entrypoint, "Cmd": command },
            "Mounts": [
                { "Type": "bind", "Destination": "/run/docker.sock", "RW": true },
                { "Type": "volume", "Destination": "/var/lib/pilotfish", "RW": true },
                { "Type": "tmpfs", "Destination": "/scratch", "RW": true },
                { "Type": "volume", "Destination": "/fixed", "RW": false },
            ],
        })
    }

    #[test]
    fn the_helper_runs_the_same_program_with_another_word() {
        for (entrypoint, words, expected) in [
            (
                json!(["/pilotfish"]),
                json!(["run"]),
                Some((json!(["/pilotfish"]), json!(["assist"]))),
            ),
            (
                json!(null),
                json!(["/pilotfish", "--log-level", "debug", "run"]),
                Some((json!([]), json!(["/pilotfish", "--log-level", "debug", "assist"]))),
            ),
            (
                json!(["/pilotfish", "run"]),
                json!(null),
                Some((json!(["/pilotfish", "assist"]), json!([]))),
            ),
            (json!(["run"]), json!([]), None),
            (json!(["sh", "-c"]), json!(["pilotfish run"]), None),
            (json!(["/pilotfish"]), json!(["update"]), None),
        ] {
            let agent = agent(&entrypoint, &words);
            assert_eq!(command(&agent), expected, "{agent}");
        }
    }

    #[test]
    fn a_helper_is_not_known_by_its_name() {
        let of = |image: &str, written: &str, words: Value| {
            json!({
                "Name": "/pilotfish-helper-pilotfish",
                "Image": image,
                "Config": { "Image": written, "Entrypoint": ["/pilotfish"], "Cmd": words },
            })
        };
        let id = "sha256:1";
        assert!(is_self_update_helper(&of(id, id, json!(["--config", "x", "assist"])), id));
        for other in [
            of("sha256:2", id, json!(["assist"])),
            of(id, "shop/pilotfish:1", json!(["assist"])),
            of(id, id, json!(["run"])),
            of(id, id, json!(null)),
            Value::Null,
        ] {
            assert!(!is_self_update_helper(&other, id), "{other}");
        }
        assert!(!is_self_update_helper(&of("", "", json!(["assist"])), ""));
    }

    #[test]
    fn the_state_directory_must_outlive_the_container() {
        let agent = agent(&json!(["/pilotfish"]), &json!(["run"]));
        let why = |directory: &str| {
            check(&agent, Path::new(directory)).map_err(|error| error.to_string())
        };
        assert_eq!(why("/var/lib/pilotfish"), Ok(()));
        assert_eq!(why("/var/lib/pilotfish/kept/"), Ok(()));
        for (directory, expected) in [
            ("/var/lib/pilotfish2", "Mounts have none for the state directory /var/lib/pilotfish2"),
            ("/scratch/x", "Mounts have a tmpfs for the state directory /scratch/x"),
            ("/fixed", "Mounts have the state directory /fixed read-only"),
        ] {
            assert_eq!(why(directory), Err(expected.to_owned()));
        }
    }

    #[test]
    fn the_helper_has_what_it_needs_and_nothing_that_is_the_agents_alone() {
        let body = json!({
            "Image": "pilotfish:latest",
            "Env": ["PILOTFISH_SCHEDULE_EVERY=5m"],
            "User": "1000:998",
            "Hostname": "pi",
            "Labels": { "pilotfish.enable": "true" },
            "ExposedPorts": { "9788/tcp": {} },
            "HostConfig": {
                "Binds": ["state:/var/lib/pilotfish"],
                "NetworkMode": "shop",
                "PortBindings": { "9788/tcp": [{ "HostPort": "9788" }] },
                "RestartPolicy": { "Name": "unless-stopped", "MaximumRetryCount": 0 },
            },
            "NetworkingConfig": { "EndpointsConfig": {
                "shop": { "Aliases": ["agent"], "IPAMConfig": { "IPv4Address": "10.0.0.2" } },
            } },
        });
        let config = json!({ "Aliases": ["agent"] });
        let connect = vec![NetworkEndpoint { network: "back".into(), config }];
        let recreation = Recreation { body, connect, platform: None };
        let agent = agent(&json!(["/pilotfish"]), &json!(["run"]));

        let helper = helper(&agent, &recreation, "sha256:old").expect("a helper");

        let expected = json!({
            "Image": "sha256:old",
            "Entrypoint": ["/pilotfish"],
            "Cmd": ["assist"],
            "Env": ["PILOTFISH_SCHEDULE_EVERY=5m"],
            "User": "1000:998",
            "Healthcheck": { "Test": ["NONE"] },
            "HostConfig": {
                "Binds": ["state:/var/lib/pilotfish"],
                "NetworkMode": "shop",
                "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            },
            "NetworkingConfig": { "EndpointsConfig": { "shop": {} } },
        });
        assert_eq!(helper.body, expected);
        assert_eq!(helper.connect, [NetworkEndpoint { network: "back".into(), config: json!({}) }]);
    }
}
