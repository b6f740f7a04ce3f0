//! The judge: asks the Engine and the disk alone, never the agent, whether the invariants hold.
//!
//! What the Engine itself loses is not the agent's fault: every run has a control container with
//! the same restart policy that nobody touches, and where that one is down, so may be the service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pilotfish::core::decide::memory::Memory;
use pilotfish::core::update::history::{Outcome, Record};
use serde_json::{Value, json};

use crate::engine::documents::merged;
use crate::engine::state::{Container, Phase};
use crate::engine::store::repository;
use crate::images::Image;
use crate::machine::{Affairs, Machine};
use crate::service::Service;
use crate::session::STATE;

/// The container that nobody touches.
pub const CONTROL: &str = "control";

/// What else is not demanded of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leave {
    /// A person took something away, so the service may rightly be down.
    pub may_be_down: bool,
    /// The history was lost with the state directory.
    pub no_history: bool,
    /// It is stuck: one of them must run, under whatever name, and everything is left as it is.
    pub is_stuck: bool,
    /// A person made the container that serves, so it is as they made it.
    pub is_replaced: bool,
    /// Nothing tells any more which restart policy the user had.
    pub may_have_our_policy: bool,
    /// The newest good image need not have arrived.
    pub may_be_old: bool,
}

/// One look at a machine.
pub struct InvariantChecker<'a> {
    affairs: &'a Affairs,
    found: Vec<String>,
}

impl Machine {
    /// Everything that must hold once nothing goes wrong any more and nothing is in flight.
    pub fn invariants(&self, leave: Leave) -> Vec<String> {
        self.with(|affairs, _| {
            let mut invariants = InvariantChecker { affairs, found: affairs.violations.clone() };
            for service in affairs.services.iter().filter(|service| service.name != CONTROL) {
                match leave.is_stuck {
                    true => invariants.one_runs(service, "while it is stuck"),
                    false => invariants.service(service, leave),
                }
            }
            if !leave.is_stuck {
                invariants.debris();
            }
            invariants.refusals();
            invariants.found
        })
    }

    /// What must hold while the Engine is alone after a power cut (I12). `between` says that the
    /// cut came between the two calls of the commit, or before they were flushed.
    pub fn judge_the_engine_alone(&self, between: bool) -> Vec<String> {
        self.with(|affairs, _| {
            let mut invariants = InvariantChecker { affairs, found: Vec::new() };
            for service in affairs.services.iter().filter(|service| service.name != CONTROL) {
                invariants.alone(service, between);
            }
            invariants.found
        })
    }

    /// Exactly one of each service runs (I1), proven or not.
    pub fn judge_the_service(&self) -> Vec<String> {
        self.with(|affairs, _| {
            let mut invariants = InvariantChecker { affairs, found: Vec::new() };
            for service in affairs.services.iter().filter(|service| service.name != CONTROL) {
                invariants.one_runs(service, "10 s after the last fault");
            }
            invariants.found
        })
    }

    /// A digest that is refused, or whose verdict stands in a journal, must not be started (I8).
    pub fn judge_starts_since(&self, number: usize) {
        let mut affairs = self.lock();
        let starts = affairs.engine.starts[number..].to_vec();
        for (service, image) in starts {
            let image = std::sync::Arc::clone(affairs.shelf.image(&image));
            if affairs.has_refused(&service, &image) {
                affairs.violations.push(format!("I8: {service}: {} was started again", image.name));
            }
        }
    }
}

impl Affairs {
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
        self.memory().refusal(service, &image.manifest).is_some()
            || self.journals().into_iter().any(|path| self.condemns(path, service, image))
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

    fn condemns(&self, journal: &Path, service: &str, image: &Image) -> bool {
        let content = self.files.read(journal).unwrap_or_default();
        let mut lines = content
            .split(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice::<Value>(line).unwrap_or_default());
        let plan = lines.next().unwrap_or_default()["plan"].take();
        plan["container"] == service
            && plan["to"]["manifest"] == image.manifest.as_str()
            && lines.any(|line| line["cause"]["fault"] == "image")
    }
}

impl<'a> InvariantChecker<'a> {
    fn say(&mut self, invariant: &str, service: &str, what: &str) {
        self.found.push(format!("{invariant}: {service}: {what}"));
    }

