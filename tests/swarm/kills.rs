//! The agent and the manager are killed in the middle of an update.

use std::thread;
use std::time::Duration;

use pilotfish::core::decide::reason::Reason;
use pilotfish::core::service::decision::ServiceDecision;
use pilotfish::core::update::history::Outcome;
use pilotfish::execute::ServiceEnded;
use tokio_util::sync::CancellationToken;

use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::probe::ask;
use crate::support::registry::Published;
use crate::support::swarm::node_id;
use crate::tables::Tables;

const SECOND: Duration = Duration::from_secs(1);

/// A dropped future is an agent that was killed: nothing of it runs any more, and its files are as
/// it left them.
fn kill_after(tables: &Tables, image: &Published, time: Duration) {
    let stop = CancellationToken::new();
    tables.block_on(async {
        let run = tables.run(image, &stop);
        assert!(tokio::time::timeout(time, run).await.is_err(), "it ended within {time:?}");
    });
    assert_eq!(tables.open_updates(), 1);
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn a_killed_agent_goes_on_where_it_was() {
    let tables = Tables::with(&Release::new("1"), false);
    let two = tables.publish(&Release::new("2"));
    // In the pull, shortly after the change, and in the watch.
    for (number, milliseconds) in [(1, 300), (2, 4000), (3, 7000)] {
        let image = if number == 1 {
            two.clone()
        } else {
            tables.publish(&Release::new(&format!("{number}")))
        };
        kill_after(&tables, &image, Duration::from_millis(milliseconds));
        let ended = tables.watched(|| tables.block_on(tables.take_up()));
        tables.assert_settled();
        let outcome = ended.record.outcome;
        if number > 1 {
            assert_eq!(outcome, Outcome::Updated, "{:?}", ended.record);
            tables.wait_until_serving(&format!("till {number}"));
        } else {
            assert!(matches!(outcome, Outcome::Interrupted | Outcome::Updated), "{outcome:?}");
        }
    }
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn a_killed_agent_takes_a_bad_image_back_and_a_person_is_left_alone() {
    let tables = Tables::with(&Release::new("1"), true);
    let bad = tables.publish(&Release::new("2").with("TILL_EXIT_AFTER", "3s"));
    kill_after(&tables, &bad, 4 * SECOND);
    // Swarm goes back by itself.
    thread::sleep(12 * SECOND);
    let ended = tables.watched(|| tables.block_on(tables.take_up()));
    assert_eq!(ended.record.outcome, Outcome::RolledBack, "{:?}", ended.record);
    assert!(tables.refused(&bad));
    tables.assert_settled();
    let (decision, ..) = tables.block_on(tables.decide(&bad));
    assert!(matches!(decision, ServiceDecision::No(no) if no.reason == Reason::RefusedDigest));

    let three = tables.publish(&Release::new("3"));
    kill_after(&tables, &three, 5 * SECOND);
    let four = tables.publish(&Release::new("4"));
    let by_hand = format!("{}@{}", tables.swarm.reference(&four), four.digest);
    tables.swarm.manager.docker(&[
        "service",
        "update",
        "--detach",
        "--no-resolve-image",
        "--image",
        &by_hand,
        "tableservice",
    ]);
    let ended = tables.block_on(tables.take_up());
    let ServiceEnded::Finished(record) = ended else { panic!("{ended:?}") };
    assert_eq!(record.outcome, Outcome::Interrupted, "{record:?}");
    tables.wait_until_serving("till 4");
}

/// After the restart Swarm takes the next table at once, and its task has no port.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_manager_killed_in_the_middle_leaves_no_table_without_its_port() {
    for is_bad in [false, true] {
        let tables = Tables::with(&Release::new("1"), true);
        let two = Release::new("2");
        let two = if is_bad { two.with("TILL_EXIT_AFTER", "10s") } else { two };
        let image = tables.publish(&two);
        let seen = tables.watched(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(4 * SECOND);
                    tables.swarm.restart_manager(|| thread::sleep(5 * SECOND));
                });
                tables.block_on(tables.run(&image, &CancellationToken::new()))
            })
        });
        tables.assert_settled();
        tables.wait_until_serving(if is_bad { "till 1" } else { "till 2" });
        let expected = if is_bad { Outcome::RolledBack } else { Outcome::Updated };
        assert_eq!(seen.record.outcome, expected, "{:?}", seen.record);
        for table in &seen.tables {
            assert!(table.longest() < 30 * SECOND, "{:?}", table.gaps);
        }
    }
}

