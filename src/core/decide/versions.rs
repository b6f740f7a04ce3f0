//! The versions of the running and the offered image, as people read them.

use crate::core::docker::image_version::ImageVersion;
use crate::core::docker::reference::Digest;

/// The versions that the two images of a container state as their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    pub running: Option<ImageVersion>,
    pub offered: Option<ImageVersion>,
}

/// Two texts that are equal if and only if the offered image is the running one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownVersions {
    /// Absent if it is not known what runs.
    pub running: Option<String>,
    /// Absent if it is not known what is offered.
    pub offered: Option<String>,
}

impl Versions {
    /// The texts for these digests: the stated version, else the first 12 digits of the digest.
    ///
    /// Home Assistant shows no update if it reads the second text as an older version than the
    /// first one. A tag may go back to an older version, and that is an update as well. So a
    /// version that is not clearly newer has its digest behind it, and a digest that looks like a
    /// number has `sha256:` before it. Home Assistant does not compare such texts, and shows the
    /// update.
    #[must_use]
    pub fn shown(&self, running: Option<&Digest>, offered: Option<&Digest>) -> ShownVersions {
        let (of_running, of_offered) = match (&self.running, &self.offered) {
            // The version says nothing about this change.
            (Some(one), Some(two)) if one == two && running != offered => (None, None),
            (one, two) => (one.as_ref(), two.as_ref()),
        };
        let text = |version: Option<&ImageVersion>, digest: &Digest| match version {
            Some(version) => version.as_str().to_owned(),
            None => digest.short().to_owned(),
        };
        let before = running.map(|digest| text(of_running, digest));
        let after = offered.map(|digest| {
            match (&before, running) {
                (Some(before), Some(running)) if running == digest => return before.clone(),
                _ => {}
            }
            let after = text(of_offered, digest);
            let is_newer = before.as_deref().is_none_or(|before| is_clearly_newer(&after, before));
            match of_offered {
                Some(_) if !is_newer => format!("{after} ({})", digest.short()),
                None if looks_like_a_number(&after) => format!("sha256:{after}"),
                _ => after,
            }
        });
        ShownVersions { running: before, offered: after }
    }
}

/// Whether two versions begin with equally many numbers, and those of the first one are higher.
/// Home Assistant 2025.4 takes everything of this kind for newer, or does not compare it.
fn is_clearly_newer(version: &str, than: &str) -> bool {
    match (numbers(version), numbers(than)) {
        (Some((v, numbers)), Some((other_v, others))) => {
            v == other_v && numbers.len() == others.len() && numbers > others
        }
        _ => false,
    }
}

/// Whether a version begins with `v`, and the numbers at its beginning; `None` without a number.
fn numbers(version: &str) -> Option<(bool, Vec<u64>)> {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
    let numbers = rest[..end].trim_end_matches('.').split('.').map(str::parse);
    let numbers: Result<Vec<u64>, _> = numbers.collect();
    Some((rest.len() < version.len(), numbers.ok()?))
}

/// Of 100,000 random digests all that Home Assistant reads as a version begin with a digit and have
/// at most two letters: `018a3635d511` is a pre-release in Python's numbering (PEP 440).
fn looks_like_a_number(digits: &str) -> bool {
    let letters = digits.bytes().filter(u8::is_ascii_alphabetic).count();
    digits.starts_with(|it: char| it.is_ascii_digit()) && letters <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(running: (&str, Option<char>), offered: (&str, Option<char>)) -> (String, String) {
        let version = |text: &str| ImageVersion::read(text);
        let digest = |digit: Option<char>| -> Option<Digest> {
            let hex: String = ['e', 'f', 'a'].into_iter().chain([digit?; 61]).collect();
            Some(format!("sha256:{hex}").parse().expect("a digest"))
        };
        let versions = Versions { running: version(running.0), offered: version(offered.0) };
        let shown = versions.shown(digest(running.1).as_ref(), digest(offered.1).as_ref());
        (shown.running.unwrap_or_default(), shown.offered.unwrap_or_default())
    }

    #[test]
    fn the_texts_differ_exactly_if_the_images_differ() {
        let (one, two) = (Some('1'), Some('2'));
        for (running, offered, expected) in [
            (("1.2", one), ("1.3", two), ("1.2", "1.3")),
            (("1.2", one), ("1.2", one), ("1.2", "1.2")),
            // The offered image of an up to date container is not looked at.
            (("1.2", one), ("", one), ("1.2", "1.2")),
            (("", one), ("1.2", one), ("efa111111111", "efa111111111")),
            // A rebuild under the same version, or the version of a common base image.
            (("1.2", one), ("1.2", two), ("efa111111111", "efa222222222")),
            (("", one), ("", two), ("efa111111111", "efa222222222")),
            (("1.2", one), ("", two), ("1.2", "efa222222222")),
            (("", one), ("1.2", two), ("efa111111111", "1.2 (efa222222222)")),
            // Back to an older version, and versions that cannot be compared.
            (("1.10.0", one), ("1.9.0", two), ("1.10.0", "1.9.0 (efa222222222)")),
            (("1.9.0", one), ("1.10.0", two), ("1.9.0", "1.10.0")),
            (("v1.9", one), ("v1.10-rc1", two), ("v1.9", "v1.10-rc1")),
            (("1.2-r1", one), ("1.2-r2", two), ("1.2-r1", "1.2-r2 (efa222222222)")),
            (("1.2", one), ("1.2.1", two), ("1.2", "1.2.1 (efa222222222)")),
            (("1.2", one), ("v1.3", two), ("1.2", "v1.3 (efa222222222)")),
            (("1.2", one), ("edge", two), ("1.2", "edge (efa222222222)")),
            (
                ("1.2", one),
                ("1.99999999999999999999", two),
                ("1.2", "1.99999999999999999999 (efa222222222)"),
            ),
            // Not known.
            (("1.2", one), ("", None), ("1.2", "")),
            (("", None), ("1.2", two), ("", "1.2")),
            (("1.2", None), ("1.2", None), ("", "")),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned());
            assert_eq!(shown(running, offered), expected, "{running:?} {offered:?}");
        }
    }

    #[test]
    fn a_digest_is_not_taken_for_a_number() {
        let digest =
            |hex: &str| -> Digest { format!("sha256:{hex:0<64}").parse().expect("a digest") };
        let (running, offered) = (digest("999999999999"), digest("18a3635d5119"));
        let shown = Versions::default().shown(Some(&running), Some(&offered));
        assert_eq!(shown.running.as_deref(), Some("999999999999"));
        assert_eq!(shown.offered.as_deref(), Some("sha256:18a3635d5119"));
        for (digits, expected) in [
            ("123456789012", true),
            ("12345d789012", true),
            ("a23456789012", false),
            ("1a2b3c789012", false),
        ] {
            assert_eq!(looks_like_a_number(digits), expected, "{digits}");
        }
    }
}
