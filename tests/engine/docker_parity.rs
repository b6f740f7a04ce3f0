//! `docker pull` and `pilotfish check --fresh` side by side, with the same logins, certificates and
//! registries. If Docker accepts a row, Pilotfish accepts it too, or says plainly why not. One
//! Engine serves all rows; each row says what both did.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::support::command::{output, wait_until};
use crate::support::engine::Engine;
use crate::support::http::Peer;
use crate::support::images::{Release, digest_of};
use crate::support::registry::architecture;
use crate::support::{Pi, WATCHED};

/// A registry starts within a tenth of a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The time limit for `docker pull`, which waits without a limit for a credential helper that
/// hangs.
const PULL_TIMEOUT: &str = "5";

/// The ports of the registries with TLS, named by their certificates.
const AUTHORITY: u16 = 6001;
const SELF_SIGNED_AUTHORITY: u16 = 6002;
const SELF_SIGNED: u16 = 6003;
const COMMON_NAME: u16 = 6004;
const UNTRUSTED: u16 = 6005;
const INSECURE: u16 = 6006;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One row of the matrix.
struct Row {
    name: &'static str,
    image: String,
    /// The content of `config.json`; `None`: there is no such file.
    config: Option<String>,
    /// If Pilotfish does not accept it: the reason, and a part of the message.
    refused: Option<(&'static str, &'static str)>,
}

impl Row {
    fn accepted(name: &'static str, image: String) -> Self {
        Self { name, image, config: None, refused: None }
    }

    fn refused(name: &'static str, image: String, reason: &'static str, why: &'static str) -> Self {
        Self { refused: Some((reason, why)), ..Self::accepted(name, image) }
    }

    fn with_config(name: &'static str, image: &str, config: &str) -> Self {
        Self { config: Some(config.to_owned()), ..Self::accepted(name, image.to_owned()) }
    }
}

/// The part of a request that a script reads.
struct Request {
    method: String,
    path: String,
    host: String,
    authorization: String,
}

/// The result of a script: an answer, or a path in the real registry.
enum Reply {
    Answer(u16, String, &'static str),
    Real(String),
}

/// Listens in front of the registry of `engine`, on an address that the Engine reaches.
fn serve_in_front_of(
    listener: TcpListener,
    real: SocketAddr,
    script: fn(&Request, u16) -> Reply,
    other: u16,
) {
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || drop(serve(&client, real, script, other)));
        }
    });
}

