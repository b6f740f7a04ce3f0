//! Whom a request is about, and how they are looked at.

use std::collections::BTreeMap;

use super::{Agent, Request, RoundError};
use crate::core::decide::Circumstances;
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, OpenUpdate};
use crate::core::policy::PolicyDefaults;
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
    /// Every container that the Engine has.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        self.ports.engine().list().await
    }

    /// Every name of a request is that of a watched container.
    pub(super) fn check_names(&self, request: &Request, list: &[Listed]) -> Result<(), RoundError> {
        let Some(names) = &request.names else { return Ok(()) };
        let watched = observe::watched_names(list, &self.settings.defaults);
        let unknown: Vec<_> = names.difference(&watched).cloned().collect();
        if unknown.is_empty() { Ok(()) } else { Err(RoundError::UnknownNames(unknown)) }
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
