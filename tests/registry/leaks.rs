//! The whole program with logins of every kind: no secret appears in its output, its pages or its
//! files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::fake_engine::{Papers, serve};
use crate::files::files;
use crate::images::Image;
use crate::real::http;
use crate::scripted::{RecordedRequest, Reply, Scripted, manifest, reply};

/// Part of every secret, so that one assert_no_secret finds them all.
const MARK: &str = "hunter2";
const PASSWORD: &str = "hunter2-password?>~";
const DOCKER_PASSWORD: &str = "hunter2-docker-password";
const HELPER_SECRET: &str = "hunter2-helper-secret";
const TOKEN: &str = "hunter2-bearer-token";
const WEBHOOK_TOKEN: &str = "hunter2-webhook-token-0123456789abcdef";
const SENDER_SECRET: &str = "hunter2-sender-secret-0123456789abcdef";
const USER: &str = "matrose";

/// One machine: its files, its Engine and the registries of its containers.
struct Fixture {
    directory: TempDir,
    registries: Vec<Scripted>,
    tokens: Scripted,
}

impl Fixture {
    /// Three registries: one with a login in Pilotfish's settings, one with a login in Docker's
    /// configuration and tokens, one with a credential helper. Each has a new image, and an image
    /// for which it echoes the credentials.
    async fn build() -> Self {
        let directory = tempdir().expect("a directory");
        let token = format!(r#"{{"access_token":"{TOKEN}"}}"#);
        let tokens = Scripted::start(move |_| reply(200, &[], token.clone())).await;
        let realm = format!("http://{}/token", tokens.registry());
        let mut registries = Vec::new();
        for challenge in
            ["Basic realm=\"x\"", &format!("Bearer realm=\"{realm}\""), "Basic realm=\"x\""]
        {
            let challenge = challenge.to_owned();
            registries.push(Scripted::start(move |request| answer(request, &challenge)).await);
        }
        let fixture = Self { directory, registries, tokens };
        fixture.write_files();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_files(&self) {
        let [own, docker, helped] = [0, 1, 2].map(|number| self.registries[number].registry());
        fs::write(self.path("password"), PASSWORD).expect("a file");
        fs::set_permissions(self.path("password"), fs::Permissions::from_mode(0o600))
            .expect("its mode");
        fs::write(self.path("webhook-token"), WEBHOOK_TOKEN).expect("a file");
        fs::write(self.path("sender-secret"), SENDER_SECRET).expect("a file");
        for name in ["webhook-token", "sender-secret"] {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(self.path(name), mode).expect("its mode");
        }
        let auth = STANDARD.encode(format!("{USER}:{DOCKER_PASSWORD}"));
        let config = format!(
            r#"{{"auths":{{"{docker}":{{"auth":"{auth}"}}}},"credHelpers":{{"{helped}":"leaks"}}}}"#
        );
        fs::write(self.path("config.json"), config).expect("a file");
        let helper = self.path("docker-credential-leaks");
        let answer = format!(r#"{{"Username":"{USER}","Secret":"{HELPER_SECRET}"}}"#);
        fs::write(&helper, format!("#!/bin/sh\necho '{answer}'\n")).expect("a file");
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("a mode");
        let images = self.registries.iter().flat_map(|registry| {
            ["new", "echo", "gone"].map(|name| format!("{}/{name}:1", registry.registry()))
        });
        let socket =
            serve(self.directory.path(), Papers { images: images.collect(), ..Papers::default() });
        let text = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\nlisten.address = \"127.0.0.1:0\"\n\
             webhook = {{ address = \"127.0.0.1:0\", token_file = {:?}, sender = \
             [{{ name = \"ci\", secret_file = {:?} }}] }}\n\
             log = {{ format = \"text\", level = \"trace\" }}\n\
             schedule = {{ every = \"1000h\", jitter = \"0%\" }}\n\
             registries.\"{}\" = {{ plain_http = true }}\n\
             registries.\"{own}\" = {{ username = \"{USER}\", password_file = {:?} }}\n",
            self.path("state"),
            socket.display(),
            self.path("webhook-token"),
            self.path("sender-secret"),
            self.tokens.registry(),
            self.path("password"),
        );
        fs::write(self.path("pilotfish.toml"), text).expect("a file");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.directory.path().display()));
        command.env("DOCKER_CONFIG", self.directory.path());
        command.arg("--config").arg(self.path("pilotfish.toml")).args(words);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The whole output of a command.
    async fn error_text(&self, words: &[&str]) -> String {
        let output = self.command(words).output().await.expect("the program");
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        format!("$ pilotfish {}\n{out}\n{err}\n", words.join(" "))
    }
}

/// Accepts any login. The new image is served; other requests get an echo of the credentials.
fn answer(request: &RecordedRequest, challenge: &str) -> Reply {
    let image = Image::new("new", "linux/arm64");
    match (&request.authorization, request.image().0) {
        (None, _) => reply(401, &[("www-authenticate", challenge)], ""),
        (Some(_), "new") if request.path().contains("/blobs/") => reply(200, &[], image.config),
        (Some(_), "new") => manifest(OCI_MANIFEST, &image.manifest),
        (Some(shown), "echo") => {
            let body = format!(r#"{{"errors":[{{"code":"{shown}","message":"{shown}"}}]}}"#);
            reply(403, &[("x-echo", shown), ("warning", shown)], body)
        }
        (Some(shown), _) => reply(404, &[], shown.clone()),
    }
}

/// A running agent, its log, and its addresses.
struct Agent {
    process: Child,
    log: tokio::task::JoinHandle<String>,
    metrics: String,
    webhook: String,
}

impl Agent {
    async fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command(&["run"]);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("it");
        let mut lines = BufReader::new(process.stderr.take().expect("a log")).lines();
        let mut log = String::new();
        let metrics = await_address(&mut lines, &mut log, "serving /metrics").await;
        let webhook = await_address(&mut lines, &mut log, "listening for webhooks").await;
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        Self { process, log, metrics, webhook }
    }

    /// Ends the agent, and returns its log.
    async fn end(mut self) -> String {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        self.process.wait().await.expect("its end");
        self.log.await.expect("its log")
    }
}

/// The address in the log line with these words; the lines read until then are kept.
async fn await_address(
    lines: &mut tokio::io::Lines<BufReader<ChildStderr>>,
    log: &mut String,
    words: &str,
) -> String {
    if let Some(address) = log.lines().find_map(|line| address_in(line, words)) {
        return address;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        log.push_str(&line);
        log.push('\n');
        if let Some(address) = address_in(&line, words) {
            return address;
        }
    }
    panic!("no log line with {words}:\n{log}")
}

fn address_in(line: &str, words: &str) -> Option<String> {
    let (_, address) = line.split_once("address=").filter(|_| line.contains(words))?;
    Some(address.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_the_program_prints_serves_or_writes() {
    let fixture = Fixture::build().await;
    // First without an agent, then through one.
    let mut output = fixture.error_text(&["check", "--json"]).await;
    let agent = Agent::start(&fixture).await;
    let push = http().post(format!("http://{}/v1/webhook?token={WEBHOOK_TOKEN}", agent.webhook));
    let push = push.body(r#"{"events":[]}"#).send().await.expect("an answer");
    assert_eq!(push.status(), 200, "the token is accepted");
    let wrong = http().post(format!("http://{}/v1/webhook?token={MARK}-wrong", agent.webhook));
    let wrong = wrong.send().await.expect("an answer");
    output.push_str(&format!(
        "{:?}\n{}\n",
        wrong.headers().clone(),
        wrong.text().await.expect("text")
    ));
    output.push_str(&send_as_gitlab(&agent).await);
    for words in [
        &["check"] as &[&str],
        &["check", "--fresh", "--json"],
        &["update", "--dry-run", "--json"],
        &["update"],
        &["status", "--json"],
        &["history", "--json"],
        &["config"],
        &["recover"],
        &["healthcheck"],
    ] {
        output.push_str(&fixture.error_text(words).await);
    }
    for page in ["metrics", "healthz", "readyz"] {
        let page = http().get(format!("http://{}/{page}", agent.metrics)).send().await;
        output.push_str(&page.expect("a page").text().await.expect("text"));
    }
    let log = agent.end().await;
    output.push_str(&log);
    let written = files(&fixture.path("state"));
    // A password file with binary content, and an invalid configuration.
    fs::write(fixture.path("password"), [PASSWORD.as_bytes(), b"\xff\0"].concat()).expect("a file");
    fs::write(fixture.path("config.json"), format!("{{\"auths\":{DOCKER_PASSWORD}}}"))
        .expect("a file");
    output.push_str(&fixture.error_text(&["check", "--json"]).await);
    assert_no_secret(&fixture, &output, &written);
    assert_secrets_were_sent(&fixture, &output, &log);
}

/// Shows the secret in a header of a sender, with one body that is read and one that is not.
async fn send_as_gitlab(agent: &Agent) -> String {
    let mut words = String::new();
    for (secret, body, status) in [
        (SENDER_SECRET, r#"{"v":1,"pushed":["ghcr.io/shop/till:v1"]}"#, 202),
        (SENDER_SECRET, "{}", 400),
        (&format!("{SENDER_SECRET}-wrong"), "{}", 401),
    ] {
        let call = http().post(format!("http://{}/v1/webhook", agent.webhook));
        let sent = call.header("x-gitlab-token", secret).body(body).send().await;
        let answer = sent.expect("an answer");
        assert_eq!(answer.status(), status);
        words.push_str(&answer.text().await.expect("text"));
    }
    words
}

fn assert_no_secret(fixture: &Fixture, output: &str, written: &str) {
    let logins = [PASSWORD, DOCKER_PASSWORD, HELPER_SECRET];
    let mut secrets = logins.map(|word| STANDARD.encode(format!("{USER}:{word}"))).to_vec();
    // The user name is in the configuration and is no secret; the marked part is.
    secrets.push(MARK.to_owned());
    // The debug output of the bytes.
    secrets.push(format!("{:?}", MARK.as_bytes()).trim_matches(['[', ']']).to_owned());
    let place = fixture.directory.path().display().to_string();
    for (what, text) in [("is output", output), ("is written", written)] {
        let text = text.replace(&place, "");
        for secret in &secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{secret} {what}");
        }
    }
}

/// Every secret was sent, and every output that could contain one was produced.
fn assert_secrets_were_sent(fixture: &Fixture, output: &str, log: &str) {
    let shown = |number: usize| {
        let request: Vec<RecordedRequest> = fixture.registries[number].asked();
        request.into_iter().filter_map(|request| request.authorization).collect::<Vec<_>>()
    };
    let basic = |word: &str| format!("Basic {}", STANDARD.encode(format!("{USER}:{word}")));
    assert!(shown(0).contains(&basic(PASSWORD)));
    assert!(shown(1).contains(&format!("Bearer {TOKEN}")));
    assert!(shown(2).contains(&basic(HELPER_SECRET)));
    let to_token_server: Vec<_> = fixture.tokens.asked();
    let login = Some(basic(DOCKER_PASSWORD));
    assert!(to_token_server.iter().any(|request| request.authorization == login));
    for word in ["registry_unauthorized", "not_found", "pilotfish_registry_requests_total", USER] {
        assert!(output.contains(word), "no output about {word}:\n{output}");
    }
    assert!(log.lines().any(|line| line.contains("TRACE") || line.contains("DEBUG")), "{log}");
}
