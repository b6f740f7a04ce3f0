//! Where an Engine keeps the content of images: which directories must be flushed before a switch,
//! and which disk needs space for a pull.
//!
//! With the containerd image store this is not the Engine's own directory. An Engine that starts
//! containerd itself gives it a directory below its own (moby `initContainerd`). An Engine that
//! uses the system's containerd, as in the packages of Docker and Debian, keeps images in that
//! containerd's directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Default root directory of the system's containerd (`defaults.DefaultRootDir` of containerd).
pub const CONTAINERD_ROOT: &str = "/var/lib/containerd";

/// Sockets of the system's containerd; `/var/run` is the same directory.
const SYSTEM_SOCKETS: [&str; 2] =
    ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];

/// The socket of a containerd that an Engine started itself, below its runtime directory.
const OWN_SOCKET: &str = "/containerd/containerd.sock";

/// The content directory of a containerd, below its root.
const CONTENT: &str = "io.containerd.content.v1.content";

/// The root of a containerd that an Engine started itself, below the Engine's root.
const OWN_ROOT: &str = "containerd/daemon";

/// Which program keeps the content of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageStore {
    /// The Engine, below its own directory.
    #[default]
    Engine,
    /// A containerd that the Engine did not start.
    Containerd,
    /// A containerd; the Engine does not say which one (before API 1.46).
    SomeContainerd,
}

impl ImageStore {
    /// Reads the store from `/info`, for an Engine with this kind of store.
    #[must_use]
    pub fn of(info: &Value, is_containerd_store: bool) -> Self {
        if !is_containerd_store {
            return Self::Engine;
        }
        let address = info.pointer("/Containerd/Address").and_then(Value::as_str);
        match address.map(|address| address.trim_start_matches("unix://")) {
            None | Some("") => Self::SomeContainerd,
            Some(address) if SYSTEM_SOCKETS.contains(&address) => Self::Containerd,
            Some(address) if address.ends_with(OWN_SOCKET) => Self::Engine,
            Some(_) => Self::Containerd,
        }
    }
}

/// The directories that may contain the content of images. `is_there` says whether a directory is
/// visible to the agent; of several candidates the visible ones count.
#[must_use]
pub fn directories(
    store: ImageStore,
    engine_root: &Path,
    containerd_root: &Path,
    is_there: impl Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let of_the_system = containerd_root.join(CONTENT);
    match store {
        ImageStore::Engine => vec![engine_root.to_owned()],
        ImageStore::Containerd => vec![of_the_system],
        ImageStore::SomeContainerd => {
            let own = engine_root.join(OWN_ROOT).join(CONTENT);
            let there: Vec<_> =
                [own, of_the_system.clone()].into_iter().filter(|it| is_there(it)).collect();
            if there.is_empty() { vec![of_the_system] } else { there }
        }
    }
}

/// The root directory in a containerd's configuration (`/etc/containerd/config.toml`), or the
/// default one.
#[must_use]
pub fn containerd_root(configuration: &str) -> PathBuf {
    // `root` is a top-level key. The top level ends with the first table.
    let top = configuration.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    PathBuf::from(top.filter_map(value_of_root).next().unwrap_or(CONTAINERD_ROOT))
}

/// The path in a line `root = "…"`.
fn value_of_root(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("root")?.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    rest.get(1..)?.split(quote).next().filter(|path| Path::new(path).is_absolute())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_socket_identifies_the_containerd() {
        for (address, expected) in [
            (json!("/run/containerd/containerd.sock"), ImageStore::Containerd),
            (json!("/var/run/containerd/containerd.sock"), ImageStore::Containerd),
            (json!("/run/k3s/containerd.sock"), ImageStore::Containerd),
            (json!("/var/run/docker/containerd/containerd.sock"), ImageStore::Engine),
            (json!("/srv/exec/containerd/containerd.sock"), ImageStore::Engine),
            (json!(""), ImageStore::SomeContainerd),
            (Value::Null, ImageStore::SomeContainerd),
        ] {
            let info = json!({ "Containerd": { "Address": address } });
            assert_eq!(ImageStore::of(&info, true), expected, "{address}");
            assert_eq!(ImageStore::of(&info, false), ImageStore::Engine);
        }
        assert_eq!(ImageStore::of(&Value::Null, true), ImageStore::SomeContainerd);
    }

    #[test]
    fn content_lies_where_its_keeper_has_it() {
        let engine = Path::new("/mnt/ssd/docker");
        let own = engine.join("containerd/daemon").join(CONTENT);
        let system = Path::new(CONTAINERD_ROOT).join(CONTENT);
        let of = |store, there: &[&PathBuf]| {
            let is_there = |path: &Path| there.iter().any(|it| *it == path);
            directories(store, engine, Path::new(CONTAINERD_ROOT), is_there)
        };
        assert_eq!(of(ImageStore::Engine, &[]), [engine.to_owned()]);
        let either = ImageStore::SomeContainerd;
        for (store, there, expected) in [
            (ImageStore::Containerd, &[&own][..], &[&system][..]),
            (either, &[&own], &[&own]),
            (either, &[&system], &[&system]),
            (either, &[&system, &own], &[&own, &system]),
            // A directory that is not visible is flushed with everything else.
            (either, &[], &[&system]),
        ] {
            let found = of(store, there);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{store:?} {there:?}");
        }
    }

    #[test]
    fn a_containerd_that_was_moved_is_found() {
        for (text, expected) in [
            ("", CONTAINERD_ROOT),
            ("version = 2\nroot = \"/mnt/ssd/containerd\"\n", "/mnt/ssd/containerd"),
            ("root='/mnt/x' # here\n[debug]\n", "/mnt/x"),
            ("# root = \"/commented\"\n", CONTAINERD_ROOT),
            ("rootless = \"/x\"\n", CONTAINERD_ROOT),
            ("[plugins]\nroot = \"/of/a/plugin\"\n", CONTAINERD_ROOT),
            ("root = \"relative\"\n", CONTAINERD_ROOT),
        ] {
            assert_eq!(containerd_root(text), PathBuf::from(expected), "{text}");
        }
    }
}
