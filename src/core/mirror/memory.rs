//! What the mirror remembers of its rules: what it wrote under each tag. Without it nothing breaks:
//! a subset of an index is then fetched again to be compared, and `keep` deletes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::mirror::retention::WrittenTag;
use crate::core::mirror::rule::MirrorRule;
use crate::core::mirror::tag_state::LastCopy;

/// Most tags of one rule that are remembered; those written first are forgotten first. `keep` has
/// no use for more.
const TAGS_REMEMBERED_MAX: usize = 1000;

/// How often tags that are up to date are looked at closely: for signatures that came later, and
/// for content that the target has lost.
const THOROUGH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The memory of all rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorMemory {
    /// By name of the rule.
    #[serde(default)]
    rules: BTreeMap<String, RuleMemory>,
}

impl MirrorMemory {
    /// What is remembered of a rule. What an earlier rule of this name wrote elsewhere is not
    /// this rule's.
    #[must_use]
    pub fn of(&self, rule: &MirrorRule) -> RuleMemory {
        let known = self.rules.get(&rule.name).filter(|known| known.to == rule.to.to_string());
        known.cloned().unwrap_or_else(|| RuleMemory::new(rule))
    }

    /// Replaces what is remembered of a rule.
    pub fn set(&mut self, rule: &MirrorRule, memory: RuleMemory) {
        self.rules.insert(rule.name.clone(), memory);
    }
}

/// The memory of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMemory {
    /// The target.
    to: String,
    #[serde(default)]
    tags: BTreeMap<String, TagMemory>,
    /// When all of its tags were looked at closely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    looked_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TagMemory {
    source: Digest,
    written: Digest,
    /// A later copy has a higher number.
    number: u64,
    /// The tags of the documents about it that were written too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    companions: BTreeSet<String>,
}

impl RuleMemory {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(rule: &MirrorRule) -> Self {
        Self { to: rule.to.to_string(), ..Self::default() }
    }

    /// Whether all tags must be looked at closely: a day has passed, or the clock was set back.
    #[must_use]
    pub fn is_thorough_look_due(&self, now: DateTime<Utc>) -> bool {
        self.looked_at.is_none_or(|last| {
            (now - last).to_std().is_ok_and(|since| since >= THOROUGH_INTERVAL) || now < last
        })
    }

    /// All tags were looked at closely.
    pub fn looked_thoroughly(&mut self, now: DateTime<Utc>) {
        self.looked_at = Some(now);
    }

    /// What was written last under a tag.
    #[must_use]
    pub fn last(&self, tag: &str) -> Option<LastCopy> {
        let TagMemory { source, written, .. } = self.tags.get(tag)?.clone();
        Some(LastCopy { source, written })
    }

    /// Records a copy. Returns whether anything changed, so that a run without news writes nothing.
    pub fn wrote(&mut self, tag: &str, copy: LastCopy) -> bool {
        let LastCopy { source, written } = copy;
        let number = self.tags.values().map(|tag| tag.number).max().map_or(0, |last| last + 1);
        let known = self.tags.get(tag);
        let companions = BTreeSet::new();
        if known.is_some_and(|known| known.source == source && known.written == written) {
            return false;
        }
        self.tags.insert(tag.to_owned(), TagMemory { source, written, number, companions });
        while self.tags.len() > TAGS_REMEMBERED_MAX {
            let oldest = self.tags.iter().min_by_key(|(_, memory)| memory.number);
            let Some(oldest) = oldest.map(|(tag, _)| tag.clone()) else { break };
            self.tags.remove(&oldest);
        }
        true
    }

    /// Records the tags of documents about an image. Returns whether any is new. Those about an
    /// image that this mirror did not copy are not its own.
    pub fn wrote_companions(&mut self, tag: &str, companions: BTreeSet<String>) -> bool {
        let Some(known) = self.tags.get_mut(tag) else { return false };
        let before = known.companions.len();
        known.companions.extend(companions);
        known.companions.len() > before
    }

