//! Votes: whose verdict counts, and that neither order nor repetition matters.

use super::*;
use crate::core::fleet::place::Roster;
use crate::core::fleet::rollout::Patience;

const SIZE: u32 = 1000;

fn name(text: &str) -> DeviceName {
    text.parse().expect("a name")
}

fn rollout() -> Rollout {
    let roster = Roster::new(SIZE, name("pi-0"), None).expect("a roster");
    Rollout::new(roster, "day".parse().expect("waves"), Patience::Never).expect("a rollout")
}

fn verdict(digest: &Digest, ok: bool) -> FleetVerdict {
    let reference = "till:v1".parse().expect("a reference");
    FleetVerdict { reference, digest: digest.clone(), ok, why: None }
}

/// The names of all devices, the first place first.
fn by_rank(digest: &Digest) -> Vec<DeviceName> {
    let ranking = rollout().roster().ranking(digest);
    let mut indexes: Vec<u32> = (0..SIZE).collect();
    indexes.sort_by_key(|index| ranking.by_index(*index).rank);
    indexes.into_iter().map(|index| name(&format!("pi-{index}"))).collect()
}

#[test]
fn only_names_of_the_fleet_count_and_success_only_from_canaries() {
    let (rollout, digest) = (rollout(), Digest::of(b"a"));
    let devices = by_rank(&digest);
    let mut votes = Votes::default();
    // Name, works, counts, sum of successes, sum of failures.
    for (device, ok, counts, oks, bads) in [
        (devices[0].clone(), true, true, 1, 0),
        (devices[0].clone(), true, true, 1, 0),
        (devices[9].clone(), true, true, 2, 0),
        (devices[10].clone(), true, false, 2, 0),
        (devices[999].clone(), false, true, 2, 1),
        (name("bridge-ci"), true, false, 2, 1),
        (name("bridge-ci"), false, false, 2, 1),
        (name("pi-1001"), false, false, 2, 1),
        (name("pi-"), false, false, 2, 1),
        (name("till-1"), false, false, 2, 1),
        // A later verdict replaces the first one, also if it does not count.
        (devices[0].clone(), false, true, 1, 2),
        (devices[999].clone(), true, false, 1, 1),
    ] {
        assert_eq!(votes.note(&rollout, &device, &verdict(&digest, ok)), counts, "{device} {ok}");
        let tally = votes.tally(&rollout, &digest);
        assert_eq!((tally.ok, tally.bad), (oks, bads), "{device} {ok}");
    }
    let other = Digest::of(b"b");
    assert_eq!(votes.tally(&rollout, &other), Tally::default());
    votes.note(&rollout, &devices[9], &verdict(&other, false));
    assert_eq!(votes.tally(&rollout, &digest).ok, 0, "a device has one verdict");
    votes.withdraw(&devices[9]);
    assert_eq!(votes.tally(&rollout, &other), Tally::default());
}

#[test]
fn one_place_has_one_vote() {
    let (rollout, digest) = (rollout(), Digest::of(b"a"));
    let mut votes = Votes::default();
    for alias in ["pi-7", "pi-07", "pi-007", "pi-0007"] {
        assert!(votes.note(&rollout, &name(alias), &verdict(&digest, false)));
    }
    let tally = votes.tally(&rollout, &digest);
    assert_eq!((tally.bad, tally.refused), (1, None));
}

#[test]
fn the_memory_is_bounded_by_the_size() {
    let (rollout, digest) = (rollout(), Digest::of(b"a"));
    let mut votes = Votes::default();
    for width in 1..=6 {
        for index in 0..SIZE {
            let device = name(&format!("pi-{index:0width$}"));
            votes.note(&rollout, &device, &verdict(&digest, false));
        }
    }
    assert_eq!(votes.by_device.len(), SIZE as usize);
}

#[test]
fn neither_order_nor_repetition_changes_the_answer() {
    let (rollout, digest) = (rollout(), Digest::of(b"a"));
    let devices = by_rank(&digest);
    let told: Vec<_> = (0..30).map(|rank| (&devices[rank], rank % 7 != 3)).collect();
    let mut expected = Votes::default();
    for (device, ok) in &told {
        expected.note(&rollout, device, &verdict(&digest, *ok));
    }
    let tally = expected.tally(&rollout, &digest);
    assert!(tally.ok > 0 && tally.bad > 0, "{tally:?}");
    // 7 and 11 have no divisor in common with 30.
    for step in [7, 11, 13, 29] {
        let mut votes = Votes::default();
        for number in 0..60 {
            let (device, ok) = told[number * step % 30];
            votes.note(&rollout, device, &verdict(&digest, ok));
        }
        assert_eq!(votes, expected, "{step}");
        assert_eq!(votes.tally(&rollout, &digest), tally, "{step}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// A lost message may delay, but never start an update.
    #[test]
    fn a_lost_verdict_never_turns_wait_into_go(verdicts: Vec<(u8, bool)>, lost: Vec<u8>) {
        let (rollout, digest) = (rollout(), Digest::of(b"a"));
        let (mut all, mut some) = (Votes::default(), Votes::default());
        for (index, ok) in verdicts {
            let device = name(&format!("pi-{index}"));
            all.note(&rollout, &device, &verdict(&digest, ok));
            if !lost.contains(&index) {
                some.note(&rollout, &device, &verdict(&digest, ok));
            }
        }
        let (all, some) = (all.tally(&rollout, &digest), some.tally(&rollout, &digest));
        let waits = all.refused.is_none() && !rollout.is_released(&all);
        proptest::prop_assert!(!(waits && rollout.is_released(&some)), "{:?} {:?}", all, some);
    }
}
