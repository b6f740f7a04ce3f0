//! Images that contain only a till (`examples/till.rs`), written without an Engine, like images
//! from a build elsewhere.

use std::env;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::command::run;
use crate::support::registry::architecture;

/// A layer of an image, such as the one with the till that all images of a test share.
#[derive(Debug)]
pub struct Layer {
    /// The digest of the uncompressed archive; it is in the image's config.
    pub diff_id: String,
    /// The compressed archive, as in the registry.
    pub compressed: Vec<u8>,
}

/// A release of the till: the config of its image.
#[derive(Debug, Clone)]
pub struct Release {
    environment: Vec<String>,
    entrypoint: String,
    healthcheck: Option<Value>,
    labels: Vec<(String, String)>,
    own: Vec<Arc<Layer>>,
}

impl Release {
    /// A good release without HEALTHCHECK, whose `GET /` answers `till VERSION`.
    pub fn new(version: &str) -> Self {
        let environment = vec![format!("TILL_VERSION={version}")];
        let entrypoint = "/till".to_owned();
        Self { environment, entrypoint, healthcheck: None, labels: Vec::new(), own: Vec::new() }
    }

    /// Sets one of the till's variables in the image.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push(format!("{variable}={value}"));
        self
    }

    /// Gives the image a LABEL.
    #[must_use]
    pub fn with_label(mut self, label: &str, value: &str) -> Self {
        self.labels.push((label.to_owned(), value.to_owned()));
        self
    }

    /// Starts another program than the till.
    #[must_use]
    pub fn with_entrypoint(mut self, entrypoint: &str) -> Self {
        entrypoint.clone_into(&mut self.entrypoint);
        self
    }

    /// Gives the image a HEALTHCHECK that asks the till itself.
    #[must_use]
    pub fn with_healthcheck(mut self, interval: Duration, retries: u32) -> Self {
        self.healthcheck = Some(json!({
            "Test": ["CMD", "/till", "healthcheck"],
            "Interval": interval.as_nanos() as u64,
            "Timeout": Duration::from_secs(2).as_nanos() as u64,
            "Retries": retries,
        }));
        self
    }

    /// Sets the start period of the HEALTHCHECK.
    #[must_use]
    pub fn with_start_period(mut self, period: Duration) -> Self {
        let healthcheck = self.healthcheck.as_mut().expect("a HEALTHCHECK");
        healthcheck["StartPeriod"] = json!(period.as_nanos() as u64);
        self
    }

    /// Gives the image a unique additional layer: so many incompressible bytes, in a file
    /// `/ballast`.
    #[must_use]
    pub fn with_ballast(self, bytes: usize) -> Self {
        self.with_file("ballast", &noise(bytes))
    }

    /// Starts a till that no other image has, `/own-till`. It is the till with random bytes at the
    /// end, which do not affect it.
    #[must_use]
    pub fn with_own_till(self) -> Self {
        let program = [fs::read(static_till()).expect("the till"), noise(16)].concat();
        self.with_file("own-till", &program).with_entrypoint("/own-till")
    }

    /// Gives the image an additional layer with one file.
    #[must_use]
    pub fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for a layer");
        let path = directory.path().join(name);
        fs::write(&path, content).expect("a file for a layer");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its mode");
        self.own.push(Arc::new(layer_of(directory.path(), name)));
        self
    }

    /// The layers of the image, the lowest first.
    pub fn layers(&self) -> Vec<&Layer> {
        std::iter::once(layer()).chain(self.own.iter().map(Arc::as_ref)).collect()
    }

    /// The config of the image, as in the registry.
    pub fn config(&self) -> Vec<u8> {
        let mut config = json!({
            "Env": self.environment,
            "Entrypoint": [self.entrypoint],
            "ExposedPorts": { "8080/tcp": {} },
        });
        if let Some(healthcheck) = &self.healthcheck {
            config["Healthcheck"] = healthcheck.clone();
        }
        for (label, value) in &self.labels {
            config["Labels"][label] = value.clone().into();
        }
        let diff_ids: Vec<&str> = self.layers().iter().map(|it| it.diff_id.as_str()).collect();
        let image = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        image.to_string().into_bytes()
    }
}

/// Incompressible bytes.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    let mut random = File::open("/dev/urandom").expect("/dev/urandom");
    random.read_exact(&mut noise).expect("noise");
    noise
}

/// `sha256:…` of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

/// The layer with the till, created once.
pub fn layer() -> &'static Layer {
    static LAYER: LazyLock<Layer> = LazyLock::new(|| {
        let till = static_till();
        layer_of(till.parent().expect("a directory"), "till")
    });
    &LAYER
}

/// The layer with the agent itself, created once: the tested program without debug information, and
/// its libraries.
pub fn agent_layer() -> &'static Layer {
    static LAYER: LazyLock<Layer> = LazyLock::new(|| {
        let root = tempfile::tempdir().expect("a directory");
        let program = env!("CARGO_BIN_EXE_pilotfish");
        run(Command::new("strip").arg("-o").arg(root.path().join("pilotfish")).arg(program));
        let libraries = run(Command::new("ldd").arg(program));
        let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for library in paths.map(Path::new) {
            let inside = root.path().join(library.strip_prefix("/").expect("a whole path"));
            fs::create_dir_all(inside.parent().expect("a directory")).expect("a directory");
            fs::copy(library, inside).expect("to copy a library");
        }
        layer_of(root.path(), ".")
    });
    &LAYER
}

/// A layer with one file of a directory; `.`: with all files.
fn layer_of(directory: &Path, file: &str) -> Layer {
    let archive = Command::new("tar").arg("-cC").arg(directory).arg(file).output();
    let archive = archive.expect("tar").stdout;
    Layer { diff_id: digest_of(&archive), compressed: compress(&archive) }
}

fn compress(archive: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let gzip = gzip.args(["-1", "-n"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = gzip.spawn().expect("gzip");
    let mut input = child.stdin.take().expect("the input of gzip");
    let archive = archive.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&archive));
    let output = child.wait_with_output().expect("gzip");
    writer.join().expect("the writer").expect("to write to gzip");
    output.stdout
}

/// Builds the till as a static program, once for each test binary, and copies it to its plain name.
/// Only the link step differs from the ordinary build of the example, so this takes two seconds.
pub fn static_till() -> PathBuf {
    static TILL: LazyLock<PathBuf> = LazyLock::new(|| {
        let report = run(cargo()
            .args(["rustc", "--quiet", "--example", "till", "--message-format=json", "--"])
            .args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"]));
        let built =
            report.lines().filter_map(executable).next_back().expect("cargo built the till");
        let aside = built.with_file_name("till-static");
        fs::create_dir_all(&aside).expect("a directory below target");
        // Another test binary may be reading the old file, so the new one is renamed over it.
        let fresh = aside.join(format!("till.{}", std::process::id()));
        fs::copy(&built, &fresh).expect("to copy the till");
        fs::rename(&fresh, aside.join("till")).expect("to rename the till");
        aside.join("till")
    });
    TILL.clone()
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}

/// Cargo without the variables that the outer cargo set for this test; they would make build
/// scripts of dependencies run again.
fn cargo() -> Command {
    /// The variables that a person or CI sets.
    const KEPT: [&str; 3] = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && !KEPT.contains(&&*text) {
            cargo.env_remove(&name);
        }
    }
    cargo
}
