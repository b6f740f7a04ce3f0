//! Images that fail, from a specification with and without a digest. One table is the canary; the
//! other one is never without its service for longer than a restart.

use std::time::Duration;

use pilotfish::core::update::history::Outcome;

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::tables::{Seen, Tables};

const SECOND: Duration = Duration::from_secs(1);

/// How long the canary may be away: the end of the old task, the failure, and the rollback, which
/// Swarm lets hang now and then.
const CANARY_MAX: Duration = Duration::from_secs(15);

fn healthy(version: &str) -> Release {
    Release::new(version).with_healthcheck(SECOND, 2)
}

/// Updates to a bad image from this kind of specification, and checks what must hold for each.
fn fails(release: &Release, is_pinned: bool) -> (Tables, Published, Seen) {
    fails_on(Tables::with(&healthy("1"), is_pinned), release)
}

fn fails_on(tables: Tables, release: &Release) -> (Tables, Published, Seen) {
    let bad = tables.publish(release);

    let seen = tables.update(&bad);

    assert_eq!(seen.record.outcome, Outcome::RolledBack, "{:?}", seen.record);
    tables.wait_until_serving("till 1");
    assert!(tables.refused(&bad), "the digest is refused");
    tables.assert_settled();
    let image = tables.service()["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
    assert!(image.as_str().is_some_and(|image| image.contains("@sha256:")), "{image}");
    let touched = seen.tables.iter().filter(|table| table.answers.len() > 1).count();
    assert!(touched <= 1, "more than one table had the bad image: {:?}", seen.tables);
    for table in &seen.tables {
        assert!(table.longest() < CANARY_MAX, "{:?}", table.gaps);
    }
    (tables, bad, seen)
}

/// The table that was never touched is away for one restart at most: with a specification without a
/// digest, the rollback restarts it on the old image.
fn other_is_away_for(seen: &Seen, most: Duration) {
    let other = seen.tables.iter().map(|table| table.total()).min().expect("two tables");
    assert!(other < most, "{:?}", seen.tables);
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn an_image_that_exits_at_once_costs_one_table() {
    for is_pinned in [true, false] {
        let (_tables, _, seen) = fails(&Release::new("2").with("TILL_EXIT_AFTER", "0s"), is_pinned);
        other_is_away_for(&seen, if is_pinned { SECOND } else { 5 * SECOND });
    }
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn an_image_that_is_unhealthy_costs_one_table() {
    for is_pinned in [true, false] {
        let sick = healthy("2").with("TILL_UNHEALTHY_AFTER", "0s");
        let (_tables, _, seen) = fails(&sick, is_pinned);
        other_is_away_for(&seen, if is_pinned { SECOND } else { 5 * SECOND });
    }
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn an_image_that_never_becomes_healthy_has_a_limit() {
    for is_pinned in [true, false] {
        let slow = healthy("2").with("TILL_HEALTHY_AFTER", "1h").with_start_period(3600 * SECOND);
        let (_tables, _, seen) = fails(&slow, is_pinned);
        other_is_away_for(&seen, if is_pinned { SECOND } else { 5 * SECOND });
        let reason = seen.record.reason.expect("a reason");
        assert!(reason.contains("did not become healthy within 12s"), "{reason}");
    }
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn an_image_that_dies_after_three_seconds_costs_one_table() {
    for is_pinned in [true, false] {
        let dies = Release::new("2").with("TILL_EXIT_AFTER", "3s");
        let (_tables, _, seen) = fails(&dies, is_pinned);
        other_is_away_for(&seen, if is_pinned { SECOND } else { 5 * SECOND });
    }
}

/// Swarm's own monitor time would have said `completed` 15 seconds before.
#[ignore = "takes long: make test-swarm"]
#[test]
fn an_image_that_dies_late_costs_one_table_within_the_stable_time() {
    for is_pinned in [true, false] {
        let mut tables = Tables::with(&healthy("1"), is_pinned);
        tables.stable = 25 * SECOND;
        let dies = Release::new("2").with("TILL_EXIT_AFTER", "20s");
        let (_tables, _, seen) = fails_on(tables, &dies);
        other_is_away_for(&seen, if is_pinned { SECOND } else { 5 * SECOND });
    }
}

/// How often Swarm's rollback hangs with a port of the host, and how long a table is away then.
/// `SWARM_ROLLBACKS` says how many are tried.
#[test]
#[ignore = "measures for some minutes"]
fn many_rollbacks_with_a_port_of_the_host() {
    let count = std::env::var("SWARM_ROLLBACKS").ok().and_then(|it| it.parse().ok()).unwrap_or(50);
    let tables = Tables::with(&healthy("1"), true);
    let mut gaps = Vec::new();
    for number in 0..count {
        let release = Release::new(&format!("bad {number}"));
        let bad = match number % 2 {
            0 => release.with("TILL_EXIT_AFTER", "0s"),
            _ => release.with("TILL_UNHEALTHY_AFTER", "0s").with_healthcheck(SECOND, 2),
        };
        let bad = tables.publish(&bad);
        let seen = tables.update(&bad);
        assert_eq!(seen.record.outcome, Outcome::RolledBack, "{:?}", seen.record);
        let away = seen.tables.iter().map(|table| table.total());
        gaps.push((away.clone().max(), away.min()));
        eprintln!("{number}: {:.1?}", gaps.last());
        assert!(seen.tables.iter().all(|table| table.longest() < CANARY_MAX), "{seen:?}");
    }
    let hung = tables.story().matches("the rollback hangs").count();
    gaps.sort();
    eprintln!("{count} rollbacks, {hung} hung; (canary, other) away: {gaps:.1?}");
}
