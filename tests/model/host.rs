//! The machine's clock, its boots and its flushes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pilotfish::core::decide::start_needs::{Seen, Window};
use pilotfish::host::Host;

use crate::machine::{Machine, wall};

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

    fn own_container(&self) -> Option<String> {
        None
    }

    fn machine_id(&self) -> String {
        "model".into()
    }

    fn free_bytes(&self, _path: &Path) -> Option<u64> {
        Some(self.0.lock().free_bytes)
    }

    async fn flush(&self, _path: &Path) -> Result<(), std::io::Error> {
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

    async fn look_at(&self, _window: &Window, _path: &Path) -> Seen {
        Seen::Unknown
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
