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
        Received::Pushed { pushed, refused, delivery } => {
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
    let words = "github 403 the sender github may not tell of ghcr.io/bank/till: its `references` do not contain it";
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
    let build = bearer(CI, corpus!("circleci-workflow"));
    assert!(build.starts_with("ci 400 the build till succeeded, but this webhook names no image"));
    let build = bearer(CI, corpus!("circleci-job"));
    assert!(build.starts_with("ci 400 the build till failed,"), "{build}");
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
