//! Certificates and plain HTTP, against a real registry.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pilotfish::core::docker::manifest::{DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use pilotfish::registry::{HostSettings, Registry as _};
use tempfile::tempdir;

use crate::certificates::{Authority, Files, Flaw};
use crate::images::{Image, descriptor, index, index_of};
use crate::real::{Real, Setup};
use crate::support::{
    Observed, client, client_with_observer, error_text, platform, reference, settings, settings_for,
};

/// Stores one image as `shop/till:v1`, and starts a registry with TLS over it.
async fn with_tls(directory: &Path, setup: &Setup<'_>) -> (Real, Digest) {
    let image = Image::new("till", "linux/arm64");
    let plain = Real::plain(directory);
    plain.push_image("shop/till", &image).await;
    let digest = plain.push_manifest("shop/till", "v1", OCI_MANIFEST, &image.manifest).await;
    (Real::start(directory, setup), digest)
}

fn tls(files: &Files) -> Setup<'_> {
    Setup { tls: Some(files), ..Setup::default() }
}

#[tokio::test]
async fn a_plain_registry_on_loopback_is_asked_once_per_tag() {
    let directory = tempdir().expect("a directory");
    let real = Real::plain(directory.path());
    let (arm, arm64) = (Image::new("x", "linux/arm/v7"), Image::new("x", "linux/arm64/v8"));
    real.push_image("shop/till", &arm).await;
    real.push_image("shop/till", &arm64).await;
    let digest =
        real.push_manifest("shop/till", "v1", OCI_INDEX, &index(OCI_INDEX, &[&arm, &arm64])).await;
    let observed = Arc::new(Observed::default());
    let client = client_with_observer(&settings(directory.path()), observed.clone());
    let reference = reference(&real.registry, "shop/till:v1");
    assert_eq!(client.head(&reference).await.as_ref(), Ok(&digest));
    assert_eq!(client.head(&reference).await.as_ref(), Ok(&digest));
    assert_eq!(observed.codes(), ["200", "200"]);
    let offer = client.resolve(&reference, &digest, &platform("linux/arm64")).await;
    let offer = offer.expect("an offer");
    assert_eq!((&offer.index, &offer.manifest), (&digest, &arm64.digest()));
    assert_eq!(offer.config, Digest::of(&arm64.config));
    assert_eq!(offer.layers[0].size, arm64.layer.len() as u64);
    assert_eq!(offer.diff_ids, [Digest::of(&arm64.layer)]);
    let missing = client.resolve(&reference, &digest, &platform("linux/riscv64")).await;
    assert_eq!(
        error_text(missing, &real.registry),
        "platform_missing: HOST/shop/till:v1 has no image for linux/riscv64; \
         it has linux/arm/v7, linux/arm64/v8"
    );
}

