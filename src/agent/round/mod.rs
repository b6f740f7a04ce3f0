//! One round as a value: its request, what it waits for, and its results so far.
//!
//! Several rounds may be in progress: a container with its own schedule, a webhook or a command
//! does not wait for a registry that another round waits for.

// The input of a round: the list, the journals, the memory.
pub(in crate::agent) mod facts;
// It begins, looks, asks, and handles decisions.
pub(in crate::agent) mod course;
// Containers that are decided and updated together.
pub(in crate::agent) mod groups;
// Then: waiting updates, hooks, the second look, the answer.
pub(in crate::agent) mod stages;
// What a round publishes in the snapshot.
pub(in crate::agent) mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::agent::handle::question::{Answer, AskError};
use crate::core::decide::Decision;
use crate::core::decide::observation::{Observation, OpenUpdate};
use crate::core::decide::quota::Quota;
use crate::core::decide::report::{Report, Verdict};
use crate::core::policy::own_labels::IgnoredLabels;
use crate::core::service::outline::ServiceOutline;
use crate::core::update::event::Trigger;
use crate::core::update::history::Record;
use crate::core::update::plan::Outline;
use crate::engine::EngineError;
use crate::journal::JournalError;
use crate::recover::RecoverError;
use facts::LookFacts;

/// What a round is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundRequest {
    /// Only these containers; `None`: all that are watched.
    pub names: Option<BTreeSet<String>>,
    /// Not these, because they have their own schedule.
    pub except: BTreeSet<String>,
    /// Ignore windows and refusals, never safety.
    pub force: bool,
    /// Ignore the pause after failed tries: a person names the containers.
    pub tries_at_once: bool,
    /// Only decide.
    pub dry_run: bool,
    /// With `dry_run`: results of the last interval are enough, if they are still valid.
    pub may_be_known: bool,
}

/// How a round ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoundEnd {
    /// When the containers were looked at.
    pub checked_at: DateTime<Utc>,
    /// The results, by name.
    pub reports: Vec<Report>,
    /// What would be done, by name. Only a dry run fills it.
    pub outlines: Vec<Outline>,
    /// The same for services.
    pub service_outlines: Vec<ServiceOutline>,
    /// The updates that were carried out in this round.
    pub records: Vec<Record>,
    /// Earlier updates that had been left open, and ended now.
    pub recovered: Vec<Record>,
    /// What the registries say about their quotas, by registry.
    pub quotas: BTreeMap<String, Quota>,
    /// Labels of images that do not count.
    pub ignored_labels: Vec<IgnoredLabels>,
    /// The agent's own container, if the self-update helper updates it from now on.
    pub self_updating: Option<String>,
}

/// Why a round could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The Engine did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another agent holds the Engine.
    #[error("{0}")]
    AnotherAgent(String),
    /// Names that no watched container has.
    #[error("no watched container is named {}; a container is watched when it has the label pilotfish.enable=true", .0.join(", "))]
    UnknownNames(Vec<String>),
}

impl From<RecoverError> for RoundError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Journal(error) => Self::Journal(error),
            RecoverError::Engine(error) => Self::Engine(error),
        }
    }
}

/// Identifies a round; IDs count up.
pub(in crate::agent) type RoundId = u64;

/// What receives the result of a round.
pub(in crate::agent) enum Reply {
    /// Only the snapshot and the metrics.
    Nobody,
    /// Also a command.
    Asker(Answer<RoundEnd>),
    /// Nothing: the round only looks again at containers that were changed, so it does not count as
    /// a check. At its end it runs the given function, for example to answer the command that
    /// changed them.
    After(Option<Finish>),
}

/// The function that runs at the end of a look.
pub(in crate::agent) type Finish = Box<dyn FnOnce() + Send>;

impl Reply {
    /// Sends the result. The receiver may be gone by then.
    pub(in crate::agent) fn send(self, ended: Result<RoundEnd, RoundError>) {
        match self {
            Self::Nobody | Self::After(None) => {}
            Self::Asker(answer) => {
                let _ = answer.send(ended.map_err(AskError::Round));
            }
            Self::After(Some(finish)) => finish(),
        }
    }
}

/// A round that has not begun.
pub(in crate::agent) struct QueuedRound {
    pub(in crate::agent) request: RoundRequest,
    pub(in crate::agent) trigger: Trigger,
    pub(in crate::agent) reply: Reply,
    pub(in crate::agent) begun: Instant,
    /// Whether it has already waited for the Engine. It waits only once.
    pub(in crate::agent) has_waited: bool,
}

