//! What Docker Compose writes into the labels of its containers, in the spellings of its versions.
//!
//! Compose 1.29 writes no `depends_on`. Compose 2 writes `service:condition:restart` for each
//! dependency, in a random order. Versions between them left out the last parts.

use std::collections::BTreeMap;

use crate::core::group::dependency::{Condition, Dependency};

/// The name of the project.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// The name of the service in its project.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// The number of the container of its service.
pub const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";

/// The services that this one waits for at its start.
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The dependencies that Compose wrote. A part that is missing means what Compose itself takes it
/// for: the condition "running or healthy", and a restart with the other one.
#[must_use]
pub fn depends_on(labels: &BTreeMap<String, String>) -> Vec<Dependency> {
    let written = labels.get(DEPENDS_ON).map_or("", String::as_str);
    written.split(',').filter_map(dependency).collect()
}

fn dependency(entry: &str) -> Option<Dependency> {
    let mut parts = entry.split(':').map(str::trim);
    let on = parts.next().filter(|name| !name.is_empty())?.to_owned();
    let condition = match parts.next() {
        Some("service_completed_successfully") => Condition::Completed,
        Some("service_healthy") => Condition::Healthy,
        _ => Condition::Started,
    };
    let restarts = parts.next().is_none_or(|word| word.eq_ignore_ascii_case("true"));
    Some(Dependency { on, condition, restarts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn read(value: &str) -> Vec<(String, Condition, bool)> {
        let read = depends_on(&labels(&[(DEPENDS_ON, value)]));
        read.into_iter().map(|it| (it.on, it.condition, it.restarts)).collect()
    }

    #[test]
    fn dependencies_are_read_in_all_spellings_of_compose() {
        use Condition::{Completed, Healthy, Started};
        let own = |rows: &[(&str, Condition, bool)]| -> Vec<_> {
            rows.iter()
                .map(|(on, condition, restarts)| ((*on).into(), *condition, *restarts))
                .collect()
        };
        assert_eq!(
            read("migrate:service_completed_successfully:false,db:service_healthy:true"),
            own(&[("migrate", Completed, false), ("db", Healthy, true)])
        );
        assert_eq!(read("db:service_started:false"), own(&[("db", Started, false)]));
        // Older writers, and one of the future.
        assert_eq!(read("db"), own(&[("db", Started, true)]));
        assert_eq!(read("db:service_healthy"), own(&[("db", Healthy, true)]));
        assert_eq!(read("db:service_dreams:False"), own(&[("db", Started, false)]));
        assert_eq!(
            read(" db , cache:service_started:true,"),
            own(&[("db", Started, true), ("cache", Started, true)])
        );
        for nothing in ["", ",", " : "] {
            assert_eq!(read(nothing), own(&[]), "{nothing:?}");
        }
        assert_eq!(depends_on(&BTreeMap::new()), Vec::new(), "Compose 1.29 writes no such label");
    }
}
