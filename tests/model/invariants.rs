//! The invariants, checked on the Engine and the disk alone, never by asking the agent.
//!
//! What the Engine itself loses is not the agent's fault. So every run has a control container with
//! the same restart policy, which no test touches. If it is down, the service may be down too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pilotfish::core::decide::memory::Memory;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::history::{Outcome, Record};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::documents::merged;
use crate::engine::state::{Container, Phase};
use crate::engine::store::repository;
use crate::images::Image;
use crate::machine::{Machine, MachineState};
use crate::service::Service;
use crate::session::STATE;

/// The container that no test touches.
pub const CONTROL: &str = "control";

/// Which invariants a run may break.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leniency {
    /// A person removed something, so the service may be down.
    pub may_be_down: bool,
    /// The history was lost with the state directory.
    pub no_history: bool,
    /// The update is stuck: one container of the service must run, under any name, and the rest is
    /// not checked.
    pub is_stuck: bool,
    /// A person created the serving container, so it is as they made it.
    pub is_replaced: bool,
    /// No record of the user's restart policy is left.
    pub may_have_our_policy: bool,
    /// The newest good image may not be running yet.
    pub may_be_old: bool,
}

/// The names in the first line of a journal. It is read at each step, so the rest is left out.
#[derive(Deserialize)]
struct JournalHeader {
    plan: PlanNames,
}

#[derive(Deserialize)]
struct PlanNames {
    container: Option<String>,
    group: Option<String>,
    #[serde(default)]
    members: Vec<MemberName>,
}

#[derive(Deserialize)]
struct MemberName {
    container: Option<String>,
}

/// One check of a machine.
pub struct InvariantChecker<'a> {
    state: &'a MachineState,
    found: Vec<String>,
}

impl Machine {
    /// The invariants that must hold once all faults are over and no update is in flight.
    pub fn invariants(&self, leniency: Leniency) -> Vec<String> {
        self.with(|state, _| {
            let mut invariants = InvariantChecker { state, found: state.violations.clone() };
            for service in state.services.iter().filter(|service| service.name != CONTROL) {
                match leniency.is_stuck {
                    true => invariants.exactly_one_runs(service, "while it is stuck"),
                    false if service.is_job => invariants.job(service),
                    false => invariants.service(service, leniency),
                }
            }
            if !leniency.is_stuck {
                invariants.leftovers();
            }
            invariants.refusals();
            invariants.found.extend(state.label_hooks_missing());
            invariants.found.extend(state.engine.gaps.iter().map(|gap| format!("I13: {gap}")));
            invariants.found
        })
    }

    /// What must hold while the Engine runs without the agent after a power cut (I12). `committing`
    /// are the services that the cut hit between the two calls of their commit, or before their
    /// flush.
    pub fn check_engine_alone(&self, committing: &BTreeSet<String>) -> Vec<String> {
        self.with(|state, _| {
            let mut invariants = InvariantChecker { state, found: Vec::new() };
            let serves = |service: &&Service| service.name != CONTROL && !service.is_job;
            for service in state.services.iter().filter(serves) {
                invariants.engine_alone(service, committing.contains(&service.name));
            }
            invariants.found
        })
    }

    /// Exactly one container of each service runs (I1), proven or not.
    pub fn check_services(&self) -> Vec<String> {
        self.with(|state, _| {
            let mut invariants = InvariantChecker { state, found: Vec::new() };
            let serves = |service: &&Service| service.name != CONTROL && !service.is_job;
            for service in state.services.iter().filter(serves) {
                invariants.exactly_one_runs(service, "10 s after the last fault");
            }
            invariants.found
        })
    }

    /// A refused digest must not be started (I8). The verdict may still be in a journal only.
    pub fn check_starts_since(&self, number: usize) {
        let mut state = self.lock();
        let starts = state.engine.starts[number..].to_vec();
        for (service, image) in starts {
            let image = std::sync::Arc::clone(state.registry.image(&image));
            if state.has_refused(&service, &image) {
                state.violations.push(format!("I8: {service}: {} was started again", image.name));
            }
        }
    }
}

