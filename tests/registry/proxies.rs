//! Registries behind a proxy: the agent goes the way that the Engine's pull goes.

use pilotfish::core::docker::engine_registries::{EngineRegistries, Proxies};
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::registry::{HostSettings, HttpRegistry, Registry as _};
use tempfile::tempdir;

use crate::images::Image;
use crate::scripted::{Scripted, manifest, reply};
use crate::support::{client, reference, settings, settings_for, told};

/// A name that no resolver knows (RFC 2606): only a proxy can reach it.
const REGISTRY: &str = "registry.test";

fn follow(client: &HttpRegistry, proxies: Proxies) {
    client.follow_engine(&EngineRegistries { proxies, ..EngineRegistries::default() });
}

#[tokio::test]
async fn a_registry_is_asked_through_the_engines_proxy_and_around_it() {
    let directory = tempdir().expect("a directory");
    let image = Image::new("x", "linux/arm64");
    let content = image.manifest.clone();
    let proxy = Scripted::start(move |_| manifest(OCI_MANIFEST, &content)).await;
    let plain = HostSettings { plain_http: true, ..HostSettings::default() };
    let client = client(&settings_for(directory.path(), REGISTRY, plain));
    // The Engine hides the password of its proxy; the agent goes there without one.
    let http = format!("http://user:xxxxx@{}", proxy.registry());
    follow(&client, Proxies { http: http.clone(), ..Proxies::default() });

    let digest = client.head(&reference(REGISTRY, "a:1")).await.expect("an answer");

    assert_eq!(digest, image.digest());
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].host.as_deref()), ("HEAD", Some(REGISTRY)));
    // What the Engine asks without its proxy, the agent asks without it.
    follow(&client, Proxies { http, no_proxy: ".test".into(), ..Proxies::default() });
    let told = told(client.head(&reference(REGISTRY, "a:1")).await, REGISTRY);
    assert!(told.starts_with("registry_unreachable"), "{told}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_registry_with_tls_is_reached_by_a_tunnel_and_nothing_else_is_told_to_the_proxy() {
    let directory = tempdir().expect("a directory");
    let proxy = Scripted::start(|_| reply(502, &[], "")).await;
    let client = client(&settings(directory.path()));
    let https = format!("http://{}", proxy.registry());
    follow(&client, Proxies { https, ..Proxies::default() });

    let told = told(client.head(&reference(REGISTRY, "a:1")).await, REGISTRY);

    assert!(told.starts_with("registry_unreachable"), "{told}");
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|it| it.method == "CONNECT" && it.authorization.is_none()),
        "{asked:?}"
    );
}
