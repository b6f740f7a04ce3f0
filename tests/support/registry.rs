//! A real registry (`docker-registry`) in the network of a private Engine. The Engine and the agent
//! reach it on loopback, so they may use plain HTTP.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::http::Peer;
use crate::support::images::{Layer, Release, digest_of};

/// The port for plain HTTP.
pub const PORT: u16 = 5000;

/// The port for TLS, after a call of `serve_tls`.
pub const TLS_PORT: u16 = 5443;

/// The port that requires a login, after a call of `serve_with_login`.
pub const LOGIN_PORT: u16 = 5001;

/// A registry starts within a tenth of a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Whether the tested Engines keep their images in containerd's store (`make test-engines`).
pub fn is_containerd_store() -> bool {
    std::env::var("TEST_ENGINE_FLAGS").is_ok_and(|flags| flags.contains("containerd-snapshotter"))
}

/// An image in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The reference for `docker run`, such as `127.0.0.1:5000/till:latest`.
    pub reference: String,
    /// The digest that `HEAD` of the tag answers.
    pub digest: String,
    /// The Engine's ID of the image: the digest of its config in the classic image store, of its
    /// manifest in containerd's.
    pub image: String,
    manifest: Vec<u8>,
}

/// The registry, stopped when dropped.
pub struct Registry {
    directory: PathBuf,
    address: SocketAddr,
    plain: Option<Child>,
    tls: Option<Child>,
    guarded: Option<Child>,
}

impl Registry {
    /// Starts it in the Engine's network; its storage is removed with the Engine.
    pub fn start(engine: &Engine) -> Self {
        let directory = engine.directory().join("registry");
        fs::create_dir_all(&directory).expect("the registry's directory");
        let address = engine.address_of(PORT);
        let mut registry = Self { directory, address, plain: None, tls: None, guarded: None };
        registry.start_again(engine);
        registry
    }

    /// Starts it again after `stop`, with its storage.
    pub fn start_again(&mut self, engine: &Engine) {
        self.plain = Some(self.serve(engine, "plain", PORT, json!({})));
        let peer = Peer::Tcp(self.address);
        wait_until("the registry answers", START_TIMEOUT, || {
            peer.get("/v2/").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Stops the server for plain HTTP.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.plain.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Also serves the same images over TLS, with a certificate of a private CA, which is put where
    /// the Engine looks for it. Returns the registry's name, `ADDRESS:PORT`.
    pub fn serve_tls(&mut self, engine: &Engine) -> String {
        let name = engine.address_of(TLS_PORT).to_string();
        let trusted = Path::new("/etc/docker/certs.d").join(&name);
        fs::create_dir_all(&trusted).expect("certs.d");
        engine.remove_on_drop(&trusted);
        let ca = write_certificates(&self.directory, engine);
        fs::write(trusted.join("ca.crt"), ca).expect("ca.crt");
        let tls = json!({
            "certificate": self.directory.join("server.crt"),
            "key": self.directory.join("server.key"),
        });
        self.tls = Some(self.serve(engine, "tls", TLS_PORT, json!({ "http": { "tls": tls } })));
        let address = engine.address_of(TLS_PORT);
        wait_until("the registry listens for TLS", START_TIMEOUT, || {
            std::net::TcpStream::connect(address).is_ok()
        });
        name
    }

    /// One line for each answered request, oldest first: `HEAD /v2/… HTTP/1.1" 200 …`. The requests
    /// over TLS come after all others.
    pub fn requests(&self) -> Vec<String> {
        let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let log = read("plain.log") + &read("tls.log");
        let requests = log.lines().filter_map(|line| line.split_once("] \""));
        requests.map(|(_, request)| request.to_owned()).collect()
    }

    /// Also serves the same images to clients with the login in this line of `htpasswd -B`. Returns
    /// the registry's name.
    pub fn serve_with_login(&mut self, engine: &Engine, htpasswd: &str) -> String {
        let file = self.directory.join("htpasswd");
        fs::write(&file, format!("{htpasswd}\n")).expect("the logins");
        let auth = json!({ "auth": { "htpasswd": { "realm": "pilotfish", "path": file } } });
        self.guarded = Some(self.serve(engine, "guarded", LOGIN_PORT, auth));
        let peer = Peer::Tcp(engine.address_of(LOGIN_PORT));
        wait_until("the registry asks for a login", START_TIMEOUT, || {
            peer.get("/v2/").is_ok_and(|answer| answer.status == 401)
        });
        format!("127.0.0.1:{LOGIN_PORT}")
    }

    /// Starts a server with `more` settings.
    fn serve(&self, engine: &Engine, name: &str, port: u16, more: Value) -> Child {
        let mut settings = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": {
                "filesystem": { "rootdirectory": self.directory.join("storage") },
                "delete": { "enabled": true },
            },
            "http": {},
        });
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        settings["http"]["addr"] = format!("0.0.0.0:{port}").into();
        let file = self.directory.join(format!("{name}.yml"));
        fs::write(&file, settings.to_string()).expect("the registry's settings");
        let log = self.directory.join(format!("{name}.log"));
        let log = File::options().append(true).create(true).open(log).expect("the registry's log");
        let mut command = engine.command("docker-registry");
        command.arg("serve").arg(file).stdout(log.try_clone().expect("log")).stderr(log);
        command.spawn().expect("docker-registry")
    }

