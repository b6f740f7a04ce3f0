//! Webhooks: a registry notifies the agent of a push, and the agent checks the image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use reqwest::{Client, StatusCode};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificates::{Authority, Flaw};
use crate::fake_engine::{Papers, serve};
use crate::images::Image;
use crate::mirror_program::rule;
use crate::mirror_rules::Pair;
use crate::real::{Real, Setup, http};
use crate::scripted::{Scripted, manifest, reply};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Much longer than anything that a test waits for.
const LIMIT: Duration = Duration::from_secs(20);

/// The promised time from a push to the `HEAD`.
const PROMISED_TIME: Duration = Duration::from_secs(1);

/// The number of measurements: a busy machine may be late once.
const ATTEMPTS: usize = 3;

/// An agent that is only woken by webhooks.
pub struct Agent {
    /// `http://127.0.0.1:PORT/v1/webhook`
    pub url: String,
    /// Its log since then.
    log: Arc<Mutex<String>>,
    _process: Child,
}

impl Agent {
    pub async fn start(directory: &Path, socket: &Path) -> Self {
        Self::start_with("", "", directory, socket).await
    }

    /// The same with more settings, and with more keys of `webhook` after a comma.
    async fn start_with(settings: &str, webhook: &str, directory: &Path, socket: &Path) -> Self {
        let (config, token) = (directory.join("pilotfish.toml"), directory.join("token"));
        fs::write(&token, format!("{TOKEN}\n")).expect("a file");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("its mode");
        let text = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\nschedule = {{ every = \"1000h\", jitter = \
             \"100%\" }}\nlisten.address = \"\"\nlog.format = \"text\"\nwebhook = {{ address = \
             \"127.0.0.1:0\", token_file = {token:?}{webhook} }}\n{settings}\n",
            directory.join("state"),
            socket.display(),
        );
        fs::write(&config, text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.arg("--config").arg(config).arg("run").kill_on_drop(true);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it");
        let mut log = BufReader::new(process.stderr.take().expect("a log")).lines();
        let mut address = None;
        while let (None, Ok(Some(line))) = (&address, log.next_line().await) {
            let rest =
                line.split_once("address=").filter(|_| line.contains("listening for webhooks"));
            address = rest.map(|(_, address)| address.trim().to_owned());
        }
        // An unread log would block the agent at its next line.
        let kept = Arc::<Mutex<String>>::default();
        let keeper = kept.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                let mut kept = keeper.lock().expect("not poisoned");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let url = format!("http://{}/v1/webhook", address.expect("it says where it listens"));
        Self { url, log: kept, _process: process }
    }
}

/// A registry that notifies when it was asked for a tag.
async fn notifying_registry(image: &Image) -> (Scripted, Arc<Notify>) {
    let (served, asked) = (image.clone(), Arc::new(Notify::new()));
    let rings = asked.clone();
    let registry = Scripted::start(move |asked| {
        if asked.method != "HEAD" {
            return reply(404, &[], "");
        }
        rings.notify_one();
        manifest(OCI_MANIFEST, &served.manifest)
    })
    .await;
    (registry, asked)
}

/// Checks that the quickest of a few attempts is within the promised time.
async fn assert_within_promised_time(what: &str, attempt: impl AsyncFn() -> Duration) {
    let mut taken = Vec::new();
    while taken.len() < ATTEMPTS {
        let took = attempt().await;
        println!("from {what} to the HEAD: {took:?}");
        if took < PROMISED_TIME {
            return;
        }
        taken.push(took);
    }
    panic!("from {what} to the HEAD: {taken:?}");
}

/// The real registry sends the webhook. A scripted one with the host name of the container's image
/// gets the `HEAD`, so that the time can be measured.
async fn push_to_a_registry() -> Duration {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let (asked, heads) = notifying_registry(&image).await;
    let images = ["shop/till:v1", "shop/till:v2", "shop/web:v1"];
    let images = images.map(|name| format!("{}/{name}", asked.registry())).to_vec();
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let agent = Agent::start(directory.path(), &serve(directory.path(), papers)).await;
    let setup = Setup { webhook: Some((&agent.url, TOKEN)), ..Setup::default() };
    let real = Real::start(&directory.path().join("registry"), &setup);
    real.push_image("shop/till", &image).await;
    let begun = Instant::now();
    real.push_manifest("shop/till", "v1", image.media_type, &image.manifest).await;
    timeout(LIMIT, heads.notified()).await.expect("a HEAD");
    let took = begun.elapsed();
    assert_eq!(asked.lines(), ["HEAD /v2/shop/till/manifests/v1"], "just the one that was pushed");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_checked_within_a_second() {
    assert_within_promised_time("the push", push_to_a_registry).await;
}

/// A webhook of Docker Hub or GitHub. Mirrors replace the registries: one from the Engine, and one
/// from the settings.
async fn call(hook: impl AsyncFn(&str), repository: &str) -> Duration {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let (asked, heads) = notifying_registry(&image).await;
    let mirror = format!("http://{}", asked.registry());
    let images = ["shop/hub:v1", "ghcr.io/shop/hub:v1", "shop/git:v1", "ghcr.io/shop/git:v1"];
    let images = images.map(str::to_owned).to_vec();
    let papers = Papers {
        images,
        mirrors: vec![mirror.clone()],
        running: Some(image.digest()),
        ..Papers::default()
    };
    let settings = format!("registries.\"ghcr.io\".mirrors = [{mirror:?}]");
    let socket = serve(directory.path(), papers);
    let agent = Agent::start_with(&settings, "", directory.path(), &socket).await;
    let begun = Instant::now();
    hook(&agent.url).await;
    timeout(LIMIT, heads.notified()).await.expect("a HEAD");
    let took = begun.elapsed();
    let expected = format!("HEAD /v2/{repository}/manifests/v1");
    assert_eq!(asked.lines(), [expected], "just the one that was pushed");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_docker_hub_is_checked_within_a_second() {
    let hook = async |url: &str| {
        let body = r#"{"push_data":{"tag":"v1"},"repository":{"repo_name":"shop/hub"}}"#;
        let sent = http().post(format!("{url}?token={TOKEN}")).body(body).send().await;
        assert_eq!(sent.expect("an answer").status(), StatusCode::ACCEPTED);
    };
    assert_within_promised_time("Docker Hub's call", async || call(hook, "shop/hub").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_github_is_checked_within_a_second() {
    let hook = async |url: &str| {
        let body = r#"{"action":"published","registry_package":{
            "name":"git","namespace":"shop","package_type":"CONTAINER","package_version":{
            "container_metadata":{"tag":{"name":"v1"}},"package_url":"ghcr.io/shop/git:v1"}}}"#;
        let signature = format!("sha256={}", signature(body.as_bytes()));
        let call = http().post(url).header("x-hub-signature-256", signature).body(body);
        assert_eq!(call.send().await.expect("an answer").status(), StatusCode::ACCEPTED);
        let forged = http().post(url).header("x-hub-signature-256", "sha256=00").body(body);
        let answer = forged.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    };
    assert_within_promised_time("GitHub's call", async || call(hook, "shop/git").await).await;
}

/// HMAC-SHA256 of a body with the token, which is shorter than a block.
fn signature(body: &[u8]) -> String {
    let mut key = [0; 64];
    key[..TOKEN.len()].copy_from_slice(TOKEN.as_bytes());
    let keyed = |pad: u8| Sha256::new().chain_update(key.map(|byte| byte ^ pad));
    let inner = keyed(0x36).chain_update(body).finalize();
    let outer = keyed(0x5c).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_the_token_or_too_large_or_malformed_is_refused() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let (asked, heads) = notifying_registry(&image).await;
    let images = vec![format!("{}/shop/till:v1", asked.registry())];
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let agent = Agent::start(directory.path(), &serve(directory.path(), papers)).await;
    let push = r#"{"events":[{"action":"push","target":{"repository":"shop/till","tag":"v1"}}]}"#;
    let with = |token: &str, body: String| {
        let request = http().post(&agent.url).bearer_auth(token).body(body);
        async move { request.send().await.expect("an answer").status() }
    };
    assert_eq!(with("", push.to_owned()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(with(&TOKEN.to_uppercase(), push.to_owned()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(with(TOKEN, "rubbish".to_owned()).await, StatusCode::BAD_REQUEST);
    // Only a body that was read as a push is accepted, and other senders get an error.
    let pull = push.replace("push", "pull");
    assert_eq!(with(TOKEN, pull).await, StatusCode::OK);
    let gitea = include_str!("../../fuzz/corpus/notification/gitea-package.json").to_owned();
    assert_eq!(with(TOKEN, gitea.clone()).await, StatusCode::ACCEPTED);
    let deleted = gitea.replace("created", "deleted");
    assert_eq!(with(TOKEN, deleted).await, StatusCode::OK);
    let strange = gitea.replace("\"type\"", "\"kind\"");
    assert_eq!(with(TOKEN, strange).await, StatusCode::BAD_REQUEST);
    let harbor = include_str!("../../fuzz/corpus/notification/harbor-scan.json").to_owned();
    assert_eq!(with(TOKEN, harbor).await, StatusCode::BAD_REQUEST);
    let large = format!("{push}{}", " ".repeat(300_000));
    assert_eq!(with(TOKEN, large).await, StatusCode::PAYLOAD_TOO_LARGE);
    let other = push.replace("v1", "v2");
    assert_eq!(with(TOKEN, other).await, StatusCode::ACCEPTED);
    let elsewhere = agent.url.replace("/v1/webhook", "/metrics");
    let status = http().get(elsewhere).send().await.expect("an answer").status();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(asked.lines(), [""; 0], "none of them caused a check");
    // Docker Hub can only be configured with a URL.
    let hub: Client = http();
    let sent = hub.post(format!("{}?token={TOKEN}", agent.url)).body(push).send().await;
    assert_eq!(sent.expect("an answer").status(), StatusCode::ACCEPTED);
    timeout(LIMIT, heads.notified()).await.expect("a HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_webhooks_is_one_round_or_two() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let (asked, heads) = notifying_registry(&image).await;
    let images: Vec<_> =
        (0..20).map(|number| format!("{}/shop/a{number}:v1", asked.registry())).collect();
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let agent = Agent::start(directory.path(), &serve(directory.path(), papers)).await;
    let client = http();
    for number in (0..20).cycle().take(60) {
        let push = format!(
            r#"{{"events":[{{"action":"push","target":{{"repository":"shop/a{number}","tag":"v1"}}}}]}}"#
        );
        let sent = client.post(&agent.url).bearer_auth(TOKEN).body(push).send().await;
        assert_eq!(sent.expect("an answer").status(), StatusCode::ACCEPTED);
    }
    let all_asked = async {
        while (0..20)
            .any(|number| !asked.lines().iter().any(|line| line.contains(&format!("/a{number}/"))))
        {
            heads.notified().await;
        }
    };
    timeout(LIMIT, all_asked).await.expect("HEADs for all of them");
    assert!(asked.lines().len() <= 40, "{:?}", asked.lines());
}

/// A client that trusts this authority only.
fn connector(authority: &Path) -> TlsConnector {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("PEM")).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Sends a push over TLS; the first line of the answer.
async fn post_over_tls(connector: &TlsConnector, address: &str, token: &str) -> String {
    let body = r#"{"v":1,"pushed":["ghcr.io/shop/till:v1"]}"#;
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut stream = match connector.connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    let request = format!(
        "POST /v1/webhook HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    // The server closes the connection after its answer.
    let _ = stream.read_to_string(&mut answer).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_makes_the_address_speak_tls_only() {
    let directory = tempdir().expect("a directory");
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let files = ours.issue(directory.path(), "webhook", Flaw::None);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let authorities = [("ours.pem", &ours), ("other.pem", &other)].map(|(name, authority)| {
        authority.write(&directory.path().join(name));
        connector(&directory.path().join(name))
    });
    let webhook = format!(", cert_file = {:?}, key_file = {:?}", files.certificate, files.key);
    let socket = serve(directory.path(), Papers::default());
    let agent = Agent::start_with("", &webhook, directory.path(), &socket).await;
    let url = agent.url.trim_start_matches("http://");
    let address = url.split('/').next().expect("an address");
    let [trusting, distrusting] = &authorities;
    assert_eq!(post_over_tls(trusting, address, TOKEN).await, "HTTP/1.1 202 Accepted");
    assert_eq!(post_over_tls(trusting, address, "wrong").await, "HTTP/1.1 401 Unauthorized");
    let error = post_over_tls(distrusting, address, TOKEN).await;
    assert!(error.contains("invalid peer certificate"), "{error}");
    let plain = http().post(&agent.url).bearer_auth(TOKEN).body("{}").send().await;
    assert!(plain.is_err(), "plain http is not answered: {plain:?}");
    // A client that connects and sends nothing delays no other client.
    let _silent = TcpStream::connect(address).await.expect("a connection");
    assert_eq!(post_over_tls(trusting, address, TOKEN).await, "HTTP/1.1 202 Accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sender_has_its_own_secret_kind_and_references() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("new", "linux/arm64");
    let (asked, heads) = notifying_registry(&image).await;
    let host = asked.registry();
    let images = vec![format!("{host}/shop/till:v1")];
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let secret = "fedcba9876543210fedcba9876543210";
    let file = directory.path().join("ci-secret");
    fs::write(&file, secret).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let webhook = format!(
        ", sender = [{{ name = \"ci\", kind = \"plain\", secret_file = {file:?}, references = \
         [\"{host}/shop/*\"] }}]"
    );
    let socket = serve(directory.path(), papers);
    let agent = Agent::start_with("", &webhook, directory.path(), &socket).await;
    let send = async |token: &str, body: String| {
        let sent = http().post(&agent.url).bearer_auth(token).body(body).send().await;
        sent.expect("an answer").status()
    };
    let plain = |image: &str| format!(r#"{{"v":1,"pushed":["{host}/{image}:v1"]}}"#);
    assert_eq!(send("0123456789abcdef", plain("shop/till")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(secret, plain("bank/till")).await, StatusCode::FORBIDDEN);
    let events = r#"{"events":[{"action":"push","target":{"repository":"shop/till","tag":"v1"}}]}"#;
    assert_eq!(send(secret, events.to_owned()).await, StatusCode::BAD_REQUEST, "another kind");
    assert_eq!(asked.lines(), [""; 0], "none of them caused a check");
    // The one token may still send every kind for every image.
    assert_eq!(send(TOKEN, plain("bank/till")).await, StatusCode::ACCEPTED);
    assert_eq!(send(secret, plain("shop/till")).await, StatusCode::ACCEPTED);
    timeout(LIMIT, heads.notified()).await.expect("a HEAD");
    assert_eq!(asked.lines(), ["HEAD /v2/shop/till/manifests/v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_mirrored_and_the_agent_then_looks_at_the_copy() {
    let pair = Pair::start();
    let directory = pair.directory.path();
    let copy = pair.rule.to.tagged("v1").to_string();
    let images = vec![copy.clone()];
    let running = Some(Image::new("old", "linux/arm64").digest());
    let socket = serve(directory, Papers { images, running, ..Papers::default() });
    let rules = rule(&pair, "tags = [\"v1\"]\nschedule = \"\"");
    let agent = Agent::start_with(&rules, "", directory, &socket).await;
    let digest = pair.publish("v1").await;
    let push = format!(r#"{{"v":1,"pushed":["{}:v1"]}}"#, pair.rule.from);
    let sent = http().post(&agent.url).bearer_auth(TOKEN).body(push).send().await;
    assert_eq!(sent.expect("an answer").status(), 202);
    let looked = format!("checking what was copied reference={copy}");
    timeout(LIMIT, async {
        while !agent.log.lock().expect("not poisoned").contains("checking what was copied") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{looked}: {}", agent.log.lock().expect("not poisoned")));
    assert_eq!(pair.at_target("v1").await, Some(digest));
    // A command does not copy beside the agent, but asks it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    command.arg("--config").arg(directory.join("pilotfish.toml"));
    let output = command.args(["mirror", "--once", "--json"]).output().await.expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("the running agent carries out the rules"), "{words}");
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(done["rules"][0]["tags"][0]["outcome"], "up_to_date", "{done}");
    assert!(output.status.success());
}
