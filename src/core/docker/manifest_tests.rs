//! Documents as registries give them, and the entry that fits.

use super::*;

fn platform(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Platform { os: next(), architecture: next(), variant: next() }
}

fn index(platforms: &[&str]) -> Vec<Entry> {
    let entry = |text: &&str| Entry {
        digest: Digest::of(text.as_bytes()),
        platform: (!text.is_empty()).then(|| platform(text)),
    };
    platforms.iter().map(entry).collect()
}

fn chosen(wanted: &str, offered: &[&str]) -> Vec<String> {
    let entries = index(offered);
    let found = candidates(&entries, &platform(wanted));
    let name = |entry: &&Entry| entry.platform.as_ref().map_or("-".into(), Platform::to_string);
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
fn attestations_are_no_images() {
    let digest = Digest::of(b"");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[
            {{"digest":"{digest}","size":1,"platform":{{"os":"unknown","architecture":"unknown"}}}},
            {{"digest":"{digest}","size":1,"annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}},
            {{"digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"arm","variant":"v7","os.version":"1"}}}}]}}"#
    );
    let entry = Entry { digest, platform: Some(platform("linux/arm/v7")) };
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
