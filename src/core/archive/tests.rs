//! What is accepted, and what the Engine gets.

use serde_json::{Value, json};

use super::samples::{
    Archive, LAYER, configuration, docker_archive, docker_entries, gzip, oci_layout,
};
use super::*;

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".into(), architecture: architecture.into(), variant: String::new() }
}

/// Reads an upload in pieces of this size. Returns what the Engine gets.
fn read(
    bytes: &[u8],
    piece: usize,
    limits: ArchiveLimits,
) -> Result<(ArchivedImage, Vec<u8>), ArchiveError> {
    let (mut intake, mut all) = (ArchiveIntake::new(limits), Vec::new());
    for piece in bytes.chunks(piece) {
        intake.take(piece)?;
        if let Some(out) = intake.out() {
            all.append(out);
        }
    }
    let image = intake.finish()?;
    if let Some(out) = intake.out() {
        all.append(out);
    }
    Ok((image, all))
}

fn for_amd64() -> ArchiveLimits {
    ArchiveLimits { platform: Some(platform("amd64")), ..ArchiveLimits::default() }
}

fn why(bytes: &[u8]) -> String {
    let error = read(bytes, SLICE, for_amd64()).map(|(image, _)| image).expect_err("it is refused");
    match error {
        ArchiveError::Bad(detail) => detail,
        other => panic!("{other:?}"),
    }
}

/// The files of what the Engine gets, with their content.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut at) = (Vec::new(), 0);
    while archive[at..at + 512] != [0; 512] {
        let block: [u8; 512] = archive[at..at + 512].try_into().expect("a block");
        let header = header::EntryHeader::read(&block).expect("a header");
        let size = usize::try_from(header.size).expect("small");
        let name = String::from_utf8(header.name).expect("a name");
        files.push((name, archive[at + 512..at + 512 + size].to_vec()));
        at += 512 + size + usize::try_from(header::padding(header.size)).expect("small");
    }
    assert_eq!(archive[at..], [0; 1024], "the end");
    files
}

fn json_of(files: &[(String, Vec<u8>)], name: &str) -> Value {
    let found: Vec<_> = files.iter().filter(|(it, _)| it == name).collect();
    assert_eq!(found.len(), 1, "{name}");
    serde_json::from_slice(&found[0].1).expect("JSON")
}

#[test]
fn an_archive_of_docker_save_loses_its_names_and_nothing_else() {
    let archive = docker_archive("amd64");
    let (image, out) = read(&archive, SLICE, for_amd64()).expect("an image");
    let config = Digest::of(configuration("amd64").to_string().as_bytes());
    assert_eq!(image.config, config);
    assert_eq!(image.diff_ids, [Digest::of(LAYER)]);
    let (before, after) = (files(&archive), files(&out));
    assert_eq!(json_of(&after, "manifest.json")[0]["RepoTags"], Value::Null);
    let of = |files: Vec<(String, Vec<u8>)>| {
        let is_same = |name: &str| !matches!(name, "manifest.json" | "repositories");
        let files = files.into_iter().filter(move |(name, _)| is_same(name));
        files
            .map(|(name, content)| (name.trim_end_matches('/').to_owned(), content))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(after), of(before));
}

#[test]
fn pieces_of_any_size_and_gzip_give_the_same_archive() {
    let archive = docker_archive("amd64");
    let (image, whole) = read(&archive, archive.len(), for_amd64()).expect("an image");
    let packed = gzip(&archive);
    let two_members = [gzip(&archive[..777]), gzip(&archive[777..])].concat();
    let fed = [archive.clone(), vec![0; 10_240]].concat();
    for bytes in [&archive, &packed, &two_members, &fed] {
        for piece in [1, 2, 3, 511, 512, 513, 4096] {
            assert_eq!(read(bytes, piece, for_amd64()), Ok((image.clone(), whole.clone())));
        }
    }
}

