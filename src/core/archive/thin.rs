//! An archive without the layers that a device has.
//!
//! An Engine with the classic store looks for a layer and all layers below it before it opens the
//! file of the layer; containerd's store looks for the blob. So those files need not be sent
//! (measured with 20.10 and 28.5). This part finds them in an archive that is a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use super::header::{BLOCK, EntryHeader, EntryKind, padding};

/// Most entries: an archive with the most layers of an image has some hundreds.
const ENTRIES_MAX: usize = 10_000;

/// Largest document that is read, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a device has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceLayers {
    /// Digests of blobs if it has containerd's store, otherwise diff IDs.
    pub layers: BTreeSet<String>,
    pub is_containerd: bool,
}

/// The parts of an archive that are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinArchive {
    /// Ranges of bytes of the archive, in their order.
    pub parts: Vec<Range<u64>>,
    /// How many layers are left out.
    pub left_out: usize,
    /// How many layers the image has.
    pub layers: usize,
}

/// One entry of an archive.
struct ArchiveEntry {
    name: String,
    is_file: bool,
    /// With its header and with what belongs to it before.
    whole: Range<u64>,
    content: Range<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    layers: Vec<String>,
}

impl ThinArchive {
    /// What is left if the device has these layers. `None`: all of it must be sent, also because it
    /// is not understood; the device says then what is wrong with it.
    pub fn of(archive: &mut (impl Read + Seek), device: &DeviceLayers) -> Option<Self> {
        let entries = entries(archive)?;
        let (layers, unneeded) = if device.is_containerd {
            of_layout(archive, &entries, device)?
        } else {
            of_save(archive, &entries, device)?
        };
        let is_unneeded = |entry: &&ArchiveEntry| entry.is_file && unneeded.contains(&entry.name);
        let left_out: BTreeSet<_> =
            entries.values().filter(is_unneeded).map(|entry| entry.name.as_str()).collect();
        if left_out.is_empty() {
            return None;
        }
        let length = archive.seek(SeekFrom::End(0)).ok()?;
        let mut parts = Vec::new();
        let mut begin = 0;
        let mut gaps: Vec<_> = entries.values().filter(is_unneeded).collect();
        gaps.sort_by_key(|entry| entry.whole.start);
        for gap in gaps {
            parts.push(begin..gap.whole.start);
            begin = gap.whole.end;
        }
        parts.push(begin..length);
        parts.retain(|part| !part.is_empty());
        Some(Self { parts, left_out: left_out.len(), layers })
    }

    /// How many bytes are sent.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }
}

/// All entries by name.
fn entries(archive: &mut (impl Read + Seek)) -> Option<BTreeMap<String, ArchiveEntry>> {
    let mut entries = BTreeMap::new();
    let (mut at, mut begin) = (0, 0);
    let mut long_name = None;
    archive.seek(SeekFrom::Start(0)).ok()?;
    loop {
        let mut block = [0; BLOCK];
        archive.read_exact(&mut block).ok()?;
        if block.iter().all(|byte| *byte == 0) {
            return Some(entries);
        }
        let header = EntryHeader::read(&block).ok()?;
        at += BLOCK as u64;
        let content = at..at.checked_add(header.size)?;
        at = content.end.checked_add(padding(header.size))?;
        match header.kind {
            EntryKind::LongName => long_name = Some(name_in(&document(archive, &content)?)),
            EntryKind::Pax => long_name = pax_path(&document(archive, &content)?).or(long_name),
            EntryKind::GlobalPax | EntryKind::LongLink => {}
            kind => {
                let name = long_name.take().unwrap_or_else(|| name_in(&header.name));
                let is_file = kind == EntryKind::File;
                let entry = ArchiveEntry { name: name.clone(), is_file, whole: begin..at, content };
                // Of two entries with one name the later one counts, and neither is left out.
                let is_new = entries.insert(name, entry).is_none();
                if !is_new || entries.len() > ENTRIES_MAX {
                    return None;
                }
                begin = at;
            }
        }
        archive.seek(SeekFrom::Start(at)).ok()?;
    }
}

fn name_in(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.strip_prefix("./").unwrap_or(&text).to_owned()
}

/// `LENGTH path=NAME\n` among the records of PAX.
fn pax_path(records: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(records).ok()?;
    let mut names = text.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix("path="));
    names.next_back().map(|name| name_in(name.as_bytes()))
}

