//! The calls for containers.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use pilotfish::core::docker::reference::Platform;
use pilotfish::core::recreate::RestartPolicy;
use pilotfish::engine::{ContainerEvent, Containers, EngineError, Listed, PathStat};
use serde_json::Value;

use super::FakeEngine;
use crate::label_hooks::LabelHook;
use crate::machine::Machine;

impl Containers for FakeEngine {
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
        self.0.check_pre_stop(container);
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
        self.0.check_job_starts_since(before);
        answer
    }

    async fn restart(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        self.stop(container, timeout).await?;
        self.start(container).await
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

    async fn can_mount(&self, _container: &str) -> Result<bool, EngineError> {
        Ok(true)
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

    async fn stat(&self, _container: &str, _path: &str) -> Result<Option<PathStat>, EngineError> {
        self.ask("stat", |_, _| Ok(()))?;
        let now = self.0.now();
        let is_there = self.0.lock().lock_lasts.as_ref().is_some_and(|it| it.contains(&now));
        Ok(is_there.then_some(PathStat { modified_at: None }))
    }

    async fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<i64, EngineError> {
        if let Some(hook) = LabelHook::read(container, command) {
            return self.run_label_hook(hook, timeout).await;
        }
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