impl Machine {
    /// A job that has done its work never starts again in its update: by the Engine's state, and by
    /// the journal.
    pub fn check_job_starts_since(&self, number: usize) {
        let mut state = self.lock();
        let starts = state.engine.starts[number..].to_vec();
        for (service, image) in starts {
            let is_job = state.services.iter().any(|it| it.name == service && it.is_job);
            let has_finished =
                state.engine.finished_jobs.contains(&service) || state.has_exit_code_0();
            if is_job && has_finished {
                state.violations.push(format!("J2: {service}: {image} ran after its success"));
            }
        }
    }
}

impl MachineState {
    /// Whether an open journal says that a job has ended well.
    fn has_exit_code_0(&self) -> bool {
        let lines = self.open_journals().into_iter().flatten();
        let jobs = lines.filter_map(|line| line["jobs"].as_array().cloned()).flatten();
        jobs.into_iter().any(|job| job["exit_code"] == 0)
    }

    fn memory(&self) -> Memory {
        let content = self.files.read(&Path::new(STATE).join("memory.json"));
        content
            .map(|content| serde_json::from_slice(&content).expect("a memory"))
            .unwrap_or_default()
    }

    /// Every history line, oldest first.
    pub fn history(&self) -> Vec<Record> {
        let content = self.files.read(&Path::new(STATE).join("history.jsonl")).unwrap_or_default();
        let lines = content.split(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    fn journals(&self) -> Vec<&Path> {
        let directory = Path::new(STATE).join("journal");
        self.files.paths().filter(|path| path.parent() == Some(&directory)).collect()
    }

    pub fn has_refused(&self, service: &str, image: &Image) -> bool {
        self.memory().refusal(&Subject::container(service), &image.manifest).is_some()
            || self.journals().into_iter().any(|path| self.journal_refuses(path, service, image))
    }

    /// The lines of every open journal.
    pub fn open_journals(&self) -> Vec<Vec<Value>> {
        let lines = |path: &Path| {
            let content = self.files.read(path).unwrap_or_default();
            let lines = content.split(|byte| *byte == b'\n');
            lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
        };
        self.journals().into_iter().map(lines).collect()
    }

    /// The services that an open update replaces together with this one, and itself.
    pub fn members_of(&self, service: &str) -> BTreeSet<String> {
        let plans = self.journals().into_iter().filter_map(|path| {
            let content = self.files.read(path)?;
            let header = content.split(|byte| *byte == b'\n').next()?;
            Some(serde_json::from_slice::<JournalHeader>(header).ok()?.plan)
        });
        let plans = plans.filter(|plan| {
            plan.container.as_deref() == Some(service) || plan.group.as_deref() == Some(service)
        });
        let members = plans.flat_map(|plan| plan.members).filter_map(|member| member.container);
        members.chain([service.to_owned()]).collect()
    }

    fn journal_refuses(&self, journal: &Path, service: &str, image: &Image) -> bool {
        let content = self.files.read(journal).unwrap_or_default();
        let mut lines = content
            .split(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice::<Value>(line).unwrap_or_default());
        let plan = lines.next().unwrap_or_default()["plan"].take();
        let parts = ["members", "jobs"].into_iter().flat_map(|of| plan[of].as_array());
        let number = parts.flatten().position(|it| it["container"] == service);
        let Some(number) = number else { return false };
        let all = ["members", "jobs"].into_iter().flat_map(|of| plan[of].as_array()).flatten();
        let manifest = all.map(|it| &it["change"]["to"]["to"]["manifest"]).nth(number);
        let is_meant = |cause: &Value| {
            cause["fault"] == "image" && (cause["member"].is_null() || cause["member"] == number)
        };
        manifest.is_some_and(|it| *it == image.manifest.as_str())
            && lines.any(|line| is_meant(&line["cause"]))
    }
}

impl<'a> InvariantChecker<'a> {
    fn violation(&mut self, invariant: &str, service: &str, what: &str) {
        self.found.push(format!("{invariant}: {service}: {what}"));
    }

    fn containers_of(&self, service: &str) -> Vec<&'a Container> {
        self.state.engine.containers().filter(|it| it.service == service).collect()
    }

    fn image(&self, container: &Container) -> Option<&'a Image> {
        self.state.engine.stored.images.get(&container.image).map(|image| image.spec.as_ref())
    }

