//! Expressions that select tags: the part of regular expressions that tags need.
//!
//! Literals, `.`, `[a-z]`, `[^a-z]`, `\d`, `\w`, `^`, `$`, `*`, `+`, `?`, and `|` between whole
//! alternatives. There are no groups. A full engine for regular expressions may use 13 MB for one
//! expression, as it did for image references. This one looks at each letter of a tag once, so no
//! expression can take long.

/// Longest expression, in bytes. A tag has at most 128 letters.
const EXPRESSION_MAX: usize = 256;

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("the expression is empty or longer than {EXPRESSION_MAX} letters")]
    Length,
    /// `(`, `)`, `{` and `}` of full regular expressions.
    #[error("`{0}` has no meaning here: there are no groups and no counts")]
    Unsupported(char),
    /// `[` without `]`, `\` at the end, `*` without anything before it.
    #[error("`{0}` is incomplete")]
    Incomplete(char),
}

/// A compiled expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagExpression {
    text: String,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Alternative {
    from_start: bool,
    to_end: bool,
    atoms: Vec<Atom>,
}

/// One set of letters, and how often it may come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Atom {
    letters: Letters,
    may_be_absent: bool,
    may_repeat: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Letters {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

impl Letters {
    fn one(letter: char) -> Self {
        Self { is_negated: false, ranges: vec![(letter, letter)] }
    }

    fn class(letter: char) -> Self {
        let ranges = match letter {
            'd' => vec![('0', '9')],
            'w' => vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
            other => vec![(other, other)],
        };
        Self { is_negated: false, ranges }
    }

    fn contains(&self, letter: char) -> bool {
        let is_in = |(low, high): &(char, char)| (*low..=*high).contains(&letter);
        self.ranges.iter().any(is_in) != self.is_negated
    }
}

impl TagExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What this kind of expression does not have, or something incomplete.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.is_empty() || text.len() > EXPRESSION_MAX {
            return Err(ExpressionError::Length);
        }
        let mut letters = text.chars();
        let mut alternatives = vec![Alternative::default()];
        while let Some(letter) = letters.next() {
            let Some(now) = alternatives.last_mut() else { break };
            match letter {
                '|' => alternatives.push(Alternative::default()),
                '^' if now.atoms.is_empty() => now.from_start = true,
                '$' => now.to_end = true,
                '*' | '+' | '?' => {
                    let last = now.atoms.last_mut().ok_or(ExpressionError::Incomplete(letter))?;
                    last.may_be_absent |= letter != '+';
                    last.may_repeat |= letter != '?';
                }
                '(' | ')' | '{' | '}' => return Err(ExpressionError::Unsupported(letter)),
                '.' => now.push(Letters { is_negated: true, ranges: Vec::new() }),
                '\\' => {
                    let next = letters.next().ok_or(ExpressionError::Incomplete(letter))?;
                    now.push(Letters::class(next));
                }
                '[' => now.push(set(&mut letters)?),
                other => now.push(Letters::one(other)),
            }
        }
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a tag is selected. Like in regular expressions, any part of the tag counts unless
    /// `^` or `$` says otherwise.
    #[must_use]
    pub fn matches(&self, tag: &str) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(tag))
    }
}

impl Alternative {
    fn push(&mut self, letters: Letters) {
        self.atoms.push(Atom { letters, may_be_absent: false, may_repeat: false });
    }

    /// Follows all ways through the atoms at once. `places[n]` means: the first `n` atoms matched.
    fn matches(&self, tag: &str) -> bool {
        let end = self.atoms.len();
        let mut places = vec![false; end + 1];
        places[0] = true;
        self.skip(&mut places);
        let mut matched = places[end] && (!self.to_end || tag.is_empty());
        let mut rest = tag.chars();
        while let Some(letter) = rest.next() {
            let mut next = vec![false; end + 1];
            next[0] = !self.from_start;
            for (index, atom) in self.atoms.iter().enumerate() {
                if !atom.letters.contains(letter) {
                    continue;
                }
                next[index + 1] |= places[index] || (atom.may_repeat && places[index + 1]);
            }
            self.skip(&mut next);
            places = next;
            matched |= places[end] && (!self.to_end || rest.as_str().is_empty());
        }
        matched
    }

    fn skip(&self, places: &mut [bool]) {
        for (index, atom) in self.atoms.iter().enumerate() {
            if places[index] && atom.may_be_absent {
                places[index + 1] = true;
            }
        }
    }
}

/// The letters between `[` and `]`.
fn set(rest: &mut std::str::Chars<'_>) -> Result<Letters, ExpressionError> {
    let incomplete = || ExpressionError::Incomplete('[');
    let mut letters = Letters { is_negated: false, ranges: Vec::new() };
    if rest.as_str().starts_with('^') {
        rest.next();
        letters.is_negated = true;
    }
    loop {
        let low = match rest.next().ok_or_else(incomplete)? {
            ']' if letters.ranges.is_empty() => return Err(incomplete()),
            ']' => return Ok(letters),
            '\\' => {
                let class = Letters::class(rest.next().ok_or_else(incomplete)?);
                letters.ranges.extend(class.ranges);
                continue;
            }
            low => low,
        };
        let mut ahead = rest.clone();
        let is_range = ahead.next() == Some('-') && !ahead.as_str().starts_with(']');
        let high = if is_range { ahead.next().ok_or_else(incomplete)? } else { low };
        if is_range {
            *rest = ahead;
        }
        letters.ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_select_tags() {
        let table = [
            ("^v", "v1.2", true),
            ("^v", "latest-v", false),
            ("v", "latest-v", true),
            (r"^v\d+\.\d+$", "v10.22", true),
            (r"^v\d+\.\d+$", "v10.22.1", false),
            (r"^v\d+\.\d+$", "v10x22", false),
            ("^1.[0-9]*$", "1.", true),
            ("^1.[0-9]*$", "1.77", true),
            ("^(a", "", false),
            ("^latest$|^stable$", "stable", true),
            ("^latest$|^stable$", "unstable", false),
            ("a?b+$", "bbb", true),
            ("a?b+$", "bba", false),
            ("^[^-]+$", "with-dash", false),
            ("^[^-]+$", "plain", true),
            (r"^[\d.]+$", "1.2.3", true),
            ("^[a-c-]+$", "a-c", true),
            ("$", "anything", true),
            ("^$", "anything", false),
        ];
        for (text, tag, expected) in table {
            let found = TagExpression::parse(text).is_ok_and(|it| it.matches(tag));
            assert_eq!(found, expected, "{text} {tag}");
        }
    }

    #[test]
    fn what_is_no_expression_is_said() {
        let table = [
            ("", ExpressionError::Length),
            ("v(1|2)", ExpressionError::Unsupported('(')),
            ("v{2}", ExpressionError::Unsupported('{')),
            ("*v", ExpressionError::Incomplete('*')),
            ("v[1-", ExpressionError::Incomplete('[')),
            ("v[]", ExpressionError::Incomplete('[')),
            ("v\\", ExpressionError::Incomplete('\\')),
        ];
        for (text, expected) in table {
            assert_eq!(TagExpression::parse(text), Err(expected), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}", tag in "[ -~]{0,40}") {
            let _ = TagExpression::parse(&text).map(|expression| expression.matches(&tag));
        }
    }
}
