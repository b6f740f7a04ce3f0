//! One round as a value: what it is about, what it still waits for, and what it has found so far.
//!
//! Several may be under way: a container with a schedule of its own, a push or a person does not
//! wait for a registry that others wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::facts::LookFacts;
use super::question::{Answer, AskError};
use crate::core::decide::Decision;
use crate::core::decide::observation::{Observation, OpenUpdate};
use crate::core::decide::quota::Quota;
use crate::core::decide::report::{Report, Verdict};
use crate::core::policy::own_labels::IgnoredLabels;
use crate::core::update::event::Trigger;
use crate::core::update::history::Record;
use crate::core::update::plan::Outline;
use crate::engine::EngineError;
use crate::journal::JournalError;
use crate::recover::RecoverError;

/// What a round is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRequest {
    /// Only these containers; `None`: all that are watched.
    pub names: Option<BTreeSet<String>>,
    /// Not these: they have a schedule of their own.
    pub except: BTreeSet<String>,
    /// Windows and refusals do not hold; safety does.
    pub force: bool,
    /// A person names the containers: a pause after tries that failed does not hold.
    #[serde(default)]
    pub tries_at_once: bool,
    /// Decide, and leave it at that.
    pub dry_run: bool,
    /// With `dry_run`: what was found within the last interval will do, where it still holds.
    pub may_be_known: bool,
}

/// How a round ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundEnd {
    /// When the containers were looked at.
    pub checked_at: DateTime<Utc>,
    /// What was found, by name.
    pub reports: Vec<Report>,
    /// What would be done, by name. Filled by a dry run alone.
    pub outlines: Vec<Outline>,
    /// The updates that were carried out in this round.
    pub records: Vec<Record>,
    /// Earlier updates that had been left open, and ended now.
    pub recovered: Vec<Record>,
    /// What the registries say of their quotas, by registry.
    #[serde(default)]
    pub quotas: BTreeMap<String, Quota>,
    /// Labels of images that do not count.
    #[serde(default)]
    pub ignored_labels: Vec<IgnoredLabels>,
    /// The agent's own container, where a helper updates it from now on.
    #[serde(default)]
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

/// Tells rounds apart, in the order in which they began.
pub(super) type RoundId = u64;

/// Who hears how a round ended.
pub(super) enum Reply {
    /// The snapshot and the metrics alone.
    Nobody,
    /// The asker as well.
    Asker(Answer<RoundEnd>),
    /// Nobody: it only looks again at what was touched, so nothing is counted. What waits for the
    /// look, such as the answer to a person who touched it, is sent at its end.
    After(Option<Finish>),
}

/// What is done at the end of a look.
pub(super) type Finish = Box<dyn FnOnce() + Send>;

impl Reply {
    /// Sends the answer. The asker may be gone by then.
    pub(super) fn send(self, ended: Result<RoundEnd, RoundError>) {
        match self {
            Self::Nobody | Self::After(None) => {}
            Self::Asker(answer) => {
                let _ = answer.send(ended.map_err(AskError::Round));
            }
            Self::After(Some(finish)) => finish(),
        }
    }
}

/// A round that is to begin.
pub(super) struct QueuedRound {
    pub(super) request: RoundRequest,
    pub(super) trigger: Trigger,
    pub(super) reply: Reply,
    pub(super) begun: Instant,
    /// Whether it has waited for the Engine already, which is done once.
    pub(super) has_waited: bool,
}

impl QueuedRound {
    pub(super) fn new(request: RoundRequest, trigger: Trigger, reply: Reply) -> Self {
        Self { request, trigger, reply, begun: Instant::now(), has_waited: false }
    }

    /// Whether no asker waits for it.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.reply, Reply::Nobody)
    }
}

/// Where a round stands. What still waits for a registry or for an update keeps it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its containers are looked at, and what was decided is carried out.
    Looking,
    /// What was touched is looked at once more.
    Reporting,
    /// The agent's own container goes to a helper, behind everything else.
    HandingOver,
    /// Images that nobody waits for any more are dropped.
    Dropping,
    /// The hooks after the round run.
    Hooks,
}

/// A container for which something is to be done.
pub(super) struct DueContainer {
    pub(super) observation: Observation,
    pub(super) facts: Arc<LookFacts>,
    /// What was decided when it was looked at.
    pub(super) decision: Decision,
}

/// A round under way.
pub(super) struct Round {
    pub(super) order: QueuedRound,
    pub(super) stage: Stage,
    pub(super) end: RoundEnd,
    /// Whom it would be about if others did not ask them, or work on them, already.
    pub(super) skipped: BTreeSet<String>,
    /// How its containers were reported before.
    pub(super) before: Vec<Report>,
    /// How many questions to the Engine, or hooks, it waits for.
    pub(super) questions: usize,
    /// The containers that wait for what their registry answers.
    pub(super) asked: BTreeSet<String>,
    /// The containers that wait for the end of an update, or of recovery.
    pub(super) waiting: BTreeSet<String>,
    /// What is to be carried out, in this order.
    pub(super) due: VecDeque<DueContainer>,
    /// How many updates, and acts of the executor, it waits for.
    pub(super) acting: usize,
    /// Updates that were left open, as it saw them last.
    pub(super) open: BTreeMap<String, OpenUpdate>,
    /// What was updated or fetched, or was meant to be.
    pub(super) touched: BTreeSet<String>,
    /// The agent's own container.
    pub(super) own: Option<DueContainer>,
}

impl Round {
    pub(super) fn new(order: QueuedRound, checked_at: DateTime<Utc>) -> Self {
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
            acting: 0,
            open: BTreeMap::new(),
            touched: BTreeSet::new(),
            own: None,
        }
    }

    /// Whether it waits for nothing in this stage.
    pub(super) fn is_at_rest(&self) -> bool {
        self.questions == 0
            && self.asked.is_empty()
            && self.waiting.is_empty()
            && self.due.is_empty()
            && self.acting == 0
    }

    /// The agent is to end: nothing more is asked or begun.
    pub(super) fn cancel_remaining(&mut self) {
        self.questions = 0;
        self.asked.clear();
        self.waiting.clear();
        self.due.clear();
        self.own = None;
    }

    /// What would be done, for a dry run.
    pub(super) fn outline(&mut self, decision: &Decision) {
        if let Decision::Update(plan) | Decision::HandOver(plan) = decision {
            self.end.outlines.push(Outline::of(plan));
        }
    }

    /// Whether every container of it could be checked; those that were left to others by their
    /// latest report.
    pub(super) fn has_succeeded(&self, latest: &[Report]) -> bool {
        let is_checked = |report: &Report| report.verdict != Verdict::Error;
        let of = |name: &String| latest.iter().find(|report| report.container == *name);
        self.end.reports.iter().all(is_checked)
            && self.skipped.iter().all(|name| of(name).is_some_and(is_checked))
    }
}
