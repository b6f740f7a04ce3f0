//! The input of a look. It is collected once, and is the same for all containers of the look.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::{Agent, RoundError, RoundRequest};
use crate::core::decide::Circumstances;
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::OpenUpdate;
use crate::core::policy::PolicyDefaults;
use crate::core::policy::own_labels::IgnoredLabels;
use crate::engine::{EngineError, Listed};
use crate::host::Host;
use crate::journal::JournalError;
use crate::observe::{self, Groups, Scope};
use crate::ports::Ports;
use crate::recover;
use crate::registry::Registry;

/// What a look starts from.
#[derive(Debug)]
pub(in crate::agent) struct LookFacts {
    /// The containers of the look.
    pub(in crate::agent) names: Names,
    /// What is the same for the whole look.
    pub(in crate::agent) circumstances: Circumstances,
    /// Every container that the Engine has.
    pub(in crate::agent) list: Vec<Listed>,
    /// The groups of all watched containers.
    pub(in crate::agent) groups: Groups,
    /// The memory: refused digests, known images.
    pub(in crate::agent) memory: Memory,
    /// Updates that were left open, by container.
    pub(in crate::agent) open: BTreeMap<String, OpenUpdate>,
    /// How many updates and executor tasks had ended before.
    pub(in crate::agent) acts: u64,
}

/// The containers that a look is about.
#[derive(Debug, Clone, Default)]
pub(in crate::agent) struct Names {
    /// Only these; `None`: all that are watched.
    pub(in crate::agent) only: Option<BTreeSet<String>>,
    /// Not these.
    pub(in crate::agent) except: BTreeSet<String>,
}

impl Names {
    pub(in crate::agent) fn only(names: BTreeSet<String>) -> Self {
        Self { only: Some(names), except: BTreeSet::new() }
    }

    pub(in crate::agent) fn of(request: &RoundRequest) -> Self {
        Self { only: request.names.clone(), except: request.except.clone() }
    }

    /// The same with all members of each group of which one is meant: they are decided together.
    fn with_groups(mut self, groups: &Groups) -> Self {
        if let Some(only) = &mut self.only {
            groups.complete(only);
        }
        let is_left_out = |name: &String| {
            let members = groups.group_of(name).and_then(|group| groups.members(group));
            members.is_none_or(|members| members.iter().all(|it| self.except.contains(it)))
        };
        let except = self.except.iter().filter(|name| is_left_out(name)).cloned().collect();
        Self { except, ..self }
    }

    pub(in crate::agent) fn contains(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name)) && !self.except.contains(name)
    }
}

impl LookFacts {
    pub(in crate::agent) fn scope<'a>(&'a self, defaults: &'a PolicyDefaults) -> Scope<'a> {
        Scope {
            defaults,
            circumstances: &self.circumstances,
            list: &self.list,
            groups: &self.groups,
            memory: &self.memory,
            open_updates: &self.open,
            names: self.names.only.as_ref(),
            except: &self.names.except,
        }
    }
}

impl<P: Ports> Agent<P> {
    /// All containers of the Engine. Learns the labels of their images.
    pub(in crate::agent) async fn list(&mut self) -> Result<Vec<Listed>, EngineError> {
        let list = self.context.list().await?;
        self.cache.learn_image_labels(self.context.ports.engine(), &list).await;
        Ok(list)
    }

    /// Finds labels of images that do not count, and warns about each container once. Returns those
    /// of the containers of a request.
    pub(in crate::agent) fn list_ignored_labels(
        &mut self,
        request: &RoundRequest,
        list: &[Listed],
        watched: &BTreeSet<String>,
    ) -> Vec<IgnoredLabels> {
        let mut all = observe::ignored_labels(list, &self.context.settings.defaults, &self.cache);
        let watched = list.iter().filter(|listed| watched.contains(&listed.name));
        all.extend(self.compose_hooks.look(self.context.ports.host(), watched));
        all.sort_by(|a, b| a.container.cmp(&b.container));
        let before = self.snapshot.borrow().ignored_labels.clone();
        for news in all.iter().filter(|news| !before.contains(news)) {
            self.context.warn_about(news.container.clone(), news.in_words());
        }
        if before != all {
            self.publish(|snapshot| snapshot.ignored_labels.clone_from(&all));
        }
        let is_meant = |name: &String| request.names.as_ref().is_none_or(|all| all.contains(name));
        all.retain(|it| is_meant(&it.container));
        all
    }

