//! Documents of real registries, from the corpus of the fuzzer.

use proptest::prelude::{Just, any, prop_oneof, proptest};
use serde_json::json;

use super::*;

macro_rules! corpus {
    ($name:literal) => {
        include_bytes!(concat!("../../../../fuzz/corpus/notification/", $name, ".json")).as_slice()
    };
}

/// `REGISTRY REPOSITORY TAG` for each push, and the first hexadecimal digits of its digest.
fn read_as(kind: SenderKind, bytes: &[u8]) -> Vec<String> {
    let line = |pushed: Push| {
        let or_any = |text: Option<String>| text.unwrap_or_else(|| "*".to_owned());
        let digest = pushed.digest.map(|digest| format!(" {}", &digest.hex()[..4]));
        let (registry, tag) = (or_any(pushed.registry), or_any(pushed.tag));
        format!("{registry} {} {tag}{}", pushed.repository, digest.unwrap_or_default())
    };
    match parse(kind, bytes).expect("a known kind").content {
        WebhookContent::Pushed(pushed) => pushed.into_iter().map(line).collect(),
        WebhookContent::Built(build) => {
            vec![format!("{} {} {}", build.name, build.ok, build.url.unwrap_or_default())]
        }
        WebhookContent::Nothing(words) => vec![words.to_owned()],
    }
}

/// A webhook is read the same by its own kind and by `auto`, and by no other kind.
fn read(kind: SenderKind, bytes: &[u8]) -> Vec<String> {
    for other in SenderKind::ALL.into_iter().filter(|it| !it.includes(kind)) {
        let error = parse(other, bytes).expect_err("another kind");
        assert!(matches!(error, WebhookError::OtherKind { .. }), "{other:?}: {error}");
    }
    let own = read_as(kind, bytes);
    assert_eq!(own, read_as(SenderKind::Auto, bytes));
    own
}

fn error(bytes: &[u8]) -> WebhookError {
    parse(SenderKind::Auto, bytes).expect_err("no push")
}

/// The sources of the bodies are in the comments of each sender's file.
#[test]
fn pushes_of_all_registries_are_read() {
    use SenderKind::{Acr, Artifactory, Cncf, DockerHub, GitHub, Gitea, Harbor, Plain, Quay};
    assert_eq!(read(Cncf, corpus!("registry-push")), ["* shop/till v1 fea8"]);
    let mixed = ["* shop/till v2", "* shop/web v1"];
    assert_eq!(read(Cncf, corpus!("registry-mixed")), mixed);
    assert_eq!(read_as(SenderKind::GitLab, corpus!("registry-push")), ["* shop/till v1 fea8"]);
    assert_eq!(read(DockerHub, corpus!("docker-hub")), ["docker.io svendowideit/testhook latest"]);
    let github = ["ghcr.io shop/till v1 fea8"];
    assert_eq!(read(GitHub, corpus!("github-registry-package")), github);
    let any = ["ghcr.io shop/till *"];
    assert_eq!(read(GitHub, corpus!("github-package")), any, "an index's child");
    let gitea = ["git.example:3000 shop/till v1"];
    assert_eq!(read(Gitea, corpus!("gitea-package")), gitea, "in its owner's letters");
    let harbor = ["harbor.example shop/till latest 1111", "harbor.example shop/till v1 1111"];
    assert_eq!(read(Harbor, corpus!("harbor-push")), harbor);
    let event = ["harbor.example:8443 shop/till v1 1111"];
    assert_eq!(read(Harbor, corpus!("harbor-cloudevent")), event);
    let first = ["hub.harbor.example test-webhook/debian latest 8a9e"];
    assert_eq!(read(Harbor, corpus!("harbor1-push")), first);
    let quay = ["quay.io shop/till latest", "quay.io shop/till v1"];
    assert_eq!(read(Quay, corpus!("quay-push")), quay);
    assert_eq!(read(Quay, corpus!("quay-old")), ["quay.io shop/till v1"]);
    assert_eq!(read(Acr, corpus!("azure-push")), ["shop.azurecr.io shop/till v1 1111"]);
    let artifactory = ["* docker-local/shop/till v1 1111", "* shop/till v1 1111"];
    assert_eq!(read(Artifactory, corpus!("artifactory-push")), artifactory);
    assert_eq!(
        read(Artifactory, corpus!("artifactory-flat")),
        ["* docker-remote-cache/library/ubuntu latest 35c4", "* library/ubuntu latest 35c4",]
    );
    let plain = ["ghcr.io shop/web v2 1111", "registry:443 shop/till v1"];
    assert_eq!(read(Plain, corpus!("plain")), plain);
}

