//! Two small services for messages: what somebody probably meant, and a stranger's text made safe.

/// How many characters of a stranger's text an error repeats; more would bury the message.
const SHOWN_MAX: usize = 120;

/// A known word of this length may be found by its beginning alone (`password` for
/// `password_file`).
const PREFIX_MIN: usize = 4;

/// The known word that was probably meant, or none if nothing is close.
///
/// Close is one wrong, missing, extra or swapped letter in three, case aside, or one word being
/// the beginning of the other.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= (word.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to change, where a common beginning counts as one change.
fn distance(word: &str, candidate: &str) -> usize {
    let is_beginning = (word.len() >= PREFIX_MIN && candidate.starts_with(word))
        || (candidate.len() >= PREFIX_MIN && word.starts_with(candidate));
    let distance = strsim::damerau_levenshtein(word, candidate);
    if is_beginning { distance.min(1) } else { distance }
}

/// The end of a message that names what was probably meant: `; did you mean …?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// A text that came from outside, fit for one line of a log: control characters escaped, cut short.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(escape).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word() {
        let known = ["every", "cron", "jitter", "password_file"];
        for (word, expected) in [
            ("evry", Some("every")),
            ("JITTER", Some("jitter")),
            ("crno", Some("cron")),
            ("password", Some("password_file")),
            ("interval", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(did_you_mean("evry", known), "; did you mean `every`?");
        assert_eq!(did_you_mean("interval", known), "");
    }

    #[test]
    fn the_closest_of_several_wins() {
        assert_eq!(nearest("pull.windw", ["pull.window", "full.window"]), Some("pull.window"));
    }

    #[test]
    fn a_hostile_text_stays_on_one_short_line() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN_MAX + 1);
        assert_eq!(shown("süß"), "süß");
    }
}
