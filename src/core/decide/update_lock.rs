//! Whether a lock in a container, or in a dependent of it, holds the update.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::dependents::Follower;
use super::{Circumstances, Decision, No};
use crate::core::decide::observation::Readiness;
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::policy::update_lock::{LABEL_UPDATE_LOCK, UpdateLock};
use crate::core::time::duration::format_duration;
use crate::core::time::wall_clock::reading;

/// What was seen of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// There is nothing at its path.
    Absent,
    /// There is something: a file, a directory, a link. The time is that of its last change.
    Present(Option<DateTime<Utc>>),
    /// Why the Engine did not tell.
    Unknown(String),
    /// The path is on a tmpfs, into which the Engine cannot look.
    OnTmpfs(String),
}

/// A lock, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLock {
    pub lock: UpdateLock,
    pub state: LockState,
}

/// The tmpfs of a container below which a path is, if there is one.
#[must_use]
pub fn tmpfs_of(path: &str, container: &Value) -> Option<String> {
    let of_host = container.pointer("/HostConfig/Tmpfs").and_then(Value::as_object);
    let by_option = of_host.into_iter().flat_map(|all| all.keys().map(String::as_str));
    let mounts = container.get("Mounts").and_then(Value::as_array);
    // The last mount on the way to the path is the one that counts.
    let of_mounts = mounts.into_iter().flatten().map(|mount| {
        (inspect::text(mount, "/Destination"), inspect::text(mount, "/Type") == "tmpfs")
    });
    let all = by_option.map(|directory| (directory, true)).chain(of_mounts);
    let is_below = |directory: &str| {
        let rest = path.strip_prefix(directory.trim_end_matches('/'));
        !directory.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let nearest = all.filter(|(directory, _)| is_below(directory));
    let nearest = nearest.max_by_key(|(directory, _)| directory.trim_end_matches('/').len());
    nearest.filter(|(_, is_tmpfs)| *is_tmpfs).map(|(directory, _)| directory.to_owned())
}

/// Checks the locks of the container and of all dependents. No force overrides one.
pub(super) fn unlocked(
    readiness: &Readiness,
    followers: &[Follower<'_>],
    circumstances: &Circumstances,
) -> Result<(), No> {
    let of_followers =
        followers.iter().map(|follower| (format!("{}: ", follower.tie.name), follower.lock()));
    let all = std::iter::once((String::new(), readiness.lock.as_ref())).chain(of_followers);
    for (of, lock) in all {
        if let Some(no) = lock.and_then(|lock| held(&of, lock, circumstances)) {
            return Err(no);
        }
    }
    Ok(())
}

fn held(of: &str, seen: &SeenLock, circumstances: &Circumstances) -> Option<No> {
    let UpdateLock { path, max } = &seen.lock;
    let since = match &seen.state {
        LockState::Absent => return None,
        LockState::Present(since) => since,
        LockState::Unknown(why) => {
            let detail = format!("{of}the lock {path} could not be looked at: {why}");
            return Some(No::new(Reason::EngineError, detail));
        }
        LockState::OnTmpfs(directory) => {
            let detail = format!(
                "{of}label `{LABEL_UPDATE_LOCK}`: {path} is on the tmpfs {directory}, and the Engine \
                 cannot look into it; put the lock on a volume"
            );
            return Some(No::new(Reason::BadLabel, detail));
        }
    };
    let Some(since) = since else {
        return Some(No::new(Reason::UpdateLocked, format!("{of}{path} exists")));
    };
    let age = circumstances.now - *since;
    let is_overdue = TimeDelta::from_std(*max).is_ok_and(|max| age > max);
    let at = reading(*since, &circumstances.zone).format("%a %d %b %Y %H:%M");
    let mut detail = format!("{of}{path} exists since {at}");
    if is_overdue {
        detail = format!("{detail}, which is longer than {}", format_duration(*max));
    }
    Some(No { is_overdue, ..No::new(Reason::UpdateLocked, detail) })
}

/// The overdue locks that were reported, by container, with their details.
#[derive(Debug, Clone, Default)]
pub struct ReportedLocks {
    reported: BTreeMap<String, String>,
}

impl ReportedLocks {
    /// What to report about a container: its lock is overdue, and this was not reported yet.
    pub fn news(&mut self, container: &str, decision: &Decision) -> Option<String> {
        let no = match decision {
            Decision::No(no) => Some(no),
            Decision::Fetch(fetch) => Some(&fetch.waits),
            _ => None,
        };
        // After a while in which it could not be checked, the same lock is not reported again.
        let no = no.filter(|no| no.is_overdue)?;
        let before = self.reported.insert(container.to_owned(), no.detail.clone());
        (before.as_ref() != Some(&no.detail))
            .then(|| format!("its update is locked: {}", no.detail))
    }

    /// Forgets containers that are no longer watched.
    pub fn retain(&mut self, watched: &BTreeSet<String>) {
        self.reported.retain(|name, _| watched.contains(name));
    }
}

#[cfg(test)]
#[path = "update_lock_tests.rs"]
mod tests;
