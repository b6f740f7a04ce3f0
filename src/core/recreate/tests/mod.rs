//! Shared test data: a small container, and documents of real Engines.

mod dependents;
mod documents;
mod podman;
mod tables;

use std::path::Path;

use serde_json::{Value, json};

use crate::core::docker::api_version::ApiVersion;
use crate::core::recreate::{CannotRecreate, Original, Recreation, recreate};

/// What a real Engine reported of a container and its image.
#[derive(Debug, Clone)]
struct Documents {
    name: String,
    api: ApiVersion,
    container: Value,
    image: Value,
}

impl Documents {
    fn recreate(&self) -> Result<Recreation, CannotRecreate> {
        let (container, image) = (&self.container, &self.image);
        recreate(&Original { container, image, api: self.api })
    }
}

/// All fixtures of `tests/fixtures/inspect`, from running containers of Podman 4.3 and of Engines
/// 20.10, 28.5 with the classic image store, and 28.5 with the containerd image store.
fn fixtures() -> Vec<Documents> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inspect");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn fixture(name: &str) -> Documents {
    let mut all = fixtures().into_iter();
    all.find(|documents| documents.name == name).expect("a fixture of that name")
}

/// A fixture of `tests/fixtures/refused`, whose containers cannot be recreated.
fn refused(name: &str) -> Documents {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/refused");
    read(&directory.join(format!("{name}.json")))
}

fn read(path: &Path) -> Documents {
    let text = std::fs::read_to_string(path).expect("a readable fixture");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    Documents {
        name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
        api: document["api"].as_str().expect("a version").parse().expect("a version"),
        container: document["container"].take(),
        image: document["image"].take(),
    }
}

/// A small container on Engine 20.10 with one network. Its image sets one of everything.
fn small() -> Documents {
    let image_config = json!({
        "Env": ["PATH=/bin", "SHARED=old"],
        "Cmd": ["serve"],
        "Entrypoint": null,
        "User": "one",
        "WorkingDir": "/srv",
        "StopSignal": "SIGUSR1",
        "Labels": { "which": "one", "same": "1" },
        "ExposedPorts": { "80/tcp": {} },
        "Volumes": { "/data": {} },
        "Healthcheck": { "Test": ["CMD", "ask"], "Interval": 5, "Retries": 2 },
        "OnBuild": ["ENV A=1"],
        "Shell": ["/bin/sh"],
    });
    let mut config = image_config.clone();
    config["Hostname"] = json!("0123456789ab");
    config["Image"] = json!("shop/till:stable");
    config["OnBuild"] = json!(null);
    Documents {
        name: "small".to_owned(),
        api: ApiVersion::V1_41,
        container: json!({
            "Id": "0123456789ab".to_owned() + &"c".repeat(52),
            "Name": "/till",
            "Image": "sha256:1",
            "Config": config,
            "HostConfig": {
                "AutoRemove": false,
                "NetworkMode": "front",
                "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            },
            "Mounts": [],
            "NetworkSettings": { "Networks": { "front": {
                "Aliases": ["0123456789ab"],
                "IPAddress": "10.0.0.2",
                "MacAddress": "02:42:0a:00:00:02",
                "NetworkID": "f00d",
            } } },
        }),
        image: json!({ "Id": "sha256:1", "Config": image_config }),
    }
}

/// The small container after `change`.
fn changed(change: impl FnOnce(&mut Documents)) -> Documents {
    let mut documents = small();
    change(&mut documents);
    documents
}
