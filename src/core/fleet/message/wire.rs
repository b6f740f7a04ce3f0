//! The parts of messages: texts with a limit, and references as text.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::core::docker::reference::Reference;

/// Longest reference in characters: 255 for the repository, 128 for the tag, and a host.
pub const REFERENCE_LENGTH_MAX: usize = 512;

/// Longest sentence in characters: why a fleet is stopped, how an update failed.
pub const SENTENCE_LENGTH_MAX: usize = 500;

/// Longest name of a sender in characters.
pub const SENDER_LENGTH_MAX: usize = 128;

/// Longest ID of a command in characters. A UUID has 36.
pub const ID_LENGTH_MAX: usize = 128;

/// Longest address of a page in characters.
pub const URL_LENGTH_MAX: usize = 2000;

fn check<E: serde::de::Error>(text: String, max: usize) -> Result<String, E> {
    // No character has more than four bytes.
    let is_short = text.len() <= max || (text.len() <= max * 4 && text.chars().count() <= max);
    if is_short { Ok(text) } else { Err(E::custom("a text is too long")) }
}

/// A text of at most `MAX` characters, or nothing.
pub fn optional_text<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| check(text, MAX)).transpose()
}

/// A text of any length, cut to `MAX` characters.
pub fn shortened<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    Ok(cut(&String::deserialize(deserializer)?, MAX))
}

/// The same, or nothing.
pub fn optional_shortened<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(|text| cut(&text, MAX)))
}

/// A name of letters, digits, `.`, `_` and `-`.
pub fn name<'de, D: Deserializer<'de>, T: std::str::FromStr>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("no name"))
}

/// The same, or nothing.
pub fn optional_name<'de, D: Deserializer<'de>, T: std::str::FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(|_| D::Error::custom("no name"))).transpose()
}

/// A reference with a tag and without a digest.
pub fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reference, D::Error> {
    parse_reference(String::deserialize(deserializer)?)
}

/// Reads the text of a reference with a tag and without a digest.
pub fn parse_reference<E: serde::de::Error>(text: String) -> Result<Reference, E> {
    let text = check(text, REFERENCE_LENGTH_MAX)?;
    let reference: Reference = text.parse().map_err(|_| E::custom("no reference"))?;
    let follows_tag = reference.tag.is_some() && reference.digest.is_none();
    if follows_tag { Ok(reference) } else { Err(E::custom("a reference without a tag")) }
}

/// A text for a message that goes out, cut so that its reader takes it.
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("süß", 3), "süß");
        assert_eq!(cut("süße", 3), "sü…");
        assert_eq!(cut("", 3), "");
    }
}
