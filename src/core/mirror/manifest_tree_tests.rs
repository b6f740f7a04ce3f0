//! Trees of manifests, and what is refused in them.

use serde_json::{Value, json};

use super::*;

/// A document and its raw form.
pub(crate) fn raw(media_type: &str, json: &Value) -> RawManifest {
    let bytes = Bytes::from(json.to_string());
    RawManifest { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }
}

fn blob(content: &str) -> Value {
    let digest = Digest::of(content.as_bytes()).to_string();
    json!({ "mediaType": "application/octet-stream", "digest": digest, "size": content.len() })
}

/// An image with the layers of these contents and a configuration.
pub(crate) fn image(name: &str, layers: &[&str]) -> RawManifest {
    let layers: Vec<_> = layers.iter().map(|layer| blob(layer)).collect();
    let config = blob(&format!("config of {name}"));
    let json = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
    });
    raw(OCI_MANIFEST, &json)
}

/// An entry of an index; `more` are further fields.
pub(crate) fn entry(manifest: &RawManifest, more: &Value) -> Value {
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest.as_str(),
        "size": manifest.bytes.len(),
    });
    if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
        entry.extend(more.clone());
    }
    entry
}

pub(crate) fn for_platform(manifest: &RawManifest, platform: &str) -> Value {
    let parts: Vec<_> = platform.split('/').collect();
    let mut named = json!({ "os": parts[0], "architecture": parts[1] });
    if let Some(variant) = parts.get(2) {
        named["variant"] = (*variant).into();
    }
    entry(manifest, &json!({ "platform": named }))
}

pub(crate) fn index(entries: &[Value]) -> RawManifest {
    let json = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    raw(OCI_INDEX, &json)
}

/// The tree below the first document, whose children are among the others.
pub(crate) fn tree(documents: &[&RawManifest], wanted: &[&str]) -> Result<ManifestTree, CopyError> {
    let platform = |text: &&str| {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Platform { os: next(), architecture: next(), variant: next() }
    };
    let wanted: Vec<_> = wanted.iter().map(platform).collect();
    let mut builder = TreeBuilder::new(documents[0].digest.clone(), &wanted);
    while let Some(next) = builder.next().cloned() {
        let found = documents.iter().find(|document| document.digest == next);
        builder.add((*found.expect("a document of the test")).clone())?;
    }
    Ok(builder.finish().expect("complete"))
}

fn order(tree: &ManifestTree) -> Vec<&str> {
    tree.manifests().map(|manifest| manifest.digest.short()).collect()
}

#[test]
fn children_come_before_their_index_and_blobs_come_once() {
    let (arm, amd) = (image("arm", &["base", "arm"]), image("amd", &["base", "amd"]));
    let inner = index(&[entry(&amd, &json!({}))]);
    let outer = index(&[entry(&inner, &json!({})), for_platform(&arm, "linux/arm64")]);
    let tree = tree(&[&outer, &inner, &arm, &amd], &[]).expect("a tree");
    assert!(tree.is_whole() && tree.source() == &outer.digest);
    assert_eq!(order(&tree), [&amd, &inner, &arm, &outer].map(|it| it.digest.short()));
    assert_eq!(tree.root().map(|root| root.bytes.clone()), Some(outer.bytes.clone()));
    let digests: Vec<_> = tree.blobs().iter().map(|blob| blob.digest.short()).collect();
    let expected = ["base", "amd", "config of amd", "arm", "config of arm"];
    let expected = expected.map(|text| Digest::of(text.as_bytes()));
    assert_eq!(digests, expected.each_ref().map(Digest::short), "configurations after layers");
    assert_eq!(tree.below_root().len(), 3);
}

#[test]
fn the_bytes_stay_as_they_came() {
    let spaced = format!("{{ \"schemaVersion\": 2,\n \"config\": {} }}", blob("c"));
    let bytes = Bytes::from(spaced);
    let media_type = DOCKER_MANIFEST.to_owned();
    let document = RawManifest { digest: Digest::of(&bytes), media_type, bytes: bytes.clone() };
    let tree = tree(&[&document], &[]).expect("a tree");
    assert_eq!(tree.root().map(|root| &root.bytes), Some(&bytes));
}

