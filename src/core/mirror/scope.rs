//! What one run of a rule is about: all of its tags, or those that a push named.

use std::collections::BTreeSet;

use crate::core::docker::webhook::Push;
use crate::core::mirror::companions::is_companion_tag;
use crate::core::mirror::memory::RuleMemory;
use crate::core::mirror::rule::{MirrorRule, TAGS_MAX};

/// What one run of a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunScope {
    /// The tags; absent for all of the rule.
    pub tags: Option<BTreeSet<String>>,
    /// Whether tags that are up to date are looked at closely: whether the target still has all of
    /// the image, and whether the source has newer documents about it. It costs requests for each
    /// manifest and each blob, so a run without news does not do it.
    pub is_thorough: bool,
}

impl RunScope {
    /// All tags of a rule.
    pub const ALL: Self = Self { tags: None, is_thorough: false };

    /// What a push asks a rule for; `None` if it concerns something else, or names a digest that
    /// this rule has copied under that tag: a broker repeats its announcements after each
    /// connection.
    ///
    /// cosign signs an image after it was pushed, under a tag made of its digest: then all tags are
    /// looked at closely.
    #[must_use]
    pub fn of_push(rule: &MirrorRule, push: &Push, memory: &RuleMemory) -> Option<Self> {
        let is_registry = push.registry.as_ref().is_none_or(|it| *it == rule.from.registry);
        if !is_registry || push.repository != rule.from.repository {
            return None;
        }
        let Some(tag) = &push.tag else { return Some(Self::ALL) };
        if is_companion_tag(tag) {
            return Some(Self { is_thorough: true, ..Self::ALL });
        }
        let copied = memory.last(tag).map(|last| last.source);
        if push.digest.is_some() && push.digest == copied {
            return None;
        }
        let tags = Some(BTreeSet::from([tag.clone()]));
        // A signature may have come at the same time.
        rule.tags.contains(tag).then_some(Self { tags, is_thorough: true })
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let tags = match (self.tags, other.tags) {
            (Some(mut tags), Some(more)) => {
                tags.extend(more);
                (tags.len() <= TAGS_MAX).then_some(tags)
            }
            _ => None,
        };
        let is_thorough = self.is_thorough || other.is_thorough;
        Self { tags, is_thorough }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::docker::reference::{Digest, Reference};
    use crate::core::mirror::rule::{RepositoryName, TagSelection};
    use crate::core::mirror::tag_state::LastCopy;

    fn push(registry: Option<&str>, repository: &str, tag: Option<&str>) -> Push {
        let (registry, tag) = (registry.map(str::to_owned), tag.map(str::to_owned));
        Push { registry, repository: repository.to_owned(), tag, digest: None }
    }

    #[test]
    fn a_push_concerns_the_rules_of_its_repository_and_tag() {
        let reference = |text: &str| text.parse::<Reference>().expect("a reference");
        let rule = MirrorRule {
            tags: TagSelection::Named(vec!["v1".to_owned()]),
            ..MirrorRule::new(reference("table/till").into(), reference("r:1/table/till").into())
        };
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        let v1 = Some(BTreeSet::from(["v1".to_owned()]));
        let hub = Some("docker.io");
        for (push, expected) in [
            (push(hub, "table/till", Some("v1")), Some((v1.clone(), true))),
            (push(None, "table/till", Some("v1")), Some((v1, true))),
            (push(hub, "table/till", None), Some((None, false))),
            (push(hub, "table/till", Some(&signature)), Some((None, true))),
            (push(hub, "table/till", Some("v2")), None),
            (push(hub, "table/other", Some("v1")), None),
            (push(Some("r:1"), "table/till", Some("v1")), None),
        ] {
            let scope = RunScope::of_push(&rule, &push, &RuleMemory::new(&rule));
            let found = scope.map(|scope| (scope.tags, scope.is_thorough));
            assert_eq!(found, expected, "{push:?}");
        }
    }

    #[test]
    fn an_announcement_of_what_was_copied_needs_no_run() {
        let reference: Reference = "table/till".parse().expect("a reference");
        let rule = MirrorRule::new(reference.into(), RepositoryName::default());
        let [a, b] = [b"a", b"b"].map(|text| Digest::of(text));
        let mut memory = RuleMemory::new(&rule);
        memory.wrote("latest", LastCopy { source: a.clone(), written: b.clone() });
        for (digest, expected) in [(Some(a), false), (Some(b), true), (None, true)] {
            let push = Push { digest, ..push(None, "table/till", Some("latest")) };
            let scope = RunScope::of_push(&rule, &push, &memory);
            assert_eq!(scope.is_some(), expected, "{push:?}");
        }
    }

    #[test]
    fn scopes_add_up_to_all_tags_if_there_are_many() {
        let of = |tags: std::ops::Range<usize>| RunScope {
            tags: Some(tags.map(|tag| tag.to_string()).collect()),
            is_thorough: false,
        };
        assert_eq!(of(0..2).and(of(1..3)), of(0..3));
        assert_eq!(of(0..20).and(of(20..40)), RunScope::ALL);
        assert_eq!(of(0..1).and(RunScope::ALL), RunScope::ALL);
        let signed = RunScope { is_thorough: true, ..RunScope::ALL };
        assert!(of(0..1).and(signed).is_thorough);
    }
}
