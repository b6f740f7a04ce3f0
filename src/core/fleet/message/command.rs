//! `command/ID/{check,update,rollback,allow}`: an operator or Home Assistant asks for something.

use serde::Deserialize;
use serde_json::json;

use crate::core::fleet::message::{MessageError, VERSION, decode, wire};
use crate::core::fleet::names::SubjectName;
use crate::core::fleet::topic::CommandKind;
use crate::core::subject::Subject;

/// A command to one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetCommand {
    pub kind: CommandKind,
    /// With an ID the command is done once. Home Assistant sends a constant payload, so its
    /// commands have none.
    pub id: Option<String>,
    /// The container or service; absent for all, which only `check` and `update` allow.
    pub subject: Option<Subject>,
}

/// The payload of a command.
#[derive(Deserialize)]
struct CommandPayload {
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::ID_LENGTH_MAX}>")]
    id: Option<String>,
    #[serde(default, deserialize_with = "wire::optional_name")]
    container: Option<SubjectName>,
    #[serde(default, deserialize_with = "wire::optional_name")]
    service: Option<SubjectName>,
}

impl FleetCommand {
    /// Reads the payload of a command's topic.
    ///
    /// # Errors
    /// Why the message is ignored.
    pub fn read(kind: CommandKind, payload: &[u8]) -> Result<Self, MessageError> {
        let CommandPayload { id, container, service } = decode(payload)?;
        let subject = match (container, service) {
            (Some(_), Some(_)) => return Err(MessageError::WrongShape),
            (Some(name), None) => Some(Subject::container(name.as_str())),
            (None, Some(name)) => Some(Subject::service(name.as_str())),
            (None, None) => None,
        };
        let needs_subject = matches!(kind, CommandKind::Rollback | CommandKind::Allow);
        let is_nameless = needs_subject && subject.is_none();
        if is_nameless || id.as_deref() == Some("") {
            return Err(MessageError::WrongShape);
        }
        Ok(Self { kind, id, subject })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut document = json!({"v": VERSION});
        if let Some(id) = &self.id {
            document["id"] = json!(id);
        }
        if let Some(subject) = &self.subject {
            let key = if subject.container_name().is_some() { "container" } else { "service" };
            document[key] = json!(subject.name);
        }
        document.to_string().into_bytes()
    }
}
