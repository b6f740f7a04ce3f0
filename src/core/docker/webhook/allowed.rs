//! The references of which a sender may tell.

use super::Push;
use crate::core::docker::reference::DOCKER_HUB;

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write \"registry/repository\", \"registry/repository:tag\", or either with a `*` at its end, \
     such as \"ghcr.io/shop/*\"; `*` alone is every reference"
)]
pub struct PatternError;

/// The allowed references; an empty list allows all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedReferences(Vec<Pattern>);

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Absent: any.
    registry: Option<String>,
    repository: Text,
    /// Absent: any.
    tag: Option<Text>,
}

/// A whole text, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    is_prefix: bool,
}

impl Text {
    fn new(text: &str) -> Self {
        let is_prefix = text.ends_with('*');
        Self { text: text.trim_end_matches('*').to_owned(), is_prefix }
    }

    fn matches(&self, text: &str) -> bool {
        if self.is_prefix { text.starts_with(&self.text) } else { text == self.text }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let stars = text.matches('*').count();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:[]*".contains(c);
        let is_wrong = text.is_empty() || stars > 1 || (stars == 1 && !text.ends_with('*'));
        if is_wrong || !text.chars().all(is_plain) {
            return Err(PatternError);
        }
        if text == "*" {
            return Ok(Self { registry: None, repository: Text::new("*"), tag: None });
        }
        // Docker's rule: a first part with a dot or a colon, or `localhost`, is a registry.
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, rest) = match text.split_once('/') {
            Some(("index.docker.io", rest)) => (DOCKER_HUB, rest),
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => (DOCKER_HUB, text),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(Text::new(tag))),
            None => (rest, None),
        };
        if repository.is_empty() || tag.as_ref().is_some_and(|tag| tag.text.contains('/')) {
            return Err(PatternError);
        }
        let is_official = registry == DOCKER_HUB && !repository.contains('/');
        let repository = if is_official && !repository.starts_with('*') {
            Text::new(&format!("library/{repository}"))
        } else {
            Text::new(repository)
        };
        Ok(Self { registry: Some(registry.to_owned()), repository, tag })
    }

    /// The part of a push that this pattern allows. A push that names no registry gets the
    /// pattern's: so the sender of one registry wakes no container of another.
    fn part_of(&self, push: &Push) -> Option<Push> {
        let is_allowed = self.repository.matches(&push.repository)
            && match (&self.registry, &push.registry) {
                (Some(allowed), Some(named)) => allowed == named,
                _ => true,
            }
            && match (&self.tag, &push.tag) {
                (Some(allowed), Some(named)) => allowed.matches(named),
                (Some(_), None) => false,
                (None, _) => true,
            };
        let registry = push.registry.clone().or_else(|| self.registry.clone());
        is_allowed.then(|| Push { registry, ..push.clone() })
    }
}

impl AllowedReferences {
    /// Reads the patterns of a sender.
    ///
    /// # Errors
    /// The first text that is no pattern.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, (&'a str, PatternError)> {
        let parse = |text: &'a str| Pattern::parse(text).map_err(|error| (text, error));
        texts.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The allowed pushes, and how many others there were.
    #[must_use]
    pub fn filter(&self, pushed: Vec<Push>) -> (Vec<Push>, usize) {
        if self.0.is_empty() {
            return (pushed, 0);
        }
        let mut refused = 0;
        let mut allowed = Vec::new();
        for push in pushed {
            let before = allowed.len();
            allowed.extend(self.0.iter().filter_map(|pattern| pattern.part_of(&push)));
            refused += usize::from(allowed.len() == before);
        }
        allowed.sort_unstable();
        allowed.dedup();
        (allowed, refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], reference: &str) -> Vec<String> {
        let patterns = AllowedReferences::parse(patterns.iter().copied()).expect("patterns");
        let push = match reference.strip_prefix("?/") {
            Some(rest) => {
                let push = Push::named(&format!("host.example/{rest}")).expect("a reference");
                Push { registry: None, ..push }
            }
            None => Push::named(reference).expect("a reference"),
        };
        let (allowed, refused) = patterns.filter(vec![push]);
        assert_eq!(refused, usize::from(allowed.is_empty()), "{reference}");
        let name = |push: Push| {
            let registry = push.registry.unwrap_or_else(|| "?".to_owned());
            format!("{registry}/{}:{}", push.repository, push.tag.unwrap_or_default())
        };
        allowed.into_iter().map(name).collect()
    }

    #[test]
    fn a_sender_tells_only_of_its_own_references() {
        for (pattern, reference, is_allowed) in [
            ("ghcr.io/shop/*", "ghcr.io/shop/till:v1", true),
            ("ghcr.io/shop/*", "ghcr.io/shopping/till:v1", false),
            ("ghcr.io/shop/*", "quay.io/shop/till:v1", false),
            ("ghcr.io/shop/till", "ghcr.io/shop/till:v1", true),
            ("ghcr.io/shop/till", "ghcr.io/shop/tills:v1", false),
            ("ghcr.io/shop/till*", "ghcr.io/shop/tills:v1", true),
            ("ghcr.io/shop/till:v1", "ghcr.io/shop/till:v2", false),
            ("ghcr.io/shop/till:v*", "ghcr.io/shop/till:v2", true),
            ("registry:443/*", "registry:443/shop/till:v1", true),
            ("registry:443/*", "registry:444/shop/till:v1", false),
            ("[::1]:5000/*", "[::1]:5000/shop/till:v1", true),
            ("shop/*", "docker.io/shop/till:v1", true),
            ("shop/*", "ghcr.io/shop/till:v1", false),
            ("nginx", "docker.io/library/nginx:1", true),
            ("index.docker.io/shop/*", "docker.io/shop/till:v1", true),
            ("docker.io/*", "docker.io/library/nginx:1", true),
            ("*", "ghcr.io/shop/till:v1", true),
        ] {
            assert_eq!(!allowed(&[pattern], reference).is_empty(), is_allowed, "{pattern}");
        }
        assert_eq!(allowed(&[], "ghcr.io/a/b:c"), ["ghcr.io/a/b:c"], "without patterns all are");
    }

    #[test]
    fn a_push_without_a_registry_gets_that_of_the_pattern() {
        let patterns = ["registry:443/shop/*", "mirror:5000/shop/till"];
        let expected = ["mirror:5000/shop/till:v1", "registry:443/shop/till:v1"];
        assert_eq!(allowed(&patterns, "?/shop/till:v1"), expected);
        assert_eq!(allowed(&patterns, "?/other/till:v1"), [""; 0]);
        assert_eq!(allowed(&["*"], "?/shop/till:v1"), ["?/shop/till:v1"]);
    }

    #[test]
    fn a_push_of_any_tag_needs_a_pattern_of_any_tag() {
        let push = Push { tag: None, ..Push::named("ghcr.io/shop/till:v1").expect("a reference") };
        for (pattern, count) in [("ghcr.io/shop/till", 1), ("ghcr.io/shop/till:v1", 0)] {
            let patterns = AllowedReferences::parse([pattern]).expect("a pattern");
            assert_eq!(patterns.filter(vec![push.clone()]).0.len(), count, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "**", "*/till", "ghcr.io/*/till", "ghcr.io/", "a b", "a@sha256:1", "ü/x"]
        {
            assert_eq!(AllowedReferences::parse([wrong]), Err((wrong, PatternError)), "{wrong}");
        }
    }
}
