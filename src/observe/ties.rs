//! Which containers may depend on a container: the ties of all containers, each inspected once in a
//! round.
//!
//! With fifty containers to update of fifty, inspecting all others each time would be 2,500
//! inspects. Instead the list is read each time: it shows new and changed containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Cache;
use super::PreflightContext;
use crate::core::decide::depends_on;
use crate::core::docker::inspect;
use crate::core::policy::Selection;
use crate::core::policy::managers::Manager;
use crate::core::policy::own_labels::{Labels, has_policy, read};
use crate::core::recreate::dependents::{DependsOn, ties_alone};
use crate::engine::{Containers, Engine, EngineError, EngineInfo, Listed};
use crate::host::Host;
use crate::ports::Ports;

/// What was found out about all containers since the round began.
#[derive(Debug, Default)]
pub struct TieIndex {
    info: Option<EngineInfo>,
    known: BTreeMap<String, ContainerTies>,
}

/// The facts about one container.
#[derive(Debug)]
struct ContainerTies {
    /// Its row in the list when it was inspected.
    listed: Listed,
    ties: Arc<Value>,
    /// The names in its `depends-on` label.
    asks: Vec<String>,
}

/// All containers except one.
pub struct OtherContainers {
    /// The ties in their documents.
    pub documents: Vec<Arc<Value>>,
    /// The names in their labels.
    pub depends_on: DependsOn,
}

impl TieIndex {
    /// The Engine's facts about itself.
    pub async fn engine_info(&mut self, engine: &impl Engine) -> Result<&EngineInfo, EngineError> {
        let info = match self.info.take() {
            Some(info) => info,
            None => engine.info().await?,
        };
        Ok(self.info.insert(info))
    }

    /// All containers except this one, opted in or not: each may depend on it.
    pub async fn others<P: Ports>(
        &mut self,
        ports: &P,
        (surroundings, cache): (&PreflightContext<'_>, &Cache),
        id: &str,
    ) -> Result<OtherContainers, EngineError> {
        let list = ports.engine().list().await?;
        self.forget_what_changed(&list);
        let mut others = OtherContainers { documents: Vec::new(), depends_on: DependsOn::new() };
        for listed in list.into_iter().filter(|listed| listed.id != id) {
            let Some(neighbour) = self.known(ports, (surroundings, cache), listed).await? else {
                continue;
            };
            others.documents.push(neighbour.ties.clone());
            if !neighbour.asks.is_empty() {
                others.depends_on.insert(neighbour.listed.id.clone(), neighbour.asks.clone());
            }
        }
        Ok(others)
    }

    /// An inspect stays valid while the container's row in the list is the same. But other
    /// containers' links contain names: if a name has changed, nothing stays valid.
    fn forget_what_changed(&mut self, list: &[Listed]) {
        let before = |listed: &Listed| self.known.get(&listed.id).map(|known| &known.listed);
        let renamed = |listed: &Listed| before(listed).is_some_and(|it| it.name != listed.name);
        if list.iter().any(renamed) {
            self.known.clear();
        }
        let lines: BTreeMap<_, _> = list.iter().map(|listed| (&listed.id, listed)).collect();
        let is_same = |id: &String, known: &ContainerTies| {
            lines.get(id).is_some_and(|now| has_same_ties(now, &known.listed))
        };
        self.known.retain(|id, known| is_same(id, known));
    }

    /// Inspects the container, unless it is known. `None`: it is gone.
    async fn known<P: Ports>(
        &mut self,
        ports: &P,
        (surroundings, cache): (&PreflightContext<'_>, &Cache),
        listed: Listed,
    ) -> Result<Option<&ContainerTies>, EngineError> {
        let id = listed.id.clone();
        if !self.known.contains_key(&id) {
            let Some(document) = ports.engine().inspect(&id).await? else { return Ok(None) };
            let labels = inspect::labels(&document);
            let selection = match cache.image(&listed.image_id) {
                _ if Manager::of(&listed.name, &labels).is_some() => Selection::OptedOut,
                None if !has_policy(&labels) => {
                    read(&labels, &Labels::new(), surroundings.defaults)
                }
                Some(image) => read(&labels, &image.labels, surroundings.defaults),
                // Labels that may be the image's are ignored.
                None => Selection::OptedOut,
            };
            let is_self = ports.host().own_container().as_ref() == Some(&id);
            let asks = depends_on(&document, &selection, is_self);
            let ties = Arc::new(ties_alone(document));
            self.known.insert(id.clone(), ContainerTies { listed, ties, asks });
        }
        Ok(self.known.get(&id))
    }
}

/// Whether two rows of the list show the same ties of a container. The name of its image changes
/// with each tag that moves, and is no tie.
fn has_same_ties(now: &Listed, before: &Listed) -> bool {
    let Listed { id, name, state, exit_code: _, image_id, created_from: _, labels, endpoints } =
        now;
    (id, name, state) == (&before.id, &before.name, &before.state)
        && (image_id, labels, endpoints) == (&before.image_id, &before.labels, &before.endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CreatedFrom;

    fn listed(id: &str) -> Listed {
        Listed {
            id: id.to_owned(),
            name: format!("name of {id}"),
            state: "running".to_owned(),
            exit_code: None,
            image_id: "sha256:1".to_owned(),
            created_from: None,
            labels: BTreeMap::new(),
            endpoints: vec!["before".to_owned()],
        }
    }

    /// Who is still known, of three, once the list says this.
    fn still_known(change: impl FnOnce(&mut Vec<Listed>)) -> Vec<String> {
        let mut list = ["a", "b", "c"].map(listed).to_vec();
        let neighbour = |listed: &Listed| ContainerTies {
            listed: listed.clone(),
            ties: Arc::default(),
            asks: Vec::new(),
        };
        let known = list.iter().map(|listed| (listed.id.clone(), neighbour(listed)));
        let mut ties = TieIndex { known: known.collect(), ..TieIndex::default() };
        change(&mut list);
        ties.forget_what_changed(&list);
        ties.known.into_keys().collect()
    }

    #[test]
    fn whoever_is_not_as_before_is_asked_for_again() {
        assert_eq!(still_known(|_| {}), ["a", "b", "c"]);
        assert_eq!(still_known(|list| list.push(listed("new"))), ["a", "b", "c"]);
        assert_eq!(still_known(|list| drop(list.remove(0))), ["b", "c"]);
        assert_eq!(still_known(|list| list[1].state = "exited".to_owned()), ["a", "c"]);
        assert_eq!(still_known(|list| list[2].endpoints.clear()), ["a", "b"]);
        let from = CreatedFrom { image: "till:v1".to_owned(), manifest: None };
        assert_eq!(still_known(|list| list[0].created_from = Some(from)), ["a", "b", "c"]);
    }

    #[test]
    fn a_new_name_is_in_the_links_of_others_as_well() {
        assert_eq!(still_known(|list| list[0].name = "other".to_owned()), [""; 0]);
    }
}
