//! What the Engine says of a container and of an image, as JSON.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::state::{Container, Phase, State};
use super::store::LocalImage;
use crate::images::Image;

impl State {
    /// `GET /containers/ID/json`.
    pub fn container_document(&self, now: DateTime<Utc>, container: &Container) -> Value {
        let image = self.stored.images.get(&container.image);
        let mut config = image.map_or_else(
            || container.body.as_ref().clone(),
            |image| merged(&container.body, &image.spec),
        );
        let hostname = config.get("Hostname").cloned();
        config["Hostname"] = hostname.unwrap_or_else(|| Value::from(&container.id[..12]));
        let mut host_config = container.body["HostConfig"].clone();
        host_config["RestartPolicy"] = json!(container.policy);
        host_config["AutoRemove"] = Value::Bool(false);
        let mut document = json!({
            "Id": container.id,
            "Name": format!("/{}", container.name),
            "Created": time(Some(container.created)),
            "Image": container.image,
            "State": state(now, container),
            "Config": config,
            "HostConfig": host_config,
            "Mounts": container.mounts.iter().map(mount).collect::<Vec<_>>(),
            "NetworkSettings": { "Networks": container.networks },
        });
        if let Some(image) = image.filter(|_| self.containerd_store) {
            document["ImageManifestDescriptor"] = json!({
                "digest": image.spec.manifest,
                "platform": { "os": "linux", "architecture": "arm64" },
            });
        }
        document
    }

    /// `GET /images/NAME/json`.
    pub fn image_document(&self, image: &LocalImage) -> Value {
        json!({
            "Id": image.id,
            "RepoTags": image.tags.keys().collect::<Vec<_>>(),
            "RepoDigests": image.repo_digests(self.containerd_store),
            "Os": "linux",
            "Architecture": "arm64",
            "Config": image.spec.document,
            "RootFS": { "Layers": [image.spec.layer()] },
            "Metadata": { "LastTagTime": time(image.tags.values().max().copied()) },
        })
    }
}

/// `Config` as inspect shows it: the body, and what the image brings where the body is silent.
pub fn merged(body: &Value, image: &Image) -> Value {
    let mut config: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    config.remove("HostConfig");
    config.remove("NetworkingConfig");
    let of_image = &image.document;
    for (key, value) in of_image.as_object().into_iter().flatten() {
        let users = config.get(key).filter(|users| !users.is_null()).cloned();
        let both = match (users, value) {
            (None, value) => value.clone(),
            (Some(Value::Object(users)), Value::Object(images)) if key != "Healthcheck" => {
                let mut both = images.clone();
                both.extend(users);
                Value::Object(both)
            }
            (Some(Value::Array(users)), Value::Array(images)) if key == "Env" => {
                Value::Array(environment(users, images))
            }
            (Some(users), _) => users,
        };
        config.insert(key.clone(), both);
    }
    Value::Object(config)
}

fn environment(users: Vec<Value>, images: &[Value]) -> Vec<Value> {
    let key =
        |entry: &Value| entry.as_str().unwrap_or_default().split('=').next().map(str::to_owned);
    let missing = images.iter().filter(|entry| users.iter().all(|mine| key(mine) != key(entry)));
    let missing: Vec<_> = missing.cloned().collect();
    users.into_iter().chain(missing).collect()
}

fn state(now: DateTime<Utc>, container: &Container) -> Value {
    let mut state = json!({
        "Status": word(container.phase),
        "Running": container.is_running(),
        "OOMKilled": false,
        "ExitCode": container.exit_code,
        "StartedAt": time(container.started),
        "FinishedAt": time(container.finished),
    });
    if let Some(health) = container.health {
        state["Health"] = json!({ "Status": health, "Log": checks(now, container) });
    }
    state
}

/// The newest check: there is one each second, as the images have it.
fn checks(now: DateTime<Utc>, container: &Container) -> Vec<Value> {
    let until = container.last_check.unwrap_or(now);
    let since = container.started.unwrap_or(until);
    let seconds = TimeDelta::seconds((until - since).num_seconds());
    let newest = (!seconds.is_zero()).then(|| json!({ "End": time(Some(since + seconds)) }));
    newest.into_iter().collect()
}

/// The word for a container's state.
pub fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Running => "running",
        Phase::Restarting => "restarting",
        Phase::Exited => "exited",
    }
}

fn mount(mount: &super::state::Mount) -> Value {
    json!({
        "Type": "volume", "Name": mount.volume, "Destination": mount.path,
        "Driver": "local", "RW": true,
    })
}

/// The Engine writes the year 1 for what never happened.
fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |time| time.to_rfc3339_opts(SecondsFormat::Nanos, true),
    )
}
