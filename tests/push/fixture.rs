//! A served push API, its certificates, and an agent that answers as the test wants.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pilotfish::agent::{
    AgentHandle, Ask, AskError, DeploymentActEnd, DeploymentAsk, DeploymentState, Events,
    Heartbeat, KnownLayers, LoadEnd, UploadPart,
};
use pilotfish::api::push::{PushLimits, PushState, PushTls, router, serve_push};
use pilotfish::config::Settings;
use pilotfish::core::decide::snapshot::Snapshot;
use pilotfish::core::deployment::refusal::{PushRefusal, RefusalWord};
use pilotfish::core::deployment::{Deployment, Deployments};
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::history::{Outcome, Record};
use pilotfish::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::{Authority, Flaw};

/// Longer than any request of these tests, also on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The rules of the tests, and their deployments.
const RULES: &str = r#"
[[deployment]]
name = "till"
[[deployment]]
name = "web"
[[push.allow]]
client = "uri:pilotfish://push/till"
deployments = ["till"]
acts = ["load", "restart"]
[[push.allow]]
client = "uri:pilotfish://push/owner"
deployments = ["*"]
acts = ["*"]
"#;

/// How the agent of the test answers a load.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It takes everything, and the update ends so.
    Takes(Outcome),
    /// It refuses before it wants a byte.
    RefusesAtOnce(RefusalWord),
    /// It refuses after so many bytes, and reads no further.
    RefusesAfter(u64, RefusalWord),
    /// It wants the bytes, and never ends.
    Hangs,
    /// It lacks a layer, until everything is sent: this many bytes.
    LacksLayers(u64),
}

/// What the agent of the test has received.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: u64,
    pub is_whole: bool,
    pub by: String,
    pub force: bool,
    pub size: Option<u64>,
    pub digest: Option<String>,
}

pub struct Served {
    pub address: SocketAddr,
    pub directory: tempfile::TempDir,
    pub authority: Authority,
    pub received: Arc<Mutex<Vec<Received>>>,
    pub answer: Arc<Mutex<Answer>>,
    pub layers: Arc<Mutex<Vec<Digest>>>,
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Served {
    pub async fn new() -> Self {
        Self::with(PushLimits::DEFAULT).await
    }

    pub async fn with(limits: PushLimits) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("the authority of the clients");
        let path = directory.path();
        authority.write(path, "ca");
        authority.server(path, "server");
        authority.revoke(path, &[], 2999);
        for (name, serial) in [("till", 1), ("owner", 2), ("unknown", 3), ("revoked", 4)] {
            authority.client(path, name, serial, Flaw::None);
        }
        let settings = settings(path);
        let push = settings.push.clone().expect("a push API");
        let tls = PushTls::read(&push.files, false).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let snapshot = watch::Sender::new(Arc::new(Snapshot::default()));
        let events = Events::new(vec![]);
        let (agent, asks) = AgentHandle::new(events, snapshot.subscribe(), Heartbeat::default());
        let state = PushState {
            agent,
            permissions: push.permissions.clone(),
            deployments: Arc::new(deployments(&settings)),
            size_max: push.size_max,
            limits,
            metrics: metrics.clone(),
            audit: pilotfish::app::audit(&settings),
            tasks: TaskTracker::new(),
            now: pilotfish::app::now,
        };
        let stop = CancellationToken::new();
        let context = (tls, metrics.clone());
        tokio::spawn(serve_push(listener, router(state), limits, context, stop.clone()));
        let received = Arc::default();
        let answer = Arc::new(Mutex::new(Answer::Takes(Outcome::Updated)));
        let layers = Arc::default();
        let agent = TestAgent {
            received: Arc::clone(&received),
            answer: Arc::clone(&answer),
            layers: Arc::clone(&layers),
        };
        tokio::spawn(agent.run(asks, snapshot));
        Self { address, directory, authority, received, answer, layers, metrics, stop }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("a lock") = answer;
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.address.port())
    }

    /// A file of this many bytes.
    pub fn file(&self, bytes: usize) -> PathBuf {
        let path = self.path().join("archive.tar");
        std::fs::write(&path, vec![b'x'; bytes]).expect("a file");
        path
    }

    /// curl with the certificate of that client; without a name, without one.
    pub fn curl(&self, client: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "50", "-w", "\n%{http_code}"]);
        curl.arg("--cacert").arg(self.path().join("ca.crt"));
        if !client.is_empty() {
            curl.arg("--cert").arg(self.path().join(format!("{client}.crt")));
            curl.arg("--key").arg(self.path().join(format!("{client}.key")));
        }
        curl.stdin(Stdio::null()).kill_on_drop(true);
        curl
    }

    /// The lines of the audit.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path().join("audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
    }

    pub fn page(&self) -> String {
        self.metrics.render(&Snapshot::default(), DateTime::UNIX_EPOCH)
    }
}

/// The status, the body, and what curl itself says.
pub async fn said(mut curl: Command) -> (String, String, String) {
    let output: Output = tokio::time::timeout(LIMIT, curl.output())
        .await
        .expect("curl ends")
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", ""));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (status.to_owned(), body.to_owned(), error)
}

