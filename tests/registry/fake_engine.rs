//! An Engine on paper: it tells of containers that do not exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use pilotfish::core::docker::reference::{Digest, Reference};
use serde_json::{Value, json};
use tokio::net::UnixListener;

/// What the Engine tells of.
#[derive(Default)]
pub struct Papers {
    /// The images of its containers, as they are written; the container of the first is `c000`.
    pub images: Vec<String>,
    /// How many containers run on each image; none said is one.
    pub on_each_image: usize,
    /// The list of images names neither labels nor digests, as that of an Engine may.
    pub lists_no_images: bool,
    /// What it asks before Docker Hub.
    pub mirrors: Vec<String>,
    /// The digest that every container runs.
    pub running: Option<Digest>,
    /// The architecture and the variant of what runs; those of the machine where nothing is said.
    pub userland: Option<(&'static str, &'static str)>,
    /// What is written on the first container besides.
    pub labels_of_the_first: BTreeMap<String, String>,
    /// The paths that it was asked for, in their order.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Papers {
    fn answer(&self, path: &str) -> Option<Value> {
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        Some(match parts.as_slice() {
            ["version"] => {
                json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24" })
            }
            ["info"] => json!({
                "DockerRootDir": "/var/lib/docker",
                "OSType": "linux",
                "Architecture": "aarch64",
                "RegistryConfig": { "Mirrors": self.mirrors },
            }),
            ["containers", "json"] => (0..self.containers()).map(|it| self.listed(it)).collect(),
            ["images", "json"] if self.lists_no_images => json!([]),
            ["images", "json"] => {
                (0..self.images.len()).filter_map(|it| self.listed_image(it)).collect()
            }
            ["containers", id, "changes"] if number(id).is_some() => Value::Null,
            ["containers", id, "json"] => self.container(number(id)?)?,
            ["images", name @ .., "json"] => self.image(self.number_of(&name.join("/"))?)?,
            _ => return None,
        })
    }

    fn containers(&self) -> usize {
        self.images.len() * self.on_each_image.max(1)
    }

    /// The number of the image on which a container runs.
    fn image_of(&self, container: usize) -> usize {
        container % self.images.len()
    }

    fn container(&self, number: usize) -> Option<Value> {
        if number >= self.containers() {
            return None;
        }
        let image = self.image_of(number);
        Some(json!({
            "Id": id(number),
            "Name": format!("/c{number:03}"),
            "Image": image_id(image),
            "Created": "2026-11-20T12:00:00Z",
            "Config": { "Image": self.images[image], "Labels": self.labels(number) },
            "HostConfig": {
                "AutoRemove": false,
                "NetworkMode": "none",
                "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            },
            "NetworkSettings": { "Networks": { "none": {} } },
            "Mounts": [],
            "State": { "Status": "running" },
        }))
    }

    fn listed(&self, number: usize) -> Value {
        let image = self.image_of(number);
        json!({
            "Id": id(number), "Names": [format!("/c{number:03}")], "State": "running",
            "Image": self.images[image], "ImageID": image_id(image),
            "Labels": self.labels(number), "Command": "/till", "Created": 1_795_694_400,
            "Ports": [], "Status": "Up 3 hours", "Mounts": [],
            "HostConfig": { "NetworkMode": "none" },
            "NetworkSettings": { "Networks": { "none": {} } },
        })
    }

    fn labels(&self, number: usize) -> Value {
        let more = if number == 0 { self.labels_of_the_first.clone() } else { BTreeMap::new() };
        let enabled = [("pilotfish.enable".to_owned(), "true".to_owned())];
        json!(more.into_iter().chain(enabled).collect::<BTreeMap<_, _>>())
    }

    /// The number of an image, by its ID or as it is written.
    fn number_of(&self, name: &str) -> Option<usize> {
        number(name).or_else(|| self.images.iter().position(|image| image == name))
    }

    fn repo_digest(&self, number: usize) -> Option<String> {
        let reference: Reference = self.images.get(number)?.parse().ok()?;
        let digest = self.running.clone().unwrap_or_else(|| Digest::of(b"what runs"));
        Some(format!("{}@{digest}", reference.familiar_name()))
    }

    fn listed_image(&self, number: usize) -> Option<Value> {
        Some(json!({
            "Id": image_id(number), "ParentId": "", "Created": 1_795_694_400,
            "RepoTags": [self.images[number]], "RepoDigests": [self.repo_digest(number)?],
            "Labels": null, "Containers": -1, "Size": 1_982_256, "SharedSize": -1,
        }))
    }

    fn image(&self, number: usize) -> Option<Value> {
        let (architecture, variant) = self.userland.unwrap_or(("arm64", ""));
        Some(json!({
            "Id": image_id(number),
            "RepoDigests": [self.repo_digest(number)?],
            "Os": "linux",
            "Architecture": architecture,
            "Variant": variant,
            "Config": {},
        }))
    }
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn image_id(number: usize) -> String {
    format!("sha256:{}", id(number))
}

/// The number of a container or an image, by its ID; nothing for every other name.
fn number(id: &str) -> Option<usize> {
    let hex = id.trim_start_matches("sha256:").trim_start_matches("sha256%3A");
    (hex.len() == 64).then(|| usize::from_str_radix(hex, 16).ok()).flatten()
}

/// Begins to answer at a socket in the directory, and goes on until the runtime ends.
pub fn serve(directory: &Path, papers: Papers) -> PathBuf {
    let socket = directory.join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let papers = Arc::new(papers);
    // Nothing that it tells of ever changes, and long lists take long to write.
    let written = Arc::<Mutex<BTreeMap<String, Written>>>::default();
    let router = Router::new().fallback(move |request: Request| {
        let (papers, written) = (papers.clone(), written.clone());
        async move {
            let path = request.uri().path().to_owned();
            papers.asked.lock().expect("the list").push(path.clone());
            let mut written = written.lock().expect("the answers");
            written.entry(path).or_insert_with_key(|path| respond(papers.answer(path))).clone()
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    socket
}

/// What is sent of an answer.
type Written = (StatusCode, [(HeaderName, &'static str); 1], Bytes);

fn respond(answer: Option<Value>) -> Written {
    let status = if answer.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let body = answer.unwrap_or_else(|| json!({ "message": "no such thing" }));
    (status, [(CONTENT_TYPE, "application/json")], Bytes::from(body.to_string()))
}
