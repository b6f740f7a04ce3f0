//! Locks: when they hold an update, and what is said about them.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::core::decide::decide;
use crate::core::decide::observation::Observation;
use crate::core::decide::tests::{circumstances, observation};
use crate::core::time::zone::zone;

const NOW: &str = "2026-11-27T12:00:00Z";

fn circumstances_now(now: &str) -> Circumstances {
    circumstances(zone("UTC"), now, "")
}

fn seen(state: LockState) -> SeenLock {
    let max = Duration::from_secs(24 * 60 * 60);
    SeenLock { lock: UpdateLock { path: "/data/lock".into(), max }, state }
}

fn since(time: &str) -> LockState {
    LockState::Present(Some(time.parse().expect("a time")))
}

fn locked(state: LockState, is_prefetched: bool) -> Observation {
    let mut observation = observation("");
    let readiness = observation.readiness.as_mut().expect("it is there");
    readiness.lock = Some(seen(state));
    (readiness.is_pulled, readiness.is_prefetched) = (is_prefetched, is_prefetched);
    observation
}

fn no_of(decision: Decision) -> Option<No> {
    match decision {
        Decision::No(no) => Some(no),
        Decision::Fetch(fetch) => Some(fetch.waits),
        _ => None,
    }
}

#[test]
fn a_lock_holds_the_update_and_the_pull_goes_on() {
    let circumstances = circumstances_now(NOW);
    let force = Circumstances { force: true, ..circumstances.clone() };
    for circumstances in [&circumstances, &force] {
        let state = || since("2026-11-27T11:00:00Z");
        let decision = decide(&locked(state(), false), circumstances);
        assert!(matches!(decision, Decision::Fetch(_)), "{decision:?}");
        let decision = decide(&locked(state(), true), circumstances);
        assert!(matches!(decision, Decision::No(_)), "{decision:?}");
        let no = no_of(decision).expect("a no");
        assert_eq!(no.reason, Reason::UpdateLocked);
        assert!(no.detail.starts_with("/data/lock exists since Fri 27 Nov 2026"), "{}", no.detail);
        assert!(!no.is_overdue);
    }
    let decision = decide(&locked(LockState::Absent, true), &circumstances);
    assert!(matches!(decision, Decision::Update(_)), "{decision:?}");
}

#[test]
fn what_cannot_be_seen_holds_the_update_too() {
    for (state, reason, part) in [
        (LockState::Present(None), Reason::UpdateLocked, "/data/lock exists"),
        (LockState::Unknown("403".into()), Reason::EngineError, "could not be looked at: 403"),
        (LockState::OnTmpfs("/data".into()), Reason::BadLabel, "on the tmpfs /data"),
    ] {
        let no = no_of(decide(&locked(state, true), &circumstances_now(NOW))).expect("a no");
        assert_eq!(no.reason, reason);
        assert!(no.detail.contains(part), "{}", no.detail);
    }
}

#[test]
fn a_lock_that_lasts_too_long_is_reported_once_and_never_broken() {
    let mut reported = ReportedLocks::default();
    let mut news = |state: LockState| {
        let decision = decide(&locked(state, true), &circumstances_now(NOW));
        let told = reported.news("till", &decision);
        (no_of(decision).map(|no| no.is_overdue), told.is_some())
    };
    assert_eq!(news(since("2026-11-26T12:00:00Z")), (Some(false), false));
    assert_eq!(news(since("2026-11-26T11:59:59Z")), (Some(true), true));
    assert_eq!(news(since("2026-11-26T11:59:59Z")), (Some(true), false));
    // Another lock, a lock from the future of a wrong clock, no lock.
    assert_eq!(news(since("2026-11-20T12:00:00Z")), (Some(true), true));
    assert_eq!(news(since("2030-01-01T00:00:00Z")), (Some(false), false));
    assert_eq!(news(LockState::Absent), (None, false));
}

#[test]
fn a_tmpfs_is_found_by_the_mount_that_counts_for_the_path() {
    let container = json!({
        "HostConfig": { "Tmpfs": { "/run": "", "/cache/": "" } },
        "Mounts": [
            { "Type": "tmpfs", "Destination": "/scratch" },
            { "Type": "volume", "Destination": "/run/app" },
            { "Type": "volume", "Destination": "/data" },
        ],
    });
    for (path, tmpfs) in [
        ("/run/lock", Some("/run")),
        ("/run/app/lock", None),
        ("/runner/lock", None),
        ("/cache/lock", Some("/cache/")),
        ("/scratch/lock", Some("/scratch")),
        ("/data/lock", None),
        ("/lock", None),
    ] {
        assert_eq!(tmpfs_of(path, &container).as_deref(), tmpfs, "{path}");
    }
}
