//! How the loop takes questions: it answers some at once; the others begin a round or wait for the
//! executor.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Ask;
use super::question::{Answer, AskError, AskKind, Question, RecoverEnd};
use crate::agent::deployments::order::{ClientAnswer, PushOrder, RollbackAnswer};
use crate::agent::round::{Finish, QueuedRound, Reply};
use crate::agent::{Agent, ROUNDS_MAX, RoundEnd, RoundRequest};
use crate::core::decide::observation::{Observation, Previous};
use crate::core::decide::offer::Offer;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::docker::webhook::Push;
use crate::core::subject::Subject;
use crate::core::update::event::{Asker, Trigger};
use crate::engine::Images;
use crate::observe::{self, Groups};
use crate::ports::Ports;

/// The trigger of a command that runs without an agent.
const ALONE: Trigger = Trigger::Asked { id: 0, by: Asker::CommandLine };

/// A question that waits for the executor, or for an update of its container.
pub(in crate::agent) struct WaitingAsk {
    pub(in crate::agent) trigger: Trigger,
    pub(in crate::agent) kind: WaitingKind,
}

pub(in crate::agent) enum WaitingKind {
    /// The name, and the containers that it means.
    RollBack(String, BTreeSet<String>, RollbackAnswer),
    Push(Box<PushOrder>, ClientAnswer),
    Recover(Answer<RecoverEnd>),
}

impl WaitingKind {
    /// Whether it is about this container.
    pub(in crate::agent) fn concerns(&self, container: &str) -> bool {
        match self {
            Self::RollBack(_, names, _) => names.contains(container),
            Self::Push(order, _) => order.deployment.container == container,
            Self::Recover(_) => false,
        }
    }

    /// Whether it is a push.
    pub(in crate::agent) const fn is_push(&self) -> bool {
        matches!(self, Self::Push(..))
    }
}

impl WaitingAsk {
    /// Removes and returns the first question that does not wait for an update of its own
    /// container.
    pub(in crate::agent) fn next(
        waiting: &mut VecDeque<Self>,
        in_flight: &BTreeSet<String>,
    ) -> Option<Self> {
        let is_free = |ask: &Self| match &ask.kind {
            WaitingKind::RollBack(_, names, _) => names.is_disjoint(in_flight),
            WaitingKind::Push(order, _) => !in_flight.contains(&order.deployment.container),
            WaitingKind::Recover(_) => true,
        };
        let position = waiting.iter().position(is_free)?;
        waiting.remove(position)
    }
}

impl<P: Ports> Agent<P> {
    /// Answers one question and does only what belongs to it: for a command without a running
    /// agent.
    ///
    /// # Errors
    /// It could not be done. The history has everything that was changed.
    pub async fn answer<Q: Question>(&mut self, question: Q) -> Result<Q::Answer, AskError> {
        let (answer, mut answered) = oneshot::channel();
        self.take(Ask { trigger: ALONE, kind: question.into_ask(answer) }).await;
        loop {
            match answered.try_recv() {
                Ok(reply) => return reply,
                Err(TryRecvError::Empty) if self.go_on().await => {}
                Err(_) => return Err(AskError::Ended),
            }
        }
    }