#[test]
fn a_ci_that_names_no_image_tells_of_a_build() {
    use SenderKind::{Bitbucket, CircleCi, GitLab};
    let url = "https://app.circleci.com/pipelines/gh/shop/till/130/workflows/fda08377-fe7e-46b1-8992-3a7aaecac9c3";
    assert_eq!(read(CircleCi, corpus!("circleci-workflow")), [format!("gh/shop/till true {url}")]);
    assert_eq!(read(CircleCi, corpus!("circleci-job")), [format!("gh/shop/till false {url}")]);
    let bitbucket = ["shop/till true https://bitbucket.org/shop/till/pipelines/results/7"];
    assert_eq!(read(Bitbucket, corpus!("bitbucket-status")), bitbucket);
    let gitlab = ["shop/till true https://gitlab.example/shop/till/-/pipelines/31"];
    assert_eq!(read(GitLab, corpus!("gitlab-pipeline")), gitlab);
    for waits in [corpus!("gitlab-job"), corpus!("gitlab-skipped")] {
        assert_eq!(read(GitLab, waits), ["the build has not ended, or did not run"]);
    }
    let id = parse(CircleCi, corpus!("circleci-workflow")).expect("a build").delivery;
    assert_eq!(id.as_deref(), Some("3888f21b-eaa7-38e3-8f3d-75a63bba8895"));
}

#[test]
fn what_is_no_push_is_not_taken_for_one() {
    use SenderKind::{Acr, CircleCi, GitHub, Gitea, Harbor};
    // These senders cannot be configured to send only pushes.
    assert_eq!(read(GitHub, corpus!("github-npm")), [""; 0]);
    assert_eq!(read(Gitea, corpus!("gitea-child")), [""; 0]);
    assert_eq!(read(Gitea, corpus!("gitea-deleted")), [""; 0]);
    for (kind, test, words) in [
        (GitHub, corpus!("github-ping"), "this is GitHub's ping"),
        (Acr, corpus!("azure-ping"), "this is Azure's ping"),
        (CircleCi, corpus!("circleci-ping"), "this is CircleCI's ping"),
        (Harbor, corpus!("harbor1-test"), "this is Harbor's test"),
    ] {
        assert_eq!(read(kind, test), [words]);
    }
    assert!(read(Gitea, corpus!("gitea-test"))[0].starts_with("this is Gitea's test delivery"));
    assert_eq!(error(corpus!("harbor-scan")), WebhookError::NoPush("Harbor"));
    assert_eq!(error(corpus!("quay-build")), WebhookError::NoPush("Quay"));
    assert_eq!(error(corpus!("azure-delete")), WebhookError::NoPush("Azure's registry"));
    assert_eq!(error(corpus!("github-git-push")), WebhookError::NoPush("GitHub"));
    assert_eq!(error(corpus!("bitbucket-push")), WebhookError::NoPush("Bitbucket"));
}

