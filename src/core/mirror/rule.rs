//! One rule of the mirror: `[[mirror]]` of the configuration.

use std::collections::BTreeSet;
use std::fmt;

use crate::core::docker::reference::{DEFAULT_TAG, Platform, Reference};
use crate::core::mirror::companions::is_companion_tag;
use crate::core::mirror::tag_expression::TagExpression;

/// Most tags that one rule copies in one run. More is a copy of a whole repository, which costs a
/// day's quota at Docker Hub.
pub const TAGS_MAX: usize = 32;

/// A repository of a registry, without a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    /// `docker.io`, `registry:443`.
    pub registry: String,
    /// `table/till`.
    pub repository: String,
}

impl RepositoryName {
    /// The reference of one of its tags.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Reference {
        Reference {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        }
    }
}

impl From<Reference> for RepositoryName {
    fn from(reference: Reference) -> Self {
        Self { registry: reference.registry, repository: reference.repository }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)
    }
}

/// The tags of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSelection {
    /// By name. The source is not asked for its list.
    Named(Vec<String>),
    /// By an expression over the source's list.
    Matching(TagExpression),
}

impl TagSelection {
    /// Whether a tag is selected.
    #[must_use]
    pub fn contains(&self, tag: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == tag),
            Self::Matching(expression) => expression.matches(tag),
        }
    }

    /// The selected tags of a source, at most [`TAGS_MAX`]: the named ones in their order; of an
    /// expression the last ones by name, numbers by value, without companions (`sha256-….sig`).
    #[must_use]
    pub fn choose(&self, listed: &[String]) -> Vec<String> {
        match self {
            Self::Named(names) => names.iter().take(TAGS_MAX).cloned().collect(),
            Self::Matching(expression) => {
                let is_chosen = |tag: &&String| !is_companion_tag(tag) && expression.matches(tag);
                let found: BTreeSet<_> = listed.iter().filter(is_chosen).collect();
                let mut found: Vec<_> = found.into_iter().collect();
                found.sort_by_cached_key(|tag| natural(tag));
                found.into_iter().rev().take(TAGS_MAX).cloned().collect()
            }
        }
    }
}

impl Default for TagSelection {
    fn default() -> Self {
        Self::Named(vec![DEFAULT_TAG.to_owned()])
    }
}

/// A sort key in which `v1.10` is after `v1.9`.
fn natural(tag: &str) -> Vec<(String, usize, String)> {
    let mut parts = Vec::new();
    let mut rest = tag;
    while !rest.is_empty() {
        let text = rest.find(|it: char| it.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[text..].find(|it: char| !it.is_ascii_digit());
        let end = number.map_or(rest.len(), |length| text + length);
        let digits = rest[text..end].trim_start_matches('0');
        parts.push((rest[..text].to_owned(), digits.len(), digits.to_owned()));
        rest = &rest[end..];
    }
    parts
}

/// What a rule does with signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignatureMode {
    /// They are not copied.
    Ignore,
    /// They are copied if there are any.
    #[default]
    Copy,
    /// An image without a signature is not copied. The signature itself is not verified here.
    Require,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRule {
    /// Its name on the command line and in metrics; `to` if it has none.
    pub name: String,
    pub from: RepositoryName,
    pub to: RepositoryName,
    pub tags: TagSelection,
    /// The wanted platforms; empty for all, which keeps the digest.
    pub platforms: Vec<Platform>,
    pub signatures: SignatureMode,
    /// How many tags written by this mirror stay at the target; 0 for all.
    pub keep: usize,
    /// Tags that are never overwritten.
    pub immutable: Option<TagSelection>,
    /// Most bytes in a second.
    pub rate: Option<u64>,
}

impl MirrorRule {
    /// A rule with the defaults.
    #[must_use]
    pub fn new(from: RepositoryName, to: RepositoryName) -> Self {
        Self {
            name: to.to_string(),
            from,
            to,
            tags: TagSelection::default(),
            platforms: Vec::new(),
            signatures: SignatureMode::default(),
            keep: 0,
            immutable: None,
            rate: None,
        }
    }

    /// The tags of a source that are copied. Of an expression no more than `keep`, because more
    /// would be deleted again.
    #[must_use]
    pub fn selected(&self, listed: &[String]) -> Vec<String> {
        let mut selected = self.tags.choose(listed);
        if self.keep > 0 && matches!(self.tags, TagSelection::Matching(_)) {
            selected.truncate(self.keep);
        }
        selected
    }

    /// Whether a tag of the target must not change.
    #[must_use]
    pub fn is_immutable(&self, tag: &str) -> bool {
        self.immutable.as_ref().is_some_and(|tags| tags.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn tags_are_chosen_by_name_or_by_expression() {
        let named = TagSelection::Named(listed(&["b", "a"]));
        assert_eq!(named.choose(&[]), ["b", "a"]);
        let expression = TagExpression::parse("^v").expect("an expression");
        let matching = TagSelection::Matching(expression);
        let there = listed(&["v1.9", "v1.10", "latest", "v1.2", "v1.10"]);
        assert_eq!(matching.choose(&there), ["v1.10", "v1.9", "v1.2"]);
        let many: Vec<_> = (0..100).map(|number| format!("v{number}")).collect();
        let chosen = matching.choose(&many);
        assert_eq!((chosen.len(), chosen[0].as_str(), chosen[31].as_str()), (32, "v99", "v68"));
    }

    #[test]
    fn companions_are_never_chosen() {
        let all = TagSelection::Matching(TagExpression::parse(".").expect("an expression"));
        let hex = "a".repeat(64);
        let there = [format!("sha256-{hex}.sig"), format!("sha256-{hex}"), "sha256-x".to_owned()];
        assert_eq!(all.choose(&there), ["sha256-x"]);
    }

    #[test]
    fn a_rule_has_a_name_and_knows_its_fixed_tags() {
        let from: Reference = "table/till".parse().expect("a reference");
        let to: Reference = "registry:443/table/till".parse().expect("a reference");
        let mut rule = MirrorRule::new(from.into(), to.into());
        assert_eq!(
            (rule.name.as_str(), rule.from.to_string().as_str()),
            ("registry:443/table/till", "docker.io/table/till")
        );
        assert!(!rule.is_immutable("v1"));
        rule.immutable = TagExpression::parse("^v").ok().map(TagSelection::Matching);
        assert!(rule.is_immutable("v1") && !rule.is_immutable("latest"));
    }
}