    /// Takes a question from the queue.
    pub(in crate::agent) async fn take(&mut self, Ask { trigger, kind }: Ask) {
        match kind {
            AskKind::Round(request, answer) => self.take_round(request, trigger, answer).await,
            AskKind::CheckPushed(pushed, answer) => {
                let count = self.check_pushed(&pushed, trigger).await;
                let _ = answer.send(count);
            }
            AskKind::Allow(name, answer) => match self.allow(&name).await {
                Ok(count) => {
                    let mut names = BTreeSet::from_iter((count > 0).then_some(name.clone()));
                    if let Some(members) = self.members_of(&name).await {
                        names = members;
                    }
                    self.answer_after_look(Ok(count), names, answer).await;
                }
                error => _ = answer.send(error),
            },
            AskKind::RollBack(name, answer) => {
                let checked = if self.is_full() { Err(AskError::TooMany) } else { Ok(()) };
                let checked = match checked {
                    Ok(()) => self.check_name(&name).await,
                    full => full,
                };
                let service = self.swarm.find(&name).map(str::to_owned);
                match (checked, service) {
                    (Ok(()), Some(service)) => self.roll_service_back(&service, answer).await,
                    (Ok(()), None) => {
                        let names = self.members_of(&name).await;
                        let names = names.unwrap_or_else(|| BTreeSet::from([name.clone()]));
                        let answer = RollbackAnswer::Person(answer);
                        self.wait(trigger, WaitingKind::RollBack(name, names, answer));
                    }
                    (Err(error), _) => _ = answer.send(Err(error)),
                }
            }
            AskKind::FleetNews(news, answer) => {
                let _ = answer.send(Ok(self.take_fleet_news(&news, trigger).await));
            }
            AskKind::Deployment(ask) => self.take_deployment_ask(ask, trigger).await,
            AskKind::Recover(answer) if self.is_full() => _ = answer.send(Err(AskError::TooMany)),
            AskKind::Recover(answer) => self.wait(trigger, WaitingKind::Recover(answer)),
        }
        self.advance().await;
    }

    fn is_full(&self) -> bool {
        self.rounds.len() + self.asks.len() >= ROUNDS_MAX
    }

    pub(in crate::agent) fn wait(&mut self, trigger: Trigger, kind: WaitingKind) {
        self.asks.push_back(WaitingAsk { trigger, kind });
    }

    async fn take_round(
        &mut self,
        request: RoundRequest,
        trigger: Trigger,
        answer: Answer<RoundEnd>,
    ) {
        if self.is_full() {
            let _ = answer.send(Err(AskError::TooMany));
        } else if let Some(known) = self.known(&request).await {
            let _ = answer.send(Ok(known));
        } else {
            self.begin(QueuedRound::new(request, trigger, Reply::Asker(answer)), None).await;
        }
    }

