//! Layer 2: the main loop, which owns the state. The schedule, a webhook or a command starts a
//! round. The questions and actions of a round run in tasks beside the loop; each task ends with a
//! message to the loop.
//!
//! So the loop never waits: a registry that hangs delays only its own containers, and an update in
//! verification delays only updates that share a container or an image with it. All other readers
//! use the snapshot.
//!
//! ```text
//! main_loop ─ wakeups ─┐
//!                      ├> round::course ──> execution ──> execution::outcomes ──> round::stages
//! handle::question ────┘   look, decide     gate, update    what became of it      report, hooks
//! ```

// The loop itself: what wakes it, and in which order it handles events.
mod main_loop;
// When containers are due: schedules, windows that open, webhooks.
mod wakeups;
mod pending;
// The loop's heartbeat, for the health check.
mod heartbeat;
// What every task needs: ports, settings, listener, stop signal.
mod context;
// The tasks beside the loop, and the messages that end them.
mod tasks;
// One round: its input, its look, its decisions, its report.
mod round;
// The device in its fleet: whose turn it is.
mod fleet;
// From a decision to its update: one executor, the gate, the updates in flight, recovery.
mod execution;
// Deployments: images that clients push, and what else they ask of their containers.
mod deployments;
// The interface of the agent: typed questions and answers, events, the snapshot.
mod handle;
// Services of a Swarm.
mod services;
// The agent's own container, which the self-update helper updates.
mod self_update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::decide::EngineEndpoint;
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::pending::PendingUpdates;
use crate::core::decide::snapshot::Snapshot;
use crate::core::decide::update_lock::ReportedLocks;
use crate::core::group::settle::SettleClock;
use crate::core::policy::PolicyDefaults;
use crate::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;
use crate::core::update::event::Trigger;
use crate::engine::EngineError;
use crate::execute::Places;
pub use crate::execute::{Upload, UploadPart};
use crate::journal::JournalError;
use crate::observe::{Cache, ComposeHooks};
use crate::ports::Ports;
use crate::recover::{self, Recovery};

use context::Context;
use deployments::DeploymentsAtWork;
use execution::RunningTask;
use execution::executor::Executor;
use execution::in_flight::Updates;
use fleet::Fleet;
use handle::answers::WaitingAsk;
pub use handle::deployments::{
    ActOnDeployment, DeploymentAct, DeploymentActEnd, DeploymentAsk, DeploymentState, KnownLayers,
    LOG_LINES_MAX, LoadEnd, LoadImage, ReadLog, ShowDeployments, ShowLayers,
};
use handle::events::StepNews;
pub use handle::events::{EventFilter, Events, Subscription};
pub use handle::question::{
    Allow, AskError, CheckPushed, FleetNews, FleetStep, Question, Recover, RecoverEnd, RollBack,
    RollbackEnd,
};
pub use handle::{AgentHandle, Ask, Pending};
pub use heartbeat::Heartbeat;
use round::{QueuedRound, Round, RoundId};
pub use round::{RoundEnd, RoundError, RoundRequest};
pub use self_update::SelfUpdateError;
use services::SwarmState;
use tasks::Tasks;

/// How many rounds may be in progress before a command is refused. The schedule and webhooks never
/// check a container twice at the same time, so only people and scripts can reach this.
const ROUNDS_MAX: usize = 64;

/// The settings of the agent.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The policy for labels that a container does not have.
    pub defaults: PolicyDefaults,
    /// When to check.
    pub schedule: Schedule,
    /// How far the checks of a fleet are spread in time.
    pub jitter: Jitter,
    /// The place of this device in the fleet.
    pub device: DeviceFraction,
    /// The time zone of all times of day.
    pub zone: Zone,
    /// How many images are pulled at once.
    pub pull_parallel: usize,
    /// How many updates may be in flight at once.
    pub update_parallel: usize,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// The Engine's network address; absent if the agent uses its socket.
    pub engine_endpoint: Option<EngineEndpoint>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The agent was asked to stop.
    Stopped,
    /// A new configuration must be applied.
    Reload,
    /// The self-update helper updates the agent's own container: the helper takes the lock, and the
    /// agent waits.
    SelfUpdating,
}

