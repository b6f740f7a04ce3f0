//! Plans a rollback by hand to the previous image: of a container, or of all containers of a group
//! that its last update changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::executor::{Executor, RollbackPlan};
use super::recovery::Swept;
use crate::agent::RoundError;
use crate::agent::handle::answers::kept_image;
use crate::agent::handle::question::AskError;
use crate::agent::round::facts::{LookFacts, Names};
use crate::core::decide::group::{GroupMember, add_documents, join};
use crate::core::decide::observation::Observation;
use crate::core::decide::{Circumstances, Decision, origin, roll_back};
use crate::core::subject::Subject;
use crate::core::update::history::{DataState, JobRecord, Outcome, Record};
use crate::core::update::plan::Plan;
use crate::core::update::self_update::SelfUpdateTask;
use crate::observe::{self, Cache, Groups, PreflightContext};
use crate::ports::Ports;

impl<P: Ports> Executor<P> {
    /// The plan of a rollback; nothing if the self-update helper carries it out.
    pub(super) async fn plan_rollback(
        &mut self,
        name: &str,
        mut cache: Arc<Cache>,
        circumstances: Circumstances,
        swept: &Swept,
    ) -> Result<Option<RollbackPlan>, AskError> {
        let state = self.context.ports.state();
        let (list, memory) = (self.context.list().await?, state.memory()?);
        let groups = Groups::of(&list, &self.context.settings.defaults, &cache);
        let is_container = list.iter().any(|listed| listed.name == name);
        let last = match groups.named(name) {
            Some(_) if !is_container => Some(self.last_update_of(name)?),
            _ => None,
        };
        let names = last.as_ref().map_or_else(|| BTreeSet::from([name.to_owned()]), members);
        let (names, open) = (Names::only(names), swept.open());
        let facts = LookFacts { names, circumstances, list, groups, memory, open, acts: 0 };
        let scope = facts.scope(&self.context.settings.defaults);
        let seen = observe::observe_local(&*self.context.ports, &mut cache, &scope).await;
        match last {
            Some(last) => self.plan_of_group((name, &last), seen, (&facts, &cache)).await.map(Some),
            None => self.plan_of_container(name, seen, (&facts, &cache)).await,
        }
    }

    async fn plan_of_container(
        &mut self,
        name: &str,
        mut seen: Vec<Observation>,
        known: (&LookFacts, &Cache),
    ) -> Result<Option<RollbackPlan>, AskError> {
        let mut observation =
            seen.pop().ok_or_else(|| RoundError::UnknownNames(vec![name.to_owned()]))?;
        let plan = self.plan_of_one(&mut observation, known).await?;
        let Some(readiness) = observation.readiness.take() else { return Ok(None) };
        if !observation.is_self {
            return Ok(Some(RollbackPlan { plan: Box::new(plan), readiness }));
        }
        let task = SelfUpdateTask::RollBack;
        let hand_over = self.context.hand_over(&plan, &readiness.original, task);
        match Box::pin(hand_over).await {
            true => Ok(None),
            false => Err(AskError::LeftOpen(name.to_owned())),
        }
    }

    /// One plan for all members that the last update changed. Jobs do not run: a rollback moves no
    /// data.
    async fn plan_of_group(
        &mut self,
        (name, last): (&str, &Record),
        seen: Vec<Observation>,
        (facts, cache): (&LookFacts, &Cache),
    ) -> Result<RollbackPlan, AskError> {
        let mut planned = Vec::new();
        for mut observation in seen.into_iter().filter(|seen| !seen.is_job) {
            let plan = self.plan_of_one(&mut observation, (facts, cache)).await?;
            planned.push((observation, Decision::Update(Box::new(plan))));
        }
        let members: Vec<_> = planned
            .iter()
            .map(|(observation, decision)| GroupMember { observation, decision })
            .collect();
        let group = last.subject.name.as_str();
        let mut plan =
            join(group, &members, &facts.circumstances).map_err(|no| AskError::of_no(name, &no))?;
        let has_migrated = |job: &JobRecord| job.exit_code == Some(0);
        plan.data = last.group.jobs.iter().any(has_migrated).then_some(DataState::Migrated);
        let mut observations = planned.into_iter().map(|(observation, _)| observation);
        let lead = observations.next().and_then(|lead| lead.readiness);
        let mut readiness =
            lead.ok_or_else(|| AskError::nothing_before(name, "it has no members any more"))?;
        add_documents(&mut readiness, observations);
        Ok(RollbackPlan { plan: Box::new(plan), readiness })
    }

    /// The plan for one container. Its observation then has what the plan was made from.
    async fn plan_of_one(
        &mut self,
        observation: &mut Observation,
        (facts, cache): (&LookFacts, &Cache),
    ) -> Result<Plan, AskError> {
        let ports = &*self.context.ports;
        if origin::is_open(observation) {
            observe::ask_origin(ports, std::iter::once(&mut *observation)).await;
        }
        let kept = kept_image(ports, observation).await?;
        let defaults = &self.context.settings.defaults;
        let surroundings = PreflightContext { defaults, open: &facts.open };
        let readiness =
            observe::readiness(ports, (&mut self.ties, cache), &surroundings, observation).await;
        let name = &observation.name;
        let readiness = readiness
            .ok_or_else(|| AskError::nothing_before(name, "the Engine does not answer"))?;
        let plan = roll_back(observation, &readiness, &kept, &facts.circumstances)
            .map_err(|no| AskError::of_no(name, &no))?;
        observation.readiness = Some(Box::new(readiness));
        Ok(plan)
    }

    /// The last update of a group that ended well.
    fn last_update_of(&self, name: &str) -> Result<Record, AskError> {
        let group = Subject::from_text(name);
        let group = group.group_name().unwrap_or(name);
        let is_it = |record: &Record| {
            record.subject.group_name() == Some(group) && record.outcome == Outcome::Updated
        };
        let history = self.context.ports.state().history()?;
        let last = history.into_iter().find(is_it);
        last.ok_or_else(|| AskError::nothing_before(name, "it was never updated"))
    }
}

/// The containers of a group that an update changed.
fn members(record: &Record) -> BTreeSet<String> {
    record.group.members.iter().map(|member| member.container.clone()).collect()
}
