//! Names that this program gives to things on the Engine.

use crate::core::docker::reference::{Digest, Reference};

/// Prefix of every container name that this program creates.
pub const CONTAINER_PREFIX: &str = "pilotfish-";

/// Prefix of the new container's name while it exists beside the old one.
pub const NEW_PREFIX: &str = "pilotfish-new-";

/// Prefix of the old container's name while it is parked.
pub const OLD_PREFIX: &str = "pilotfish-old-";

/// Prefix of the name of the self-update helper.
pub const HELPER_PREFIX: &str = "pilotfish-helper-";

/// The repository under which previous images are kept.
const KEEP_REPOSITORY: &str = "pilotfish-keep";

/// Patterns that match every repository with a kept image (`reference` filter of the Engine's image
/// list, in which `*` does not match a slash).
pub const KEEP_PATTERNS: [&str; 2] = ["pilotfish-keep/*", "pilotfish-keep/by-digest/*"];

/// The repository for images that wait for a window.
const NEXT_REPOSITORY: &str = "pilotfish-next";

/// Patterns that match every repository with an image that was fetched ahead.
pub const NEXT_PATTERNS: [&str; 2] = ["pilotfish-next/*", "pilotfish-next/by-digest/*"];

/// The repository for images that a client pushed, until their container runs them.
const PUSH_REPOSITORY: &str = "pilotfish-push";

/// Patterns that match every repository with such an image.
pub const PUSH_PATTERNS: [&str; 2] = ["pilotfish-push/*", "pilotfish-push/by-digest/*"];

/// Names up to this length are used as they are; a repository name has at most 255 bytes.
const PLAIN_LENGTH_MAX: usize = 200;

/// The name of the new container beside the old one.
#[must_use]
pub fn new_name(container: &str) -> String {
    format!("{NEW_PREFIX}{container}")
}

/// The name of the old container while the new one is verified.
#[must_use]
pub fn old_name(container: &str) -> String {
    format!("{OLD_PREFIX}{container}")
}

/// The name of the self-update helper for the agent's container.
#[must_use]
pub fn helper_name(container: &str) -> String {
    format!("{HELPER_PREFIX}{container}")
}

/// Whether this program created a container with this name for an update, independent of its
/// labels.
#[must_use]
pub fn is_ours(container: &str) -> bool {
    [NEW_PREFIX, OLD_PREFIX, HELPER_PREFIX].iter().any(|prefix| container.starts_with(prefix))
}

/// The repository that keeps the previous images of a container.
#[must_use]
pub fn keep_repository(container: &str) -> String {
    repository(KEEP_REPOSITORY, container)
}

/// The repository that keeps the images fetched for a container ahead of its window.
#[must_use]
pub fn next_repository(container: &str) -> String {
    repository(NEXT_REPOSITORY, container)
}

/// The repository for the images that are pushed for a container.
#[must_use]
pub fn push_repository(container: &str) -> String {
    repository(PUSH_REPOSITORY, container)
}

/// The whole name of an image that was pushed for a container.
#[must_use]
pub fn push_name(container: &str, image_id: &str) -> String {
    format!("{}:{}", push_repository(container), keep_tag(image_id))
}

/// Whether a name from the Engine's list is one of a pushed image.
#[must_use]
pub fn is_push_name(name: &str) -> bool {
    name.strip_prefix(PUSH_REPOSITORY).is_some_and(|rest| rest.starts_with('/'))
}

/// A separate repository for each container.
///
/// Repository names allow fewer characters than container names. A name that is not valid as a
/// repository is replaced by its digest, in a separate folder, so that two names never share a
/// repository.
fn repository(folder: &str, container: &str) -> String {
    let plain = format!("{folder}/{container}");
    let is_repository = plain.parse::<Reference>().is_ok_and(|reference| {
        reference.tag.as_deref() == Some("latest") && reference.repository == plain
    });
    if is_repository && container.len() <= PLAIN_LENGTH_MAX && !container.contains('/') {
        return plain;
    }
    format!("{folder}/by-digest/{}", Digest::of(container.as_bytes()).hex())
}

/// Whether a name from the Engine's list is one of a container's keep-tags.
#[must_use]
pub fn is_keep_tag(name: &str, repository: &str) -> bool {
    name.strip_prefix(repository).is_some_and(|tag| tag.starts_with(':'))
}

/// The whole name of an image that waits for a container's window.
#[must_use]
pub fn next_name(container: &str, image_id: &str) -> String {
    format!("{}:{}", next_repository(container), keep_tag(image_id))
}

/// Whether a name from the Engine's list is one of an image that waits for its window.
#[must_use]
pub fn is_next_name(name: &str) -> bool {
    name.strip_prefix(NEXT_REPOSITORY).is_some_and(|rest| rest.starts_with('/'))
}

/// The tag under which an image is kept: the first 12 digits of its ID.
#[must_use]
pub fn keep_tag(image_id: &str) -> String {
    let hex = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    hex.chars().take(12).collect()
}

/// A text for a file name: other characters become `_`.
#[must_use]
pub fn file_name(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    text.chars().take(100).map(|letter| if safe(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_kept_under_their_own() {
        assert_eq!(keep_repository("till"), "pilotfish-keep/till");
        assert_eq!(keep_repository("shop_till-1"), "pilotfish-keep/shop_till-1");
        assert_eq!(
            next_name("till", "sha256:0123456789abcdef"),
            "pilotfish-next/till:0123456789ab"
        );
    }

    #[test]
    fn the_containers_of_an_update_are_recognized() {
        let ours = [new_name("web"), old_name("web"), helper_name("pilotfish")];
        assert!(ours.iter().all(|name| is_ours(name)));
        assert!(!["web", "pilotfish", "pilotfish-web"].into_iter().any(is_ours));
    }

    #[test]
    fn names_that_are_no_repositories_never_share_one() {
        let names = ["Till", "till.", "a._b", "TILL", "a___b"];
        let repositories: std::collections::BTreeSet<_> =
            names.iter().map(|name| keep_repository(name)).collect();
        assert_eq!(repositories.len(), names.len());
        for repository in repositories {
            assert!(repository.parse::<Reference>().is_ok(), "{repository}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_container_name_has_a_repository(name in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,250}") {
            proptest::prop_assert!(keep_repository(&name).parse::<Reference>().is_ok());
        }
    }
}
