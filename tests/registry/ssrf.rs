//! Requests that a registry can cause: it names hosts. The agent contacts only hosts that this
//! registry may name, and sends no login to a host that it was not made for.

use std::fs;
use std::path::Path;

use pilotfish::core::docker::engine_registries::EngineRegistries;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::registry::{HostSettings, Registry as _};
use tempfile::tempdir;

use crate::certificates::{Authority, Flaw};
use crate::images::Image;
use crate::real::{Real, Setup};
use crate::scripted::{Scripted, manifest, reply};
use crate::support::{client, error_text, reference, settings, settings_for};

fn log_in(directory: &Path, logins: &[(&str, &str)]) {
    let entries = logins.iter().map(|(host, entry)| format!(r#""{host}":{entry}"#));
    let entries: Vec<_> = entries.collect();
    let text = format!(r#"{{"auths":{{{}}}}}"#, entries.join(","));
    fs::write(directory.join("config.json"), text).expect("a file");
}

/// The Engine's own port on loopback represents every service that only this machine can reach.
#[tokio::test]
async fn a_realm_on_another_port_of_this_machine_is_never_asked() {
    let directory = tempdir().expect("a directory");
    let engine = Scripted::start(|_| reply(200, &[], r#"{"token":"x"}"#)).await;
    let realms = [
        format!("http://{}/containers/bystander/kill", engine.registry()),
        format!("http://localhost:{}/containers/bystander/kill", engine.address.port()),
        format!("http://2130706433:{}/kill", engine.address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/kill", engine.address.port()),
        format!("http://0.0.0.0:{}/kill", engine.address.port()),
    ];
    for realm in realms {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let registry =
            Scripted::start(move |_| reply(401, &[("www-authenticate", &challenge)], "")).await;
        let host = registry.registry();
        for entry in [r#"{"identitytoken":"an identity"}"#, r#"{"auth":"dTpw"}"#, "{}"] {
            log_in(directory.path(), &[(&host, entry)]);
            let client = client(&settings(directory.path()));
            let refused = error_text(client.head(&reference(&host, "a:1")).await, &host);
            assert!(
                refused.starts_with("registry_error: HOST names the token server "),
                "{refused}"
            );
            assert!(refused.ends_with(" without TLS"), "{refused}");
        }
    }
    assert_eq!(engine.asked(), []);
}

/// The registry itself was reached by plain HTTP, so its own tokens are fetched by plain HTTP too.
#[tokio::test]
async fn a_plain_http_registry_gives_its_own_tokens_and_no_redirect_is_followed() {
    let directory = tempdir().expect("a directory");
    let (image, elsewhere) =
        (Image::new("x", "linux/arm64"), Scripted::start(|_| reply(200, &[], "")).await);
    let (content, target) = (image.manifest.clone(), format!("http://{}/x", elsewhere.registry()));
    let registry = Scripted::start(move |asked| {
        let host = asked.host.as_deref().expect("a host");
        let challenge = |path: &str| format!(r#"Bearer realm="http://{host}/{path}""#);
        match (asked.path(), asked.authorization.as_deref()) {
            ("/token", Some("Basic dTpw")) => reply(200, &[], r#"{"token":"t"}"#),
            ("/moved", _) => reply(307, &[("location", &target)], ""),
            (_, Some("Bearer t")) => manifest(OCI_MANIFEST, &content),
            (path, _) if path.contains("/moved/") => {
                reply(401, &[("www-authenticate", &challenge("moved"))], "")
            }
            _ => reply(401, &[("www-authenticate", &challenge("token"))], ""),
        }
    })
    .await;
    let host = registry.registry();
    log_in(directory.path(), &[(&host, r#"{"auth":"dTpw"}"#)]);
    let open = client(&settings(directory.path()));
    assert_eq!(open.head(&reference(&host, "a:1")).await, Ok(image.digest()));
    // A redirect of the token server is followed without the login; with an identity token it is
    // not followed.
    let open = client(&settings(directory.path()));
    assert!(open.head(&reference(&host, "moved:1")).await.is_err());
    assert!(elsewhere.asked().iter().all(|asked| asked.authorization.is_none()));
    let before = elsewhere.asked().len();
    log_in(directory.path(), &[(&host, r#"{"identitytoken":"an identity"}"#)]);
    let identity = client(&settings(directory.path()));
    assert!(identity.head(&reference(&host, "moved:1")).await.is_err());
    assert_eq!(elsewhere.asked().len(), before);
}

/// `docker pull` follows such a registry. To the token server of the other registry it sends the
/// first one's login. Pilotfish sends nothing, or the login that was made for the other one.
#[tokio::test]
async fn a_registry_that_redirects_to_another_is_followed_without_its_login() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let content = image.manifest.clone();
    let other = Scripted::start(move |asked| {
        let host = asked.host.as_deref().expect("a host");
        match (asked.path(), asked.authorization.as_deref()) {
            ("/token", None | Some("Basic b3RoZXI6cA==")) => reply(200, &[], r#"{"token":"t"}"#),
            ("/token", _) => reply(401, &[], ""),
            (_, Some("Bearer t")) => manifest(OCI_MANIFEST, &content),
            _ => {
                let challenge = format!(r#"Bearer realm="http://{host}/token""#);
                reply(401, &[("www-authenticate", &challenge)], "")
            }
        }
    })
    .await;
    let target = other.registry();
    let first = Scripted::start(move |asked| {
        let location = format!("http://{target}{}", asked.target);
        let is_guarded = asked.path().contains("guarded");
        match &asked.authorization {
            None if is_guarded => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
            _ => reply(307, &[("location", &location)], ""),
        }
    })
    .await;
    let host = first.registry();
    let other_login = (other.registry(), r#"{"auth":"b3RoZXI6cA=="}"#);
    for logins in [
        vec![],
        vec![(host.as_str(), r#"{"auth":"dTpw"}"#)],
        vec![(host.as_str(), r#"{"auth":"dTpw"}"#), (other_login.0.as_str(), other_login.1)],
        vec![(host.as_str(), r#"{"identitytoken":"an identity"}"#)],
    ] {
        log_in(directory.path(), &logins);
        let client = client(&settings(directory.path()));
        for _ in 0..2 {
            assert_eq!(
                client.head(&reference(&host, "a:1")).await,
                Ok(image.digest()),
                "{logins:?}"
            );
        }
    }
    log_in(directory.path(), &[(&host, r#"{"auth":"dTpw"}"#)]);
    let client = client(&settings(directory.path()));
    for _ in 0..2 {
        assert_eq!(client.head(&reference(&host, "guarded:1")).await, Ok(image.digest()));
    }
    for asked in other.asked() {
        assert_ne!(asked.authorization.as_deref(), Some("Basic dTpw"), "{asked:?}");
        assert!(!asked.body.contains("identity"), "{asked:?}");
    }
    let shown = other.asked().into_iter().filter_map(|asked| asked.authorization);
    assert!(shown.into_iter().any(|shown| shown == "Basic b3RoZXI6cA=="), "its own login");
    // Only the first registry gets the login that was made for it.
    let first_saw = first.asked().into_iter().filter_map(|asked| asked.authorization);
    assert!(first_saw.into_iter().all(|shown| shown == "Basic dTpw"));
}

#[tokio::test]
async fn a_host_that_refuses_after_a_redirect_is_named() {
    let directory = tempdir().expect("a directory");
    let other =
        Scripted::start(|_| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")).await;
    let target = other.registry();
    let first = Scripted::start(move |asked| {
        let location = format!("http://{target}{}", asked.target);
        reply(307, &[("location", &location)], "")
    })
    .await;
    let host = first.registry();
    log_in(directory.path(), &[(&host, r#"{"auth":"dTpw"}"#)]);
    let client = client(&settings(directory.path()));
    let refused = error_text(client.head(&reference(&host, "a:1")).await, &host);
    assert_eq!(
        refused.replace(&other.registry(), "OTHER"),
        "registry_unauthorized: OTHER (redirect of HOST) wants a login for a:1, and there is none"
    );
    assert!(other.asked().iter().all(|asked| asked.authorization.is_none()));
}

/// An attacker removes TLS: images without a login can still be read, but the login is not sent,
/// and the Engine does not get it either. This is remembered over a restart.
#[tokio::test]
async fn no_login_goes_unencrypted_to_a_host_that_once_spoke_tls() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let content = image.manifest.clone();
    let stripped = Scripted::start(move |asked| match asked.path() {
        path if path.contains("/open/") => manifest(OCI_MANIFEST, &content),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    })
    .await;
    let host = stripped.registry();
    log_in(directory.path(), &[(&host, r#"{"auth":"dTpw"}"#)]);
    let allowed = HostSettings { plain_http: true, ..HostSettings::default() };
    let restarted = client(&settings_for(directory.path(), &host, allowed));
    restarted.remember_tls(std::slice::from_ref(&host));
    assert_eq!(restarted.head(&reference(&host, "open:1")).await, Ok(image.digest()));
    let refused = error_text(restarted.head(&reference(&host, "guarded:1")).await, &host);
    let expected = "registry_unauthorized: HOST spoke TLS before and does not now";
    assert!(refused.starts_with(expected), "{refused}");
    assert!(restarted.credentials(&host).await.expect("no failure").is_none());
    assert!(stripped.asked().iter().all(|asked| asked.authorization.is_none()));
    // A host that never spoke TLS gets its login, as with Docker.
    let fresh = client(&settings(directory.path()));
    assert!(fresh.head(&reference(&host, "guarded:1")).await.is_err());
    assert!(stripped.asked().iter().any(|asked| asked.authorization.is_some()));
    assert!(fresh.credentials(&host).await.expect("no failure").is_some());
}

#[tokio::test]
async fn a_host_that_speaks_tls_is_remembered_whether_it_is_trusted_or_not() {
    let directory = tempdir().expect("a directory");
    let authority = Authority::new("shop");
    let files = authority.issue(directory.path(), "server", Flaw::None);
    let real = Real::start(directory.path(), &Setup { tls: Some(&files), ..Setup::default() });
    let client = client(&settings(directory.path()));
    assert!(client.head(&reference(&real.registry, "a:1")).await.is_err());
    assert_eq!(client.tls_hosts(), std::slice::from_ref(&real.registry));
}

/// `insecure-registries` of the Engine, as Docker uses it: certificates are not checked, and plain
/// HTTP is used if there is no TLS. The loopback network is always one of them.
#[tokio::test]
async fn insecure_registries_of_the_engine_are_used() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("till", "linux/arm64");
    let plain = Real::plain(directory.path());
    plain.push_image("shop/till", &image).await;
    plain.push_manifest("shop/till", "v1", OCI_MANIFEST, &image.manifest).await;
    let files = Authority::new("unknown").issue(directory.path(), "server", Flaw::OtherName);
    let tls = Real::start(directory.path(), &Setup { tls: Some(&files), ..Setup::default() });
    // `0.0.0.0` leads to this machine and is no loopback address, so it needs the network in the
    // list.
    let registries = [plain, tls].map(|real| (real.registry.replace("127.0.0.1", "0.0.0.0"), real));
    let by_name = EngineRegistries {
        insecure_hosts: registries.iter().map(|(host, _)| host.clone()).collect(),
        ..EngineRegistries::default()
    };
    let network = "0.0.0.0/8".parse().expect("a network");
    let by_network =
        EngineRegistries { insecure_networks: vec![network], ..EngineRegistries::default() };
    for engine in [by_name, by_network] {
        let client = client(&settings(directory.path()));
        for (host, _) in &registries {
            let reference = reference(host, "shop/till:v1");
            assert!(client.head(&reference).await.is_err(), "nothing is known of the Engine yet");
        }
        client.follow_engine(&engine);
        for (host, _) in &registries {
            let reference = reference(host, "shop/till:v1");
            assert_eq!(client.head(&reference).await, Ok(image.digest()), "{host}");
        }
    }
    // A host name that leads into an insecure network counts as well.
    let (_, tls) = &registries[1];
    let named = tls.registry.replace("127.0.0.1", "localhost");
    let client = client(&settings(directory.path()));
    let networks = ["127.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
    let insecure_networks = networks.to_vec();
    client.follow_engine(&EngineRegistries { insecure_networks, ..EngineRegistries::default() });
    let reference = reference(&named, "shop/till:v1");
    assert_eq!(client.head(&reference).await, Ok(image.digest()));
}
