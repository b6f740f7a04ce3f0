//! Images: their content, and how their programs behave.

use std::collections::BTreeMap;
use std::time::Duration;

use pilotfish::core::docker::reference::Digest;
use serde_json::{Value, json};

/// How a program behaves after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until it is stopped.
    Good,
    /// Ends at once.
    Exits(i64),
    /// Does its work for a while, and ends with code 0: a job.
    Ends(Duration),
    /// Ends after a while, with code 1.
    Dies(Duration),
    /// Cannot even be started.
    CannotStart,
    /// Has a HEALTHCHECK that succeeds after a while.
    Healthy(Duration),
    /// Has a HEALTHCHECK that gives up after a while.
    Unhealthy(Duration),
    /// Has a HEALTHCHECK that succeeds after a second and gives up after a while.
    Sickens(Duration),
    /// Has a HEALTHCHECK that never comes to a result.
    NeverHealthy,
}

impl Behaviour {
    /// Whether it passes the health check with the default times.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::Healthy(_) | Self::Ends(_))
    }

    const fn has_healthcheck(self) -> bool {
        matches!(
            self,
            Self::Healthy(_) | Self::Unhealthy(_) | Self::Sickens(_) | Self::NeverHealthy
        )
    }

    /// `good`, `exits 1`, `dies 3s`, `cannot start`, `healthy 5s`, `unhealthy 5s`, `sickens 9s`,
    /// `never healthy`.
    pub fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let time = || humantime::parse_duration(rest).expect("a time behind the behaviour");
        match (word, rest) {
            ("good", _) => Self::Good,
            ("exits", code) => Self::Exits(code.parse().expect("an exit code")),
            ("dies", _) => Self::Dies(time()),
            ("cannot", "start") => Self::CannotStart,
            ("healthy", _) => Self::Healthy(time()),
            ("unhealthy", _) => Self::Unhealthy(time()),
            ("sickens", _) => Self::Sickens(time()),
            ("never", "healthy") => Self::NeverHealthy,
            _ => panic!("`{text}` is no behaviour"),
        }
    }
}

/// One image, as it was built.
#[derive(Debug)]
pub struct Image {
    /// The name in scripts and transcripts, such as `v2`.
    pub name: String,
    pub config: Digest,
    pub manifest: Digest,
    behaviour: Behaviour,
    /// Services on which the image behaves differently.
    except: BTreeMap<String, Behaviour>,
    /// The path of the volume that it declares.
    pub volume: Option<String>,
    /// `Config` of the image document.
    pub document: Value,
}

impl Image {
    pub fn new(name: &str, behaviour: Behaviour) -> Self {
        Self {
            name: name.to_owned(),
            config: Digest::of(configuration(name).as_bytes()),
            manifest: Digest::of(format!("manifest {name}").as_bytes()),
            behaviour,
            except: BTreeMap::new(),
            volume: None,
            document: document(name, behaviour),
        }
    }

    pub fn with_volume(mut self, path: &str) -> Self {
        self.volume = Some(path.to_owned());
        self.document["Volumes"] = json!({ path: {} });
        self
    }

    /// Gives the image a HEALTHCHECK that tells nothing of its behaviour.
    pub fn with_healthcheck(mut self) -> Self {
        self.document["Healthcheck"] = healthcheck();
        self
    }

    /// Sets the signal that stops its containers.
    pub fn stopped_by(mut self, signal: &str) -> Self {
        self.document["StopSignal"] = signal.into();
        self
    }

    pub fn except(mut self, service: &str, behaviour: Behaviour) -> Self {
        self.except.insert(service.to_owned(), behaviour);
        self
    }

    pub fn behaviour(&self, service: &str) -> Behaviour {
        self.except.get(service).copied().unwrap_or(self.behaviour)
    }

    /// The digest of its only layer, unpacked.
    pub fn layer(&self) -> Digest {
        layer(&self.name)
    }

    /// As `docker save` writes it.
    pub fn archive(&self) -> Vec<u8> {
        let config = format!("{}.json", self.config.hex());
        let list = json!([{ "Config": config, "RepoTags": ["till:v1"], "Layers": ["layer.tar"] }]);
        let mut archive = Vec::new();
        add_file(&mut archive, "layer.tar", format!("layer of {}", self.name).as_bytes());
        add_file(&mut archive, &config, configuration(&self.name).as_bytes());
        add_file(&mut archive, "manifest.json", list.to_string().as_bytes());
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    /// The digest of an index that holds this image. Each edition is the same image, published once
    /// more.
    pub fn index(&self, edition: u32) -> Digest {
        Digest::of(format!("index {edition} of {}", self.name).as_bytes())
    }
}

fn layer(name: &str) -> Digest {
    Digest::of(format!("layer of {name}").as_bytes())
}

/// The configuration in the archive of an image.
fn configuration(name: &str) -> String {
    let rootfs = json!({ "type": "layers", "diff_ids": [layer(name)] });
    json!({ "os": "linux", "architecture": "arm64", "model": name, "rootfs": rootfs }).to_string()
}

/// The name of the image in an archive.
pub fn archived_name(archive: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(archive);
    let (_, rest) = text.split_once("\"model\":\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// Adds a file to a tar archive.
fn add_file(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

fn document(name: &str, behaviour: Behaviour) -> Value {
    let mut config = json!({
        "Env": ["PATH=/bin", format!("VERSION={name}")],
        "Cmd": ["/app", name],
        "Labels": { "org.opencontainers.image.version": name },
    });
    if behaviour.has_healthcheck() {
        config["Healthcheck"] = healthcheck();
    }
    config
}

fn healthcheck() -> Value {
    let second = 1_000_000_000_u64;
    json!({ "Test": ["CMD", "/check"], "Interval": second, "Timeout": second, "Retries": 3 })
}
