//! Reads a document of the Engine strictly: every value must have its known type.
//!
//! Every place knows its path, so that a refusal can name the field. Nothing here panics, and no
//! wrong type becomes a default.

use serde_json::{Map, Value};

use crate::core::recreate::CannotRecreate;

/// A place in a document, and the path to it.
#[derive(Debug, Clone)]
pub(super) struct JsonPath<'a> {
    /// `None` if the field is missing or null: the Engine uses both for "not set".
    value: Option<&'a Value>,
    path: String,
}

impl<'a> JsonPath<'a> {
    /// The whole document. `prefix` comes before every path, to distinguish two documents.
    pub(super) fn root(document: &'a Value, prefix: &str) -> Self {
        Self { value: Some(document).filter(|value| !value.is_null()), path: prefix.to_owned() }
    }

    /// The field `key` of this object. A missing object has only missing fields.
    pub(super) fn field(&self, key: &str) -> Result<Self, CannotRecreate> {
        let value = self.optional_object()?.and_then(|object| object.get(key));
        let separator = if self.path.is_empty() || self.path.ends_with(':') { "" } else { "." };
        let path = format!("{}{separator}{key}", self.path);
        Ok(Self { value: value.filter(|value| !value.is_null()), path })
    }

    /// Nested fields: `path(&["HostConfig", "Binds"])`.
    pub(super) fn path(&self, keys: &[&str]) -> Result<Self, CannotRecreate> {
        keys.iter().try_fold(self.clone(), |place, key| place.field(key))
    }

    /// The raw value.
    pub(super) fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// A refusal that names this place.
    pub(super) fn refuse(&self, why: impl Into<String>) -> CannotRecreate {
        CannotRecreate { field: self.path.clone(), why: why.into() }
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>, CannotRecreate> {
        self.optional_object()?.ok_or_else(|| self.missing("an object"))
    }

    pub(super) fn optional_object(&self) -> Result<Option<&'a Map<String, Value>>, CannotRecreate> {
        self.typed("an object", Value::as_object)
    }

    pub(super) fn string(&self) -> Result<&'a str, CannotRecreate> {
        self.optional_string()?.ok_or_else(|| self.missing("a text"))
    }

    pub(super) fn optional_string(&self) -> Result<Option<&'a str>, CannotRecreate> {
        self.typed("a text", Value::as_str)
    }

    pub(super) fn boolean(&self) -> Result<bool, CannotRecreate> {
        self.typed("true or false", Value::as_bool)?.ok_or_else(|| self.missing("true or false"))
    }

    /// The elements of a list that must exist.
    pub(super) fn list(&self) -> Result<Vec<Self>, CannotRecreate> {
        if self.value.is_none() {
            return Err(self.missing("a list"));
        }
        self.elements()
    }

    /// The elements of a list; none if there is no list.
    pub(super) fn elements(&self) -> Result<Vec<Self>, CannotRecreate> {
        let elements = self.typed("a list", Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let place = |(index, value): (usize, &'a Value)| Self {
            value: Some(value).filter(|value| !value.is_null()),
            path: format!("{}[{index}]", self.path),
        };
        Ok(elements.iter().enumerate().map(place).collect())
    }

    /// The texts of a list; none if there is no list.
    pub(super) fn strings(&self) -> Result<Vec<&'a str>, CannotRecreate> {
        self.elements()?.iter().map(Self::string).collect()
    }

    fn typed<T>(
        &self,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, CannotRecreate> {
        let Some(value) = self.value else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.refuse(format!("is not {wanted}")))
    }

    fn missing(&self, wanted: &str) -> CannotRecreate {
        self.refuse(format!("is missing; it should be {wanted}"))
    }
}