fn document(archive: &mut (impl Read + Seek), content: &Range<u64>) -> Option<Vec<u8>> {
    let size = content.end - content.start;
    if size > DOCUMENT_BYTES_MAX {
        return None;
    }
    archive.seek(SeekFrom::Start(content.start)).ok()?;
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    archive.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn named(
    archive: &mut (impl Read + Seek),
    entries: &BTreeMap<String, ArchiveEntry>,
    name: &str,
) -> Option<Vec<u8>> {
    let entry = entries.get(name).filter(|entry| entry.is_file)?;
    document(archive, &entry.content)
}

/// The number of layers, and the files that the classic store does not open: those of the lowest
/// layers, as far as the device has all of them.
fn of_save(
    archive: &mut (impl Read + Seek),
    entries: &BTreeMap<String, ArchiveEntry>,
    device: &DeviceLayers,
) -> Option<(usize, BTreeSet<String>)> {
    let saved: Vec<SavedImage> =
        serde_json::from_slice(&named(archive, entries, "manifest.json")?).ok()?;
    let [SavedImage { config, layers }] = saved.as_slice() else { return None };
    let config: Value = serde_json::from_slice(&named(archive, entries, config)?).ok()?;
    let diff_ids = config.get("rootfs")?.get("diff_ids")?.as_array()?;
    if diff_ids.len() != layers.len() {
        return None;
    }
    let is_known = |id: &&Value| id.as_str().is_some_and(|id| device.layers.contains(id));
    let known = diff_ids.iter().take_while(is_known).count();
    let (below, above) = layers.split_at(known);
    let unneeded = below.iter().filter(|layer| !above.contains(layer)).cloned();
    Some((layers.len(), unneeded.collect()))
}

/// The same for containerd's store, which needs an OCI layout.
fn of_layout(
    archive: &mut (impl Read + Seek),
    entries: &BTreeMap<String, ArchiveEntry>,
    device: &DeviceLayers,
) -> Option<(usize, BTreeSet<String>)> {
    entries.get("oci-layout")?;
    let index = named(archive, entries, "index.json")?;
    let mut waiting = vec![serde_json::from_slice::<Value>(&index).ok()?];
    let (mut all, mut seen) = (BTreeSet::new(), 0);
    while let Some(document) = waiting.pop() {
        seen += 1;
        if seen > ENTRIES_MAX {
            return None;
        }
        let list = |field: &str| document.get(field).and_then(Value::as_array);
        all.extend(list("layers").into_iter().flatten().filter_map(blob_of));
        for child in list("manifests").into_iter().flatten().filter_map(blob_of) {
            // An index may name platforms that are not in the archive.
            let Some(bytes) = named(archive, entries, &child) else { continue };
            waiting.push(serde_json::from_slice(&bytes).ok()?);
        }
    }
    let is_known = |path: &&String| {
        path.strip_prefix("blobs/").is_some_and(|it| device.layers.contains(&it.replace('/', ":")))
    };
    let unneeded = all.iter().filter(is_known).cloned().collect();
    Some((all.len(), unneeded))
}

/// The path of the blob that a descriptor names.
fn blob_of(descriptor: &Value) -> Option<String> {
    let digest = descriptor.get("digest")?.as_str()?;
    Some(format!("blobs/{}", digest.replacen(':', "/", 1)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::json;

    use super::super::header::write;
    use super::*;

    /// An archive with these files.
    fn archive(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut out = Vec::new();
        for (name, content) in files {
            write(&mut out, name, EntryKind::File, content.len() as u64, "");
            out.extend_from_slice(content);
            out.resize(out.len() + usize::try_from(padding(content.len() as u64)).unwrap_or(0), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        Cursor::new(out)
    }

    /// What is sent, as an archive again.
    fn sent(archive: &mut Cursor<Vec<u8>>, thin: &ThinArchive) -> Vec<String> {
        let whole = archive.get_ref();
        let range = |part: &Range<u64>| {
            let index = |at: u64| usize::try_from(at).expect("an index");
            whole[index(part.start)..index(part.end)].to_vec()
        };
        let bytes: Vec<u8> = thin.parts.iter().flat_map(range).collect();
        assert_eq!(bytes.len() as u64, thin.size());
        entries(&mut Cursor::new(bytes)).expect("an archive").into_keys().collect()
    }

    fn save(layers: &[&str]) -> Cursor<Vec<u8>> {
        let paths: Vec<_> = layers.iter().map(|layer| format!("{layer}/layer.tar")).collect();
        let ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{layer}")).collect();
        let config = json!({"rootfs": {"diff_ids": ids}}).to_string();
        let manifest = json!([{"Config": "c.json", "Layers": paths}]).to_string();
        let content = vec![7; 1000];
        let unique: BTreeSet<_> = paths.iter().collect();
        let mut files: Vec<(&str, &[u8])> =
            unique.into_iter().map(|path| (path.as_str(), content.as_slice())).collect();
        files.extend([("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())]);
        archive(&files)
    }

    fn device(layers: &[&str], is_containerd: bool) -> DeviceLayers {
        let layers = layers.iter().map(|layer| format!("sha256:{layer}")).collect();
        DeviceLayers { layers, is_containerd }
    }

    #[test]
    fn the_lowest_layers_that_the_device_has_are_left_out() {
        for (layers, known, expected) in [
            (&["a", "b", "c"][..], &["a", "b"][..], Some(vec!["c/layer.tar"])),
            (&["a", "b", "c"], &["a", "b", "c"], Some(Vec::new())),
            // The layer c is known, but not on top of b.
            (&["a", "b", "c"], &["a", "c"], Some(vec!["b/layer.tar", "c/layer.tar"])),
            (&["a", "b", "c"], &["b", "c"], None),
            (&["a", "b", "c"], &[], None),
            // One file is two layers: the upper one needs it.
            (&["a", "e", "b", "e"], &["a", "e"], Some(vec!["b/layer.tar", "e/layer.tar"])),
        ] {
            let mut archive = save(layers);
            let thin = ThinArchive::of(&mut archive, &device(known, false));
            let names = thin.as_ref().map(|thin| {
                let mut names = sent(&mut archive, thin);
                names.retain(|name| name.ends_with("layer.tar"));
                names
            });
            let expected =
                expected.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(names, expected, "{layers:?} {known:?}");
            if let Some(thin) = thin {
                assert_eq!(thin.layers, layers.len());
            }
        }
    }

    #[test]
    fn blobs_that_containerd_has_are_left_out() {
        let manifest = json!({"layers": [{"digest": "sha256:l1"}, {"digest": "sha256:l2"}]});
        let index = json!({"manifests": [{"digest": "sha256:m"}, {"digest": "sha256:gone"}]});
        let (manifest, index) = (manifest.to_string(), index.to_string());
        let files: [(&str, &[u8]); 5] = [
            ("oci-layout", b"{}"),
            ("index.json", index.as_bytes()),
            ("blobs/sha256/m", manifest.as_bytes()),
            ("blobs/sha256/l1", b"one"),
            ("blobs/sha256/l2", b"two"),
        ];
        let mut layout = archive(&files);
        let thin = ThinArchive::of(&mut layout, &device(&["l2"], true)).expect("a thin one");
        let names = sent(&mut layout, &thin);
        assert_eq!((names.len(), thin.left_out, thin.layers), (4, 1, 2));
        assert!(!names.contains(&"blobs/sha256/l2".to_owned()));
        // Without a layout containerd does not look for blobs.
        let mut save = save(&["a", "b"]);
        assert_eq!(ThinArchive::of(&mut save, &device(&["a"], true)), None);
    }

    #[test]
    fn what_is_not_understood_is_sent_as_it_is() {
        let device = device(&["a"], false);
        for bytes in [b"".to_vec(), vec![0; 2048], vec![b'x'; 2048]] {
            assert_eq!(ThinArchive::of(&mut Cursor::new(bytes), &device), None);
        }
        let mut two = save(&["a", "b"]);
        let half = two.get_ref().len() / 2;
        two.get_mut().truncate(half);
        assert_eq!(ThinArchive::of(&mut two, &device), None);
    }

    proptest::proptest! {
        #[test]
        fn an_archive_with_any_byte_changed_never_panics(at in 0_usize..4000, byte: u8) {
            let mut archive = save(&["a", "b"]);
            if let Some(changed) = archive.get_mut().get_mut(at) {
                *changed = byte;
            }
            let _ = ThinArchive::of(&mut archive, &device(&["a"], false));
        }
    }
}
