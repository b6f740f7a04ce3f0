//! Files that Compose copied into a container before its first start.
//!
//! Compose writes `configs:` with inline content, and `secrets:` from the environment, into the
//! container's own layer between create and start. Inspect does not show them, and an update would
//! lose them silently, so a container with such files is refused. Files that a person copied later
//! (`docker cp`) are only reported, because an update drops them.

use chrono::{DateTime, TimeDelta, Utc};

/// How long after the creation Compose may still copy files; then it starts the container.
const COPYING_MAX: TimeDelta = TimeDelta::seconds(120);

/// Tolerance between clocks: file times are cut to seconds, the Engine's are not.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// A file that was written to a container's own layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// The path in the container.
    pub path: String,
    /// The time of the last write.
    pub modified_at: DateTime<Utc>,
}

/// The files that Compose seems to have copied: written at the time of the creation, with a time in
/// whole seconds. A tar archive has such times, a running program does not.
#[must_use]
pub fn declared(created_at: DateTime<Utc>, written: &[WrittenFile]) -> Vec<String> {
    let looks_declared = |file: &&WrittenFile| {
        let age = file.modified_at - created_at;
        is_from_archive(file) && age >= -SLACK && age <= COPYING_MAX
    };
    written.iter().filter(looks_declared).map(|file| file.path.clone()).collect()
}

/// The files that a person seems to have copied, at any time. Files of the container's own
/// processes are not listed, because the processes can write them again.
#[must_use]
pub fn copied(written: &[WrittenFile]) -> Vec<String> {
    written.iter().filter(|file| is_from_archive(file)).map(|file| file.path.clone()).collect()
}

/// Copies travel as tar archives, whose times are whole seconds. A running program writes at such a
/// time only by chance: the kernel's clock for files ticks some hundred times a second.
fn is_from_archive(file: &WrittenFile) -> bool {
    file.modified_at.timestamp_subsec_nanos() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(seconds: i64, nanoseconds: u32) -> WrittenFile {
        let modified_at = DateTime::from_timestamp(seconds, nanoseconds).expect("a time");
        WrittenFile { path: format!("/{seconds}.{nanoseconds}"), modified_at }
    }

    #[test]
    fn a_file_from_the_time_of_creation_with_a_whole_second_is_declared() {
        let created_at = DateTime::from_timestamp(1000, 500_000_000).expect("a time");
        let written = [file(999, 0), file(1001, 0), file(1001, 7), file(900, 0), file(2000, 0)];
        assert_eq!(declared(created_at, &written), ["/999.0", "/1001.0"]);
        assert_eq!(copied(&written), ["/999.0", "/1001.0", "/900.0", "/2000.0"]);
    }
}
