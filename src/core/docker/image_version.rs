//! The version that an image states in its labels (OCI image-spec `annotations.md`), and whether it
//! means the image itself.
//!
//! A build takes over the labels of its base image. So thousands of images on `ubuntu:22.04` have
//! the version `22.04`, which is not theirs.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Reference;
use crate::core::text::is_obeyed;

/// Longest version in characters. What is longer is no version.
const VERSION_LENGTH_MAX: usize = 64;

/// Longest other label that is kept in bytes: the longest name of an image.
const LABEL_BYTES_MAX: usize = 255;

const VERSION: &str = "org.opencontainers.image.version";
const TITLE: &str = "org.opencontainers.image.title";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// A text of at most 64 characters, none of which a terminal obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ImageVersion(Box<str>);

impl ImageVersion {
    /// The version in a label; `None` if it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_short = text.chars().nth(VERSION_LENGTH_MAX).is_none();
        (!text.is_empty() && is_short && !text.contains(is_obeyed)).then(|| Self(text.into()))
    }

    /// The version itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ImageVersion {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or("no version")
    }
}

/// What the labels of an image state about its version. Most images state nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedVersion {
    version: ImageVersion,
    title: Option<Box<str>>,
    ref_name: Option<Box<str>>,
    base_name: Option<Box<str>>,
}

impl StatedVersion {
    /// Reads the labels of an image.
    #[must_use]
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Box<Self>> {
        Self::read(|label| labels.get(label).map(String::as_str))
    }

    fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Box<Self>> {
        let version = ImageVersion::read(label(VERSION)?)?;
        let kept = |name| label(name).filter(|text| text.len() <= LABEL_BYTES_MAX).map(Into::into);
        let (title, ref_name, base_name) = (kept(TITLE), kept(REF_NAME), kept(BASE_NAME));
        Some(Box::new(Self { version, title, ref_name, base_name }))
    }

    /// The version, if it is the one of the image that has this name. No label says so for certain:
    ///
    /// - If title or reference name are the name of the image, the labels are its own.
    /// - If the reference name is another image (`ubuntu`), the labels are those of a base image.
    /// - If the version is the tag of the base image, it was taken over from there.
    #[must_use]
    pub fn own(&self, reference: &Reference) -> Option<&ImageVersion> {
        let name = last_level(&reference.repository);
        let is_named = |label: &Option<Box<str>>| {
            label.as_deref().is_some_and(|it| untagged(last_level(it)).eq_ignore_ascii_case(name))
        };
        if is_named(&self.title) || is_named(&self.ref_name) {
            return Some(&self.version);
        }
        let version = self.version.as_str();
        // The image-spec also allows the tag alone as reference name.
        let is_tag = |text: &str| text == version || Some(text) == reference.tag.as_deref();
        let is_other = self.ref_name.as_deref().is_some_and(|it| !is_tag(it));
        let base = self.base_name.as_deref().and_then(|name| last_level(name).split_once(':'));
        let is_of_base = base.is_some_and(|(_, tag)| tag == version);
        (!is_other && !is_of_base).then_some(&self.version)
    }
}

fn last_level(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

fn untagged(name: &str) -> &str {
    name.split([':', '@']).next().unwrap_or_default()
}

/// The labels in the configuration of an image, as far as they state its version. Labels of another
/// shape are none: what only people read must not make an image unusable.
#[derive(Debug, Default)]
pub struct StatedLabels(pub Option<Box<StatedVersion>>);

impl<'de> Deserialize<'de> for StatedLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelsVisitor)
    }
}

