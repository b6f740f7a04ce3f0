//! Fleets: a hundred agents that start together do not ask at the same time.

use std::time::Duration;

use chrono::DateTime;
use pilotfish::core::time::schedule::{DeviceFraction, Jitter, Schedule};
use pilotfish::core::time::zone::Zone;

const AGENTS: usize = 100;
const BARS: usize = 10;

/// Ten are expected in each tenth; thirty would not be random.
const COUNT_MAX: usize = 30;

/// The number of agents whose round number `round` is in each tenth of the span from `begin` on.
fn histogram(
    schedule: &str,
    jitter: &str,
    (begin, span): (Duration, Duration),
    round: usize,
) -> [usize; BARS] {
    let schedule: Schedule = schedule.parse().unwrap_or_else(|error| panic!("{error}"));
    let jitter: Jitter = jitter.parse().unwrap_or_else(|error| panic!("{error}"));
    let mut bars = [0; BARS];
    for agent in 0..AGENTS {
        let device = DeviceFraction::from_identity(&format!("machine {agent}"));
        let started = DateTime::UNIX_EPOCH;
        let mut at = schedule.first_delay(started, &Zone::utc(), device, jitter);
        for _ in 1..round {
            at += schedule.next_delay(started + at, &Zone::utc(), device, jitter);
        }
        let place = (at - begin).as_secs_f64() / span.as_secs_f64();
        bars[(place * BARS as f64) as usize] += 1;
    }
    bars
}

fn print(what: &str, bars: &[usize; BARS]) {
    println!("{what}, {AGENTS} agents started together:");
    for (bar, count) in bars.iter().enumerate() {
        println!("  {:>3}% {}", bar * 100 / BARS, "#".repeat(*count));
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[test]
fn a_hundred_first_rounds_are_spread_over_the_interval() {
    for jitter in ["10%", "100%", "5s"] {
        let bars = histogram("15m", jitter, (Duration::ZERO, minutes(15)), 1);
        print(&format!("first round, every 15m, jitter {jitter}"), &bars);
        assert!(bars.iter().all(|count| (1..=COUNT_MAX).contains(count)), "{bars:?}");
    }
}

#[test]
fn later_rounds_stay_spread() {
    let first = histogram("15m", "10%", (Duration::ZERO, minutes(15)), 1);
    let tenth = histogram("15m", "10%", (minutes(9 * 15), minutes(15)), 10);
    assert_eq!(first, tenth);
}

#[test]
fn a_daily_check_begins_within_the_hour_or_the_jitter() {
    for (jitter, span) in [("1%", minutes(60)), ("10%", minutes(144))] {
        let bars = histogram("1d", jitter, (Duration::ZERO, span), 1);
        print(&format!("first round, every 1d, jitter {jitter}, over {span:?}"), &bars);
        assert!(bars.iter().all(|count| (1..=COUNT_MAX).contains(count)), "{bars:?}");
    }
}

#[test]
fn cron_is_spread_over_the_jitter() {
    let bars = histogram("0 4 * * *", "10%", (minutes(4 * 60), minutes(144)), 1);
    print("at four o'clock, jitter 10%, over 2h 24m", &bars);
    assert!(bars.iter().all(|count| (1..=COUNT_MAX).contains(count)), "{bars:?}");
}
