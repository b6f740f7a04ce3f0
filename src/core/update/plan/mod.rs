//! A plan: one decided update with everything it needs. Its execution decides nothing.

// One container of a plan: how it is replaced, and on which image.
mod member;
// The first line of a journal: the plan, and what is needed to undo it.
mod header;
// The formats of that line, also those of older versions.
mod format;
// The parts of a plan that may be shown.
mod outline;
// How the new containers take over.
mod strategy;

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::failed_tries::FailedTry;
use crate::core::docker::names;
use crate::core::policy::own_hooks::UpdateHooks;
use crate::core::recreate::ReplacedContainer;
use crate::core::subject::Subject;

pub use header::{Header, Recorded};
pub use member::{Change, ImageSource, ImageUpdate, Member, PreviousImage};
pub use outline::Outline;
pub use strategy::Strategy;

/// One decided update.
///
/// Its members are the containers whose images change, and the containers that depend on them,
/// each after the members that it depends on. A member is identified by its number; there is at
/// least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Unique on this machine, and a file name: time and name.
    pub id: String,
    /// What the update is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// The containers that are replaced, in the order in which they start.
    pub members: Vec<Member>,
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

    /// The member with this number. Numbers come from [`Self::numbers`].
    #[must_use]
    pub fn member(&self, number: usize) -> &Member {
        &self.members[number]
    }

    /// The numbers of all members, in order.
    #[must_use]
    pub fn numbers(&self) -> Range<usize> {
        0..self.members.len()
    }

    /// The members that get a new image, each with its number and that image.
    pub fn changed(&self) -> impl Iterator<Item = (usize, &Member, &ImageUpdate)> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(number, member)| Some((number, member, member.update()?)))
    }

    /// The first member that gets a new image; for an update of one container, that container.
    #[must_use]
    pub fn first_changed(&self) -> Option<(&Member, &ImageUpdate)> {
        self.changed().next().map(|(_, member, update)| (member, update))
    }

    /// The names of all members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.container.as_str())
    }

    /// Removes all hooks.
    pub fn forget_hooks(&mut self) {
        for member in &mut self.members {
            (member.pre_update, member.post_update) = (None, None);
            member.hooks = UpdateHooks::default();
        }
    }

    /// Whether a pre-update hook must be run first.
    #[must_use]
    pub fn has_pre_update_hooks(&self) -> bool {
        self.members.iter().any(|member| member.pre_update.is_some())
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
        if self.members.len() == 1 { line } else { format!("{name}: {line}") }
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
