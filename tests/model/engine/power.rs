//! What an Engine restart and a power cut leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::state::{Moment, Phase, State, Stored};
use crate::fault::Survives;

/// How long a machine needs to come back with its Engine.
const BOOT_TAKES: Duration = Duration::from_secs(2);

impl State {
    /// Everything that was written so far is on the disk for good.
    pub fn harden(&mut self) {
        for image in self.stored.images.values_mut() {
            if !image.flushed {
                Arc::make_mut(image).flushed = true;
            }
        }
        self.versions = vec![self.stored.clone()];
    }

    /// The labels of a removed volume are off the disk at once, because the Engine's database
    /// flushes them; the removal of its directory is not. Measured with Docker 20.10: after a power
    /// cut the volume is there again, without labels.
    pub(super) fn forget_labels(&mut self, volume: &str) {
        let labels = self.versions.iter_mut().filter_map(|it| it.labels.get_mut(volume));
        labels.for_each(BTreeMap::clear);
    }

    /// The Engine ends and comes back. Without live-restore its containers end with it: in good
    /// order, as if nobody had asked them to; by SIGKILL, as if somebody had (measured: then only
    /// `always` comes back).
    pub fn restart(&mut self, at: Moment, killed: bool, down: Duration) {
        if self.live_restore {
            // Measured with Docker 20.10: what has outlived it is never checked again.
            self.stop_checking();
            for container in self.running() {
                self.change(&container, |container| {
                    container.last_check = container.last_check.or(Some(at.wall));
                });
            }
        } else {
            for container in self.running() {
                self.change(&container, |container| {
                    container.phase = Phase::Exited;
                    container.finished = Some(at.wall);
                    container.exit_code = if killed { 255 } else { 0 };
                    container.by_hand |= killed;
                    container.health = None;
                });
            }
        }
        // An Engine that ends or begins writes everything down, so a cut after it finds all of it.
        self.harden();
        self.go_down(at.now + down);
    }

    /// The power goes and comes back. What was not flushed may be forgotten; what ran does not any
    /// more; an image that was not flushed is listed, but its files have no length.
    pub fn cut(&mut self, at: Moment, keeps: Survives) {
        self.stored = self.remembered(keeps);
        for image in self.stored.images.values_mut().filter(|image| !image.flushed) {
            let image = Arc::make_mut(image);
            (image.damaged, image.flushed) = (true, true);
        }
        self.forget_what_was_due();
        for container in self.running() {
            self.change(&container, |container| {
                container.phase = Phase::Exited;
                container.finished = Some(at.wall);
                container.exit_code = 255;
                container.health = None;
            });
        }
        self.harden();
        self.go_down(at.now + BOOT_TAKES);
    }

    fn remembered(&self, keeps: Survives) -> Stored {
        let position = match keeps {
            Survives::All => self.versions.len() - 1,
            Survives::Nothing => 0,
            Survives::Some(seed) => (seed % self.versions.len() as u64) as usize,
        };
        self.versions[position].clone()
    }

    /// At boot, and whenever the Engine comes back.
    pub(super) fn start_by_policy(&mut self, at: Moment) {
        let entitled: Vec<_> = self
            .containers()
            .filter(|container| !container.is_running() && container.starts_at_boot())
            .map(|container| container.id.clone())
            .collect();
        // What hangs on another one is started behind it, so each pass may find more to start. One
        // that cannot be started, because another has its port, stays down.
        for _ in 0..entitled.len() {
            for id in &entitled {
                let _ = self.start(at, id);
            }
        }
    }

    fn running(&self) -> Vec<String> {
        let running = self.containers().filter(|container| container.is_running());
        running.map(|container| container.id.clone()).collect()
    }
}
