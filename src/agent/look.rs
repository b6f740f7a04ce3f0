//! Whom a request is about, and how they are looked at.

use std::collections::BTreeMap;

use super::{Agent, Request, RoundError};
use crate::core::decide::Circumstances;
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, OpenUpdate};
use crate::core::policy::PolicyDefaults;
use crate::core::policy::own_labels::PassedOver;
use crate::core::update::event::Event;
use crate::engine::{Engine, EngineError, EngineInfo, Listed};
use crate::host::Host;
use crate::observe::{self, Scope};
use crate::registry::Registry;
use crate::world::Ports;

/// What a look starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// Every container that the Engine has.
    pub(super) list: &'a [Listed],
    /// What is remembered.
    pub(super) memory: &'a Memory,
    /// Updates that were left open, by container.
    pub(super) open: &'a BTreeMap<String, OpenUpdate>,
}

impl<P: Ports> Agent<P> {
    /// Every container that the Engine has. Whose labels they have is known from then on.
    pub(super) async fn list(&mut self) -> Result<Vec<Listed>, EngineError> {
        let list = self.ports.engine().list().await?;
        self.cache.learn_whose_labels(self.ports.engine(), &list).await;
        Ok(list)
    }

    /// Every name of a request is that of a watched container, or of one whose update is open: it
    /// may have none at the moment.
    pub(super) fn check_names(
        &self,
        request: &Request,
        list: &[Listed],
        open: &BTreeMap<String, OpenUpdate>,
    ) -> Result<(), RoundError> {
        let Some(names) = &request.names else { return Ok(()) };
        let mut watched = observe::watched_names(list, &self.settings.defaults, &self.cache);
        watched.extend(open.keys().cloned());
        let passed = observe::passed_over(list, &self.settings.defaults, &self.cache);
        let named = |name: &String| match passed.iter().find(|it| it.container == *name) {
            Some(passed) => format!("{name} ({})", passed.in_words()),
            None => name.clone(),
        };
        let unknown: Vec<_> = names.difference(&watched).map(named).collect();
        if unknown.is_empty() { Ok(()) } else { Err(RoundError::UnknownNames(unknown)) }
    }

    /// What of images' labels does not count, told once for each container. Gives it for the
    /// containers of a request.
    pub(super) fn pass_over(&self, request: &Request, list: &[Listed]) -> Vec<PassedOver> {
        let mut all = observe::passed_over(list, &self.settings.defaults, &self.cache);
        let before = self.snapshot.borrow().passed_over.clone();
        for news in all.iter().filter(|news| !before.contains(news)) {
            let (container, detail) = (news.container.clone(), news.in_words());
            self.listener.hear(&Event::Warning { container, detail });
        }
        if before != all {
            self.publish(|snapshot| snapshot.passed_over.clone_from(&all));
        }
        let is_meant = |name: &String| request.names.as_ref().is_none_or(|all| all.contains(name));
        all.retain(|it| is_meant(&it.container));
        all
    }

    /// What holds for the whole of a round.
    pub(super) fn circumstances(&self, request: &Request) -> Circumstances {
        Circumstances {
            now: self.ports.host().now(),
            zone: self.settings.zone.clone(),
            pull_window: self.settings.pull_window.clone(),
            force: request.force,
            tries_at_once: request.tries_at_once,
            own_container: self.ports.host().own_container(),
            engine_endpoint: self.settings.engine_endpoint.clone(),
            other_agent: None,
            state_dir: self.ports.state().root().to_owned(),
        }
    }

    /// Looks at the containers of a request, and asks their registries.
    pub(super) async fn look(
        &mut self,
        request: &Request,
        circumstances: &Circumstances,
        start: Start<'_>,
    ) -> Result<Vec<Observation>, RoundError> {
        self.follow_engine().await?;
        self.ports.registry().remember_tls(&start.memory.tls_hosts);
        let scope = scope(&self.settings.defaults, request, circumstances, start);
        Ok(observe::look(&*self.ports, &mut self.cache, &scope).await?)
    }

    /// The same, leaving the registries alone.
    pub(super) async fn look_without_registry(
        &mut self,
        request: &Request,
        circumstances: &Circumstances,
        start: Start<'_>,
    ) -> Result<Vec<Observation>, RoundError> {
        let scope = scope(&self.settings.defaults, request, circumstances, start);
        Ok(observe::glance(&*self.ports, &mut self.cache, &scope).await?)
    }

    /// Registries are asked where the Engine would ask. It may not have been there at the start.
    async fn follow_engine(&mut self) -> Result<(), EngineError> {
        if !self.mirrors_are_known {
            self.engine_info().await?;
            self.mirrors_are_known = true;
        }
        Ok(())
    }

    /// What the Engine says of itself. The registry port hears of what concerns registries.
    pub(super) async fn engine_info(&self) -> Result<EngineInfo, EngineError> {
        let info = self.ports.engine().info().await?;
        self.ports.registry().follow_engine(&info.registries);
        Ok(info)
    }
}

fn scope<'a>(
    defaults: &'a PolicyDefaults,
    request: &'a Request,
    circumstances: &'a Circumstances,
    start: Start<'a>,
) -> Scope<'a> {
    let Start { list, memory, open: open_updates } = start;
    let (names, except) = (request.names.as_ref(), &request.except);
    Scope { defaults, circumstances, list, memory, open_updates, names, except }
}
