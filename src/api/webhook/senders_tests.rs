//! Several senders at one address: which of them a request comes from, and what it may say.

use ring::hmac;

use super::*;

const GITHUB: &str = "0123456789abcdef-github";
const REGISTRY: &str = "0123456789abcdef-registry";
const CI: &str = "0123456789abcdef-ci";

macro_rules! corpus {
    ($name:literal) => {
        include_str!(concat!("../../../fuzz/corpus/notification/", $name, ".json"))
    };
}

fn sender(name: &str, kind: SenderKind, secret: &str, references: &[&str]) -> WebhookSender {
    WebhookSender {
        name: name.to_owned(),
        kind,
        secret: WebhookSecret::of(secret),
        references: AllowedReferences::parse(references.iter().copied()).expect("patterns"),
        build: Some("till".to_owned()),
    }
}

fn senders() -> WebhookSenders {
    let senders = vec![
        sender("github", SenderKind::GitHub, GITHUB, &["ghcr.io/shop/*"]),
        sender("registry", SenderKind::Cncf, REGISTRY, &["registry:443/shop/*"]),
        sender("ci", SenderKind::Auto, CI, &[]),
    ];
    WebhookSenders { senders, recent: RecentDeliveries::default(), now: DateTime::default }
}

/// Sender, status and words; or the pushes and how many were refused. An accepted delivery is
/// remembered.
fn receive(senders: &WebhookSenders, headers: &[(&'static str, &str)], body: &str) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a value"));
    }
    let uri = Uri::from_static("/v1/webhook");
    let request = WebhookRequest { uri: &uri, headers: &map, body: body.as_bytes() };
    let (sender, received) = senders.receive(request);
    match received {
        Received::Answer { status, words, .. } => format!("{sender} {} {words}", status.as_u16()),
        Received::News { news: WebhookNews::Built(build), delivery, .. } => {
            senders.remember(delivery);
            format!("{sender} built {} {}", build.name, build.ok)
        }
        Received::News { news: WebhookNews::Pushed(pushed), refused, delivery } => {
            senders.remember(delivery);
            let name = |push: Push| {
                let registry = push.registry.unwrap_or_else(|| "?".to_owned());
                format!("{registry}/{}:{}", push.repository, push.tag.unwrap_or_default())
            };
            let pushed: Vec<_> = pushed.into_iter().map(name).collect();
            format!("{sender} pushed {} refused {refused}", pushed.join(" "))
        }
    }
}

fn bearer(secret: &str, body: &str) -> String {
    receive(&senders(), &[("authorization", &format!("Bearer {secret}"))], body)
}

fn signed(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn the_secret_says_which_sender_it_is() {
    let body = corpus!("github-registry-package");
    let signature = signed(GITHUB, body);
    let headers = [("x-hub-signature-256", signature.as_str())];
    let expected = "github pushed ghcr.io/shop/till:v1 refused 0";
    assert_eq!(receive(&senders(), &headers, body), expected);
    let signature = signed(CI, body);
    let headers = [("x-hub-signature-256", signature.as_str())];
    assert!(receive(&senders(), &headers, body).starts_with("ci pushed ghcr.io/shop/till:v1"));
    let signature = signed("0123456789abcdef", body);
    let headers = [("x-hub-signature-256", signature.as_str())];
    assert_eq!(receive(&senders(), &headers, body), " 401 the secret is wrong");
    assert!(receive(&senders(), &[], body).starts_with(" 401 the secret is missing"));
}

#[test]
fn a_sender_of_one_kind_sends_nothing_else() {
    let words = "github 400 this is a webhook of Docker Hub, but its sender is configured with the kind `github`";
    assert_eq!(bearer(GITHUB, corpus!("docker-hub")), words);
    assert_eq!(bearer(GITHUB, "{}"), "github 400 this is no webhook of GitHub");
    assert_eq!(bearer(CI, "rubbish"), "ci 400 this is not JSON");
    assert!(bearer(CI, corpus!("docker-hub")).starts_with("ci pushed docker.io/svendowideit/"));
}

#[test]
fn a_sender_tells_only_of_its_references() {
    let other = corpus!("github-registry-package").replace("ghcr.io/shop/", "ghcr.io/bank/");
    let words = "github 403 the sender github may not report ghcr.io/bank/till: its `references` do not contain it";
    assert_eq!(bearer(GITHUB, &other), words);
    let pushed = "registry pushed registry:443/shop/till:v1 refused 0";
    assert_eq!(bearer(REGISTRY, corpus!("registry-push")), pushed);
    // A registry would repeat an event that was refused, and hold back all others.
    let other = corpus!("registry-push").replace("shop/till", "bank/till");
    assert!(bearer(REGISTRY, &other).starts_with("registry 200 the sender registry may not"));
    let both = r#"{"events":[{"action":"push","target":{"repository":"shop/a","tag":"1"}},
        {"action":"push","target":{"repository":"bank/a","tag":"1"}}]}"#;
    assert_eq!(bearer(REGISTRY, both), "registry pushed registry:443/shop/a:1 refused 1");
}

