//! Whether a tag is copied: what the source and the target say, and what the mirror wrote last.

use crate::core::docker::reference::Digest;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::core::mirror::rule::MirrorRule;

/// What the mirror wrote last under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCopy {
    /// What the source's tag pointed at.
    pub source: Digest,
    /// What was written. It differs for a subset of the platforms.
    pub written: Digest,
}

/// What a tag needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagState {
    /// The target has it.
    UpToDate,
    /// It is copied.
    Behind,
}

/// Compares the two sides of a tag.
///
/// # Errors
/// `tag_moved`: the tag is immutable, and the target has something else.
pub fn compare(
    rule: &MirrorRule,
    tag: &str,
    source: &Digest,
    target: Option<&Digest>,
    last: Option<&LastCopy>,
) -> Result<TagState, CopyError> {
    let Some(target) = target else { return Ok(TagState::Behind) };
    let is_last = last.is_some_and(|last| last.source == *source && last.written == *target);
    if source == target || is_last {
        return Ok(TagState::UpToDate);
    }
    if !rule.is_immutable(tag) {
        return Ok(TagState::Behind);
    }
    // Without a memory of the copy, a subset cannot be told from another image before it is built.
    if !rule.platforms.is_empty() && last.is_none() {
        return Ok(TagState::Behind);
    }
    Err(moved(rule, tag, target, source))
}

/// Checks the digest that will be written under a tag, once it is known.
///
/// # Errors
/// `tag_moved`, as [`compare`].
pub fn check_result(
    rule: &MirrorRule,
    tag: &str,
    result: &Digest,
    target: Option<&Digest>,
) -> Result<TagState, CopyError> {
    match target {
        Some(target) if target == result => Ok(TagState::UpToDate),
        Some(target) if rule.is_immutable(tag) => Err(moved(rule, tag, target, result)),
        _ => Ok(TagState::Behind),
    }
}

fn moved(rule: &MirrorRule, tag: &str, target: &Digest, wanted: &Digest) -> CopyError {
    let detail = format!(
        "{}:{tag} is immutable and points at {}, while the source has {}",
        rule.to,
        target.short(),
        wanted.short()
    );
    CopyError::refused(MirrorRefusal::TagMoved, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::docker::reference::Reference;
    use crate::core::mirror::rule::TagSelection;

    #[test]
    fn both_sides_of_a_tag_decide() {
        let reference = |text: &str| text.parse::<Reference>().expect("a reference");
        let mut plain = MirrorRule::new(reference("a/b").into(), reference("r:1/a/b").into());
        let mut fixed = plain.clone();
        fixed.immutable = Some(TagSelection::Named(vec!["v1".to_owned()]));
        let mut subset = fixed.clone();
        subset.platforms = vec![Default::default()];
        plain.platforms = vec![Default::default()];
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        let last = LastCopy { source: a.clone(), written: b.clone() };
        let moved = "tag_moved";
        let table = [
            (&plain, None, None, "copy"),
            (&plain, Some(&a), None, "done"),
            (&plain, Some(&c), None, "copy"),
            (&plain, Some(&b), Some(&last), "done"),
            (&plain, Some(&c), Some(&last), "copy"),
            (&fixed, Some(&c), None, moved),
            (&fixed, None, None, "copy"),
            (&fixed, Some(&c), Some(&last), moved),
            (&subset, Some(&b), Some(&last), "done"),
            (&subset, Some(&b), None, "copy"),
            (&subset, Some(&c), Some(&last), moved),
        ];
        for (number, (rule, target, last, expected)) in table.into_iter().enumerate() {
            let found = match compare(rule, "v1", &a, target, last) {
                Ok(TagState::UpToDate) => "done",
                Ok(TagState::Behind) => "copy",
                Err(error) => error.word(),
            };
            assert_eq!(found, expected, "row {number}");
        }
        assert_eq!(check_result(&subset, "v1", &b, Some(&b)), Ok(TagState::UpToDate));
        assert_eq!(check_result(&plain, "v1", &b, Some(&c)), Ok(TagState::Behind));
        let refused = check_result(&subset, "v1", &b, Some(&c)).expect_err("moved");
        let (short_c, short_b) = (c.short(), b.short());
        let expected = format!(
            "r:1/a/b:v1 is immutable and points at {short_c}, while the source has {short_b}"
        );
        assert_eq!(refused.to_string(), expected);
    }
}