#[test]
fn a_push_without_its_image_is_named() {
    for (document, sender) in [
        (r#"{"push_data":{"tag":"v1"}}"#, "Docker Hub"),
        (r#"{"package":{"package_type":"container"}}"#, "GitHub"),
        (r#"{"action":"created","package":{"type":"container","name":"till"}}"#, "Gitea"),
        (r#"{"type":"PUSH_ARTIFACT","event_data":{"resources":[]}}"#, "Harbor"),
        (r#"{"docker_url":"quay.io/shop/till","updated_tags":[]}"#, "Quay"),
        (r#"{"action":"push","target":{"repository":"shop/till"}}"#, "Azure's registry"),
        (r#"{"domain":"docker","event_type":"pushed","data":{}}"#, "Artifactory"),
        (r#"{"type":"job-completed","webhook":{"id":"1"}}"#, "CircleCI"),
        (r#"{"commit_status":{"state":"FAILED"}}"#, "Bitbucket"),
        (r#"{"object_kind":"pipeline"}"#, "GitLab"),
    ] {
        assert_eq!(error(document.as_bytes()), WebhookError::Unreadable(sender), "{document}");
    }
}

#[test]
fn our_own_form_is_read_exactly() {
    let digest = "1".repeat(64);
    for (document, expected) in [
        (r#"{"v":2,"pushed":["shop/till:v1"]}"#.to_owned(), WebhookError::Version),
        (r#"{"v":"1","pushed":["shop/till:v1"]}"#.to_owned(), WebhookError::Version),
        (r#"{"v":1,"pushed":[]}"#.to_owned(), WebhookError::Entry(1)),
        (r#"{"v":1,"pushed":"shop/till:v1"}"#.to_owned(), WebhookError::Entry(1)),
        (r#"{"v":1,"pushed":["shop/till:v1","Shop Till"]}"#.to_owned(), WebhookError::Entry(2)),
        (r#"{"v":1,"pushed":[{"ref":"a:v1","digest":"v1"}]}"#.to_owned(), WebhookError::Entry(1)),
        (format!(r#"{{"v":1,"pushed":["a@sha256:{digest}"]}}"#), WebhookError::Entry(1)),
    ] {
        assert_eq!(error(document.as_bytes()), expected, "{document}");
    }
    let document = format!(r#"{{"v":1,"pushed":["till","a:b@sha256:{digest}"],"more":true}}"#);
    let expected = ["docker.io library/a b 1111", "docker.io library/till latest"];
    assert_eq!(read(SenderKind::Plain, document.as_bytes()), expected);
}

#[test]
fn what_is_no_notification_is_named() {
    assert_eq!(error(b"events=push"), WebhookError::NoJson);
    assert_eq!(error(b"payload=%7B%22zen%22%3A1%7D"), WebhookError::Form);
    for other in [
        "{}",
        "[]",
        "7",
        "{\"events\":7}",
        "{\"package\":{}}",
        "{\"action\":\"created\",\"package\":{\"name\":\"till\"}}",
        "{\"type\":\"com.example\",\"data\":{}}",
        "{\"pushed\":[\"shop/till:v1\"]}",
    ] {
        assert_eq!(error(other.as_bytes()), WebhookError::Unknown, "{other}");
    }
    let error = parse(SenderKind::Quay, b"{}").expect_err("no webhook of Quay");
    assert_eq!(error, WebhookError::NotOfKind("Quay"));
    let error = parse(SenderKind::Quay, corpus!("docker-hub")).expect_err("another sender");
    let words =
        "this is a webhook of Docker Hub, but its sender is configured with the kind `quay`";
    assert_eq!(error.to_string(), words);
}

#[test]
fn every_kind_is_in_the_table_once() {
    for kind in SenderKind::ALL.into_iter().filter(|kind| *kind != SenderKind::Auto) {
        assert_eq!(FORMS.iter().filter(|form| form.kind == kind).count(), 1, "{kind:?}");
    }
    let is_lower = |name: &str| name.bytes().all(|byte| !byte.is_ascii_uppercase());
    assert!(signature_headers(SenderKind::Auto).iter().all(|it| is_lower(it.header)));
    assert!(delivery_headers(SenderKind::Auto).all(is_lower));
    // Each one may cost an HMAC of the body.
    let headers = signature_headers(SenderKind::Auto);
    let is_once = |it| headers.iter().filter(|other| *other == it).count() == 1;
    assert!(headers.iter().all(is_once));
}

#[test]
fn a_long_document_is_read_to_its_limit() {
    let event = |number: usize| json!({ "action": "push", "target": { "repository": format!("a/{number}"), "tag": "1" } });
    let events: Vec<_> = (0..PUSHES_MAX * 3).map(event).collect();
    let document = json!({ "events": events }).to_string();
    assert_eq!(read_as(SenderKind::Auto, document.as_bytes()).len(), PUSHES_MAX);
}

#[test]
fn a_push_concerns_its_repository_and_tag() {
    let pushed = |registry: Option<&str>, tag: Option<&str>| Push {
        registry: registry.map(str::to_owned),
        repository: "shop/till".to_owned(),
        tag: tag.map(str::to_owned),
        digest: None,
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

/// A deep document would use up the stack; serde_json reads 128 levels.
#[test]
fn a_deep_document_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"events\":{}1{}}}", open.repeat(40_000), close.repeat(40_000));
        assert_eq!(error(deep.as_bytes()), WebhookError::NoJson);
        assert_eq!(error(open.repeat(100_000).as_bytes()), WebhookError::NoJson);
    }
}

#[test]
fn only_a_complete_push_has_a_reference() {
    let push = |registry: Option<&str>, repository: &str, tag: Option<&str>| {
        let (registry, tag) = (registry.map(str::to_owned), tag.map(str::to_owned));
        let push = Push { registry, repository: repository.to_owned(), tag, digest: None };
        push.reference().map(|reference| reference.to_string())
    };
    let registry = Some("registry:443");
    let expected = Some("registry:443/shop/till:v1".to_owned());
    assert_eq!(push(registry, "shop/till", Some("v1")), expected);
    for (registry, repository, tag) in [
        (None, "shop/till", Some("v1")),
        (registry, "shop/till", None),
        (registry, "shop/till", Some("v1/#")),
        (registry, "shop/till", Some("+")),
        (registry, "Shop/till", Some("v1")),
        (registry, "shop/till:v0", Some("v1")),
        (Some("shop"), "till", Some("v1")),
        (Some(""), "shop/till", Some("v1")),
    ] {
        assert_eq!(push(registry, repository, tag), None, "{registry:?} {repository} {tag:?}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
        let _ = parse(SenderKind::Auto, &bytes);
    }

    #[test]
    fn parsing_never_panics_at_wrong_types(
        key in prop_oneof![Just("events"), Just("push_data"), Just("package"), Just("repository")],
        inner in prop_oneof![Just("target"), Just("repo_name"), Just("package_version"), Just("name")],
        value in prop_oneof![Just(json!(7)), Just(json!([[]])), Just(json!("a:b@c")), Just(json!({}))],
    ) {
        let _ = parse(SenderKind::Auto, json!({ key: { inner: value } }).to_string().as_bytes());
        let _ = parse(SenderKind::Auto, json!({ key: [{ inner: value }] }).to_string().as_bytes());
    }
}