    /// Publishes a release under `REPOSITORY:latest`.
    pub fn publish(&self, repository: &str, release: &Release) -> Published {
        self.publish_image(repository, &release.layers(), &release.config())
    }

    /// Publishes an image of these layers under `REPOSITORY:latest`.
    pub fn publish_image(&self, repository: &str, layers: &[&Layer], config: &[u8]) -> Published {
        self.put_blob(repository, config);
        layers.iter().for_each(|layer| self.put_blob(repository, &layer.compressed));
        let layers = layers.iter().map(|layer| descriptor(LAYER, &layer.compressed));
        let layers: Vec<Value> = layers.collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = self.put_manifest(repository, "latest", MANIFEST, &manifest);
        let reference = format!("127.0.0.1:{PORT}/{repository}:latest");
        let image = if is_containerd_store() { digest.clone() } else { digest_of(config) };
        Published { reference, digest, image, manifest }
    }

    /// Publishes an index around an image and moves the tag to it. Another `edition` creates
    /// another index, with another digest, around the same image. Returns the digest of the index.
    pub fn publish_index(&self, repository: &str, image: &Published, edition: &str) -> String {
        let mut child = descriptor(MANIFEST, &image.manifest);
        child["platform"] = json!({ "os": "linux", "architecture": architecture() });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [child],
            "annotations": { "edition": edition },
        });
        self.put_manifest(repository, "latest", INDEX, index.to_string().as_bytes())
    }

    /// Deletes the manifest with this digest, as registries do with old ones.
    pub fn delete_manifest(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let deleted = Peer::Tcp(self.address).request("DELETE", &path, &[], b"");
        deleted.expect("the registry").succeeded("delete a manifest");
    }

    /// Uploads a blob, unless it exists.
    pub fn put_blob(&self, repository: &str, blob: &[u8]) {
        let peer = Peer::Tcp(self.address);
        let digest = digest_of(blob);
        let there = peer.request("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], b"");
        if there.is_ok_and(|answer| answer.status == 200) {
            return;
        }
        let begun = peer.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        let begun = begun.expect("the registry").succeeded("begin an upload");
        let location = begun.header("Location").expect("Location of the upload");
        let path = location.find("/v2/").map_or(location, |start| &location[start..]);
        let kind = ("Content-Type", "application/octet-stream");
        let put = peer.request("PUT", &format!("{path}&digest={digest}"), &[kind], blob);
        put.expect("the registry").succeeded("upload a blob");
    }

    /// Stores a manifest or an index under a tag; returns its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, kind: &str, manifest: &[u8]) -> String {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let peer = Peer::Tcp(self.address);
        let put = peer.request("PUT", &path, &[("Content-Type", kind)], manifest);
        put.expect("the registry").succeeded("put a manifest");
        digest_of(manifest)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        if let Some(mut child) = self.tls.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "size": blob.len(), "digest": digest_of(blob) })
}

/// The architecture of this machine, as in image manifests.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes a server certificate for the Engine's address and its key; returns the CA that signed it.
fn write_certificates(directory: &Path, engine: &Engine) -> String {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("a CA");
    let server_key = KeyPair::generate().expect("a key");
    let address = engine.address_of(TLS_PORT).ip().to_string();
    let server = CertificateParams::new([address]).expect("an address");
    let server = server.signed_by(&server_key, &authority).expect("a certificate");
    fs::write(directory.join("server.crt"), server.pem()).expect("server.crt");
    fs::write(directory.join("server.key"), server_key.serialize_pem()).expect("server.key");
    authority.pem()
}
