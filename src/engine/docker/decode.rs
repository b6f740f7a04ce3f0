//! Lenient reading of the Engine's answers: only what is needed, and unknown words are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::image_store::ImageStore;
use crate::engine::{EngineError, EngineInfo, Listed, ListedImage};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The oldest and the newest API version of a `/version` document. An Engine that names no oldest
/// one is taken to speak only its newest.
pub fn api_versions(version: &Value) -> Result<(ApiVersion, ApiVersion), EngineError> {
    let wrong = |detail: String| EngineError::Garbage { call: "version", detail };
    let newest: ApiVersion =
        text(version, "ApiVersion").parse().map_err(|_| wrong("it names no ApiVersion".into()))?;
    let oldest = text(version, "MinAPIVersion").parse().unwrap_or(newest);
    Ok((oldest.min(newest), newest))
}

/// What the Engine says of itself. `version` has the agreed version in its `ApiVersion`.
pub fn engine_info(version: &Value, info: &Value) -> EngineInfo {
    let api = api_versions(version).map_or(ApiVersion::new(1, 41), |(_, agreed)| agreed);
    EngineInfo {
        api,
        can_update: !is_podman(version),
        version: text(version, "Version").to_owned(),
        root_dir: PathBuf::from(text(info, "DockerRootDir")),
        live_restore: info.get("LiveRestoreEnabled").and_then(Value::as_bool).unwrap_or(false),
        image_store: ImageStore::of(info, is_containerd_store(info)),
        containerd_store: is_containerd_store(info),
        unpacks_zstd: unpacks_zstd(version, info),
        registries: EngineRegistries::of_info(info),
    }
}

/// Podman's service for Docker's API names itself among the components of its `version`.
pub fn is_podman(version: &Value) -> bool {
    let components = version.get("Components").and_then(Value::as_array);
    let mut components = components.into_iter().flatten();
    components.any(|component| text(component, "Name").starts_with("Podman"))
}

/// The first major version of Docker's Engine whose classic image store unpacks zstd
/// (`pkg/archive`, moby#41759).
const ZSTD_SINCE: u32 = 23;

/// Whether layers that are packed with zstd can be unpacked. containerd and Podman always could. An
/// Engine whose version is no number is taken for a new one: then it is its pull that tells.
fn unpacks_zstd(version: &Value, info: &Value) -> bool {
    let major = text(version, "Version").split(['.', '-', '+']).next().unwrap_or_default();
    let is_new = major.parse().map_or(true, |major: u32| major >= ZSTD_SINCE);
    is_new || is_podman(version) || is_containerd_store(info)
}

/// The containerd image store tells of itself in the status of the storage driver
/// (`driver-type: io.containerd.snapshotter.v1`).
fn is_containerd_store(info: &Value) -> bool {
    let rows = info.get("DriverStatus").and_then(Value::as_array);
    rows.is_some_and(|rows| {
        rows.iter().any(|row| row.to_string().contains("io.containerd.snapshotter"))
    })
}

/// The list of containers. An entry without an ID is passed over.
pub fn containers(list: &Value) -> Result<Vec<Listed>, EngineError> {
    let rows = array("list containers", list)?;
    Ok(rows.iter().filter_map(container).collect())
}

fn container(row: &Value) -> Option<Listed> {
    let id = row.get("Id")?.as_str()?.to_owned();
    let names = row.get("Names").and_then(Value::as_array)?;
    // Links give a container further names, of the form /OTHER/ALIAS.
    let own = names.iter().filter_map(Value::as_str).map(|name| name.trim_start_matches('/'));
    let name = own.min_by_key(|name| name.matches('/').count())?.to_owned();
    Some(Listed {
        id,
        name,
        state: text(row, "State").to_owned(),
        image_id: text(row, "ImageID").to_owned(),
        labels: labels(row.get("Labels")),
        endpoints: endpoints(row),
    })
}

/// Labels, as a map of texts.
pub fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn endpoints(row: &Value) -> BTreeSet<String> {
    let networks = row.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let networks = networks.into_iter().flatten();
    networks.map(|(_, endpoint)| text(endpoint, "EndpointID").to_owned()).collect()
}

/// The list of images.
pub fn images(list: &Value) -> Result<Vec<ListedImage>, EngineError> {
    let image = |row: &Value| {
        let tags = row.get("RepoTags").and_then(Value::as_array).into_iter().flatten();
        Some(ListedImage {
            id: row.get("Id")?.as_str()?.to_owned(),
            tags: tags.filter_map(Value::as_str).map(str::to_owned).collect(),
            created: row.get("Created").and_then(Value::as_i64).unwrap_or(0),
        })
    };
    Ok(array("list images", list)?.iter().filter_map(image).collect())
}

