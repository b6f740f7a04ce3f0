//! How long the pause is before the next attempt to connect: full jitter over a time that doubles
//! with each failure.

use std::time::Duration;

use crate::broker::reason_code::ReasonCode;
use crate::broker::settings::{BrokerLimits, BrokerSettings};

/// How many devices of a fleet come back in one second after a restart of the broker. A handshake
/// with client certificates costs a Pi as broker about 20 ms of CPU time.
const DEVICES_PER_SECOND: u32 = 50;

/// The longest pause after ordinary failures. Only the first attempt of a large fleet needs longer.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The pause after the broker refused who this client is. Only an operator can change that, and a
/// reload of the settings connects at once.
const REFUSED_PAUSE: Duration = Duration::from_secs(3600);

/// Most doublings, so that the shift below cannot overflow.
const DOUBLINGS_MAX: u32 = 16;

/// How soon the next attempt may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// After the pause that grows with each failure.
    Growing,
    /// The broker is overloaded: after the longest pause.
    Longest,
    /// The broker does not accept this client: after an hour.
    Hourly,
}

impl Pace {
    /// The pace after a reason code of CONNACK or DISCONNECT (MQTT 5, 3.2.2.2 and 3.14.2.1).
    pub fn after(reason: ReasonCode) -> Self {
        match reason {
            ReasonCode::BAD_LOGIN
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BANNED
            | ReasonCode::BAD_METHOD => Self::Hourly,
            ReasonCode::QUOTA | ReasonCode::RATE => Self::Longest,
            _ => Self::Growing,
        }
    }
}

/// The failures in a row so far after a connection that lived for `life`, or an attempt.
pub(super) fn failures_after(failures: u32, life: Option<Duration>, limits: &BrokerLimits) -> u32 {
    if life.is_some_and(|life| life >= limits.good_life) { 0 } else { failures.saturating_add(1) }
}

/// The pause before the next attempt, after `failures` failures in a row. `chance` is any number:
/// it chooses a time between zero and the limit, so that a fleet does not come back in one second.
pub(super) fn pause(pace: Pace, failures: u32, settings: &BrokerSettings, chance: u64) -> Duration {
    let fleet_time = Duration::from_secs(1) * settings.fleet_size / DEVICES_PER_SECOND;
    let base = settings.limits.pause.max(fleet_time);
    let longest = PAUSE_MAX.max(base);
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    match pace {
        Pace::Growing => share(base.saturating_mul(1 << doublings).min(longest), chance),
        // These pauses are meant to be long, so only their second half is spread.
        Pace::Longest => longest / 2 + share(longest / 2, chance),
        Pace::Hourly => REFUSED_PAUSE / 2 + share(REFUSED_PAUSE / 2, chance),
    }
}

/// A part of a time, from nothing to all of it.
fn share(time: Duration, chance: u64) -> Duration {
    const PARTS: u64 = 1_000_000;
    let nanoseconds = time.as_nanos() * u128::from(chance % (PARTS + 1)) / u128::from(PARTS);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::settings::BrokerAddress;

    const MOST: u64 = 1_000_000;

    fn of(fleet_size: u32) -> BrokerSettings {
        let address = BrokerAddress { host: "broker".to_owned(), port: 8883, has_tls: true };
        BrokerSettings { fleet_size, ..BrokerSettings::new(address, "device") }
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        for (failures, fleet_size, most) in [
            (0, 1, 1),
            (1, 1, 1),
            (2, 1, 2),
            (3, 1, 4),
            (9, 1, 256),
            (10, 1, 300),
            (u32::MAX, 1, 300),
            (1, 0, 1),
            (1, 50, 1),
            (1, 200, 4),
            (2, 200, 8),
            (1, 10_000, 200),
            (2, 10_000, 300),
            (1, 100_000, 2000),
            (9, 100_000, 2000),
        ] {
            let limit = pause(Pace::Growing, failures, &of(fleet_size), MOST);
            assert_eq!(limit, Duration::from_secs(most), "{failures} {fleet_size}");
            assert_eq!(pause(Pace::Growing, failures, &of(fleet_size), 0), Duration::ZERO);
            assert_eq!(pause(Pace::Growing, failures, &of(fleet_size), MOST / 2), limit / 2);
        }
    }

    #[test]
    fn reasons_of_the_broker_decide() {
        for (code, fleet_size, least, most) in [
            (0x86, 1, 1800, 3600),
            (0x87, 1, 1800, 3600),
            (0x8A, 1, 1800, 3600),
            (0x8C, 10_000, 1800, 3600),
            (0x97, 1, 150, 300),
            (0x9F, 1, 150, 300),
            (0x9F, 100_000, 1000, 2000),
            (0x9C, 1, 0, 1),
            (0x9D, 1, 0, 1),
            (0x88, 1, 0, 1),
            (0x8E, 1, 0, 1),
        ] {
            let pace = Pace::after(ReasonCode(code));
            let found = [0, MOST].map(|chance| pause(pace, 1, &of(fleet_size), chance).as_secs());
            assert_eq!(found, [least, most], "{code:#x}");
        }
    }

    #[test]
    fn a_good_connection_ends_the_row_of_failures() {
        let limits = BrokerLimits::default();
        assert_eq!(failures_after(7, Some(Duration::from_secs(59)), &limits), 8);
        assert_eq!(failures_after(7, Some(Duration::from_secs(60)), &limits), 0);
        assert_eq!(failures_after(u32::MAX, None, &limits), u32::MAX);
    }

    #[test]
    fn any_chance_stays_within_the_limit() {
        for chance in [0, 1, 12_345, MOST + 1, u64::MAX] {
            assert!(pause(Pace::Growing, 20, &of(1), chance) <= PAUSE_MAX);
        }
    }
}
