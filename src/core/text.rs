//! Texts in messages: suggestions for typos, and foreign text made safe.

/// How many characters of a foreign text an error repeats; more would hide the message.
const SHOWN_MAX: usize = 120;

/// Shortest known word that is found by its beginning alone (`password` for `password_file`).
const PREFIX_MIN: usize = 4;

/// The known word that was probably meant, or `None` if no word is close.
///
/// Close means: one wrong, missing, extra or swapped letter in three, without regard to case, or
/// one word is the beginning of the other.
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

/// The number of letters to change; a common beginning counts as one change.
fn distance(word: &str, candidate: &str) -> usize {
    let is_beginning = (word.len() >= PREFIX_MIN && candidate.starts_with(word))
        || (candidate.len() >= PREFIX_MIN && word.starts_with(candidate));
    let distance = strsim::damerau_levenshtein(word, candidate);
    if is_beginning { distance.min(1) } else { distance }
}

/// The end of a message with a suggestion: `; did you mean …?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// A text from outside for one line of a log: control characters escaped, long texts cut.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(escape).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(letter: char) -> Vec<char> {
    if is_obeyed(letter) { letter.escape_default().collect() } else { vec![letter] }
}

/// Whether a terminal acts on a character or hides it instead of showing it: control characters
/// (C0, DEL, C1), line separators, direction marks, which let a text read differently than it is
/// written (Unicode TR 36, 3.3), and characters without width (Unicode,
/// `Default_Ignorable_Code_Point`).
#[must_use]
pub fn is_obeyed(letter: char) -> bool {
    letter.is_control() || is_separator_or_mark(letter) || has_no_width(letter)
}

const fn is_separator_or_mark(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Direction marks (`Bidi_Control`) are among them.
const fn has_no_width(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A whole page of output in which no foreign character is acted on. Line ends and colours
/// (ECMA-48, SGR) are kept, because they are our own: foreign text is already one line without
/// colours here.
#[must_use]
pub fn harmless_page(page: &str) -> String {
    let mut harmless = String::with_capacity(page.len());
    for (at, letter) in page.char_indices() {
        match letter {
            '\n' => harmless.push(letter),
            '\u{1b}' if is_colour(&page[at + 1..]) => harmless.push(letter),
            letter if is_obeyed(letter) => harmless.extend(letter.escape_default()),
            letter => harmless.push(letter),
        }
    }
    harmless
}

/// Whether the text after an escape character makes it a colour.
fn is_colour(behind: &str) -> bool {
    let parameters = behind.strip_prefix('[').unwrap_or_default();
    let end = parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    end.starts_with('m')
}

/// The same for a JSON document. A character is escaped as in RFC 8259, so that the document stays
/// the same. Control characters are already escaped by the JSON writer.
#[must_use]
pub fn harmless_json(document: &str) -> String {
    let mut harmless = String::with_capacity(document.len());
    for letter in document.chars() {
        if letter.is_ascii() && letter != '\u{7f}' || !is_obeyed(letter) {
            harmless.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                harmless.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    harmless
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
        assert_eq!(shown("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
    }

    #[test]
    fn invisible_characters_are_escaped_and_visible_ones_stay() {
        let unseen = "\0\x07\x08\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{9f}\u{ad}\u{61c}\u{115f}\u{180e}\
            \u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
            \u{202e}\u{2060}\u{2064}\u{2066}\u{2067}\u{2068}\u{2069}\u{206f}\u{3164}\u{fe0f}\u{feff}\
            \u{fffb}\u{e0001}\u{e0041}\u{e0100}";
        for letter in unseen.chars() {
            assert!(is_obeyed(letter), "{letter:?}");
            let json = harmless_json(&serde_json::json!([letter]).to_string());
            assert!(letter.is_ascii() || json.is_ascii(), "{json}");
            let read: Vec<char> = serde_json::from_str(&json).expect("the same document");
            assert_eq!(read, [letter]);
        }
        for letter in "aZ~ äßéñøłжяעبक日本語한글🦀€–…“”×°\u{fffd}".chars()
        {
            assert!(!is_obeyed(letter), "{letter:?}");
        }
        let page = harmless_page("\x1b[1ma\x1b[0m\x1b[2J\x1b]0;b\u{202e}\r\n\x1b");
        assert_eq!(page, "\x1b[1ma\x1b[0m\\u{1b}[2J\\u{1b}]0;b\\u{202e}\\r\n\\u{1b}");
    }
}
