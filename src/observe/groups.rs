//! The groups of the watched containers, from the Engine's list alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cache, opted_in};
use crate::core::docker::compose::COMPOSE_PROJECT;
use crate::core::group::job::is_job;
use crate::core::group::order::Node;
use crate::core::policy::PolicyDefaults;
use crate::core::policy::group::{LABEL_GROUP, Membership};
use crate::core::subject::Subject;
use crate::engine::Listed;

/// The watched containers that are in a group.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    /// The names of the members of each group, also of those with wrong labels.
    members: BTreeMap<String, BTreeSet<String>>,
    /// The group of each member.
    group_of: BTreeMap<String, String>,
    jobs: BTreeSet<String>,
}

impl Groups {
    /// The groups in a list of containers.
    #[must_use]
    pub fn of(list: &[Listed], defaults: &PolicyDefaults, cache: &Cache) -> Self {
        let mut groups = Self::default();
        if !list.iter().any(|listed| listed.labels.contains_key(LABEL_GROUP)) {
            return groups;
        }
        let mut memberships: BTreeMap<String, Vec<(String, Membership)>> = BTreeMap::new();
        for (listed, policy) in opted_in(list, defaults, cache) {
            let (name, group) = match policy {
                Ok(policy) => match policy.membership().cloned() {
                    Some(membership) => {
                        let group = membership.group.clone();
                        let of_group = memberships.entry(group.clone()).or_default();
                        of_group.push((listed.name.clone(), membership));
                        (&listed.name, group)
                    }
                    None => continue,
                },
                Err(_) => match written_group(listed) {
                    Some(group) => (&listed.name, group),
                    None => continue,
                },
            };
            groups.members.entry(group.clone()).or_default().insert(name.clone());
            groups.group_of.insert(name.clone(), group);
        }
        groups.jobs = memberships.values().flat_map(|of_group| jobs(of_group)).collect();
        groups
    }

    /// The group of a container.
    #[must_use]
    pub fn group_of(&self, container: &str) -> Option<&str> {
        self.group_of.get(container).map(String::as_str)
    }

    /// The names of the members of a group.
    #[must_use]
    pub fn members(&self, group: &str) -> Option<&BTreeSet<String>> {
        self.members.get(group)
    }

    /// The members of the group that a person means by a name: `shop`, or `group/shop`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.entry(name).map(|(_, members)| members)
    }

    /// Whether a container is a job of its group.
    #[must_use]
    pub fn is_job(&self, container: &str) -> bool {
        self.jobs.contains(container)
    }

    /// Adds the other members of the groups of these containers. A name that is none of a
    /// container may be that of a group, and then stands for its members.
    pub fn complete(&self, names: &mut BTreeSet<String>) {
        let groups: BTreeSet<_> = names
            .iter()
            .filter_map(|name| self.group_of.get(name).or_else(|| Some(self.entry(name)?.0)))
            .collect();
        names.extend(groups.into_iter().flat_map(|group| &self.members[group]).cloned());
    }

    fn entry(&self, name: &str) -> Option<(&String, &BTreeSet<String>)> {
        let subject = Subject::from_text(name);
        self.members.get_key_value(subject.group_name().unwrap_or(name))
    }
}

/// The group that a container with wrong labels asks for.
fn written_group(listed: &Listed) -> Option<String> {
    match listed.labels.get(LABEL_GROUP)?.trim() {
        "project" => listed.labels.get(COMPOSE_PROJECT).cloned(),
        name => Some(name.to_owned()),
    }
}

fn jobs(members: &[(String, Membership)]) -> Vec<String> {
    let nodes: Vec<_> =
        members.iter().map(|(name, membership)| Node::of(name, membership)).collect();
    let are_jobs = members
        .iter()
        .zip(&nodes)
        .filter(|((_, membership), node)| is_job(membership.is_job, **node, &nodes));
    are_jobs.map(|((name, _), _)| name.clone()).collect()
}
