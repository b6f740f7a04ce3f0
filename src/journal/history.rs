//! The history of updates: one line each, limited in number and bytes.

use std::path::Path;

use super::{Disk, JournalError, StateDirectory, lines, on, to_json};
use crate::core::update::history::Record;

/// How many updates are kept.
const RECORDS_MAX: usize = 500;

/// Largest size of the file in bytes; then it is cut to its newest half.
const BYTES_MAX: usize = 1024 * 1024;

impl<D: Disk> StateDirectory<D> {
    /// Every recorded update, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(&self) -> Result<Vec<Record>, JournalError> {
        let path = self.path("history.jsonl");
        let content = self.disk.read(&path).map_err(on("read", &path))?.unwrap_or_default();
        let mut records: Vec<Record> = lines(&content).flatten().collect();
        records.reverse();
        Ok(records)
    }

    /// How many lines of the history cannot be read. A torn last line is no damage: its update is
    /// still open, and is recorded when it ends.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn damaged_records(&self) -> Result<usize, JournalError> {
        let path = self.path("history.jsonl");
        let content = self.disk.read(&path).map_err(on("read", &path))?.unwrap_or_default();
        let whole = content.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        Ok(lines::<Record>(&content[..whole]).filter(Result::is_err).count())
    }

    /// Adds a line to the history. An existing record is not added again, because recovery may call
    /// this twice. A record that repeats the last failure of its container replaces that line and
    /// increases its count, so that a pull that fails for a month is one line.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn record(&self, record: &Record) -> Result<(), JournalError> {
        let path = self.path("history.jsonl");
        let content = self.disk.read(&path).map_err(on("read", &path))?.unwrap_or_default();
        let mut records: Vec<Record> = lines(&content).flatten().collect();
        if records.iter().any(|known| known.id == record.id) {
            // Its writer may have been killed before the line was on the disk.
            return self.disk.append(&path, b"", true).map_err(on("write", &path));
        }
        let before = records.iter().rposition(|known| known.subject == record.subject);
        if let Some(before) = before.filter(|before| record.repeats(&records[*before])) {
            let record = record.after(&records.remove(before));
            return self.replace_history(&path, records.iter().chain([&record]));
        }
        let line = to_json(&path, record)?;
        if records.len() < RECORDS_MAX && content.len() + line.len() <= BYTES_MAX {
            let torn = content.last().is_some_and(|last| *last != b'\n');
            let line = if torn { [b"\n".as_slice(), &line].concat() } else { line };
            return self.disk.append(&path, &line, true).map_err(on("write", &path));
        }
        let surplus = records.len() / 2;
        records.drain(..surplus);
        self.replace_history(&path, records.iter().chain([record]))
    }

    fn replace_history<'a>(
        &self,
        path: &Path,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<(), JournalError> {
        let mut whole = Vec::new();
        for record in records {
            whole.extend(to_json(path, record)?);
        }
        self.disk.replace(path, &whole).map_err(on("write", path))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::core::subject::Subject;
    use crate::core::update::history::{GroupRecord, Outcome};
    use crate::journal::RealDisk;

    fn record(id: &str, log: &str) -> Record {
        Record {
            by: None,
            id: id.into(),
            subject: Subject::container("till"),
            image: "shop/till".into(),
            from: None,
            to: None,
            started_at: DateTime::UNIX_EPOCH,
            finished_at: DateTime::UNIX_EPOCH,
            outcome: Outcome::Updated,
            tries: 1,
            reason: None,
            gap_seconds: Some(0.3),
            log: vec![log.into()],
            dependents: Vec::new(),
            group: GroupRecord::default(),
        }
    }

    fn open(directory: &tempfile::TempDir) -> StateDirectory<RealDisk> {
        StateDirectory::open(directory.path()).expect("a state directory")
    }

    #[test]
    fn the_newest_comes_first_and_nothing_stands_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        for id in ["1", "2", "2"] {
            state.record(&record(id, "")).expect("written");
        }
        let ids: Vec<_> = state.history().expect("read").into_iter().map(|r| r.id).collect();
        assert_eq!(ids, ["2", "1"]);
    }

    #[test]
    fn a_failure_that_repeats_itself_is_one_line_with_a_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        let failed = |id: &str, container: &str| Record {
            subject: Subject::container(container),
            outcome: Outcome::Failed,
            ..record(id, "")
        };
        for (id, container) in [("1", "till"), ("2", "web"), ("3", "till"), ("4", "till")] {
            state.record(&failed(id, container)).expect("written");
            state.record(&failed(id, container)).expect("written twice");
        }
        state.record(&record("5", "")).expect("written");
        state.record(&failed("6", "till")).expect("written");
        let history = state.history().expect("read");
        let lines: Vec<_> = history.iter().map(|it| (it.id.as_str(), it.tries)).collect();
        assert_eq!(lines, [("6", 1), ("5", 1), ("4", 3), ("2", 1)]);
    }

    #[test]
    fn a_torn_last_line_costs_one_record_and_not_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        state.record(&record("1", "")).expect("written");
        let path = state.path("history.jsonl");
        RealDisk.append(&path, b"{\"id\":\"to", false).expect("torn");
        state.record(&record("3", "")).expect("written");
        let ids: Vec<_> = state.history().expect("read").into_iter().map(|r| r.id).collect();
        assert_eq!(ids, ["3", "1"]);
        assert_eq!(state.damaged_records().expect("read"), 1);
        RealDisk.append(&path, b"{\"id\":\"to", false).expect("torn");
        assert_eq!(state.damaged_records().expect("read"), 1, "a torn last line is none");
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        let long = "x".repeat(20_000);
        for number in 0..200 {
            state.record(&record(&number.to_string(), &long)).expect("written");
        }
        let size = std::fs::metadata(state.path("history.jsonl")).expect("a file").len();
        assert!(size <= BYTES_MAX as u64, "{size} bytes");
        assert_eq!(state.history().expect("read")[0].id, "199");
    }

    #[test]
    fn an_older_line_is_read_and_written_back_unchanged() {
        let older = concat!(
            r#"{"id":"20260501T040000.000Z-till","container":"till","image":"shop/till:stable","#,
            r#""from":null,"to":null,"started_at":"2026-05-01T04:00:00Z","#,
            r#""finished_at":"2026-05-01T04:01:00Z","outcome":"rolled_back","tries":1,"#,
            r#""reason":"exited with code 1","gap_seconds":0.31,"log":["panic"]}"#,
            "\n",
        );
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        let path = state.path("history.jsonl");
        RealDisk.append(&path, older.as_bytes(), true).expect("written");
        let records = state.history().expect("read");
        assert_eq!(records[0].subject, Subject::container("till"));
        assert_eq!(records[0].gap_seconds, Some(0.31));
        let again = to_json(&path, &records[0]).expect("JSON");
        assert_eq!(String::from_utf8(again).expect("text"), older);
    }

    #[test]
    fn a_service_has_lines_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        for (id, subject) in [("1", Subject::container("web")), ("2", Subject::service("web"))] {
            let failed = Record { subject, outcome: Outcome::Failed, ..record(id, "") };
            state.record(&failed).expect("written");
        }
        let subjects: Vec<_> =
            state.history().expect("read").into_iter().map(|record| record.subject).collect();
        assert_eq!(subjects, [Subject::service("web"), Subject::container("web")]);
    }
}
