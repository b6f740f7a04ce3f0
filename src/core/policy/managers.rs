//! Other programs that create and replace containers, and would conflict with an update.
//!
//! A container of such a program is held, opted in or not: a label that asks for updates is often
//! inherited from a template, and the program relies on the container that it created. The names of
//! labels come from the programs' own sources.

use std::collections::BTreeMap;

/// `True` if Compose ran a service's image once, for a command (`docker compose run`). The
/// container has all labels of the service. Compose 1 and 2 write `True` and `False`.
const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";

/// Labels of the containers of Swarm tasks (moby `daemon/cluster/executor/container`).
const SWARM: [&str; 3] =
    ["com.docker.swarm.task", "com.docker.swarm.task.id", "com.docker.swarm.service.id"];

/// The prefix of the names of buildx's builders (buildx `driver/docker-container`).
const BUILDER_PREFIX: &str = "buildx_buildkit_";

/// A label, its value (empty: any), and the sentence about its container.
const MANAGERS: [(&str, &str, &str); 18] = [
    ("io.kubernetes.pod.uid", "", "Kubernetes created it, and replaces it by itself"),
    ("io.kubernetes.container.name", "", "Kubernetes created it, and replaces it by itself"),
    ("io.cri-containerd.kind", "", "Kubernetes created it, and replaces it by itself"),
    ("com.hashicorp.nomad.alloc_id", "", "Nomad created it, and replaces it by itself"),
    ("com.amazonaws.ecs.task-arn", "", "Amazon ECS created it, and replaces it by itself"),
    ("net.azure-devices.edge.owner", "", "Azure IoT Edge created it, and replaces it by itself"),
    ("io.balena.supervised", "", "the supervisor of balena created it, and replaces it by itself"),
    ("io.resin.supervised", "", "the supervisor of balena created it, and replaces it by itself"),
    ("supervisor_managed", "", "Home Assistant's Supervisor created it, and updates it by itself"),
    ("io.hass.type", "supervisor", "it is Home Assistant's Supervisor, which updates itself"),
    ("PODMAN_SYSTEMD_UNIT", "", "a systemd unit recreates it at each start"),
    (
        "io.x-k8s.kind.cluster",
        "",
        "it is a node of a kind cluster, and its own layer is the node's disk",
    ),
    (
        "created_by.minikube.sigs.k8s.io",
        "",
        "it is a node of minikube, and its own layer is the node's disk",
    ),
    ("k3d.cluster", "", "it is a node of a k3d cluster, and its own layer is the node's disk"),
    (
        "devcontainer.local_folder",
        "",
        "it is a development container, and a person works in its own layer",
    ),
    (
        "com.gitlab.gitlab-runner.managed",
        "",
        "it is a job of GitLab Runner: on a new image the job would run twice",
    ),
    (
        "com.gitlab.gitlab-runner.job.id",
        "",
        "it is a job of GitLab Runner: on a new image the job would run twice",
    ),
    ("org.testcontainers", "", "a test created it, and finds it by its ID"),
];

/// The other program that manages a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// `docker compose run`: a command that a person started once.
    OneOff,
    /// A Swarm, which replaces the containers of its tasks by itself.
    Swarm,
    /// Another program, in words that complete a sentence.
    Other(&'static str),
}

impl Manager {
    /// Which program manages a container with these labels and this name. The labels of its image
    /// count as well, because leaving a container alone needs no proof.
    #[must_use]
    pub fn of(name: &str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let is_one_off = labels
            .get(COMPOSE_ONE_OFF)
            .is_some_and(|value| matches!(value.trim().to_lowercase().as_str(), "true" | "1"));
        if is_one_off {
            return Some(Self::OneOff);
        }
        if SWARM.iter().any(|label| labels.contains_key(*label)) {
            return Some(Self::Swarm);
        }
        if name.starts_with(BUILDER_PREFIX) {
            return Some(Self::Other(
                "it is a builder of buildx, and a build may be running in it",
            ));
        }
        let is_meant = |(label, value, _): &&(&str, &str, &str)| {
            labels.get(*label).is_some_and(|found| value.is_empty() || found == value)
        };
        MANAGERS.iter().find(is_meant).map(|(_, _, what)| Self::Other(what))
    }

    /// A sentence about the container.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::OneOff => "`docker compose run` started it for one command",
            Self::Swarm => "it is a task of Swarm, which replaces it by itself",
            Self::Other(what) => what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str, labels: &[(&str, &str)]) -> Option<Manager> {
        let owned = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        Manager::of(name, &owned.collect())
    }

    #[test]
    fn one_off_containers_of_compose_are_detected() {
        for value in ["True", "true", "1"] {
            let one_off = [(COMPOSE_ONE_OFF, value), ("com.docker.compose.service", "shop")];
            assert_eq!(manager("shop_run_1", &one_off), Some(Manager::OneOff), "{value}");
        }
        for value in ["False", "false", ""] {
            assert_eq!(manager("shop", &[(COMPOSE_ONE_OFF, value)]), None, "{value}");
        }
    }

    #[test]
    fn other_managers_of_a_container_are_named() {
        for label in SWARM {
            assert_eq!(manager("web.1.x", &[(label, "")]), Some(Manager::Swarm), "{label}");
        }
        for (label, value, what) in MANAGERS {
            assert_eq!(manager("it", &[(label, value)]), Some(Manager::Other(what)), "{label}");
        }
        assert!(manager("buildx_buildkit_default0", &[]).is_some());
        // Home Assistant in a container that a person created is updated by that person.
        assert_eq!(manager("homeassistant", &[("io.hass.type", "core")]), None);
        // Labels that images have for Kubernetes' interfaces manage nothing.
        assert_eq!(manager("db", &[("io.k8s.display-name", "a database")]), None);
        assert_eq!(manager("db", &[("devcontainer.metadata", "[]")]), None);
    }
}
