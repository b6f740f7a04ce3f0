//! Copies to Debian's `docker-registry`, and what it really does.

use std::fs;
use std::path::Path;

use pilotfish::core::docker::manifest::{OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::mirror::manifest_tree::{BlobDescriptor, RawManifest};
use pilotfish::core::mirror::refusal::CopyError;
use pilotfish::core::mirror::rule::RepositoryName;
use pilotfish::registry::transfer::{Flow, Transfer, UploadStart};
use pilotfish::registry::{HostSettings, HttpRegistry};
use tempfile::tempdir;

use crate::certificates::{Authority, Flaw};
use crate::images::{Image, index};
use crate::real::{Real, Setup};
use crate::support::{client, settings};
use crate::transfer_peer::{Fault, Peer, content, descriptor};

pub fn at(registry: &str, repository: &str) -> RepositoryName {
    RepositoryName { registry: registry.to_owned(), repository: repository.to_owned() }
}

/// Begins an upload without a mount and streams a blob into it.
pub async fn copy(
    client: &HttpRegistry,
    from: &RepositoryName,
    to: &RepositoryName,
    blob: &BlobDescriptor,
) -> Result<(), CopyError> {
    match client.begin_upload(to, blob, None).await? {
        UploadStart::Mounted => panic!("nothing was to be mounted"),
        UploadStart::Open(upload) => {
            client.send_blob(from, to, upload, blob, &Flow::default()).await
        }
    }
}

fn raw(media_type: &str, bytes: &[u8]) -> RawManifest {
    let (digest, media_type) = (Digest::of(bytes), media_type.to_owned());
    RawManifest { digest, media_type, bytes: bytes.to_vec().into() }
}

/// `word: sentence`, with the host replaced by HOST.
pub fn error_text<T>(result: Result<T, CopyError>, registry: &str) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {error}", error.word()).replace(registry, "HOST"),
    }
}