/// Killed after each second of an update, from the pull to the end of the watch.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_manager_killed_at_each_second_leaves_no_table_without_its_port_for_long() {
    let tables = Tables::with(&Release::new("1"), true);
    for second in 0..14 {
        let image = tables.publish(&Release::new(&format!("at {second}")));
        let seen = tables.watched(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(second * SECOND + SECOND / 2);
                    tables.swarm.restart_manager(|| thread::sleep(5 * SECOND));
                });
                let mut ended = tables.block_on(tables.run(&image, &CancellationToken::new()));
                // The agent waits for the Engine, and takes the update up again.
                while let ServiceEnded::Unfinished(..) = ended {
                    thread::sleep(SECOND);
                    ended = tables.block_on(tables.take_up());
                }
                ended
            })
        });
        let longest = seen.tables.iter().map(|table| table.longest()).max().unwrap_or_default();
        eprintln!("killed after {second}.5 s: {}, {longest:.1?}", seen.record.outcome.word());
        assert!(longest < 30 * SECOND, "{:?}", seen.tables);
        tables.assert_settled();
    }
}

/// A killed agent may have left a node out of the service, to give it a fresh task.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_node_that_was_left_out_comes_back() {
    let tables = Tables::with(&Release::new("1"), true);
    let placement = tables.service()["Spec"]["TaskTemplate"]["Placement"].clone();
    let two = tables.publish(&Release::new("2"));
    kill_after(&tables, &two, 5 * SECOND);
    let table = &tables.swarm.tables[0];
    let without = format!("--constraint-add=node.id!={}", node_id(table));
    let words = ["service", "update", "--detach", "--no-resolve-image", &without, "tableservice"];
    tables.swarm.manager.docker(&words);
    wait_until("the table is empty", 20 * SECOND, || ask(table.address_of(80)).is_none());

    let seen = tables.watched(|| tables.block_on(tables.take_up()));

    assert_eq!(seen.record.outcome, Outcome::Updated, "{:?}", seen.record);
    tables.wait_until_serving("till 2");
    assert_eq!(tables.service()["Spec"]["TaskTemplate"]["Placement"], placement);
    tables.assert_settled();
}

/// Swarm gives a node up after some twenty seconds; the update ends without it and says so.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_worker_that_goes_away_in_the_middle_is_named() {
    let tables = Tables::with(&Release::new("1"), true);
    let two = tables.publish(&Release::new("2"));
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(2 * SECOND);
            tables.swarm.tables[1].kill();
        });
        tables.block_on(tables.run(&two, &CancellationToken::new()))
    });
    let ServiceEnded::Finished(record) = ended else { panic!("{ended:?}") };
    assert_eq!(record.outcome, Outcome::Updated, "{record:?}");
    assert!(tables.story().contains("is not reachable"), "{}", tables.story());
    assert_eq!(ask(tables.swarm.tables[0].address_of(80)).as_deref(), Some("till 2"));
    tables.assert_settled();
    tables.swarm.restart_table(1);
    tables.wait_until_serving("till 2");
}

/// The executor sees by itself that the service is gone, or that a person brought the old image
/// back.
#[ignore = "takes long: make test-swarm"]
#[test]
fn a_person_may_take_the_service_away_in_the_middle() {
    let by_hand: [&[&str]; 2] =
        [&["service", "rollback", "--detach", "tableservice"], &["service", "rm", "tableservice"]];
    let tables = Tables::with(&Release::new("1"), true);
    for (number, words) in by_hand.into_iter().enumerate() {
        let image = tables.publish(&Release::new(&format!("new {number}")));
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(5 * SECOND);
                tables.swarm.manager.docker(words);
            });
            tables.block_on(tables.run(&image, &CancellationToken::new()))
        });
        let ServiceEnded::Finished(record) = ended else { panic!("{ended:?}") };
        assert_eq!(record.outcome, Outcome::Interrupted, "{record:?}");
        assert_eq!(tables.open_updates(), 0);
        assert!(!tables.refused(&image), "it says nothing about the image");
        if number == 0 {
            tables.wait_until_serving("till 1");
        }
    }
}
