//! A registry that accepts connections and never answers delays only its own containers, never a
//! round.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use serde_json::Value;
use tempfile::{TempDir, tempdir};
use tokio::net::{TcpListener, UnixDatagram};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fake_engine::{Papers, serve};
use crate::images::Image;
use crate::real::http;
use crate::scripted::{Scripted, manifest};
use crate::webhooks::Agent;

/// Far less than the time limit of a registry, which is half a minute for one answer.
const SOON: Duration = Duration::from_secs(10);

/// Longer than a busy machine delays a question that is due each second, and far less than the half
/// minute for which a silent registry would delay it.
const NOT_DELAYED: Duration = Duration::from_secs(5);

/// Longer than the agent waits for a registry that never answers.
const LIMIT: Duration = Duration::from_secs(60);

/// A registry that accepts connections and never answers.
struct Silent {
    host: String,
    /// Notified for each connection.
    requested: Arc<Notify>,
    _task: JoinHandle<()>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let requested = Arc::new(Notify::new());
        let notify = requested.clone();
        let task = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
                notify.notify_one();
            }
        });
        Self { host, requested, _task: task }
    }

    /// Waits for a request, which never gets an answer.
    async fn wait_for_request(&self) {
        timeout(SOON, self.requested.notified()).await.expect("the silent registry is asked");
    }
}

/// A registry that answers, and records when it was asked.
struct Quick {
    registry: Scripted,
    image: Image,
    asked_at: Arc<Mutex<Vec<Instant>>>,
    requested: Arc<Notify>,
}

impl Quick {
    async fn start() -> Self {
        let image = Image::new("same", "linux/arm64");
        let (asked_at, requested) =
            (Arc::<Mutex<Vec<Instant>>>::default(), Arc::new(Notify::new()));
        let (served, times, notify) = (image.clone(), asked_at.clone(), requested.clone());
        let registry = Scripted::start(move |_| {
            times.lock().expect("not poisoned").push(Instant::now());
            notify.notify_one();
            manifest(OCI_MANIFEST, &served.manifest)
        })
        .await;
        Self { registry, image, asked_at, requested }
    }

    async fn wait_for_request(&self) {
        timeout(SOON, self.requested.notified()).await.expect("a HEAD");
    }
}

/// A machine with `c000` from a registry that answers, and `c001` from one that never does.
struct Machine {
    directory: TempDir,
    quick: Quick,
    silent: Silent,
    socket: std::path::PathBuf,
}

