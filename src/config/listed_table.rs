//! One table of a list, such as `[[webhook.sender]]` or `[[mirror]]`: typed values, and errors that
//! name the key and the line.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::effective::Explained;
use crate::config::error::{ConfigError, ValueOrigin};
use crate::config::table::{TomlSource, as_table, in_order, wrong_type};
use crate::core::text::did_you_mean;

/// One table of a list. Its name is part of the keys in errors: `webhook.sender."hub".kind`.
pub(super) struct ListedTable<'a, 'i> {
    /// The key of the list.
    list: &'static str,
    /// Empty until it is known.
    name: String,
    origin: ValueOrigin,
    entries: Vec<(String, ValueOrigin, &'a DeValue<'i>)>,
}

impl<'a, 'i> ListedTable<'a, 'i> {
    /// All tables of a list, in the order of the file.
    pub(super) fn read_all(
        list: &'static str,
        expected: &'static str,
        source: &TomlSource<'_>,
        value: &'a DeValue<'i>,
        origin: &ValueOrigin,
    ) -> Result<Vec<Self>, ConfigError> {
        let tables = value.as_array().ok_or_else(|| wrong_type(list, expected, value, origin))?;
        tables.iter().map(|table| Self::read(list, source, table)).collect()
    }

    fn read(
        list: &'static str,
        source: &TomlSource<'_>,
        table: &'a Spanned<DeValue<'i>>,
    ) -> Result<Self, ConfigError> {
        let origin = source.origin(table.span());
        let entries = in_order(as_table(list, table.get_ref(), &origin)?);
        let entries = entries.into_iter().map(|(name, value)| {
            (name.get_ref().clone().into_owned(), source.origin(name.span()), value.get_ref())
        });
        Ok(Self { list, name: String::new(), origin, entries: entries.collect() })
    }

    /// Gives it its name.
    pub(super) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Where it begins.
    pub(super) fn origin(&self) -> &ValueOrigin {
        &self.origin
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Checks that it has no other keys.
    pub(super) fn check_keys(&self, known: &[&str]) -> Result<(), ConfigError> {
        for (name, origin, _) in &self.entries {
            if !known.contains(&name.as_str()) {
                let hint = did_you_mean(name, known.iter().copied());
                let (key, origin) = (self.key(name), origin.clone());
                return Err(ConfigError::UnknownKey { key, origin, hint });
            }
        }
        Ok(())
    }

    /// A text; absent if the key is.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        self.text_or(name, "a text in quotation marks")
    }

    /// A text where something else is possible too, which the error names.
    pub(super) fn text_or(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<String>, ConfigError> {
        Ok(self.value(name, expected, DeValue::as_str)?.map(str::to_owned))
    }

    /// `true` or `false`; absent if the key is.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        self.value(name, "true or false, without quotation marks", DeValue::as_bool)
    }

    /// A whole number from 0; absent if the key is.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        let expected = "a whole number, without quotation marks";
        let number =
            self.value(name, expected, |value| value.as_integer().map(ToString::to_string))?;
        let parse = |text: String| {
            let why = || self.wrong(name, &text, "write a whole number from 0");
            text.parse().map_err(|_| why())
        };
        number.map(parse).transpose()
    }

    /// A list of texts; absent if the key is.
    pub(super) fn texts(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        self.value(name, expected, |value| {
            let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            value.as_array()?.iter().map(text).collect::<Option<Vec<_>>>()
        })
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|(_, _, value)| value.as_array().is_some())
    }

    /// Whether the value is a text.
    pub(super) fn is_text(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|(_, _, value)| value.as_str().is_some())
    }

    fn value<'b, T>(
        &'b self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'b DeValue<'i>) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((_, origin, value)) = self.entry(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong_type(&self.key(name), expected, value, origin))
    }

    /// What the file says about a key, for `pilotfish config`.
    pub(super) fn explain(&self, name: &str, value: String) -> Option<Explained> {
        let (_, origin, _) = self.entry(name)?;
        Some(Explained { key: self.key(name), value, origin: origin.clone() })
    }

    /// The whole name of one of its keys.
    pub(super) fn key(&self, name: &str) -> String {
        if self.name.is_empty() {
            return format!("{}.{name}", self.list);
        }
        format!("{}.\"{}\".{name}", self.list, self.name)
    }

    /// An error about a value.
    pub(super) fn wrong(&self, name: &str, value: &str, why: &str) -> ConfigError {
        let origin = self.entry(name).map_or_else(|| self.origin.clone(), |it| it.1.clone());
        let (value, why) = (value.to_owned(), why.to_owned());
        ConfigError::BadValue { key: self.key(name), origin, value, why }
    }

    fn entry(&self, name: &str) -> Option<&(String, ValueOrigin, &'a DeValue<'i>)> {
        self.entries.iter().find(|(other, _, _)| other == name)
    }
}
