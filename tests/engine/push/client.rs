//! A client of deployments: the agent with its real Engine in a process of its own, which does one
//! thing for a client and ends. So a test can kill it like any agent.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilotfish::agent::{
    ActOnDeployment, Agent, AgentHandle, AgentSettings, AskError, DeploymentAct, Events, Heartbeat,
    LoadEnd, LoadImage, ReadLog, RoundListener, ShowDeployments, ShowLayers, Upload, UploadPart,
};
use pilotfish::app::{self, Listeners};
use pilotfish::config;
use pilotfish::core::deployment::{Definition, Deployment};
use pilotfish::core::policy::PolicyDefaults;
use pilotfish::core::time::schedule::{DeviceFraction, Schedule};
use pilotfish::core::update::event::Asker;
use pilotfish::registry::RegistryObserver;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::support::Pi;

/// The variable with the job of the process.
const JOB: &str = "PILOTFISH_PUSH_JOB";

/// What stands before the answer in the output.
const ANSWER: &str = "ANSWER ";

/// What the process does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    state: PathBuf,
    engine: PathBuf,
    container: String,
    definition: Option<Value>,
    act: String,
    archive: PathBuf,
    force: bool,
    digest: Option<String>,
    /// How many bytes of the archive are sent; then the upload breaks off.
    cut: Option<u64>,
}

/// The deployment `till` of a Pi.
pub struct Client<'a> {
    pi: &'a Pi,
    pub definition: Option<Value>,
    pub force: bool,
    pub digest: Option<String>,
    pub cut: Option<u64>,
}

impl<'a> Client<'a> {
    pub fn of(pi: &'a Pi) -> Self {
        Self { pi, definition: None, force: false, digest: None, cut: None }
    }

    /// Does something, and returns the answer.
    pub fn act(&self, act: &str) -> Value {
        self.run(act, Path::new(""))
    }

    /// Pushes an archive.
    pub fn push(&self, archive: &Path) -> Value {
        self.run("load", archive)
    }

    fn run(&self, act: &str, archive: &Path) -> Value {
        let child = self.spawn(act, archive);
        let output = child.wait_with_output().expect("the output of the client");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = text.lines().find_map(|line| line.split_once(ANSWER));
        let (_, answer) = answer.unwrap_or_else(|| {
            panic!("no answer to {act}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        serde_json::from_str(answer).expect("JSON")
    }

    /// Begins to push, in a process that may be killed.
    pub fn spawn(&self, act: &str, archive: &Path) -> Child {
        let job = Job {
            state: self.pi.agent.state(),
            engine: self.pi.engine.socket(),
            container: "till".into(),
            definition: self.definition.clone(),
            act: act.into(),
            archive: archive.to_owned(),
            force: self.force,
            digest: self.digest.clone(),
            cut: self.cut,
        };
        let job = serde_json::to_string(&job).expect("JSON");
        let program = std::env::current_exe().expect("this program");
        let mut command = self.pi.engine.command(program);
        command.args(["push::client::process", "--exact", "--nocapture"]).env(JOB, job);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the client")
    }
}

/// The process itself; nothing in an ordinary run of the tests.
#[test]
fn process() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_str(&job).expect("a job");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.expect("a runtime").block_on(Box::pin(carry_out(job)));
    println!("{ANSWER}{answer}");
}

async fn carry_out(job: Job) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut agent, handle, mut queue, stop) = agent(&job);
    let work = async {
        let answer = ask(&handle, &job).await;
        stop.cancel();
        answer
    };
    let reload = Notify::new();
    let (_, answer) = tokio::join!(Box::pin(agent.run(&mut queue, &reload)), work);
    answer
}

type RealAgent = Agent<app::RealPorts>;

fn agent(
    job: &Job,
) -> (RealAgent, AgentHandle, mpsc::Receiver<pilotfish::agent::Ask>, CancellationToken) {
    let text = format!(
        "state_dir = {:?}\ndocker_host = \"unix://{}\"\n[health]\ntimeout = \"8s\"\nstable = \"1s\"\n",
        job.state,
        job.engine.display()
    );
    let settings = config::load_text(&text, Path::new("push.toml")).expect("settings");
    let stop = CancellationToken::new();
    let (snapshot, seen) = watch::channel(Arc::default());
    let events = Events::new(Vec::new());
    let listeners = Listeners {
        snapshot: snapshot.clone(),
        events: events.clone(),
        rounds: Arc::new(Deaf),
        registries: Arc::new(Deaf),
    };
    let ports =
        app::agent(&settings, Arc::default(), listeners, stop.clone()).expect("an agent").ports();
    let definition = job.definition.clone();
    let definition = definition.map(|body| Definition::read("till", body).expect("a definition"));
    let deployment =
        Deployment { name: "till".into(), container: job.container.clone(), definition };
    let deployments = Arc::new([deployment].into_iter().collect());
    let settings = AgentSettings {
        defaults: PolicyDefaults { deployments, ..settings.policy_defaults() },
        schedule: Schedule::Every(Duration::from_secs(3600)),
        jitter: settings.jitter,
        device: DeviceFraction::from_identity("push"),
        zone: settings.time_zone.clone(),
        pull_parallel: 2,
        update_parallel: 16,
        pull_window: settings.pull_window.clone(),
        engine_endpoint: None,
    };
    let heart = Heartbeat::default();
    let (handle, queue) = AgentHandle::new(events.clone(), seen, heart.clone());
    let agent = Agent::new(ports, settings, events, Arc::new(Deaf), snapshot, stop.clone());
    (agent.with_heart(heart), handle, queue, stop)
}

