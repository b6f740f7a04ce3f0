//! What a person may ask of the agent, at the keyboard or through its control socket: the same
//! wishes, carried out by the same code.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::round::{QueuedRound, Reply, ReplySender};
use super::{Agent, ROUNDS_MAX, RoundEnd, RoundError, RoundRequest};
use crate::core::decide::No;
use crate::core::decide::observation::{Observation, Previous};
use crate::core::decide::offer::Offer;
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::docker::webhook::Push;
use crate::core::subject::Subject;
use crate::core::update::history::Record;
use crate::engine::{Engine, EngineError};
use crate::journal::JournalError;
use crate::observe;
use crate::ports::Ports;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentCommand {
    /// A round now.
    Round(RoundRequest),
    /// A round now, over the containers that these pushes concern.
    Push(Vec<Push>),
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
pub enum CommandReply {
    /// A round ended.
    Round(Box<RoundEnd>),
    /// The registries of so many containers are asked now, or once they are free.
    Asking(usize),
    /// A rollback ended, one way or the other.
    RolledBack(Box<Record>),
    /// A helper carries out the rollback of the agent's own container.
    SelfUpdating(String),
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

/// Why a wish could not be fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
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
    /// More is asked of the agent than anybody would ask by hand.
    #[error("{ROUNDS_MAX} rounds are under way already; try again when some have ended")]
    TooMany,
    /// The agent is to end.
    #[error("the agent ended before it came to this")]
    Ended,
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        Self::Round(error.into())
    }
}

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        Self::Round(error.into())
    }
}

/// A wish on its way to the loop, and the way back for what came of it. Whoever wished may be gone
/// by then.
#[derive(Debug)]
pub struct QueuedCommand {
    /// The wish.
    pub command: AgentCommand,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<CommandReply, CommandError>>,
}

impl<P: Ports> Agent<P> {
    /// Fulfils a wish, and does nothing else meanwhile but what belongs to it.
    ///
    /// # Errors
    /// It could not be fulfilled; nothing was changed that the history does not tell of.
    pub async fn carry_out(&mut self, command: AgentCommand) -> Result<CommandReply, CommandError> {
        let (answer, mut answered) = oneshot::channel();
        self.take(QueuedCommand { command, answer }).await;
        loop {
            match answered.try_recv() {
                Ok(reply) => return reply,
                Err(TryRecvError::Empty) if self.go_on().await => {}
                Err(_) => return Err(CommandError::Ended),
            }
        }
    }

    /// Takes a wish on. Its answer goes out when it is fulfilled, and whoever wished may have gone
    /// away by then; the wish is fulfilled all the same.
    pub(super) async fn take(&mut self, QueuedCommand { command, answer }: QueuedCommand) {
        let is_full = self.rounds.len() + self.commands.len() >= ROUNDS_MAX;
        let refused = match command {
            AgentCommand::Round(_) | AgentCommand::RollBack(_) | AgentCommand::Recover
                if is_full =>
            {
                Err(CommandError::TooMany)
            }
            AgentCommand::Round(request) => match self.known(&request).await {
                Some(known) => Ok(CommandReply::Round(Box::new(known))),
                None => {
                    let order = QueuedRound::new(request, Reply::Person(answer));
                    self.begin(order, None).await;
                    return self.advance().await;
                }
            },
            AgentCommand::Push(pushed) => self.look_at(&pushed).await,
            AgentCommand::Allow(name) => match self.allow(&name).await {
                Ok(count) => {
                    let names = BTreeSet::from_iter((count > 0).then_some(name));
                    return self.look_before(CommandReply::Allowed(count), names, answer).await;
                }
                Err(error) => Err(error),
            },
            AgentCommand::RollBack(name) => match self.check_name(&name).await {
                Ok(()) => {
                    self.commands.push_back((AgentCommand::RollBack(name), answer));
                    return self.advance().await;
                }
                Err(error) => Err(error),
            },
            AgentCommand::Recover => {
                self.commands.push_back((AgentCommand::Recover, answer));
                return self.advance().await;
            }
        };
        let _ = answer.send(refused);
        self.advance().await;
    }

