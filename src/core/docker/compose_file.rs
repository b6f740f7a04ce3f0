//! Hooks in a Compose file. Compose runs them itself and writes them into no label, so an update
//! does not run them, and a user should know (Compose specification, `post_start`, `pre_stop`;
//! Compose 5, `pre_start`).
//!
//! The file is not parsed as YAML: only the block style that people write is understood, and what
//! is not understood is no hook.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::compose::COMPOSE_SERVICE;

/// The files of the project, separated by commas; Compose 1.29 writes them as they were typed.
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";

/// The directory for paths that are not absolute.
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";

/// The hooks of a service.
const HOOKS: [&str; 3] = ["post_start", "pre_start", "pre_stop"];

/// A service of a Compose project, and the files that describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeService {
    pub name: String,
    pub files: Vec<PathBuf>,
}

impl ComposeService {
    /// Reads the labels of a container; nothing if Compose did not create it.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        let name = labels.get(COMPOSE_SERVICE)?.clone();
        let directory = labels.get(WORKING_DIR).map(Path::new).unwrap_or_else(|| Path::new(""));
        let files = labels.get(CONFIG_FILES)?.split(',').filter(|file| !file.is_empty());
        let files: Vec<_> = files.map(|file| directory.join(file)).collect();
        Some(Self { name, files }).filter(|it| it.files.iter().all(|file| file.is_absolute()))
    }
}

/// The hooks that a Compose file names for a service, in their order.
#[must_use]
pub fn hooks(file: &str, service: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    // The indents of the service names, and of the keys of the service that is read.
    let (mut of_services, mut of_keys): (Option<usize>, Option<usize>) = (None, None);
    let (mut in_services, mut in_service) = (false, false);
    for line in file.lines() {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let indent = line.len() - text.len();
        let Some((key, _)) = text.split_once(':') else { continue };
        let key = key.trim_end().trim_matches(['"', '\'']);
        if indent == 0 {
            in_services = key == "services";
            (of_services, of_keys, in_service) = (None, None, false);
        } else if in_services && indent <= *of_services.get_or_insert(indent) {
            (in_service, of_keys) = (key == service, None);
        } else if in_service && indent == *of_keys.get_or_insert(indent) {
            found.extend(HOOKS.into_iter().filter(|hook| *hook == key));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
x-common: &common
  post_start: [{command: [no]}]
services:
  # a comment: with a colon
  api:
    image: shop/api
    environment:
      pre_stop: not a hook
    post_start:
      - command: [\"/warm-up\"]
  \"web\":
      image: shop/web
      pre_stop:
        - command: /leave
      'pre_start': [{command: [/migrate]}]
  db:
    image: postgres
volumes:
  web:
    post_start: no
";

    #[test]
    fn hooks_are_found_in_their_own_service_alone() {
        assert_eq!(hooks(FILE, "api"), ["post_start"]);
        assert_eq!(hooks(FILE, "web"), ["pre_start", "pre_stop"]);
        for service in ["db", "common", "image", ""] {
            assert!(hooks(FILE, service).is_empty(), "{service}");
        }
        assert!(hooks("services: {api: {post_start: []}}", "api").is_empty());
        assert!(hooks("\u{0}:::\n - :\n::", "api").is_empty());
    }

    #[test]
    fn the_files_of_a_container_stand_in_its_labels() {
        let of = |files: &str, directory: &str| {
            let labels =
                [(COMPOSE_SERVICE, "api"), (CONFIG_FILES, files), (WORKING_DIR, directory)];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
            ComposeService::of(&BTreeMap::from(labels)).map(|it| it.files)
        };
        let paths = |files: &[&str]| Some(files.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of("/srv/a.yml,/srv/b.yml", "/srv"), paths(&["/srv/a.yml", "/srv/b.yml"]));
        assert_eq!(of("docker-compose.yml", "/srv"), paths(&["/srv/docker-compose.yml"]));
        assert_eq!(of("docker-compose.yml", ""), None);
        assert_eq!(ComposeService::of(&BTreeMap::new()), None);
    }
}
