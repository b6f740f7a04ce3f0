//! Makes the dependents of a replaced container depend on its replacement.
//!
//! The Engine writes the ID of the other container into `NetworkMode`, `PidMode` and `IpcMode`,
//! independent of the user's text. `VolumesFrom` and links on user-defined networks keep the user's
//! text, and a name in them follows the service. A link on the default bridge is shown by name, but
//! means the container that had the name at create: it has to name the ID.

use serde_json::Value;

use crate::core::recreate::dependents::{Anchor, anchors, means};
use crate::core::recreate::{CannotRecreate, Recreation};

/// A container that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedContainer {
    pub name: String,
    /// The ID of the old container.
    pub from: String,
    /// The ID of the new container.
    pub to: String,
}

impl ReplacedContainer {
    fn is_meant_by(&self, text: &str) -> bool {
        means(text.trim_start_matches('/'), &self.from, &self.name)
    }
}

/// Whether a container depends on the same containers as before: on the replacement of each moved
/// one, and on nothing else.
///
/// # Errors
///
/// [`CannotRecreate`] if a document cannot be read.
pub fn depends_as_before(
    before: &Value,
    now: &Value,
    moved: &[ReplacedContainer],
) -> Result<bool, CannotRecreate> {
    let (before, now) = (anchors(before)?, anchors(now)?);
    let is_kept = |anchor: &Anchor| {
        let stands_for = moved.iter().find(|moved| moved.is_meant_by(&anchor.container));
        now.iter().filter(|other| other.how == anchor.how).any(|other| match stands_for {
            Some(moved) => means(&other.container, &moved.to, &moved.name),
            None => other.container == anchor.container,
        })
    };
    Ok(before.len() == now.len() && before.iter().all(is_kept))
}

/// Whether a container still depends on a replaced container: by its ID, because a name follows the
/// service.
///
/// # Errors
///
/// [`CannotRecreate`] if the document cannot be read.
pub fn depends_on_moved(
    container: &Value,
    moved: &[ReplacedContainer],
) -> Result<bool, CannotRecreate> {
    let is_left = |anchor: &Anchor| {
        moved.iter().any(|moved| moved.from != moved.to && moved.from == anchor.container)
    };
    Ok(anchors(container)?.iter().any(is_left))
}

/// The same container, which now depends on the replacement of each moved one.
#[must_use]
pub fn relink(recreation: &Recreation, moved: &[ReplacedContainer]) -> Recreation {
    let mut recreation = recreation.clone();
    if moved.is_empty() {
        return recreation;
    }
    let body = &mut recreation.body;
    for field in ["NetworkMode", "PidMode", "IpcMode"] {
        rewrite(body.pointer_mut(&format!("/HostConfig/{field}")), |mode| {
            let other = mode.strip_prefix("container:")?;
            let to = moved.iter().find(|moved| moved.is_meant_by(other))?;
            Some(format!("container:{}", to.to))
        });
    }
    each(body.pointer_mut("/HostConfig/VolumesFrom"), |text| by_id(text, moved));
    each(body.pointer_mut("/HostConfig/Links"), |text| default_bridge_link(text, moved));
    let endpoints = body.pointer_mut("/NetworkingConfig/EndpointsConfig");
    let at_create = endpoints.and_then(Value::as_object_mut);
    let at_create = at_create.into_iter().flat_map(|all| all.values_mut());
    for endpoint in at_create.chain(recreation.connect.iter_mut().map(|later| &mut later.config)) {
        each(endpoint.get_mut("Links"), |text| by_id(text, moved));
    }
    recreation
}

fn rewrite(place: Option<&mut Value>, change: impl Fn(&str) -> Option<String>) {
    let Some(place) = place else { return };
    if let Some(changed) = place.as_str().and_then(change) {
        *place = Value::String(changed);
    }
}

fn each(list: Option<&mut Value>, change: impl Fn(&str) -> Option<String>) {
    for element in list.and_then(Value::as_array_mut).into_iter().flatten() {
        rewrite(Some(element), &change);
    }
}

/// `OTHER`, or `OTHER:REST`, if the other container is written as an ID.
fn by_id(text: &str, moved: &[ReplacedContainer]) -> Option<String> {
    let (other, rest) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    let is_meant = |moved: &&ReplacedContainer| moved.is_meant_by(other) && moved.name != other;
    let to = &moved.iter().find(is_meant)?.to;
    Some(rest.map_or_else(|| to.clone(), |rest| format!("{to}:{rest}")))
}

/// `/OTHER:/OWN/ALIAS`, as inspect shows it. In a rollback `to` is the ID of the old container.
fn default_bridge_link(text: &str, moved: &[ReplacedContainer]) -> Option<String> {
    let (other, alias) = text.split_once(':')?;
    let to = &moved.iter().find(|moved| moved.is_meant_by(other))?.to;
    let alias = alias.rsplit_once('/').map_or(alias, |(_, last)| last);
    Some(format!("{to}:{alias}"))
}
