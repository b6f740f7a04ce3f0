//! `pilotfish mirror`: the program itself, between two real registries.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pilotfish::core::docker::reference::Digest;
use reqwest::header::AUTHORIZATION;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::mirror_rules::Pair;
use crate::real::http;

const SECRET: &str = "a secret of more than sixteen bytes";

/// The longest wait for what happens at once.
const SOON: Duration = Duration::from_secs(30);

/// The program with a configuration of its own.
pub struct Program {
    directory: PathBuf,
}

impl Program {
    /// `rules` stands below everything else.
    pub fn new(pair: &Pair, rules: &str) -> Self {
        let directory = pair.directory.path().join("program");
        fs::create_dir_all(&directory).expect("a directory");
        let secret = directory.join("secret");
        fs::write(&secret, SECRET).expect("a file");
        Command::new("chmod").arg("600").arg(&secret).status().expect("chmod");
        let [webhook, pages] = [free_port(), free_port()];
        let text = format!(
            "state_dir = {:?}\n[listen]\naddress = \"127.0.0.1:{pages}\"\n[webhook]\n\
             address = \"127.0.0.1:{webhook}\"\ntoken_file = {secret:?}\n{rules}",
            directory.join("state")
        );
        fs::write(directory.join("pilotfish.toml"), text).expect("a file");
        fs::write(directory.join("ports"), format!("{webhook} {pages}")).expect("a file");
        Self { directory }
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.arg("--config").arg(self.directory.join("pilotfish.toml"));
        command.env("DOCKER_CONFIG", &self.directory).args(words.split_whitespace());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("the program runs")
    }

