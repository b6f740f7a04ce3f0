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

/// The number of the process of another agent.
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
        let mut affairs = self.0.lock();
        affairs.ids += 1;
        format!("agent-{}", affairs.ids)
    }

    fn process(&self) -> ProcessIdentity {
        let pid = self.0.lock().lives.to_string();
        ProcessIdentity { pid, started: "1".into(), namespace: "model".into() }
    }

    fn lives(&self, process: &ProcessIdentity) -> Option<bool> {
        let affairs = self.0.lock();
        match process.pid.as_str() {
            OTHER_AGENT => affairs.other_agent_lives,
            pid => Some(pid == affairs.lives.to_string()),
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

    fn free_bytes(&self, _path: &Path) -> Option<u64> {
        Some(self.0.lock().free_bytes)
    }

    fn image_directories(&self, _store: ImageStore, root: &Path) -> Vec<PathBuf> {
        vec![root.to_owned()]
    }

    async fn flush(&self, _paths: &[PathBuf]) -> Result<(), std::io::Error> {
        self.0.point("flush", false);
        let mut affairs = self.0.lock();
        affairs.engine.harden();
        if affairs.shares_a_disk {
            affairs.files.keep_all();
        }
        drop(affairs);
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
