//! The width of the output, and whether it may have colour.

/// The properties of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns of the terminal. `None`: no terminal, lines have any length.
    pub width: Option<usize>,
    pub colour: bool,
}

/// The styles that make a word stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    /// Unimportant text.
    Dim,
    /// Failures.
    Red,
    /// Healthy or up to date.
    Green,
    /// Waits for a person.
    Yellow,
    /// Something new.
    Cyan,
}

impl Style {
    /// The parameter of the escape sequence (ECMA-48, Select Graphic Rendition).
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Red => Some("31"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Cyan => Some("36"),
        }
    }
}

impl Screen {
    /// No terminal: a file, a pipe, a test.
    pub const NONE: Self = Self { width: None, colour: false };

    /// The text in a colour, if colour is on.
    #[must_use]
    pub fn paint(self, paint: Style, text: &str) -> String {
        match paint.code() {
            Some(code) if self.colour && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Whether the user allows colour: not with `--no-color`, and not if `NO_COLOR` is not empty
/// (<https://no-color.org>).
#[must_use]
pub fn may_colour(no_color_flag: bool, no_color_variable: Option<&str>) -> bool {
    !no_color_flag && no_color_variable.is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let colourful = Screen { width: None, colour: true };
        assert_eq!(colourful.paint(Style::Red, "held"), "\x1b[31mheld\x1b[0m");
        assert_eq!(colourful.paint(Style::Plain, "held"), "held");
        assert_eq!(colourful.paint(Style::Red, ""), "");
        assert_eq!(Screen::NONE.paint(Style::Red, "held"), "held");
    }

    #[test]
    fn a_user_can_forbid_colour_in_two_ways() {
        for (flag, variable, expected) in [
            (false, None, true),
            (false, Some(""), true),
            (false, Some("1"), false),
            (true, None, false),
            (true, Some(""), false),
        ] {
            assert_eq!(may_colour(flag, variable), expected, "{flag} {variable:?}");
        }
    }
}