/// Receives the duration of each round, and whether every container could be checked.
pub trait RoundListener: Send + Sync {
    /// Receives one round.
    fn round(&self, succeeded: bool, took: Duration);
}

/// The agent.
pub struct Agent<P: Ports> {
    context: Context<P>,
    rounds_heard: Arc<dyn RoundListener>,
    heart: Heartbeat,
    snapshot: watch::Sender<Arc<Snapshot>>,
    cache: Arc<Cache>,
    pending: PendingUpdates,
    /// The hooks of Compose files, which no update runs.
    compose_hooks: ComposeHooks,
    /// The overdue locks of updates that the log has named.
    reported_locks: ReportedLocks,
    /// The tasks beside the loop.
    tasks: Tasks<P>,
    /// The executor, for work that must happen one at a time; absent while it works.
    executor: Option<Box<Executor<P>>>,
    /// What the executor is doing.
    work: Option<RunningTask>,
    /// The updates in flight.
    updates: Updates,
    /// The steps that the updates in flight begin.
    steps: mpsc::UnboundedReceiver<StepNews>,
    /// Updates that could not be finished or undone so far.
    recovery: Recovery,
    /// How many updates, and tasks of the executor, have ended.
    acts: u64,
    /// For each container: the number of the last update or task that touched it.
    touched: BTreeMap<String, u64>,
    /// Open updates, as of the last look.
    open: BTreeMap<String, OpenUpdate>,
    /// Containers without a journal that the agent does not touch, by service.
    untouched: BTreeMap<String, OpenUpdate>,
    /// The other agent that holds the Engine's lock, if one is known.
    other_agent: Option<String>,
    /// Whether the agent's own self-update must still be settled, because another agent held the
    /// Engine's lock.
    is_unsettled: bool,
    rounds: BTreeMap<RoundId, Round>,
    next_round: RoundId,
    /// When the latest ended round began.
    latest: Option<Instant>,
    /// Rounds that wait for the Engine, together with the recovery of open updates.
    postponed: Vec<QueuedRound>,
    /// Commands that wait for the executor, or for an update of their container.
    asks: VecDeque<WaitingAsk>,
    /// Containers that a webhook named while they were being checked or replaced; they are checked
    /// again.
    again: BTreeMap<String, Trigger>,
    /// Whether there may be images that were pulled before their window. An earlier agent may have
    /// left some.
    has_prefetched_images: bool,
    /// Whether the Engine's registry settings are known.
    mirrors_are_known: bool,
    /// Where the Engine keeps its images, as far as the agent can see it.
    image_directories: Vec<PathBuf>,
    /// Whether the self-update helper updates the agent's own container from now on.
    is_self_updating: bool,
    /// Whether the agent has dropped its open work, because it is ending.
    has_given_up: bool,
    /// The fleet of this device; absent if it is in none.
    fleet: Option<Fleet>,
    /// The services of the Swarm that this Engine manages.
    swarm: SwarmState,
    /// Since when each group is offered the same digests.
    settle: SettleClock,
    /// When the agent was created, on the clock of `settle`.
    created: Instant,
    /// What clients ask of deployments.
    deployments: DeploymentsAtWork,
}

impl<P: Ports> Agent<P> {
    /// An agent that has done nothing yet. It publishes its state in `snapshot`, and ends soon
    /// after `stop` is cancelled.
    pub fn new(
        ports: Arc<P>,
        settings: AgentSettings,
        events: Arc<Events>,
        rounds: Arc<dyn RoundListener>,
        snapshot: watch::Sender<Arc<Snapshot>>,
        stop: CancellationToken,
    ) -> Self {
        let settings = Arc::new(settings);
        let places = Arc::new(Places::new(settings.pull_parallel));
        let (sender, steps) = mpsc::unbounded_channel();
        let context = Context::new(ports, settings, (events, sender), stop, places);
        Self {
            rounds_heard: rounds,
            heart: Heartbeat::default(),
            snapshot,
            cache: Arc::default(),
            pending: PendingUpdates::default(),
            compose_hooks: ComposeHooks::default(),
            reported_locks: ReportedLocks::default(),
            tasks: Tasks::new(),
            executor: Some(Box::new(Executor::new(context.clone()))),
            work: None,
            updates: Updates::default(),
            steps,
            recovery: Recovery::default(),
            acts: 0,
            touched: BTreeMap::new(),
            open: BTreeMap::new(),
            untouched: BTreeMap::new(),
            other_agent: None,
            is_unsettled: false,
            rounds: BTreeMap::new(),
            next_round: 0,
            latest: None,
            postponed: Vec::new(),
            asks: VecDeque::new(),
            again: BTreeMap::new(),
            has_prefetched_images: true,
            mirrors_are_known: false,
            image_directories: Vec::new(),
            is_self_updating: false,
            has_given_up: false,
            fleet: None,
            swarm: SwarmState::default(),
            settle: SettleClock::default(),
            created: Instant::now(),
            deployments: DeploymentsAtWork::default(),
            context,
        }
    }

