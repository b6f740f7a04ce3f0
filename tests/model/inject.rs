//! Injects the faults, and the actions of other people and programs.

use std::time::Duration;

use pilotfish::core::decide::engine_lock::{Holder, LOCK_VOLUME, ProcessIdentity};
use pilotfish::engine::ContainerEvent;
use serde_json::json;

use crate::engine::state::{Moment, State};
use crate::fault::Fault;
use crate::host::OTHER_AGENT;
use crate::machine::{Machine, MachineState};

/// How soon after the last fault every service must run again (I1).
const RUNS_AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// A switch takes the grace period of a stop. The service may be down for so long.
const RECHECK_AFTER: Duration = Duration::from_millis(1500);

impl Machine {
    /// Injects a fault now.
    pub fn inject(&self, fault: Fault) {
        match fault {
            Fault::CheckService { again } => return self.check_service(again),
            Fault::Kill | Fault::Cut(_) => return self.apply_crash(&fault),
            _ => {}
        }
        self.log(format!("! {fault:?}"));
        let mut over = self.now();
        match fault {
            Fault::Terminate => {
                self.stop.lock().expect("not poisoned").cancel();
                self.lock().terminated_at = Some(over);
            }
            Fault::Disk(error, writes) => self.disk_fails(error, writes),
            Fault::RestartEngine { killed, down } => {
                over += down;
                self.with(|state, at| state.engine.restart(at, killed, down));
            }
            other => self.with(|state, at| state.change(at, other)),
        }
        self.fault_ended_at(over);
        self.plan_check(over);
    }

    /// Plans a check of the service after a fault, whether or not the agent was killed.
    pub fn plan_check(&self, over: Duration) {
        let mut state = self.lock();
        if state.checks_after_faults {
            state.timed.push((over + RUNS_AGAIN_WITHIN, Fault::CheckService { again: false }));
            drop(state);
            self.timed_faults_changed.notify_one();
        }
    }

    /// Injects the timed faults until one of them ends the agent, and returns that one.
    pub async fn inject_timed_faults(&self) -> Fault {
        loop {
            let next = self.lock().timed.iter().map(|(at, _)| *at).min();
            let changed = self.timed_faults_changed.notified();
            match next {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.instant(at)) => {
                        if let Some(crash_fault) = self.inject_due_faults() {
                            return crash_fault;
                        }
                    }
                },
            }
        }
    }

    /// I1, while the agent works.
    fn check_service(&self, again: bool) {
        let is_too_early = self.now() < self.lock().last_fault_ended_at + RUNS_AGAIN_WITHIN;
        let found = if is_too_early { Vec::new() } else { self.check_services() };
        if found.is_empty() {
            return;
        }
        if again {
            self.log(format!("! {found:?}"));
            return self.lock().violations.extend(found);
        }
        let at = self.now() + RECHECK_AFTER;
        self.lock().timed.push((at, Fault::CheckService { again: true }));
    }

    fn inject_due_faults(&self) -> Option<Fault> {
        let now = self.now();
        let mut state = self.lock();
        let (due, later) = state.timed.drain(..).partition(|(at, _)| *at <= now);
        state.timed = later;
        drop(state);
        let mut due: Vec<(Duration, Fault)> = due;
        due.sort_by_key(|(at, _)| *at);
        for (_, fault) in due {
            if matches!(fault, Fault::Kill | Fault::Cut(_)) {
                return Some(fault);
            }
            self.inject(fault);
        }
        None
    }
}

impl MachineState {
    fn change(&mut self, at: Moment, fault: Fault) {
        let engine = &mut self.engine;
        match fault {
            Fault::MendDisk => self.files.error = None,
            Fault::LoseState => self.files.lose(),
            Fault::SetClock(milliseconds) => self.clock_ahead += milliseconds,
            Fault::Prune => engine.prune(),
            Fault::OtherAgent(lives) => {
                self.other_agent_lives = lives;
                engine.stored.labels.insert(LOCK_VOLUME.to_owned(), other_agent().labels());
            }
            Fault::Unlock => {
                engine.stored.labels.remove(LOCK_VOLUME);
            }
            Fault::Remove(name) => {
                engine.stop_by_hand(at, &name, 137);
                let _ = engine.remove(&name, false);
            }
            Fault::Stop(name) => engine.stop_by_hand(at, &name, 143),
            Fault::Start(name) => {
                let _ = engine.start(at, &name);
            }
            Fault::Restart(name) => {
                engine.stop_by_hand(at, &name, 143);
                let _ = engine.start(at, &name);
            }
            Fault::Rename(from, to) => {
                let _ = engine.rename(&from, &to);
            }
            Fault::Run(name) => {
                self.create_again(at, &name);
                let _ = self.engine.start(at, &name);
            }
            Fault::CreateForeign(name, image) => {
                let body = json!({ "Image": image, "HostConfig": { "NetworkMode": "bridge" } });
                let _ = engine.create(at, &name, &body);
            }
            Fault::Create(name) => self.create_again(at, &name),
            Fault::Pull(tag) => self.pull(at, &tag),
            Fault::Push(tag, image) => drop(self.registry.push(&tag, &image)),
            Fault::Registry(failure) => self.registry.failure = failure,
            other => unreachable!("{other:?} is done elsewhere"),
        }
    }

    fn pull(&mut self, at: Moment, tag: &str) {
        let Some((index, image)) = self.registry.offered(tag) else { return };
        let (index, image) = (index.clone(), image.clone());
        let of = crate::engine::store::repository(tag);
        let id = self.engine.pulled(of, &index, &image);
        // The image is present, so it can be tagged.
        let _ = self.engine.tag(at.wall, &id, tag);
    }

    /// Creates the container again from the user's definition.
    fn create_again(&mut self, at: Moment, name: &str) {
        let service = self.services.iter().find(|service| service.name == name);
        if let Some(service) = service {
            let _ = self.engine.create(at, name, &service.body);
        }
    }
}

fn other_agent() -> Holder {
    let process =
        ProcessIdentity { pid: OTHER_AGENT.into(), started: "1".into(), namespace: "model".into() };
    Holder {
        owner: "another".into(),
        state_dir: "/other".into(),
        host: "model".into(),
        boot_id: "boot-1".into(),
        process,
        ..Holder::default()
    }
}

impl State {
    /// A person stops a container at once.
    fn stop_by_hand(&mut self, at: Moment, name: &str, code: i64) {
        let Some(container) = self.find(name).filter(|it| it.is_running()).cloned() else { return };
        self.change(&container.id, |container| {
            (container.by_hand, container.ends_for_good) = (true, true);
        });
        self.emit(&container.id, &ContainerEvent::Killed);
        self.die(at, &container.id, code);
    }
}