    /// Whether the Engine kept the control container running.
    fn control_is_running(&self) -> bool {
        let control = self.state.engine.find(CONTROL);
        control.is_none_or(Container::is_running)
    }

    /// A job has exactly one container, under its name, and it does not run.
    fn job(&mut self, service: &Service) {
        let containers = self.containers_of(&service.name);
        let names: Vec<_> = containers.iter().map(|it| it.name.clone()).collect();
        if names != [service.name.clone()] || containers[0].is_running() {
            self.violation("J1", &service.name, &format!("its containers are {names:?}"));
        }
    }

    fn exactly_one_runs(&mut self, service: &Service, when: &str) {
        let running = self.containers_of(&service.name).iter().filter(|it| it.is_running()).count();
        if running > self.state.may_run(&service.name) {
            self.violation("I1", &service.name, &format!("{running} containers run {when}"));
        }
        if running == 0 && self.control_is_running() {
            self.violation("I1", &service.name, &format!("no container runs {when}"));
        }
    }

    fn service(&mut self, service: &Service, leniency: Leniency) {
        let name = &service.name;
        let containers = self.containers_of(name);
        let holder = containers.iter().find(|it| it.name == *name && it.is_running());
        let holder = holder.map(|holder| (*holder).clone());
        if containers.len() > 1 {
            let all: Vec<_> = containers.iter().map(|it| it.name.clone()).collect();
            self.violation("I6", name, &format!("{all:?} are left"));
        }
        if !leniency.may_be_down {
            self.exactly_one_runs(service, "in the end");
        }
        let Some(holder) = holder else {
            if !leniency.may_be_down && self.control_is_running() {
                self.violation("I1", name, "nothing runs under its name in the end");
            }
            return;
        };
        if leniency.is_replaced {
            return;
        }
        self.image_is_expected(service, &holder, leniency);
        self.matches_definition(service, &holder, leniency);
        self.dependency_is_current(service, &holder);
        if !leniency.no_history {
            self.history_is_complete(service, &holder);
        }
    }

    fn image_is_expected(&mut self, service: &Service, holder: &Container, leniency: Leniency) {
        let name = &service.name;
        if holder.phase != Phase::Running {
            self.violation("I1", name, "it restarts again and again");
        }
        let Some(image) = self.image(holder) else {
            return self.violation("I2", name, "its image is gone");
        };
        if image.name != service.first && !image.behaviour(name).is_good() {
            self.violation("I2", name, &format!("it runs on the bad {}", image.name));
        }
        let tag = service.image.clone();
        let Some((_, offered)) = self.state.registry.offered(&tag) else { return };
        let is_wanted = offered.behaviour(name).is_good()
            && !self.state.has_refused(name, offered)
            && !self.group_waits(service)
            && self.state.registry.failure.is_none();
        if is_wanted && offered.name != image.name && !leniency.may_be_old {
            let (running, offered) = (image.name.clone(), offered.name.clone());
            self.violation(
                "I2",
                name,
                &format!("{running} runs although the good {offered} is offered"),
            );
        }
        let local = self.state.engine.image(&tag).map(|image| image.id.clone());
        let others = |it: &&Service| ![name.as_str(), CONTROL].contains(&it.name.as_str());
        let is_alone = !self.state.services.iter().filter(others).any(|it| it.image == tag);
        if local.as_ref() != Some(&holder.image) && is_alone {
            self.violation(
                "I2",
                name,
                "the local tag stands for another image than the one that runs",
            );
        }
    }

