//! Which tags of the target are deleted by `keep`.
//!
//! Registries delete a digest, and with it every tag that points at it (measured on distribution
//! 2.8). So a digest is deleted only if all of its tags may go. Blobs are never deleted: that is
//! the garbage collection of the registry's owner.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::docker::reference::Digest;

/// A tag that this mirror wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTag {
    pub tag: String,
    /// What it wrote there last.
    pub digest: Digest,
    /// The order of writing: a later copy has a higher number.
    pub number: u64,
}

/// What decides about old tags.
#[derive(Debug)]
pub struct Retention<'a> {
    /// How many tags of the mirror stay; 0 for all.
    pub keep: usize,
    /// The tags that the rule selects now: they would be copied again, so they stay.
    pub selected: &'a [String],
    pub written: &'a [WrittenTag],
    /// All tags of the target's repository.
    pub present: &'a BTreeMap<String, Digest>,
}

/// The digests to delete at the target, with their tags, oldest first. `needed`: digests that an
/// index needs which stays.
#[must_use]
pub fn deletions(
    &Retention { keep, selected, written, present }: &Retention<'_>,
    needed: &BTreeSet<Digest>,
) -> Vec<(Digest, BTreeSet<String>)> {
    if keep == 0 {
        return Vec::new();
    }
    // Another program moved the tag: it is not the mirror's any more.
    let is_ours = |tag: &&WrittenTag| present.get(&tag.tag) == Some(&tag.digest);
    let mut ours: Vec<_> = written.iter().filter(is_ours).collect();
    ours.sort_by_key(|tag| tag.number);
    let old = ours.len().saturating_sub(keep);
    let old = ours.iter().filter(|tag| !selected.contains(&tag.tag)).take(old);
    let old: BTreeSet<_> = old.map(|tag| tag.tag.as_str()).collect();
    let mut deletions: Vec<(Digest, BTreeSet<String>)> = Vec::new();
    for tag in ours.iter().filter(|tag| old.contains(tag.tag.as_str())) {
        let tags_of = present.iter().filter(|(_, digest)| **digest == tag.digest);
        let tags: BTreeSet<_> = tags_of.map(|(tag, _)| tag.clone()).collect();
        let is_free = tags.iter().all(|tag| old.contains(tag.as_str()));
        let is_known = deletions.iter().any(|(digest, _)| *digest == tag.digest);
        if is_free && !is_known && !needed.contains(&tag.digest) {
            deletions.push((tag.digest.clone(), tags));
        }
    }
    deletions
}

/// The digests of the companions of deleted images. `companions`: the tags that the mirror wrote
/// for them. A digest that any other tag has stays.
#[must_use]
pub fn companion_deletions(
    companions: &BTreeSet<String>,
    present: &BTreeMap<String, Digest>,
) -> BTreeSet<Digest> {
    let stays = |digest: &&Digest| {
        present.iter().any(|(tag, other)| other == *digest && !companions.contains(tag))
    };
    companions.iter().filter_map(|tag| present.get(tag)).filter(|it| !stays(it)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// The tags that go. `written` and `present` are `TAG=CONTENT` in their order.
    fn gone(keep: usize, written: &str, present: &str, needed: &str) -> String {
        gone_of(keep, written, present, needed, "")
    }

    /// The same of a rule that selects tags.
    fn gone_of(keep: usize, written: &str, present: &str, needed: &str, selected: &str) -> String {
        let pairs = |text: &str| -> Vec<(String, Digest)> {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.map(|(tag, content)| (tag.to_owned(), digest(content))).collect()
        };
        let written: Vec<_> = pairs(written)
            .into_iter()
            .zip(0..)
            .map(|((tag, digest), number)| WrittenTag { tag, digest, number })
            .collect();
        let needed = needed.split_whitespace().map(digest).collect();
        let selected: Vec<_> = selected.split_whitespace().map(str::to_owned).collect();
        let present = pairs(present).into_iter().collect();
        let (written, present) = (&written[..], &present);
        let retention = Retention { keep, selected: &selected, written, present };
        let deletions = deletions(&retention, &needed);
        let tags = deletions.into_iter().map(|(_, tags)| tags.into_iter().collect::<Vec<_>>());
        tags.map(|tags| tags.join("+")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_old_tags_of_the_mirror_go() {
        let three = "a=1 b=2 c=3";
        let table = [
            ("keep 0 deletes nothing", 0, three, three, "", ""),
            ("the oldest go", 1, three, three, "", "a b"),
            ("as many as wanted stay", 3, three, three, "", ""),
            ("a tag of another program stays", 1, three, "a=1 b=2 c=3 x=9", "", "a b"),
            ("a digest that another tag has stays", 1, three, "a=1 b=2 c=3 x=1", "", "b"),
            ("a newer tag with the same digest keeps it", 1, "a=1 b=2 c=1", "a=1 b=2 c=1", "", "b"),
            ("two old tags of one digest go together", 1, "a=1 b=1 c=3", "a=1 b=1 c=3", "", "a+b"),
            ("what another program moved is not ours", 1, three, "a=7 b=2 c=3", "", "b"),
            ("what is gone is not counted", 1, three, "b=2 c=3", "", "b"),
            ("a child of an index that stays stays", 1, three, three, "1", "b"),
        ];
        for (name, keep, written, present, needed, expected) in table {
            assert_eq!(gone(keep, written, present, needed), expected, "{name}");
        }
    }

    #[test]
    fn what_the_rule_selects_stays() {
        // The newest tag is copied first, so it is the oldest one that was written.
        let three = "c=3 b=2 a=1";
        assert_eq!(gone_of(2, three, three, "", "c b"), "a");
        assert_eq!(gone_of(1, three, three, "", "c b a"), "");
    }

    #[test]
    fn companions_go_with_their_image() {
        let present: BTreeMap<_, _> = [("a.sig", "1"), ("a", "2"), ("b", "2"), ("b.sig", "3")]
            .into_iter()
            .map(|(tag, content)| (tag.to_owned(), digest(content)))
            .collect();
        let gone = |tags: &[&str]| {
            companion_deletions(&tags.iter().map(|tag| (*tag).to_owned()).collect(), &present)
        };
        assert_eq!(gone(&["a.sig", "none"]), BTreeSet::from([digest("1")]));
        assert_eq!(gone(&["a"]), BTreeSet::new(), "another tag has the same digest");
        assert_eq!(gone(&["a", "b"]), BTreeSet::from([digest("2")]));
    }
}