#[tokio::test]
async fn docker_indexes_single_manifests_and_nested_indexes_resolve() {
    let directory = tempdir().expect("a directory");
    let real = Real::plain(directory.path());
    let image = Image::docker("x", "linux/arm/v6");
    real.push_image("a/b", &image).await;
    let docker = index(DOCKER_INDEX, &[&image]);
    let docker_digest = real.push_manifest("a/b", "docker", DOCKER_INDEX, &docker).await;
    let inner = index_of(OCI_INDEX, &[descriptor(image.media_type, &image.manifest, None)]);
    real.push_manifest("a/b", "inner", OCI_INDEX, &inner).await;
    let outer = index_of(OCI_INDEX, &[descriptor(OCI_INDEX, &inner, None)]);
    let outer_digest = real.push_manifest("a/b", "outer", OCI_INDEX, &outer).await;
    let client = client(&settings(directory.path()));
    let reference = reference(&real.registry, "a/b:x");
    for digest in [docker_digest, outer_digest, image.digest()] {
        let offer = client.resolve(&reference, &digest, &platform("linux/arm/v7")).await;
        let offer = offer.expect("an offer");
        assert_eq!((offer.index, offer.manifest), (digest, image.digest()));
        assert_eq!(offer.platform, platform("linux/arm/v6"));
    }
    let wrong = client.resolve(&reference, &image.digest(), &platform("linux/arm64")).await;
    assert_eq!(
        error_text(wrong, &real.registry),
        "platform_missing: HOST/a/b:x has no image for linux/arm64; it has linux/arm/v6"
    );
    let absent = client.head(&reference).await;
    assert_eq!(
        error_text(absent, &real.registry),
        "not_found: HOST answered 404 (MANIFEST_UNKNOWN) when asked for a/b:x"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_says_why() {
    let authority = Authority::new("shop");
    for (flaw, problem) in [
        (Flaw::Expired, "has expired"),
        (Flaw::NotYet, "is not valid yet; is this machine's clock right?"),
        (Flaw::OtherName, "is for another name"),
    ] {
        let directory = tempdir().expect("a directory");
        let files = authority.issue(directory.path(), "server", flaw);
        let (real, _) = with_tls(directory.path(), &tls(&files)).await;
        let certs = directory.path().join("certs.d").join(&real.registry);
        authority.write(&certs.join("ca.crt"));
        let observed = Arc::new(Observed::default());
        let client = client_with_observer(&settings(directory.path()), observed.clone());
        let reference = reference(&real.registry, "shop/till:v1");
        for _ in 0..2 {
            let expected = format!("registry_certificate: the certificate of HOST {problem}");
            assert_eq!(error_text(client.head(&reference).await, &real.registry), expected);
        }
        // It is on loopback, and still nothing was tried without TLS.
        assert_eq!(observed.codes(), ["error", "error"]);
    }
}

/// Docker accepts a certificate that is in `certs.d` itself, from any issuer. Neither Docker nor
/// Pilotfish accepts a name that is only the common name.
#[tokio::test]
async fn a_certificate_in_certs_d_itself_is_accepted() {
    let issued =
        |directory: &Path| Authority::new("unknown").issue(directory, "server", Flaw::None);
    let late =
        |directory: &Path| Authority::new("unknown").issue(directory, "server", Flaw::Expired);
    let own = |host: Option<&'static str>, is_authority: bool| {
        move |directory: &Path| Authority::self_signed(directory, host, is_authority)
    };
    let here = Some("127.0.0.1");
    type Make = Box<dyn Fn(&Path) -> Files>;
    let table: [(&str, Make, &str); 7] = [
        ("CA:TRUE", Box::new(own(here, true)), "ok"),
        ("CA:FALSE", Box::new(own(here, false)), "ok"),
        ("issued", Box::new(issued), "ok"),
        ("other name", Box::new(own(Some("elsewhere"), true)), "is for another name"),
        ("common name", Box::new(own(None, true)), "subjectAltName=DNS:HOST)"),
        ("common name, no CA", Box::new(own(None, false)), "subjectAltName=DNS:HOST)"),
        ("expired", Box::new(late), "has expired"),
    ];
    for (what, make, expected) in table {
        let directory = tempdir().expect("a directory");
        let files = make(directory.path());
        let (real, _) = with_tls(directory.path(), &tls(&files)).await;
        let certs = directory.path().join("certs.d").join(&real.registry);
        let reference = reference(&real.registry, "shop/till:v1");
        let client = client(&settings(directory.path()));
        let untrusted = error_text(client.head(&reference).await, &real.registry);
        assert!(untrusted.starts_with("registry_certificate: "), "{what}: {untrusted}");
        fs::create_dir_all(&certs).expect("a directory");
        fs::copy(&files.certificate, certs.join("ca.crt")).expect("a file");
        // One damaged file does not affect the others.
        fs::write(certs.join("0.crt"), "rubbish").expect("a file");
        let output = error_text(client.head(&reference).await, &real.registry);
        let output = output.split("; ").next().unwrap_or_default();
        assert!(output.ends_with(expected), "{what}: {output}");
    }
}

#[tokio::test]
async fn a_certificate_that_declares_itself_an_authority_is_accepted_from_its_issuer() {
    let (authority, other) = (Authority::new("shop"), Authority::new("shop"));
    let directory = tempdir().expect("a directory");
    let files = authority.issue(directory.path(), "server", Flaw::IsAuthority);
    let (real, digest) = with_tls(directory.path(), &tls(&files)).await;
    let ca = directory.path().join("certs.d").join(&real.registry).join("ca.crt");
    let client = client(&settings(directory.path()));
    let reference = reference(&real.registry, "shop/till:v1");
    other.write(&ca);
    let refused = error_text(client.head(&reference).await, &real.registry);
    let expected = "registry_certificate: the certificate of HOST is that of an authority";
    assert!(refused.starts_with(expected), "{refused}");
    authority.write(&ca);
    assert_eq!(client.head(&reference).await, Ok(digest));
}

#[tokio::test]
async fn a_repaired_authority_file_is_read_again() {
    let directory = tempdir().expect("a directory");
    let authority = Authority::new("shop");
    let files = authority.issue(directory.path(), "server", Flaw::None);
    let (real, digest) = with_tls(directory.path(), &tls(&files)).await;
    let client = client(&settings(directory.path()));
    let reference = reference(&real.registry, "shop/till:v1");
    let unknown =
        "registry_certificate: the certificate of HOST was issued by an unknown authority";
    assert_eq!(error_text(client.head(&reference).await, &real.registry), unknown);
    let path = directory.path().join("certs.d").join(&real.registry).join("ca.crt");
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(&path, "rubbish").expect("a file");
    let rubbish = error_text(client.head(&reference).await, &real.registry);
    assert!(rubbish.starts_with(unknown), "{rubbish}");
    assert!(rubbish.contains("holds no certificate"), "{rubbish}");
    authority.write(&path);
    assert_eq!(client.head(&reference).await, Ok(digest));
}

#[tokio::test]
async fn a_ca_file_is_used_for_its_host() {
    let directory = tempdir().expect("a directory");
    let authority = Authority::new("shop");
    let files = authority.issue(directory.path(), "server", Flaw::None);
    let (real, digest) = with_tls(directory.path(), &tls(&files)).await;
    let ca_file = directory.path().join("our-ca.pem");
    authority.write(&ca_file);
    let host = HostSettings { ca_file: Some(ca_file.clone()), ..HostSettings::default() };
    let reference = reference(&real.registry, "shop/till:v1");
    let ours = client(&settings_for(directory.path(), &real.registry, host.clone()));
    assert_eq!(ours.head(&reference).await, Ok(digest));
    let others = client(&settings_for(directory.path(), "registry:443", host));
    let output = error_text(others.head(&reference).await, &real.registry);
    assert!(output.ends_with("was issued by an unknown authority"), "{output}");
}

#[tokio::test]
async fn a_registry_that_requires_a_client_certificate_gets_it() {
    let directory = tempdir().expect("a directory");
    let authority = Authority::new("shop");
    let files = authority.issue(directory.path(), "server", Flaw::None);
    let ca = directory.path().join("clients.crt");
    authority.write(&ca);
    let setup = Setup { client_authority: Some(&ca), ..tls(&files) };
    let (real, digest) = with_tls(directory.path(), &setup).await;
    let certs = directory.path().join("certs.d").join(&real.registry);
    authority.write(&certs.join("ca.crt"));
    let client = client(&settings(directory.path()));
    let reference = reference(&real.registry, "shop/till:v1");
    let refused = error_text(client.head(&reference).await, &real.registry);
    assert!(
        refused.starts_with("registry_certificate: HOST refuses our client certificate ("),
        "{refused}"
    );
    authority.issue(&certs, "client", Flaw::None);
    assert_eq!(client.head(&reference).await, Ok(digest));
    fs::remove_file(certs.join("client.key")).expect("a file");
    let fresh = crate::support::client(&settings(directory.path()));
    let half = error_text(fresh.head(&reference).await, &real.registry);
    assert!(half.ends_with("client.key is missing"), "{half}");
}

/// `0.0.0.0` leads to this machine and is no loopback address, so it needs the permission.
#[tokio::test]
async fn plain_http_beyond_loopback_needs_permission() {
    let directory = tempdir().expect("a directory");
    let real = Real::plain(directory.path());
    let image = Image::new("x", "linux/arm64");
    real.push_image("a/b", &image).await;
    let digest = real.push_manifest("a/b", "v1", OCI_MANIFEST, &image.manifest).await;
    let address = real.registry.replace("127.0.0.1", "0.0.0.0");
    let reference = reference(&address, "a/b:v1");
    let refused = client(&settings(directory.path())).head(&reference).await;
    assert_eq!(
        error_text(refused, &address),
        "registry_error: HOST does not speak TLS; if this is intended, set plain_http = true for it"
    );
    let host = HostSettings { plain_http: true, ..HostSettings::default() };
    let allowed = client(&settings_for(directory.path(), &address, host));
    assert_eq!(allowed.head(&reference).await, Ok(digest));
}

#[tokio::test]
async fn plain_http_is_never_used_for_a_host_that_speaks_tls() {
    let directory = tempdir().expect("a directory");
    let authority = Authority::new("shop");
    let files = authority.issue(directory.path(), "server", Flaw::None);
    let (real, _) = with_tls(directory.path(), &tls(&files)).await;
    let host = HostSettings { plain_http: true, ..HostSettings::default() };
    let observed = Arc::new(Observed::default());
    let settings = settings_for(directory.path(), &real.registry, host);
    let client = client_with_observer(&settings, observed.clone());
    let reference = reference(&real.registry, "shop/till:v1");
    let output = error_text(client.head(&reference).await, &real.registry);
    assert!(output.ends_with("was issued by an unknown authority"), "{output}");
    assert_eq!(observed.codes(), ["error"]);
}

#[tokio::test]
async fn a_missing_registry_is_unreachable() {
    let directory = tempdir().expect("a directory");
    let real = Real::plain(directory.path());
    let registry = real.registry.clone();
    drop(real);
    let client = client(&settings(directory.path()));
    let output = error_text(client.head(&reference(&registry, "a/b:v1")).await, &registry);
    assert!(output.starts_with("registry_unreachable: HOST cannot be reached: "), "{output}");
}
