//! Reads TOML tables. Every error names the line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::error::{ConfigError, ValueOrigin};

/// A file that is being read, for the lines of its entries.
pub(super) struct TomlSource<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

/// A key and its value in a table.
pub(super) type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>);

impl TomlSource<'_> {
    /// The line of this span.
    pub(super) fn origin(&self, span: Range<usize>) -> ValueOrigin {
        let before = self.text.as_bytes().iter().take(span.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        ValueOrigin::File { path: self.path.to_owned(), line }
    }
}

/// The value as a table, or an error that names the key.
pub(super) fn as_table<'a, 'i>(
    key: &str,
    value: &'a DeValue<'i>,
    origin: &ValueOrigin,
) -> Result<&'a DeTable<'i>, ConfigError> {
    value.as_table().ok_or_else(|| wrong_type(key, "a table", value, origin))
}

/// The entries in the order of the file, so that the first error is the topmost.
pub(super) fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// An error that names the found and the expected type.
pub(super) fn wrong_type(
    key: &str,
    expected: &'static str,
    value: &DeValue<'_>,
    origin: &ValueOrigin,
) -> ConfigError {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    ConfigError::WrongType { key: key.to_owned(), origin: origin.clone(), expected, found }
}
