//! Mirrors: they are asked first, never get the registry's login, and may fail.

use std::fs;

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::registry::{HostSettings, Registry as _};
use tempfile::tempdir;

use crate::images::Image;
use crate::scripted::{Scripted, manifest, reply};
use crate::support::{client, error_text, reference, settings_for};

#[tokio::test]
async fn a_mirror_is_asked_first_and_without_the_registrys_login() {
    let directory = tempdir().expect("a directory");
    let (old, new) = (Image::new("old", "linux/arm64"), Image::new("new", "linux/arm64"));
    let (mirrored, own) = (old.clone(), new.clone());
    let mirror = Scripted::start(move |asked| match asked.image() {
        ("both", _) => manifest(OCI_MANIFEST, &mirrored.manifest),
        ("guarded", _) => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        ("broken", _) => reply(500, &[], ""),
        _ => reply(404, &[], ""),
    })
    .await;
    let registry = Scripted::start(move |asked| match asked.image() {
        ("nowhere", _) => reply(404, &[], ""),
        _ if asked.authorization.is_none() => {
            reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")
        }
        _ => manifest(OCI_MANIFEST, &own.manifest),
    })
    .await;
    let host = registry.registry();
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#);
    fs::write(directory.path().join("config.json"), config).expect("a file");
    let mirrors = vec![format!("http://{}", mirror.registry())];
    let settings =
        settings_for(directory.path(), &host, HostSettings { mirrors, ..HostSettings::default() });
    let client = client(&settings);
    assert_eq!(client.head(&reference(&host, "both:1")).await, Ok(old.digest()));
    assert_eq!(registry.asked(), []);
    for image in ["only-here", "guarded", "broken"] {
        assert_eq!(client.head(&reference(&host, image)).await, Ok(new.digest()), "{image}");
    }
    assert_eq!(
        error_text(client.head(&reference(&host, "nowhere:1")).await, &host),
        "not_found: HOST answered 404 when asked for nowhere:1"
    );
    assert!(mirror.asked().iter().all(|asked| asked.authorization.is_none()));
    assert_eq!(
        mirror.asked().len(),
        6,
        "a mirror that fails is asked by GET as well, one that lacks an image is not"
    );
}
