//! The path in a container that holds its updates while it exists.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LabelError;
use crate::core::text::shown;
use crate::core::time::duration::{format_duration, parse_duration};

/// A path in the container: while it exists, the container is not replaced.
pub const LABEL_UPDATE_LOCK: &str = "pilotfish.update.lock";

/// After this time a lock is reported.
pub const LABEL_UPDATE_LOCK_MAX: &str = "pilotfish.update.lock.max";

/// After which time a lock is reported if no label says it.
const LOCK_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Shortest time after which a lock is reported. A round seldom looks more often.
const LOCK_TIME_MIN: Duration = Duration::from_secs(60);

/// Longest path in bytes (`PATH_MAX` of Linux).
const PATH_MAX: usize = 4096;

/// Directories that are not files of the container: the Engine cannot look into them.
const NOT_FILES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The lock of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateLock {
    /// An absolute path.
    pub path: String,
    /// After this time the lock is reported. It is never broken.
    pub max: Duration,
}

/// What the lock labels of one container say so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockLabels {
    path: Option<String>,
    max: Option<Duration>,
}

impl LockLabels {
    /// The lock.
    #[must_use]
    pub fn lock(&self) -> Option<UpdateLock> {
        Some(UpdateLock { path: self.path.clone()?, max: self.max.unwrap_or(LOCK_TIME) })
    }

    pub(super) fn take_path(&mut self, value: &str) -> Result<(), String> {
        self.path = Some(parse_path(value)?);
        Ok(())
    }

    pub(super) fn take_max(&mut self, value: &str) -> Result<(), String> {
        let max = parse_duration(value).map_err(|error| error.to_string())?;
        if max < LOCK_TIME_MIN {
            return Err(format!(
                "`{}` is less than {}",
                shown(value),
                format_duration(LOCK_TIME_MIN)
            ));
        }
        self.max = Some(max);
        Ok(())
    }

    /// A time without a lock. A user who wrote it believes that the container has a lock.
    pub(super) fn without_path(&self) -> Option<LabelError> {
        let max = self.max.filter(|_| self.path.is_none())?;
        Some(LabelError {
            label: LABEL_UPDATE_LOCK_MAX.to_owned(),
            value: format_duration(max),
            why: format!("there is no label `{LABEL_UPDATE_LOCK}`, which it belongs to"),
        })
    }
}

fn parse_path(value: &str) -> Result<String, String> {
    let path = value.trim_end_matches('/');
    let is_below = |directory: &&str| {
        path.strip_prefix(*directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("`{}` is not an absolute path, such as `/data/lock`", shown(value)));
    }
    if path.len() > PATH_MAX || path.contains(char::is_control) {
        return Err(format!("a path has at most {PATH_MAX} bytes, and no control characters"));
    }
    if let Some(directory) = NOT_FILES.iter().find(|it| is_below(it)) {
        return Err(format!("the Engine cannot look into {directory}; put the lock on a volume"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(value: &str) -> Result<String, String> {
        let mut labels = LockLabels::default();
        labels.take_path(value)?;
        Ok(labels.lock().expect("a lock").path)
    }

    #[test]
    fn a_lock_is_an_absolute_path_that_the_engine_can_look_at() {
        assert_eq!(path("/data/lock").as_deref(), Ok("/data/lock"));
        assert_eq!(path("/data/lock/").as_deref(), Ok("/data/lock"));
        assert_eq!(path("/device/lock").as_deref(), Ok("/device/lock"));
        for wrong in ["", "/", "lock", "./lock", "/data/../lock", "/a\nb"] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["/dev/shm/lock", "/proc/1/lock", "/sys"] {
            assert!(path(wrong).expect_err(wrong).contains("cannot look into"), "{wrong}");
        }
    }

    #[test]
    fn a_lock_is_reported_after_a_day_or_the_time_of_its_label() {
        let mut labels = LockLabels::default();
        labels.take_max("2h").expect("a time");
        assert!(labels.without_path().is_some_and(|it| it.label == LABEL_UPDATE_LOCK_MAX));
        assert_eq!(labels.lock(), None);
        labels.take_path("/lock").expect("a path");
        assert_eq!(labels.without_path(), None);
        assert_eq!(labels.lock().map(|lock| lock.max.as_secs()), Some(7200));
        let mut labels = LockLabels::default();
        labels.take_path("/lock").expect("a path");
        assert_eq!(labels.lock().map(|lock| lock.max.as_secs()), Some(86_400));
        for wrong in ["59s", "2", "never"] {
            assert!(labels.take_max(wrong).is_err(), "{wrong}");
        }
    }
}
