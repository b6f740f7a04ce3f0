//! What a container hangs on, and what hangs on it.
//!
//! The Engine resolves such ties to an ID when a container starts, so they break when the other
//! one is replaced: the owner of a joined network keeps running with nothing but `lo`, and a link
//! follows the old ID.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

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
    /// Watchtower's label `depends-on`: nothing of it breaks, it asks to be recreated as well
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
    /// The same words, for a container that is named.
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

/// One thing a container hangs on. It must exist when the container is created again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The name of the container that it hangs on.
    pub on: String,
}

/// The names of the containers that others ask by a label to be recreated with, by the ID of who
/// asks. Only who may be recreated asks: nobody breaks who is left out.
pub type DependsOn = BTreeMap<String, Vec<String>>;

/// What this container hangs on, from its inspect document.
///
/// # Errors
///
/// [`CannotRecreate`] where a field that would tell is of another type.
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

/// The fields of an inspect document that [`dependents`] reads, and whether the container runs.
/// A process that keeps all containers of an Engine keeps only this: a whole document is many
/// times as large.
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

/// Leaves nothing but these fields. What should be an object and is none stays, to be refused.
fn keep(value: Option<&mut Value>, fields: &[&str]) {
    if let Some(object) = value.and_then(Value::as_object_mut) {
        object.retain(|field, _| fields.contains(&field.as_str()));
    }
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

/// Everything that hangs on `container`, directly or through another one: each container once, by
/// its first tie, behind everything that it hangs on itself.
///
/// # Errors
///
/// [`CannotRecreate`] where a document cannot be read, or where containers hang on each other, so
/// that none of them can be made first.
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
    // One that is found again further down hangs on what stands between: its last place counts.
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

/// A walk along ties that goes on for longer than there can be different ones turns in a circle.
fn check_for_cycle(container: &Value, found: &[Dependent]) -> Result<(), CannotRecreate> {
    /// More containers than a machine has.
    const TIES_MAX: usize = 1000;
    let is_back = found.iter().any(|tie| tie.id == inspect::id(container));
    if is_back || found.len() > TIES_MAX {
        let place = JsonPath::root(container, "").field("HostConfig")?;
        return Err(place.refuse("leads back to the container itself: they hang on each other"));
    }
    Ok(())
}

/// The Engine takes a name, an ID, or the beginning of an ID.
pub(in crate::core) fn means(text: &str, id: &str, name: &str) -> bool {
    text == name || (!text.is_empty() && id.starts_with(text))
}

fn identity(container: &Value) -> Result<(&str, &str), CannotRecreate> {
    let document = JsonPath::root(container, "");
    let name = document.field("Name")?.string()?;
    Ok((document.field("Id")?.string()?, name.trim_start_matches('/')))
}