#[test]
fn a_subset_is_a_smaller_index_with_its_attestations() {
    let (arm, v7, amd) = (image("arm", &["a"]), image("v7", &["b"]), image("amd", &["c"]));
    let attested = |subject: &RawManifest, name| {
        let attestation = image(name, &[name]);
        let annotations = json!({ "vnd.docker.reference.digest": subject.digest.as_str() });
        let platform = json!({ "os": "unknown", "architecture": "unknown" });
        let more = json!({ "annotations": annotations, "platform": platform });
        (entry(&attestation, &more), attestation)
    };
    let (of_arm, arm_document) = attested(&arm, "about arm");
    let (of_amd, amd_document) = attested(&amd, "about amd");
    let entries = [
        for_platform(&amd, "linux/amd64"),
        for_platform(&arm, "linux/arm64/v8"),
        for_platform(&v7, "linux/arm/v7"),
        of_amd,
        of_arm,
    ];
    let all = index(&entries);
    let documents = [&all, &arm, &v7, &amd, &arm_document, &amd_document];
    let some = tree(&documents, &["linux/arm64", "linux/arm/v7"]).expect("a tree");
    assert!(!some.is_whole() && some.source() == &all.digest);
    let expected = [&arm, &v7, &arm_document].map(|it| it.digest.short());
    assert_eq!(order(&some)[..3], expected);
    let again = tree(&documents, &["linux/arm64", "linux/arm/v7"]).expect("a tree");
    assert_eq!(some, again, "the same subset has the same digest each time");
    let every = ["linux/arm64", "linux/arm/v7", "linux/amd64"];
    assert!(tree(&documents, &every).expect("a tree").is_whole());
    let missing = tree(&documents, &["linux/arm64", "linux/riscv64"]).expect_err("missing");
    let expected = "the source has no image for linux/riscv64; it has linux/amd64, linux/arm64/v8, linux/arm/v7";
    assert_eq!((missing.word(), missing.to_string().as_str()), ("platform_missing", expected));
    let single = tree(&[&arm], &["linux/arm64"]).expect("a tree");
    assert!(single.is_whole(), "there is nothing to leave out of one manifest");
}

/// What a document that is not copied is called.
fn refused(document: &RawManifest) -> String {
    match tree(&[document], &[]) {
        Ok(_) => "copied".to_owned(),
        Err(error) => error.word().to_owned(),
    }
}

#[test]
fn what_is_not_copied_has_a_word() {
    let foreign = |more: Value| {
        let mut layer = blob("x");
        if let (Some(layer), Some(more)) = (layer.as_object_mut(), more.as_object()) {
            layer.extend(more.clone());
        }
        let json = json!({ "schemaVersion": 2, "config": blob("c"), "layers": [layer] });
        raw(DOCKER_MANIFEST, &json)
    };
    let docker = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let oci = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let many = |count: usize| vec![blob("x"); count];
    let layers = |count| json!({ "schemaVersion": 2, "config": blob("c"), "layers": many(count) });
    let both = json!({ "schemaVersion": 2, "config": blob("c"), "manifests": [] });
    let table = [
        (foreign(json!({})), "copied"),
        (foreign(json!({ "urls": [] })), "copied"),
        (foreign(json!({ "urls": ["https://example.com/x"] })), "foreign_layer"),
        (foreign(json!({ "mediaType": docker })), "foreign_layer"),
        (foreign(json!({ "mediaType": oci })), "foreign_layer"),
        (raw(schema_1, &json!({ "schemaVersion": 1 })), "schema1"),
        (raw(schema_1, &json!({})), "schema1"),
        (raw(DOCKER_MANIFEST, &json!({ "schemaVersion": 1 })), "schema1"),
        (raw(DOCKER_MANIFEST, &layers(LAYERS_MAX)), "copied"),
        (raw(DOCKER_MANIFEST, &layers(LAYERS_MAX + 1)), "registry_error"),
        (index(&many(CHILDREN_MAX + 1)), "registry_error"),
        (raw(DOCKER_MANIFEST, &both), "registry_error"),
        (raw(OCI_INDEX, &layers(1)), "registry_error"),
        (raw("text/html", &layers(1)), "registry_error"),
        (raw(OCI_MANIFEST, &json!("text")), "registry_error"),
        (raw(OCI_MANIFEST, &json!({ "schemaVersion": 3, "config": blob("c") })), "registry_error"),
    ];
    for (document, expected) in table {
        let text = String::from_utf8_lossy(&document.bytes);
        assert_eq!(refused(&document), expected, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn levels_and_bytes_have_limits() {
    let bottom = image("x", &[]);
    let third = index(&[entry(&bottom, &json!({}))]);
    let second = index(&[entry(&third, &json!({ "annotations": { "n": "2" } }))]);
    let first = index(&[entry(&second, &json!({ "annotations": { "n": "1" } }))]);
    assert!(tree(&[&second, &third, &bottom], &[]).is_ok());
    let deep = tree(&[&first, &second, &third, &bottom], &[]).expect_err("too deep");
    assert_eq!(deep.to_string(), "it has more than 3 levels of indexes");
    let padded = |number: usize| {
        let pad = "x".repeat(MANIFEST_BYTES_MAX - 1000);
        raw(
            OCI_MANIFEST,
            &json!({ "schemaVersion": 2, "config": blob("c"), "n": number, "pad": pad }),
        )
    };
    let large: Vec<_> = (0..3).map(padded).collect();
    let entries: Vec<_> = large.iter().map(|it| entry(it, &json!({}))).collect();
    let all = index(&entries);
    assert!(tree(&[&all, &large[0], &large[1], &large[2]], &[]).is_err());
    let mut builder = TreeBuilder::new(bottom.digest.clone(), &[]);
    assert!(builder.add(third).is_err(), "another document than the wanted one");
}
