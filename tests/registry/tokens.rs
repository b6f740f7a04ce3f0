//! Bearer tokens, against a scripted token server.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::registry::{HostSettings, HttpRegistry, Registry as _};
use tempfile::{TempDir, tempdir};

use crate::images::Image;
use crate::scripted::{RecordedRequest, Reply, Scripted, manifest, reply};
use crate::support::{client, error_text, reference, settings, settings_for};

/// A registry that requires tokens, a token server, and a client.
struct Flow {
    directory: TempDir,
    tokens: Scripted,
    registry: Scripted,
    image: Image,
    /// The number of the token that the registry accepts.
    valid: Arc<AtomicU32>,
    client: HttpRegistry,
}

impl Flow {
    /// `give` answers a token request; its argument is the number of the valid token.
    async fn start<F>(give: F) -> Self
    where
        F: Fn(&RecordedRequest, u32) -> Reply + Send + Sync + 'static,
    {
        let directory = tempdir().expect("a directory");
        let valid = Arc::new(AtomicU32::new(1));
        let number = valid.clone();
        let tokens = Scripted::start(move |asked| give(asked, number.load(Ordering::SeqCst))).await;
        let challenge = format!(
            r#"Basic realm="old", Bearer realm="http://{}/token?a=b",service="my registry",scope="repository:x:pull""#,
            tokens.registry()
        );
        let image = Image::new("x", "linux/arm64");
        let (number, content) = (valid.clone(), image.manifest.clone());
        let registry = Scripted::start(move |asked| {
            let wanted = format!("Bearer token-{}", number.load(Ordering::SeqCst));
            if asked.authorization.as_ref() == Some(&wanted) {
                return manifest(OCI_MANIFEST, &content);
            }
            reply(401, &[("www-authenticate", &challenge)], "")
        })
        .await;
        // The token server uses plain HTTP on another port than the registry.
        let allowed = HostSettings { plain_http: true, ..HostSettings::default() };
        let settings = settings_for(directory.path(), &tokens.registry(), allowed);
        let client = client(&settings);
        Self { directory, tokens, registry, image, valid, client }
    }

    fn configure(&self, entry: &str) {
        let config = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, self.registry.registry());
        fs::write(self.directory.path().join("config.json"), config).expect("a file");
    }

    async fn head(&self, image: &str) -> String {
        let host = self.registry.registry();
        let result = self.client.head(&reference(&host, image)).await;
        if let Ok(digest) = &result {
            assert_eq!(*digest, self.image.digest());
        }
        error_text(result, &host)
    }
}

