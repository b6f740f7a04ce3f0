//! Layer 2: the one loop that owns the state. The schedule, a push or a person starts a round. What
//! a round asks and does runs in tasks beside the loop, and comes back to it as a message.
//!
//! So the loop waits for nothing: a registry that hangs delays its own containers, an update in its
//! trial delays only what depends on the same containers or images. Everybody else reads the
//! snapshot.
//!
//! ```text
//! main_loop ─ wakeups ─┐
//!                      ├> round::course ──> execution ──> execution::outcomes ──> round::stages
//! handle::question ────┘   look, decide     gate, update    what became of it      report, hooks
//! ```

// The loop itself: what wakes it, and in which order it handles what came.
mod main_loop;
// When containers are due: schedules, windows that open, pushes.
mod wakeups;
mod pending;
// The loop's heartbeat, by which others see that it lives.
mod heartbeat;
// What every task needs: ports, settings, listener, the signal to stop.
mod context;
// The tasks beside the loop, and the messages with which they end.
mod tasks;
// One round: what it starts from, how it looks and decides, and what it reports.
mod round;
// The way from a decision to its update: one executor, the gate, the updates in flight, recovery.
mod execution;
// The door for everybody who asks: typed questions and answers, events, the snapshot.
mod handle;
// The agent's own container, which a helper updates.
mod self_update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::decide::EngineEndpoint;
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::pending::PendingUpdates;
use crate::core::decide::snapshot::Snapshot;
use crate::core::policy::PolicyDefaults;
use crate::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;
use crate::core::update::event::Trigger;
use crate::engine::EngineError;
use crate::execute::Places;
use crate::journal::JournalError;
use crate::observe::Cache;
use crate::ports::Ports;
use crate::recover::{self, Recovery};

use context::Context;
use execution::RunningTask;
use execution::executor::Executor;
use execution::in_flight::Updates;
use handle::answers::WaitingAsk;
use handle::events::StepNews;
pub use handle::events::{EventFilter, Events, Subscription};
pub use handle::question::{
    Allow, AskError, CheckPushed, Question, Recover, RecoverEnd, RollBack, RollbackEnd,
};
pub use handle::{AgentHandle, Ask, Pending};
pub use heartbeat::Heartbeat;
use round::{QueuedRound, Round, RoundId};
pub use round::{RoundEnd, RoundError, RoundRequest};
pub use self_update::SelfUpdateError;
use tasks::Tasks;

/// How many rounds may be under way before a person is refused another one. The schedule and pushes
/// never ask twice for the same container, so only people and scripts come anywhere near.
const ROUNDS_MAX: usize = 64;

/// What the agent goes by.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// What holds where a container's labels say nothing.
    pub defaults: PolicyDefaults,
    /// When to look.
    pub schedule: Schedule,
    /// How far the agents of a fleet are spread.
    pub jitter: Jitter,
    /// Where this device stands among them.
    pub device: DeviceFraction,
    /// The zone of every time of day.
    pub zone: Zone,
    /// How many images are pulled at once.
    pub pull_parallel: usize,
    /// How many updates may be in flight at once.
    pub update_parallel: usize,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// Where the Engine is reached over the network; absent: by its socket.
    pub engine_endpoint: Option<EngineEndpoint>,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The agent was asked to stop.
    Stopped,
    /// Other settings are to be followed from now on.
    Reload,
    /// A helper updates the agent's own container: it gets the lock, and the agent waits.
    SelfUpdating,
}

/// Hears how long a round took and whether everything in it could be checked.
pub trait RoundListener: Send + Sync {
    /// Hears of one round.
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
    /// What goes on beside the loop.
    tasks: Tasks<P>,
    /// What must happen one at a time; absent while it is at work.
    executor: Option<Box<Executor<P>>>,
    /// What it is doing.
    work: Option<RunningTask>,
    /// The updates in flight.
    updates: Updates,
    /// The steps that they begin.
    steps: mpsc::UnboundedReceiver<StepNews>,
    /// The updates that could be neither finished nor undone so far.
    recovery: Recovery,
    /// How many updates, and acts of the executor, have ended.
    acts: u64,
    /// The number of the act that touched a container last.
    touched: BTreeMap<String, u64>,
    /// Updates that are left open, as they were seen last.
    open: BTreeMap<String, OpenUpdate>,
    /// What was left behind without a journal and is not touched, by service.
    untouched: BTreeMap<String, OpenUpdate>,
    /// Who else holds the Engine, as far as it is known.
    other_agent: Option<String>,
    /// Whether its own update is still to be settled, because another agent held the Engine.
    is_unsettled: bool,
    rounds: BTreeMap<RoundId, Round>,
    next_round: RoundId,
    /// When the latest of the rounds began that have ended.
    latest: Option<Instant>,
    /// Rounds that wait for the Engine together with what was left open.
    postponed: Vec<QueuedRound>,
    /// Commands that wait for the executor, or for an update of their container.
    asks: VecDeque<WaitingAsk>,
    /// What was pushed for containers that were being asked or replaced.
    again: BTreeMap<String, Trigger>,
    /// Whether images may be there that were fetched ahead of their window. An earlier agent may
    /// have left some.
    has_prefetched_images: bool,
    /// Whether the Engine has told which mirrors it asks.
    mirrors_are_known: bool,
    /// Whether its own container is in the hands of a helper from now on.
    is_self_updating: bool,
    /// Whether what is open was given up, because the agent is to end.
    has_given_up: bool,
}

impl<P: Ports> Agent<P> {
    /// An agent that has not done anything yet. It says in `snapshot` how things stand, and ends
    /// soon after `stop` is cancelled.
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
            is_self_updating: false,
            has_given_up: false,
            context,
        }
    }

    /// The agent whose loop beats this heart.
    #[must_use]
    pub fn with_heart(mut self, heart: Heartbeat) -> Self {
        self.heart = heart;
        self
    }

    /// Counts one more start of this agent, and returns the number.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn count_start(&self) -> Result<u64, JournalError> {
        self.context.ports.state().count_start()
    }

    /// Runs one round, and says in the snapshot how it went.
    ///
    /// # Errors
    /// It could not run at all. What goes wrong with one container is in its report.
    pub async fn round(&mut self, request: &RoundRequest) -> Result<RoundEnd, AskError> {
        self.answer(request.clone()).await
    }

    /// Says whether the lock is for this agent. Where the Engine could not make a helper that is
    /// needed, the agent waits like one that has a helper, and settles it anew.
    async fn settle_now(&mut self) -> bool {
        self.context.look_at_own_restart_policy().await;
        self.context.settle().await.unwrap_or_else(|error| {
            self.context.warn(format!("the agent's own update cannot be settled: {error}"));
            !matches!(error, SelfUpdateError::Engine(_))
        })
    }

    /// Takes the lock of the Engine, unless the hands, which are away, hold it. Says who else does.
    async fn hold_engine(&mut self) -> Result<Option<String>, EngineError> {
        let Some(executor) = &mut self.executor else { return Ok(self.other_agent.clone()) };
        let other = executor.hold_engine().await;
        self.other_agent = executor.other_agent();
        other
    }

    /// Who else holds the Engine. A round that only looks asks; one that acts tries to hold it.
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

    /// Lets go of the Engine at a clean end.
    pub async fn release_engine_lock(&mut self) {
        if let Some(executor) = &mut self.executor {
            executor.release_engine_lock().await;
        }
    }

    /// Finishes or undoes what an earlier agent left open, without looking for news.
    async fn take_up_open(&mut self) {
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
        self.show_in_flight();
    }

    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }
}
