//! Places: each is taken once, neighbours are far apart, and names lead to the same places as
//! indexes.

use super::*;

fn name(text: &str) -> DeviceName {
    text.parse().expect("a name")
}

fn roster(size: u32, text: &str, index: Option<u32>) -> Roster {
    Roster::new(size, name(text), index).expect("a roster")
}

#[test]
fn each_place_is_taken_exactly_once() {
    for size in 1..=2000 {
        let ranking = Ranking::new(size, &format!("sha256:{size}"));
        let mut is_taken = vec![false; size as usize];
        for index in 0..size {
            let place = ranking.by_index(index);
            assert!(!std::mem::replace(&mut is_taken[place.rank as usize], true), "{size} {index}");
        }
    }
}

#[test]
fn the_factor_is_near_the_golden_ratio() {
    let rows = [(1, 1), (2, 3), (3, 2), (7, 5), (10, 7), (100, 63), (997, 617), (10_000, 6181)];
    for (size, expected) in rows {
        assert_eq!(factor(size), expected, "{size}");
    }
}

#[test]
fn neighbours_are_far_apart() {
    let ranking =
        Ranking { size: 10_000, factor: factor(10_000), offset: 5755, text: String::new() };
    let ranks: Vec<_> = (0..10).map(|index| ranking.by_index(index).rank).collect();
    assert_eq!(ranks, [5755, 1936, 8117, 4298, 479, 6660, 2841, 9022, 5203, 1384]);
}

#[test]
fn another_digest_has_another_first_device() {
    let firsts: std::collections::BTreeSet<_> = (0..50)
        .map(|number: u32| {
            let digest = Digest::of(&number.to_be_bytes());
            let ranking = roster(1000, "pi-0", None).ranking(&digest);
            (0..1000).find(|index| ranking.by_index(*index).rank == 0)
        })
        .collect();
    assert!(firsts.len() > 40, "{}", firsts.len());
}

#[test]
fn the_offset_is_the_first_eight_bytes_of_the_hash_of_the_text() {
    // printf abc | sha256sum: ba7816bf8f01cfea…
    let offset = 0xba78_16bf_8f01_cfea_u64 % 10_000;
    assert_eq!(u64::from(Ranking::new(10_000, "abc").by_index(0).rank), offset);
}

#[test]
fn the_index_is_configured_or_at_the_end_of_the_name() {
    let ranking = Ranking::new(20, "x");
    for (own, index, other, other_index) in [
        ("pi-0042", None, "pi-0007", Some(7)),
        ("pi-1", None, "pi-19", Some(19)),
        ("pi-1", None, "pi-20", Some(0)),
        ("pi-1", None, "pi-21", None),
        ("pi-1", None, "till-2", None),
        ("pi-1", None, "bridge-ci", None),
        ("pi-1", None, "pi-", None),
        // These names count from 1.
        ("pi-1", Some(0), "pi-20", Some(19)),
        ("pi-1", Some(0), "pi-21", None),
        ("pi-1", Some(0), "pi-0", None),
        ("pi-5", Some(6), "pi-7", Some(8)),
        ("kitchen", Some(3), "cellar", None),
        ("kitchen", Some(3), "pi-3", None),
    ] {
        let place = roster(20, own, index).place_of(&name(other), &ranking);
        assert_eq!(place, other_index.map(|it| ranking.by_index(it)), "{own} {index:?} {other}");
    }
    let hashed = roster(20, "kitchen", None);
    assert!(hashed.index().is_none() && !hashed.is_numbered());
    assert_eq!(hashed.place_of(&name("cellar"), &ranking), Some(ranking.by_name(&name("cellar"))));
    assert_eq!(hashed.own_place(&ranking), ranking.by_name(&name("kitchen")));
    let numbered = roster(20, "pi-7", None);
    assert_eq!(Some(numbered.own_place(&ranking)), numbered.place_of(&name("pi-7"), &ranking));
}

#[test]
fn what_is_impossible_says_what_to_do() {
    let error = |size, index| {
        let error = Roster::new(size, name("pi-1"), index).expect_err("no roster");
        error.to_string()
    };
    assert_eq!(
        error(0, None),
        "the fleet has no size: set fleet.size to the number of its devices"
    );
    assert_eq!(error(100_001, None), "fleet.size is 100001: set at most 100000");
    assert_eq!(error(3, Some(3)), "fleet.index is 3, but the fleet has 3 devices: set 0 to 2");
    let outside = roster(20, "pi-0042", None);
    assert_eq!(
        outside.warning().as_deref(),
        Some(
            "the name of this device has the number 42, but the fleet has 20 devices: set \
             fleet.index to a number from 0 to 19, or raise fleet.size"
        )
    );
    assert_eq!(roster(20, "pi-0019", None).warning(), None);
    assert_eq!(roster(20, "pi-0020", None).warning(), None);
    let ranking = Ranking::new(20, "x");
    assert_eq!(outside.own_place(&ranking), ranking.by_index(2));
}

#[test]
fn hashed_places_are_spread_evenly() {
    // 100 buckets of 100 devices each, 10 digests; 4.5 standard deviations of the binomial.
    for digest in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        let ranking = Ranking::new(10_000, digest);
        let mut buckets = [0_i32; 100];
        for number in 0..10_000 {
            let place = ranking.by_name(&name(&format!("x{number}x")));
            buckets[(place.rank / 100) as usize] += 1;
        }
        let sigma = (100.0_f64 * 0.99).sqrt();
        for count in buckets {
            assert!(f64::from((count - 100).abs()) <= 4.5 * sigma, "{digest}: {count}");
        }
    }
}

#[test]
fn looks_are_spread_by_the_size() {
    for (size, millis) in [(1, 0), (2, 20), (200, 3980), (10_000, 199_980)] {
        let roster = roster(size, "pi-0", None);
        assert_eq!(roster.spread(), Duration::from_millis(millis), "{size}");
        let ranking = Ranking::new(size, "x");
        let latest = (0..size).map(|it| ranking.by_index(it).share_of(roster.spread())).max();
        assert!(latest < Some(roster.spread()) || millis == 0);
    }
}

#[test]
fn names_that_count_from_1_have_all_places() {
    for size in [1, 2, 3, 20, 997] {
        let ranking = Ranking::new(size, "x");
        let place = |number: u32| {
            let own = roster(size, &format!("pi-{number}"), None).own_place(&ranking);
            let seen =
                roster(size, "pi-1", None).place_of(&name(&format!("pi-{number}")), &ranking);
            assert_eq!(seen, Some(own), "{number} of {size}");
            own.rank
        };
        let ranks: std::collections::BTreeSet<u32> = (1..=size).map(place).collect();
        assert_eq!(ranks, (0..size).collect(), "{size}");
    }
}