fn token(number: u32, expires_in: u32) -> Reply {
    reply(200, &[], format!(r#"{{"token":"token-{number}","expires_in":{expires_in}}}"#))
}

#[tokio::test]
async fn a_token_is_fetched_once_per_repository() {
    let flow = Flow::start(|_, valid| token(valid, 300)).await;
    for image in ["shop/till:1", "shop/till:2", "shop/till:1", "shop/scale:1"] {
        assert_eq!(flow.head(image).await, "ok", "{image}");
    }
    let asked: Vec<_> = flow.tokens.asked().into_iter().map(|asked| asked.target).collect();
    let scope =
        |name: &str| format!("/token?a=b&scope=repository%3A{name}%3Apull&service=my+registry");
    assert_eq!(asked, [scope("shop%2Ftill"), scope("shop%2Fscale")]);
    // Only the first request went without a token.
    assert_eq!(flow.registry.asked().len(), 5);
    let without = flow.registry.asked().iter().filter(|it| it.authorization.is_none()).count();
    assert_eq!(without, 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let flow = Flow::start(|_, valid| token(valid, 300)).await;
    assert_eq!(flow.head("a:1").await, "ok");
    flow.valid.store(2, Ordering::SeqCst);
    assert_eq!(flow.head("a:1").await, "ok");
    assert_eq!(flow.tokens.asked().len(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_is_not_renewed() {
    let flow = Flow::start(|_, valid| token(valid + 1, 300)).await;
    let refused = "registry_unauthorized: HOST wants a login for a:1, and there is none";
    assert_eq!(flow.head("a:1").await, refused);
    assert_eq!((flow.tokens.asked().len(), flow.registry.asked().len()), (1, 2));
    flow.configure(r#"{"auth":"dTpw"}"#);
    let refused = "registry_unauthorized: HOST refuses the login for b:1";
    assert_eq!(flow.head("b:1").await, refused);
    assert_eq!((flow.tokens.asked().len(), flow.registry.asked().len()), (2, 3));
}

#[tokio::test]
async fn an_expired_token_is_not_sent() {
    let flow = Flow::start(|_, valid| token(valid, 0)).await;
    assert_eq!(flow.head("a:1").await, "ok");
    assert_eq!(flow.head("a:1").await, "ok");
    // One refusal before the challenge was known, and one token for each image.
    assert_eq!((flow.tokens.asked().len(), flow.registry.asked().len()), (2, 3));
}

#[tokio::test]
async fn the_login_goes_to_the_token_server() {
    let flow =
        Flow::start(|asked, valid| match (asked.method.as_str(), asked.authorization.as_deref()) {
            ("GET", Some("Basic dXNlcjpwPz5+")) => {
                reply(200, &[], format!(r#"{{"access_token":"token-{valid}"}}"#))
            }
            ("POST", None) if asked.body.contains("refresh_token=an+identity") => token(valid, 300),
            _ => reply(401, &[], ""),
        })
        .await;
    let address = flow.tokens.registry();
    let refused = flow.head("a:1").await;
    assert_eq!(
        refused,
        format!("registry_unauthorized: {address} answered 401 when asked for a token for a")
    );
    flow.configure(r#"{"auth":"dXNlcjpwPz5+"}"#);
    assert_eq!(flow.head("a:1").await, "ok");
    flow.configure(r#"{"identitytoken":"an identity"}"#);
    assert_eq!(flow.head("b:1").await, "ok");
    let posted = flow.tokens.asked().pop().expect("a request");
    assert_eq!(
        posted.body,
        "scope=repository%3Ab%3Apull&service=my+registry&grant_type=refresh_token\
         &client_id=pilotfish&refresh_token=an+identity"
    );
    // The registry itself only gets a token.
    let shown = flow.registry.asked().into_iter().filter_map(|asked| asked.authorization);
    assert!(shown.into_iter().all(|shown| shown.starts_with("Bearer token-")));
}

#[tokio::test]
async fn every_wrong_answer_of_a_token_server_has_a_reason() {
    let flow = Flow::start(|asked, _| {
        let about = |name: &str| asked.target.contains(&format!("%3A{name}%3A"));
        if about("limited") {
            return reply(429, &[("retry-after", "7")], "");
        }
        let redirect = [("location", "/elsewhere")];
        match () {
            () if about("empty") => reply(200, &[], "{}"),
            () if about("html") => reply(200, &[("content-type", "text/html")], "<html>"),
            () if about("large") => reply(200, &[], "x".repeat(300_000)),
            () if about("split") => reply(200, &[], r#"{"token":"a\r\nHost: b"}"#),
            () if asked.method == "POST" => reply(307, &redirect, ""),
            () => reply(500, &[], ""),
        }
    })
    .await;
    let server = flow.tokens.registry();
    for (image, expected) in [
        ("limited", "rate_limited: T answered 429 when asked for a token for limited"),
        ("empty", "registry_error: T answered with something that is not a token"),
        ("html", "registry_error: T answered with something that is not a token"),
        ("split", "registry_error: T answered with something that is not a token"),
        ("large", "registry_error: T sent more than the 262144 bytes such an answer may have"),
        ("ill", "registry_error: T answered 500 when asked for a token for ill"),
    ] {
        assert_eq!(flow.head(image).await.replace(&server, "T"), expected, "{image}");
    }
    flow.configure(r#"{"identitytoken":"an identity"}"#);
    let refused = flow.head("moved").await.replace(&server, "T");
    let expected =
        "registry_error: T sent a redirect that is not followed: the request held a login";
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn no_login_is_sent_to_a_token_server_without_tls() {
    let directory = tempdir().expect("a directory");
    let other_host = Scripted::start(|_| reply(200, &[], r#"{"token":"x"}"#)).await;
    let realm = other_host.registry().replace("127.0.0.1", "0.0.0.0");
    let challenge = format!(r#"Bearer realm="http://{realm}/token""#);
    let registry =
        Scripted::start(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
    let host = registry.registry();
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#);
    fs::write(directory.path().join("config.json"), config).expect("a file");
    let client = client(&settings(directory.path()));
    let refused = error_text(client.head(&reference(&host, "a:1")).await, &host);
    assert_eq!(
        refused.replace(&realm, "T"),
        "registry_error: HOST names the token server T without TLS"
    );
    assert_eq!(other_host.asked(), []);
}
