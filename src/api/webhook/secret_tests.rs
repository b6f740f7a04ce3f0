//! Every way to prove that a request comes from a sender: right, wrong, and missing.

use std::fs::Permissions;

use axum::http::HeaderMap;

use super::*;

/// The secret of GitHub's documentation.
const SECRET: &str = "It's a Secret to Everybody";

/// 2026-11-20 12:00 UTC.
const NOW: i64 = 1_795_176_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tag_of(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn proof_of(
    secret: &str,
    kind: SenderKind,
    uri: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Proof {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("a value"));
    }
    let uri = uri.parse().expect("a URI");
    let request = WebhookRequest { uri: &uri, headers: &map, body: body.as_bytes() };
    WebhookSecret::of(secret).proof(kind, request, at(NOW))
}

fn proof(kind: SenderKind, headers: &[(&'static str, &str)], body: &str) -> Proof {
    proof_of(SECRET, kind, "/", headers, body)
}

#[test]
fn every_kind_may_show_its_secret_in_authorization_or_in_the_url() {
    let token = "0123456789abcdef";
    for kind in SenderKind::ALL {
        let shown =
            |uri: &str, headers: &[(&'static str, &str)]| proof_of(token, kind, uri, headers, "");
        assert_eq!(shown("/", &[("authorization", "bearer 0123456789abcdef")]), Proof::Right);
        // Harbor sends what a person entered.
        assert_eq!(shown("/", &[("authorization", token)]), Proof::Right);
        assert_eq!(shown("/v1/webhook?a=b&token=0123456789abcdef", &[]), Proof::Right);
        assert_eq!(shown("/", &[("authorization", "Bearer x")]), Proof::Wrong);
        assert_eq!(shown("/", &[("authorization", "Basic 0123456789abcdef")]), Proof::Wrong);
        assert_eq!(shown("/?token=x", &[]), Proof::Wrong);
        assert_eq!(shown("/?token=", &[]), Proof::Wrong);
        assert_eq!(shown("/", &[]), Proof::Missing);
    }
}

/// The example of GitHub's documentation ("Validating webhook deliveries").
#[test]
fn githubs_signature_is_that_of_the_body() {
    let header = "x-hub-signature-256";
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    for kind in [SenderKind::Auto, SenderKind::GitHub, SenderKind::Gitea] {
        assert_eq!(proof(kind, &[(header, right)], "Hello, World!"), Proof::Right);
        assert_eq!(proof(kind, &[(header, right)], "Hello, World?"), Proof::Wrong);
        assert_eq!(proof(kind, &[(header, "sha256=")], "Hello, World!"), Proof::Wrong);
    }
    assert_eq!(proof(SenderKind::Quay, &[(header, right)], "Hello, World!"), Proof::Missing);
}

/// Each sender's own header. `sha1=` is what GitHub and Gitea send in the header of Bitbucket.
#[test]
fn every_senders_own_header_is_read() {
    let tag = hex(&tag_of(SECRET.as_bytes(), b"body"));
    let prefixed = format!("sha256={tag}");
    let version = format!("v1={tag}");
    let (other, both) = (format!("v1={}", "0".repeat(64)), format!("v0=00, v1=00,{version}"));
    for (kind, header, right, wrong) in [
        (SenderKind::Gitea, "x-gitea-signature", tag.as_str(), prefixed.as_str()),
        (SenderKind::Gitea, "x-forgejo-signature", &tag, "00"),
        (SenderKind::Bitbucket, "x-hub-signature", &prefixed, "sha256=00"),
        (SenderKind::CircleCi, "circleci-signature", &version, &other),
        (SenderKind::CircleCi, "circleci-signature", &both, &tag),
        (SenderKind::GitLab, "x-gitlab-token", SECRET, "It's a secret"),
        (SenderKind::Artifactory, "x-jfrog-event-auth", SECRET, "It's a secret"),
        (SenderKind::Artifactory, "x-jfrog-event-auth", &tag, "00"),
    ] {
        for kind in [kind, SenderKind::Auto] {
            assert_eq!(proof(kind, &[(header, right)], "body"), Proof::Right, "{header}");
            assert_eq!(proof(kind, &[(header, wrong)], "body"), Proof::Wrong, "{header}");
            assert_eq!(proof(kind, &[], "body"), Proof::Missing, "{header}");
        }
        let elsewhere = proof(SenderKind::DockerHub, &[(header, right)], "body");
        assert_eq!(elsewhere, Proof::Missing, "{header} is not Docker Hub's");
    }
    let old = [("x-hub-signature", "sha1=01"), ("x-hub-signature-256", prefixed.as_str())];
    assert_eq!(proof(SenderKind::Auto, &old, "body"), Proof::Right);
    assert_eq!(proof(SenderKind::Bitbucket, &old, "body"), Proof::Missing);
}

/// The example of the libraries of Standard Webhooks (standard-webhooks, `libraries/*/tests`).
#[test]
fn a_standard_webhook_is_signed_with_its_identity_and_its_time() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
    let body = r#"{"test": 2432232314}"#;
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let example = tag_of(&key, format!("{id}.1614265330.{body}").as_bytes());
    assert_eq!(STANDARD.encode(example), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let signed = |time: i64| {
        let tag = tag_of(&key, format!("{id}.{time}.{body}").as_bytes());
        (time.to_string(), format!("v1a,xx v1,AAAA v1,{}", STANDARD.encode(tag)))
    };
    for (time, expected) in
        [(NOW, Proof::Right), (NOW - 300, Proof::Right), (NOW + 301, Proof::Stale)]
    {
        let (time, signature) = signed(time);
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        for kind in [SenderKind::GitLab, SenderKind::Plain, SenderKind::Auto] {
            assert_eq!(proof_of(secret, kind, "/", &headers, body), expected, "{time}");
            assert_eq!(proof_of(secret, kind, "/", &headers, "{}"), Proof::Wrong);
            assert_eq!(proof_of(secret, kind, "/", &headers[2..], body), Proof::Wrong);
        }
    }
    let raw = STANDARD.encode(tag_of(SECRET.as_bytes(), format!("1.{NOW}.{body}").as_bytes()));
    let (time, raw) = (NOW.to_string(), format!("v1,{raw}"));
    let headers =
        [("webhook-id", "1"), ("webhook-timestamp", &*time), ("webhook-signature", &*raw)];
    assert_eq!(proof(SenderKind::Plain, &headers, body), Proof::Right, "without the marker");
}

#[test]
fn a_clock_that_was_never_set_is_not_compared() {
    assert!(is_fresh(at(NOW), at(0)) && is_fresh(at(NOW), at(CLOCK_SANE_MIN - 1)));
    assert!(!is_fresh(at(NOW), at(CLOCK_SANE_MIN)));
}

#[test]
fn only_whole_bytes_are_a_signature() {
    assert_eq!(bytes_of("00ff7A"), Some(vec![0, 255, 0x7a]));
    for wrong in ["0", "0g", "+1", "ü", "0 "] {
        assert_eq!(bytes_of(wrong), None, "{wrong}");
    }
}

#[test]
fn a_secret_that_can_be_guessed_is_refused_and_never_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let read = || WebhookSecret::read("webhook.token_file", &file);
    let missing = read().expect_err("no file").to_string();
    assert!(missing.starts_with("cannot read webhook.token_file"), "{missing}");
    let open = |mode| std::fs::set_permissions(&file, Permissions::from_mode(mode));
    std::fs::write(&file, "0123456789abcdef\n").expect("a file");
    open(0o644).expect("a mode");
    let error = read().expect_err("every user can read it").to_string();
    assert!(error.contains("chmod o=") && !error.contains("0123"), "{error}");
    open(0o600).expect("a mode");
    for wrong in ["hunter2", "whsec_hunter2-is-no-base64"] {
        std::fs::write(&file, format!("{wrong}\n")).expect("a file");
        let error = read().expect_err("no secret").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    std::fs::write(&file, "0123456789abcdef\n").expect("a file");
    let secret = read().expect("a secret");
    assert!(!format!("{secret:?}").contains("0123"));
}

proptest::proptest! {
    /// Headers of a client without the secret are no proof, and reading them never panics.
    #[test]
    fn no_header_without_the_secret_is_a_proof(
        value in "[ -~]{0,80}",
        prefix in proptest::sample::select(vec!["", "sha256=", "v1=", "v1,", "Bearer ", "whsec_"]),
    ) {
        let text = format!("{prefix}{value}");
        let names: Vec<_> = signature_headers(SenderKind::Auto)
            .into_iter()
            .map(|signature| signature.header)
            .chain(["authorization", "webhook-id", "webhook-timestamp"])
            .collect();
        let headers: Vec<_> = names.into_iter().map(|name| (name, text.as_str())).collect();
        proptest::prop_assert_ne!(proof(SenderKind::Auto, &headers, "{}"), Proof::Right);
    }
}
