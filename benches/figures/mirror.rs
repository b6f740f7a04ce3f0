//! Copies between two registries over TLS, beside crane and regctl if they are there (`make bench`
//! installs them where Go is). Needs neither root nor an Engine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::certificates::{Authority, Flaw};
use crate::images::descriptor_of;
use crate::real::{Real, Setup};
use crate::registry::{Cost, run};
use crate::table::{Table, milliseconds};

/// Layers of the large image, and bytes of each.
const LAYERS: usize = 8;
const LAYER_BYTES: usize = 25_000_000;

/// Small images: repositories, and tags of each.
const REPOSITORIES: usize = 4;
const TAGS: usize = 25;

/// The one layer of the largest image.
const HUGE_BYTES: usize = 2_000_000_000;

/// After how many bytes of the source its connection breaks.
const CUT_BYTES: u64 = 9_000_000;

/// Where `make bench` installs the others.
const PEERS: &str = "target/peers/bin";

/// The source, and what every program needs to reach it.
struct Source {
    directory: PathBuf,
    real: Real,
    ca: PathBuf,
    authority: Authority,
    /// Repository and tag of each image.
    images: Vec<(String, String)>,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let place = tempfile::tempdir().expect("a directory");
    let source = Source::fill(place.path());
    let copied = source.pilotfish(binary, "pilotfish", &source.images, table);
    for (peer, words) in [("crane", "copy"), ("regctl", "image copy")] {
        let program = Path::new(PEERS).join(peer);
        if !program.exists() {
            eprintln!("  {} is not there", program.display());
            continue;
        }
        let (cost, again) = source.peer(&program, words, peer, table);
        let share = |one: Duration, other: Duration| {
            format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
        };
        table.add(&format!("time, as a share of {peer}'s"), share(copied.0, cost), "≤ 1");
        table.add(&format!("time again, as a share of {peer}'s"), share(copied.1, again), "≤ 1");
    }
    source.with_cuts(binary, table);
    let huge = [("huge/image".to_owned(), "v1".to_owned())];
    source.pilotfish(binary, "one layer of 2 GB, pilotfish", &huge, table);
}

impl Source {
    fn fill(place: &Path) -> Self {
        let directory = place.to_owned();
        let storage = place.join("source");
        let runtime = Runtime::new().expect("a runtime");
        let mut images = vec![("large/image".to_owned(), "v1".to_owned())];
        {
            let plain = Real::plain(&storage);
            let layers: Vec<_> = (0..LAYERS).map(|seed| noise(seed as u64, LAYER_BYTES)).collect();
            runtime.block_on(push(&plain, "large/image", "v1", &layers));
            let shared = noise(100, 20_000);
            for repository in 0..REPOSITORIES {
                let name = format!("small/image{repository}");
                for tag in 0..TAGS {
                    let layer = noise(1000 + (repository * TAGS + tag) as u64, 20_000);
                    let (layers, tag) = ([shared.clone(), layer], format!("v{tag}"));
                    runtime.block_on(push(&plain, &name, &tag, &layers));
                    images.push((name.clone(), tag));
                }
            }
            runtime.block_on(push(&plain, "huge/image", "v1", &[noise(7, HUGE_BYTES)]));
        }
        let authority = Authority::new("mirror");
        let ca = place.join("ca.crt");
        authority.write(&ca);
        let real = tls(place, &storage, &authority);
        Self { directory, real, ca, authority, images }
    }

    fn target(&self, name: &str) -> Real {
        let storage = self.directory.join(name.replace(' ', "-"));
        tls(&self.directory, &storage, &self.authority)
    }

    /// A first run and a second one. Returns their times.
    fn pilotfish(
        &self,
        binary: &Path,
        name: &str,
        images: &[(String, String)],
        table: &mut Table,
    ) -> (Duration, Duration) {
        let target = self.target(name);
        let (from, to) = (&self.real.registry, &target.registry);
        let state = self.directory.join(format!("state {name}"));
        let mut text = format!("state_dir = {state:?}\n");
        for registry in [from, to] {
            text.push_str(&format!("registries.\"{registry}\".ca_file = {:?}\n", self.ca));
        }
        let mut repositories: Vec<_> = images.iter().map(|(name, _)| name).collect();
        repositories.dedup();
        for name in repositories {
            let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
            text.push_str(&format!("[[mirror]]\nfrom = {from:?}\nto = {to:?}\ntags = \"^v\"\n"));
        }
        let config = self.directory.join("pilotfish.toml");
        fs::write(&config, text).expect("a configuration");
        let again = || {
            let mut command = Command::new(binary);
            command.arg("--config").arg(&config).args(["mirror", "--once"]);
            command
        };
        let (first, second) = (self.cost(again(), name, "", table), {
            let before = (self.real.settled(), target.settled());
            let cost = self.cost(again(), name, ", again", table);
            let asked = (self.real.settled() - before.0, target.settled() - before.1);
            let words = format!("{} at the source, {} at the target", asked.0, asked.1);
            table.add(&format!("{name}, again: requests"), words, "1 HEAD of each tag");
            cost
        });
        (first, second)
    }

