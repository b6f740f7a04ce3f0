//! The container that a row of the table is about, from its creation to the comparison.

use serde_json::{Value, json};

use pilotfish::core::recreate::differences::{Inspected, differences};
use pilotfish::core::recreate::{
    Original, Recreation, RestartPolicy, recreate, restart_policy, set_compose_image,
    set_restart_policy,
};

use crate::engine::Engine;
use crate::table::{Row, words};

/// A container name and image names that one worker has for itself.
pub struct Subject<'e> {
    engine: &'e Engine,
    name: String,
    number: usize,
}

impl<'e> Subject<'e> {
    /// The subject of the worker `number`.
    pub fn new(engine: &'e Engine, number: usize) -> Self {
        Self { engine, name: format!("subject-{number}"), number }
    }

    /// One row from create to the comparison; an error says what was lost.
    pub fn try_row(&self, row: &Row) -> Result<(), String> {
        let release = if row.create.contains("PLAIN") { "plain" } else { "app" };
        let image = format!("{release}-{}", self.number);
        self.tag(release, "v1", &image)?;
        if row.only_body.is_some() {
            return self.try_body(row, &image);
        }
        self.create(row, &image)?;
        for command in &row.then {
            let command = words(&command.replace("SUBJECT", &self.name));
            self.engine.try_docker(&command)?;
        }
        if row.only_created.is_none() {
            self.post(&format!("/containers/{}/start", self.name), None)?;
        }
        let (before, old_image) = self.inspect()?;
        self.tag(release, "v2", &image)?;
        self.replace(&before, &old_image, row.only_created.is_none())?;
        let (after, new_image) = self.inspect()?;
        judge(
            Inspected { container: &before, image: &old_image },
            Inspected { container: &after, image: &new_image },
        )
    }

    /// Removes what the row made, whatever became of it.
    pub fn clear(&self, engine: &Engine) {
        for prefix in ["", "pilotfish-new-", "pilotfish-old-"] {
            let path = format!("/containers/{prefix}{}?force=1&v=1", self.name);
            engine.request("DELETE", &path, None);
        }
    }

    /// Creates the container by the `docker` command, or by the API where the row holds a body.
    fn create(&self, row: &Row, image: &str) -> Result<(), String> {
        if row.create.starts_with('{') {
            let mut body = json_of(row)?;
            body["Image"] = json!(image);
            self.post(&format!("/containers/create?name={}", self.name), Some(&body))?;
            return Ok(());
        }
        let mut arguments = words(&self.fill_in(&row.create)?);
        if !arguments.iter().any(|word| word == "IMAGE") {
            arguments.push("IMAGE".to_owned());
        }
        let mut command = vec!["create".to_owned(), "--name".to_owned(), self.name.clone()];
        let image = |word: String| if word == "IMAGE" { image.to_owned() } else { word };
        command.extend(arguments.into_iter().map(image));
        self.engine.try_docker(&command).map(|_| ())
    }

    /// Replaces the words of the table that stand for something of this Engine.
    fn fill_in(&self, arguments: &str) -> Result<String, String> {
        let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/files");
        let mut line = arguments.replace("FILES", files).replace("PLAIN", "IMAGE");
        for (word, path, field) in
            [("NETWORK_ID", "/networks/blue", "Id"), ("PLATFORM", "/version", "Arch")]
        {
            if line.contains(word) {
                let answer = self.engine.call("GET", path, None)?;
                line = line.replace(word, answer[field].as_str().unwrap_or_default());
            }
        }
        Ok(line)
    }

    /// Puts the fields of the row into the inspect document of a plain container and looks for
    /// them in the create body.
    fn try_body(&self, row: &Row, image: &str) -> Result<(), String> {
        let plain = Row { create: "IMAGE".to_owned(), ..Row::default() };
        self.create(&plain, image)?;
        let (mut before, image) = self.inspect()?;
        let fields = json_of(row)?;
        merge(&mut before, &fields);
        let body = self.recreation(&before, &image)?.body;
        let wanted = body_of(&fields);
        let mut merged = body.clone();
        merge(&mut merged, &wanted);
        if merged == body { Ok(()) } else { Err(format!("{wanted} is not in {body}")) }
    }

    fn recreation(&self, before: &Value, image: &Value) -> Result<Recreation, String> {
        let original = Original { container: before, image, api: self.engine.api };
        recreate(&original).map_err(|error| error.to_string())
    }

    /// The update, as far as it concerns the configuration: beside, stop, rename, start, commit.
    fn replace(&self, before: &Value, image: &Value, start: bool) -> Result<(), String> {
        let name = &self.name;
        let mut recreation = self.recreation(before, image)?;
        let policy = restart_policy(before).map_err(|error| error.to_string())?;
        set_restart_policy(&mut recreation.body, &RestartPolicy::no());
        set_compose_image(&mut recreation.body, "sha256:new");
        let platform = recreation.platform.as_ref().map_or_else(String::new, |platform| {
            format!("&platform={}/{}", platform.os, platform.architecture)
        });
        let path = format!("/containers/create?name=pilotfish-new-{name}{platform}");
        self.post(&path, Some(&recreation.body))?;
        for endpoint in &recreation.connect {
            let container = format!("pilotfish-new-{name}");
            let body = json!({ "Container": container, "EndpointConfig": endpoint.config });
            self.post(&format!("/networks/{}/connect", endpoint.network), Some(&body))?;
        }
        self.post(&format!("/containers/{name}/stop?t=0"), None)?;
        self.post(&format!("/containers/{name}/rename?name=pilotfish-old-{name}"), None)?;
        self.post(&format!("/containers/pilotfish-new-{name}/rename?name={name}"), None)?;
        if start {
            self.post(&format!("/containers/{name}/start"), None)?;
        }
        if !policy.is_no() {
            let update = json!({ "RestartPolicy": policy });
            self.post(&format!("/containers/{name}/update"), Some(&update))?;
        }
        Ok(())
    }

    fn tag(&self, release: &str, version: &str, image: &str) -> Result<Value, String> {
        self.post(&format!("/images/{release}:{version}/tag?repo={image}&tag=latest"), None)
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.engine.call("POST", path, body)
    }

    /// The container's document and that of its image.
    fn inspect(&self) -> Result<(Value, Value), String> {
        let path = format!("/containers/{}/json", self.name);
        let container = self.engine.call("GET", &path, None)?;
        let id = container["Image"].as_str().unwrap_or_default();
        let image = self.engine.call("GET", &format!("/images/{id}/json"), None)?;
        Ok((container, image))
    }
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

fn json_of(row: &Row) -> Result<Value, String> {
    serde_json::from_str(&row.create).map_err(|error| error.to_string())
}

/// Where fields of an inspect document stand in a create body.
fn body_of(fields: &Value) -> Value {
    let mut body = fields["Config"].clone();
    for (key, place) in [("HostConfig", "/HostConfig"), ("NetworkingConfig", "/NetworkSettings")] {
        if let Some(value) = fields.pointer(place) {
            body[key] = value.clone();
        }
    }
    if let Some(networks) = body.pointer_mut("/NetworkingConfig/Networks").map(Value::take) {
        body["NetworkingConfig"] = json!({ "EndpointsConfig": networks });
    }
    body
}

/// Lays `over` over `value`, object by object.
fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(object), Value::Object(over)) => {
            for (key, over) in over {
                merge(object.entry(key.clone()).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over.clone(),
    }
}