#[test]
fn an_oci_layout_gets_the_document_that_the_classic_store_needs() {
    for architectures in [&["amd64"][..], &["arm64", "amd64"]] {
        let archive = oci_layout(architectures);
        let (image, out) = read(&archive, SLICE, for_amd64()).expect("an image");
        let config = Digest::of(configuration("amd64").to_string().as_bytes());
        assert_eq!(image.config, config);
        let files = files(&out);
        let (list, index) = (json_of(&files, "manifest.json"), json_of(&files, "index.json"));
        let config = format!("blobs/sha256/{}", image.config.hex());
        let layer = format!("blobs/sha256/{}", Digest::of(LAYER).hex());
        assert_eq!(list, json!([{ "Config": config, "RepoTags": null, "Layers": [layer] }]));
        assert_eq!(index["manifests"].as_array().expect("a list").len(), 1);
        assert_eq!(index["manifests"][0]["annotations"], json!({ "org.example": "stays" }));
    }
}

#[test]
fn an_image_for_another_platform_is_refused_before_the_end_is_sent() {
    for archive in [docker_archive("arm64"), oci_layout(&["arm64"]), oci_layout(&["arm64", "arm"])]
    {
        let error = read(&archive, SLICE, for_amd64()).expect_err("refused");
        assert!(matches!(error, ArchiveError::Platform(_)), "{error:?}");
        let anywhere = read(&archive, SLICE, ArchiveLimits::default());
        assert!(anywhere.is_ok());
    }
}

#[test]
fn a_truncated_archive_never_gets_an_end() {
    let archive = docker_archive("amd64");
    let packed = gzip(&archive);
    for bytes in [&archive[..archive.len() - 1], &packed] {
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let mut intake = ArchiveIntake::new(for_amd64());
            let taken = intake.take(&bytes[..length]).and_then(|()| intake.finish());
            assert!(taken.is_err(), "{length} of {}", bytes.len());
            let out = intake.out().map(std::mem::take).unwrap_or_default();
            assert!(!out.windows(1024).any(|window| *window == [0; 1024]), "{length}");
        }
    }
}

#[test]
fn the_digest_is_that_of_the_uploaded_bytes() {
    let archive = docker_archive("amd64");
    let packed = gzip(&archive);
    let with = |digest| ArchiveLimits { digest: Some(digest), ..for_amd64() };
    assert!(read(&packed, 7, with(Digest::of(&packed))).is_ok());
    assert!(read(&archive, 7, with(Digest::of(&archive))).is_ok());
    let error = read(&packed, 7, with(Digest::of(&archive))).expect_err("another digest");
    assert!(error.to_string().contains("declared digest"), "{error}");
}