impl QueuedRound {
    pub(in crate::agent) fn new(request: RoundRequest, trigger: Trigger, reply: Reply) -> Self {
        Self { request, trigger, reply, begun: Instant::now(), has_waited: false }
    }

    /// Whether no command waits for it.
    pub(in crate::agent) fn is_due(&self) -> bool {
        matches!(self.reply, Reply::Nobody)
    }
}

/// The stage of a round. A round stays in a stage until it waits for no registry and no update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Stage {
    /// Looks at its containers and carries out the decisions.
    Looking,
    /// Looks once more at the containers that it has touched.
    Reporting,
    /// Hands the agent's own container over to the self-update helper, after everything else.
    HandingOver,
    /// Drops images that are not needed any more.
    Dropping,
    /// Runs the post-check hooks.
    Hooks,
}

/// A container with an action to carry out.
pub(in crate::agent) struct DueContainer {
    pub(in crate::agent) observation: Observation,
    pub(in crate::agent) facts: Arc<LookFacts>,
    /// The decision of the look.
    pub(in crate::agent) decision: Decision,
}

/// A round in progress.
pub(in crate::agent) struct Round {
    pub(in crate::agent) order: QueuedRound,
    pub(in crate::agent) stage: Stage,
    pub(in crate::agent) end: RoundEnd,
    /// The containers that it leaves to other rounds or updates.
    pub(in crate::agent) skipped: BTreeSet<String>,
    /// The earlier reports of its containers.
    pub(in crate::agent) before: Vec<Report>,
    /// How many questions to the Engine, or hooks, it waits for.
    pub(in crate::agent) questions: usize,
    /// The containers that wait for their registry's answer.
    pub(in crate::agent) asked: BTreeSet<String>,
    /// The containers that wait for the end of an update or of recovery.
    pub(in crate::agent) waiting: BTreeSet<String>,
    /// The actions to carry out, in this order.
    pub(in crate::agent) due: VecDeque<DueContainer>,
    /// The members of groups that are decided, by group: they wait for the others.
    pub(in crate::agent) grouped: BTreeMap<String, Vec<DueContainer>>,
    /// How many updates, and tasks of the executor, it waits for.
    pub(in crate::agent) acting: usize,
    /// Open updates, as it saw them last.
    pub(in crate::agent) open: BTreeMap<String, OpenUpdate>,
    /// The containers that it updated or pulled an image for, or tried to.
    pub(in crate::agent) touched: BTreeSet<String>,
    /// The agent's own container.
    pub(in crate::agent) own: Option<DueContainer>,
}

impl Round {
    pub(in crate::agent) fn new(order: QueuedRound, checked_at: DateTime<Utc>) -> Self {
        Self {
            order,
            stage: Stage::Looking,
            end: RoundEnd { checked_at, ..RoundEnd::default() },
            skipped: BTreeSet::new(),
            before: Vec::new(),
            questions: 0,
            asked: BTreeSet::new(),
            waiting: BTreeSet::new(),
            due: VecDeque::new(),
            grouped: BTreeMap::new(),
            acting: 0,
            open: BTreeMap::new(),
            touched: BTreeSet::new(),
            own: None,
        }
    }

    /// Whether it waits for nothing in this stage.
    pub(in crate::agent) fn is_at_rest(&self) -> bool {
        self.questions == 0
            && self.asked.is_empty()
            && self.waiting.is_empty()
            && self.due.is_empty()
            && self.grouped.is_empty()
            && self.acting == 0
    }

    /// The agent is ending: drops everything that has not begun.
    pub(in crate::agent) fn cancel_remaining(&mut self) {
        self.questions = 0;
        self.asked.clear();
        self.waiting.clear();
        self.due.clear();
        self.grouped.clear();
        self.own = None;
    }

    /// Adds the plan of a decision to the result of a dry run.
    pub(in crate::agent) fn outline(&mut self, decision: &Decision) {
        if let Decision::Update(plan) | Decision::HandOver(plan) = decision {
            self.end.outlines.push(Outline::of(plan));
        }
    }

    /// Whether every container could be checked. For containers that it left to other rounds their
    /// latest report counts.
    pub(in crate::agent) fn has_succeeded(&self, latest: &[Report]) -> bool {
        let is_checked = |report: &Report| report.verdict != Verdict::Error;
        let of = |name: &String| latest.iter().find(|report| report.subject.is_container(name));
        self.end.reports.iter().all(is_checked)
            && self.skipped.iter().all(|name| of(name).is_some_and(is_checked))
    }
}