    /// The large image, from a source whose connections break.
    fn with_cuts(&self, binary: &Path, table: &mut Table) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (target, whole) = (self.target("cuts"), (LAYERS * LAYER_BYTES) as f64);
        let near = self.real.registry.parse().expect("an address");
        let (address, passed) = runtime.block_on(cutting(near));
        let config = self.directory.join("pilotfish.toml");
        let to = &target.registry;
        let mut text = format!("state_dir = {:?}\n", self.directory.join("state cuts"));
        for registry in [&address, to] {
            text.push_str(&format!("registries.\"{registry}\".ca_file = {:?}\n", self.ca));
        }
        let rule = format!("from = \"{address}/large/image\"\nto = \"{to}/large/image\"\n");
        text.push_str(&format!("[[mirror]]\n{rule}tags = [\"v1\"]\n"));
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config).args(["mirror", "--once"]);
        self.cost(command, "the source broke six times", "", table);
        let read = format!("{:.1} %", 100.0 * passed.load(Ordering::Relaxed) as f64 / whole);
        table.add("the source broke six times: bytes read at the source", read, "≤ 115 %");
    }

    fn cost(&self, command: Command, name: &str, again: &str, table: &mut Table) -> Duration {
        let Cost { wall, memory, .. } = run(command, &self.directory.join("out"));
        let out = fs::read_to_string(self.directory.join("out")).unwrap_or_default();
        eprintln!("    {}", out.lines().last().unwrap_or("it printed nothing"));
        table.add(&format!("{name}{again}: time"), milliseconds(wall), "");
        table.add(&format!("{name}{again}: peak memory"), memory, "≤ 10 MB");
        wall
    }

    /// One process for each image, twice.
    fn peer(
        &self,
        program: &Path,
        words: &str,
        name: &str,
        table: &mut Table,
    ) -> (Duration, Duration) {
        let target = self.target(name);
        let program = program.canonicalize().expect("the program");
        let mut times = [Duration::ZERO; 2];
        for (number, again) in ["", ", again"].into_iter().enumerate() {
            let before = self.real.settled();
            let mut largest = String::new();
            for (image, tag) in &self.images {
                let mut command = Command::new(&program);
                command.env("SSL_CERT_FILE", &self.ca).args(words.split_whitespace());
                command.arg(format!("{}/{image}:{tag}", self.real.registry));
                command.arg(format!("{}/{image}:{tag}", target.registry));
                let Cost { wall, memory, .. } = run(command, &self.directory.join("out"));
                times[number] += wall;
                if image.starts_with("large") {
                    largest = memory;
                }
            }
            let asked = self.real.settled() - before;
            table.add(&format!("{name}{again}: time"), milliseconds(times[number]), "");
            table.add(&format!("{name}{again}: peak memory, the large image"), largest, "");
            table.add(&format!("{name}{again}: requests at the source"), asked.to_string(), "");
        }
        (times[0], times[1])
    }
}

fn tls(place: &Path, storage: &Path, authority: &Authority) -> Real {
    let files = authority.issue(place, "registry", Flaw::None);
    Real::start(storage, &Setup { tls: Some(&files), ..Setup::default() })
}

/// Bytes that cannot be compressed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn push(real: &Real, repository: &str, tag: &str, layers: &[Vec<u8>]) {
    let config = format!(r#"{{"os":"linux","architecture":"arm64","name":"{repository}:{tag}"}}"#);
    real.push_blob(repository, config.as_bytes()).await;
    let mut descriptors = Vec::new();
    for layer in layers {
        real.push_blob(repository, layer).await;
        let kind = "application/vnd.oci.image.layer.v1.tar";
        descriptors.push(descriptor_of(kind, &Digest::of(layer), layer.len()));
    }
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = descriptor_of(kind, &Digest::of(config.as_bytes()), config.len());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
        descriptors.join(",")
    );
    real.push_manifest(repository, tag, OCI_MANIFEST, manifest.as_bytes()).await;
}

/// Passes bytes on to a registry. Six times, after each [`CUT_BYTES`] bytes of the registry, the
/// connection breaks. The count is that of the registry's bytes.
async fn cutting(near: SocketAddr) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let passed = Arc::<AtomicU64>::default();
    let count = passed.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(near).await else { return };
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    () = pass_and_cut(&mut from_server, &mut to_client, &count) => {}
                }
            });
        }
    });
    (address, passed)
}

async fn pass_and_cut(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    count: &AtomicU64,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let before = count.fetch_add(length as u64, Ordering::Relaxed);
        let is_cut = before / CUT_BYTES != (before + length as u64) / CUT_BYTES;
        if is_cut && before < 6 * CUT_BYTES || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