#[test]
fn what_names_no_pushed_image_is_answered_with_words() {
    assert_eq!(
        bearer(GITHUB, corpus!("github-ping")),
        "github 200 this is GitHub's ping; no image was pushed"
    );
    assert_eq!(bearer(GITHUB, corpus!("github-npm")), "github 200 no tag of an image was pushed");
}

/// A text of a webhook must not become a part of a topic.
#[test]
fn a_build_has_the_name_of_the_configuration() {
    assert_eq!(bearer(CI, corpus!("circleci-workflow")), "ci built till true");
    assert_eq!(bearer(CI, corpus!("circleci-job")), "ci built till false");
    let mut senders = senders();
    senders.senders[2].build = None;
    let headers = [("authorization", CI)];
    let words = "ci 400 this webhook names no image but the build gh/shop/till, and the sender ci has no `build` in its configuration";
    assert_eq!(receive(&senders, &headers, corpus!("circleci-workflow")), words);
}

#[test]
fn a_repeated_delivery_does_nothing() {
    let senders = senders();
    let body = corpus!("github-registry-package");
    let send = |id: &str| {
        let authorization = format!("Bearer {GITHUB}");
        let headers = [("authorization", authorization.as_str()), ("x-github-delivery", id)];
        receive(&senders, &headers, body)
    };
    assert!(send("72d3162e-cc78-11e3-81ab-4c9367dc0958").contains("pushed"));
    let again = send("72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert!(again.starts_with("github 202 this delivery was accepted before"), "{again}");
    assert!(send("another").contains("pushed"));
}

#[test]
fn two_senders_cannot_have_one_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let settings = |name: &str, secret: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, secret).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("a mode");
        WebhookSenderSettings {
            name: name.to_owned(),
            kind: SenderKind::Auto,
            secret_file: file,
            references: AllowedReferences::default(),
            build: None,
            key: String::new(),
        }
    };
    let two = [settings("a", GITHUB), settings("b", CI)];
    assert!(WebhookSenders::read(&two, DateTime::default).is_ok());
    let same = [settings("a", GITHUB), settings("b", GITHUB)];
    let error = WebhookSenders::read(&same, DateTime::default).expect_err("one secret");
    assert!(error.to_string().contains("`a` and `b`") && !error.to_string().contains(GITHUB));
}

fn hex_of(secret: &str, body: &str) -> String {
    signed(secret, body).trim_start_matches("sha256=").to_owned()
}