struct Deaf;

impl RoundListener for Deaf {
    fn round(&self, _succeeded: bool, _took: Duration) {}
}

impl RegistryObserver for Deaf {
    fn request(&self, _registry: &str, _code: &str) {}

    fn rate_limit_remaining(&self, _registry: &str, _remaining: u64) {}
}

async fn ask(agent: &AgentHandle, job: &Job) -> Value {
    let (deployment, by) = ("till".to_owned(), "dns:ci.example".to_owned());
    let act = match job.act.as_str() {
        "load" => return load(agent, job).await,
        "show" => {
            let names = Some(vec![deployment]);
            let states = agent.ask(Asker::Push, ShowDeployments { names }).await;
            let states = states.expect("the state");
            let state = states.first().expect("one deployment");
            return json!({
                "state": state.state,
                "pushed": state.pushed.as_ref().map(|act| act.by.clone()),
                "stopped": state.stopped.as_ref().map(|act| act.by.clone()),
                "new_definition": state.has_new_definition,
                "refused": state.refused,
            });
        }
        "layers" => {
            let known = agent.ask(Asker::Push, ShowLayers { deployment }).await.expect("layers");
            return json!({ "containerd": known.is_containerd, "layers": known.layers });
        }
        "log" => {
            let lines = agent.ask(Asker::Push, ReadLog { deployment, lines: 5 }).await;
            return json!({ "lines": lines.expect("lines") });
        }
        "start" => DeploymentAct::Start,
        "stop" => DeploymentAct::Stop,
        "restart" => DeploymentAct::Restart,
        "rollback" => DeploymentAct::RollBack,
        "allow" => DeploymentAct::Allow,
        other => panic!("{other} is no act"),
    };
    match agent.ask(Asker::Push, ActOnDeployment { deployment, by, act }).await {
        Ok(end) => json!({ "done": format!("{end:?}").split(['(', ' ']).next() }),
        Err(error) => refused(&error),
    }
}

async fn load(agent: &AgentHandle, job: &Job) -> Value {
    let (wanted, is_wanted) = oneshot::channel();
    let (sender, parts) = mpsc::channel(4);
    let upload = Upload {
        wanted,
        parts,
        size: job.archive.metadata().ok().map(|file| file.len()),
        digest: job.digest.as_ref().map(|digest| digest.parse().expect("a digest")),
    };
    let (deployment, by) = ("till".to_owned(), "dns:ci.example".to_owned());
    let load = LoadImage { deployment, by, force: job.force, upload };
    let before = peak_memory();
    let mut pending = agent.begin(Asker::Push, load).expect("taken");
    let (archive, cut) = (job.archive.clone(), job.cut);
    let send = async move {
        if is_wanted.await.is_ok() {
            send(&archive, cut, sender).await;
        }
    };
    let (answer, ()) = tokio::join!(pending.answer(), send);
    let grown = peak_memory() - before;
    match answer {
        Ok(LoadEnd::Ended { record, image_id }) => json!({
            "outcome": record.outcome.word(), "reason": record.reason, "by": record.by,
            "image": image_id, "grown_kb": grown,
        }),
        Ok(LoadEnd::AlreadyRuns { image_id }) => json!({ "runs": image_id }),
        Err(error) => refused(&error),
    }
}

async fn send(archive: &Path, cut: Option<u64>, sender: mpsc::Sender<UploadPart>) {
    let file = File::open(archive).expect("the archive");
    let mut file = file.take(cut.unwrap_or(u64::MAX));
    loop {
        let mut block = vec![0; 64 * 1024];
        let length = file.read(&mut block).expect("to read");
        if length == 0 {
            break;
        }
        block.truncate(length);
        if sender.send(UploadPart::Bytes(Bytes::from(block))).await.is_err() {
            return;
        }
    }
    if cut.is_none() {
        let _ = sender.send(UploadPart::End).await;
    }
}

fn refused(error: &AskError) -> Value {
    match error {
        AskError::Push(refusal) => {
            json!({ "refused": refusal.word.word(), "detail": refusal.detail })
        }
        error => json!({ "refused": "error", "detail": error.to_string() }),
    }
}

/// The most memory that this process has had, in kB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The names of all images with a tag of ours for pushes.
pub fn push_tags(pi: &Pi) -> BTreeSet<String> {
    let out = pi.engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    out.lines().filter(|line| line.starts_with("pilotfish-push/")).map(str::to_owned).collect()
}

/// The images without a name.
pub fn unnamed(pi: &Pi) -> BTreeSet<String> {
    let out = pi.engine.docker(&["images", "--quiet", "--no-trunc", "--filter", "dangling=true"]);
    out.lines().map(str::to_owned).collect()
}

/// Runs a program, such as `gzip`, over a file.
pub fn convert(program: &str, arguments: &[&str], from: &Path, to: &Path) {
    let (from, to) = (File::open(from).expect("a file"), File::create(to).expect("a file"));
    let status = Command::new(program).args(arguments).stdin(from).stdout(to).status();
    assert!(status.expect("the program").success(), "{program}");
}