    /// The JSON of a run, and its exit code.
    pub fn json(&self, words: &str) -> (Value, Option<i32>) {
        let output = self.run(&format!("mirror {words} --json"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
        (json, output.status.code())
    }

    fn start(&self) -> Running {
        let log = self.directory.join("log");
        let child = self
            .command("mirror --log-level debug")
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the program runs");
        let ports = fs::read_to_string(self.directory.join("ports")).expect("a file");
        let ports = ports.split_whitespace().map(str::to_owned).collect();
        Running { child, log, ports }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The program that runs until it is stopped.
struct Running {
    child: Child,
    log: PathBuf,
    ports: Vec<String>,
}

impl Running {
    async fn page(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[1]);
        match http().get(url).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    async fn push(&self, reference: &str) {
        let url = format!("http://127.0.0.1:{}/v1/webhook", self.ports[0]);
        let body = format!(r#"{{"v":1,"pushed":["{reference}"]}}"#);
        let sent = http().post(url).header(AUTHORIZATION, format!("Bearer {SECRET}")).body(body);
        assert_eq!(sent.send().await.expect("an answer").status(), 202);
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a signal");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the target's tag is this digest.
async fn arrives(pair: &Pair, tag: &str, digest: &Digest, running: &Running) {
    let begun = Instant::now();
    while pair.at_target(tag).await.as_ref() != Some(digest) {
        assert!(begun.elapsed() < SOON, "{tag} does not arrive: {}", running.log());
        sleep(Duration::from_millis(50));
    }
}

pub fn rule(pair: &Pair, more: &str) -> String {
    let (from, to) = (&pair.rule.from, &pair.rule.to);
    format!("[[mirror]]\nname = \"till\"\nfrom = \"{from}\"\nto = \"{to}\"\n{more}\n")
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_then_does_and_the_next_one_writes_nothing() {
    let pair = Pair::start();
    let program = Program::new(&pair, &rule(&pair, "tags = [\"v1\", \"v2\"]"));
    let v1 = pair.publish("v1").await;
    pair.sign(&v1).await;
    pair.publish("v2").await;
    let (due, code) = program.json("till --dry-run");
    let tags = &due["rules"][0]["tags"];
    assert_eq!((code, tags[0]["outcome"].as_str()), (Some(0), Some("due")), "{due}");
    // The index and two manifests; the signature under its tag; the list of referrers, with it.
    assert_eq!((tags[0]["pulls"].as_u64(), tags[1]["pulls"].as_u64()), (Some(6), Some(3)), "{due}");
    assert!(tags[0]["missing_bytes"].as_u64() > Some(0), "{due}");
    assert_eq!(pair.at_target("v1").await, None, "a dry run writes nothing");
    assert!(!program.directory.join("state").exists(), "not here either");
    let (done, code) = program.json("--once");
    let tags = &done["rules"][0]["tags"];
    assert_eq!((code, tags[0]["outcome"].as_str()), (Some(0), Some("copied")), "{done}");
    assert_eq!(tags[0]["digest"].as_str(), Some(v1.as_str()), "{done}");
    assert_eq!(pair.at_target("v1").await, Some(v1));
    // The first run at all also looks for later signatures, once a day.
    let (again, _) = program.json("--once");
    assert_eq!(again["rules"][0]["tags"][1]["outcome"].as_str(), Some("up_to_date"), "{again}");
    let memory = fs::read(program.directory.join("state/mirror.json")).expect("a memory");
    let before = (pair.source.settled(), pair.target.settled());
    let page = String::from_utf8_lossy(&program.run("mirror --once").stdout).into_owned();
    assert!(page.ends_with("2 tags: 2 up to date\n"), "{page}");
    let more = (pair.source.settled() - before.0, pair.target.settled() - before.1);
    assert_eq!(more, (2, 2), "one HEAD of each tag on each side");
    assert_eq!(fs::read(program.directory.join("state/mirror.json")).expect("it"), memory);
}

#[tokio::test]
async fn one_bad_tag_or_registry_never_stops_another_and_the_exit_code_tells() {
    let pair = Pair::start();
    let gone = format!(
        "[[mirror]]\nname = \"gone\"\nfrom = \"127.0.0.1:1/a/b\"\nto = \"{}\"\n",
        pair.rule.to
    );
    let rules = rule(&pair, "tags = [\"none\", \"v1\"]") + &gone;
    let program = Program::new(&pair, &rules);
    pair.publish("v1").await;
    let (done, code) = program.json("--once");
    let words = |rule: usize, tag: usize| {
        let tag = &done["rules"][rule]["tags"][tag];
        tag["reason"].as_str().or(tag["outcome"].as_str()).unwrap_or_default().to_owned()
    };
    assert_eq!((words(0, 0), words(0, 1)), ("not_found".to_owned(), "copied".to_owned()), "{done}");
    assert_eq!((words(1, 0), code), ("registry_unreachable".to_owned(), Some(4)), "{done}");
    let page = program.run("mirror --once gone");
    let text = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(text.contains("127.0.0.1:1/a/b:latest is not copied: registry_unreachable"), "{text}");
    assert_eq!(page.status.code(), Some(1));
    let unknown = program.run("mirror --once tills");
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(text, "there is no rule `tills`; the rules are till, gone\n");
    assert_eq!(unknown.status.code(), Some(2));
}

#[tokio::test]
async fn a_push_is_copied_at_once_and_counted() {
    let pair = Pair::start();
    let program = Program::new(&pair, &rule(&pair, "tags = \"^v\"\nschedule = \"\""));
    let mut running = program.start();
    let begun = Instant::now();
    while running.page("/readyz").await.trim() != "ok" {
        assert!(begun.elapsed() < SOON, "it is not ready: {}", running.log());
        sleep(Duration::from_millis(50));
    }
    let metrics = running.page("/metrics").await;
    let zero = "pilotfish_mirror_copied_total{outcome=\"copied\",rule=\"till\"} 0";
    assert!(metrics.contains(zero), "{metrics}");
    let digest = pair.publish("v1").await;
    running.push(&format!("{}:v1", pair.rule.from)).await;
    arrives(&pair, "v1", &digest, &running).await;
    pair.sign(&digest).await;
    let signature = pilotfish::core::mirror::companions::fallback_tag(&digest);
    running.push(&format!("{}:{signature}", pair.rule.from)).await;
    let there = pair.client_digest(&signature).await;
    arrives(&pair, &signature, &there, &running).await;
    sleep(Duration::from_millis(300));
    let metrics = running.page("/metrics").await;
    for line in [
        "pilotfish_mirror_copied_total{outcome=\"copied\",rule=\"till\"} 1",
        "pilotfish_mirror_copied_total{outcome=\"documents_copied\",rule=\"till\"} 1",
        "pilotfish_mirror_lag_seconds{rule=\"till\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(!metrics.contains("pilotfish_mirror_bytes_total{rule=\"till\"} 0"), "{metrics}");
    let success = "pilotfish_mirror_last_success_timestamp_seconds{rule=\"till\"} ";
    let success = metrics.split_once(success).expect("a metric").1.lines().next();
    let seconds: f64 = success.expect("a value").parse().expect("a number");
    assert!(seconds > 1.7e9, "{seconds}");
    assert!(running.log().contains("copied "), "{}", running.log());
    // A command does not copy beside it, but asks it.
    let asked = program.run("mirror --once");
    let words = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(words.contains("the running agent carries out the rules"), "{words}");
    let page = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(page.ends_with("1 tag: 1 up to date\n"), "{page}");
    assert_eq!(running.terminate(), Some(0));
}