    fn of(&self, service: &str) -> Vec<&'a Container> {
        self.affairs.engine.containers().filter(|it| it.service == service).collect()
    }

    fn image(&self, container: &Container) -> Option<&'a Image> {
        self.affairs.engine.stored.images.get(&container.image).map(|image| image.spec.as_ref())
    }

    /// Whether the Engine kept the container that nobody touched.
    fn control_runs(&self) -> bool {
        let control = self.affairs.engine.find(CONTROL);
        control.is_none_or(Container::is_running)
    }

    fn one_runs(&mut self, service: &Service, when: &str) {
        let running = self.of(&service.name).iter().filter(|it| it.is_running()).count();
        if running > 1 {
            self.say("I1", &service.name, &format!("{running} containers run {when}"));
        }
        if running == 0 && self.control_runs() {
            self.say("I1", &service.name, &format!("no container runs {when}"));
        }
    }

    fn service(&mut self, service: &Service, leave: Leave) {
        let name = &service.name;
        let containers = self.of(name);
        let holder = containers.iter().find(|it| it.name == *name && it.is_running());
        let holder = holder.map(|holder| (*holder).clone());
        if containers.len() > 1 {
            let all: Vec<_> = containers.iter().map(|it| it.name.clone()).collect();
            self.say("I6", name, &format!("{all:?} are left"));
        }
        if !leave.may_be_down {
            self.one_runs(service, "in the end");
        }
        let Some(holder) = holder else {
            if !leave.may_be_down && self.control_runs() {
                self.say("I1", name, "nothing runs under its name in the end");
            }
            return;
        };
        if leave.is_replaced {
            return;
        }
        self.image_is_right(service, &holder, leave);
        self.is_faithful(service, &holder, leave);
        self.same_world(service, &holder);
        if !leave.no_history {
            self.history_is_true(service, &holder);
        }
    }

    fn image_is_right(&mut self, service: &Service, holder: &Container, leave: Leave) {
        let name = &service.name;
        if holder.phase != Phase::Running {
            self.say("I1", name, "it is being restarted over and over");
        }
        let Some(image) = self.image(holder) else {
            return self.say("I2", name, "its image is gone");
        };
        if image.name != service.first && !image.behaviour(name).is_good() {
            self.say("I2", name, &format!("it runs on the bad {}", image.name));
        }
        let tag = service.image.clone();
        let Some((_, offered)) = self.affairs.shelf.offered(&tag) else { return };
        let is_wanted = offered.behaviour(name).is_good()
            && !self.affairs.has_refused(name, offered)
            && self.affairs.shelf.failure.is_none();
        if is_wanted && offered.name != image.name && !leave.may_be_old {
            let (running, offered) = (image.name.clone(), offered.name.clone());
            self.say("I2", name, &format!("{running} runs although the good {offered} is offered"));
        }
        let local = self.affairs.engine.image(&tag).map(|image| image.id.clone());
        let others = |it: &&Service| ![name.as_str(), CONTROL].contains(&it.name.as_str());
        let is_alone = !self.affairs.services.iter().filter(others).any(|it| it.image == tag);
        if local.as_ref() != Some(&holder.image) && is_alone {
            self.say("I2", name, "the local tag stands for another image than the one that runs");
        }
    }

    /// I9: what hangs on a service hangs on the very container that bears its name.
    fn same_world(&mut self, service: &Service, holder: &Container) {
        let Some((_, on)) = &service.hangs else { return };
        let anchor = self.affairs.engine.find(on).map(|it| it.id.clone());
        if holder.anchors().map(str::to_owned).next() != anchor {
            self.say("I9", &service.name, &format!("it hangs on another container than {on}"));
        }
    }

    /// I3, I4, I5: what the user typed, on the image that runs, is what the container is.
    fn is_faithful(&mut self, service: &Service, holder: &Container, leave: Leave) {
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
                // It names a container, which `same_world` looks at.
                if let Some((how, _)) = &service.hangs {
                    host_config.remove(*how);
                }
            }
            json!([config, host_config])
        };
        let (wanted, got) = (comparable(&service.body), comparable(&holder.body));
        if wanted != got {
            self.say("I3", name, &format!("wanted {wanted}\n    got {got}"));
        }
        let is_joined = service.hangs.as_ref().is_some_and(|(how, _)| *how == "NetworkMode");
        if !is_joined && holder.networks.keys().ne(["shop"]) {
            self.say("I3", name, &format!("its networks are {:?}", holder.networks));
        }
        let volumes: Vec<_> = holder.mounts.iter().map(|mount| mount.volume.clone()).collect();
        let are_there = volumes.iter().all(|it| self.affairs.engine.stored.volumes.contains(it));
        if volumes != service.volumes || !are_there {
            self.say("I4", name, &format!("had {:?}, has {volumes:?}", service.volumes));
        }
        if holder.policy.name != service.policy && !leave.may_have_our_policy {
            self.say("I5", name, &format!("its restart policy is {}", holder.policy.name));
        }
    }

    fn history_is_true(&mut self, service: &Service, holder: &Container) {
        let name = &service.name;
        let history = self.affairs.history();
        let ids: BTreeSet<_> = history.iter().map(|record| record.id.clone()).collect();
        if ids.len() != history.len() {
            self.say("I7", name, "an update stands in the history twice");
        }
        let own = history.iter().filter(|record| record.container == *name);
        let last = own.clone().rfind(|record| record.outcome == Outcome::Updated).cloned();
        let Some(image) = self.image(holder) else { return };
        let told = last.and_then(|record| {
            let index = record.to?;
            Some(self.affairs.shelf.behind(&index)?.name.clone())
        });
        let told = told.unwrap_or_else(|| service.first.clone());
        let (running, refused) = (image.name.clone(), self.affairs.memory().refused);
        if told != running {
            self.say("I7", name, &format!("the history says {told}, but {running} runs"));
        }
        for refusal in refused.get(name).into_iter().flatten() {
            let is_told = own.clone().any(|record| {
                let offered = record.to.as_ref().and_then(|to| self.affairs.shelf.behind(to));
                record.outcome != Outcome::Updated
                    && offered.is_some_and(|image| refusal.digests.contains(&image.manifest))
            });
            if !is_told {
                self.found.push(format!("I7: {name}: a refusal is not in the history"));
            }
        }
    }

    /// I6, beside the containers of services.
    fn debris(&mut self) {
        for container in self.affairs.engine.containers() {
            // What belongs to no service is a person's, whatever its name is.
            if container.name.starts_with("pilotfish-") && !container.service.is_empty() {
                self.found.push(format!("I6: the container {} is left", container.name));
            }
        }
        for path in self.affairs.files.paths() {
            let is_journal = path.parent().is_some_and(|it| it.ends_with("journal"));
            if is_journal || path.extension().is_some_and(|it| it == "tmp") {
                self.found.push(format!("I6: the file {} is left", path.display()));
            }
        }
        self.images();
    }

    fn images(&mut self) {
        let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
        for service in &self.affairs.services {
            *allowed.entry(repository(&service.image)).or_default() += service.keep + 1;
        }
        let images = &self.affairs.engine.stored.images;
        let allowed: usize = allowed.values().sum();
        if images.len() > allowed {
            let names: Vec<_> = images.values().map(|image| image.spec.name.clone()).collect();
            self.found.push(format!("I6: the images {names:?} are left"));
        }
        for service in &self.affairs.services {
            let prefix = format!("pilotfish-keep/{}:", service.name);
            let tags = images.values().flat_map(|image| image.tags.keys());
            let kept = tags.filter(|tag| tag.starts_with(&prefix)).count();
            if kept > service.keep {
                self.found.push(format!("I6: {kept} images of {} are kept", service.name));
            }
        }
    }

    /// I8: nothing good is refused for what a cut or a restart did to it. An image under which the
    /// machine went away three times is refused without a verdict, and says so.
    fn refusals(&mut self) {
        for (service, refusals) in &self.affairs.memory().refused {
            for refusal in
                refusals.iter().filter(|it| !it.detail.contains("tries were interrupted"))
            {
                let mut digests = refusal.digests.iter();
                let image = digests.find_map(|it| self.affairs.shelf.with_manifest(it));
                if image.is_some_and(|image| image.behaviour(service).is_good()) {
                    let detail = &refusal.detail;
                    self.found.push(format!("I8: {service}: a good image is refused: {detail}"));
                }
            }
        }
    }

    fn alone(&mut self, service: &Service, between: bool) {
        let name = &service.name;
        let running: Vec<_> = self.of(name).into_iter().filter(|it| it.is_running()).collect();
        let (count, first) = (running.len(), running.first().map(|it| (*it).clone()));
        if count > 1 {
            self.say("I12", name, &format!("the Engine alone runs {count}"));
        }
        match first {
            // With live-restore the parked one must not come back beside a new one that has
            // outlived the Engine; no policy tells that from a boot, so there nothing serves.
            None if self.control_runs() && !between && !self.affairs.engine.live_restore => {
                self.say("I12", name, "the Engine alone runs none");
            }
            Some(first) if !self.is_proven(service, &first) => {
                self.say("I12", name, "the Engine alone runs one that has not proved itself");
            }
            _ => {}
        }
    }

    fn is_proven(&self, service: &Service, container: &Container) -> bool {
        let is_first = self.image(container).is_some_and(|image| image.name == service.first);
        is_first || self.affairs.proven.contains(&container.id)
    }
}
