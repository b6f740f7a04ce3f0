//! Counts the results of the cases.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::cases::describe;
use crate::rig::{Case, Outcome};

/// The results so far, in memory and optionally in a file.
#[derive(Default)]
pub struct Results {
    rows: Mutex<Vec<Value>>,
    file: Option<PathBuf>,
}

impl Results {
    /// Appends the results to a file as well.
    pub fn kept_in(file: &Path) -> Self {
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        Self { rows: Mutex::default(), file: Some(file.to_owned()) }
    }

    pub fn add(&self, case: &Case, outcome: &Outcome) {
        let description = describe(case, outcome);
        let findings: Vec<Value> = outcome
            .findings
            .iter()
            .map(|it| json!({ "weight": format!("{:?}", it.weight), "what": it.what }))
            .collect();
        let row = json!({
            "description": description,
            "release": case.kind.word(),
            "fault": format!("{}{}", case.aim.fault, outcome.setup.words()),
            "landed": outcome.landed,
            "landed_again": outcome.landed_again,
            "findings": findings,
            "refused": outcome.refused,
            "job": outcome.job,
            "log": if outcome.findings.is_empty() { "" } else { &outcome.log },
            "service_back_ms": outcome.service_back.as_millis() as u64,
            "recovered_ms": outcome.recovered.as_millis() as u64,
        });
        if let Some(file) = &self.file {
            let mut file = File::options().append(true).create(true).open(file).expect("results");
            writeln!(file, "{row}").expect("results");
        }
        let mut rows = self.rows.lock().expect("the rows");
        rows.push(row);
        if self.file.is_some() {
            let found = if outcome.findings.is_empty() { "ok" } else { "FAILED" };
            eprintln!("{:5} {found} {description}", rows.len());
            for finding in &outcome.findings {
                eprintln!("      {:?}: {}", finding.weight, finding.what);
            }
        }
    }

    /// The number of cases whose fault was reached, and all findings.
    pub fn verdict(&self) -> (usize, Vec<String>) {
        let rows = self.rows.lock().expect("the rows");
        let landed = rows.iter().filter(|row| !row["landed"].is_null()).count();
        let bad = rows.iter().filter(|row| row["findings"] != json!([]));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let describe_row = |row: &Value| {
            format!("{}\n    {}\n{}", text(&row["description"]), row["findings"], text(&row["log"]))
        };
        (landed, bad.map(describe_row).collect())
    }

    /// The summary at the end.
    pub fn summary(&self) -> String {
        let rows = self.rows.lock().expect("the rows");
        let all: Vec<&Value> = reached(&rows);
        let count = |weight: &str| all.iter().filter(|row| has(row, weight)).count();
        let (median, worst) = middle_and_worst(&all, "recovered_ms");
        format!(
            "{} cases: {} lost, {} doubled, {} leftovers, {} changed, {} revived; recovery median \
             {median} ms, worst {worst} ms",
            all.len(),
            count("Lost"),
            count("Doubled"),
            count("Leftovers"),
            count("Changed"),
            count("Revived"),
        )
    }
}

/// The rows of a file of results.
pub fn read(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The rows of the cases whose fault was reached.
pub fn reached(rows: &[Value]) -> Vec<&Value> {
    rows.iter().filter(|row| !row["landed"].is_null()).collect()
}

/// Whether there is a finding of this category.
pub fn has(row: &Value, weight: &str) -> bool {
    row["findings"].as_array().into_iter().flatten().any(|finding| finding["weight"] == weight)
}

/// The median and the worst of a time, in milliseconds.
pub fn middle_and_worst(rows: &[&Value], key: &str) -> (u64, u64) {
    let mut times: Vec<u64> = rows.iter().filter_map(|row| row[key].as_u64()).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    (middle, times.last().copied().unwrap_or_default())
}