fn serve(
    mut client: &TcpStream,
    real: SocketAddr,
    script: fn(&Request, u16) -> Reply,
    other: u16,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let (method, path) = (word(), word());
    let mut request = Request { method, path, host: String::new(), authorization: String::new() };
    let mut accept = Vec::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = value.to_owned(),
            "authorization" => request.authorization = value.to_owned(),
            "accept" => accept.push(value.to_owned()),
            _ => {}
        }
    }
    let (status, head, body) = match script(&request, other) {
        Reply::Answer(status, head, body) => (status, head, body.as_bytes().to_vec()),
        Reply::Real(path) => {
            let accept = accept.join(", ");
            let headers = [("Accept", accept.as_str())];
            let answer = Peer::Tcp(real).request(&request.method, &path, &headers, b"")?;
            let kept = |name: &str| {
                ["content-type", "docker-content-digest"].contains(&name.to_lowercase().as_str())
            };
            let kept = answer.headers.iter().filter(|(name, _)| kept(name));
            let head: String = kept.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            (answer.status, head, answer.body)
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    if request.method != "HEAD" { client.write_all(&body) } else { Ok(()) }
}

/// A client without credentials gets a token, as on Docker Hub; wrong credentials are refused.
fn anonymous_token(request: &Request, _: u16) -> Reply {
    if request.path.starts_with("/token") {
        return match request.authorization.as_str() {
            "" => Reply::Answer(200, String::new(), r#"{"token":"anonymous"}"#),
            _ => Reply::Answer(401, String::new(), ""),
        };
    }
    if request.authorization == "Bearer anonymous" {
        return Reply::Real(request.path.clone());
    }
    let realm = format!("http://{}/token", request.host);
    Reply::Answer(401, format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"), "")
}

/// Redirects every request to the other registry.
fn redirecting(request: &Request, other: u16) -> Reply {
    let host = request.host.split(':').next().unwrap_or_default();
    Reply::Answer(307, format!("Location: http://{host}:{other}{}\r\n", request.path), "")
}

/// Answers a `HEAD` with the status in the repository's name, and a `GET` normally.
fn headless(request: &Request, _: u16) -> Reply {
    let repository = request.path.strip_prefix("/v2/h").and_then(|rest| rest.split_once('/'));
    let Some((status, rest)) = repository else { return Reply::Answer(200, String::new(), "{}") };
    match status.parse() {
        Ok(status) if request.method == "HEAD" && rest.contains("/manifests/latest") => {
            Reply::Answer(status, String::new(), "")
        }
        _ => Reply::Real(format!("/v2/{rest}")),
    }
}

/// Registries with TLS over the same images; they end with the test.
struct TlsRegistries(Vec<Child>);

impl Drop for TlsRegistries {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Serves TLS with this certificate at that port. The Engine trusts `trusted` there.
fn serve_tls(
    engine: &Engine,
    port: u16,
    (certificate, key): (String, &KeyPair),
    trusted: Option<&str>,
) -> Child {
    let directory = engine.directory().join(format!("tls-{port}"));
    fs::create_dir_all(&directory).expect("a directory");
    let [crt, secret] = ["server.crt", "server.key"].map(|name| directory.join(name));
    fs::write(&crt, certificate).expect("a certificate");
    fs::write(&secret, key.serialize_pem()).expect("a key");
    if let Some(trusted) = trusted {
        let certs = Path::new("/etc/docker/certs.d").join(engine.address_of(port).to_string());
        fs::create_dir_all(&certs).expect("certs.d");
        engine.remove_on_drop(&certs);
        fs::write(certs.join("ca.crt"), trusted).expect("ca.crt");
    }
    let settings = json!({
        "version": "0.1",
        "log": { "level": "error" },
        "storage": { "filesystem": { "rootdirectory": engine.directory().join("registry/storage") } },
        "http": { "addr": format!("0.0.0.0:{port}"), "tls": { "certificate": crt, "key": secret } },
    });
    let file = directory.join("registry.yml");
    fs::write(&file, settings.to_string()).expect("settings");
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut command = engine.command("docker-registry");
    command.arg("serve").arg(file).stdout(log.try_clone().expect("a log")).stderr(log);
    let child = command.spawn().expect("docker-registry");
    let address = engine.address_of(port);
    wait_until("the registry listens", START_TIMEOUT, || TcpStream::connect(address).is_ok());
    child
}

/// All TLS registries, each with the certificate of its port.
fn start_tls_registries(engine: &Engine) -> TlsRegistries {
    let address = engine.address_of(0).ip().to_string();
    let key = KeyPair::generate().expect("a key");
    let with = |names: &[&str], is_authority: bool| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, address.as_str());
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    let itself = |names: &[&str], is_authority: bool| {
        with(names, is_authority).self_signed(&key).expect("a certificate").pem()
    };
    let here = [address.as_str()];
    let authority_key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(with(&[], true), authority_key).expect("a CA");
    let issued = with(&here, false).signed_by(&key, &authority).expect("a certificate").pem();
    let own = [itself(&here, true), itself(&here, false), itself(&[], false)];
    let start = |port, certificate: &str, trusted: Option<&str>| {
        serve_tls(engine, port, (certificate.to_owned(), &key), trusted)
    };
    TlsRegistries(vec![
        start(AUTHORITY, &issued, Some(&authority.pem())),
        start(SELF_SIGNED_AUTHORITY, &own[0], Some(&own[0])),
        start(SELF_SIGNED, &own[1], Some(&own[1])),
        start(COMMON_NAME, &own[2], Some(&own[2])),
        start(UNTRUSTED, &issued, None),
        start(INSECURE, &issued, None),
    ])
}

/// An image with one empty layer, packed with zstd: a frame with one uncompressed block.
fn publish_zstd(pi: &Pi, repository: &str) {
    let archive = [0; 1024];
    let mut layer = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    layer.extend((archive.len() as u32).to_le_bytes());
    layer.extend(&(1 | (archive.len() as u32) << 3).to_le_bytes()[..3]);
    layer.extend(archive);
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest_of(&archive)] },
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, blob: &[u8]| json!({ "mediaType": kind, "size": blob.len(), "digest": digest_of(blob) });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+zstd", &layer)],
    });
    pi.registry.put_blob(repository, &config);
    pi.registry.put_blob(repository, &layer);
    let manifest = manifest.to_string().into_bytes();
    pi.registry.put_manifest(repository, "latest", MANIFEST, &manifest);
}

/// Moves a tag to an index whose one entry names no platform.
fn publish_bare_index(pi: &Pi, repository: &str) {
    let two = pi.registry.publish(repository, &Release::new("2"));
    let path = format!("/v2/{repository}/manifests/{}", two.digest);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let peer = Peer::Tcp(pi.engine.address_of(5000));
    let manifest = peer.request("GET", &path, &[("Accept", kind)], b"").expect("the registry");
    let entry = json!({ "mediaType": kind, "size": manifest.body.len(), "digest": two.digest });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    let index = index.to_string().into_bytes();
    pi.registry.put_manifest(repository, "latest", INDEX, &index);
}

