//! Malformed documents, each served under its own digest.

use pilotfish::core::docker::manifest::OCI_INDEX;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::Digest;
use pilotfish::registry::Registry as _;
use tempfile::tempdir;

use crate::images::{Image, descriptor, index, index_of};
use crate::scripted::{RecordedRequest, Reply, Scripted, manifest, reply};
use crate::support::{client, error_text, platform, reference, settings};

/// A manifest without layers for this configuration.
fn bare_manifest(config: &[u8]) -> Vec<u8> {
    let config = descriptor("application/vnd.oci.image.config.v1+json", config, None);
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#).into_bytes()
}

/// Serves every document under its digest, and one document under a wrong digest.
fn serve(asked: &RecordedRequest, documents: &[Vec<u8>], forged: &Digest) -> Reply {
    let wanted = asked.image().1;
    let found = documents.iter().find(|content| Digest::of(content).as_str() == wanted);
    match found {
        Some(content) if asked.path().contains("/manifests/") => manifest(OCI_MANIFEST, content),
        Some(content) => reply(200, &[], content.clone()),
        None if wanted == forged.as_str() => manifest(OCI_MANIFEST, b"something else"),
        None => reply(404, &[], ""),
    }
}

/// Requests each digest of a table and compares the errors.
async fn check(documents: Vec<Vec<u8>>, forged: Digest, table: &[(Digest, String)]) {
    let directory = tempdir().expect("a directory");
    let server = Scripted::start(move |asked| serve(asked, &documents, &forged)).await;
    let host = server.registry();
    let client = client(&settings(directory.path()));
    for (digest, expected) in table {
        let reference = reference(&host, "a:1");
        let result = client.resolve(&reference, digest, &platform("linux/arm64")).await;
        assert_eq!(&error_text(result, &host), expected);
    }
}

fn useless(content: &[u8], why: &str) -> String {
    let digest = Digest::of(content);
    format!("registry_error: the answer of HOST for a@{digest} is unusable: {why}")
}

#[tokio::test]
async fn a_malformed_document_has_a_reason() {
    let good = Image::new("x", "linux/arm64");
    let forged = Digest::of(b"never served");
    let (layerless, chart) = (bare_manifest(&good.config), bare_manifest(b"{}"));
    let page = b"<html>".to_vec();
    let table = [
        (forged.clone(), format!("registry_error: HOST sent something other than a@{forged}")),
        (
            Digest::of(&page),
            useless(&page, "it is not JSON of the expected shape (line 1, column 1)"),
        ),
        (
            Digest::of(&layerless),
            useless(&good.config, "the manifest has 0 layers and its configuration 1"),
        ),
        (
            Digest::of(&chart),
            useless(b"{}", "its configuration names no platform, so it is no container image"),
        ),
        (good.digest(), "ok".to_owned()),
    ];
    let documents =
        vec![good.config.clone(), good.manifest.clone(), layerless, chart, b"{}".to_vec(), page];
    check(documents, forged, &table).await;
}

#[tokio::test]
async fn an_index_without_the_platform_lists_its_platforms() {
    // An index that declares an amd64 image as arm64.
    let misnamed = Image { platform: "linux/arm64".into(), ..Image::new("x", "linux/amd64") };
    let liar = index(OCI_INDEX, &[&misnamed]);
    let empty = index_of(OCI_INDEX, &[]);
    let missing =
        |why: &str| format!("platform_missing: HOST/a:1 has no image for linux/arm64{why}");
    let table = [
        (Digest::of(&liar), missing(": the index entry for it is for linux/amd64")),
        (Digest::of(&empty), missing("; it has nothing")),
        (misnamed.digest(), missing("; it has linux/amd64")),
    ];
    let documents = vec![misnamed.manifest, misnamed.config, liar, empty];
    check(documents, Digest::of(b"never served"), &table).await;
}
