//! The container of one row of the table, from its creation to the comparison.

use serde_json::{Value, json};

use pilotfish::core::recreate::differences::{Inspected, differences};
use pilotfish::core::recreate::{
    CannotRecreate, Original, Recreation, RestartPolicy, changeable_restart_policy, recreate,
    set_compose_image, set_restart_policy,
};

use crate::engine::Engine;
use crate::peer::{Freshdock, reference};
use crate::podman;
use crate::record::Outcome;
use crate::table::{Row, words};

/// The program that replaces the container.
pub enum Updater {
    /// Pilotfish's own code, step by step.
    Pilotfish,
    /// Another program.
    Freshdock(Freshdock),
}

impl Updater {
    /// The name and version.
    pub fn title(&self) -> String {
        match self {
            Self::Pilotfish => concat!("pilotfish ", env!("CARGO_PKG_VERSION")).to_owned(),
            Self::Freshdock(freshdock) => freshdock.version.clone(),
        }
    }

    /// Whether the row can be tried: another program starts the containers that it creates, and
    /// does not show its create body.
    pub fn can_try(&self, row: &Row) -> bool {
        let is_started = row.only_body.is_none() && row.only_created.is_none();
        matches!(self, Self::Pilotfish) || is_started && row.refused.is_none()
    }
}

/// Placeholders of the table for values of this Engine: the path of the request, and the field.
const PLACEHOLDERS: [(&str, &str, &str); 5] = [
    ("ANCHOR_ID", "/containers/anchor/json", "Id"),
    ("CELLAR_ID", "/containers/cellar/json", "Id"),
    ("NEIGHBOUR_ID", "/containers/neighbour/json", "Id"),
    ("NETWORK_ID", "/networks/blue", "Id"),
    ("PLATFORM", "/version", "Arch"),
];

/// The container and image names of one worker.
pub struct Subject<'e> {
    engine: &'e Engine,
    updater: &'e Updater,
    name: String,
    number: usize,
}

impl<'e> Subject<'e> {
    /// The names of the worker `number`.
    pub fn new(engine: &'e Engine, updater: &'e Updater, number: usize) -> Self {
        Self { engine, updater, name: format!("subject-{number}"), number }
    }

    /// Runs one row from the create to the comparison.
    pub fn try_row(&self, row: &Row) -> Outcome {
        let release = if row.create.contains("PLAIN") { "plain" } else { "app" };
        let ready = self.tag(release, "v1").and_then(|image| self.create_original(row, &image));
        if let Err(why) = ready {
            return Outcome::NotOffered(why);
        }
        let judged = match row.only_body {
            Some(_) => self.try_body(row),
            None => self.try_update(row, release),
        };
        match (judged, &row.refused) {
            (Err(Failure::Refused(refused)), None) => Outcome::Refused(refused.to_string()),
            (Err(Failure::Refused(refused)), Some(field)) if refused.field == *field => {
                Outcome::Refused(refused.to_string())
            }
            (_, Some(field)) => Outcome::Lost(format!("was not refused because of {field}")),
            (Err(Failure::Lost(why)), None) => Outcome::Lost(why),
            (Ok(()), None) => Outcome::Kept,
        }
    }

    /// The user's container. If no Engine accepts the option, a plain one.
    fn create_original(&self, row: &Row, image: &str) -> Result<(), String> {
        if row.only_body.is_some() {
            return self.create(&Row { create: "IMAGE".to_owned(), ..Row::default() }, image);
        }
        self.create(row, image)?;
        for command in &row.then {
            self.engine.try_docker(&words(&command.replace("SUBJECT", &self.name)))?;
        }
        if row.only_created.is_none() {
            self.post(&format!("/containers/{}/start", self.name), None)?;
        }
        Ok(())
    }

    fn try_update(&self, row: &Row, release: &str) -> Result<(), Failure> {
        let (before, mut old_image) = self.inspect()?;
        match self.updater {
            Updater::Pilotfish => {
                self.tag(release, "v2")?;
                self.replace(&before, &old_image, row.only_created.is_none())?;
            }
            Updater::Freshdock(freshdock) => freshdock.recreate(self.engine, &self.name)?,
        }
        let (after, mut new_image) = self.inspect()?;
        if self.engine.is_podman {
            podman::merge_nothing(&before, [&mut old_image, &mut new_image]);
        }
        compare(
            Inspected { container: &before, image: &old_image },
            Inspected { container: &after, image: &new_image },
        )
    }