    /// Looks again at the containers that a command has changed, and then sends the answer, so that
    /// the person sees the new state. A command without an agent has no other readers, so it skips
    /// the look.
    pub(in crate::agent) async fn answer_after_look<T: Send + 'static>(
        &mut self,
        reply: Result<T, AskError>,
        names: BTreeSet<String>,
        answer: Answer<T>,
    ) {
        self.finish_after_look(names, Box::new(move || _ = answer.send(reply))).await;
    }

    /// The same with any way to answer.
    pub(in crate::agent) async fn finish_after_look(
        &mut self,
        names: BTreeSet<String>,
        finish: Finish,
    ) {
        if names.is_empty() || !self.context.is_resident {
            return finish();
        }
        self.look_once(names, Some(finish)).await;
        self.advance().await;
    }

    /// Looks at containers outside of any round, and then runs `finish`.
    pub(in crate::agent) async fn look_once(
        &mut self,
        names: BTreeSet<String>,
        finish: Option<Finish>,
    ) {
        let request = RoundRequest { names: Some(names), dry_run: true, ..RoundRequest::default() };
        let order = QueuedRound::new(request, Trigger::Schedule, Reply::After(finish));
        self.begin(order, None).await;
    }

    /// Checks the containers that follow the pushed tags. There may be none, because a registry
    /// reports every push. A container that is being checked or replaced now is checked again
    /// afterwards, because the push may be newer than the registry's answer.
    async fn check_pushed(&mut self, pushed: &[Push], trigger: Trigger) -> Result<usize, AskError> {
        let is_meant =
            |reference: &Reference| pushed.iter().any(|pushed| pushed.concerns(reference));
        let list = self.list().await?;
        let watched = (list.as_slice(), &self.context.settings.defaults);
        let ports = &*self.context.ports;
        let mut names = observe::following(ports, &mut self.cache, watched, is_meant).await;
        names.extend(self.swarm.following(is_meant));
        let count = names.len();
        let busy = self.busy_names();
        let again = names.intersection(&busy).map(|name| (name.clone(), trigger));
        self.again.extend(again);
        names.retain(|name| !busy.contains(name));
        if !names.is_empty() {
            let request = RoundRequest { names: Some(names), ..RoundRequest::default() };
            self.begin(QueuedRound::new(request, trigger, Reply::Nobody), Some(list)).await;
        }
        Ok(count)
    }

    async fn allow(&mut self, name: &str) -> Result<usize, AskError> {
        match self.members_of(name).await {
            Some(members) => self.allow_group(&members),
            None => self.allow_alone(name).await,
        }
    }

    /// Forgets the refused digests of a container or a service.
    pub(in crate::agent) async fn allow_alone(&mut self, name: &str) -> Result<usize, AskError> {
        let mut memory = self.context.ports.state().memory()?;
        let mut subject = Subject::from_text(name);
        if !memory.refused.contains_key(&subject) {
            self.check_name(name).await?;
            memory = self.context.ports.state().memory()?;
            subject = self.swarm.find(name).map_or(subject, Subject::service);
        }
        let count = memory.allow(&subject);
        self.context.ports.state().remember(&memory)?;
        self.show_refused();
        Ok(count + usize::from(self.allow_in_fleet(name)))
    }

    /// Forgets the refused digests of all members of a group.
    fn allow_group(&mut self, members: &BTreeSet<String>) -> Result<usize, AskError> {
        let mut memory = self.context.ports.state().memory()?;
        let counts = members.iter().map(|name| memory.allow(&Subject::container(name)));
        let count: usize = counts.sum();
        self.context.ports.state().remember(&memory)?;
        self.show_refused();
        let in_fleet = members.iter().filter(|name| self.allow_in_fleet(name)).count();
        Ok(count + in_fleet)
    }

    /// The members of a group with this name, if no container has it.
    async fn members_of(&mut self, name: &str) -> Option<BTreeSet<String>> {
        let list = self.list().await.ok()?;
        if list.iter().any(|listed| listed.name == name) {
            return None;
        }
        let groups = Groups::of(&list, &self.context.settings.defaults, &self.cache);
        groups.named(name).cloned()
    }

    async fn check_name(&mut self, name: &str) -> Result<(), AskError> {
        let names = Some(BTreeSet::from([name.to_owned()]));
        let list = self.list().await?;
        let open = self.open_updates().await?;
        self.follow_services().await;
        Ok(self.check_names(&RoundRequest { names, ..RoundRequest::default() }, &list, &open)?)
    }
}

/// The previous image, in the form of an offer.
pub(in crate::agent) async fn kept_image<P: Ports>(
    ports: &P,
    observation: &Observation,
) -> Result<Offer, AskError> {
    let container = &observation.name;
    let id = match &observation.previous {
        Previous::Kept(id) => id,
        Previous::Gone(_) => {
            let detail = "the previous image is no longer on this machine; `docker image prune -a` \
                          takes it";
            return Err(AskError::nothing_before(container, detail));
        }
        Previous::None => return Err(AskError::nothing_before(container, "it was never updated")),
        Previous::Unknown(why) => return Err(AskError::nothing_before(container, why)),
    };
    let document = ports.engine().inspect_image(id).await?;
    let document =
        document.ok_or_else(|| AskError::nothing_before(container, "its image has just gone"))?;
    let config: Digest = id
        .parse()
        .map_err(|_| AskError::nothing_before(container, "the image has no digest for an ID"))?;
    let memory = ports.state().memory()?;
    let names = document.pointer("/RepoDigests").and_then(serde_json::Value::as_array);
    let from_names = names.into_iter().flatten().filter_map(serde_json::Value::as_str);
    let pulled_as = from_names
        .filter_map(|name| name.parse::<Reference>().ok()?.digest)
        .chain(memory.known.get(id).into_iter().flatten().cloned())
        .next();
    Ok(Offer::of_local(&document, config, pulled_as))
}
