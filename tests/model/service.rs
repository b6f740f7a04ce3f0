//! A service: what its user once typed, which is what every container of it is held against.

use serde_json::{Value, json};

use crate::engine::state::{Phase, SERVICE_LABEL};
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
}

/// What a service is made with.
#[derive(Debug, Clone)]
pub struct Wish {
    pub name: String,
    pub image: String,
    pub policy: String,
    pub port: Option<u16>,
    pub labels: Vec<(String, String)>,
    pub keep: usize,
    pub is_watched: bool,
}

impl Wish {
    pub fn new(name: &str, image: &str, policy: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            policy: policy.to_owned(),
            port: None,
            labels: Vec::new(),
            keep: 1,
            is_watched: true,
        }
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
        json!({
            "Image": self.image,
            "Env": ["MINE=1"],
            "Labels": labels,
            "HostConfig": host_config,
            "NetworkingConfig": { "EndpointsConfig": { "shop": { "Aliases": ["counter"] } } },
        })
    }
}

impl Machine {
    /// `docker pull` of what the tag stands for, then `docker run`.
    pub fn run_service(&self, wish: &Wish) {
        self.with(|affairs, at| {
            let name = wish.image.split('@').next().unwrap_or_default();
            let (index, image) = affairs.shelf.offered(name).expect("the image was pushed");
            let (index, image) = (index.clone(), image.clone());
            let of = crate::engine::store::repository(name).to_owned();
            let id = affairs.engine.pulled(&of, &index, &image);
            affairs.engine.tag(at.wall, &id, name).expect("a tag");
            affairs.engine.harden();
            let body = wish.body();
            let id = affairs.engine.create(at, &wish.name, &body).expect("a container");
            affairs.engine.start(at, &id).expect("a start");
            affairs.engine.harden();
            let container = affairs.engine.find(&id).expect("the container");
            let volumes = container.mounts.iter().map(|mount| mount.volume.clone()).collect();
            affairs.services.push(Service {
                name: wish.name.clone(),
                image: wish.image.clone(),
                policy: wish.policy.clone(),
                body,
                volumes,
                keep: wish.keep,
                first: image.name.clone(),
            });
        });
    }

    /// Whether a service's container runs now, alone and under its name.
    pub fn serves(&self, service: &str) -> bool {
        self.with(|affairs, _| {
            let mut running = affairs
                .engine
                .containers()
                .filter(|container| container.service == service && container.is_running());
            let first = running.next();
            first.is_some_and(|container| {
                container.phase == Phase::Running && container.name == service
            }) && running.next().is_none()
        })
    }
}
