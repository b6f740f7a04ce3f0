//! What an update is about: a container, a group of containers, or a Swarm service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The word before the name of a service, in text. A container's name holds no `/`.
const SERVICE_PREFIX: &str = "service/";

/// The same before the name of a group.
const GROUP_PREFIX: &str = "group/";

/// The kind of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A container of this machine's Engine.
    Container,
    /// A service of a Swarm.
    Service,
    /// Containers that are updated together.
    Group,
}

/// What an update is about.
///
/// It has two forms in JSON. As a part of a structure (`#[serde(flatten)]`) it is one field, whose
/// name is the kind: `{"container":"till"}`, `{"service":"web"}` or `{"group":"shop"}`. As text it
/// is `till`, `service/web` or `group/shop`: the modules [`keys`] and [`list`] write maps and lists
/// like this. Either form of a container is the form of older versions, which knew only names of
/// containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "SubjectField", into = "SubjectField")]
pub struct Subject {
    pub kind: SubjectKind,
    pub name: String,
}

/// A subject as a field of a structure.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SubjectField {
    Container(String),
    Service(String),
    Group(String),
}

impl From<SubjectField> for Subject {
    fn from(field: SubjectField) -> Self {
        match field {
            SubjectField::Container(name) => Self::container(name),
            SubjectField::Service(name) => Self::service(name),
            SubjectField::Group(name) => Self::group(name),
        }
    }
}

impl From<Subject> for SubjectField {
    fn from(Subject { kind, name }: Subject) -> Self {
        match kind {
            SubjectKind::Container => Self::Container(name),
            SubjectKind::Service => Self::Service(name),
            SubjectKind::Group => Self::Group(name),
        }
    }
}

impl Subject {
    /// A container.
    #[must_use]
    pub fn container(name: impl Into<String>) -> Self {
        Self { kind: SubjectKind::Container, name: name.into() }
    }

    /// A Swarm service.
    #[must_use]
    pub fn service(name: impl Into<String>) -> Self {
        Self { kind: SubjectKind::Service, name: name.into() }
    }

    /// A group of containers.
    #[must_use]
    pub fn group(name: impl Into<String>) -> Self {
        Self { kind: SubjectKind::Group, name: name.into() }
    }

    /// The name, if this is a group.
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        (self.kind == SubjectKind::Group).then_some(self.name.as_str())
    }

    /// The name, if this is a container.
    #[must_use]
    pub fn container_name(&self) -> Option<&str> {
        (self.kind == SubjectKind::Container).then_some(self.name.as_str())
    }

    /// The name, if this is a service.
    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        (self.kind == SubjectKind::Service).then_some(self.name.as_str())
    }

    /// Whether this is the container with this name.
    #[must_use]
    pub fn is_container(&self, name: &str) -> bool {
        self.container_name() == Some(name)
    }

    /// The form for keys of maps and for lists: `till`, `service/web`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self.kind {
            SubjectKind::Container => self.name.clone(),
            SubjectKind::Service => format!("{SERVICE_PREFIX}{}", self.name),
            SubjectKind::Group => format!("{GROUP_PREFIX}{}", self.name),
        }
    }

    /// Reads what [`Self::to_text`] writes.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match (text.strip_prefix(SERVICE_PREFIX), text.strip_prefix(GROUP_PREFIX)) {
            (Some(name), _) => Self::service(name),
            (None, Some(name)) => Self::group(name),
            (None, None) => Self::container(text),
        }
    }
}

/// For people: `till`, `service web`, `group shop`.
impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SubjectKind::Container => formatter.write_str(&self.name),
            SubjectKind::Service => write!(formatter, "service {}", self.name),
            SubjectKind::Group => write!(formatter, "group {}", self.name),
        }
    }
}

/// Several subjects for people: `till, service web`.
#[must_use]
pub fn in_words<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> String {
    subjects.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// For `#[serde(with = …)]`: a map whose keys are subjects, as an object whose names are texts.
pub mod keys {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Subject;

    /// Writes the object.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<Subject, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(subject, value)| (subject.to_text(), value)))
    }

    /// Reads the object.
    ///
    /// # Errors
    /// It is no object, or a value in it cannot be read.
    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Subject, V>, D::Error> {
        let map = BTreeMap::<String, V>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(text, value)| (Subject::from_text(&text), value)).collect())
    }
}

/// For `#[serde(with = …)]`: a list of subjects, as a list of texts.
pub mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Subject;

    /// Writes the list.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(list: &[Subject], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(Subject::to_text))
    }

    /// Reads the list.
    ///
    /// # Errors
    /// It is no list of texts.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Subject>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        Ok(list.iter().map(|text| Subject::from_text(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        #[serde(flatten)]
        subject: Subject,
        count: u64,
        #[serde(with = "keys")]
        map: BTreeMap<Subject, u32>,
        #[serde(with = "list")]
        list: Vec<Subject>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        #[serde(flatten)]
        subject: Option<Subject>,
        detail: String,
    }

    #[test]
    fn a_subject_is_a_field_a_key_and_a_text() {
        let (till, web) = (Subject::container("till"), Subject::service("web"));
        let map = BTreeMap::from([(till.clone(), 1), (web.clone(), 2)]);
        let list = vec![web.clone(), till.clone()];
        let row = |subject| Row { subject, count: 7, map: map.clone(), list: list.clone() };
        let rest = json!({
            "count": 7, "map": {"till": 1, "service/web": 2}, "list": ["service/web", "till"],
        });
        for (subject, kind, name) in [(till, "container", "till"), (web, "service", "web")] {
            let mut written = rest.clone();
            written[kind] = json!(name);
            let row = row(subject);
            assert_eq!(serde_json::to_value(&row).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<Row>(written).expect("a row"), row);
        }
    }

    #[test]
    fn a_subject_may_be_absent() {
        for (subject, written) in [
            (None, json!({"detail": "slow"})),
            (Some(Subject::container("till")), json!({"container": "till", "detail": "slow"})),
            (Some(Subject::service("web")), json!({"service": "web", "detail": "slow"})),
        ] {
            let note = Note { subject, detail: "slow".into() };
            assert_eq!(serde_json::to_value(&note).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<Note>(written).expect("a note"), note);
        }
    }

    #[test]
    fn a_container_and_a_service_with_one_name_are_two_subjects() {
        let (container, service) = (Subject::container("web"), Subject::service("web"));
        assert_ne!(container, service);
        assert!(container.is_container("web") && !service.is_container("web"));
        assert_eq!(in_words([&container, &service]), "web, service web");
        for subject in [container, service] {
            assert_eq!(Subject::from_text(&subject.to_text()), subject);
        }
    }
}
