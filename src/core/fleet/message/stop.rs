//! `stop`: an operator stops the updates of a whole fleet.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::core::docker::reference::{Reference, ReferenceError};
use crate::core::fleet::message::{VERSION, wire};
use crate::core::fleet::topic::whole_name;

/// Most references of one stop. An operator who has more stops everything.
pub const STOP_REFERENCES_MAX: usize = 100;

/// The text that stands for all references.
const ALL: &str = "*";

/// What is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopScope {
    /// Nothing: the stop is lifted.
    Nothing,
    /// Every reference.
    All,
    /// These references.
    References(Vec<Reference>),
}

/// The stop of a fleet, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FleetStop {
    #[serde(rename = "refs", deserialize_with = "scope")]
    pub scope: StopScope,
    /// The operator's reason, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::SENTENCE_LENGTH_MAX}>")]
    pub why: Option<String>,
    /// Who stopped it, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::SENDER_LENGTH_MAX}>")]
    pub by: Option<String>,
}

impl StopScope {
    /// The stop of these references; of everything if there are none.
    #[must_use]
    pub fn of(references: Vec<Reference>) -> Self {
        if references.is_empty() { Self::All } else { Self::References(references) }
    }
}

/// A reference on the command line: it needs no tag, as `nginx` means `nginx:latest`.
///
/// # Errors
/// It is no reference, or names a digest, which no device follows.
pub fn stop_reference(text: &str) -> Result<Reference, String> {
    let reference: Reference = text.parse().map_err(|error: ReferenceError| error.to_string())?;
    match reference.digest {
        None => Ok(reference),
        Some(_) => Err("write the reference without its digest: a stop is for a tag".to_owned()),
    }
}

/// One wrong entry makes the whole message wrong, so that a typo does not lift a stop for the
/// reference that was meant.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StopScope, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > STOP_REFERENCES_MAX {
        return Err(D::Error::custom("too many references"));
    }
    if texts.iter().any(|text| text == ALL) {
        return Ok(StopScope::All);
    }
    if texts.is_empty() {
        return Ok(StopScope::Nothing);
    }
    texts
        .into_iter()
        .map(wire::parse_reference)
        .collect::<Result<_, _>>()
        .map(StopScope::References)
}

/// The memory of the device holds the message itself.
impl Serialize for FleetStop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document().serialize(serializer)
    }
}

impl FleetStop {
    /// Whether it stops this reference. The tag counts, as it does for announcements.
    #[must_use]
    pub fn concerns(&self, reference: &Reference) -> bool {
        match &self.scope {
            StopScope::Nothing => false,
            StopScope::All => true,
            StopScope::References(references) => references.iter().any(|it| it.same_tag(reference)),
        }
    }

    /// What is stopped, for people and for JSON: `*` for everything.
    #[must_use]
    pub fn references(&self) -> Vec<String> {
        match &self.scope {
            StopScope::Nothing => Vec::new(),
            StopScope::All => vec![ALL.to_owned()],
            StopScope::References(references) => {
                references.iter().filter_map(whole_name).take(STOP_REFERENCES_MAX).collect()
            }
        }
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.document().to_string().into_bytes()
    }

    fn document(&self) -> Value {
        let mut document = json!({"v": VERSION, "refs": self.references()});
        if let Some(why) = &self.why {
            document["why"] = json!(wire::cut(why, wire::SENTENCE_LENGTH_MAX));
        }
        if let Some(by) = &self.by {
            document["by"] = json!(wire::cut(by, wire::SENDER_LENGTH_MAX));
        }
        document
    }
}