/// When a file was last written, from what the Engine says of its path
/// (`X-Docker-Container-Path-Stat`); `None` for everything that is no ordinary file. Its mode is
/// that of Go's `fs.FileMode`, whose upper bits tell the type.
pub fn file_time(stat: &Value) -> Option<DateTime<Utc>> {
    const TYPE_BITS: u64 = 0x8f28_0000;
    let mode = stat.get("mode").and_then(Value::as_u64)?;
    let time = DateTime::parse_from_rfc3339(text(stat, "mtime")).ok()?;
    (mode & TYPE_BITS == 0).then_some(time.with_timezone(&Utc))
}

fn array<'a>(call: &'static str, value: &'a Value) -> Result<&'a Vec<Value>, EngineError> {
    let wrong = || EngineError::Garbage { call, detail: "it is not a list".into() };
    value.as_array().ok_or_else(wrong)
}

/// One line of a log: no line end, no control characters that could play with a terminal, not
/// longer than `bytes_max`.
pub fn log_line(bytes: &[u8], bytes_max: usize) -> String {
    let kept = &bytes[..bytes.len().min(bytes_max)];
    let text = String::from_utf8_lossy(kept);
    let clean = |letter: char| if letter.is_control() && letter != '\t' { ' ' } else { letter };
    text.trim_end().chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_state_does_not_spoil_the_list() {
        let list = json!([
            { "Id": "1", "Names": ["/other/alias", "/till"], "State": "hibernating",
              "ImageID": "sha256:1", "Labels": { "a": "b", "c": null } },
            { "Names": ["/no-id"] },
            "rubbish",
        ]);
        let read = containers(&list).expect("a list");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].name, "till");
        assert_eq!(read[0].state, "hibernating");
        assert_eq!(read[0].labels.len(), 1);
    }

    #[test]
    fn a_list_that_is_none_is_an_error() {
        assert!(containers(&json!({"message": "hello"})).is_err());
    }

    #[test]
    fn the_image_store_is_told_by_the_drivers_status() {
        let version = json!({ "ApiVersion": "1.51", "Version": "28.5.2" });
        let info = json!({ "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]] });
        assert!(engine_info(&version, &info).containerd_store);
        let info = json!({ "DriverStatus": [["Backing Filesystem", "extfs"]] });
        assert!(!engine_info(&version, &info).containerd_store);
    }

    #[test]
    fn podman_cannot_change_a_restart_policy() {
        let version = json!({ "Components": [{ "Name": "Podman Engine" }, { "Name": "Conmon" }] });
        assert!(!engine_info(&version, &Value::Null).can_update);
        let version = json!({ "Components": [{ "Name": "Engine" }, { "Name": "containerd" }] });
        assert!(engine_info(&version, &Value::Null).can_update);
    }

    #[test]
    fn zstd_is_known_to_dockers_engine_from_23_on() {
        let unpacks = |version: Value, info: Value| engine_info(&version, &info).unpacks_zstd;
        let docker = |version: &str| json!({ "Version": version });
        for (version, expected) in [
            ("20.10.24+dfsg1", false),
            ("19.03.15", false),
            ("22.06.0-beta.0", false),
            ("23.0.1", true),
            ("28.5.2", true),
            ("dev", true),
            ("", true),
        ] {
            assert_eq!(unpacks(docker(version), Value::Null), expected, "{version}");
        }
        let containerd =
            json!({ "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]] });
        assert!(unpacks(docker("20.10.24"), containerd));
        let podman = json!({ "Version": "4.3.1", "Components": [{ "Name": "Podman Engine" }] });
        assert!(unpacks(podman, Value::Null));
    }

    #[test]
    fn only_ordinary_files_have_a_time() {
        let stat = |mode: u64| json!({ "mode": mode, "mtime": "2026-11-21T07:00:00Z" });
        assert!(file_time(&stat(0o644)).is_some());
        assert!(file_time(&stat(0x8000_0000 | 0o755)).is_none(), "a directory");
        assert!(file_time(&Value::Null).is_none());
    }

    #[test]
    fn log_lines_cannot_play_with_a_terminal() {
        assert_eq!(log_line(b"\x1b[31mred\r\n", 100), " [31mred");
        assert_eq!(log_line(b"abcdef", 3), "abc");
    }
}