    /// Whether a member of the same group refuses its offered image, so that all of them wait.
    fn group_waits(&self, service: &Service) -> bool {
        let group = |service: &Service| service.body["Labels"]["pilotfish.group"].clone();
        let of_group = self.state.services.iter().filter(|it| group(it) == group(service));
        !group(service).is_null()
            && of_group.into_iter().any(|it| {
                let offered = self.state.registry.offered(&it.image);
                offered.is_some_and(|(_, image)| self.state.has_refused(&it.name, image))
            })
    }

    /// I9: a dependent depends on the container that now has the service's name.
    fn dependency_is_current(&mut self, service: &Service, holder: &Container) {
        let Some((_, on)) = &service.depends_on else { return };
        let anchor = self.state.engine.find(on).map(|it| it.id.clone());
        if holder.anchors().map(str::to_owned).next() != anchor {
            self.violation(
                "I9",
                &service.name,
                &format!("it depends on another container than {on}"),
            );
        }
    }

    /// I3, I4, I5: the container equals the user's definition on the running image.
    fn matches_definition(&mut self, service: &Service, holder: &Container, leniency: Leniency) {
        let name = &service.name;
        let Some(image) = self.image(holder) else { return };
        let comparable = |body: &Value| {
            let mut config = merged(body, image);
            if let Some(config) = config.as_object_mut() {
                config.remove("Hostname");
                config.remove("Volumes");
            }
            let mut host_config = body["HostConfig"].clone();
            if let Some(host_config) = host_config.as_object_mut() {
                host_config.remove("RestartPolicy");
                host_config.remove("Mounts");
                host_config.remove("AutoRemove");
                // It names a container; `dependency_is_current` checks it.
                if let Some((how, _)) = &service.depends_on {
                    host_config.remove(*how);
                }
            }
            json!([config, host_config])
        };
        let (wanted, got) = (comparable(&service.body), comparable(&holder.body));
        if wanted != got {
            self.violation("I3", name, &format!("wanted {wanted}\n    got {got}"));
        }
        let is_joined = service.depends_on.as_ref().is_some_and(|(how, _)| *how == "NetworkMode");
        if !is_joined && holder.networks.keys().ne(["shop"]) {
            self.violation("I3", name, &format!("its networks are {:?}", holder.networks));
        }
        let names = holder.networks.get("shop").map(|endpoint| &endpoint["Aliases"]);
        if !is_joined && names != Some(&json!(["counter"])) {
            self.violation("I3", name, &format!("its aliases are {names:?}"));
        }
        let volumes: Vec<_> = holder.mounts.iter().map(|mount| mount.volume.clone()).collect();
        let are_there = volumes.iter().all(|it| self.state.engine.stored.volumes.contains(it));
        if volumes != service.volumes || !are_there {
            self.violation("I4", name, &format!("had {:?}, has {volumes:?}", service.volumes));
        }
        if holder.policy.name != service.policy && !leniency.may_have_our_policy {
            self.violation("I5", name, &format!("its restart policy is {}", holder.policy.name));
        }
    }

    fn history_is_complete(&mut self, service: &Service, holder: &Container) {
        let name = &service.name;
        let history = self.state.history();
        let ids: BTreeSet<_> = history.iter().map(|record| record.id.clone()).collect();
        if ids.len() != history.len() {
            self.violation("I7", name, "an update is in the history twice");
        }
        let of_name = |record: &Record| {
            let mut images = record.images();
            let own = images.find(|(subject, ..)| subject.is_container(name))?;
            Some((record.outcome, own.2.cloned()))
        };
        let own: Vec<_> = history.iter().filter_map(of_name).collect();
        let last = own.iter().rfind(|(outcome, _)| *outcome == Outcome::Updated).cloned();
        let Some(image) = self.image(holder) else { return };
        let recorded = last.and_then(|(_, to)| {
            let index = to?;
            Some(self.state.registry.behind(&index)?.name.clone())
        });
        let recorded = recorded.unwrap_or_else(|| service.first.clone());
        let (running, refused) = (image.name.clone(), self.state.memory().refused);
        if recorded != running {
            self.violation("I7", name, &format!("the history says {recorded}, but {running} runs"));
        }
        for refusal in refused.get(&Subject::container(name)).into_iter().flatten() {
            let is_recorded = own.iter().any(|(outcome, to)| {
                let offered = to.as_ref().and_then(|to| self.state.registry.behind(to));
                *outcome != Outcome::Updated
                    && offered.is_some_and(|image| {
                        let digests = [&image.manifest, &image.config];
                        digests.into_iter().any(|it| refusal.digests.contains(it))
                    })
            });
            if !is_recorded {
                self.found.push(format!("I7: {name}: a refusal is not in the history"));
            }
        }
    }

