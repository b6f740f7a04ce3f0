//! Documents of real Engines, complete and damaged.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::core::recreate::dependents::{DependsOn, anchors, direct_dependents};
use crate::core::recreate::differences::{Inspected, differences};
use crate::core::recreate::layer_files::{may_hold_declared_files, written};
use crate::core::recreate::restart_policy;
use crate::core::recreate::tests::{Documents, fixtures};

/// One step into a document.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// The paths to every value in the document, objects and lists included.
fn paths(value: &Value) -> Vec<Vec<Step>> {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (Step::Index(index), value)).collect()
        }
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (step, child) in children {
        all.push(vec![step.clone()]);
        for rest in paths(child) {
            all.push(std::iter::once(step.clone()).chain(rest).collect());
        }
    }
    all
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

fn dotted(path: &[Step]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    parts.join(".")
}

#[test]
fn every_fixture_is_recreated() {
    let all = fixtures();
    assert_eq!(all.len(), 14);
    for documents in &all {
        let recreation = documents.recreate();
        assert!(recreation.is_ok(), "{}: {recreation:?}", documents.name);
    }
}

#[test]
fn what_the_image_brought_is_in_no_body() {
    let of_image = ["WorkingDir", "StopSignal", "Labels", "Volumes", "Healthcheck", "Cmd"];
    let is_plain = |documents: &&Documents| {
        documents.name.starts_with("engine") && documents.name.ends_with("plain")
    };
    for documents in fixtures().iter().filter(is_plain) {
        let body = documents.recreate().expect("a body").body;
        for field in of_image {
            assert_eq!(body.get(field), None, "{} {field}", documents.name);
        }
        assert_eq!(body["Env"], json!([]), "{}", documents.name);
        let mounts = body["HostConfig"]["Mounts"].as_array().expect("re-attached volumes");
        assert_eq!(mounts.len(), 2, "{}", documents.name);
    }
}

/// Places that may change by themselves.
fn may_change(path: &str) -> bool {
    const ENGINES_OWN: [&str; 9] = [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
        "NetworkID",
    ];
    let is_endpoint = path.starts_with("NetworkSettings.Networks.");
    (is_endpoint && ENGINES_OWN.iter().any(|field| path.ends_with(field)))
        || path == "Config.Labels.com.docker.compose.image"
}

/// The comparison must find a change of any value, otherwise the promise is worth nothing.
#[test]
fn the_comparison_finds_every_change() {
    for documents in fixtures() {
        let Documents { name, container, image, .. } = &documents;
        let before = Inspected { container, image };
        assert_eq!(differences(before, before), [], "{name}");
        let mut unseen = Vec::new();
        for path in paths(container) {
            let place = dotted(&path);
            let is_judged =
                ["Config.", "HostConfig.", "Mounts.", "NetworkSettings.Networks.", "Name"]
                    .iter()
                    .any(|prefix| place.starts_with(prefix));
            if !is_judged || may_change(&place) {
                continue;
            }
            let mut changed = container.clone();
            *at(&mut changed, &path) = json!("changed");
            if differences(before, Inspected { container: &changed, image }).is_empty() {
                unseen.push(place);
            }
        }
        assert_eq!(unseen, Vec::<String>::new(), "{name}");
    }
}

/// Values of every type, and texts that have a meaning elsewhere.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "[a-z:/.=]{0,12}".prop_map(Value::from),
        Just(json!("container:")),
        Just(json!("\u{e9}\u{1f421}")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "a:b:c", {"a": []}])),
        Just(json!({"a": null, "b": {"c": 1}})),
    ]
}

#[derive(Debug, Clone)]
struct Damage {
    in_image: bool,
    place: prop::sample::Index,
    value: Option<Value>,
}

fn any_damage() -> impl Strategy<Value = Damage> {
    (any::<bool>(), any::<prop::sample::Index>(), prop::option::of(any_value()))
        .prop_map(|(in_image, place, value)| Damage { in_image, place, value })
}

/// Replaces or removes a value at some place.
fn damage(documents: &mut Documents, damage: &Damage) {
    let document = if damage.in_image { &mut documents.image } else { &mut documents.container };
    let paths = paths(document);
    if paths.is_empty() {
        return;
    }
    let path = damage.place.get(&paths);
    match (&damage.value, path.split_last()) {
        (Some(value), _) => *at(document, path) = value.clone(),
        (None, Some((Step::Key(key), parent))) => {
            at(document, parent).as_object_mut().map(|object: &mut Map<_, _>| object.remove(key));
        }
        (None, _) => *at(document, path) = Value::Null,
    }
}

proptest! {
    #[test]
    fn a_damaged_document_is_refused_by_a_path_and_never_a_panic(
        index in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any_damage(), 1..6),
    ) {
        let all = fixtures();
        let original = index.get(&all);
        let mut documents = original.clone();
        for one in &damages {
            damage(&mut documents, one);
        }
        match documents.recreate() {
            Ok(recreation) => {
                prop_assert!(recreation.body["Image"].is_string());
                prop_assert!(recreation.body["HostConfig"].is_object());
            }
            Err(refused) => prop_assert!(!refused.field.is_empty() && !refused.why.is_empty()),
        }
        let _ = restart_policy(&documents.container);
        let _ = may_hold_declared_files(&documents.container);
        let _ = written(&documents.container, &documents.image);
        let _ = anchors(&documents.container);
        let others = std::slice::from_ref(&documents.container);
        let _ = direct_dependents(&original.container, others, &DependsOn::new());
        let before = Inspected { container: &original.container, image: &original.image };
        let after = Inspected { container: &documents.container, image: &documents.image };
        let _ = differences(before, after);
        let _ = differences(after, before);
    }
}