/// Every sender with its own header and its own body. Without the header, with another body, and
/// with the header of another kind the answer is 401.
#[test]
fn every_signing_sender_is_known_by_its_own_header_only() {
    use SenderKind::{Artifactory, Bitbucket, CircleCi, GitHub, GitLab, Gitea};
    type Sign = fn(&str) -> String;
    let prefixed: Sign = |body| signed(CI, body);
    let bare: Sign = |body| hex_of(CI, body);
    let version: Sign = |body| format!("v1={}", hex_of(CI, body));
    let all: [(SenderKind, &'static str, Sign, &str, &str); 7] = [
        (GitHub, "x-hub-signature-256", prefixed, corpus!("github-package"), "pushed ghcr.io/"),
        (Gitea, "x-gitea-signature", bare, corpus!("gitea-package"), "pushed git.example:3000/"),
        (Gitea, "x-forgejo-signature", bare, corpus!("gitea-package"), "pushed git.example:3000/"),
        (Artifactory, "x-jfrog-event-auth", bare, corpus!("artifactory-push"), "pushed ?/"),
        (CircleCi, "circleci-signature", version, corpus!("circleci-workflow"), "built till true"),
        (Bitbucket, "x-hub-signature", prefixed, corpus!("bitbucket-status"), "built till true"),
        (
            GitLab,
            "x-gitlab-token",
            |_| CI.to_owned(),
            corpus!("gitlab-pipeline"),
            "built till true",
        ),
    ];
    for (kind, header, sign, body, expected) in all {
        let senders = |kind| WebhookSenders {
            senders: vec![sender("a", kind, CI, &[])],
            recent: RecentDeliveries::default(),
            now: DateTime::default,
        };
        let signature = sign(body);
        let headers = [(header, signature.as_str())];
        let answer = receive(&senders(kind), &headers, body);
        assert!(answer.starts_with(&format!("a {expected}")), "{kind:?}: {answer}");
        assert!(receive(&senders(kind), &[], body).starts_with(" 401 "), "{kind:?}");
        let other_kind = receive(&senders(SenderKind::DockerHub), &headers, body);
        assert!(other_kind.starts_with(" 401 the secret is missing"), "{kind:?}: {other_kind}");
        let changed = receive(&senders(kind), &headers, &format!("{body} "));
        // GitLab's header is the secret itself; all others are over the body as it was sent.
        assert_eq!(changed.starts_with(" 401 "), kind != GitLab, "{kind:?}: {changed}");
    }
}

/// Docker Hub, Quay, a registry, Harbor and Azure sign nothing.
#[test]
fn every_other_sender_shows_its_secret_in_the_url_or_in_a_header() {
    use SenderKind::{Acr, Cncf, DockerHub, Harbor, Plain, Quay};
    for (kind, body) in [
        (Cncf, corpus!("registry-push")),
        (DockerHub, corpus!("docker-hub")),
        (Harbor, corpus!("harbor-push")),
        (Harbor, corpus!("harbor-cloudevent")),
        (Harbor, corpus!("harbor1-push")),
        (Quay, corpus!("quay-push")),
        (Acr, corpus!("azure-push")),
        (Plain, corpus!("plain")),
    ] {
        let senders = WebhookSenders {
            senders: vec![sender("a", kind, CI, &[])],
            recent: RecentDeliveries::default(),
            now: DateTime::default,
        };
        let from_url = |uri: &str| {
            let uri = uri.parse().expect("a URI");
            let headers = HeaderMap::new();
            let request = WebhookRequest { uri: &uri, headers: &headers, body: body.as_bytes() };
            matches!(senders.receive(request), ("a", Received::News { .. }))
        };
        assert!(from_url(&format!("/v1/webhook?token={CI}")), "{kind:?}");
        assert!(!from_url("/v1/webhook?token=0123456789abcdef"), "{kind:?}");
        let bearer = format!("Bearer {CI}");
        assert!(receive(&senders, &[("authorization", &bearer)], body).starts_with("a pushed"));
        assert!(receive(&senders, &[("authorization", CI)], body).starts_with("a pushed"));
        assert!(receive(&senders, &[], body).starts_with(" 401 "), "{kind:?}");
    }
}

/// A body without a valid secret is not parsed: the answer does not depend on it.
#[test]
fn the_secret_is_checked_before_the_body_is_read() {
    for body in ["rubbish", "", "[[[[", corpus!("docker-hub")] {
        assert_eq!(
            receive(&senders(), &[("authorization", "x")], body),
            " 401 the secret is wrong"
        );
    }
}