    /// Sets the heartbeat that the loop uses.
    #[must_use]
    pub fn with_heart(mut self, heart: Heartbeat) -> Self {
        self.heart = heart;
        self
    }

    /// The ports that the agent uses, for others that share them.
    #[must_use]
    pub fn ports(&self) -> Arc<P> {
        Arc::clone(&self.context.ports)
    }

    /// Counts one more start of this agent, and returns the number.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn count_start(&self) -> Result<u64, JournalError> {
        self.context.ports.state().count_start()
    }

    /// Runs one round, and publishes its result in the snapshot.
    ///
    /// # Errors
    /// The round could not run at all. An error of one container is in its report.
    pub async fn round(&mut self, request: &RoundRequest) -> Result<RoundEnd, AskError> {
        self.answer(request.clone()).await
    }

    /// Returns whether this agent may work. If the Engine could not create a helper that is needed,
    /// the agent waits as if it had a helper, and tries again.
    async fn settle_now(&mut self) -> bool {
        self.context.look_at_own_restart_policy().await;
        self.context.settle().await.unwrap_or_else(|error| {
            self.context.warn(format!("the agent's own update cannot be settled: {error}"));
            !matches!(error, SelfUpdateError::Engine(_))
        })
    }

    /// Takes the Engine's lock; if the executor is busy, it already has the lock. Returns the other
    /// agent that holds it.
    async fn hold_engine(&mut self) -> Result<Option<String>, EngineError> {
        let Some(executor) = &mut self.executor else { return Ok(self.other_agent.clone()) };
        let other = executor.hold_engine().await;
        self.other_agent = executor.other_agent();
        other
    }

    /// The other agent that holds the Engine's lock. A dry run only reads the lock; any other round
    /// tries to take it.
    async fn other_engine_holder(
        &mut self,
        request: &RoundRequest,
    ) -> Result<Option<String>, EngineError> {
        if !request.dry_run {
            return self.hold_engine().await;
        }
        if let Some(executor) = &self.executor {
            self.other_agent = executor.inspect_engine_lock().await;
        }
        Ok(self.other_agent.clone())
    }

    /// Releases the Engine's lock at a clean end.
    pub async fn release_engine_lock(&mut self) {
        if let Some(executor) = &mut self.executor {
            executor.release_engine_lock().await;
        }
    }

    /// Finishes or undoes the updates that an earlier agent left open, without a check for new
    /// images.
    async fn take_up_open(&mut self) {
        // If the Engine is away, the next round asks it.
        if self.follow_engine().await.is_ok() {
            self.follow_services().await;
            self.take_up_services();
            self.remove_leftover_jobs().await;
        }
        self.sweep_pushes().await;
        let mut names: BTreeSet<_> = match self.open_updates().await {
            Ok(open) => open.into_keys().collect(),
            Err(error) => {
                let detail = format!("recovery waits for the next round: {error}");
                return self.context.warn(detail);
            }
        };
        if let Ok(list) = self.context.list().await {
            names.extend(recover::left_behind(&list, &BTreeMap::new()));
        }
        self.recover_open(names);
    }

    fn note_step(&mut self, news: &StepNews) {
        self.updates.note_step(&news.subject, news.step);
        self.swarm.note_step(&news.subject, news.step);
        self.show_in_flight();
    }

    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }
}
