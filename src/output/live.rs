//! A page on the terminal that is drawn again in its place.

use crate::core::text::harmless_page;

/// Lines are cut at the right edge (DEC private mode 7, reset), so that the number of lines is that
/// of the page, also with characters that are two columns wide.
const NO_WRAP: &str = "\x1b[?7l";

/// Lines are continued below (DEC private mode 7, set): the usual state of a terminal.
const WRAP: &str = "\x1b[?7h";

/// Clears the rest of a line, and the rest of the screen (ECMA-48: EL, ED).
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// A page that is drawn again in its place.
#[derive(Debug, Default)]
pub struct LivePage {
    /// The page that the terminal shows.
    shown: String,
}

impl LivePage {
    /// What a terminal gets so that it shows this page in place of the earlier one; nothing if it
    /// shows it already.
    #[must_use]
    pub fn draw(&mut self, page: &str) -> String {
        let page = harmless_page(page);
        if page == self.shown {
            return String::new();
        }
        let mut text = NO_WRAP.to_owned();
        match self.shown.lines().count() {
            0 => {}
            // Cursor Preceding Line.
            lines => text.push_str(&format!("\x1b[{lines}F")),
        }
        for line in page.lines() {
            // Not behind the line: after a full line the cursor stands on its last character.
            text.push_str(&format!("{CLEAR_LINE}{line}\r\n"));
        }
        text.push_str(CLEAR_BELOW);
        text.push_str(WRAP);
        self.shown = page;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_drawn_in_place_of_the_earlier_one() {
        let mut live = LivePage::default();
        let first = live.draw("a\nb\n");
        assert_eq!(first, "\x1b[?7l\x1b[Ka\r\n\x1b[Kb\r\n\x1b[J\x1b[?7h");
        assert_eq!(live.draw("a\nb\n"), "");
        let second = live.draw("c\n");
        assert_eq!(second, "\x1b[?7l\x1b[2F\x1b[Kc\r\n\x1b[J\x1b[?7h");
        assert!(!live.draw("\x1b[2Jd\n").contains("\x1b[2J"));
    }
}
