//! The specification that is written: the recorded one with a few fields changed, everything else
//! as it is.
//!
//! Each change begins with the specification that the Swarm has now, so that what a person changed
//! in the meantime stays.

use serde_json::{Map, Value, json};

use crate::core::docker::reference::{Digest, Reference};

const IMAGE: &str = "/TaskTemplate/ContainerSpec/Image";
const PLATFORMS: &str = "/TaskTemplate/Placement/Platforms";
const UPDATE_CONFIG: &str = "UpdateConfig";

/// A reference with a digest, as Docker's own client writes it into a specification:
/// `repository:tag@sha256:…`.
#[must_use]
pub fn pinned(reference: &Reference, digest: &Digest) -> String {
    Reference { digest: Some(digest.clone()), ..reference.clone() }.to_string()
}

/// What a change of the image writes.
#[derive(Debug, Clone, Copy)]
pub struct ImageChange<'a> {
    pub image: &'a str,
    /// The platforms of the image; `None` leaves them as they are.
    pub platforms: Option<&'a Value>,
    /// How Swarm carries it out.
    pub update_config: &'a Value,
}

/// The specification with another image.
#[must_use]
pub fn with_image(spec: &Value, change: ImageChange<'_>) -> Value {
    let mut spec = spec.clone();
    if let Some(image) = spec.pointer_mut(IMAGE) {
        *image = change.image.into();
    }
    // A service without platforms runs on every node, also where the image names a wrong one.
    if let (Some(old), Some(new)) = (spec.pointer_mut(PLATFORMS), change.platforms) {
        *old = new.clone();
    }
    with_config(spec, Some(change.update_config))
}

/// The specification with the user's own settings for updates, as in the recorded one. No task is
/// restarted by it.
#[must_use]
pub fn with_users_config(spec: &Value, recorded: &Value) -> Value {
    with_config(spec.clone(), recorded.get(UPDATE_CONFIG))
}

/// The specification whose tasks are all replaced once more, with these settings.
#[must_use]
pub fn forced(spec: &Value, update_config: &Value) -> Value {
    let mut spec = with_config(spec.clone(), Some(update_config));
    let template = spec.get_mut("TaskTemplate").and_then(Value::as_object_mut);
    if let Some(template) = template {
        let count = template.get("ForceUpdate").and_then(Value::as_u64).unwrap_or(0);
        template.insert("ForceUpdate".into(), count.wrapping_add(1).into());
    }
    spec
}

/// The constraint by which a node is left out for a moment.
const LEFT_OUT: &str = "node.id!=";

const CONSTRAINTS: &str = "/TaskTemplate/Placement/Constraints";

/// The specification that leaves these nodes out: their tasks end, and all others go on, because
/// Swarm restarts no task whose node still meets the constraints (`IsTaskDirty` in swarmkit). With
/// the recorded constraints again, the nodes get fresh tasks.
#[must_use]
pub fn without_nodes(spec: &Value, nodes: &[String], update_config: &Value) -> Value {
    let mut spec = with_config(spec.clone(), Some(update_config));
    let template = spec.get_mut("TaskTemplate").and_then(Value::as_object_mut);
    let Some(template) = template else { return spec };
    let placement = template.entry("Placement").or_insert_with(|| json!({}));
    let Some(placement) = placement.as_object_mut() else { return spec };
    let constraints = placement.entry("Constraints").or_insert_with(|| json!([]));
    if constraints.is_null() {
        *constraints = json!([]);
    }
    if let Some(constraints) = constraints.as_array_mut() {
        constraints.extend(nodes.iter().map(|node| format!("{LEFT_OUT}{node}").into()));
    }
    spec
}

/// The nodes that a specification leaves out and the recorded one does not.
#[must_use]
pub fn left_out(spec: &Value, recorded: &Value) -> Vec<String> {
    let added = |it: &&Value| !constraints(recorded).any(|known| known == *it);
    let node = |it: &Value| Some(it.as_str()?.strip_prefix(LEFT_OUT)?.to_owned());
    constraints(spec).filter(added).filter_map(node).collect()
}

/// The specification without the constraints that leave nodes out and that are not recorded.
#[must_use]
pub fn with_all_nodes(spec: &Value, recorded: &Value) -> Value {
    let left_out = left_out(spec, recorded);
    if left_out.is_empty() {
        return spec.clone();
    }
    let mut spec = spec.clone();
    if recorded.pointer(CONSTRAINTS).is_none() && constraints(&spec).count() == left_out.len() {
        // The recorded specification has no list, and an empty list is not the same.
        return without_list(spec, recorded);
    }
    let is_ours = |it: &Value| {
        let node = it.as_str().and_then(|it| it.strip_prefix(LEFT_OUT));
        node.is_some_and(|node| left_out.iter().any(|left| left == node))
    };
    if let Some(list) = spec.pointer_mut(CONSTRAINTS).and_then(Value::as_array_mut) {
        list.retain(|it| !is_ours(it));
    }
    spec
}

fn without_list(mut spec: Value, recorded: &Value) -> Value {
    let template = spec.get_mut("TaskTemplate").and_then(Value::as_object_mut);
    let Some(template) = template else { return spec };
    if let Some(placement) = template.get_mut("Placement").and_then(Value::as_object_mut) {
        placement.remove("Constraints");
        if placement.is_empty() && recorded.pointer("/TaskTemplate/Placement").is_none() {
            template.remove("Placement");
        }
    }
    spec
}

fn constraints(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.pointer(CONSTRAINTS).and_then(Value::as_array).into_iter().flatten()
}

