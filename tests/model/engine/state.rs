//! The Engine's containers: what may be done with them, and what becomes of them in time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::recreate::{RestartPolicy, restart_policy};
use pilotfish::engine::{ContainerEvent, EngineError};
use serde_json::Value;

use super::store::LocalImage;
use crate::images::Behaviour;

/// How long a program that ends at once takes to do so.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The Engine's pause before it restarts a container for the first time; it doubles.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The label that tells the model which service a container belongs to. Its user set it.
pub const SERVICE_LABEL: &str = "service";

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the model began; never jumps.
    pub now: Duration,
    /// The clock on the wall.
    pub wall: DateTime<Utc>,
}

impl Moment {
    fn back_to(self, due: Duration) -> Self {
        let ago = TimeDelta::from_std(self.now.saturating_sub(due)).unwrap_or_default();
        Self { now: due.min(self.now), wall: self.wall - ago }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Created,
    Running,
    /// Between two lives; the Engine starts it again.
    Restarting,
    Exited,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub volume: String,
    pub path: String,
    /// Made for this container alone, and removed with it by `rm -v`.
    pub anonymous: bool,
}

/// What the Engine keeps on its disk about a container.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The user's word for it, which stays when it is made again. Empty for strangers.
    pub service: String,
    /// `till#2`: how transcripts call it.
    pub alias: String,
    pub image: String,
    pub body: Arc<Value>,
    pub policy: RestartPolicy,
    pub created: DateTime<Utc>,
    pub started: Option<DateTime<Utc>>,
    pub finished: Option<DateTime<Utc>>,
    pub phase: Phase,
    pub exit_code: i64,
    /// Somebody stopped it by hand (`HasBeenManuallyStopped`).
    pub by_hand: bool,
    /// Its next end is its last, whatever its policy says (`ExitOnNext`).
    pub ends_for_good: bool,
    pub health: Option<&'static str>,
    /// When the Engine last ran its HEALTHCHECK, where it does not do so any more.
    pub last_check: Option<DateTime<Utc>>,
    pub mounts: Vec<Mount>,
    pub networks: BTreeMap<String, Value>,
    /// Counts starts, so that what was due in an earlier life does not happen in this one.
    pub life: u32,
    /// How often it was restarted since somebody started it.
    pub restarts: u32,
}

impl Container {
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Restarting)
    }

    /// What moby's restart manager answers at boot (`restartmanager.ShouldRestart`, and
    /// `HasBeenStartedBefore` in `daemon.restore`).
    pub fn starts_at_boot(&self) -> bool {
        self.started.is_some()
            && match self.policy.name.as_str() {
                "always" => true,
                "unless-stopped" => !self.by_hand,
                "on-failure" => self.exit_code != 0,
                _ => false,
            }
    }

    /// The port of the machine that it wants for itself.
    pub fn host_port(&self) -> Option<&str> {
        let bindings = self.body.pointer("/HostConfig/PortBindings")?.as_object()?;
        bindings.values().next()?.pointer("/0/HostPort")?.as_str()
    }
}

/// What will happen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Die(i64),
    /// A job has done its work.
    Finish,
    Health(&'static str),
    StartAgain,
    /// The Engine is back and starts what its policies say.
    Boot,
}

#[derive(Debug, Clone)]
struct Due {
    at: Duration,
    container: String,
    life: u32,
    change: Change,
}

/// What is on the Engine's disk.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub containers: BTreeMap<String, Arc<Container>>,
    pub images: BTreeMap<String, Arc<LocalImage>>,
    pub volumes: BTreeSet<String>,
    /// The labels of volumes that have some.
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
}

/// The whole Engine.
#[derive(Debug, Clone)]
pub struct State {
    pub stored: Stored,
    /// What is on the disk for sure, and everything that was written since.
    pub(super) versions: Vec<Stored>,
    due: Vec<Due>,
    pub(super) streams: BTreeMap<u64, (String, VecDeque<ContainerEvent>)>,
    /// Away until then.
    pub(super) up_at: Duration,
    pub(super) next: u64,
    /// How many containers a service has had, for their aliases.
    born: BTreeMap<String, usize>,
    pub live_restore: bool,
    pub containerd_store: bool,
    /// How long a program takes to end once it is asked to.
    pub stop_takes: Duration,
    pub pull_takes: Duration,
    /// Every start, as service and image name, for the judge.
    pub starts: Vec<(String, String)>,
    /// The jobs that did their work in this update, while the Engine ran on.
    pub finished_jobs: BTreeSet<String>,
    /// Services of which at least one container must run as long as the Engine does.
    pub must_serve: BTreeSet<String>,
    /// The ends of the last container of such a service.
    pub gaps: Vec<String>,
}

