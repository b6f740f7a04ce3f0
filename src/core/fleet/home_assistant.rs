//! `PREFIX/device/ID/config`: what Home Assistant learns of a device (its MQTT device discovery).
//!
//! One message describes an `update` entity for each container, a button that checks, the time of
//! the last check, and whether something is wrong. The states come from the device's own messages,
//! through templates: Home Assistant drops a state with a key that it does not know.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::core::docker::reference::Digest;
use crate::core::fleet::message::VERSION;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::topic::{CommandKind, Topic, Topics};
use crate::core::subject::{Subject, SubjectKind};

/// Largest message in bytes. The shipped configuration of Mosquitto takes packets of 65,536 bytes,
/// and so do other devices of the fleet. 80 containers with names of usual length fit.
const DOCUMENT_BYTES_MAX: usize = 60 * 1024;

/// Longest name that stands in an ID as it is, in bytes. A longer one is cut and gets a hash.
const PLAIN_NAME_BYTES_MAX: usize = 64;

/// Hexadecimal digits of the hash in an ID: 64 bits, so that two names do not meet by chance.
const HASH_DIGITS: usize = 16;

/// Longest part of an entity's ID in characters. Home Assistant allows 255 for the whole.
const SLUG_LENGTH_MAX: usize = 64;

/// The state of an `update` entity, from `device/ID/container/NAME`.
///
/// A version that is not known is left out, because Home Assistant drops the whole state if it is
/// null. `update_percentage` is always there: its null ends the progress of an earlier pull.
const UPDATE_TEMPLATE: &str = "{% set j=value_json %}{{dict({'installed_version':j.version,\
    'latest_version':j.latest_version or j.version,'title':j.image,\
    'release_summary':(j.detail or '')[:255],'in_progress':j.busy}.items()|rejectattr(1,'none'),\
    update_percentage=j.percent)|to_json}}";

/// Whether something is wrong, from `device/ID/agent`.
const PROBLEM_TEMPLATE: &str = "{{'ON' if value_json.error or value_json.errors or \
    value_json.stuck or value_json.down else 'OFF'}}";

/// The ID of the button, which a device without commands does not have.
const BUTTON: &str = "check";

/// What Home Assistant learns of a device.
#[derive(Debug, Clone, Copy)]
pub struct Discovery<'a> {
    pub topics: &'a Topics,
    pub device: &'a DeviceName,
    /// The agent's version.
    pub version: &'a str,
    pub takes_commands: bool,
}

/// A message for Home Assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryDocument {
    pub payload: Vec<u8>,
    /// The containers and services that it describes.
    pub described: BTreeSet<Subject>,
    /// How many are left out, because the message would be too large.
    pub left_out: usize,
}

/// The topic of the message.
#[must_use]
pub fn config_topic(prefix: &str, device: &DeviceName) -> String {
    format!("{prefix}/device/{device}/config")
}

/// Whether Home Assistant takes the name in a topic: it ignores all others.
#[must_use]
pub fn takes_name(device: &DeviceName) -> bool {
    is_id(device.as_str())
}

