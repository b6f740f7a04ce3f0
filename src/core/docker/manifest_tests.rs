//! Documents as registries send them, and the entry that fits.

use super::*;

fn platform(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Platform { os: next(), architecture: next(), variant: next() }
}

fn index(platforms: &[&str]) -> Vec<IndexEntry> {
    let entry = |text: &&str| IndexEntry {
        digest: Digest::of(text.as_bytes()),
        platform: (!text.is_empty()).then(|| platform(text)),
    };
    platforms.iter().map(entry).collect()
}

fn chosen(wanted: &str, offered: &[&str]) -> Vec<String> {
    let entries = index(offered);
    let found = candidates(&entries, &platform(wanted));
    let name =
        |entry: &&IndexEntry| entry.platform.as_ref().map_or("-".into(), Platform::to_string);
    found.iter().map(name).collect()
}

#[test]
fn the_best_entry_comes_first() {
    let arms = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"];
    let table: [(&str, &[&str], &[&str]); 13] = [
        ("linux/arm64", &["linux/amd64", "linux/arm64"], &["linux/arm64"]),
        ("linux/arm64", &["linux/arm64/v8"], &["linux/arm64/v8"]),
        ("linux/arm64/v8", &["linux/arm64"], &["linux/arm64"]),
        ("linux/arm64", &["linux/arm/v7"], &[]),
        ("linux/arm64", &["linux/arm64/v9", "linux/arm64/v8"], &["linux/arm64/v8"]),
        ("linux/arm/v7", &arms, &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", &arms, &["linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm", &arms, &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", &["linux/arm/v7"], &[]),
        ("linux/amd64", &["linux/amd64/v2", "linux/amd64"], &["linux/amd64"]),
        ("linux/amd64", &["windows/amd64"], &[]),
        ("linux/riscv64", &["linux/riscv64"], &["linux/riscv64"]),
        ("linux/arm64", &["", "linux/arm64"], &["linux/arm64", "-"]),
    ];
    for (wanted, offered, expected) in table {
        assert_eq!(chosen(wanted, offered), expected, "{wanted} of {offered:?}");
    }
}

#[test]
fn a_configuration_may_leave_its_variant_out() {
    assert!(fits(&platform("linux/arm/v6"), &platform("linux/arm")));
    assert!(fits(&platform("linux/arm/v7"), &platform("linux/arm/v6")));
    assert!(!fits(&platform("linux/arm/v6"), &platform("linux/arm/v7")));
    assert!(!fits(&platform("linux/arm64"), &platform("linux/amd64")));
}

#[test]
fn a_manifest_of_more_layers_than_an_engine_takes_is_none() {
    let descriptor = format!(r#"{{"digest":"{}","size":1}}"#, Digest::of(b""));
    let manifest = |count: usize| {
        let layers = vec![descriptor.as_str(); count].join(",");
        let text = format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{layers}]}}"#);
        parse_document(text.as_bytes())
    };
    assert!(manifest(LAYERS_MAX).is_ok());
    assert_eq!(manifest(LAYERS_MAX + 1), Err(ManifestError::TooManyLayers));
    assert_eq!(manifest(24_000), Err(ManifestError::TooManyLayers));
    let index = |count: usize| {
        let entries = vec![descriptor.as_str(); count].join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        parse_document(text.as_bytes()).map(|_| ())
    };
    assert_eq!(index(ENTRIES_MAX), Ok(()));
    assert_eq!(index(ENTRIES_MAX + 1), Err(ManifestError::TooManyEntries));
    let configuration = |count: usize| {
        let ids = vec![format!("\"{}\"", Digest::of(b"")); count].join(",");
        let rootfs = format!(r#"{{"diff_ids":[{ids}]}}"#);
        let text = format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{rootfs}}}"#);
        parse_configuration(text.as_bytes()).map(|read| read.diff_ids.len())
    };
    assert_eq!(configuration(LAYERS_MAX), Ok(LAYERS_MAX));
    assert_eq!(configuration(LAYERS_MAX + 1), Err(ManifestError::TooManyLayers));
}

#[test]
fn layers_say_how_they_are_packed() {
    for (media_type, packing) in [
        ("application/vnd.oci.image.layer.v1.tar", Compression::Common),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Common),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Common),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
        ("application/vnd.oci.image.layer.v1.tar+ZSTD; a=b", Compression::Zstd),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::Zstd),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", Compression::Encrypted),
        ("application/vnd.oci.image.layer.v1.tar+zstd+encrypted", Compression::Encrypted),
        ("", Compression::Common),
    ] {
        assert_eq!(Compression::of(media_type), packing, "{media_type}");
    }
}

