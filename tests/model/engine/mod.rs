//! An Engine as the agent sees it: the same calls, the same refusals, the same forgetfulness.

mod answers;
pub mod documents;
mod power;
pub mod state;
pub mod store;
mod ties;

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use pilotfish::core::docker::api_version::ApiVersion;
use pilotfish::core::docker::credentials::Credentials;
use pilotfish::core::docker::engine_registries::EngineRegistries;
use pilotfish::core::docker::image_store::ImageStore;
use pilotfish::core::docker::reference::{Digest, Platform, Reference};
use pilotfish::core::recreate::RestartPolicy;
use pilotfish::core::update::event::PullProgress;
use pilotfish::engine::{
    ContainerEvent, Engine, EngineError, EngineInfo, ImageFacts, Listed, ListedImage,
};
use serde_json::Value;

use self::state::{Moment, State, refused};
use crate::fault::Fault;
use crate::machine::Machine;

/// The Engine of a machine.
#[derive(Debug, Clone)]
pub struct FakeEngine(pub Arc<Machine>);

impl FakeEngine {
    fn check_it_is_there(&self) -> Result<(), EngineError> {
        let now = self.0.now();
        let up_at = self.0.lock().engine.up_at();
        if now >= up_at {
            return Ok(());
        }
        let (host, detail) = ("unix:///var/run/docker.sock".into(), "connection refused".into());
        Err(EngineError::Unreachable { host, detail })
    }

    /// A call that changes nothing.
    fn ask<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut State, Moment) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let obstacle = self.0.read_point(call, false);
        self.check_it_is_there()?;
        stopped_by(call, obstacle.as_ref())?;
        let answer = self.0.with(|affairs, at| work(&mut affairs.engine, at));
        lost(call, obstacle, answer)
    }

    /// A call that changes something.
    fn act<T>(
        &self,
        call: &'static str,
        words: &str,
        work: impl FnOnce(&mut State, Moment) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let obstacle = self.0.point(call, false);
        self.check_it_is_there()?;
        stopped_by(call, obstacle.as_ref())?;
        let words = self.0.in_words(words);
        let before = self.0.lock().engine.up_at();
        let answer = self.0.with(|affairs, at| {
            affairs.acts += 1;
            work(&mut affairs.engine, at)
        });
        let how = answer.as_ref().err().map_or(String::new(), |error| format!(": {error}"));
        let how = self.0.in_words(&how);
        self.0.log(format!("  {words}{how}"));
        self.0.point(call, true);
        self.check_it_stayed(call, before)?;
        lost(call, obstacle, answer)
    }

    /// A call that changes something of which no transcript tells: the lock comes and goes around
    /// everything else.
    fn quietly<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut State, Moment) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let obstacle = self.0.point(call, false);
        self.check_it_is_there()?;
        stopped_by(call, obstacle.as_ref())?;
        let answer = self.0.with(|affairs, at| work(&mut affairs.engine, at));
        self.0.point(call, true);
        lost(call, obstacle, answer)
    }

    /// Waits for a time of the model; an Engine that ends meanwhile answers no more.
    async fn wait(&self, call: &'static str, until: Duration) -> Result<(), EngineError> {
        let before = self.0.lock().engine.up_at();
        tokio::time::sleep_until(self.0.instant(until)).await;
        self.check_it_stayed(call, before)
    }

    /// An Engine that was restarted meanwhile has answered nobody.
    fn check_it_stayed(&self, call: &'static str, before: Duration) -> Result<(), EngineError> {
        if self.0.lock().engine.up_at() == before {
            return Ok(());
        }
        Err(EngineError::Broken { call, detail: "the connection was closed".into() })
    }
}

/// What is answered instead of the call being done.
fn stopped_by(call: &'static str, obstacle: Option<&Fault>) -> Result<(), EngineError> {
    match obstacle {
        Some(Fault::Refuse) => Err(refused(call, "a fault of the model")),
        Some(Fault::Conflict) => {
            Err(EngineError::Conflict { message: "a conflict of the model".into() })
        }
        _ => Ok(()),
    }
}