pub fn settings(directory: &Path) -> Settings {
    let path = directory.display();
    let text = format!(
        "state_dir = \"{path}\"\n[push]\naddress = \"127.0.0.1:0\"\nsize_max = \"10MB\"\n\
         cert_file = \"{path}/server.crt\"\nkey_file = \"{path}/server.key\"\n\
         client_ca_file = \"{path}/ca.crt\"\ncrl_file = \"{path}/crl.pem\"\n{RULES}"
    );
    pilotfish::config::load_text(&text, Path::new("pilotfish.toml")).expect("settings")
}

fn deployments(settings: &Settings) -> Deployments {
    let deployment = |it: &pilotfish::config::DeploymentSettings| Deployment {
        name: it.name.clone(),
        container: it.container.clone(),
        definition: None,
    };
    settings.deployments.iter().map(deployment).collect()
}

/// The agent of the test.
struct TestAgent {
    received: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<Answer>>,
    layers: Arc<Mutex<Vec<Digest>>>,
}

impl TestAgent {
    /// Answers until the server is gone. Keeps the sender of the snapshot, as an agent does.
    async fn run(self, mut asks: mpsc::Receiver<Ask>, _snapshot: watch::Sender<Arc<Snapshot>>) {
        while let Some(ask) = asks.recv().await {
            self.answer(ask);
        }
    }

    fn answer(&self, ask: Ask) {
        let answer = self.answer.lock().expect("a lock").clone();
        match ask.about_deployment().expect("a question about a deployment") {
            DeploymentAsk::Load(load, reply) => {
                let received = Arc::clone(&self.received);
                tokio::spawn(async move {
                    let end = take(load, answer, &received).await;
                    let _ = reply.send(end);
                });
            }
            DeploymentAsk::Act(_, reply) => _ = reply.send(Ok(DeploymentActEnd::Done)),
            DeploymentAsk::Show(show, reply) => {
                let names = show.names.unwrap_or_default();
                let _ = reply.send(Ok(names.into_iter().map(state_of).collect()));
            }
            DeploymentAsk::Layers(_, reply) => {
                let layers = self.layers.lock().expect("a lock").clone();
                let platform = "linux/arm64".to_owned();
                let known = KnownLayers { is_containerd: false, layers, platform };
                let _ = reply.send(Ok(known));
            }
            DeploymentAsk::Log(_, reply) => _ = reply.send(Ok(vec!["a line".to_owned()])),
        }
    }
}

async fn take(
    load: pilotfish::agent::LoadImage,
    answer: Answer,
    received: &Mutex<Vec<Received>>,
) -> Result<LoadEnd, AskError> {
    let pilotfish::agent::LoadImage { by, force, mut upload, deployment } = load;
    let refuse = |word| Err(AskError::from(PushRefusal::new(word, "the agent of the test")));
    if let Answer::RefusesAtOnce(word) = answer {
        return refuse(word);
    }
    let _ = upload.wanted.send(());
    let mut whole = Received {
        by,
        force,
        size: upload.size,
        digest: upload.digest.map(|digest| digest.to_string()),
        ..Received::default()
    };
    while let Some(part) = upload.parts.recv().await {
        match part {
            UploadPart::Bytes(bytes) => whole.bytes += bytes.len() as u64,
            UploadPart::End => whole.is_whole = true,
        }
        if let Answer::RefusesAfter(bytes, word) = answer
            && whole.bytes >= bytes
        {
            return refuse(word);
        }
    }
    let (is_whole, size) = (whole.is_whole, whole.bytes);
    let answer = match answer {
        Answer::LacksLayers(whole) if size >= whole => Answer::Takes(Outcome::Updated),
        other => other,
    };
    received.lock().expect("a lock").push(whole);
    match answer {
        Answer::Hangs => std::future::pending().await,
        Answer::LacksLayers(whole) if size < whole => refuse(RefusalWord::LayersMissing),
        Answer::Takes(outcome) if is_whole => Ok(LoadEnd::Ended {
            record: Box::new(record(&deployment, outcome)),
            image_id: format!("sha256:{}", "1".repeat(64)),
        }),
        _ => refuse(RefusalWord::BadArchive),
    }
}

fn record(container: &str, outcome: Outcome) -> Record {
    let now: DateTime<Utc> = pilotfish::app::now();
    let record = serde_json::json!({
        "id": "7", "image": "till:latest", "from": null, "to": null, "started_at": now,
        "finished_at": now, "outcome": "updated", "reason": null, "gap_seconds": 0.1,
        "container": container,
    });
    let record: Record = serde_json::from_value(record).expect("a record");
    Record { outcome, subject: Subject::container(container), ..record }
}

fn state_of(name: String) -> DeploymentState {
    DeploymentState {
        container: name.clone(),
        name,
        state: Some("running".to_owned()),
        image: Some("till:latest".to_owned()),
        image_id: None,
        pushed: None,
        stopped: None,
        has_new_definition: false,
        is_in_flight: false,
        refused: 0,
    }
}