#[test]
fn an_index_may_leave_platforms_empty() {
    let digest = Digest::of(b"");
    for platform in ["null", "{}", r#"{"os":"linux"}"#, r#"{"os":"","architecture":""}"#] {
        let entry =
            format!(r#"{{"digest":"{digest}","platform":{platform},"annotations":{{"a":1}}}}"#);
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let expected = Document::Index(vec![IndexEntry { digest: digest.clone(), platform: None }]);
        assert_eq!(parse_document(text.as_bytes()), Ok(expected), "{platform}");
    }
}

#[test]
fn attestations_are_no_images() {
    let digest = Digest::of(b"");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[
            {{"digest":"{digest}","size":1,"platform":{{"os":"unknown","architecture":"unknown"}}}},
            {{"digest":"{digest}","size":1,"annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}},
            {{"digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"arm","variant":"v7","os.version":"1"}}}}]}}"#
    );
    let entry = IndexEntry { digest, platform: Some(platform("linux/arm/v7")) };
    assert_eq!(parse_document(text.as_bytes()), Ok(Document::Index(vec![entry])));
}

#[test]
fn what_could_be_read_two_ways_is_refused() {
    let digest = Digest::of(b"");
    let descriptor = format!(r#"{{"digest":"{digest}","size":1}}"#);
    let table = [
        ("<html>".to_owned(), ManifestError::Json { line: 1, column: 1 }),
        (r#"{"schemaVersion":1}"#.to_owned(), ManifestError::SchemaVersion(1)),
        (r#"{"schemaVersion":2}"#.to_owned(), ManifestError::Ambiguous),
        (
            format!(r#"{{"schemaVersion":2,"manifests":[],"config":{descriptor}}}"#),
            ManifestError::Ambiguous,
        ),
        (
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#),
            ManifestError::MediaType,
        ),
        (
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","config":{descriptor}}}"#),
            ManifestError::MediaType,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(parse_document(text.as_bytes()), Err(expected), "{text}");
    }
}

#[test]
fn a_configuration_has_a_platform_and_as_many_layers_as_its_manifest() {
    let digest = Digest::of(b"");
    let text = format!(
        r#"{{"os":"linux","architecture":"arm64","rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
    );
    let configuration = parse_configuration(text.as_bytes()).expect("a configuration");
    assert_eq!(configuration.platform, platform("linux/arm64"));
    let manifest = Manifest { config: digest, layers: Vec::new() };
    let expected = ManifestError::LayerCount { layers: 0, diff_ids: 1 };
    assert_eq!(check_layers(&manifest, &configuration), Err(expected));
    assert_eq!(parse_configuration(b"{}"), Err(ManifestError::NoPlatform));
}

#[test]
fn a_content_type_counts_without_its_parameters() {
    assert!(is_accepted(OCI_INDEX));
    assert!(is_accepted(&format!("{DOCKER_MANIFEST}; charset=utf-8")));
    assert!(!is_accepted("text/html"));
    assert!(!is_accepted("application/json"));
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(bytes: Vec<u8>, text in r#"[{}\[\]":,a-z0-9]{0,200}"#) {
        let _ = parse_document(&bytes);
        let _ = parse_document(text.as_bytes());
        let _ = parse_configuration(text.as_bytes());
    }
}

#[test]
fn a_configuration_states_a_version_and_strange_labels_do_no_harm() {
    let version = |config: &str| {
        let rootfs = r#""rootfs":{"diff_ids":[]}"#;
        let text = format!(r#"{{"os":"linux","architecture":"arm64",{rootfs},"config":{config}}}"#);
        let read = parse_configuration(text.as_bytes()).expect("a configuration");
        let stated = read.version?;
        stated.own(&"shop/till".parse().expect("a reference")).map(|it| it.as_str().to_owned())
    };
    let own = r#"{"Env":["A=1"],"Labels":{"org.opencontainers.image.version":"1.2"}}"#;
    assert_eq!(version(own).as_deref(), Some("1.2"));
    for none in ["null", "{}", r#"{"Labels":null}"#, r#"{"Labels":[["a"]]}"#, r#"{"Labels":"a"}"#] {
        assert_eq!(version(none), None, "{none}");
    }
}
