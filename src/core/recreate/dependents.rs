//! What a container hangs on, and what hangs on it.
//!
//! The Engine resolves such ties to an ID when a container starts, so they break when the other
//! one is replaced: the owner of a joined network keeps running with nothing but `lo`, and a link
//! follows the old ID.

use std::fmt;

use serde_json::Value;

use crate::core::recreate::CannotRecreate;
use crate::core::recreate::document::Place;

/// How one container hangs on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// `--network container:…`
    Network,
    /// `--pid container:…`
    Pid,
    /// `--ipc container:…`
    Ipc,
    /// `--volumes-from …`
    Volumes,
    /// `--link …`, on the default bridge or on a network of the user
    Link,
}

impl fmt::Display for Tie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Network => "shares its network",
            Self::Pid => "shares its processes",
            Self::Ipc => "shares its memory",
            Self::Volumes => "mounts its volumes",
            Self::Link => "links to it",
        })
    }
}

/// One thing a container hangs on. It must exist when the container is created again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The other container: its ID, a part of it, or its name.
    pub container: String,
    /// How.
    pub how: Tie,
}

/// One container that hangs on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its ID.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// How.
    pub how: Tie,
}

/// What this container hangs on, from its inspect document.
///
/// # Errors
///
/// [`CannotRecreate`] where a field that would tell is of another type.
pub fn anchors(container: &Value) -> Result<Vec<Anchor>, CannotRecreate> {
    let document = Place::root(container, "");
    let host_config = document.field("HostConfig")?;
    let mut anchors = Vec::new();
    let mut add = |container: &str, how| {
        anchors.push(Anchor { container: container.trim_start_matches('/').to_owned(), how });
    };
    for (field, how) in
        [("NetworkMode", Tie::Network), ("PidMode", Tie::Pid), ("IpcMode", Tie::Ipc)]
    {
        let mode = host_config.field(field)?.optional_string()?.unwrap_or_default();
        if let Some(other) = mode.strip_prefix("container:") {
            add(other, how);
        }
    }
    for source in host_config.field("VolumesFrom")?.strings()? {
        add(before_colon(source), Tie::Volumes);
    }
    for link in host_config.field("Links")?.strings()? {
        add(before_colon(link), Tie::Link);
    }
    let networks = document.path(&["NetworkSettings", "Networks"])?;
    for network in networks.optional_object()?.into_iter().flat_map(|networks| networks.keys()) {
        for link in networks.field(network)?.field("Links")?.strings()? {
            add(before_colon(link), Tie::Link);
        }
    }
    Ok(anchors)
}

fn before_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(first, _)| first)
}

/// The containers among `others` that hang on `container`, one entry for every tie. All are
/// inspect documents; the container itself may be among them.
///
/// # Errors
///
/// [`CannotRecreate`] where a document cannot be read: what it hides could be a tie.
pub fn dependents(container: &Value, others: &[Value]) -> Result<Vec<Dependent>, CannotRecreate> {
    let (id, name) = identity(container)?;
    let mut dependents = Vec::new();
    for other in others {
        let (other_id, other_name) = identity(other)?;
        if other_id == id {
            continue;
        }
        for anchor in anchors(other)? {
            if means(&anchor.container, id, name) {
                let (id, name) = (other_id.to_owned(), other_name.to_owned());
                dependents.push(Dependent { id, name, how: anchor.how });
            }
        }
    }
    Ok(dependents)
}

/// The Engine takes a name, an ID, or the beginning of an ID.
fn means(text: &str, id: &str, name: &str) -> bool {
    text == name || (!text.is_empty() && id.starts_with(text))
}

fn identity(container: &Value) -> Result<(&str, &str), CannotRecreate> {
    let document = Place::root(container, "");
    let name = document.field("Name")?.string()?;
    Ok((document.field("Id")?.string()?, name.trim_start_matches('/')))
}
