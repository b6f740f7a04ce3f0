//! Phrases that the terminal, the history and the log share.

use crate::core::docker::reference::Digest;
use crate::core::subject::{Subject, SubjectKind};
use crate::core::update::history::Outcome;
use crate::documents::UpdateRow;
use crate::output::text::one_line;

/// Shown for an unknown value.
pub const UNKNOWN: &str = "–";

/// Bytes for people: `812 B`, `40.1 MB`. A megabyte has a million of them, as in the output of
/// `docker`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let count_as_float = count as f64;
    for (size, unit) in UNITS {
        if count_as_float >= size {
            return format!("{:.1} {unit}", count_as_float / size);
        }
    }
    format!("{count} B")
}

/// Seconds for people: `0.31 s`, `7.8 s`, `95 s`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 1.0 => format!("{short:.2} s"),
        medium if medium < 60.0 => format!("{medium:.1} s"),
        long => format!("{long:.0} s"),
    }
}

/// The short form of a digest, or a dash.
#[must_use]
pub fn short(digest: Option<&Digest>) -> String {
    digest.map_or(UNKNOWN, Digest::short).to_owned()
}

/// The old and the new digest in short form.
#[must_use]
pub fn change(from: Option<&Digest>, to: Option<&Digest>) -> String {
    format!("{} → {}", short(from), short(to))
}

/// An image, with the name of the container in a group that gets it before it.
#[must_use]
pub fn of_member(member: Option<&str>, image: &str) -> String {
    member.map_or_else(|| image.to_owned(), |name| format!("{name}: {image}"))
}

/// A word of the JSON with blanks, for people: `rolled back`.
#[must_use]
pub fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// `, with sidecar and logger`: the dependents that are recreated with a container; empty without
/// any.
#[must_use]
pub fn together(dependents: &[String]) -> String {
    match dependents {
        [] => String::new(),
        [one] => format!(", with {}", one_line(one)),
        [all @ .., last] => {
            let all: Vec<_> = all.iter().map(|name| one_line(name)).collect();
            format!(", with {} and {}", all.join(", "), one_line(last))
        }
    }
}

/// How an update ended, in one line without the container's name.
#[must_use]
pub fn ended(update: &UpdateRow) -> String {
    let mut sentence = spaced(update.outcome.word());
    if update.outcome == Outcome::Updated {
        sentence.push_str(&format!(", {}", change(update.from.as_ref(), update.to.as_ref())));
        sentence.push_str(&together(&update.dependents));
    }
    if let Some(reason) = &update.reason {
        sentence.push_str(&format!(": {}", one_line(reason)));
    }
    if let Some(gap) = update.gap_seconds {
        sentence.push_str(&format!(" (service gap {})", seconds(gap)));
    }
    sentence
}

/// `1 container`, `2 containers`.
#[must_use]
pub fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// `2 containers`, `1 service`, `2 containers and 1 service`.
#[must_use]
pub fn counted_subjects<'a>(subjects: impl Iterator<Item = &'a Subject>) -> String {
    let (services, containers): (Vec<_>, Vec<_>) =
        subjects.partition(|subject| subject.kind == SubjectKind::Service);
    let in_containers = counted(containers.len(), "container", "containers");
    let in_services = counted(services.len(), "service", "services");
    match (containers.is_empty(), services.is_empty()) {
        (_, true) => in_containers,
        (true, false) => in_services,
        (false, false) => format!("{in_containers} and {in_services}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_services_are_counted_by_their_kind() {
        let container = |name: &str| Subject::container(name);
        let both = [container("a"), Subject::service("a"), container("b")];
        assert_eq!(counted_subjects(both.iter()), "2 containers and 1 service");
        assert_eq!(counted_subjects(both[1..2].iter()), "1 service");
        assert_eq!(counted_subjects(both[..1].iter()), "1 container");
        assert_eq!(counted_subjects([].iter()), "0 containers");
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (count, expected) in
            [(0, "0 B"), (812, "812 B"), (1_000, "1.0 kB"), (40_123_456, "40.1 MB")]
        {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(bytes(u64::MAX), "18446744073.7 GB");
        for (count, expected) in
            [(0.0, "0.00 s"), (0.312, "0.31 s"), (7.84, "7.8 s"), (95.2, "95 s")]
        {
            assert_eq!(seconds(count), expected);
        }
    }
}
