//! Lines that fit: made harmless, cut, shortened, wrapped. A character counts as one column.

use crate::core::text::is_obeyed;

/// Shown for omitted text.
const ELLIPSIS: char = '…';

/// A foreign text on one line, without characters that a terminal acts on: invisible characters are
/// written as escapes.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.trim_end().chars() {
        match letter {
            '\t' => line.push(' '),
            letter if is_obeyed(letter) => line.extend(letter.escape_default()),
            letter => line.push(letter),
        }
    }
    line
}

/// The columns of a text.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Removes the middle: the beginning of an image's name shows its owner, its end the version.
pub fn shorten(text: &str, columns: usize) -> String {
    let length = width(text);
    if length <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let head = kept / 2;
    let start = text.chars().take(head);
    let end = text.chars().skip(length - (kept - head));
    start.chain([ELLIPSIS]).chain(end).take(columns).collect()
}

/// Removes the end.
pub fn cut(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns.filter(|columns| *columns < width(text)) else {
        return text.to_owned();
    };
    text.chars().take(columns.saturating_sub(1)).chain([ELLIPSIS]).take(columns).collect()
}

/// Narrowest column for wrapped words; in a narrower one the terminal wraps the lines.
const WRAP_MIN: usize = 20;

/// Lines of whole words, the first after `indent`, the others indented as far. Only a word that is
/// longer than a line is broken.
pub fn wrap(text: &str, indent: &str, columns: Option<usize>) -> Vec<String> {
    let room = columns.map(|columns| columns.saturating_sub(width(indent)));
    let Some(room) = room.filter(|room| *room >= WRAP_MIN) else {
        return vec![format!("{indent}{text}")];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').flat_map(|word| pieces(word, room)) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    let blanks = " ".repeat(width(indent));
    let indents = [indent].into_iter().chain(std::iter::repeat(blanks.as_str()));
    indents.zip(lines).map(|(indent, line)| format!("{indent}{line}")).collect()
}

/// A word in pieces that fit; nothing for an empty one.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_does_not_act_on_foreign_text() {
        assert_eq!(one_line("a\x1b[2Jb\r\nc\td\n"), r"a\u{1b}[2Jb\r\nc d");
        assert_eq!(one_line("süß \u{9b}"), r"süß \u{9b}");
        assert_eq!(one_line("a\u{202e}b\u{200b}c\u{2028}d"), r"a\u{202e}b\u{200b}c\u{2028}d");
    }

    #[test]
    fn the_middle_of_an_image_is_left_out() {
        for (columns, expected) in [
            (27, "registry:5000/shop/till:1.2"),
            (13, "regist…ll:1.2"),
            (3, "r…2"),
            (1, "…"),
            (0, ""),
        ] {
            assert_eq!(shorten("registry:5000/shop/till:1.2", columns), expected);
        }
        assert_eq!(shorten("übergröße", 5), "üb…ße");
    }

    #[test]
    fn the_end_of_a_line_is_left_out_only_where_it_must() {
        assert_eq!(cut("panic: no config", Some(9)), "panic: n…");
        assert_eq!(cut("panic", Some(5)), "panic");
        assert_eq!(cut("panic", None), "panic");
        assert_eq!(cut("panic", Some(0)), "");
    }

    #[test]
    fn words_stay_whole() {
        let text = "put the CA under /etc/docker/certs.d/registry.example:5000/ca.crt and wait";
        assert_eq!(
            wrap(text, "> ", Some(30)),
            [
                "> put the CA under",
                "  /etc/docker/certs.d/registry",
                "  .example:5000/ca.crt and",
                "  wait",
            ]
        );
        assert_eq!(wrap(text, "  ", None), [format!("  {text}")]);
        assert_eq!(wrap(text, "  ", Some(10)), [format!("  {text}")]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_wider_than_its_column(text in ".{0,40}", columns in 0usize..50) {
            proptest::prop_assert!(width(&shorten(&text, columns)) <= columns);
            proptest::prop_assert!(width(&cut(&text, Some(columns))) <= columns);
            let columns = columns.max(WRAP_MIN + 2);
            let lines = wrap(&text, "> ", Some(columns));
            proptest::prop_assert!(lines.iter().all(|line| width(line) <= columns));
        }
    }
}