    /// Removes everything that the row created, also after a failure.
    pub fn clear(&self) {
        let Ok(all) = self.engine.call("GET", "/containers/json?all=1", None) else { return };
        for container in all.as_array().into_iter().flatten() {
            let is_ours = |name: &Value| name.as_str().is_some_and(|name| self.is_ours(name));
            if container["Names"].as_array().into_iter().flatten().any(is_ours) {
                let id = container["Id"].as_str().unwrap_or_default();
                self.engine.request("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
            }
        }
    }

    /// Updaters name a parked container `NAME-old`, `old-NAME` and similar. A name with a second
    /// slash comes from a link.
    fn is_ours(&self, name: &str) -> bool {
        let name = name.trim_start_matches('/');
        let parts = name.split_once(self.name.as_str()).filter(|_| !name.contains('/'));
        parts.is_some_and(|(_, rest)| !rest.starts_with(|letter: char| letter.is_ascii_digit()))
    }

    /// Creates the container with the `docker` command, or with the API if the row has a body.
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

    /// Replaces the placeholders of the table.
    fn fill_in(&self, arguments: &str) -> Result<String, String> {
        let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/files");
        let mut line = arguments.replace("FILES", files).replace("PLAIN", "IMAGE");
        for (word, path, field) in PLACEHOLDERS {
            if line.contains(word) {
                let answer = self.engine.call("GET", path, None)?;
                line = line.replace(word, answer[field].as_str().unwrap_or_default());
            }
        }
        Ok(line)
    }

    /// Adds the fields of the row to the inspect document of a plain container and looks for them
    /// in the create body.
    fn try_body(&self, row: &Row) -> Result<(), Failure> {
        let (mut before, image) = self.inspect()?;
        let mut fields = json_of(row)?;
        if self.engine.is_podman {
            podman::name_the_default_network(&mut fields);
        }
        merge(&mut before, &fields);
        let body = self.recreation(&before, &image)?.body;
        let wanted = body_of(&fields);
        if contains(&body, &wanted) {
            return Ok(());
        }
        Err(Failure::Lost(format!("{wanted} is not in {body}")))
    }

    fn recreation(&self, before: &Value, image: &Value) -> Result<Recreation, CannotRecreate> {
        recreate(&Original { container: before, image, api: self.engine.api })
    }

    /// The part of an update that concerns the configuration: create, stop, rename, start, commit.
    fn replace(&self, before: &Value, image: &Value, start: bool) -> Result<(), Failure> {
        let name = &self.name;
        let mut recreation = self.recreation(before, image)?;
        let policy = changeable_restart_policy(before, !self.engine.is_podman)?;
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

    /// Moves the tag of this worker's containers to a release; returns the tag.
    fn tag(&self, release: &str, version: &str) -> Result<String, String> {
        let image = match self.updater {
            Updater::Pilotfish => format!("{release}-{}", self.number),
            Updater::Freshdock(_) => reference(release, self.number),
        };
        self.engine.tag(&format!("{release}:{version}"), &image)?;
        Ok(image)
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.engine.call("POST", path, body)
    }

    /// The documents of the container and of its image.
    fn inspect(&self) -> Result<(Value, Value), String> {
        let path = format!("/containers/{}/json", self.name);
        let mut container = self.engine.call("GET", &path, None)?;
        let image_path =
            format!("/images/{}/json", container["Image"].as_str().unwrap_or_default());
        let mut image = self.engine.call("GET", &image_path, None)?;
        if self.engine.is_podman {
            podman::complete_container(&mut container, self.engine.call_podman(&path)?);
            podman::complete_image(&mut image, &self.engine.call_podman(&image_path)?);
        }
        Ok((container, image))
    }
}

/// Why a row failed.
enum Failure {
    Refused(CannotRecreate),
    Lost(String),
}

impl From<CannotRecreate> for Failure {
    fn from(refused: CannotRecreate) -> Self {
        Self::Refused(refused)
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Lost(why)
    }
}

fn compare(before: Inspected<'_>, after: Inspected<'_>) -> Result<(), Failure> {
    if before.container["Image"] == after.container["Image"] {
        return Err(Failure::Lost("the new container runs on the old image".to_owned()));
    }
    let lines: Vec<String> = differences(before, after)
        .iter()
        .map(|difference| {
            format!("{}: {} became {}", difference.path, difference.before, difference.after)
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(Failure::Lost(lines.join("\n"))) }
}

fn json_of(row: &Row) -> Result<Value, String> {
    serde_json::from_str(&row.create).map_err(|error| error.to_string())
}

/// Maps fields of an inspect document to those of a create body.
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

/// Merges `over` into `value`, object by object.
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

/// Whether all wanted values are there. A list may have more entries, such as volumes.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| fields.get(key).is_some_and(|it| contains(it, wanted))),
        (Value::Array(all), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| all.iter().any(|it| contains(it, wanted)))
        }
        (value, wanted) => value == wanted,
    }
}
