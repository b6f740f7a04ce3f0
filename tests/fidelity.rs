//! The promise, option by option, against a real Engine: a container is created with the option
//! from one release of an image, recreated on the next, and both are compared whole.
//!
//! `tests/fidelity/table.txt` is the table; this prints how many of its rows are kept.

#[path = "fidelity/engine.rs"]
mod engine;
#[path = "fidelity/stage.rs"]
mod stage;
#[path = "fidelity/table.rs"]
mod table;

use serde_json::{Value, json};

use pilotfish::core::api_version::ApiVersion;
use pilotfish::core::recreate::differences::{Inspected, differences};
use pilotfish::core::recreate::{
    Original, RestartPolicy, recreate, restart_policy, set_compose_image, set_restart_policy,
};

use crate::engine::Engine;
use crate::table::{Row, rows, words};

/// The name of the container in every row.
const NAME: &str = "subject";

#[test]
fn every_option_survives_an_update() {
    let engine = Engine::start();
    stage::set(&engine);
    let rows: Vec<Row> = rows().into_iter().filter(|row| fits(row, engine.api)).collect();
    let mut lost = Vec::new();
    for row in &rows {
        let result = try_row(&engine, row);
        clear(&engine);
        let how = if row.only_created.is_some() { " (only created)" } else { "" };
        match result {
            Ok(()) => println!("kept  {}{how}", row.name),
            Err(why) => {
                println!("LOST  {}{how}\n      {}", row.name, why.replace('\n', "\n      "));
                lost.push(row.name.as_str());
            }
        }
    }
    let kept = rows.len() - lost.len();
    println!("Engine {} (API {}): {kept}/{} kept", engine.version, engine.api, rows.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
}

fn fits(row: &Row, api: ApiVersion) -> bool {
    let version = |text: &String| text.parse::<ApiVersion>().expect("a version in the table");
    row.api.as_ref().is_none_or(|from| version(from) <= api)
        && row.api_until.as_ref().is_none_or(|until| api <= version(until))
}

/// One row from create to the comparison; an error says what was lost.
fn try_row(engine: &Engine, row: &Row) -> Result<(), String> {
    let repository = if row.create.contains("PLAIN") { "plain" } else { "app" };
    tag(engine, repository, "v1")?;
    create_original(engine, row, repository)?;
    for command in &row.then {
        let command = words(&command.replace("SUBJECT", NAME));
        engine.try_docker(&command.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    if row.only_created.is_none() {
        engine.call("POST", &format!("/containers/{NAME}/start"), None)?;
    }
    let before = inspect(engine)?;
    let old_image = image_of(engine, &before)?;
    tag(engine, repository, "v2")?;
    replace(engine, &before, &old_image, row.only_created.is_none())?;
    let after = inspect(engine)?;
    let new_image = image_of(engine, &after)?;
    judge(
        Inspected { container: &before, image: &old_image },
        Inspected { container: &after, image: &new_image },
    )
}

fn judge(before: Inspected<'_>, after: Inspected<'_>) -> Result<(), String> {
    if before.container["Image"] == after.container["Image"] {
        return Err("the new container runs on the old image".to_owned());
    }
    let lines: Vec<String> = differences(before, after)
        .iter()
        .map(|difference| {
            format!("{}: {} became {}", difference.path, difference.before, difference.after)
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

/// Creates the container by the `docker` command, or by the API where the row holds a body.
fn create_original(engine: &Engine, row: &Row, repository: &str) -> Result<(), String> {
    if row.create.starts_with('{') {
        let mut body: Value = serde_json::from_str(&row.create).map_err(|error| error.to_string())?;
        body["Image"] = json!(repository);
        return engine
            .call("POST", &format!("/containers/create?name={NAME}"), Some(&body))
            .map(|_| ());
    }
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/files");
    let mut line = row.create.replace("FILES", files).replace("PLAIN", "IMAGE");
    for (token, path, pointer) in [
        ("NETWORK_ID", "/networks/blue", "/Id"),
        ("PLATFORM", "/version", "/Arch"),
    ] {
        if line.contains(token) {
            let answer = engine.call("GET", path, None)?;
            let text = answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            line = line.replace(token, text);
        }
    }
    let mut arguments = words(&line);
    if !arguments.iter().any(|word| word == "IMAGE") {
        arguments.push("IMAGE".to_owned());
    }
    let image = |word: String| if word == "IMAGE" { repository.to_owned() } else { word };
    let arguments: Vec<String> = arguments.into_iter().map(image).collect();
    let mut command = vec!["create", "--name", NAME];
    command.extend(arguments.iter().map(String::as_str));
    engine.try_docker(&command).map(|_| ())
}

/// The update, as far as it concerns the configuration: beside, stop, rename, start, commit.
fn replace(engine: &Engine, before: &Value, image: &Value, start: bool) -> Result<(), String> {
    let original = Original { container: before, image, api: engine.api };
    let mut recreation = recreate(&original).map_err(|error| error.to_string())?;
    let policy = restart_policy(before).map_err(|error| error.to_string())?;
    set_restart_policy(&mut recreation.body, &RestartPolicy::no());
    set_compose_image(&mut recreation.body, "sha256:new");
    let platform = recreation.platform.as_ref().map_or_else(String::new, |platform| {
        format!("&platform={}/{}", platform.os, platform.architecture)
    });
    let post = |path: &str, body: Option<&Value>| engine.call("POST", path, body);
    let path = format!("/containers/create?name=pilotfish-new-{NAME}{platform}");
    post(&path, Some(&recreation.body))?;
    for endpoint in &recreation.connect {
        let body = json!({
            "Container": format!("pilotfish-new-{NAME}"),
            "EndpointConfig": endpoint.config,
        });
        post(&format!("/networks/{}/connect", endpoint.network), Some(&body))?;
    }
    post(&format!("/containers/{NAME}/stop?t=0"), None)?;
    post(&format!("/containers/{NAME}/rename?name=pilotfish-old-{NAME}"), None)?;
    post(&format!("/containers/pilotfish-new-{NAME}/rename?name={NAME}"), None)?;
    if start {
        post(&format!("/containers/{NAME}/start"), None)?;
    }
    if !policy.is_no() {
        let update = json!({ "RestartPolicy": policy });
        post(&format!("/containers/{NAME}/update"), Some(&update))?;
    }
    Ok(())
}

fn tag(engine: &Engine, repository: &str, release: &str) -> Result<Value, String> {
    let path = format!("/images/{repository}:{release}/tag?repo={repository}&tag=latest");
    engine.call("POST", &path, None)
}

fn inspect(engine: &Engine) -> Result<Value, String> {
    engine.call("GET", &format!("/containers/{NAME}/json"), None)
}

fn image_of(engine: &Engine, container: &Value) -> Result<Value, String> {
    let id = container["Image"].as_str().expect("a container has an image");
    engine.call("GET", &format!("/images/{id}/json"), None)
}

/// Removes what the row made, whatever became of it.
fn clear(engine: &Engine) {
    for prefix in ["", "pilotfish-new-", "pilotfish-old-"] {
        engine.request("DELETE", &format!("/containers/{prefix}{NAME}?force=1&v=1"), None);
    }
}