impl State {
    pub fn new() -> Self {
        Self {
            stored: Stored::default(),
            versions: vec![Stored::default()],
            due: Vec::new(),
            streams: BTreeMap::new(),
            up_at: Duration::ZERO,
            next: 1,
            born: BTreeMap::new(),
            live_restore: false,
            containerd_store: false,
            stop_takes: Duration::from_millis(300),
            pull_takes: Duration::from_secs(2),
            starts: Vec::new(),
            finished_jobs: BTreeSet::new(),
            must_serve: BTreeSet::new(),
            gaps: Vec::new(),
        }
    }

    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.stored.containers.values().map(AsRef::as_ref)
    }

    /// By ID or name.
    pub fn find(&self, key: &str) -> Option<&Container> {
        self.stored
            .containers
            .get(key)
            .map(AsRef::as_ref)
            .or_else(|| self.containers().find(|container| container.name == key))
    }

    pub(super) fn found(&self, key: &str) -> Result<&Container, EngineError> {
        let message = format!("No such container: {key}");
        self.find(key).ok_or(EngineError::NotFound { message })
    }

    /// Changes what is stored of a container.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(container) = self.stored.containers.get_mut(id) {
            change(Arc::make_mut(container));
        }
        self.written();
    }

    /// Something was written to the disk; a power cut may forget it.
    pub(super) fn written(&mut self) {
        self.versions.push(self.stored.clone());
    }

    pub(super) fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        Digest::of(format!("{what} {}", self.next).as_bytes()).hex().to_owned()
    }

    pub fn create(&mut self, at: Moment, name: &str, body: &Value) -> Result<String, EngineError> {
        if let Some(holder) = self.find(name) {
            let message = format!("Conflict. The container name {name} is in use by {}", holder.id);
            return Err(EngineError::Conflict { message });
        }
        let wanted = body["Image"].as_str().unwrap_or_default();
        let image = self.image(wanted).cloned();
        let image = image
            .ok_or_else(|| EngineError::NotFound { message: format!("No such image: {wanted}") })?;
        let body = &self.resolved(body)?;
        let id = self.fresh("container");
        let service = body.pointer(&format!("/Labels/{SERVICE_LABEL}")).and_then(Value::as_str);
        let service = service.unwrap_or_default().to_owned();
        let networks = body.pointer("/NetworkingConfig/EndpointsConfig").and_then(Value::as_object);
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            alias: self.alias(if service.is_empty() { name } else { &service }),
            service,
            mounts: self.mounts(body, &image),
            image: image.id.clone(),
            policy: restart_policy(body).unwrap_or_else(|_| RestartPolicy::no()),
            body: Arc::new(body.clone()),
            created: at.wall,
            started: None,
            finished: None,
            phase: Phase::Created,
            exit_code: 0,
            by_hand: false,
            ends_for_good: false,
            health: None,
            last_check: None,
            networks: networks.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            life: 0,
            restarts: 0,
        };
        self.stored.containers.insert(id.clone(), Arc::new(container));
        self.written();
        Ok(id)
    }

    fn alias(&mut self, of: &str) -> String {
        let number = self.born.entry(of.to_owned()).or_default();
        *number += 1;
        format!("{of}#{number}")
    }

    /// Volumes that the body names are attached; for what the image declares beside them, new ones
    /// are made.
    fn mounts(&mut self, body: &Value, image: &LocalImage) -> Vec<Mount> {
        let text = |mount: &Value, key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        let named = body.pointer("/HostConfig/Mounts").and_then(Value::as_array);
        let mut mounts: Vec<Mount> = named
            .into_iter()
            .flatten()
            .map(|mount| Mount {
                volume: text(mount, "Source"),
                path: text(mount, "Target"),
                anonymous: false,
            })
            .collect();
        let declared =
            image.spec.volume.iter().filter(|path| mounts.iter().all(|mount| mount.path != **path));
        let declared: Vec<_> = declared.cloned().collect();
        for path in declared {
            let volume = self.fresh("volume");
            mounts.push(Mount { volume, path, anonymous: true });
        }
        self.stored.volumes.extend(mounts.iter().map(|mount| mount.volume.clone()));
        mounts
    }

    pub fn start(&mut self, at: Moment, key: &str) -> Result<(), EngineError> {
        let container = self.found(key)?.clone();
        if container.phase == Phase::Running {
            return Ok(());
        }
        self.check_the_port(&container)?;
        self.check_what_it_hangs_on(&container)?;
        let image = self.stored.images.get(&container.image).cloned();
        let image = image.ok_or_else(|| refused("start container", "image is gone"))?;
        let behaviour = image.spec.behaviour(&container.service);
        self.starts.push((container.service.clone(), image.spec.name.clone()));
        if image.damaged || behaviour == Behaviour::CannotStart {
            self.change(&container.id, |container| container.exit_code = 126);
            return Err(refused(
                "start container",
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/app\": exec format error: unknown",
            ));
        }
        self.change(&container.id, |container| {
            container.phase = Phase::Running;
            container.life += 1;
            container.started = Some(at.wall);
            (container.by_hand, container.ends_for_good) = (false, false);
            container.last_check = None;
            container.health =
                (image.spec.document.get("Healthcheck").is_some()).then_some("starting");
        });
        self.foresee(at, &container.id, container.life + 1, behaviour);
        self.emit(&container.id, &ContainerEvent::Other("start".into()));
        Ok(())
    }

    fn check_the_port(&self, container: &Container) -> Result<(), EngineError> {
        let Some(port) = container.host_port() else { return Ok(()) };
        let taken = self.containers().any(|other| {
            other.id != container.id && other.is_running() && other.host_port() == Some(port)
        });
        if taken {
            let words = format!("Bind for 0.0.0.0:{port} failed: port is already allocated");
            return Err(refused("start container", &words));
        }
        Ok(())
    }

    fn foresee(&mut self, at: Moment, id: &str, life: u32, behaviour: Behaviour) {
        const SECOND: Duration = Duration::from_secs(1);
        let changes = match behaviour {
            Behaviour::Good | Behaviour::CannotStart | Behaviour::NeverHealthy => Vec::new(),
            Behaviour::Exits(code) => vec![(AT_ONCE, Change::Die(code))],
            Behaviour::Ends(after) => vec![(after, Change::Finish)],
            Behaviour::Dies(after) => vec![(after, Change::Die(1))],
            Behaviour::Healthy(after) => vec![(after, Change::Health("healthy"))],
            Behaviour::Unhealthy(after) => vec![(after, Change::Health("unhealthy"))],
            Behaviour::Sickens(after) => {
                vec![(SECOND, Change::Health("healthy")), (after, Change::Health("unhealthy"))]
            }
        };
        for (after, change) in changes {
            self.plan(at.now + after, id, life, change);
        }
    }

    fn plan(&mut self, at: Duration, container: &str, life: u32, change: Change) {
        self.due.push(Due { at, container: container.to_owned(), life, change });
    }

    /// Asks a container to end. Gives when it will have.
    pub fn ask_to_stop(&mut self, at: Moment, key: &str) -> Result<Option<Duration>, EngineError> {
        let container = self.found(key)?.clone();
        if !container.is_running() {
            return Ok(None);
        }
        self.change(&container.id, |container| {
            (container.by_hand, container.ends_for_good) = (true, true);
        });
        self.emit(&container.id, &ContainerEvent::Killed);
        if container.phase == Phase::Restarting {
            self.die(at, &container.id, container.exit_code);
            return Ok(None);
        }
        let gone = at.now + self.stop_takes;
        self.plan(gone, &container.id, container.life, Change::Die(0));
        Ok(Some(gone))
    }

    /// Sends a signal. Where that is another than the stop signal in the image, only the next start
    /// at boot knows that somebody asked for the end (moby's `killWithSignal`).
    pub fn kill(&mut self, at: Moment, key: &str, signal: &str) -> Result<(), EngineError> {
        let container = self.found(key)?.clone();
        if !container.is_running() {
            let message = format!("Container {} is not running", container.id);
            return Err(EngineError::Conflict { message });
        }
        let image = self.stored.images.get(&container.image);
        let own = image.and_then(|image| image.spec.document.get("StopSignal")?.as_str());
        let ends_for_good = own.is_none_or(|own| own == signal);
        self.change(&container.id, |container| {
            container.by_hand = true;
            container.ends_for_good |= ends_for_good;
        });
        self.emit(&container.id, &ContainerEvent::Killed);
        if container.phase == Phase::Restarting && ends_for_good {
            self.die(at, &container.id, container.exit_code);
        }
        if container.phase == Phase::Running {
            let gone = at.now + self.stop_takes;
            self.plan(gone, &container.id, container.life, Change::Die(0));
        }
        Ok(())
    }

    pub fn rename(&mut self, key: &str, name: &str) -> Result<(), EngineError> {
        let container = self.found(key)?.clone();
        if container.name == name {
            let message = "Renaming a container with the same name as its current name".into();
            return Err(EngineError::Refused { call: "rename container", status: 400, message });
        }
        if let Some(holder) = self.find(name) {
            let message = format!("Conflict. The name {name} is in use by container {}", holder.id);
            return Err(EngineError::Conflict { message });
        }
        self.change(&container.id, |container| container.name = name.to_owned());
        Ok(())
    }

    /// Removes a container; `false` if there is none.
    pub fn remove(&mut self, key: &str, volumes: bool) -> Result<bool, EngineError> {
        let Some(container) = self.find(key).cloned() else { return Ok(false) };
        if container.is_running() {
            let message = format!("You cannot remove a running container {}", container.id);
            return Err(EngineError::Conflict { message });
        }
        self.stored.containers.remove(&container.id);
        for mount in container.mounts.iter().filter(|mount| volumes && mount.anonymous) {
            let used = |other: &Container| other.mounts.iter().any(|m| m.volume == mount.volume);
            if !self.containers().any(used) {
                self.stored.volumes.remove(&mount.volume);
            }
        }
        self.written();
        self.emit(&container.id, &ContainerEvent::Destroyed);
        Ok(true)
    }

    pub fn emit(&mut self, id: &str, event: &ContainerEvent) {
        for (container, queue) in self.streams.values_mut() {
            if container == id {
                queue.push_back(event.clone());
            }
        }
    }

    /// When something will happen by itself.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.iter().map(|due| due.at).min()
    }

    /// Lets everything happen that is due by now.
    pub fn settle(&mut self, at: Moment) {
        while let Some(position) = self.earliest(at.now) {
            let due = self.due.swap_remove(position);
            self.happen(at.back_to(due.at), &due);
        }
    }

    fn earliest(&self, now: Duration) -> Option<usize> {
        let ready = self.due.iter().enumerate().filter(|(_, due)| due.at <= now);
        ready.min_by_key(|(_, due)| due.at).map(|(position, _)| position)
    }

    fn happen(&mut self, at: Moment, due: &Due) {
        if due.change == Change::Boot {
            return self.start_by_policy(at);
        }
        let is_meant = |container: &Container| container.life == due.life && container.is_running();
        if !self.find(&due.container).is_some_and(is_meant) {
            return;
        }
        match due.change {
            Change::Die(code) => self.die(at, &due.container, code),
            Change::Finish => {
                let service = self.find(&due.container).map(|it| it.service.clone());
                self.finished_jobs.extend(service);
                self.die(at, &due.container, 0);
            }
            Change::Health(health) => {
                self.change(&due.container, |container| container.health = Some(health));
                self.emit(&due.container, &ContainerEvent::Health(health.to_owned()));
            }
            Change::StartAgain => {
                self.change(&due.container, |container| container.phase = Phase::Exited);
                // What cannot be started stays down, as with the real one.
                let _ = self.start(at, &due.container);
            }
            Change::Boot => {}
        }
    }

    pub fn die(&mut self, at: Moment, id: &str, code: i64) {
        self.change(id, |container| {
            container.phase = Phase::Exited;
            container.exit_code = code;
            container.finished = Some(at.wall);
            container.health = None;
        });
        self.emit(id, &ContainerEvent::Died { code });
        let Some(container) = self.find(id).cloned() else { return };
        let service = &container.service;
        if self.must_serve.contains(service) && self.running_of(service) == 0 {
            self.gaps.push(format!("no container runs of {service}, after {}", container.alias));
        }
        if container.ends_for_good || !container.starts_at_boot() {
            return;
        }
        self.change(id, |container| {
            container.phase = Phase::Restarting;
            container.restarts += 1;
        });
        let pause = RESTART_PAUSE * 2_u32.pow(container.restarts.min(9));
        self.plan(at.now + pause, id, container.life, Change::StartAgain);
    }

    /// How many containers of a service run.
    pub fn running_of(&self, service: &str) -> usize {
        self.containers().filter(|it| it.service == service && it.is_running()).count()
    }

    /// The Engine is away until `up_at`; then it starts what its policies say.
    pub(super) fn go_down(&mut self, up_at: Duration) {
        // Nobody can tell an end by itself from this one.
        self.finished_jobs.clear();
        self.streams.clear();
        self.up_at = up_at;
        self.due.retain(|due| due.change != Change::Boot);
        self.plan(up_at, "", 0, Change::Boot);
    }

    /// What was to be found out by a HEALTHCHECK is not.
    pub(super) fn stop_checking(&mut self) {
        self.due.retain(|due| !matches!(due.change, Change::Health(_)));
    }

    pub(super) fn forget_what_was_due(&mut self) {
        self.due.clear();
    }
}

pub fn refused(call: &'static str, message: &str) -> EngineError {
    EngineError::Refused { call, status: 500, message: message.to_owned() }
}