    /// The tags of documents that were written with a tag.
    #[must_use]
    pub fn companions(&self, tag: &str) -> BTreeSet<String> {
        self.tags.get(tag).map(|known| known.companions.clone()).unwrap_or_default()
    }

    /// Forgets a tag that was deleted.
    pub fn deleted(&mut self, tag: &str) {
        self.tags.remove(tag);
    }

    /// Everything that was written.
    #[must_use]
    pub fn written(&self) -> Vec<WrittenTag> {
        let written = self.tags.iter().map(|(tag, memory)| WrittenTag {
            tag: tag.clone(),
            digest: memory.written.clone(),
            number: memory.number,
        });
        written.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::docker::reference::Reference;

    #[test]
    fn a_rule_with_another_target_begins_with_nothing() {
        let reference = |text: &str| text.parse::<Reference>().expect("a reference");
        let rule = |to: &str| MirrorRule {
            name: "till".to_owned(),
            ..MirrorRule::new(reference("table/till").into(), reference(to).into())
        };
        let (here, there) = (rule("a:1/till"), rule("b:1/till"));
        let mut all = MirrorMemory::default();
        let mut memory = all.of(&here);
        let digest = Digest::of(b"x");
        memory.wrote("v1", LastCopy { source: digest.clone(), written: digest });
        all.set(&here, memory.clone());
        assert_eq!(all.of(&here), memory);
        assert_eq!(all.of(&there), RuleMemory::new(&there));
        let text = serde_json::to_string(&all).expect("JSON");
        assert_eq!(serde_json::from_str::<MirrorMemory>(&text).expect("JSON"), all);
    }

    #[test]
    fn tags_are_looked_at_closely_once_a_day() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let mut memory = RuleMemory::default();
        let now = at("2026-05-01T12:00:00Z");
        assert!(memory.is_thorough_look_due(now));
        memory.looked_thoroughly(now);
        assert!(!memory.is_thorough_look_due(at("2026-05-02T11:59:59Z")));
        assert!(memory.is_thorough_look_due(at("2026-05-02T12:00:00Z")));
        assert!(memory.is_thorough_look_due(at("2026-05-01T11:59:59Z")), "the clock was set back");
    }

    #[test]
    fn only_news_is_remembered_and_the_oldest_is_forgotten() {
        let digest = |number: usize| Digest::of(number.to_string().as_bytes());
        let copy = |number| LastCopy { source: digest(number), written: digest(number) };
        let mut memory = RuleMemory::default();
        assert!(memory.wrote("a", copy(1)) && !memory.wrote("a", copy(1)));
        assert!(memory.wrote("b", copy(2)) && memory.wrote("a", copy(3)));
        let mut written = memory.written();
        written.sort_by_key(|tag| tag.number);
        let order: Vec<_> = written.iter().map(|tag| tag.tag.as_str()).collect();
        assert_eq!((order, memory.last("a")), (vec!["b", "a"], Some(copy(3))));
        for number in 0..TAGS_REMEMBERED_MAX {
            memory.wrote(&format!("t{number}"), copy(number));
        }
        assert_eq!((memory.last("b"), memory.last("a")), (None, None));
        assert_eq!(memory.written().len(), TAGS_REMEMBERED_MAX);
        let companions = BTreeSet::from(["t7.sig".to_owned()]);
        assert!(memory.wrote_companions("t7", companions.clone()));
        assert!(!memory.wrote_companions("t7", companions.clone()));
        assert!(!memory.wrote_companions("a", companions.clone()), "it was forgotten");
        assert_eq!(
            (memory.companions("t7"), memory.companions("a")),
            (companions, BTreeSet::new())
        );
        memory.deleted("t7");
        assert_eq!(memory.last("t7"), None);
        let text = serde_json::to_string(&memory).expect("JSON");
        assert_eq!(serde_json::from_str::<RuleMemory>(&text).expect("JSON"), memory);
    }
}
