//! A plan: one decided update with everything it needs. Its execution decides nothing.

// One container of a plan: how it is replaced, and on which image.
mod member;
// A one-shot that runs before the members are replaced.
mod job;
// The first line of a journal: the plan, and what is needed to undo it.
mod header;
// The formats of that line, also those of older versions.
mod format;
// A member of a group that stays as it is, and has its say.
mod guard;
// The parts of a plan that may be shown.
mod outline;
// How the new containers take over.
mod strategy;

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::failed_tries::FailedTry;
use crate::core::docker::names;
use crate::core::policy::group::Meanwhile;
use crate::core::policy::hooks::Hook;
use crate::core::recreate::ReplacedContainer;
use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::history::DataState;

pub use guard::Guard;
pub use header::{Header, Recorded};
pub use job::Job;
pub use member::{Change, ImageSource, ImageUpdate, Member, PreviousImage};
pub use outline::{ChangeOutline, JobOutline, Outline};
pub use strategy::Strategy;

/// One decided update.
///
/// Its members are the containers whose images change, and the containers that depend on them,
/// each after the members that it depends on. A member is identified by its number, and so is a
/// job, behind the members. There is at least one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Unique on this machine, and a file name: time and name.
    pub id: String,
    /// What the update is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// The client that asked for it through the push API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The containers that are replaced, in the order in which they start.
    pub members: Vec<Member>,
    /// The one-shots that run before, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// The containers of the group that stay as they are, and have their say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// What jobs did to the data before, if a person rolls back from their update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataState>,
    /// How the new containers take over.
    #[serde(default)]
    pub strategy: Strategy,
}

impl Plan {
    /// An ID for an update that is decided now.
    #[must_use]
    pub fn make_id(name: &str, now: DateTime<Utc>) -> String {
        format!("{}-{}", now.format("%Y%m%dT%H%M%S%.3fZ"), names::file_name(name))
    }

    /// What the update is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.subject.clone()
    }

    /// The member, or the container of the job, with this number. Numbers come from
    /// [`Self::numbers`], [`Self::job_numbers`] and [`Self::all_numbers`].
    #[must_use]
    pub fn member(&self, number: usize) -> &Member {
        match number.checked_sub(self.members.len()) {
            None => &self.members[number],
            Some(job) => &self.jobs[job].member,
        }
    }

    /// The numbers of all members, in order.
    #[must_use]
    pub fn numbers(&self) -> Range<usize> {
        0..self.members.len()
    }

    /// The numbers of all jobs, in order.
    #[must_use]
    pub fn job_numbers(&self) -> Range<usize> {
        self.members.len()..self.members.len() + self.jobs.len()
    }

    /// The numbers of all members and jobs.
    #[must_use]
    pub fn all_numbers(&self) -> Range<usize> {
        0..self.members.len() + self.jobs.len()
    }

    /// The job with this number, if the number is that of a job.
    #[must_use]
    pub fn job(&self, number: usize) -> Option<&Job> {
        number.checked_sub(self.members.len()).and_then(|job| self.jobs.get(job))
    }

    /// All members, and the containers of all jobs, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(self.jobs.iter().map(|job| &job.member))
    }

    /// The steps of the update, in their order.
    pub fn steps(&self) -> impl Iterator<Item = Step> + use<> {
        let has_jobs = !self.jobs.is_empty();
        self.strategy.steps().filter(move |step| has_jobs || *step != Step::Run)
    }

    /// Whether the members are stopped before a job runs.
    #[must_use]
    pub fn stops_for_jobs(&self) -> bool {
        self.jobs.iter().any(|job| job.meanwhile == Meanwhile::Stopped)
    }

    /// The members and jobs that get a new image, each with its number and that image.
    pub fn changed(&self) -> impl Iterator<Item = (usize, &Member, &ImageUpdate)> {
        let members = self.all().enumerate();
        members.filter_map(|(number, member)| Some((number, member, member.update()?)))
    }

    /// The first member that gets a new image; for an update of one container, that container.
    #[must_use]
    pub fn first_changed(&self) -> Option<(&Member, &ImageUpdate)> {
        self.changed().next().map(|(_, member, update)| (member, update))
    }

    /// The names of all members and jobs, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all().map(|member| member.container.as_str())
    }

    /// Removes all hooks.
    pub fn forget_hooks(&mut self) {
        let jobs = self.jobs.iter_mut().map(|job| &mut job.member);
        self.members.iter_mut().chain(jobs).for_each(Member::forget_hooks);
        for guard in &mut self.guards {
            guard.pre_update = None;
        }
    }

    /// The pre-update hooks, each with the name and the ID of its container, in the order in which
    /// they run: those of the members in the order in which these stop, then those of the guards. A
    /// backup in a guard takes long, so it runs when no other hook can hold the update any more.
    pub fn pre_update_hooks(&self) -> impl Iterator<Item = (&str, &str, &Hook)> {
        let members = self.members.iter().rev().filter_map(|member| {
            let hook = member.pre_update.as_ref()?;
            Some((member.container.as_str(), member.old_container.as_str(), hook))
        });
        let guards = self.guards.iter().filter_map(|guard| {
            let hook = guard.pre_update.as_ref()?;
            Some((guard.container.as_str(), guard.id.as_str(), hook))
        });
        members.chain(guards)
    }

    /// Whether a pre-update hook must be run first.
    #[must_use]
    pub fn has_pre_update_hooks(&self) -> bool {
        self.pre_update_hooks().next().is_some()
    }

    /// The locks that hold the update: the name and the ID of a container, and a path in it.
    pub fn locks(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let members = self.members.iter().filter_map(|member| {
            let lock = member.lock.as_ref()?;
            Some((member.container.as_str(), member.old_container.as_str(), lock.path.as_str()))
        });
        let guards = self.guards.iter().filter_map(|guard| {
            let lock = guard.lock.as_ref()?;
            Some((guard.container.as_str(), guard.id.as_str(), lock.path.as_str()))
        });
        members.chain(guards)
    }

    /// The names of the members that keep their image, in order.
    #[must_use]
    pub fn dependent_names(&self) -> Vec<String> {
        let dependents = self.members.iter().filter(|member| member.update().is_none());
        dependents.map(|member| member.container.clone()).collect()
    }

    /// A detail with the name of its member before it. The container that the update is about
    /// needs no name.
    #[must_use]
    pub fn naming(&self, number: usize, detail: impl Into<String>) -> String {
        let name = &self.member(number).container;
        match self.subject.is_container(name) {
            true => detail.into(),
            false => format!("{name}: {}", detail.into()),
        }
    }

    /// A line of a container's log. With several members, the name of the container stands before
    /// it.
    #[must_use]
    pub fn quoting(&self, number: usize, line: String) -> String {
        let name = &self.member(number).container;
        if self.all_numbers().len() == 1 { line } else { format!("{name}: {line}") }
    }

    /// Says which container replaces the old one of a member.
    #[must_use]
    pub fn replaced_by(&self, number: usize, to: String) -> ReplacedContainer {
        let member = self.member(number);
        ReplacedContainer { name: member.container.clone(), from: member.old_container.clone(), to }
    }
}

impl Member {
    /// A failed try of this member's update.
    #[must_use]
    pub fn failed_try(
        &self,
        update: &ImageUpdate,
        detail: String,
        at: DateTime<Utc>,
        was_outage: bool,
    ) -> FailedTry {
        FailedTry {
            manifest: update.to.manifest.clone(),
            digests: update.to.digests(),
            container_id: self.old_container.clone(),
            at,
            was_outage,
            detail,
        }
    }
}
