//! A service: what its user once typed, which is what every container of it is held against.

use serde_json::{Value, json};

use crate::engine::state::SERVICE_LABEL;
use crate::engine::store::repository;
use crate::machine::Machine;

/// What the user typed.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    /// The image, as written: `shop.example/app:1`.
    pub image: String,
    pub policy: String,
    /// The body of its create.
    pub body: Value,
    /// The volumes that its first container had.
    pub volumes: Vec<String>,
    /// `images.keep`.
    pub keep: usize,
    /// The image it began with, by the model's name.
    pub first: String,
    /// What it hangs on, and how: a field of `HostConfig` that says `container:OTHER`.
    pub hangs: Option<(&'static str, String)>,
}

/// What a service is made with.
#[derive(Debug, Clone)]
pub struct RunOptions {
    pub name: String,
    pub image: String,
    pub policy: String,
    pub port: Option<u16>,
    pub labels: Vec<(String, String)>,
    pub keep: usize,
    pub is_watched: bool,
    /// What it hangs on, and how: a field of `HostConfig` that says `container:OTHER`.
    pub hangs: Option<(&'static str, String)>,
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
            hangs: None,
        }
    }

    /// Hangs on another service, by a namespace.
    pub fn hanging(mut self, how: &'static str, on: &str) -> Self {
        self.hangs = Some((how, on.to_owned()));
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
        if let Some((how, on)) = &self.hangs {
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

/// Stands for the digest of what the tag stands for.
const PINNED: &str = "@PINNED";

impl Machine {
    /// `docker build`: nobody has ever pushed it.
    pub fn build(&self, tag: &str, image: &str) {
        self.with(|affairs, at| {
            let spec = std::sync::Arc::clone(affairs.shelf.image(image));
            affairs.engine.built(&spec);
            affairs.engine.tag(at.wall, spec.config.as_str(), tag).expect("a tag");
        });
    }

    /// `docker pull` of what the tag stands for, then `docker run`.
    pub fn run_service(&self, command: &RunOptions) {
        self.with(|affairs, at| {
            let name = command.image.trim_end_matches(PINNED);
            let mut command = command.clone();
            if let Some((index, image)) = affairs.shelf.offered(name) {
                let (index, image) = (index.clone(), image.clone());
                let of = repository(name).to_owned();
                let id = affairs.engine.pulled(&of, &index, &image);
                affairs.engine.tag(at.wall, &id, name).expect("a tag");
                command.image = command.image.replace(PINNED, &format!("@{index}"));
            }
            affairs.engine.harden();
            let body = command.body();
            let id = affairs.engine.create(at, &command.name, &body).expect("a container");
            affairs.engine.start(at, &id).expect("a start");
            affairs.engine.harden();
            let container = affairs.engine.find(&id).expect("the container");
            let volumes = container.mounts.iter().map(|mount| mount.volume.clone()).collect();
            let first = affairs.engine.stored.images[&container.image].spec.name.clone();
            affairs.services.push(Service {
                name: command.name,
                image: command.image,
                policy: command.policy,
                body,
                volumes,
                keep: command.keep,
                first,
                hangs: command.hangs,
            });
        });
    }
}
