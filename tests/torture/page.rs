//! Writes docs/reliability.md from the results of `make torture`, with measured numbers only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::releases::Kind;
use crate::results::{has, middle_and_worst, reached};
use crate::support::command::run;

/// The text above the numbers.
const HEAD: &str = include_str!("reliability-head.md");

/// The text below the numbers.
const FOOT: &str = include_str!("reliability-foot.md");

/// The categories of findings, each a column.
const WEIGHTS: [&str; 5] = ["Lost", "Doubled", "Leftovers", "Changed", "Revived"];

/// Writes the page.
pub fn write(commit: &str, kills: &[Value], cuts: &[Value]) {
    let mut page = HEAD.to_owned();
    page.push_str(&table(&[kills, cuts].concat()));
    page.push_str(&times(kills, cuts));
    page.push_str(&not_kept(&[kills, cuts].concat()));
    page.push_str(&machine(commit));
    page.push_str(FOOT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    fs::write(path, page).expect("docs/reliability.md");
}

/// A row for each fault.
fn table(rows: &[Value]) -> String {
    let mut faults: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in reached(rows) {
        let twice = if row["landed_again"] == true { ", then a kill in the recovery" } else { "" };
        let fault = row["fault"].as_str().unwrap_or_default();
        faults.entry(format!("{fault}{twice}")).or_default().push(row);
    }
    let mut table = "| fault | cases | lost | doubled | leftovers | changed | revived |\n\
        |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (fault, rows) in &faults {
        let _ = writeln!(table, "| {fault} | {} |", cells(rows));
    }
    let all: Vec<&Value> = reached(rows);
    let _ = writeln!(table, "| all | {} |", cells(&all));
    table
}

fn cells(rows: &[&Value]) -> String {
    let counts = WEIGHTS.map(|weight| rows.iter().filter(|row| has(row, weight)).count());
    let cells = [rows.len()].into_iter().chain(counts);
    cells.map(|count| count.to_string()).collect::<Vec<_>>().join(" | ")
}

/// How long recovery took. A release that never becomes healthy has its own rows, because recovery
/// verifies it again, for the whole time limit, if that costs no further gap.
fn times(kills: &[Value], cuts: &[Value]) -> String {
    let mut text =
        String::from("\n| from the start of the next agent | median | worst |\n|---|---|---|\n");
    for (what, rows) in [("kill", kills), ("power cut", cuts)] {
        let rows = reached(rows).into_iter().filter(|row| row["fault"] == what);
        let (never, others): (Vec<&Value>, Vec<&Value>) =
            rows.partition(|row| row["release"] == Kind::NeverHealthy.word());
        for (which, rows) in [("", others), (" (never healthy)", never)] {
            let mut add_row = |label: &str, key| {
                let (median, worst) = middle_and_worst(&rows, key);
                let _ = writeln!(text, "| {what}{which}: {label} | {median} ms | {worst} ms |");
            };
            add_row("one container runs", "service_back_ms");
            add_row("no update is open", "recovered_ms");
        }
    }
    text
}

/// Every case with a finding, by its name, so that it can be repeated.
fn not_kept(rows: &[Value]) -> String {
    let bad: Vec<&Value> =
        reached(rows).into_iter().filter(|row| row["findings"] != serde_json::json!([])).collect();
    if bad.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nCases with findings:\n\n");
    for row in bad {
        let description = row["description"].as_str().unwrap_or_default();
        let weights: Vec<&str> = WEIGHTS.into_iter().filter(|weight| has(row, weight)).collect();
        let _ = writeln!(text, "- {description}: {}", weights.join(", ").to_lowercase());
    }
    text
}

/// The machine and the build that were measured.
fn machine(commit: &str) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = run(Command::new("uname").args(["-s", "-r", "-m"]));
    let engine = run(Command::new("dockerd").arg("--version"));
    format!(
        "\nMeasured with pilotfish {} ({commit}) on {kernel}, {cores} cores of {}, {engine}, \
         overlay2 on ext4.\n",
        env!("CARGO_PKG_VERSION"),
        model.unwrap_or("an unnamed processor"),
    )
}
