//! Turns: what stops, what waits, and that time only leads forward.

use super::*;
use crate::core::docker::reference::Digest;
use crate::core::fleet::message::stop::StopScope;
use crate::core::fleet::place::{FleetPlace, Ranking, Roster};

const HOUR: Duration = Duration::from_secs(3600);
const SIZE: u32 = 1000;

fn rollout(waves: &str, patience: Patience) -> Rollout {
    let roster = Roster::new(SIZE, "pi-0".parse().expect("a name"), None).expect("a roster");
    Rollout::new(roster, waves.parse().expect("waves"), patience).expect("a rollout")
}

fn place(rank: u32) -> FleetPlace {
    let ranking = Ranking::new(SIZE, "x");
    let mut places = (0..SIZE).map(|index| ranking.by_index(index));
    places.find(|place| place.rank == rank).expect("a place")
}

/// Rank 50 of `day` is due after two hours; it is no canary.
fn standing(rank: u32) -> Standing {
    let due = "day".parse::<crate::core::fleet::waves::Waves>().expect("waves").due(place(rank));
    Standing { place: place(rank), is_canary: rank < 10, due }
}

fn progress(hours: u32) -> RolloutProgress {
    let mut progress = RolloutProgress::new(Digest::of(b"x"));
    progress.advance(HOUR * hours);
    progress
}

fn waiting(alone_at: Option<Duration>, is_overdue: bool) -> Turn {
    Turn::WaitingForCanaries { alone_at, is_overdue }
}

#[test]
fn a_device_goes_at_its_time_after_the_release() {
    let rollout = rollout("day", Patience::default());
    let (none, enough) = (Tally::default(), Tally { ok: 5, bad: 0, refused: None });
    let one_by_one = Duration::from_millis(999);
    let alone = Some(HOUR * 26 + one_by_one);
    // Rank, hours, verdicts that are noted now, turn.
    for (rank, hours, tally, expected) in [
        (0, 0, none, Turn::Now),
        (5, 0, none, Turn::At(HOUR / 2)),
        (5, 1, none, Turn::Now),
        (50, 0, none, Turn::At(HOUR * 2)),
        (50, 0, enough, Turn::At(HOUR * 2)),
        (50, 2, none, waiting(alone, false)),
        (50, 25, none, waiting(alone, false)),
        (50, 26, none, waiting(alone, true)),
        (50, 27, none, Turn::Now),
        (50, 2, enough, Turn::At(HOUR * 2 + RELEASE_PAUSE + one_by_one)),
    ] {
        let mut progress = progress(hours);
        progress.note(&rollout, &tally);
        let found = rollout.turn(&standing(rank), &progress, &tally, None);
        assert_eq!(found, expected, "{rank} {hours} {tally:?}");
    }
}

#[test]
fn only_a_device_that_never_reached_the_broker_goes_alone() {
    let tally = Tally::default();
    for (patience, is_connected, hours, expected) in [
        (Patience::default(), false, 27, Turn::Now),
        (Patience::default(), true, 25, waiting(None, false)),
        (Patience::default(), true, 1000, waiting(None, true)),
        (Patience::Never, false, 1000, waiting(None, true)),
        (Patience::For(Duration::ZERO), false, 3, Turn::Now),
    ] {
        let mut progress = progress(hours);
        if is_connected {
            progress.note_connected();
        }
        let found = rollout("day", patience).turn(&standing(50), &progress, &tally, None);
        assert_eq!(found, expected, "{patience:?} {is_connected} {hours}");
    }
}

#[test]
fn a_stop_is_stronger_than_a_person_and_a_person_than_verdicts() {
    let rollout = rollout("day", Patience::default());
    let refused = RefusedByVotes { bad: 2, tried: 2 };
    let bad = Tally { ok: 0, bad: 2, refused: Some(refused) };
    let stop = FleetStop { scope: StopScope::All, why: Some("bad".into()), by: None };
    let stopped = Turn::Stopped { by: None, why: Some("bad".into()) };
    for (rank, is_allowed, tally, stop, expected) in [
        // A canary is stopped as well.
        (0, false, bad, None, Turn::Refused(refused)),
        (50, false, bad, None, Turn::Refused(refused)),
        (50, true, bad, None, Turn::Now),
        (50, true, Tally::default(), None, Turn::Now),
        (50, true, bad, Some(&stop), stopped.clone()),
        (0, false, Tally::default(), Some(&stop), stopped),
    ] {
        let mut progress = progress(0);
        if is_allowed {
            progress.allow();
        }
        assert_eq!(rollout.turn(&standing(rank), &progress, &tally, stop), expected);
    }
}

#[test]
fn a_release_stays_but_late_failures_still_stop() {
    let rollout = rollout("canary", Patience::default());
    let standing = Standing { place: place(500), is_canary: false, due: Duration::ZERO };
    let mut progress = progress(1);
    progress.note(&rollout, &Tally { ok: 1, bad: 0, refused: None });
    // The broker has lost its memory.
    let nothing = Tally::default();
    let go = HOUR + RELEASE_PAUSE + Duration::from_millis(9990);
    assert_eq!(rollout.turn(&standing, &progress, &nothing, None), Turn::At(go));
    let refused = RefusedByVotes { bad: 1, tried: 2 };
    let late = Tally { ok: 1, bad: 1, refused: Some(refused) };
    assert_eq!(rollout.turn(&standing, &progress, &late, None), Turn::Refused(refused));
    progress.advance(HOUR);
    assert_eq!(rollout.turn(&standing, &progress, &nothing, None), Turn::Now);
}

#[test]
fn with_time_alone_a_turn_that_came_stays() {
    for (waves, patience) in
        [("day", Patience::default()), ("week", Patience::For(HOUR)), ("canary", Patience::Never)]
    {
        let rollout = rollout(waves, patience);
        for rank in [0, 1, 9, 10, 99, 500, 999] {
            for tally in [Tally::default(), Tally { ok: 9, bad: 1, refused: None }] {
                let mut progress = RolloutProgress::new(Digest::of(b"x"));
                progress.note(&rollout, &tally);
                let mut has_come = false;
                for _ in 0..200 {
                    let turn = rollout.turn(&standing(rank), &progress, &tally, None);
                    assert!(!has_come || turn == Turn::Now, "{waves} {rank}");
                    has_come = turn == Turn::Now;
                    progress.advance(HOUR);
                }
            }
        }
    }
}

#[test]
fn a_device_asks_again_in_time() {
    let seconds = Duration::from_secs;
    let stopped = Turn::Stopped { by: None, why: None };
    for (turn, expected) in [
        (Turn::Now, Some(seconds(0))),
        (Turn::At(seconds(7300)), Some(seconds(3700))),
        (waiting(None, true), Some(TURN_INTERVAL)),
        (waiting(Some(seconds(3700)), false), Some(seconds(100))),
        (waiting(Some(HOUR * 2), false), Some(TURN_INTERVAL)),
        (Turn::Refused(RefusedByVotes { bad: 1, tried: 1 }), None),
        (stopped, None),
    ] {
        assert_eq!(turn.next_look(HOUR), expected, "{turn:?}");
    }
}

#[test]
fn every_no_has_a_word_and_an_advice() {
    let words: std::collections::BTreeSet<_> = FleetHold::ALL.iter().map(|it| it.word()).collect();
    assert_eq!(words.len(), FleetHold::ALL.len());
    assert!(FleetHold::ALL.iter().all(|it| !it.advice().is_empty()));
}