    /// What a person has touched is looked at again before the answer, so that nobody is shown how
    /// it stood before. A command without an agent shows nothing to anybody else.
    pub(super) async fn look_before(
        &mut self,
        reply: CommandReply,
        names: BTreeSet<String>,
        answer: ReplySender,
    ) {
        if names.is_empty() || !self.context.is_resident {
            let _ = answer.send(Ok(reply));
        } else {
            let request =
                RoundRequest { names: Some(names), dry_run: true, ..RoundRequest::default() };
            let reply = Reply::Instead(Some((answer, Box::new(reply))));
            self.begin(QueuedRound::new(request, reply), None).await;
        }
        self.advance().await;
    }

    /// Looks at the containers that follow what was pushed. There may be none: a registry tells of
    /// everything. One that is being asked or replaced at the moment is looked at once that is
    /// over, because what was pushed may be newer than what comes of it.
    async fn look_at(&mut self, pushed: &[Push]) -> Result<CommandReply, CommandError> {
        let is_meant =
            |reference: &Reference| pushed.iter().any(|pushed| pushed.concerns(reference));
        let list = self.list().await?;
        let watched = (list.as_slice(), &self.context.settings.defaults);
        let ports = &*self.context.ports;
        let mut names = observe::following(ports, &mut self.cache, watched, is_meant).await;
        let count = names.len();
        let busy = self.busy_names();
        self.again.extend(names.intersection(&busy).cloned());
        names.retain(|name| !busy.contains(name));
        if !names.is_empty() {
            let request = RoundRequest { names: Some(names), ..RoundRequest::default() };
            self.begin(QueuedRound::new(request, Reply::Nobody), Some(list)).await;
        }
        Ok(CommandReply::Asking(count))
    }

    async fn allow(&mut self, name: &str) -> Result<usize, CommandError> {
        let mut memory = self.context.ports.state().memory()?;
        let subject = Subject::container(name);
        if !memory.refused.contains_key(&subject) {
            self.check_name(name).await?;
            memory = self.context.ports.state().memory()?;
        }
        let count = memory.allow(&subject);
        self.context.ports.state().remember(&memory)?;
        self.show_refused();
        Ok(count)
    }

    async fn check_name(&mut self, name: &str) -> Result<(), CommandError> {
        let names = Some(BTreeSet::from([name.to_owned()]));
        let list = self.list().await?;
        let open = self.open_updates().await?;
        Ok(self.check_names(&RoundRequest { names, ..RoundRequest::default() }, &list, &open)?)
    }
}

/// The image before, as if it were offered.
pub(super) async fn kept_image<P: Ports>(
    ports: &P,
    observation: &Observation,
) -> Result<Offer, CommandError> {
    let container = &observation.name;
    let id = match &observation.previous {
        Previous::Kept(id) => id,
        Previous::Gone(_) => {
            let detail = "the previous image is no longer on this machine; `docker image prune -a` \
                          takes it";
            return Err(nothing(container, detail));
        }
        Previous::None => return Err(nothing(container, "it was never updated")),
        Previous::Unknown(why) => return Err(nothing(container, why)),
    };
    let document = ports.engine().inspect_image(id).await?;
    let document = document.ok_or_else(|| nothing(container, "its image has just gone"))?;
    let config: Digest =
        id.parse().map_err(|_| nothing(container, "the image has no digest for an ID"))?;
    let memory = ports.state().memory()?;
    let names = document.pointer("/RepoDigests").and_then(serde_json::Value::as_array);
    let from_names = names.into_iter().flatten().filter_map(serde_json::Value::as_str);
    let pulled_as = from_names
        .filter_map(|name| name.parse::<Reference>().ok()?.digest)
        .chain(memory.known.get(id).into_iter().flatten().cloned())
        .next();
    Ok(Offer::of_local(&document, config, pulled_as))
}

pub(super) fn nothing(container: &str, detail: &str) -> CommandError {
    CommandError::NothingBefore { container: container.to_owned(), detail: detail.to_owned() }
}

pub(super) fn refused(container: &str, no: &No) -> CommandError {
    let detail = if no.detail.is_empty() { String::new() } else { format!(" ({})", no.detail) };
    CommandError::No {
        container: container.to_owned(),
        reason: no.reason,
        detail,
        advice: no.reason.advice().replace("NAME", container),
    }
}
