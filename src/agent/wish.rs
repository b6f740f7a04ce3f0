//! What a person may ask of the agent, at the keyboard or through its control socket: the same
//! wishes, carried out by the same code.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::look::Start;
use super::{Agent, Request, RoundEnd, RoundError};
use crate::core::decide::observation::{Observation, Previous};
use crate::core::decide::offer::Offer;
use crate::core::decide::reason::Reason;
use crate::core::decide::{No, origin, roll_back};
use crate::core::docker::notification::Pushed;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::update::handover::Task;
use crate::core::update::history::Record;
use crate::core::update::plan::Plan;
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::journal::JournalError;
use crate::observe::{self, Surroundings};
use crate::recover::Recovered;
use crate::world::Ports;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// A round now.
    Round(Request),
    /// A round now, over the containers that these pushes concern.
    Pushed(Vec<Pushed>),
    /// Back to the image before.
    RollBack(String),
    /// Forget the refused digests of a container.
    Allow(String),
    /// Finish or undo what was left open, given-up ones included.
    Recover,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fulfilled {
    /// A round ended.
    Round(Box<RoundEnd>),
    /// A rollback ended, one way or the other.
    RolledBack(Box<Record>),
    /// A helper carries out the rollback of the agent's own container.
    HandedOver(String),
    /// So many digests were forgotten.
    Allowed(usize),
    /// These updates ended, and these containers still need a person.
    Recovered {
        /// The updates that ended now.
        records: Vec<Record>,
        /// Containers whose update could still not be finished or undone.
        open: Vec<String>,
    },
}

