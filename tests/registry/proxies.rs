//! Registries behind a proxy: the agent uses the same way as the Engine's pull.

use pilotfish::core::docker::engine_registries::{EngineRegistries, Proxies};
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::registry::{HostSettings, HttpRegistry, Registry as _};
use tempfile::tempdir;

use crate::images::Image;
use crate::scripted::{Scripted, manifest, reply};
use crate::support::{client, error_text, reference, settings, settings_for};

/// A name that no resolver knows (RFC 2606), so only a proxy can reach it.
const REGISTRY: &str = "registry.test";

fn follow(client: &HttpRegistry, proxies: Proxies) {
    client.follow_engine(&EngineRegistries { proxies, ..EngineRegistries::default() });
}

#[tokio::test]
async fn a_registry_is_asked_through_the_engines_proxy_or_directly_by_no_proxy() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let content = image.manifest.clone();
    let proxy = Scripted::start(move |_| manifest(OCI_MANIFEST, &content)).await;
    let plain = HostSettings { plain_http: true, ..HostSettings::default() };
    let client = client(&settings_for(directory.path(), REGISTRY, plain));
    // The Engine hides the password of its proxy, so the agent uses the proxy without one.
    let http = format!("http://user:xxxxx@{}", proxy.registry());
    follow(&client, Proxies { http: http.clone(), ..Proxies::default() });

    let digest = client.head(&reference(REGISTRY, "a:1")).await.expect("an answer");

    assert_eq!(digest, image.digest());
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].host.as_deref()), ("HEAD", Some(REGISTRY)));
    // For hosts that the Engine contacts without its proxy, the agent uses none either.
    follow(&client, Proxies { http, no_proxy: ".test".into(), ..Proxies::default() });
    let error = error_text(client.head(&reference(REGISTRY, "a:1")).await, REGISTRY);
    assert!(error.starts_with("registry_unreachable"), "{error}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_registry_with_tls_is_reached_by_a_tunnel_and_the_proxy_learns_only_the_host() {
    let directory = tempdir().expect("a directory");
    let proxy = Scripted::start(|_| reply(502, &[], "")).await;
    let client = client(&settings(directory.path()));
    let https = format!("http://{}", proxy.registry());
    follow(&client, Proxies { https, ..Proxies::default() });

    let error = error_text(client.head(&reference(REGISTRY, "a:1")).await, REGISTRY);

    assert!(error.starts_with("registry_unreachable"), "{error}");
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|it| it.method == "CONNECT" && it.authorization.is_none()),
        "{asked:?}"
    );
}
