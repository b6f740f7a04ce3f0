//! After a fault: rounds until nothing is in flight, and how often bad releases were started.

use std::fs;

use pilotfish::core::decide::memory::Memory;
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::subject::Subject;

use crate::group::{GROUP, JOB};
use crate::invariants::{self, Judged};
use crate::releases::Kind;
use crate::rig::{Case, ROUNDS_MAX, Rig, SERVICE};
use crate::second_service::KIOSK;
use crate::support::registry::Published;

impl Rig {
    /// Runs rounds until each release runs, or is refused. Returns whether a good one is refused.
    pub fn settle(&mut self, kind: Kind, next: &Published) -> Result<bool, invariants::Finding> {
        if self.group.is_some() {
            return self.settle_group(next);
        }
        let runs = self.settle_one(SERVICE, next)?;
        if runs {
            self.current = next.clone();
        }
        let mut is_good_refused = !runs && kind.is_good();
        if let Some(next) = self.second.as_ref().map(|second| second.next.clone()) {
            let runs = self.settle_one(KIOSK, &next)?;
            let second = self.second.iter_mut();
            is_good_refused |= second.fold(false, |_, second| second.settle(runs));
        }
        Ok(is_good_refused)
    }

    /// The same for a group: all its releases run, or one of them is refused.
    fn settle_group(&mut self, next: &Published) -> Result<bool, invariants::Finding> {
        let second = self.second.as_ref().expect("the second service").next.clone();
        let releases = [(SERVICE, next), (KIOSK, &second), (JOB, &second)];
        for _ in 0..ROUNDS_MAX {
            let is_new = |(name, release): &(&str, &Published)| {
                let container = self.pi.engine.inspect(name).unwrap_or_default();
                container["Image"] == release.image.as_str()
            };
            let is_settled = self.pi.agent.journals().is_empty();
            let runs = is_settled && releases.iter().all(is_new);
            if runs || releases.iter().any(|(name, release)| self.is_refused(name, release)) {
                if runs {
                    self.current = next.clone();
                }
                return Ok(self.second.as_mut().is_some_and(|second| second.settle(runs)));
            }
            self.pi.update(&[GROUP]);
        }
        let rows = releases.map(|(name, _)| self.pi.check(name));
        let what = format!("after {ROUNDS_MAX} rounds it is still open: {rows:?}");
        Err(invariants::Finding::leftovers(what))
    }

    /// Returns whether the release runs; otherwise it is refused.
    fn settle_one(&self, name: &str, next: &Published) -> Result<bool, invariants::Finding> {
        for _ in 0..ROUNDS_MAX {
            if self.is_refused(name, next) {
                return Ok(false);
            }
            let service = self.pi.engine.inspect(name).unwrap_or_default();
            if service["Image"] == next.image.as_str() && self.pi.agent.journals().is_empty() {
                return Ok(true);
            }
            // With its name, because after a failure for another reason than the image a round
            // would pause.
            self.pi.update(&[name]);
        }
        let row = self.pi.check(name);
        Err(invariants::Finding::leftovers(format!(
            "after {ROUNDS_MAX} rounds it is still open: {row}"
        )))
    }

    /// Whether the agent's memory, on disk, refuses the release.
    fn is_refused(&self, name: &str, release: &Published) -> bool {
        let Ok(memory) = fs::read(self.pi.agent.state().join("memory.json")) else { return false };
        let memory: Memory = serde_json::from_slice(&memory).expect("memory.json");
        let digest = release.digest.parse::<Digest>().expect("a digest");
        memory.refusal(&Subject::container(name), &digest).is_some()
    }

    /// I8: a bad release is started once, and once more for each fault that may have interrupted
    /// its verification. Once it is refused, another round does not start it.
    pub fn check_starts(&self, case: &Case, services: &[Judged<'_>]) -> Vec<invariants::Finding> {
        let is_settled = |it: &&Judged<'_>| !it.kind.is_good() && self.is_refused(it.name, it.next);
        let refused: Vec<_> = services.iter().filter(is_settled).collect();
        if refused.is_empty() {
            return Vec::new();
        }
        let starts = || refused.iter().map(|it| self.starts_of(&it.version)).collect::<Vec<_>>();
        let before = starts();
        self.pi.update(&[]);
        let chances = 2 + usize::from(case.again.is_some());
        let counts = before.into_iter().zip(starts());
        let revived = |(service, (before, after)): (&&Judged<'_>, (usize, usize))| {
            let version = &service.version;
            let what = format!("version {version} was started {before} times, {after} in the end");
            (before > chances || after > before).then(|| invariants::Finding::revived(what))
        };
        refused.iter().zip(counts).filter_map(revived).collect()
    }

    /// How often a version was started, according to the tills' own log.
    fn starts_of(&self, version: &str) -> usize {
        let diary = self.pi.engine.directory().join("diary/starts");
        let diary = fs::read_to_string(diary).unwrap_or_default();
        diary.lines().filter(|line| *line == version).count()
    }
}
