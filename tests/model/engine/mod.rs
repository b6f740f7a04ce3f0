//! An Engine as the agent sees it: the same calls, the same refusals, the same forgetfulness.

mod answers;
mod containers;
pub mod documents;
mod images;
mod power;
mod services;
pub mod state;
pub mod store;
mod ties;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilotfish::core::docker::api_version::ApiVersion;
use pilotfish::core::docker::engine_registries::EngineRegistries;
use pilotfish::core::docker::image_store::ImageStore;
use pilotfish::core::docker::reference::Platform;
use pilotfish::engine::{Engine, EngineError, EngineInfo, SwarmMembership};

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
    pub fn act<T>(
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
        self.0.check_no_unknown_pair();
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
    pub async fn wait(&self, call: &'static str, until: Duration) -> Result<(), EngineError> {
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
                swarm: SwarmMembership::default(),
                can_update: true,
                api: if state.containerd_store { ApiVersion::V1_51 } else { ApiVersion::V1_41 },
                platform: Platform {
                    os: "linux".into(),
                    architecture: "arm64".into(),
                    variant: String::new(),
                },
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
}
