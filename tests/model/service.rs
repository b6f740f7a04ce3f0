//! A service as its user defined it. Every container of it is compared with this definition.

use serde_json::{Value, json};

use crate::engine::state::SERVICE_LABEL;
use crate::engine::store::repository;
use crate::machine::Machine;

/// The user's definition.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    /// The image reference, such as `shop.example/app:1`.
    pub image: String,
    pub policy: String,
    /// The body of the create call.
    pub body: Value,
    /// The volumes of its first container.
    pub volumes: Vec<String>,
    /// `images.keep`.
    pub keep: usize,
    /// The name of its first image in the model.
    pub first: String,
    /// The service it depends on, and the field of `HostConfig` that says `container:OTHER`.
    pub depends_on: Option<(&'static str, String)>,
    /// Whether it is a job, which ends by itself.
    pub is_job: bool,
}

/// The options of a new service.
#[derive(Debug, Clone)]
pub struct RunOptions {
    pub name: String,
    pub image: String,
    pub policy: String,
    pub port: Option<u16>,
    pub labels: Vec<(String, String)>,
    pub keep: usize,
    pub is_watched: bool,
    pub is_job: bool,
    /// The service it depends on, and the field of `HostConfig` that says `container:OTHER`.
    pub depends_on: Option<(&'static str, String)>,
}

impl RunOptions {
    pub fn new(name: &str, image: &str, policy: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            policy: policy.to_owned(),
            port: None,
            labels: Vec::new(),
            keep: 1,
            is_watched: true,
            is_job: false,
            depends_on: None,
        }
    }

    /// Joins a namespace of another service.
    pub fn joined_to(mut self, how: &'static str, on: &str) -> Self {
        self.depends_on = Some((how, on.to_owned()));
        self
    }

    fn body(&self) -> Value {
        let mut labels = json!({ SERVICE_LABEL: self.name, "mine": "1" });
        if self.is_watched {
            labels["pilotfish.enable"] = "true".into();
        }
        for (key, value) in &self.labels {
            labels[key] = Value::from(value.clone());
        }
        let mut host_config = json!({
            "NetworkMode": "shop",
            "RestartPolicy": { "Name": self.policy, "MaximumRetryCount": 0 },
            "Memory": 64_000_000,
        });
        if let Some(port) = self.port {
            host_config["PortBindings"] = json!({ "80/tcp": [{ "HostPort": port.to_string() }] });
        }
        let mut endpoints = json!({ "shop": { "Aliases": ["counter"] } });
        if let Some((how, on)) = &self.depends_on {
            host_config[*how] = Value::from(format!("container:{on}"));
            if *how == "NetworkMode" {
                endpoints = json!({});
            }
        }
        json!({
            "Image": self.image,
            "Env": ["MINE=1"],
            "Labels": labels,
            "HostConfig": host_config,
            "NetworkingConfig": { "EndpointsConfig": endpoints },
        })
    }
}

/// Placeholder for the digest that the tag points to.
const PINNED: &str = "@PINNED";

impl Machine {
    /// `docker build`: the image was never pushed.
    pub fn build(&self, tag: &str, image: &str) {
        self.with(|state, at| {
            let spec = std::sync::Arc::clone(state.registry.image(image));
            state.engine.built(&spec);
            state.engine.tag(at.wall, spec.config.as_str(), tag).expect("a tag");
        });
    }

    /// `docker pull` of the image that the tag points to, then `docker run`.
    pub fn run_service(&self, command: &RunOptions) {
        self.with(|state, at| {
            let name = command.image.trim_end_matches(PINNED);
            let mut command = command.clone();
            if let Some((index, image)) = state.registry.offered(name) {
                let (index, image) = (index.clone(), image.clone());
                let of = repository(name).to_owned();
                let id = state.engine.pulled(&of, &index, &image);
                state.engine.tag(at.wall, &id, name).expect("a tag");
                command.image = command.image.replace(PINNED, &format!("@{index}"));
            }
            state.engine.harden();
            let body = command.body();
            let id = state.engine.create(at, &command.name, &body).expect("a container");
            state.engine.start(at, &id).expect("a start");
            state.engine.harden();
            let container = state.engine.find(&id).expect("the container");
            let volumes = container.mounts.iter().map(|mount| mount.volume.clone()).collect();
            let first = state.engine.stored.images[&container.image].spec.name.clone();
            state.services.push(Service {
                name: command.name,
                image: command.image,
                policy: command.policy,
                body,
                volumes,
                keep: command.keep,
                first,
                depends_on: command.depends_on,
                is_job: command.is_job,
            });
        });
    }
}