    /// I6, except for the containers of services.
    fn leftovers(&mut self) {
        for container in self.state.engine.containers() {
            // A container without a service belongs to a person, whatever its name is.
            if container.name.starts_with("pilotfish-") && !container.service.is_empty() {
                self.found.push(format!("I6: the container {} is left", container.name));
            }
        }
        for path in self.state.files.paths() {
            let is_journal = path.parent().is_some_and(|it| it.ends_with("journal"));
            if is_journal || path.extension().is_some_and(|it| it == "tmp") {
                self.found.push(format!("I6: the file {} is left", path.display()));
            }
        }
        self.images();
    }

    fn images(&mut self) {
        let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
        for service in &self.state.services {
            *allowed.entry(repository(&service.image)).or_default() += service.keep + 1;
        }
        let images = &self.state.engine.stored.images;
        let allowed: usize = allowed.values().sum();
        if images.len() > allowed {
            let names: Vec<_> = images.values().map(|image| image.spec.name.clone()).collect();
            self.found.push(format!("I6: the images {names:?} are left"));
        }
        for service in &self.state.services {
            let prefix = format!("pilotfish-keep/{}:", service.name);
            let tags = images.values().flat_map(|image| image.tags.keys());
            let kept = tags.filter(|tag| tag.starts_with(&prefix)).count();
            if kept > service.keep {
                self.found.push(format!("I6: {kept} images of {} are kept", service.name));
            }
        }
    }

    /// I8: a good image is never refused because of a power cut or a restart. An image is also
    /// refused, without a verdict, if the machine went down three times during its update; the
    /// refusal says so.
    fn refusals(&mut self) {
        for (service, refusals) in &self.state.memory().refused {
            for refusal in
                refusals.iter().filter(|it| !it.detail.contains("tries were interrupted"))
            {
                let mut digests = refusal.digests.iter();
                let image = digests.find_map(|it| self.state.registry.with_manifest(it));
                if image.is_some_and(|image| image.behaviour(&service.name).is_good()) {
                    let detail = &refusal.detail;
                    self.found.push(format!("I8: {service}: a good image is refused: {detail}"));
                }
            }
        }
    }

    fn engine_alone(&mut self, service: &Service, between: bool) {
        let name = &service.name;
        let running: Vec<_> =
            self.containers_of(name).into_iter().filter(|it| it.is_running()).collect();
        let (count, first) = (running.len(), running.first().map(|it| (*it).clone()));
        if count > 1 {
            self.violation("I12", name, &format!("the Engine alone runs {count}"));
        }
        match first {
            // With live-restore, a new container may outlive the Engine, and the parked one must
            // not start beside it. No restart policy distinguishes that from a boot, so here no
            // container serves.
            None if self.control_is_running() && !between && !self.state.engine.live_restore => {
                self.violation("I12", name, "the Engine alone runs none");
            }
            Some(first) if !self.is_proven(service, &first) => {
                self.violation("I12", name, "the Engine alone runs one that has not proved itself");
            }
            _ => {}
        }
    }

    fn is_proven(&self, service: &Service, container: &Container) -> bool {
        let is_first = self.image(container).is_some_and(|image| image.name == service.first);
        is_first || self.state.proven.contains(&container.id)
    }
}
