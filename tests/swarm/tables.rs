//! The tables of the tests: a Swarm with `tableservice`, the executor on its manager, and a probe
//! at each table.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use pilotfish::core::decide::memory::Memory;
use pilotfish::core::decide::offer::{LookupError, Offer};
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::docker::reference::{Digest, Platform, Reference};
use pilotfish::core::service::decision::{ServiceCase, ServiceDecision, decide};
use pilotfish::core::service::facts::ServiceFacts;
use pilotfish::core::service::node::read_nodes;
use pilotfish::core::service::plan::{ServiceHeader, ServiceOffer, ServicePlan};
use pilotfish::core::service::task::read_tasks;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::event::{Event, Listener};
use pilotfish::core::update::history::Record;
use pilotfish::engine::Services;
use pilotfish::engine::docker::DockerEngine;
use pilotfish::engine::docker::address::Address;
use pilotfish::execute::{Places, ServiceEnded, ServiceUpdate, UpdateContext};
use pilotfish::host::RealHost;
use pilotfish::journal::{RealDisk, StateDirectory};
use pilotfish::ports::AllPorts;
use pilotfish::registry::{Credentials, Registry};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::probe::{Probe, Service, ask};
use crate::support::registry::Published;
use crate::support::swarm::Swarm;

/// How long each new task must run in the tests.
const STABLE: Duration = Duration::from_secs(4);

/// How long a task may take to become healthy.
const HEALTHY: Duration = Duration::from_secs(12);

/// How long a fresh service may take to serve everywhere.
const SERVE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long Swarm may watch a change after the agent's verdict.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than any update of the tests takes.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(240);

/// The executor asks no registry: its plan names the digests.
#[derive(Debug)]
pub struct NoRegistry;

impl Registry for NoRegistry {
    async fn head(&self, _reference: &Reference) -> Result<Digest, LookupError> {
        panic!("the executor asked a registry")
    }

    async fn resolve(
        &self,
        _reference: &Reference,
        _digest: &Digest,
        _platform: &Platform,
    ) -> Result<Offer, LookupError> {
        panic!("the executor asked a registry")
    }

    async fn document(&self, _: &Reference, _: &Digest) -> Result<Vec<u8>, LookupError> {
        panic!("the executor asked a registry")
    }

    async fn credentials(&self, _registry: &str) -> Result<Option<Credentials>, LookupError> {
        panic!("the executor asked a registry")
    }
}

type Ports = AllPorts<DockerEngine, NoRegistry, RealDisk, RealHost>;

/// The events of an update, for a person who reads a failed test.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Listener for Log {
    fn receive(&self, event: &Event) {
        let line = match event {
            Event::UpdateEnded(record) => format!("ended {}", record.outcome.word()),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("not poisoned").push(line);
    }
}

/// A Swarm with the service on its two tables.
pub struct Tables {
    pub swarm: Swarm,
    state: tempfile::TempDir,
    log: Arc<Log>,
    /// How long each new task must run.
    pub stable: Duration,
    /// The digest of the first look at the tag.
    assumed: Option<Digest>,
}

/// How an update ended, and what the probes saw.
#[derive(Debug)]
pub struct Seen {
    pub record: Record,
    pub tables: Vec<Service>,
}

impl Tables {
    /// A Swarm whose service was created with the tag (`--no-resolve-image`), or with the digest,
    /// of this release.
    pub fn with(release: &Release, is_pinned: bool) -> Self {
        let swarm = Swarm::start();
        let image = swarm.registry.publish("till", release);
        let reference = swarm.reference(&image);
        let pinned = format!("{reference}@{}", image.digest);
        swarm.create_tableservice(if is_pinned { &pinned } else { &reference });
        let tables = Self::of(swarm, &image);
        tables.wait_until_serving("till 1");
        tables
    }

    /// A Swarm whose service was created with this image.
    pub fn of(swarm: Swarm, image: &Published) -> Self {
        let state = tempfile::tempdir().expect("a state directory");
        let assumed = image.digest.parse().ok();
        Self { swarm, state, log: Arc::default(), stable: STABLE, assumed }
    }

    /// Waits until every table answers this.
    pub fn wait_until_serving(&self, answer: &str) {
        for table in &self.swarm.tables {
            wait_until(&format!("a table answers {answer}"), SERVE_TIMEOUT, || {
                ask(table.address_of(80)).as_deref() == Some(answer)
            });
        }
    }

    /// Waits until so many tasks run.
    pub fn wait_until_running(&self, count: usize) {
        wait_until("all tasks run", SERVE_TIMEOUT, || {
            let tasks = self.swarm.tasks("tableservice");
            tasks.iter().filter(|task| task.contains("\"running\" \"running\"")).count() == count
        });
    }

    pub fn publish(&self, release: &Release) -> Published {
        self.swarm.registry.publish("till", release)
    }

    fn engine(&self) -> DockerEngine {
        let address = Address::Unix(self.swarm.manager.socket());
        DockerEngine::new(address, None).expect("an adapter")
    }

    fn ports(&self) -> Ports {
        AllPorts {
            engine: self.engine(),
            registry: NoRegistry,
            state: StateDirectory::open(self.state.path()).expect("a state directory"),
            host: RealHost::default(),
        }
    }

    /// The service's document.
    pub fn service(&self) -> Value {
        self.swarm.service("tableservice").expect("the service")
    }

    /// What the agent remembers.
    pub fn memory(&self) -> Memory {
        self.ports().state.memory().expect("the memory")
    }

