//! The machine's clock, its boots and its flushes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pilotfish::core::decide::engine_lock::ProcessIdentity;
use pilotfish::core::decide::start_requirements::{Presence, VisibleDirectory};
use pilotfish::core::docker::image_store::ImageStore;
use pilotfish::host::Host;

use crate::machine::{Machine, wall};

/// The process ID of another agent.
pub const OTHER_AGENT: &str = "4242";

/// The machine, as the agent sees it.
#[derive(Debug, Clone)]
pub struct FakeHost(pub Arc<Machine>);

impl Host for FakeHost {
    fn now(&self) -> DateTime<Utc> {
        wall(self.0.now(), self.0.lock().clock_ahead)
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.0.lock().boots)
    }

    fn host_name(&self) -> String {
        "model".into()
    }

    fn random_id(&self) -> String {
        let mut state = self.0.lock();
        state.ids += 1;
        format!("agent-{}", state.ids)
    }

    fn process(&self) -> ProcessIdentity {
        let pid = self.0.lock().lives.to_string();
        ProcessIdentity { pid, started: "1".into(), namespace: "model".into() }
    }

    fn lives(&self, process: &ProcessIdentity) -> Option<bool> {
        let state = self.0.lock();
        match process.pid.as_str() {
            OTHER_AGENT => state.other_agent_lives,
            pid => Some(pid == state.lives.to_string()),
        }
    }

    fn directory_id(&self, _path: &Path) -> String {
        format!("state-{}", self.0.lock().files.lost)
    }

    fn own_container(&self) -> Option<String> {
        None
    }

    fn machine_id(&self) -> String {
        "model".into()
    }

    fn small_text(&self, _: &Path, _: u64) -> Option<String> {
        None
    }

    fn free_bytes(&self, _path: &Path) -> Option<u64> {
        Some(self.0.lock().free_bytes)
    }

    fn image_directories(&self, _store: ImageStore, root: &Path) -> Vec<PathBuf> {
        vec![root.to_owned()]
    }

    async fn flush(&self, _paths: &[PathBuf]) -> Result<(), std::io::Error> {
        self.0.point("flush", false);
        let mut state = self.0.lock();
        state.engine.harden();
        if state.shares_a_disk {
            state.files.flush_all();
        }
        drop(state);
        self.0.point("flush", true);
        Ok(())
    }

    async fn look_at(&self, _window: &VisibleDirectory, _path: &Path) -> Presence {
        Presence::Unknown
    }

    async fn probe_http(
        &self,
        _host: &str,
        _port: u16,
        _path: &str,
        _timeout: Duration,
    ) -> Result<(), String> {
        Ok(())
    }

    async fn probe_tcp(&self, _host: &str, _port: u16, _timeout: Duration) -> Result<(), String> {
        Ok(())
    }
}