/// Where `docker-registry` keeps the bytes of a blob.
pub fn stored(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    let hex = digest.hex();
    directory.join("storage/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

#[tokio::test]
async fn an_image_is_copied_byte_by_byte() {
    let (here, there) = (tempdir().expect("a directory"), tempdir().expect("a directory"));
    let source = Real::plain(here.path());
    let delete = Setup { storage: "  delete:\n    enabled: true\n", ..Setup::default() };
    let target = Real::start(there.path(), &delete);
    let (arm, arm64) = (Image::new("x", "linux/arm/v7"), Image::new("x", "linux/arm64/v8"));
    source.push_image("shop/till", &arm).await;
    source.push_image("shop/till", &arm64).await;
    let document = index(OCI_INDEX, &[&arm, &arm64]);
    let digest = source.push_manifest("shop/till", "v1", OCI_INDEX, &document).await;
    let client = client(&settings(here.path()));
    let (from, to) = (at(&source.registry, "shop/till"), at(&target.registry, "copy/till"));
    assert_eq!(client.digest_of(&from, "v1").await, Ok(Some(digest.clone())));
    assert_eq!(client.digest_of(&to, "v1").await, Ok(None));
    assert_eq!(client.tags(&to).await, Ok(Vec::new()));
    assert_eq!(client.referrers(&from, &digest).await, Ok(None));
    let fetched = client.manifest(&from, &digest).await.expect("the index");
    assert_eq!(fetched, raw(OCI_INDEX, &document));
    let sparse = client.put_manifest(&to, Some("v1"), &fetched).await;
    let expected =
        "target_lies: HOST answered 400 (MANIFEST_BLOB_UNKNOWN) when asked for copy/till:v1";
    assert_eq!(error_text(sparse, &target.registry), expected);
    for image in [&arm, &arm64] {
        for blob in [descriptor(&image.layer), descriptor(&image.config)] {
            assert_eq!(client.has_blob(&to, &blob).await, Ok(false));
            copy(&client, &from, &to, &blob).await.expect("a copy");
            assert_eq!(client.has_blob(&to, &blob).await, Ok(true));
        }
        let stored = client.put_manifest(&to, None, &raw(OCI_MANIFEST, &image.manifest)).await;
        assert!(!stored.expect("stored").has_referrers_api, "distribution 2.8 has none");
    }
    client.put_manifest(&to, Some("v1"), &fetched).await.expect("the tag");
    assert_eq!(client.digest_of(&to, "v1").await, Ok(Some(digest.clone())));
    assert_eq!(client.manifest(&to, &digest).await, Ok(fetched));
    assert_eq!(client.tags(&to).await, Ok(vec!["v1".to_owned()]));
    client.delete(&to, &digest).await.expect("deleted");
    client.delete(&to, &digest).await.expect("deleted before");
    assert_eq!(client.digest_of(&to, "v1").await, Ok(None));
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let directory = tempdir().expect("a directory");
    let real = Real::plain(directory.path());
    let image = Image::new("x", "linux/arm64");
    real.push_image("shop/till", &image).await;
    let client = client(&settings(directory.path()));
    let (from, to) = (at(&real.registry, "shop/till"), at(&real.registry, "shop/other"));
    let blob = descriptor(&image.layer);
    let mounted = client.begin_upload(&to, &blob, Some("shop/till")).await;
    assert_eq!(mounted, Ok(UploadStart::Mounted));
    assert_eq!(client.has_blob(&to, &blob).await, Ok(true));
    // Nothing to mount: the registry has begun an upload, and it is used.
    let blob = descriptor(&image.config);
    let open = client.begin_upload(&to, &blob, Some("shop/nothing")).await.expect("an upload");
    let UploadStart::Open(upload) = open else { panic!("mounted from nowhere") };
    client.send_blob(&from, &to, upload, &blob, &Flow::default()).await.expect("a copy");
    assert_eq!(client.has_blob(&to, &blob).await, Ok(true));
}

#[tokio::test]
async fn a_registry_that_vouches_for_a_lost_blob_is_not_believed() {
    let directory = tempdir().expect("a directory");
    let cache = "  cache:\n    blobdescriptor: inmemory\n";
    let real = Real::start(directory.path(), &Setup { storage: cache, ..Setup::default() });
    let peer = Peer::start(content(100_000), Fault::None).await;
    let client = client(&settings(directory.path()));
    let (from, to) = (at(&peer.registry, "a"), at(&real.registry, "a"));
    copy(&client, &from, &to, &peer.blob).await.expect("a copy");
    fs::remove_file(stored(directory.path(), &peer.blob.digest)).expect("the stored bytes");
    let url = format!("http://{}/v2/a/blobs/{}", real.registry, peer.blob.digest);
    let head = crate::real::http().head(url).send().await.expect("an answer");
    assert_eq!(head.status(), 200, "the registry says that it has the blob");
    assert_eq!(client.has_blob(&to, &peer.blob).await, Ok(false));
    copy(&client, &from, &to, &peer.blob).await.expect("uploading again heals it");
    assert_eq!(client.has_blob(&to, &peer.blob).await, Ok(true));
    let empty = descriptor(b"");
    assert_eq!(client.has_blob(&to, &empty).await, Ok(false));
}

#[tokio::test]
async fn a_registry_that_takes_no_pushes_is_named() {
    let directory = tempdir().expect("a directory");
    let readonly = "  maintenance:\n    readonly:\n      enabled: true\n";
    let real = Real::start(directory.path(), &Setup { storage: readonly, ..Setup::default() });
    let client = client(&settings(directory.path()));
    let to = at(&real.registry, "a");
    let refused = client.begin_upload(&to, &descriptor(b"x"), None).await;
    let expected = "target_readonly: HOST answered 405 when asked for an upload to a";
    assert_eq!(error_text(refused, &real.registry), expected);
    let refused = client.delete(&to, &Digest::of(b"x")).await;
    assert!(error_text(refused, &real.registry).starts_with("target_readonly: "));
}

#[tokio::test]
async fn both_sides_may_have_a_private_authority_and_want_a_certificate() {
    let directory = tempdir().expect("a directory");
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let authority = directory.path().join("clients.crt");
    clients.write(&authority);
    let files = servers.issue(directory.path(), "server", Flaw::None);
    let (tls, client_authority) = (Some(&files), Some(authority.as_path()));
    let setup = || Setup { tls, client_authority, ..Setup::default() };
    let image = Image::new("x", "linux/arm64");
    Real::plain(&directory.path().join("source")).push_image("shop/till", &image).await;
    let source = Real::start(&directory.path().join("source"), &setup());
    let target = Real::start(&directory.path().join("target"), &setup());
    let mut settings = settings(directory.path());
    for registry in [&source.registry, &target.registry] {
        let trusted = settings.certs_dir.join(registry);
        clients.issue(&trusted, "client", Flaw::None);
        servers.write(&trusted.join("ca.crt"));
        settings.hosts.insert(registry.clone(), HostSettings::default());
    }
    let client = client(&settings);
    let (from, to) = (at(&source.registry, "shop/till"), at(&target.registry, "shop/till"));
    let blob = descriptor(&image.layer);
    copy(&client, &from, &to, &blob).await.expect("a copy over TLS");
    assert_eq!(client.has_blob(&to, &blob).await, Ok(true));
}