    /// What is decided when the tag points at this image.
    pub async fn decide(&self, image: &Published) -> (ServiceDecision, Value, Vec<Value>) {
        let engine = self.engine();
        let membership = engine.swarm().await.expect("the Swarm");
        let service = engine.service("tableservice").await.expect("an answer");
        let service = service.expect("the service");
        let facts = ServiceFacts::read(&service).expect("a service");
        let nodes = read_nodes(&engine.nodes().await.expect("the nodes"));
        let tasks = engine.tasks(&facts.id).await.expect("the tasks");
        let memory = self.memory();
        let case = ServiceCase {
            facts: &facts,
            nodes: &nodes,
            own_node: &membership.node_id,
            assumed: self.assumed.as_ref(),
            memory: &memory,
            stable: self.stable,
            healthy: HEALTHY,
            now: Utc::now(),
        };
        let digest = image.digest.parse().expect("a digest");
        let offer = ServiceOffer { digest, manifests: BTreeSet::new(), platforms: None };
        (decide(case, &offer), service, tasks)
    }

    /// The header of an update to this image, which must be decided. Swarm watches an earlier
    /// change for some seconds longer than the agent does.
    pub async fn header(&self, image: &Published) -> ServiceHeader {
        let deadline = Instant::now() + MONITOR_TIMEOUT;
        loop {
            let (decision, service, tasks) = self.decide(image).await;
            match decision {
                ServiceDecision::No(no)
                    if no.reason == Reason::ServiceUpdating && Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                decision => {
                    let plan = plan_of(decision);
                    return ServiceHeader::begin(plan, &service, &read_tasks(&tasks), Utc::now());
                }
            }
        }
    }

    /// Runs a future of the executor's world.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// Updates to this image, with a probe at each table.
    pub fn update(&self, image: &Published) -> Seen {
        self.watched(|| self.block_on(self.run(image, &CancellationToken::new())))
    }

    /// Runs an update from its beginning.
    pub async fn run(&self, image: &Published, stop: &CancellationToken) -> ServiceEnded {
        self.run_with(image, stop, None).await
    }

    /// The same with a login for the registry.
    pub async fn run_with(
        &self,
        image: &Published,
        stop: &CancellationToken,
        credentials: Option<&Credentials>,
    ) -> ServiceEnded {
        let header = self.header(image).await;
        let (ports, places) = (self.ports(), Places::new(2));
        let context = UpdateContext { ports: &ports, listener: &*self.log, stop, places: &places };
        let update = ServiceUpdate::begin(context, header).expect("a journal");
        update.run(credentials).await
    }

    /// Resumes the one open update.
    pub async fn take_up(&self) -> ServiceEnded {
        let (ports, places, stop) = (self.ports(), Places::new(2), CancellationToken::new());
        let context =
            UpdateContext { ports: &ports, listener: &*self.log, stop: &stop, places: &places };
        let mut journals = ports.state.open_service_journals().expect("journals");
        assert_eq!(journals.len(), 1, "open journals");
        ServiceUpdate::of(context, journals.remove(0)).take_up().await
    }

    /// How many updates are open.
    pub fn open_updates(&self) -> usize {
        self.ports().state.open_service_journals().expect("journals").len()
    }

    /// How many updates are open in the state directory of an agent.
    pub fn open_updates_in(&self, state: &Path) -> usize {
        let state = StateDirectory::reading(state).expect("a state directory");
        state.open_service_journals().expect("journals").len()
    }

    /// Runs an update, with a probe at each table until it has ended.
    pub fn watched(&self, run: impl FnOnce() -> ServiceEnded) -> Seen {
        let address = |table: &crate::support::engine::Engine| table.address_of(80);
        let probes: Vec<_> = self.swarm.tables.iter().map(address).map(Probe::start).collect();
        let begun = Instant::now();
        let ended = run();
        let took = begun.elapsed();
        // Late deaths would show here.
        thread::sleep(Duration::from_secs(2));
        let tables: Vec<_> = probes.into_iter().map(Probe::stop).collect();
        let ServiceEnded::Finished(record) = ended else {
            panic!("{ended:?}\n{}\n{:#?}", self.story(), self.swarm.tasks("tableservice"));
        };
        assert!(took < UPDATE_TIMEOUT, "it took {took:?}");
        let gaps: Vec<_> = tables.iter().map(|table| &table.gaps).collect();
        eprintln!("{} in {took:.1?}: gaps {gaps:.1?}\n{}", record.outcome.word(), self.story());
        Seen { record: *record, tables }
    }

    /// The events so far.
    pub fn story(&self) -> String {
        self.log.0.lock().expect("not poisoned").join("\n")
    }

    /// Asserts that nothing is in flight: no journal, no job, the user's own settings.
    #[track_caller]
    pub fn assert_settled(&self) {
        assert_eq!(self.open_updates(), 0, "open journals");
        let services = self.swarm.manager.call("GET", "/services").json();
        let names: Vec<_> = services.as_array().expect("a list").iter().collect();
        assert_eq!(names.len(), 1, "a job was left: {names:#?}");
        assert_eq!(self.service()["Spec"]["UpdateConfig"], Value::Null, "the user's settings");
    }

    /// Whether the agent refuses this image.
    pub fn refused(&self, image: &Published) -> bool {
        let digest = image.digest.parse().expect("a digest");
        self.memory().refusal(&Subject::service("tableservice"), &digest).is_some()
    }
}

/// The plan of a decision.
pub fn plan_of(decision: ServiceDecision) -> ServicePlan {
    match decision {
        ServiceDecision::Update(plan) => *plan,
        other => panic!("no update: {other:?}"),
    }
}