#[test]
fn what_is_no_image_archive_is_refused_with_its_reason() {
    let two = |list: Value| Archive::default().json("manifest.json", &list).end();
    let entry = json!({ "Config": "a.json", "RepoTags": [], "Layers": [] });
    let long = "x".repeat(101);
    for (bytes, expected) in [
        (vec![], "nothing was sent"),
        (b"garbage".repeat(200), "not a tar archive"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0\0\0".to_vec(), "xz"),
        (b"\x28\xb5\x2f\xfd\0\0\0\0".to_vec(), "zstd"),
        (gzip(b"garbage"), "incomplete"),
        ([&gzip(&docker_archive("amd64"))[..50], &[7; 99]].concat(), "gzip is damaged"),
        (vec![0; 1024], "holds no image"),
        (Archive::default().file("etc/motd", b"hello").end(), "holds no image"),
        (two(json!([entry, entry])), "holds 2 images"),
        (two(json!([])), "holds no image"),
        (two(json!({})), "not that of an image archive"),
        (two(json!([{ "Config": "../a.json" }])), "leads out"),
        (two(json!([entry])), "lacks the configuration"),
        (docker_entries("amd64").other(b'1', "a", b"").end(), "hard link"),
        (docker_entries("amd64").other(b'3', "a", b"").end(), "neither a file nor a directory"),
        (docker_entries("amd64").link("a", "/etc/passwd").end(), "link"),
        (docker_entries("amd64").file("../../etc/passwd", b"").end(), "leads out"),
        (docker_entries("amd64").file("/etc/passwd", b"").end(), "absolute"),
        (docker_entries("amd64").file("manifest.json", b"[]").end(), "two entries of one name"),
        (docker_entries("amd64").file("./repositories", b"").end(), "two entries of one name"),
        (docker_entries("amd64").other(b'x', "p", b"8 path=a\n").end(), "cannot be read"),
        (docker_entries("amd64").other(b'g', "p", b"9 path=a\n").end(), "no image archive needs"),
        (docker_entries("amd64").other(b'L', "p", long.as_bytes()).file("a", b"").end(), "longer"),
        ([docker_archive("amd64"), b"more".to_vec()].concat(), "behind its end"),
        ([docker_entries("amd64").bytes, vec![0; 512], vec![1; 512]].concat(), "in the middle"),
        (Archive::default().file("index.json", b"{}").end(), "not that of an OCI layout"),
        (
            Archive::default().file(&format!("blobs/sha256/{}", "0".repeat(64)), b"{}").end(),
            "does not have the digest of its name",
        ),
    ] {
        let found = why(&bytes);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn the_name_in_a_record_counts_and_no_record_reaches_the_engine() {
    // A reader that ignores records would see a harmless name.
    let record = b"24 path=../../evil.json\n".to_vec();
    let pax = docker_entries("amd64").other(b'x', "p", &record).file("harmless", b"").end();
    assert!(why(&pax).contains("leads out"));
    let renamed = b"13 path=fine\n".to_vec();
    let pax = docker_entries("amd64").other(b'x', "p", &renamed).file("harmless", b"1").end();
    let (_, out) = read(&pax, SLICE, for_amd64()).expect("an image");
    let names: Vec<_> = files(&out).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"fine".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name == "p" || name == "harmless"), "{names:?}");
}

#[test]
fn a_bomb_ends_early_and_needs_no_memory() {
    let zeros = vec![0; 64 * 1024 * 1024];
    let bomb = gzip(&docker_entries("amd64").file("layer.tar", &zeros).end());
    let mut intake = ArchiveIntake::new(for_amd64());
    let (mut largest, mut ended) = (0, None);
    for piece in bomb.chunks(SLICE) {
        ended = intake.take(piece).err();
        let out = intake.out().map(std::mem::take).unwrap_or_default();
        largest = largest.max(out.len());
        if ended.is_some() {
            break;
        }
    }
    assert!(ended.expect("it ends").to_string().contains("200 times"));
    assert!(largest < 3 * 1024 * 1024, "{largest}");
}

#[test]
fn an_archive_that_the_disk_has_no_room_for_ends_early() {
    let archive = docker_archive("amd64");
    let limits = ArchiveLimits { unpacked_max: Some(2048), ..for_amd64() };
    let error = read(&archive, 512, limits).expect_err("no room");
    assert_eq!(error, ArchiveError::NoRoom { limit: 2048 });
}

#[test]
fn entries_and_documents_are_counted() {
    let mut many = docker_entries("amd64");
    for number in 0..ENTRIES_MAX {
        many = many.file(&format!("f{number}"), b"");
    }
    assert!(why(&many.end()).contains("more than 10000 entries"));
    let mut large = docker_entries("amd64");
    for number in 0..4 {
        let mut configuration = configuration("amd64");
        configuration["history"] = json!(format!("{number}{}", "x".repeat(1024 * 1000)));
        large = large.json(&format!("{number}.json"), &configuration);
    }
    assert!(why(&large.end()).contains("more documents"));
}

proptest::proptest! {
    /// An archive with changed bytes is refused, or read again as the same image.
    #[test]
    fn any_damage_is_an_error_or_harmless(
        at in 0_usize..9000,
        value in proptest::num::u8::ANY,
        cut in 0_usize..9000,
        piece in 1_usize..700,
    ) {
        let mut bytes = docker_archive("amd64");
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] = value;
        if cut % 3 == 0 {
            bytes.drain(at.min(cut)..cut);
        }
        if let Ok((image, out)) = read(&bytes, piece, for_amd64()) {
            let again = read(&out, SLICE, for_amd64());
            proptest::prop_assert_eq!(again, Ok((image, out)));
        }
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
        let _ = read(&bytes, 100, ArchiveLimits::default());
        let _ = read(&gzip(&bytes), 100, ArchiveLimits::default());
    }
}