    /// Collects the input of a look. `list` is the Engine's list of containers if the caller has
    /// just read it.
    pub(in crate::agent) async fn facts(
        &mut self,
        names: Names,
        request: &RoundRequest,
        list: Option<Vec<Listed>>,
    ) -> Result<LookFacts, RoundError> {
        let memory = self.context.ports.state().memory()?;
        self.follow_engine().await?;
        self.context.ports.registry().remember_tls(&memory.tls_hosts);
        let list = match list {
            Some(list) => list,
            None => self.list().await?,
        };
        let mut open = self.open_updates().await?;
        open.extend(self.orphaned_services(&list, &open, request));
        let circumstances = self.circumstances(request);
        let groups = Groups::of(&list, &self.context.settings.defaults, &self.cache);
        let names = names.with_groups(&groups);
        Ok(LookFacts { names, circumstances, list, groups, memory, open, acts: self.acts })
    }

    /// Containers without a journal that have our names, as the executor has judged them. A dry run
    /// proves nothing by itself, so for it such a container is unproven.
    fn orphaned_services(
        &self,
        list: &[Listed],
        open: &BTreeMap<String, OpenUpdate>,
        request: &RoundRequest,
    ) -> BTreeMap<String, OpenUpdate> {
        let only_looks = request.dry_run || self.other_agent.is_some();
        let at_work = self.names_at_work();
        let known = |name: String| {
            let found = self.untouched.get(&name).cloned();
            let is_busy = at_work.contains(&name) || self.executor.is_none();
            let unknown = match (at_work.contains(&name) || !only_looks, is_busy) {
                (true, true) => Some(OpenUpdate::InFlight),
                (true, false) => None,
                (false, _) => Some(OpenUpdate::Unproven),
            };
            Some((name, found.or(unknown)?))
        };
        recover::left_behind(list, open).into_iter().filter_map(known).collect()
    }

    /// What is the same for a whole look.
    pub(in crate::agent) fn circumstances(&self, request: &RoundRequest) -> Circumstances {
        let (ports, settings) = (&self.context.ports, &self.context.settings);
        Circumstances {
            now: ports.host().now(),
            zone: settings.zone.clone(),
            pull_window: settings.pull_window.clone(),
            force: request.force,
            tries_at_once: request.tries_at_once,
            own_container: ports.host().own_container(),
            engine_endpoint: settings.engine_endpoint.clone(),
            other_agent: self.other_agent.clone(),
            state_dir: ports.state().root().to_owned(),
        }
    }

    /// The containers of open updates, in the state that the recovery knows. An update that the
    /// recovery does not know was left by an earlier process; then the Engine is asked whether its
    /// service runs.
    pub(in crate::agent) async fn open_updates(
        &self,
    ) -> Result<BTreeMap<String, OpenUpdate>, JournalError> {
        let (at_work, in_flight) = (self.names_at_work(), self.updates.plans());
        let mut open = BTreeMap::new();
        for journal in self.context.ports.state().open_journals()? {
            let plan = &journal.header.plan;
            let state = match self.recovery.state_of(&plan.id) {
                _ if in_flight.contains(&plan.id) => OpenUpdate::InFlight,
                Some(state) => state,
                None if plan.names().any(|name| at_work.contains(name)) => OpenUpdate::InFlight,
                None => recover::left_open(&*self.context.ports, &journal).await,
            };
            open.extend(plan.names().map(|name| (name.to_owned(), state.clone())));
        }
        Ok(open)
    }

    /// Checks that every name of a request is a watched container, or a container whose update is
    /// in progress or open: such a service may have no container of its name at the moment.
    pub(in crate::agent) fn check_names(
        &self,
        request: &RoundRequest,
        list: &[Listed],
        open: &BTreeMap<String, OpenUpdate>,
    ) -> Result<(), RoundError> {
        let Some(names) = &request.names else { return Ok(()) };
        let defaults = &self.context.settings.defaults;
        let watched = observe::watched_names(list, defaults, &self.cache);
        let groups = Groups::of(list, defaults, &self.cache);
        let at_work = self.names_at_work();
        let is_absent = |name: &String| at_work.contains(name) || open.contains_key(name);
        let is_known = |name: &String| {
            watched.contains(name) || self.swarm.is_watched(name) || groups.named(name).is_some()
        };
        let is_unknown = |name: &&String| !is_known(name) && !is_absent(name);
        let passed = observe::ignored_labels(list, defaults, &self.cache);
        let named = |name: &String| match passed.iter().find(|it| it.container == *name) {
            Some(passed) => format!("{name} ({})", passed.in_words()),
            None => name.clone(),
        };
        let unknown: Vec<_> = names.iter().filter(is_unknown).map(named).collect();
        if unknown.is_empty() { Ok(()) } else { Err(RoundError::UnknownNames(unknown)) }
    }

    /// Reads the Engine's registry settings, if they are not known yet. The Engine may have been
    /// away at the start.
    pub(in crate::agent) async fn follow_engine(&mut self) -> Result<(), RoundError> {
        if !self.mirrors_are_known {
            let info = self.context.engine_info().await?;
            let host = self.context.ports.host();
            self.swarm.joined(info.swarm);
            self.image_directories = host.image_directories(info.image_store, &info.root_dir);
            self.mirrors_are_known = true;
        }
        Ok(())
    }
}