/// The containers that stand otherwise now. After a round that is known already.
pub(super) fn touched(wish: &Wish, fulfilled: &Fulfilled) -> BTreeSet<String> {
    match (wish, fulfilled) {
        (_, Fulfilled::RolledBack(record)) => BTreeSet::from([record.container.clone()]),
        (Wish::Allow(name), Fulfilled::Allowed(1..)) => BTreeSet::from([name.clone()]),
        (_, Fulfilled::Recovered { records, open }) => {
            let ended = records.iter().map(|record| record.container.clone());
            ended.chain(open.iter().cloned()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Why a wish could not be fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// The round could not run at all.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// A "no" stands in the way of a rollback.
    #[error("{container} cannot be rolled back: {reason}{detail}; {advice}")]
    No {
        /// The container.
        container: String,
        /// The word.
        reason: Reason,
        /// The details, with a colon before them.
        detail: String,
        /// What to do about it.
        advice: String,
    },
    /// There is no image to go back to.
    #[error("{container} cannot be rolled back: {detail}")]
    NothingBefore {
        /// The container.
        container: String,
        /// Why not.
        detail: String,
    },
    /// The update was left open.
    #[error("the rollback of {0} was left open; `pilotfish recover` finishes or undoes it")]
    LeftOpen(String),
}

impl From<EngineError> for WishError {
    fn from(error: EngineError) -> Self {
        Self::Round(error.into())
    }
}

impl From<JournalError> for WishError {
    fn from(error: JournalError) -> Self {
        Self::Round(error.into())
    }
}

/// A wish on its way to the loop, and the way back for what came of it. Whoever wished may be gone
/// by then.
#[derive(Debug)]
pub struct Errand {
    /// The wish.
    pub wish: Wish,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Fulfilled, WishError>>,
}

impl<P: Ports> Agent<P> {
    /// Fulfils a wish.
    ///
    /// # Errors
    /// It could not be fulfilled; nothing was changed that the history does not tell of.
    pub async fn fulfil(&mut self, wish: Wish) -> Result<Fulfilled, WishError> {
        match wish {
            Wish::Round(request) => {
                let end = match self.known(&request).await {
                    Some(known) => known,
                    None => self.round(&request).await?,
                };
                Ok(Fulfilled::Round(Box::new(end)))
            }
            Wish::Pushed(pushed) => Ok(Fulfilled::Round(Box::new(self.look_at(&pushed).await?))),
            Wish::RollBack(name) => self.roll_back(name).await,
            Wish::Allow(name) => self.allow(&name).await,
            Wish::Recover => self.recover().await,
        }
    }

    /// A round over the containers that follow what was pushed. There may be none: a registry tells
    /// of everything.
    async fn look_at(&mut self, pushed: &[Pushed]) -> Result<RoundEnd, WishError> {
        let is_meant =
            |reference: &Reference| pushed.iter().any(|pushed| pushed.concerns(reference));
        let list = self.list().await?;
        let watched = (list.as_slice(), &self.settings.defaults);
        let names = observe::following(&*self.ports, &mut self.cache, watched, is_meant).await;
        if names.is_empty() {
            return Ok(RoundEnd { checked_at: self.ports.host().now(), ..RoundEnd::default() });
        }
        let request = Request { names: Some(names), ..Request::default() };
        Ok(self.round_over(Some(list), &request).await?)
    }

    async fn allow(&mut self, name: &str) -> Result<Fulfilled, WishError> {
        let mut memory = self.ports.state().memory()?;
        if !memory.refused.contains_key(name) {
            let names = Some(BTreeSet::from([name.to_owned()]));
            let request = Request { names, ..Request::default() };
            let open = self.open_updates().await?;
            let list = self.list().await?;
            self.check_names(&request, &list, &open)?;
        }
        let count = memory.allow(name);
        self.ports.state().remember(&memory)?;
        let refused = self.refused();
        self.publish(|snapshot| snapshot.refused = refused);
        Ok(Fulfilled::Allowed(count))
    }

    async fn recover(&mut self) -> Result<Fulfilled, WishError> {
        let Recovered { records, open } = self.settle_leftovers(true).await?;
        let open = open.into_keys().collect();
        Box::pin(self.recover_itself()).await;
        Ok(Fulfilled::Recovered { records, open })
    }

    async fn roll_back(&mut self, container: String) -> Result<Fulfilled, WishError> {
        let names = Some(BTreeSet::from([container.clone()]));
        let request = Request { names, force: true, ..Request::default() };
        let list = self.list().await?;
        self.check_names(&request, &list, &BTreeMap::new())?;
        let open = self.recovery.run(&*self.ports, &*self.listener, &self.stop, false).await;
        let open = open.map_err(RoundError::from)?.open;
        let circumstances = self.circumstances(&request);
        let memory = self.ports.state().memory()?;
        let start = Start { list: &self.list().await?, memory: &memory, open: &open };
        let mut seen = self.look_without_registry(&request, &circumstances, start).await?;
        let mut observation =
            seen.pop().ok_or_else(|| RoundError::UnknownNames(vec![container.clone()]))?;
        if origin::is_open(&observation) {
            observe::ask_origin(&*self.ports, std::iter::once(&mut observation)).await;
        }
        let kept = self.kept_image(&observation).await?;
        let surroundings = Surroundings { defaults: &self.settings.defaults, open: &open };
        self.cache.forget_neighbours();
        let cache = &mut self.cache;
        let readiness = observe::readiness(&*self.ports, cache, &surroundings, &observation).await;
        let readiness = readiness.ok_or_else(|| nothing(&container, "the Engine does not tell"))?;
        let plan: Plan = roll_back(&observation, &readiness, &kept, &circumstances)
            .map_err(|no| refused(&container, &no))?;
        if observation.is_self {
            Box::pin(self.hand_over(&plan, &readiness.original, Task::RollBack)).await;
            let open = WishError::LeftOpen(container.clone());
            return self.is_handed_over.then_some(Fulfilled::HandedOver(container)).ok_or(open);
        }
        let record = self.update(plan, Some(Box::new(readiness))).await?;
        record
            .map(|record| Fulfilled::RolledBack(Box::new(record)))
            .ok_or(WishError::LeftOpen(container))
    }

    /// The image before, as if it were offered.
    async fn kept_image(&self, observation: &Observation) -> Result<Offer, WishError> {
        let container = &observation.name;
        let id = match &observation.previous {
            Previous::Kept(id) => id,
            Previous::Gone(_) => {
                let detail = "the previous image is no longer on this machine; `docker image prune -a` \
                              takes it";
                return Err(nothing(container, detail));
            }
            Previous::None => return Err(nothing(container, "it was never updated")),
        };
        let document = self.ports.engine().inspect_image(id).await?;
        let document = document.ok_or_else(|| nothing(container, "its image has just gone"))?;
        let config: Digest =
            id.parse().map_err(|_| nothing(container, "the image has no digest for an ID"))?;
        let memory = self.ports.state().memory()?;
        let names = document.pointer("/RepoDigests").and_then(serde_json::Value::as_array);
        let from_names = names.into_iter().flatten().filter_map(serde_json::Value::as_str);
        let pulled_as = from_names
            .filter_map(|name| name.parse::<Reference>().ok()?.digest)
            .chain(memory.known.get(id).into_iter().flatten().cloned())
            .next();
        Ok(Offer::of_local(&document, config, pulled_as))
    }
}

fn nothing(container: &str, detail: &str) -> WishError {
    WishError::NothingBefore { container: container.to_owned(), detail: detail.to_owned() }
}

fn refused(container: &str, no: &No) -> WishError {
    let detail = if no.detail.is_empty() { String::new() } else { format!(" ({})", no.detail) };
    WishError::No {
        container: container.to_owned(),
        reason: no.reason,
        detail,
        advice: no.reason.advice().replace("NAME", container),
    }
}
