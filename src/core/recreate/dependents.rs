//! The containers that a container depends on, and its dependents.
//!
//! The Engine resolves such ties to an ID when a container starts, so they break when the other
//! container is replaced: a container in a joined network keeps running with only `lo`, and a link
//! follows the old ID.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

/// How one container depends on another.
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
    /// Watchtower's label `depends-on`: nothing breaks, but the container asks to be recreated as
    /// well
    Label,
}

impl fmt::Display for Tie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Network => "shares its network",
            Self::Pid => "shares its processes",
            Self::Ipc => "shares its memory",
            Self::Volumes => "mounts its volumes",
            Self::Link => "links to it",
            Self::Label => "depends on it",
        })
    }
}

impl Tie {
    /// The same words with the name of the other container.
    #[must_use]
    pub fn of(self, other: &str) -> String {
        match self {
            Self::Network => format!("shares the network of {other}"),
            Self::Pid => format!("shares the processes of {other}"),
            Self::Ipc => format!("shares the memory of {other}"),
            Self::Volumes => format!("mounts the volumes of {other}"),
            Self::Link => format!("links to {other}"),
            Self::Label => format!("depends on {other}"),
        }
    }
}

/// A container that another one depends on. It must exist when the dependent is created again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Anchor {
    /// The other container: its ID, a part of it, or its name.
    pub container: String,
    pub how: Tie,
}

/// A container that depends on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    pub id: String,
    /// Without the slash.
    pub name: String,
    pub how: Tie,
    /// The name of the container that it depends on.
    pub on: String,
}

/// The `depends-on` labels: container names by the ID of the dependent. Only containers that may be
/// recreated are listed, because such a tie breaks nothing.
pub type DependsOn = BTreeMap<String, Vec<String>>;

/// The containers that this one depends on, from its inspect document.
///
/// # Errors
///
/// [`CannotRecreate`] if a field for ties has an unexpected type.
pub fn anchors(container: &Value) -> Result<Vec<Anchor>, CannotRecreate> {
    let document = JsonPath::root(container, "");
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

/// The fields of an inspect document that [`dependents`] reads, and whether the container runs. The
/// agent keeps only these of all containers, because a whole document is many times as large.
#[must_use]
pub fn ties_alone(mut container: Value) -> Value {
    const OF_HOST_CONFIG: [&str; 5] = ["NetworkMode", "PidMode", "IpcMode", "VolumesFrom", "Links"];
    keep(Some(&mut container), &["Id", "Name", "State", "HostConfig", "NetworkSettings"]);
    keep(container.get_mut("State"), &["Running"]);
    keep(container.get_mut("HostConfig"), &OF_HOST_CONFIG);
    keep(container.get_mut("NetworkSettings"), &["Networks"]);
    let networks =
        container.pointer_mut("/NetworkSettings/Networks").and_then(Value::as_object_mut);
    for (_, network) in networks.into_iter().flatten() {
        keep(Some(network), &["Links"]);
    }
    container
}

/// Removes all other fields. A value that should be an object and is not stays, and is refused
/// later.
fn keep(value: Option<&mut Value>, fields: &[&str]) {
    if let Some(object) = value.and_then(Value::as_object_mut) {
        object.retain(|field, _| fields.contains(&field.as_str()));
    }
}

fn before_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(first, _)| first)
}

/// The containers among `others` that depend directly on `container`, one entry for every tie. All
/// are inspect documents; the container itself may be among them.
///
/// # Errors
///
/// [`CannotRecreate`] if a document cannot be read, because it could hide a tie.
pub fn direct_dependents(
    container: &Value,
    others: &[impl Borrow<Value>],
    asked: &DependsOn,
) -> Result<Vec<Dependent>, CannotRecreate> {
    let (id, name) = identity(container)?;
    let mut dependents = Vec::new();
    for other in others.iter().map(Borrow::borrow) {
        let (other_id, other_name) = identity(other)?;
        if other_id == id {
            continue;
        }
        let ties = anchors(other)?.into_iter();
        let ties = ties.filter(|anchor| means(&anchor.container, id, name)).map(|it| it.how);
        let asks = asked.get(other_id).is_some_and(|names| names.iter().any(|it| it == name));
        dependents.extend(ties.chain(asks.then_some(Tie::Label)).map(|how| Dependent {
            id: other_id.to_owned(),
            name: other_name.to_owned(),
            how,
            on: name.to_owned(),
        }));
    }
    Ok(dependents)
}

/// All containers that depend on `container`, directly or through another one: each container once,
/// by its first tie, after the containers that it depends on itself.
///
/// # Errors
///
/// [`CannotRecreate`] if a document cannot be read, or if containers depend on each other, so that
/// none of them can be created first.
pub fn dependents(
    container: &Value,
    others: &[impl Borrow<Value>],
    asked: &DependsOn,
) -> Result<Vec<Dependent>, CannotRecreate> {
    let mut found = direct_dependents(container, others, asked)?;
    let mut next = 0;
    while let Some(dependent) = found.get(next) {
        let mut documents = others.iter().map(Borrow::borrow);
        let Some(document) = documents.find(|other| inspect::id(other) == dependent.id) else {
            break;
        };
        found.extend(direct_dependents(document, others, asked)?);
        check_for_cycle(container, &found)?;
        next += 1;
    }
    // A dependent that is found again later depends on those in between: its last position counts.
    let mut ordered: Vec<Dependent> = Vec::new();
    for dependent in found.iter().rev() {
        if ordered.iter().all(|later| later.id != dependent.id) {
            let first = found.iter().find(|tie| tie.id == dependent.id);
            ordered.push(first.unwrap_or(dependent).clone());
        }
    }
    ordered.reverse();
    Ok(ordered)
}

/// Ties that continue for longer than there can be different ones form a cycle.
fn check_for_cycle(container: &Value, found: &[Dependent]) -> Result<(), CannotRecreate> {
    /// More containers than a machine has.
    const TIES_MAX: usize = 1000;
    let is_back = found.iter().any(|tie| tie.id == inspect::id(container));
    if is_back || found.len() > TIES_MAX {
        let place = JsonPath::root(container, "").field("HostConfig")?;
        return Err(place.refuse("leads back to the container itself: they depend on each other"));
    }
    Ok(())
}

/// The Engine accepts a name, an ID, or the beginning of an ID.
pub(in crate::core) fn means(text: &str, id: &str, name: &str) -> bool {
    text == name || (!text.is_empty() && id.starts_with(text))
}

fn identity(container: &Value) -> Result<(&str, &str), CannotRecreate> {
    let document = JsonPath::root(container, "");
    let name = document.field("Name")?.string()?;
    Ok((document.field("Id")?.string()?, name.trim_start_matches('/')))
}