fn lost<T>(
    call: &'static str,
    obstacle: Option<Fault>,
    answer: Result<T, EngineError>,
) -> Result<T, EngineError> {
    if obstacle == Some(Fault::LoseTheAnswer) {
        return Err(EngineError::Broken { call, detail: "connection reset by peer".into() });
    }
    answer
}

impl Engine for FakeEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.ask("info", |state, _| {
            Ok(EngineInfo {
                can_update: true,
                api: if state.containerd_store { ApiVersion::V1_51 } else { ApiVersion::V1_41 },
                version: "model".into(),
                root_dir: PathBuf::from("/var/lib/docker"),
                image_store: ImageStore::Engine,
                live_restore: state.live_restore,
                containerd_store: state.containerd_store,
                unpacks_zstd: true,
                registries: EngineRegistries::default(),
            })
        })
    }

    async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        let hangs = self.0.lock().hangs;
        if hangs {
            return pending().await;
        }
        self.ask("list", |state, _| Ok(state.containers().map(|it| state.listed(it)).collect()))
    }

    async fn inspect(&self, container: &str) -> Result<Option<Value>, EngineError> {
        self.ask("inspect", |state, at| {
            Ok(state.find(container).map(|it| state.container_document(at.wall, it)))
        })
    }

    async fn inspect_image(&self, image: &str) -> Result<Option<Value>, EngineError> {
        self.ask("inspect image", |state, _| {
            Ok(state.image(image).map(|it| state.image_document(it)))
        })
    }

    async fn list_images(&self, repository: &str) -> Result<Vec<ListedImage>, EngineError> {
        self.ask("list images", |state, _| Ok(state.images_of(repository)))
    }

    async fn images(&self, take: &mut (dyn FnMut(ImageFacts) + Send)) -> Result<(), EngineError> {
        let rows = self.ask("images", |state, _| {
            let images = state.stored.images.values();
            Ok(images.map(|image| state.image_facts(image)).collect::<Vec<_>>())
        })?;
        rows.into_iter().for_each(take);
        Ok(())
    }

    async fn pull(
        &self,
        reference: &Reference,
        digest: &Digest,
        _platform: &Platform,
        _credentials: Option<Credentials>,
        progress: &(dyn Fn(&PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let obstacle = self.0.point("pull", false);
        self.check_it_is_there()?;
        let done = self.0.now() + self.0.lock().engine.pull_takes;
        self.wait("pull", done).await?;
        let (image, failure) = {
            let affairs = self.0.lock();
            (affairs.registry.behind(digest).cloned(), affairs.registry.failure)
        };
        let Some(image) = image.filter(|_| failure.is_none() && obstacle.is_none()) else {
            self.0.log("  pull: the registry is gone");
            return Err(refused("pull", "the registry does not answer"));
        };
        progress(&PullProgress { current: 1_000_000, total: 1_000_000, layers_done: 1, layers: 1 });
        self.act("pulled", &format!("pull {}", image.name), |state, _| {
            state.pulled(&reference.familiar_name(), digest, &image);
            Ok(())
        })
    }

    async fn tag(&self, image: &str, name: &str, tag: &str) -> Result<(), EngineError> {
        self.act("tag", &format!("tag {image} {name}:{tag}"), |state, at| {
            state.tag(at.wall, image, &format!("{name}:{tag}"))
        })
    }

    async fn remove_image(&self, image: &str) -> Result<bool, EngineError> {
        self.act("remove image", &format!("rmi {image}"), |state, _| state.remove_image(image))
    }

    async fn create(
        &self,
        name: &str,
        body: &Value,
        _platform: Option<&Platform>,
    ) -> Result<String, EngineError> {
        let image = body["Image"].as_str().unwrap_or_default();
        self.act("create", &format!("create {name} from {image}"), |state, at| {
            state.create(at, name, body)
        })
    }

    async fn has_network(&self, _network: &str) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn inspect_volume(&self, _volume: &str) -> Result<Option<Value>, EngineError> {
        Ok(None)
    }

    async fn can_mount(&self, _container: &str) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> Result<(), EngineError> {
        self.act("connect", &format!("connect {container} to {network}"), |state, _| {
            state.connect(network, container, endpoint)
        })
    }

    async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), EngineError> {
        self.act("update", &format!("update {container} --restart {}", policy.name), |state, _| {
            state.set_policy(container, policy)
        })
    }

    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        let until = self.act("stop", &format!("stop {container}"), |state, at| {
            Ok(state.ask_to_stop(at, container)?.map(|until| until.min(at.now + timeout)))
        })?;
        self.0.lock().count_switches();
        let Some(until) = until else { return Ok(()) };
        self.wait("stop", until).await?;
        self.0.lock().count_switches();
        self.0.point("stopped", true);
        Ok(())
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        self.act("kill", &format!("kill -s {signal} {container}"), |state, at| {
            state.kill(at, container, signal)
        })
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let before = self.0.lock().engine.starts.len();
        let answer = self
            .act("start", &format!("start {container}"), |state, at| state.start(at, container));
        self.0.check_starts_since(before);
        answer
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        self.act("rename", &format!("rename {container} {name}"), |state, _| {
            state.rename(container, name)
        })
    }

    async fn remove(&self, container: &str, volumes: bool) -> Result<bool, EngineError> {
        let with = if volumes { "rm -v" } else { "rm" };
        self.act("remove", &format!("{with} {container}"), |state, _| {
            state.remove(container, volumes)
        })
    }

    async fn logs(&self, container: &str, _lines: usize) -> Result<Vec<String>, EngineError> {
        self.ask("logs", |state, _| {
            let container = state.found(container)?;
            let image = state.stored.images.get(&container.image);
            Ok(vec![format!("I am {}", image.map_or("nobody", |image| &image.spec.name))])
        })
    }

    async fn events(
        &self,
        container: &str,
    ) -> Result<BoxStream<'static, ContainerEvent>, EngineError> {
        let number = self.ask("events", |state, _| Ok(state.listen(container)))?;
        let machine = Arc::clone(&self.0);
        Ok(stream::unfold((machine, number), heard).boxed())
    }

    async fn changes(&self, _container: &str) -> Result<Value, EngineError> {
        Ok(Value::Null)
    }

    async fn modified_at(
        &self,
        _container: &str,
        _path: &str,
    ) -> Result<Option<DateTime<Utc>>, EngineError> {
        Ok(None)
    }

    async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        self.quietly("create volume", |state, _| {
            let found = state.stored.labels.entry(name.to_owned());
            found.or_insert_with(|| labels.clone());
            state.written();
            Ok(())
        })
    }

    async fn volume_labels(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        self.ask("inspect volume", |state, _| Ok(state.stored.labels.get(name).cloned()))
    }

    async fn remove_volume(&self, name: &str) -> Result<bool, EngineError> {
        self.quietly("remove volume", |state, _| {
            let removed = state.stored.labels.remove(name).is_some();
            state.written();
            Ok(removed)
        })
    }

    async fn exec(
        &self,
        container: &str,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<i64, EngineError> {
        self.ask("exec", |state, _| state.found(container).map(|it| i64::from(!it.is_running())))
    }
}

type CachedLogin = Option<(ContainerEvent, (Arc<Machine>, u64))>;

/// The next event of a stream. It ends with the Engine.
async fn heard((machine, number): (Arc<Machine>, u64)) -> CachedLogin {
    let event = next_event(&machine, number).await?;
    Some((event, (machine, number)))
}

async fn next_event(machine: &Machine, number: u64) -> Option<ContainerEvent> {
    loop {
        let container_events = machine.container_events.notified();
        tokio::pin!(container_events);
        container_events.as_mut().enable();
        let (event, due) = {
            let mut affairs = machine.lock();
            let at = machine.moment(&affairs);
            affairs.engine.settle(at);
            (affairs.engine.next_event(number)?, affairs.engine.next_due())
        };
        match (event, due) {
            (Some(event), _) => return Some(event),
            (None, Some(due)) => tokio::select! {
                () = container_events => {}
                () = tokio::time::sleep_until(machine.instant(due)) => {}
            },
            (None, None) => container_events.await,
        }
    }
}
