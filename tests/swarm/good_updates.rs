//! Updates that succeed.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotfish::core::update::history::Outcome;
use pilotfish::execute::ServiceEnded;
use pilotfish::registry::Credentials;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::images::Release;
use crate::support::swarm::{GLOBAL, Swarm};
use crate::tables::Tables;

/// `htpasswd -B` of a user and a password with characters that expose errors of the encoding.
const HTPASSWD: &str = "matrose:$2y$05$abcdefghijklmnopqrstuuO4OeUZqIbBTRY2dzAplwkAa6ox5/lsG";

/// The new task of a table answers two seconds after the end of the old one; one second of it is
/// the kernel's ARP.
const GAP_MAX: Duration = Duration::from_secs(5);

#[ignore = "takes long: make test-swarm"]
#[test]
fn a_good_image_goes_to_every_table_one_after_the_other() {
    for is_pinned in [false, true] {
        let tables = Tables::with(&Release::new("1"), is_pinned);
        let two = tables.publish(&Release::new("2").with_ballast(2_000_000));

        let seen = tables.update(&two);

        assert_eq!(seen.record.outcome, Outcome::Updated, "{:?}", seen.record);
        for table in &seen.tables {
            assert_eq!(table.answers, ["till 1", "till 2"]);
            assert!(table.longest() < GAP_MAX, "{:?}", table.gaps);
        }
        let gap = seen.record.gap_seconds.expect("it was measured");
        assert!(gap > 0.0 && gap < GAP_MAX.as_secs_f64(), "{gap}");
        tables.assert_settled();
        let spec = &tables.service()["Spec"];
        let image = spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().expect("an image");
        assert!(image.ends_with(&two.digest), "{image}");
        assert_eq!(spec["UpdateConfig"], Value::Null);
        let previous = tables.memory().previous;
        assert_eq!(previous.len(), 1, "the image for a rollback by hand");
    }
}

#[test]
fn an_image_that_no_node_can_pull_touches_nothing() {
    let tables = Tables::with(&Release::new("1"), false);
    let two = tables.publish(&Release::new("2"));
    tables.swarm.registry.delete_manifest("till", &two.digest);

    let seen = tables.update(&two);

    assert_eq!(seen.record.outcome, Outcome::Failed);
    let reason = seen.record.reason.expect("a reason");
    assert!(reason.starts_with("prepull_failed: "), "{reason}");
    assert!(reason.contains("No such image"), "{reason}");
    for table in &seen.tables {
        assert_eq!((table.answers.len(), table.gaps.len()), (1, 0), "{table:?}");
    }
    assert!(!tables.refused(&two), "it says nothing about the image");
    tables.assert_settled();
}

/// The job pulls with the agent's login; the service keeps the one that its user gave it.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_private_registry_gets_the_login_of_the_agent() {
    let (user, password) = ("matrose", "p?>~:ä");
    let mut swarm = Swarm::start();
    let one = swarm.registry.publish("till", &Release::new("1"));
    let guarded = swarm.serve_with_login(HTPASSWD);
    let logins = tempfile::tempdir().expect("a directory");
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let config = json!({ "auths": { guarded.as_str(): { "auth": auth } } });
    fs::write(logins.path().join("config.json"), config.to_string()).expect("the login");
    let image = format!("{guarded}/till:latest@{}", one.digest);
    swarm.create_service(&GLOBAL, &image, Some(logins.path()));
    let tables = Tables::of(swarm, &one);
    tables.wait_until_serving("till 1");
    let two = tables.publish(&Release::new("2").with_own_till());
    let stop = CancellationToken::new();

    let without = tables.watched(|| tables.block_on(tables.run(&two, &stop)));
    assert_eq!(without.record.outcome, Outcome::Failed, "{:?}", without.record);
    assert!(without.tables.iter().all(|table| table.gaps.is_empty()), "{without:?}");

    let three = tables.publish(&Release::new("3").with_own_till());
    let login = Credentials::with_password(user, password);
    let with = tables.watched(|| tables.block_on(tables.run_with(&three, &stop, Some(&login))));
    assert_eq!(with.record.outcome, Outcome::Updated, "{:?}", with.record);
    assert!(with.tables.iter().all(|table| table.longest() < GAP_MAX), "{with:?}");
    tables.assert_settled();
}

/// Replicas without a port, one after the other; with two of them on one node as well.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_replicated_service_is_updated_slot_by_slot() {
    let swarm = Swarm::start();
    let one = swarm.registry.publish("till", &Release::new("1"));
    let image = swarm.reference(&one);
    swarm.create_service(&["--replicas=3", "--update-delay=1s"], &image, None);
    let tables = Tables::of(swarm, &one);
    tables.wait_until_running(3);
    let users = tables.service()["Spec"]["UpdateConfig"].clone();
    assert_eq!(users["Delay"], 1_000_000_000);

    let two = tables.publish(&Release::new("2"));
    let ended = tables.block_on(tables.run(&two, &CancellationToken::new()));
    let ServiceEnded::Finished(record) = ended else { panic!("{ended:?}") };
    assert_eq!(record.outcome, Outcome::Updated, "{record:?}");
    assert_eq!(tables.service()["Spec"]["UpdateConfig"], users, "the user's own settings");

    let bad = tables.publish(&Release::new("3").with("TILL_EXIT_AFTER", "2s"));
    let ended = tables.block_on(tables.run(&bad, &CancellationToken::new()));
    let ServiceEnded::Finished(record) = ended else { panic!("{ended:?}") };
    assert_eq!(record.outcome, Outcome::RolledBack, "{record:?}");
    assert_eq!(tables.service()["Spec"]["UpdateConfig"], users, "the user's own settings");
    tables.wait_until_running(3);
    assert!(tables.refused(&bad) && tables.open_updates() == 0);
}
