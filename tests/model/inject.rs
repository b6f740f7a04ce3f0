//! Carries out what goes wrong, and what others do.

use std::time::Duration;

use pilotfish::core::decide::engine_lock::{Holder, LOCK_VOLUME, ProcessIdentity};
use pilotfish::engine::ContainerEvent;
use serde_json::json;

use crate::engine::state::{Moment, State};
use crate::fault::Fault;
use crate::host::OTHER_AGENT;
use crate::machine::{Affairs, Machine};

/// When one of every service must run again after the last fault (I1).
const RUNS_AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// A switch takes the grace period of a stop; the service may be down for so long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1500);

impl Machine {
    /// Does it now.
    pub fn lend(&self, fault: Fault) {
        match fault {
            Fault::Look { again } => return self.look(again),
            Fault::Kill | Fault::Cut(_) => return self.strike(&fault),
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
                self.with(|affairs, at| affairs.engine.restart(at, killed, down));
            }
            other => self.with(|affairs, at| affairs.change(at, other)),
        }
        self.fault_is_over_at(over);
        self.look_after(over);
    }

    /// The judge looks so long after every fault, whether the agent was killed or not.
    pub fn look_after(&self, over: Duration) {
        let mut affairs = self.lock();
        if affairs.is_looked_at {
            affairs.timed.push((over + RUNS_AGAIN_WITHIN, Fault::Look { again: false }));
            drop(affairs);
            self.hands_changed.notify_one();
        }
    }

    /// Carries out what happens at a time, until it is the end of the agent.
    pub async fn carry_out_the_timed(&self) -> Fault {
        loop {
            let next = self.lock().timed.iter().map(|(at, _)| *at).min();
            let changed = self.hands_changed.notified();
            match next {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.instant(at)) => {
                        if let Some(stroke) = self.lend_what_is_due() {
                            return stroke;
                        }
                    }
                },
            }
        }
    }

    /// I1, while the agent works.
    fn look(&self, again: bool) {
        let is_too_early = self.now() < self.lock().last_fault_over + RUNS_AGAIN_WITHIN;
        let found = if is_too_early { Vec::new() } else { self.judge_the_service() };
        if found.is_empty() {
            return;
        }
        if again {
            self.log(format!("! {found:?}"));
            return self.lock().violations.extend(found);
        }
        let at = self.now() + LOOK_AGAIN_AFTER;
        self.lock().timed.push((at, Fault::Look { again: true }));
    }

    fn lend_what_is_due(&self) -> Option<Fault> {
        let now = self.now();
        let mut affairs = self.lock();
        let (due, later) = affairs.timed.drain(..).partition(|(at, _)| *at <= now);
        affairs.timed = later;
        drop(affairs);
        let mut due: Vec<(Duration, Fault)> = due;
        due.sort_by_key(|(at, _)| *at);
        for (_, fault) in due {
            if matches!(fault, Fault::Kill | Fault::Cut(_)) {
                return Some(fault);
            }
            self.lend(fault);
        }
        None
    }
}

impl Affairs {
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
                engine.end(at, &name, 137);
                let _ = engine.remove(&name, false);
            }
            Fault::Stop(name) => engine.end(at, &name, 143),
            Fault::Start(name) => {
                let _ = engine.start(at, &name);
            }
            Fault::Restart(name) => {
                engine.end(at, &name, 143);
                let _ = engine.start(at, &name);
            }
            Fault::Rename(from, to) => {
                let _ = engine.rename(&from, &to);
            }
            Fault::Run(name) => {
                self.create_again(at, &name);
                let _ = self.engine.start(at, &name);
            }
            Fault::Stranger(name, image) => {
                let body = json!({ "Image": image, "HostConfig": { "NetworkMode": "bridge" } });
                let _ = engine.create(at, &name, &body);
            }
            Fault::Create(name) => self.create_again(at, &name),
            Fault::Pull(tag) => self.pull(at, &tag),
            Fault::Push(tag, image) => drop(self.shelf.push(&tag, &image)),
            Fault::Registry(failure) => self.shelf.failure = failure,
            other => unreachable!("{other:?} is done elsewhere"),
        }
    }

    fn pull(&mut self, at: Moment, tag: &str) {
        let Some((index, image)) = self.shelf.offered(tag) else { return };
        let (index, image) = (index.clone(), image.clone());
        let of = crate::engine::store::repository(tag);
        let id = self.engine.pulled(of, &index, &image);
        // The image is there, so it can be tagged.
        let _ = self.engine.tag(at.wall, &id, tag);
    }

    /// What the user typed, once more.
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
    /// A person ends a container at once.
    fn end(&mut self, at: Moment, name: &str, code: i64) {
        let Some(container) = self.find(name).filter(|it| it.is_running()).cloned() else { return };
        self.change(&container.id, |container| {
            (container.by_hand, container.ends_for_good) = (true, true);
        });
        self.emit(&container.id, &ContainerEvent::Killed);
        self.die(at, &container.id, code);
    }
}