/// Broken credential helpers, in a directory for the PATH.
fn write_helpers(directory: &Path) {
    for (name, script) in [
        ("garbage", "echo 'no JSON'"),
        ("fails", "echo 'something went wrong'; exit 1"),
        ("hangs", "exec sleep 600"),
    ] {
        let helper = directory.join(format!("docker-credential-{name}"));
        fs::write(&helper, format!("#!/bin/sh\n{script}\n")).expect("a helper");
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
}

/// One machine with the fixtures of all rows.
struct Fixture {
    pi: Pi,
    directory: PathBuf,
    _tls_registries: TlsRegistries,
    open: String,
    redirecting: String,
    headless: String,
}

impl Fixture {
    fn build() -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind("0.0.0.0:0").expect("a port"));
        let ports = [0, 1, 2].map(|at: usize| listeners[at].local_addr().expect("a port").port());
        let pi = Pi::new();
        let gateway = pi.engine.gateway();
        let [open_at, redirecting_at, headless_at] =
            ports.map(|port| SocketAddr::new(gateway, port).to_string());
        let insecure = pi.engine.address_of(INSECURE).to_string();
        let flag = |host: &String| format!("--insecure-registry={host}");
        let flags = [&open_at, &redirecting_at, &headless_at, &insecure].map(flag);
        pi.engine.stop();
        pi.engine.start_again(&flags.each_ref().map(String::as_str));
        let real = pi.engine.address_of(5000);
        let scripts: [fn(&Request, u16) -> Reply; 3] = [anonymous_token, redirecting, headless];
        for (listener, script) in listeners.into_iter().zip(scripts) {
            serve_in_front_of(listener, real, script, ports[0]);
        }
        let tls_registries = start_tls_registries(&pi.engine);
        let directory = pi.engine.directory().join("logins");
        fs::create_dir_all(&directory).expect("a directory");
        write_helpers(&directory);
        let [open, redirecting, headless] = [open_at, redirecting_at, headless_at];
        Self { pi, directory, _tls_registries: tls_registries, open, redirecting, headless }
    }

    /// The rows, in the order of the table.
    fn rows(&self) -> Vec<Row> {
        let open = format!("{}/till:latest", self.open);
        let tls = |port| format!("{}/till:latest", self.pi.engine.address_of(port));
        let head = |status: u16| format!("{}/h{status}/till:latest", self.headless);
        let here = |repository: &str| format!("127.0.0.1:5000/{repository}:latest");
        let certificate = "registry_certificate";
        let login = Row::with_config;
        vec![
            Row::accepted("no configuration", open.clone()),
            login("helper missing", &open, r#"{"credsStore":"is-not-there"}"#),
            login("helper prints garbage", &open, r#"{"credsStore":"garbage"}"#),
            login("helper fails", &open, r#"{"credsStore":"fails"}"#),
            login("helper hangs", &open, r#"{"credsStore":"hangs"}"#),
            login("empty file", &open, ""),
            login("nulls", &open, r#"{"auths":null,"credsStore":null,"credHelpers":null}"#),
            login("broken JSON", &open, r#"{"auths":"#),
            login("wrong types", &open, r#"{"auths":[1],"credsStore":7}"#),
            login("file a directory", &open, "DIRECTORY"),
            Row::accepted("plain http on loopback", here("till")),
            Row::accepted("certificate of an authority", tls(AUTHORITY)),
            Row::accepted("self-signed, CA:TRUE", tls(SELF_SIGNED_AUTHORITY)),
            Row::accepted("self-signed, CA:FALSE", tls(SELF_SIGNED)),
            Row::refused("common name only", tls(COMMON_NAME), certificate, "subjectAltName"),
            Row::refused("unknown authority", tls(UNTRUSTED), certificate, "unknown authority"),
            Row::accepted("insecure with TLS", tls(INSECURE)),
            Row::accepted(
                "redirect to another registry",
                format!("{}/till:latest", self.redirecting),
            ),
            Row::accepted("HEAD answered 400", head(400)),
            Row::accepted("HEAD answered 403", head(403)),
            Row::accepted("HEAD answered 404", head(404)),
            Row::accepted("HEAD answered 405", head(405)),
            Row::accepted("index without platforms", here("bare")),
            Row::refused("zstd layer", here("zstd"), "layer_unsupported", "zstd"),
        ]
    }

    /// Writes the `config.json` of a row into its own directory.
    fn write_config(&self, number: usize, row: &Row) -> PathBuf {
        let directory = self.directory.join(format!("{number}"));
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("config.json");
        match row.config.as_deref() {
            None => {}
            Some("DIRECTORY") => fs::create_dir(&file).expect("a directory"),
            Some(text) => fs::write(&file, text).expect("a file"),
        }
        directory
    }

    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.directory.display())
    }

    /// Whether `docker pull` succeeds, and the end of its output.
    fn pull(&self, row: &Row, config: &Path) -> (bool, String) {
        let mut command = Command::new("timeout");
        command.arg(PULL_TIMEOUT).args(["docker", "--config"]).arg(config);
        command.args(["pull", "--quiet", &row.image]).env("PATH", self.path());
        let output = output(command.env("DOCKER_HOST", self.pi.engine.host()));
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        (output.status.success(), message)
    }

    /// The reports of the agent for some containers, with this Docker configuration.
    fn check(&self, names: &[String], config: &Path) -> Vec<Value> {
        let mut command = self.pi.engine.command(&self.pi.agent.binary);
        command.arg("--config").arg(self.pi.engine.directory().join("agent/pilotfish.toml"));
        command.args(["check", "--fresh", "--json"]).args(names);
        let output = output(command.env("DOCKER_CONFIG", config).env("PATH", self.path()));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
        });
        document["containers"].as_array().expect("rows").clone()
    }
}

/// What `docker pull` did with a row.
struct Pulled {
    config: PathBuf,
    is_accepted: bool,
    message: String,
}

/// Pulls a row, and runs a container on the result, or on another image if the pull failed.
fn pull_and_run(fixture: &Fixture, number: usize, row: &Row, base: &str) -> Pulled {
    let pi = &fixture.pi;
    let config = fixture.write_config(number, row);
    // The tag moves later, so it is pulled and run in its first state.
    let moves: Option<fn(&Pi, &str)> = match row.name {
        "index without platforms" => Some(publish_bare_index),
        "zstd layer" => Some(publish_zstd),
        _ => None,
    };
    let (mut is_accepted, mut message) = fixture.pull(row, &config);
    if !is_accepted {
        pi.engine.docker(&["tag", base, &row.image]);
    }
    let name = format!("row{number}");
    let mut words = vec!["run", "--detach", "--network=none", "--name", &name];
    words.extend(WATCHED);
    words.push(&row.image);
    pi.engine.docker(&words);
    if let Some(publish) = moves {
        publish(pi, row.image.split(['/', ':']).nth(2).expect("a repository"));
        (is_accepted, message) = fixture.pull(row, &config);
    }
    Pulled { config, is_accepted, message }
}

/// What both did with a row; an error if that is not as expected.
fn compare(row: &Row, pulled: &Pulled, seen: &Value) -> Result<String, String> {
    let [verdict, reason, detail] =
        ["verdict", "reason", "detail"].map(|key| seen[key].as_str().unwrap_or_default());
    let is_accepted = verdict != "error";
    let message = pulled.message.lines().last().unwrap_or_default();
    let line = format!(
        "{}\n    docker pull: {} {message}\n    pilotfish:   {verdict} {reason} {detail}",
        row.name,
        if pulled.is_accepted { "yes" } else { "no" },
    );
    let is_right = match row.refused {
        // A newer Engine may accept more; then Pilotfish must accept it too.
        Some((word, why)) => {
            (is_accepted && pulled.is_accepted)
                || (!pulled.is_accepted && reason == word && detail.contains(why))
        }
        None => is_accepted,
    };
    if is_right { Ok(line) } else { Err(line) }
}

#[test]
fn check_accepts_what_docker_pull_accepts() {
    let fixture = Fixture::build();
    for repository in ["till", "bare", "zstd"] {
        fixture.pi.registry.publish(repository, &Release::new("1"));
    }
    let base = "127.0.0.1:5000/till:latest";
    fixture.pi.engine.docker(&["pull", "--quiet", base]);
    let rows = fixture.rows();
    let numbered = rows.iter().enumerate();
    let pulled: Vec<_> =
        numbered.map(|(number, row)| pull_and_run(&fixture, number, row, base)).collect();
    let common = (0..rows.len()).filter(|number| rows[*number].config.is_none());
    let common: Vec<_> = common.map(|number| format!("row{number}")).collect();
    let mut seen = fixture.check(&common, &pulled[0].config);
    for number in (0..rows.len()).filter(|number| rows[*number].config.is_some()) {
        seen.extend(fixture.check(&[format!("row{number}")], &pulled[number].config));
    }
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let name = format!("row{number}");
        let seen = seen.iter().find(|seen| seen["container"] == name).expect("a row");
        match compare(row, &pulled[number], seen) {
            Ok(line) => println!("{line}"),
            Err(line) => wrong.push(line),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
