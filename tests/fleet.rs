//! Fleet manners: a hundred agents that are started together do not ask together.

use std::time::Duration;

use chrono::DateTime;
use chrono_tz::Tz;
use pilotfish::core::time::schedule::{DeviceFraction, Jitter, Schedule};

const AGENTS: usize = 100;
const BARS: usize = 10;

/// How many agents begin their first round in each tenth of the interval.
fn histogram(jitter: &str) -> [usize; BARS] {
    let schedule: Schedule = "15m".parse().unwrap_or_else(|error| panic!("{error}"));
    let jitter: Jitter = jitter.parse().unwrap_or_else(|error| panic!("{error}"));
    let span = jitter.span(Duration::from_secs(15 * 60));
    let mut bars = [0; BARS];
    for agent in 0..AGENTS {
        let device = DeviceFraction::from_identity(&format!("machine {agent}"));
        let delay = schedule.first_delay(DateTime::UNIX_EPOCH, Tz::UTC, device, jitter);
        bars[(delay.as_secs_f64() / span.as_secs_f64() * BARS as f64) as usize] += 1;
    }
    bars
}

#[test]
fn a_hundred_first_rounds_are_spread_over_the_jitter() {
    for jitter in ["10%", "100%"] {
        let bars = histogram(jitter);
        println!("jitter {jitter} of 15m, {AGENTS} agents:");
        for (bar, count) in bars.iter().enumerate() {
            println!("  {:>3}% {}", bar * 100 / BARS, "#".repeat(*count));
        }
        // Ten are expected in each; three times as many would be no accident.
        assert!(bars.iter().all(|count| (1..=30).contains(count)), "{bars:?}");
    }
}