/// Ignores everything that is no map or text.
macro_rules! ignore_others {
    () => {
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("labels")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = StatedLabels;

    ignore_others!();

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Self::Value::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut labels = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let known = [VERSION, TITLE, REF_NAME, BASE_NAME].into_iter().find(|it| *it == name);
            match known {
                Some(known) => drop(labels.insert(known, map.next_value::<LabelText>()?.0)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(StatedLabels(StatedVersion::read(|name| labels.get(name)?.as_deref())))
    }
}

#[derive(Default)]
struct LabelText(Option<String>);

impl<'de> Deserialize<'de> for LabelText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = LabelText;

    ignore_others!();

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(LabelText(Some(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LabelText::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(image: &str, labels: &[(&str, &str)]) -> Option<String> {
        let label = |(name, value): &(&str, &str)| {
            (format!("org.opencontainers.image.{name}"), (*value).to_owned())
        };
        let labels = labels.iter().map(label).collect();
        let reference = image.parse().expect("a reference");
        let stated = StatedVersion::of_labels(&labels)?;
        stated.own(&reference).map(|version| version.as_str().to_owned())
    }

    #[test]
    fn a_version_counts_if_it_is_the_images_own() {
        let long = "1".repeat(65);
        for (image, labels, expected) in [
            // As docker/metadata-action writes them.
            ("ghcr.io/shop/till:1", &[("version", "1.4.2"), ("title", "till")][..], Some("1.4.2")),
            ("shop/till", &[("version", " 1.4.2 ")], Some("1.4.2")),
            ("shop/till", &[("title", "till")], None),
            // The labels of Ubuntu: its own, and in an image that is built on it.
            ("ubuntu:22.04", &[("ref.name", "ubuntu"), ("version", "22.04")], Some("22.04")),
            ("shop/till", &[("ref.name", "ubuntu"), ("version", "22.04")], None),
            // The image on Ubuntu states its own title and version.
            (
                "shop/till",
                &[("ref.name", "ubuntu"), ("version", "1.4.2"), ("title", "Till")],
                Some("1.4.2"),
            ),
            ("shop/till", &[("ref.name", "1.4.2"), ("version", "1.4.2")], Some("1.4.2")),
            ("shop/till:stable", &[("ref.name", "stable"), ("version", "1")], Some("1")),
            ("shop/till", &[("ref.name", "a.io/shop/till:1"), ("version", "1")], Some("1")),
            (
                "shop/till",
                &[("base.name", "docker.io/library/alpine:3.20"), ("version", "3.20")],
                None,
            ),
            (
                "shop/till",
                &[("base.name", "docker.io/library/alpine:3.20"), ("version", "1.4.2")],
                Some("1.4.2"),
            ),
            ("shop/till", &[("version", "")], None),
            ("shop/till", &[("version", "1\u{1b}[2J")], None),
            ("shop/till", &[("version", "1\u{202e}2")], None),
            ("shop/till", &[("version", &long)], None),
            ("shop/till", &[("version", &long[1..])], Some(&long[1..])),
        ] {
            assert_eq!(own(image, labels).as_deref(), expected, "{image} {labels:?}");
        }
    }

    #[test]
    fn labels_of_another_shape_are_none() {
        for (json, expected) in [
            (r#"{"org.opencontainers.image.version":"1.2"}"#, Some("1.2")),
            (r#"{"a":{"b":[1]},"org.opencontainers.image.version":"1.2","c":null}"#, Some("1.2")),
            (r#"{"org.opencontainers.image.version":7}"#, None),
            (r#"{"org.opencontainers.image.version":{"a":[]}}"#, None),
            (r#"{"org.opencontainers.image.version":null}"#, None),
            (
                r#"{"org.opencontainers.image.version":"1","org.opencontainers.image.title":[1]}"#,
                Some("1"),
            ),
            ("null", None),
            ("[1,2]", None),
            ("\"text\"", None),
            ("-1.5", None),
            ("true", None),
        ] {
            let labels: StatedLabels = serde_json::from_str(json).expect(json);
            let version = labels.0.map(|stated| stated.version);
            assert_eq!(version.as_ref().map(ImageVersion::as_str), expected, "{json}");
        }
    }

    #[test]
    fn a_version_on_disk_is_checked_again() {
        let version: ImageVersion = serde_json::from_str("\"1.2\"").expect("a version");
        assert_eq!(serde_json::to_string(&version).expect("JSON"), "\"1.2\"");
        assert!(serde_json::from_str::<ImageVersion>("\"a\\nb\"").is_err());
    }
}