/// The platforms of a specification, if it names some.
#[must_use]
pub fn platforms(spec: &Value) -> Option<&Value> {
    spec.pointer(PLATFORMS)
}

fn with_config(mut spec: Value, config: Option<&Value>) -> Value {
    if let Some(fields) = spec.as_object_mut() {
        match config {
            Some(config) => fields.insert(UPDATE_CONFIG.into(), config.clone()),
            None => fields.remove(UPDATE_CONFIG),
        };
    }
    spec
}

/// The fields of a specification that place its tasks, for another service on the same nodes.
#[must_use]
pub fn placement(spec: &Value, platforms: Option<&Value>) -> Value {
    let old = spec.pointer("/TaskTemplate/Placement").and_then(Value::as_object);
    let mut placement = Map::new();
    if let Some(constraints) = old.and_then(|old| old.get("Constraints")) {
        placement.insert("Constraints".into(), constraints.clone());
    }
    if let Some(platforms) = platforms.or_else(|| old.and_then(|old| old.get("Platforms"))) {
        placement.insert("Platforms".into(), platforms.clone());
    }
    json!(placement)
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::core::service::recorded;

    fn digest(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64)).parse().expect("a digest")
    }

    #[test]
    fn a_reference_gets_its_digest_behind_the_tag() {
        let rows = [
            ("registry:5000/till:1", "registry:5000/till:1@sha256:"),
            ("nginx", "nginx:latest@sha256:"),
            ("docker.io/library/nginx:1.27", "nginx:1.27@sha256:"),
        ];
        for (text, begin) in rows {
            let reference: Reference = text.parse().expect(text);
            let pinned = pinned(&reference, &digest("2"));
            assert_eq!(pinned, format!("{begin}{}", "2".repeat(64)));
        }
        let old: Reference = format!("till:1@{}", digest("1")).parse().expect("a reference");
        assert_eq!(pinned(&old, &digest("2")), format!("till:1@{}", digest("2")));
    }

    /// Every other field survives, also one that no program knows.
    #[test]
    fn a_change_touches_nothing_else() {
        let mut spec = recorded::document("unpinned")["service"]["Spec"].clone();
        spec["FromTheFuture"] = json!({ "a": [1, null] });
        let config = json!({ "Parallelism": 1 });
        let platforms = json!([{ "OS": "linux" }]);
        let change = |platforms| ImageChange { image: "till:2", platforms, update_config: &config };
        let changed = with_image(&spec, change(Some(&platforms)));
        let mut expected = spec.clone();
        expected["TaskTemplate"]["ContainerSpec"]["Image"] = json!("till:2");
        expected["UpdateConfig"] = config.clone();
        assert_eq!(changed, expected, "platforms only where there were some");

        spec["TaskTemplate"]["Placement"]["Platforms"] =
            json!([{ "OS": "linux", "Architecture": "amd64" }]);
        let changed = with_image(&spec, change(Some(&platforms)));
        assert_eq!(changed["TaskTemplate"]["Placement"]["Platforms"], platforms);
        let kept = with_image(&spec, change(None));
        assert_eq!(kept["TaskTemplate"]["Placement"], spec["TaskTemplate"]["Placement"]);

        assert_eq!(with_users_config(&changed, &json!({}))["UpdateConfig"], Value::Null);
        let users = json!({ "UpdateConfig": { "Delay": 7 } });
        assert_eq!(with_users_config(&changed, &users)["UpdateConfig"], json!({ "Delay": 7 }));
    }

    #[test]
    fn a_forced_update_counts_on() {
        let spec = recorded::document("unpinned")["service"]["Spec"].clone();
        let once = forced(&spec, &json!({}));
        assert_eq!(once["TaskTemplate"]["ForceUpdate"], 1);
        assert_eq!(forced(&once, &json!({}))["TaskTemplate"]["ForceUpdate"], 2);
        assert_eq!(once["UpdateConfig"], json!({}));
    }

    #[test]
    fn nodes_are_left_out_and_come_back() {
        let recorded = recorded::document("unpinned")["service"]["Spec"].clone();
        let (one, two) = ("bxkjm9".to_owned(), "roh8ke".to_owned());
        let config = json!({ "Parallelism": 1 });
        let back = |spec: &Value, recorded: &Value| {
            with_users_config(&with_all_nodes(spec, recorded), recorded)
        };
        let without = without_nodes(&recorded, &[one.clone(), two.clone()], &config);
        let constraints = ["node.labels.type==table", "node.id!=bxkjm9", "node.id!=roh8ke"];
        assert_eq!(without["TaskTemplate"]["Placement"]["Constraints"], json!(constraints));
        assert_eq!(left_out(&without, &recorded), [one.clone(), two]);
        assert_eq!(left_out(&recorded, &recorded), Vec::<String>::new());
        assert_eq!(back(&without, &recorded), recorded);
        // A user's constraint of this form stays.
        let users = without_nodes(&recorded, slice::from_ref(&one), &config);
        assert_eq!(left_out(&users, &users), Vec::<String>::new());
        assert_eq!(with_all_nodes(&users, &users), users);
        for empty in
            [json!(null), json!({}), json!({ "Constraints": [] }), json!({ "MaxReplicas": 1 })]
        {
            let mut recorded = recorded.clone();
            let template = recorded["TaskTemplate"].as_object_mut().expect("a template");
            template.remove("Placement");
            if !empty.is_null() {
                template.insert("Placement".into(), empty.clone());
            }
            let without = without_nodes(&recorded, slice::from_ref(&one), &config);
            assert_eq!(left_out(&without, &recorded), slice::from_ref(&one));
            assert_eq!(back(&without, &recorded), recorded, "{empty}");
        }
    }
}
