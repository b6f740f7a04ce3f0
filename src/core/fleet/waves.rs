//! The waves of a staged rollout: which share of the fleet is reached at which time.

use std::str::FromStr;
use std::time::Duration;

use crate::core::fleet::place::FleetPlace;
use crate::core::text::{did_you_mean, shown};
use crate::core::time::duration::{DurationError, parse_duration};

/// Most waves of a rollout. More than this is a straight line.
const WAVES_MAX: usize = 16;

/// Longest rollout. Its next release comes earlier.
const ROLLOUT_TIME_MAX: Duration = Duration::from_secs(90 * 86_400);

/// Shares are whole hundredths of a percent.
const WHOLE: u32 = 10_000;

/// The words for common waves.
const PRESETS: [(&str, &str); 2] =
    [("day", "1%@1h 5%@2h 25%@4h 100%@8h"), ("week", "1%@1d 10%@2d 50%@4d 100%@7d")];

/// Waves without a time: one device first, and all others after its verdict.
const CANARY: &str = "canary";

/// The word for no waves.
const NONE: &str = "none";

/// Why a text describes no waves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavesError {
    #[error(
        "`{0}` is no wave: write SHARE@TIME like `5%@2h`, or one of none, canary, day, week{1}"
    )]
    Malformed(String, String),
    #[error("`{0}` is no share: write a percentage from 0.01% to 100%, with at most two decimals")]
    Share(String),
    #[error("the time of the wave `{0}` cannot be read: {1}")]
    Time(String, DurationError),
    #[error("the wave `{0}` reaches no more devices than the one before it: let the shares grow")]
    ShareShrinks(String),
    #[error("the wave `{0}` is not later than the one before it: let the times grow")]
    TimeShrinks(String),
    #[error("the last wave `{0}` does not reach all devices: end with `100%@` and a time")]
    NotAll(String),
    #[error("the wave `{0}` is too late: reach all devices within 90 days")]
    TooLate(String),
    #[error("there are {0} waves: write at most 16")]
    TooMany(usize),
}

/// One wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wave {
    /// The share of the fleet that is reached at its end, in hundredths of a percent.
    share: u32,
    /// Its end, from the moment at which a device first sees the digest.
    at: Duration,
}

/// The waves of a staged rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waves {
    /// The device with the first place goes at once, and all others after its verdict.
    Canary,
    /// Each wave reaches its share at its time, evenly between the end of the wave before and its
    /// own. The share of the first wave are the canaries.
    Steps(Vec<Wave>),
}

impl Waves {
    /// Reads `1%@1h 5%@2h 100%@8h`, or a word: `canary`, `day`, `week`. `None` for `none` and for
    /// an empty text: then all devices go at once.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn read(text: &str) -> Result<Option<Self>, WavesError> {
        let text = text.trim();
        if text.is_empty() || text == NONE {
            return Ok(None);
        }
        text.parse().map(Some)
    }

    /// The number of canaries in a fleet of this size: the first share, rounded up, at least one.
    #[must_use]
    pub fn canaries(&self, size: u32) -> u32 {
        let share = match self {
            Self::Canary => 0,
            Self::Steps(waves) => waves.first().map_or(0, |wave| wave.share),
        };
        let count = (u64::from(share) * u64::from(size)).div_ceil(u64::from(WHOLE));
        u32::try_from(count).unwrap_or(size).max(1)
    }

    /// When a place is due, from the moment at which the device first sees the digest. Within a
    /// wave the places follow each other evenly.
    #[must_use]
    pub fn due(&self, place: FleetPlace) -> Duration {
        let Self::Steps(waves) = self else { return Duration::ZERO };
        let (part, of) = place.fraction();
        // The place in hundredths of a percent, times `of`.
        let scaled = u128::from(part) * u128::from(WHOLE);
        let mut begin = Wave { share: 0, at: Duration::ZERO };
        for wave in waves {
            if scaled < u128::from(wave.share) * u128::from(of) {
                let inside = scaled - u128::from(begin.share) * u128::from(of);
                let width = u128::from(wave.share - begin.share) * u128::from(of);
                let nanos = (wave.at - begin.at).as_nanos() * inside / width;
                return begin.at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
            begin = *wave;
        }
        begin.at
    }
}

impl FromStr for Waves {
    type Err = WavesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == CANARY {
            return Ok(Self::Canary);
        }
        let preset = PRESETS.iter().find(|(word, _)| *word == text);
        let text = preset.map_or(text, |(_, waves)| *waves);
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() > WAVES_MAX {
            return Err(WavesError::TooMany(words.len()));
        }
        let waves = words.iter().map(|word| read_wave(word)).collect::<Result<Vec<_>, _>>()?;
        check(&waves, &words)?;
        Ok(Self::Steps(waves))
    }
}

fn read_wave(word: &str) -> Result<Wave, WavesError> {
    let Some((share, time)) = word.split_once('@') else {
        let presets = PRESETS.iter().map(|(preset, _)| *preset).chain([CANARY, NONE]);
        return Err(WavesError::Malformed(shown(word), did_you_mean(word, presets)));
    };
    let share = read_share(share).ok_or_else(|| WavesError::Share(shown(share)))?;
    let at = parse_duration(time).map_err(|error| WavesError::Time(shown(word), error))?;
    if at > ROLLOUT_TIME_MAX {
        return Err(WavesError::TooLate(shown(word)));
    }
    Ok(Wave { share, at })
}

/// `5%`, `0.25%`, in hundredths of a percent.
fn read_share(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "00"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || whole.len() > 3 || !is_number(decimals) || decimals.len() > 2 {
        return None;
    }
    let share = format!("{whole}{decimals:0<2}").parse().ok()?;
    (1..=WHOLE).contains(&share).then_some(share)
}

fn check(waves: &[Wave], words: &[&str]) -> Result<(), WavesError> {
    for (pair, word) in waves.windows(2).zip(&words[1..]) {
        if pair[1].share <= pair[0].share {
            return Err(WavesError::ShareShrinks(shown(word)));
        }
        if pair[1].at <= pair[0].at {
            return Err(WavesError::TimeShrinks(shown(word)));
        }
    }
    match (waves.last(), words.last()) {
        (Some(last), Some(word)) if last.share != WHOLE => Err(WavesError::NotAll(shown(word))),
        (Some(_), _) => Ok(()),
        (None, _) => Err(WavesError::Malformed(String::new(), String::new())),
    }
}

#[cfg(test)]
#[path = "waves_tests.rs"]
mod tests;
