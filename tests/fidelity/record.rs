//! The results of each row on one Engine, kept in a file until the page is written.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The outcome of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Both inspect documents are equal, except for the fields that may differ.
    Kept,
    /// Refused before anything was changed, with the path of the field and the reason.
    Refused(String),
    /// The promise was broken.
    Lost(String),
    /// The Engine does not create such a container; its message.
    NotOffered(String),
}

impl Outcome {
    /// A line for the output of the test.
    pub fn line(&self, row: &str, level: &str) -> String {
        let (word, why) = match self {
            Self::Kept => return format!("kept     {row}{level}"),
            Self::Refused(why) => ("refused ", why),
            Self::Lost(why) => ("LOST    ", why),
            Self::NotOffered(why) => ("no such ", why),
        };
        format!("{word} {row}{level}\n         {}", why.replace('\n', "\n         "))
    }
}

/// A row and its outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptResult {
    pub name: String,
    pub group: String,
    pub level: String,
    pub outcome: Outcome,
}

/// A run over the whole table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub engine: String,
    pub updater: String,
    pub rows: Vec<AttemptResult>,
}

/// Counts of rows: promised, kept, and refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub kept: usize,
    pub refused: usize,
    pub total: usize,
}

impl Count {
    /// Counts the rows that the Engine supports.
    pub fn of<'a>(rows: impl Iterator<Item = &'a AttemptResult>) -> Self {
        let mut count = Self::default();
        for row in rows {
            count.total += usize::from(!matches!(row.outcome, Outcome::NotOffered(_)));
            count.kept += usize::from(row.outcome == Outcome::Kept);
            count.refused += usize::from(matches!(row.outcome, Outcome::Refused(_)));
        }
        count
    }
}

impl Record {
    /// The directory of the records.
    pub fn directory() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/fidelity")
    }

    /// Writes the record to its file, and replaces an older one of the same Engine and updater.
    pub fn keep(&self) {
        fs::create_dir_all(Self::directory()).expect("target/fidelity");
        let name = format!("{} {}", self.updater, self.engine);
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        let name: String = name.to_lowercase().chars().map(plain).collect();
        let json = serde_json::to_vec_pretty(self).expect("JSON");
        fs::write(Self::directory().join(format!("{name}.json")), json).expect("the record");
    }

    /// All records.
    pub fn all() -> Vec<Self> {
        let files = fs::read_dir(Self::directory()).expect("run the table first: make fidelity");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        let read = |path: &PathBuf| fs::read(path).expect("a record");
        paths.iter().map(|path| serde_json::from_slice(&read(path)).expect("a record")).collect()
    }

    /// The names of the rows with such an outcome.
    pub fn names(&self, like: impl Fn(&Outcome) -> bool) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| like(&row.outcome));
        rows.map(|row| row.name.as_str()).collect()
    }

    /// The row of that name.
    pub fn row(&self, name: &str) -> Option<&AttemptResult> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// `pilotfish 0.1.0 on Docker 20.10 …: 215 of 218 kept, 3 refused by name`
    pub fn sentence(&self) -> String {
        let Count { kept, refused, total } = Count::of(self.rows.iter());
        let (updater, engine) = (&self.updater, &self.engine);
        format!("{updater} on {engine}: {kept} of {total} kept, {refused} refused by name")
    }
}
