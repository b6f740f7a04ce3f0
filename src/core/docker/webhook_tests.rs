//! Documents of real registries, from the corpus of the fuzzer.

use proptest::prelude::{Just, any, prop_oneof, proptest};
use serde_json::json;

use super::*;

const REGISTRY_PUSH: &[u8] = include_bytes!("../../../fuzz/corpus/notification/registry-push.json");
const REGISTRY_MIXED: &[u8] =
    include_bytes!("../../../fuzz/corpus/notification/registry-mixed.json");
const DOCKER_HUB_PUSH: &[u8] = include_bytes!("../../../fuzz/corpus/notification/docker-hub.json");
const REGISTRY_PACKAGE: &[u8] =
    include_bytes!("../../../fuzz/corpus/notification/github-registry-package.json");
const PACKAGE: &[u8] = include_bytes!("../../../fuzz/corpus/notification/github-package.json");
const NPM: &[u8] = include_bytes!("../../../fuzz/corpus/notification/github-npm.json");
const PING: &[u8] = include_bytes!("../../../fuzz/corpus/notification/github-ping.json");

/// `REGISTRY REPOSITORY TAG` for each push.
fn read(bytes: &[u8]) -> Vec<String> {
    let line = |pushed: Push| {
        let or_any = |text: Option<String>| text.unwrap_or_else(|| "*".to_owned());
        format!("{} {} {}", or_any(pushed.registry), pushed.repository, or_any(pushed.tag))
    };
    parse(bytes).expect("a known kind").into_iter().map(line).collect()
}

#[test]
fn the_documents_of_registries_in_the_field() {
    assert_eq!(read(REGISTRY_PUSH), ["* shop/till v1"]);
    assert_eq!(read(REGISTRY_MIXED), ["* shop/till v2", "* shop/web v1"]);
    assert_eq!(read(DOCKER_HUB_PUSH), ["docker.io svendowideit/testhook latest"]);
    assert_eq!(read(REGISTRY_PACKAGE), ["ghcr.io shop/till v1"]);
    assert_eq!(read(PACKAGE), ["ghcr.io shop/till *"], "an index's child, in its owner's letters");
    assert_eq!(read(NPM), [""; 0]);
    assert_eq!(read(PING), [""; 0]);
}

macro_rules! corpus {
    ($name:literal) => {
        include_bytes!(concat!("../../../fuzz/corpus/notification/", $name, ".json")).as_slice()
    };
}

#[test]
fn pushes_of_all_registries_are_read() {
    let gitea = ["git.example:3000 shop/till v1"];
    assert_eq!(read(corpus!("gitea-package")), gitea, "in its owner's letters");
    let harbor = ["harbor.example shop/till latest", "harbor.example shop/till v1"];
    assert_eq!(read(corpus!("harbor-push")), harbor);
    assert_eq!(read(corpus!("harbor-cloudevent")), ["harbor.example:8443 shop/till v1"]);
    let quay = ["quay.io shop/till latest", "quay.io shop/till v1"];
    assert_eq!(read(corpus!("quay-push")), quay);
    assert_eq!(read(corpus!("quay-old")), ["quay.io shop/till v1"]);
    assert_eq!(read(corpus!("azure-push")), ["shop.azurecr.io shop/till v1"]);
    let artifactory = ["* docker-local/shop/till v1", "* shop/till v1"];
    assert_eq!(read(corpus!("artifactory-push")), artifactory);
}

#[test]
fn what_is_no_push_is_not_taken_for_one() {
    // These senders cannot be configured to send only pushes.
    for nothing in [corpus!("gitea-child"), corpus!("gitea-deleted"), corpus!("azure-ping")] {
        assert_eq!(read(nothing), [""; 0]);
    }
    let no_push = |sender| Err(WebhookError::NoPush(sender));
    assert_eq!(parse(corpus!("harbor-scan")), no_push("Harbor"));
    assert_eq!(parse(corpus!("quay-build")), no_push("Quay"));
    assert_eq!(parse(corpus!("azure-delete")), no_push("Azure's registry"));
    let unreadable = |sender| Err(WebhookError::Unreadable(sender));
    for (document, sender) in [
        (r#"{"push_data":{"tag":"v1"}}"#, "Docker Hub"),
        (r#"{"package":{"package_type":"container"}}"#, "GitHub"),
        (r#"{"action":"created","package":{"type":"container","name":"till"}}"#, "Gitea"),
        (r#"{"type":"PUSH_ARTIFACT","event_data":{"resources":[]}}"#, "Harbor"),
        (r#"{"docker_url":"quay.io/shop/till","updated_tags":[]}"#, "Quay"),
        (r#"{"action":"push","target":{"repository":"shop/till"}}"#, "Azure's registry"),
        (r#"{"domain":"docker","event_type":"pushed","data":{}}"#, "Artifactory"),
    ] {
        assert_eq!(parse(document.as_bytes()), unreadable(sender), "{document}");
    }
}

#[test]
fn what_is_no_notification_is_named() {
    assert_eq!(parse(b"events=push"), Err(WebhookError::NoJson));
    for other in [
        "{}",
        "[]",
        "7",
        "{\"events\":7}",
        "{\"package\":{}}",
        "{\"action\":\"created\",\"package\":{\"name\":\"till\"}}",
        "{\"type\":\"com.example\",\"data\":{}}",
        "{\"object_kind\":\"push\",\"repository\":{\"name\":\"till\"}}",
    ] {
        assert_eq!(parse(other.as_bytes()), Err(WebhookError::Unknown), "{other}");
    }
}

#[test]
fn a_long_document_is_read_to_its_limit() {
    let event = |number: usize| json!({ "action": "push", "target": { "repository": format!("a/{number}"), "tag": "1" } });
    let events: Vec<_> = (0..PUSHES_MAX * 3).map(event).collect();
    let document = json!({ "events": events }).to_string();
    assert_eq!(parse(document.as_bytes()).map(|pushed| pushed.len()), Ok(PUSHES_MAX));
}

#[test]
fn a_push_concerns_its_repository_and_tag() {
    let pushed = |registry: Option<&str>, tag: Option<&str>| Push {
        registry: registry.map(str::to_owned),
        repository: "shop/till".to_owned(),
        tag: tag.map(str::to_owned),
    };
    for (registry, tag, reference, expected) in [
        (None, Some("v1"), "registry:443/shop/till:v1", true),
        (None, Some("v1"), "mirror:5000/shop/till:v1", true),
        (None, Some("v2"), "registry:443/shop/till:v1", false),
        (None, None, "registry:443/shop/till:v1", true),
        (None, Some("latest"), "registry:443/shop/till", true),
        (None, Some("v1"), "registry:443/shop/tills:v1", false),
        (Some("docker.io"), Some("v1"), "shop/till:v1", true),
        (Some("docker.io"), Some("v1"), "registry:443/shop/till:v1", false),
    ] {
        let named = reference.parse().expect("a reference");
        assert_eq!(pushed(registry, tag).concerns(&named), expected, "{reference} {tag:?}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
        let _ = parse(&bytes);
    }

    #[test]
    fn parsing_never_panics_at_wrong_types(
        key in prop_oneof![Just("events"), Just("push_data"), Just("package"), Just("repository")],
        inner in prop_oneof![Just("target"), Just("repo_name"), Just("package_version"), Just("name")],
        value in prop_oneof![Just(json!(7)), Just(json!([[]])), Just(json!("a:b@c")), Just(json!({}))],
    ) {
        let _ = parse(json!({ key: { inner: value } }).to_string().as_bytes());
        let _ = parse(json!({ key: [{ inner: value }] }).to_string().as_bytes());
    }
}
