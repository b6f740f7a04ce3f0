//! What the mirror remembers of one rule: what it wrote under each tag. Without it nothing breaks:
//! a subset of an index is then fetched again to be compared, and `keep` deletes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::mirror::retention::WrittenTag;
use crate::core::mirror::tag_state::LastCopy;

/// Most tags of one rule that are remembered; those written first are forgotten first. `keep` has
/// no use for more.
const TAGS_REMEMBERED_MAX: usize = 1000;

/// The memory of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMemory {
    #[serde(default)]
    tags: BTreeMap<String, TagMemory>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TagMemory {
    source: Digest,
    written: Digest,
    /// A later copy has a higher number.
    number: u64,
}

impl RuleMemory {
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
        if known.is_some_and(|known| known.source == source && known.written == written) {
            return false;
        }
        self.tags.insert(tag.to_owned(), TagMemory { source, written, number });
        while self.tags.len() > TAGS_REMEMBERED_MAX {
            let oldest = self.tags.iter().min_by_key(|(_, memory)| memory.number);
            let Some(oldest) = oldest.map(|(tag, _)| tag.clone()) else { break };
            self.tags.remove(&oldest);
        }
        true
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
        memory.deleted("t7");
        assert_eq!(memory.last("t7"), None);
        let text = serde_json::to_string(&memory).expect("JSON");
        assert_eq!(serde_json::from_str::<RuleMemory>(&text).expect("JSON"), memory);
    }
}