impl Machine {
    async fn new(labels: &[(&str, &str)]) -> Self {
        let directory = tempdir().expect("a directory");
        let (quick, silent) = (Quick::start().await, Silent::start().await);
        let images = vec![
            format!("{}/shop/till:v1", quick.registry.registry()),
            format!("{}/shop/web:v1", silent.host),
        ];
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let papers = Papers {
            images,
            running: Some(quick.image.digest()),
            labels_of_the_first: labels,
            ..Papers::default()
        };
        let socket = serve(directory.path(), papers);
        Self { directory, quick, silent, socket }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.arg("--config").arg(self.path().join("pilotfish.toml"));
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    /// An agent with this schedule.
    fn run(&self, every: &str) -> Child {
        self.prepare(every).spawn().expect("the program")
    }

    fn prepare(&self, every: &str) -> Command {
        let text = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\nschedule = {{ every = {every:?}, \
             jitter = \"0%\" }}\nlisten.address = \"\"\n",
            self.path().join("state"),
            self.socket.display(),
        );
        fs::write(self.path().join("pilotfish.toml"), text).expect("a file");
        let mut command = self.command();
        command.arg("run");
        command
    }

    /// The report of `check`, and how long it took.
    async fn check(&self, words: &[&str]) -> (Value, Duration) {
        let begun = Instant::now();
        let output = self.command().args(["check", "--json"]).args(words).output();
        let output = timeout(LIMIT, output).await.expect("an answer").expect("the program");
        let took = begun.elapsed();
        (serde_json::from_slice(&output.stdout).expect("JSON"), took)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containers_own_schedule_is_kept_while_another_registry_is_silent() {
    const TIMES: usize = 8;
    let machine = Machine::new(&[("pilotfish.schedule", "1s")]).await;
    let _agent = machine.run("3s");
    machine.silent.wait_for_request().await;
    for _ in 0..TIMES {
        machine.quick.wait_for_request().await;
    }
    let asked_at = machine.quick.asked_at.lock().expect("not poisoned").clone();
    let pauses: Vec<_> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let longest = pauses.iter().max().expect("some pauses");
    assert!(*longest < NOT_DELAYED, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_schedule_is_kept_while_one_registry_is_silent() {
    const TIMES: usize = 6;
    let machine = Machine::new(&[]).await;
    let _agent = machine.run("1s");
    machine.silent.wait_for_request().await;
    for _ in 0..TIMES {
        machine.quick.wait_for_request().await;
    }
    let asked_at = machine.quick.asked_at.lock().expect("not poisoned").clone();
    let pauses: Vec<_> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause < NOT_DELAYED), "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_another_container_does_not_wait() {
    let machine = Machine::new(&[]).await;
    let _agent = machine.run("1h");
    machine.silent.wait_for_request().await;
    let (document, took) = machine.check(&["c000", "--fresh"]).await;
    assert_eq!(document["containers"][0]["verdict"], "up_to_date", "{document:#}");
    assert!(took < SOON, "{took:?}");
    let output = machine.command().args(["allow", "c000"]).output();
    let output = timeout(SOON, output).await.expect("an answer").expect("the program");
    assert!(output.status.success(), "{output:?}");
    let output = machine.command().args(["update", "c000"]).output();
    let output = timeout(SOON, output).await.expect("an answer").expect("the program");
    assert!(output.status.success(), "{output:?}");
}

/// A check of the container itself waits until its registry counts as unreachable, and only this
/// container is an error.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_containers_of_the_silent_registry_are_errors() {
    let machine = Machine::new(&[]).await;
    let _agent = machine.run("1h");
    let (document, _) = machine.check(&["--fresh"]).await;
    let rows = document["containers"].as_array().expect("rows");
    let of = |name: &str| rows.iter().find(|row| row["container"] == name).expect("a row");
    assert_eq!(of("c000")["verdict"], "up_to_date", "{document:#}");
    assert_eq!(of("c001")["reason"], "registry_unreachable", "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_causes_its_head_while_another_registry_hangs() {
    let machine = Machine::new(&[]).await;
    let agent = Agent::start(machine.path(), &machine.socket).await;
    let push = |repository: &str| {
        let event = format!(r#"{{"repository":"{repository}","tag":"v1"}}"#);
        let body = format!(r#"{{"events":[{{"action":"push","target":{event}}}]}}"#);
        let request = http().post(&agent.url).bearer_auth(crate::webhooks::TOKEN).body(body);
        async move { request.send().await.expect("an answer") }
    };
    push("shop/web").await;
    machine.silent.wait_for_request().await;
    // Webhooks for containers of the silent registry delay no other container either.
    push("shop/web").await;
    push("shop/till").await;
    machine.quick.wait_for_request().await;
}

/// The systemd watchdog is notified while a registry is silent.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_a_registry_hangs() {
    let machine = Machine::new(&[]).await;
    let path = machine.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut agent = machine.prepare("1h");
    agent.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let _agent = agent.spawn().expect("the program");
    machine.silent.wait_for_request().await;
    let mut fed = 0;
    let mut message = [0; 256];
    while fed < 5 {
        let size = timeout(SOON, socket.recv(&mut message)).await.expect("a word").expect("bytes");
        fed += usize::from(message[..size].starts_with(b"WATCHDOG=1"));
    }
}
