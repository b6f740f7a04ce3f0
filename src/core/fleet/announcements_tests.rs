//! Announcements: duplicates, old retained ones and floods cost nothing.

use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn announcement(reference: &str, digest_of: Option<&str>) -> Announcement {
    let reference = reference.parse().expect("a reference");
    Announcement { reference, digest: digest_of.map(digest), by: None }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn one_announcement_is_one_look() {
    use NoLook::{Awaited, Known, Repeated, Runs};
    let (running, judged) = (vec![digest("running")], vec![digest("refused")]);
    let known = KnownDigests { running, judged };
    let mut announcements = Announcements::default();
    // Reference, digest, retained, milliseconds of the clock, milliseconds of the look.
    for (reference, digest_of, is_retained, now, expected) in [
        ("till:v1", Some("running"), true, 0, Err(Runs)),
        ("till:v1", Some("refused"), false, 0, Err(Known)),
        ("till:v1", Some("a"), true, 100, Ok(100)),
        ("till:v1", Some("a"), false, 101, Err(Repeated)),
        ("docker.io/library/till:v1", Some("a"), true, 9000, Err(Repeated)),
        ("till:v1", Some("b"), false, 9000, Ok(9000)),
        // The second push within a second waits, and a third one waits with it.
        ("till:v1", Some("c"), false, 9100, Ok(10_000)),
        ("till:v1", Some("d"), false, 9200, Err(Awaited)),
        ("till:v1", None, false, 9300, Err(Awaited)),
        // Back to an earlier digest.
        ("till:v1", Some("a"), false, 20_000, Ok(20_000)),
        // Without a digest only a retained one is a repetition.
        ("till:v1", None, true, 30_000, Err(Repeated)),
        ("till:v1", None, false, 30_000, Ok(30_000)),
        ("till:v1", None, false, 30_001, Ok(31_000)),
        // Another reference has nothing to do with it.
        ("till:v2", None, true, 30_001, Ok(30_001)),
        ("till:v2", None, true, 40_000, Err(Repeated)),
    ] {
        let (announcement, now) = (announcement(reference, digest_of), Duration::from_millis(now));
        let found = announcements.take(&announcement, is_retained, &known, None, now);
        assert_eq!(found, expected.map(Duration::from_millis), "{reference} {digest_of:?} {now:?}");
    }
}

#[test]
fn a_flood_costs_one_look_a_second() {
    let mut announcements = Announcements::default();
    let mut looks = Vec::new();
    for number in 0..10_000 {
        let announcement = announcement("till:v1", Some(&number.to_string()));
        let now = Duration::from_millis(number);
        looks.extend(announcements.take(&announcement, false, &KnownDigests::default(), None, now));
    }
    assert_eq!(looks, (0..=10).map(seconds).collect::<Vec<_>>());
}

#[test]
fn a_flood_in_a_fleet_costs_each_device_one_look_in_the_time_of_the_spread() {
    let roster = Roster::new(1000, "pi-0".parse().expect("a name"), None).expect("a roster");
    let mut announcements = Announcements::default();
    let mut looks = Vec::new();
    for second in 0..200 {
        let announcement = announcement("till:v1", Some(&second.to_string()));
        let (known, now) = (&KnownDigests::default(), seconds(second));
        looks.extend(announcements.take(&announcement, false, known, Some(&roster), now));
    }
    assert!((9..=11).contains(&looks.len()), "{looks:?}");
    assert!(looks.windows(2).all(|pair| pair[1] - pair[0] >= roster.spread()), "{looks:?}");
}

#[test]
fn the_memory_is_bounded() {
    let mut announcements = Announcements::default();
    for number in 0..1000 {
        let announcement = announcement(&format!("till:v{number}"), Some("a"));
        let known = &KnownDigests::default();
        assert!(announcements.take(&announcement, false, known, None, seconds(1)).is_ok());
    }
    assert_eq!(announcements.heard.len(), REFERENCES_MAX);
}

#[test]
fn a_fleet_looks_one_after_the_other() {
    let size = 1000;
    for digest_of in [Some("a"), None] {
        let announcement = announcement("till:v1", digest_of);
        let mut looks: Vec<_> = (0..size)
            .map(|index| {
                let name = format!("pi-{index}").parse().expect("a name");
                let roster = Roster::new(size, name, None).expect("a roster");
                let mut announcements = Announcements::default();
                let known = &KnownDigests::default();
                announcements.take(&announcement, true, known, Some(&roster), seconds(7))
            })
            .map(|look| look.expect("a look").as_millis() - 7000)
            .collect();
        looks.sort_unstable();
        // 50 looks in each second.
        let count = |second: u128| looks.iter().filter(|it| **it / 1000 == second).count();
        let counts: Vec<_> = (0..20).map(count).collect();
        assert!(counts.iter().all(|count| (49..=51).contains(count)), "{counts:?}");
        assert!(looks.iter().all(|look| *look < 19_980));
    }
}
