//! How long a registry asks the agent to wait, within reasonable limits.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Longest waiting time of a registry that is followed. Registries ask for seconds or minutes; if a
/// quota of hours is used up, one `HEAD` per hour is a small cost.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// From this many seconds on a number is no waiting time but a mistake: a Unix time, or the largest
/// time of some language. No registry means more than a day.
const RETRY_AFTER_ABSURD: Duration = Duration::from_secs(24 * 60 * 60);

/// `Retry-After` in seconds or as a date. A date counts from the answer's own `Date`, because the
/// clock of a Pi may be wrong by years.
#[expect(
    clippy::disallowed_methods,
    reason = "only for an answer that has no Date; what comes of it is bounded by RETRY_AFTER_MAX"
)]
pub(in crate::registry) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let now = date.unwrap_or_else(|| SystemTime::now().into());
    let until = |time: DateTime<Utc>| (time - now).to_std().unwrap_or_default();
    let wait = match number(text) {
        None => until(http_date(text)?),
        Some(seconds) => match Duration::try_from_secs_f64(seconds).ok()? {
            // Some servers write the time at which their window ends.
            wait if wait > RETRY_AFTER_ABSURD => until(unix_time(seconds)?),
            wait => wait,
        },
    };
    (wait <= RETRY_AFTER_ABSURD).then(|| wait.min(RETRY_AFTER_MAX))
}

/// A number of seconds, or milliseconds since 1970 instead.
fn number(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| digits)
}

/// A time since 1970, in seconds or in milliseconds.
fn unix_time(number: f64) -> Option<DateTime<Utc>> {
    /// The year 5138 in seconds, and 1973 in milliseconds.
    const MILLISECONDS_FROM: f64 = 1e11;
    let seconds = if number < MILLISECONDS_FROM { number } else { number / 1000.0 };
    DateTime::from_timestamp(seconds as i64, 0)
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().expect("a value"));
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("17"), Some(17));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(wait("Wed, 21 Oct 2015 07:27:30 GMT"), Some(0));
        assert_eq!(wait("1.5"), Some(1));
        assert_eq!(wait("7200"), Some(60 * 60));
        for nothing in ["soon", "-1", "", "1e3", "inf", "NaN", "9".repeat(400).as_str()] {
            assert_eq!(wait(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_retry_after_that_is_a_time_or_absurd_silences_nothing_for_long() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().expect("a value"));
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        // 1445412480 is that `Date`.
        assert_eq!(wait("1445412483"), Some(3));
        assert_eq!(wait("1445412483000"), Some(3));
        assert_eq!(wait("1445412480"), Some(0));
        assert_eq!(wait("1445412000"), Some(0));
        for absurd in
            ["99999999999", "18446744073709551615", "1545412483", "Sun, 21 Oct 2035 07:28:30 GMT"]
        {
            assert_eq!(wait(absurd), None, "{absurd}");
        }
    }
}