impl Discovery<'_> {
    /// The message that describes these containers and services. Those that are `gone` are marked
    /// for removal: if they were only left out, Home Assistant would keep their entities.
    #[must_use]
    pub fn document(
        &self,
        subjects: &BTreeSet<Subject>,
        gone: &BTreeSet<Subject>,
    ) -> DiscoveryDocument {
        let mut components = self.fixed_components();
        let mut document = self.around();
        let mut free = DOCUMENT_BYTES_MAX.saturating_sub(
            document.to_string().len() + Value::from(components.clone()).to_string().len(),
        );
        let mut add = |id: String, component: Value| {
            // The quotes around the key, the colon and the comma.
            let bytes = id.len() + component.to_string().len() + 4;
            let fits = bytes <= free;
            if fits {
                free -= bytes;
                components.insert(id, component);
            }
            fits
        };
        let mut described = BTreeSet::new();
        for subject in subjects {
            if let Some(component) = self.update(subject)
                && add(component_id(subject), component)
            {
                described.insert(subject.clone());
            }
        }
        let left_out = subjects.len() - described.len();
        for subject in gone.difference(&described) {
            add(component_id(subject), json!({"p": "update"}));
        }
        document["cmps"] = components.into();
        DiscoveryDocument { payload: document.to_string().into_bytes(), described, left_out }
    }

    /// Everything except the components.
    fn around(&self) -> Value {
        let Self { device, version, .. } = self;
        json!({
            "dev": {
                "ids": [format!("pilotfish_{device}")],
                "name": device.as_str(),
                "mf": "Pilotfish",
                "sw": version,
                "sn": device.as_str(),
            },
            "o": {"name": "pilotfish", "sw": version},
            "avty": [{"t": self.topic(Topic::Online), "val_tpl": "{{value_json.state}}"}],
            "cmps": {},
        })
    }

    /// The components that every device has.
    fn fixed_components(&self) -> Map<String, Value> {
        let agent = self.topic(Topic::Agent);
        let last_check = json!({
            "p": "sensor", "uniq_id": self.unique_id("last_check"), "name": "Last check",
            "def_ent_id": self.entity_id("sensor", "last_check"), "dev_cla": "timestamp",
            "ent_cat": "diagnostic", "stat_t": agent, "val_tpl": "{{value_json.last_check}}",
            "qos": 1,
        });
        let problem = json!({
            "p": "binary_sensor", "uniq_id": self.unique_id("problem"), "name": "Problem",
            "def_ent_id": self.entity_id("binary_sensor", "problem"), "dev_cla": "problem",
            "ent_cat": "diagnostic", "stat_t": agent, "val_tpl": PROBLEM_TEMPLATE, "qos": 1,
        });
        let button = json!({
            "p": "button", "uniq_id": self.unique_id(BUTTON), "name": "Check now",
            "def_ent_id": self.entity_id("button", "check_now"), "ent_cat": "config",
            "cmd_t": self.command_topic(CommandKind::Check),
            "pl_prs": json!({"v": VERSION}).to_string(), "qos": 1,
        });
        // Without commands an earlier message may have described the button.
        let button = if self.takes_commands { button } else { json!({"p": "button"}) };
        let all = [("last_check", last_check), ("problem", problem), (BUTTON, button)];
        all.into_iter().map(|(id, component)| (id.to_owned(), component)).collect()
    }

    /// The `update` entity of a container or service; `None` if its name is no level of a topic.
    fn update(&self, subject: &Subject) -> Option<Value> {
        let topic = Topic::of_subject(self.device.clone(), subject).ok()?;
        let kind = match subject.kind {
            SubjectKind::Container => "container",
            SubjectKind::Service => "service",
            SubjectKind::Group => "group",
        };
        let mut component = json!({
            "p": "update",
            "uniq_id": self.unique_id(&format!("{kind}/{}", subject.name)),
            "name": subject.name,
            "def_ent_id": self.entity_id("update", &subject.name),
            "stat_t": self.topics.name(&topic),
            "val_tpl": UPDATE_TEMPLATE,
            "qos": 1,
        });
        if self.takes_commands {
            let kind = CommandKind::Update;
            let command = FleetCommand { kind, id: None, subject: Some(subject.clone()) };
            component["cmd_t"] = self.command_topic(kind).into();
            component["pl_inst"] = String::from_utf8(command.encode()).ok()?.into();
        }
        Some(component)
    }

    fn topic(&self, of: impl Fn(DeviceName) -> Topic) -> String {
        self.topics.name(&of(self.device.clone()))
    }

    fn command_topic(&self, kind: CommandKind) -> String {
        self.topics.name(&Topic::Command(self.device.clone(), kind))
    }

    /// An ID that no other entity of any device has. No name holds `/`.
    fn unique_id(&self, part: &str) -> String {
        format!("pilotfish-{}", hash(&format!("{}/{part}", self.device)))
    }

    /// The ID that Home Assistant gives to a new entity unless it is taken.
    fn entity_id(&self, platform: &str, name: &str) -> String {
        format!("{platform}.{}_{}", slug(self.device.as_str()), slug(name))
    }
}

/// The ID of a container's or service's component: `c-web`. A name with other characters than
/// Home Assistant's, or a long one, is cut and gets a hash: `c--shop_web-0123456789abcdef`. No name
/// begins with `-`, so the two forms never meet.
fn component_id(subject: &Subject) -> String {
    let kind = match subject.kind {
        SubjectKind::Container => 'c',
        SubjectKind::Service => 's',
        SubjectKind::Group => 'g',
    };
    let name = subject.name.as_str();
    if is_id(name) && !name.starts_with('-') && name.len() <= PLAIN_NAME_BYTES_MAX {
        return format!("{kind}-{name}");
    }
    let allowed = |it: char| if is_id_character(it) { it } else { '_' };
    let readable: String = name.chars().take(PLAIN_NAME_BYTES_MAX).map(allowed).collect();
    format!("{kind}--{readable}-{}", hash(name))
}

/// Whether Home Assistant takes a text as an ID in a topic or of a component.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_id_character)
}

fn is_id_character(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(HASH_DIGITS).collect()
}

/// A name as a part of an entity's ID: small letters, digits, and single `_` between them.
fn slug(name: &str) -> String {
    let small = name.to_ascii_lowercase();
    let words = small.split(|it: char| !it.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("_").chars().take(SLUG_LENGTH_MAX).collect();
    slug.trim_end_matches('_').to_owned()
}

#[cfg(test)]
#[path = "home_assistant_tests.rs"]
mod tests;
