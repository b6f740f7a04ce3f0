//! Waves: how they are written, and when each place is due.

use super::*;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::Ranking;

const HOUR: u64 = 3600;

fn waves(text: &str) -> Waves {
    text.parse().expect("waves")
}

#[test]
fn waves_are_read_as_people_write_them() {
    assert_eq!(Waves::read(""), Ok(None));
    assert_eq!(Waves::read(" none "), Ok(None));
    assert_eq!(Waves::read("canary"), Ok(Some(Waves::Canary)));
    assert_eq!(waves("day"), waves(" 1%@1h  5%@2h 25%@4h 100%@8h "));
    assert_eq!(waves("week"), waves("1%@24h 10%@2d 50%@4d 100%@7d"));
    let one = Wave { share: WHOLE, at: Duration::from_secs(HOUR) };
    assert_eq!(waves("100.00%@60m"), Waves::Steps(vec![one]));
    let rows =
        [("0.01%", Some(1)), ("0.5%", Some(50)), ("12.25%", Some(1225)), ("005%", Some(500))];
    let wrong = ["0%", "100.01%", "101%", "1.234%", "-1%", "1", "%", ".5%", "5.%", "1e1%", "+1%"];
    for (text, share) in rows.into_iter().chain(wrong.map(|text| (text, None))) {
        assert_eq!(read_share(text), share, "{text}");
    }
}

#[test]
fn what_is_wrong_says_what_to_write() {
    let shape = "is no wave: write SHARE@TIME like `5%@2h`, or one of none, canary, day, week";
    let share = "is no share: write a percentage from 0.01% to 100%, with at most two decimals";
    for (text, error) in [
        ("days", format!("`days` {shape}; did you mean `day`?")),
        ("5%", format!("`5%` {shape}")),
        ("5@2h", format!("`5` {share}")),
        ("200%@2h", format!("`200%` {share}")),
        (
            "5%@2",
            "the time of the wave `5%@2` cannot be read: `2` has no unit: write `2s`, `2m` or `2h`"
                .to_owned(),
        ),
        (
            "5%@2h 5%@3h 100%@4h",
            "the wave `5%@3h` reaches no more devices than the one before it: let the shares grow"
                .to_owned(),
        ),
        (
            "5%@2h 100%@2h",
            "the wave `100%@2h` is not later than the one before it: let the times grow".to_owned(),
        ),
        (
            "5%@2h 50%@3h",
            "the last wave `50%@3h` does not reach all devices: end with `100%@` and a time"
                .to_owned(),
        ),
        (
            "100%@91d",
            "the wave `100%@91d` is too late: reach all devices within 90 days".to_owned(),
        ),
        (&"1%@1h ".repeat(17), "there are 17 waves: write at most 16".to_owned()),
    ] {
        assert_eq!(text.parse::<Waves>().expect_err(text).to_string(), error);
    }
}

#[test]
fn no_hour_takes_more_than_its_share() {
    let ranking = Ranking::new(10_000, "x");
    let mut hours = [0; 8];
    for index in 0..10_000 {
        let due = waves("day").due(ranking.by_index(index));
        hours[usize::try_from(due.as_secs() / HOUR).expect("an hour")] += 1;
    }
    assert_eq!(hours, [100, 400, 1000, 1000, 1875, 1875, 1875, 1875]);
}

#[test]
fn no_hour_takes_more_than_its_share_in_fleets_of_any_size() {
    // Per mille of the fleet in each hour, times 8.
    let shares: [u64; 8] = [80, 320, 800, 800, 1500, 1500, 1500, 1500];
    let day = waves("day");
    for size in [1, 2, 3, 7, 10, 100, 997, 1000, 4321] {
        let ranking = Ranking::new(size, "y");
        let mut hours = [0_u64; 8];
        for index in 0..size {
            hours[(day.due(ranking.by_index(index)).as_secs() / HOUR) as usize] += 1;
        }
        for (count, share) in hours.iter().zip(shares) {
            assert!(*count <= (u64::from(size) * share).div_ceil(8000), "{size}: {hours:?}");
        }
    }
}

#[test]
fn hashed_places_are_due_within_chance() {
    let (ranking, day) = (Ranking::new(10_000, "z"), waves("day"));
    let mut hours = [0_i32; 8];
    for number in 0..10_000 {
        let name: DeviceName = format!("x{number}x").parse().expect("a name");
        hours[(day.due(ranking.by_name(&name)).as_secs() / HOUR) as usize] += 1;
    }
    for (count, expected) in hours.into_iter().zip([100, 400, 1000, 1000, 1875, 1875, 1875, 1875]) {
        let sigma = (f64::from(expected) * (1.0 - f64::from(expected) / 10_000.0)).sqrt();
        assert!(f64::from((count - expected).abs()) <= 4.5 * sigma, "{hours:?}");
    }
}

#[test]
fn an_earlier_place_is_never_due_later() {
    for text in ["day", "week", "0.01%@0s 99.99%@1s 100%@90d", "100%@0s", "canary"] {
        let waves = waves(text);
        let ranking = Ranking::new(2000, "x");
        let mut places: Vec<_> = (0..2000).map(|index| ranking.by_index(index)).collect();
        places.sort_by_key(|place| place.rank);
        let due: Vec<_> = places.iter().map(|place| waves.due(*place)).collect();
        assert!(due.is_sorted(), "{text}");
        assert_eq!(due[0], Duration::ZERO, "{text}");
    }
}

#[test]
fn the_canaries_are_the_first_share_and_at_least_one() {
    for (text, size, count) in [
        ("day", 1, 1),
        ("day", 100, 1),
        ("day", 101, 2),
        ("day", 1000, 10),
        ("day", 10_000, 100),
        ("100%@1h", 7, 7),
        ("0.01%@1h 100%@2h", 10_001, 2),
        ("canary", 10_000, 1),
    ] {
        assert_eq!(waves(text).canaries(size), count, "{text} {size}");
    }
    // Exactly these are due within the first wave.
    let (ranking, day) = (Ranking::new(997, "x"), waves("day"));
    let is_first = |index| day.due(ranking.by_index(index)) < Duration::from_secs(HOUR);
    assert_eq!((0..997).filter(|index| is_first(*index)).count(), day.canaries(997) as usize);
}
