//! The rule of a staged rollout: how many verdicts release and stop.

use super::*;
use crate::core::fleet::names::DeviceName;

fn rollout(size: u32, waves: &str) -> Rollout {
    let name: DeviceName = "pi-0".parse().expect("a name");
    let roster = Roster::new(size, name, None).expect("a roster");
    Rollout::new(roster, waves.parse().expect("waves"), Patience::default()).expect("a rollout")
}

#[test]
fn the_thresholds_follow_from_the_number_of_canaries() {
    // Size, canaries, failures that stop, successes that release.
    for (size, waves, canaries, bad, ok) in [
        (1, "canary", 1, 1, 1),
        (10_000, "canary", 1, 1, 1),
        (100, "day", 1, 1, 1),
        (200, "day", 2, 1, 1),
        (201, "day", 3, 2, 2),
        (1000, "day", 10, 2, 5),
        (2000, "day", 20, 2, 10),
        (2001, "day", 21, 3, 11),
        (5000, "day", 50, 3, 25),
        (5001, "day", 51, 5, 26),
        (10_000, "day", 100, 5, 50),
    ] {
        let rollout = rollout(size, waves);
        let found = (rollout.canaries(), rollout.bad_needed(), rollout.ok_needed());
        assert_eq!(found, (canaries, bad, ok), "{size} {waves}");
    }
}

#[test]
fn failures_stop_if_they_are_enough_and_a_tenth_of_the_tries() {
    let rollout = rollout(10_000, "day");
    let first = |count: u32| (0..count).collect::<Vec<_>>();
    for (ok, bad_ranks, stops) in [
        (0, first(4), None),
        (0, first(5), Some((5, 5))),
        (45, first(5), Some((5, 50))),
        (46, first(5), None),
        (90, first(10), Some((10, 100))),
        (91, first(9), None),
        // After the canaries all ranks before a failing device count as tries.
        (50, vec![100, 101, 102, 103, 104], None),
        (50, (100..106).collect(), Some((6, 56))),
        (50, (100..110).map(|it| it * 10).collect(), None),
        (0, vec![0, 1, 2, 3, 9_999], None),
    ] {
        let found = rollout.refused(ok, &bad_ranks).map(|it| (it.bad, it.tried));
        assert_eq!(found, stops, "{ok} {bad_ranks:?}");
    }
}

#[test]
fn one_broken_device_in_a_hundred_never_stops_a_large_fleet() {
    let rollout = rollout(10_000, "day");
    let bad_ranks: Vec<u32> = (0..10_000).filter(|rank| rank % 100 == 0).collect();
    assert_eq!(rollout.refused(99, &bad_ranks), None);
}

#[test]
fn canaries_are_known_or_many() {
    let new = |name: &str, index, waves: &str| {
        let roster = Roster::new(1000, name.parse().expect("a name"), index).expect("a roster");
        let waves = waves.parse().expect("waves");
        Rollout::new(roster, waves, Patience::Never).err().map(|error| error.to_string())
    };
    assert_eq!(new("pi-1", None, "canary"), None);
    assert_eq!(new("pi-1", Some(0), "day"), None);
    assert_eq!(new("kitchen", None, "day"), None);
    let unnumbered = new("kitchen", Some(3), "day").expect("an error");
    assert!(unnumbered.starts_with("fleet.index is set, but device.name has no number"));
    let few = new("kitchen", None, "canary").expect("an error");
    assert!(few.contains("canaries are chosen by chance, and 1 are too few"), "{few}");
}

#[test]
fn patience_is_a_time_or_never() {
    assert_eq!("never".parse(), Ok(Patience::Never));
    assert_eq!("24h".parse(), Ok(Patience::default()));
    let error = "soon".parse::<Patience>().expect_err("no patience").to_string();
    assert!(error.ends_with("; or write `never`"), "{error}");
    assert_eq!(Patience::Never.alarm(), PATIENCE_DEFAULT);
}
