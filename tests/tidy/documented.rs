//! Every word that a user meets stands in the documentation, and the documentation has no word
//! that the program does not know. The lists are the code's own.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use pilotfish::cli::Cli;
use pilotfish::config::{
    DEPLOYMENT_KEYS, KEYS, MIRROR_KEYS, PUSH_ALLOW_KEYS, REGISTRY_KEYS, SENDER_KEYS,
};
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::mirror::refusal::MirrorRefusal;
use pilotfish::core::policy::{LABEL_PREFIX, LABELS};
use pilotfish::core::update::history::Outcome;
use pilotfish::metrics::catalogue;

use crate::source_tree::{File, Finding, assert_none, file, files, top};

/// Names once shipped stay: dashboards and alerts are built on them.
const METRICS: [&str; 30] = [
    "pilotfish_build_info",
    "pilotfish_checks_total",
    "pilotfish_check_duration_seconds",
    "pilotfish_last_check_timestamp_seconds",
    "pilotfish_last_success_timestamp_seconds",
    "pilotfish_container_info",
    "pilotfish_update_available",
    "pilotfish_updates_total",
    "pilotfish_service_gap_seconds",
    "pilotfish_refused_digests",
    "pilotfish_registry_requests_total",
    "pilotfish_registry_rate_limit_remaining",
    "pilotfish_webhooks_total",
    "pilotfish_pulled_bytes_total",
    "pilotfish_update_in_flight",
    "pilotfish_stuck",
    "pilotfish_service_down",
    "pilotfish_mqtt_connected",
    "pilotfish_mqtt_reconnects_total",
    "pilotfish_mqtt_refused_total",
    "pilotfish_rollout_place",
    "pilotfish_fleet_stopped_seconds",
    "pilotfish_service_info",
    "pilotfish_service_updates_total",
    "pilotfish_service_tasks",
    "pilotfish_push_requests_total",
    "pilotfish_mirror_bytes_total",
    "pilotfish_mirror_copied_total",
    "pilotfish_mirror_lag_seconds",
    "pilotfish_mirror_last_success_timestamp_seconds",
];

/// Lines of ARCHITECTURE.md: one sitting.
const ARCHITECTURE_LINES_MAX: usize = 150;

/// The first cells of the rows of all tables in a page, each with its line. A cell may hold several
/// words; each stands in backticks.
fn table_words(page: &File) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let Some(row) = line.strip_prefix('|') else { continue };
        let cell = row.split('|').next().unwrap_or_default();
        let quoted = cell.split('`').skip(1).step_by(2);
        words.extend(quoted.map(|word| (index + 1, word.to_owned())));
    }
    words
}

/// What the page's tables are missing of the program's words, and what they have too much.
pub fn compare<'a>(page: &File, known: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let words = table_words(page);
    let is_present = |word: &&&str| words.iter().any(|(_, found)| found == **word);
    let missing = known.iter().filter(|word| !is_present(word));
    let mut findings: Vec<_> =
        missing.map(|word| page.finding(0, format!("`{word}` is not documented"))).collect();
    for (line, word) in words.iter().filter(|(_, word)| !known.contains(word.as_str())) {
        findings.push(page.finding(*line, format!("the program does not know `{word}`")));
    }
    findings
}

#[test]
fn every_reason_is_explained() {
    assert_none(&compare(&file("docs/reasons.md"), Reason::ALL.iter().map(|reason| reason.word())));
}

/// What the command says to do, and what the page says, is the same, word for word.
#[test]
fn every_reason_has_the_same_advice_on_its_page_as_in_check() {
    let page = file("docs/reasons.md");
    let lacks = |reason: &Reason| {
        let begin = format!("| `{}` |", reason.word());
        let row = page.text.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
        let end = format!("| {} |", reason.advice());
        let rule = format!("the row of `{}` ends with its advice: {end}", reason.word());
        (!row.ends_with(&end)).then(|| page.finding(0, rule))
    };
    assert_none(&Reason::ALL.iter().filter_map(lacks).collect::<Vec<_>>());
}

/// The README repeats the table of faults, as the torture wrote it.
#[test]
fn every_refusal_of_the_mirror_is_explained_with_its_advice() {
    let page = file("docs/mirror.md");
    let lacks = |refusal: &MirrorRefusal| {
        let begin = format!("| `{}` |", refusal.word());
        let row = page.text.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
        let end = format!("| {} |", refusal.advice());
        let rule = format!("the row of `{}` ends with its advice: {end}", refusal.word());
        (!row.ends_with(&end)).then(|| page.finding(0, rule))
    };
    assert_none(&MirrorRefusal::ALL.iter().filter_map(lacks).collect::<Vec<_>>());
}

#[test]
fn the_readme_has_the_table_of_the_reliability_page() {
    let rows = |page: &File| -> Vec<String> {
        let lines = page.text.lines().skip_while(|line| !line.starts_with("| fault |"));
        lines.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
    };
    let (readme, page) = (rows(&file("README.md")), rows(&file("docs/reliability.md")));
    assert!(page.len() > 3, "docs/reliability.md has no table of faults");
    assert_eq!(readme, page, "the table in README.md is not that of docs/reliability.md");
}

#[test]
fn every_label_is_explained() {
    assert_none(&compare(&file("docs/labels.md"), LABELS));
}

#[test]
fn the_readme_has_every_label() {
    let readme = file("README.md");
    let missing = LABELS.iter().filter(|label| !readme.text.contains(&format!("`{label}`")));
    let findings: Vec<_> =
        missing.map(|label| readme.finding(0, format!("`{label}` is missing"))).collect();
    assert_none(&findings);
}

#[test]
fn every_key_is_explained_with_its_default() {
    let page = file("docs/configuration.md");
    let tables = REGISTRY_KEYS.into_iter().chain(SENDER_KEYS).chain(MIRROR_KEYS);
    let tables = tables.chain(PUSH_ALLOW_KEYS).chain(DEPLOYMENT_KEYS);
    let keys = KEYS.iter().map(|key| key.name).chain(tables);
    let mut findings = compare(&page, keys);
    for key in KEYS {
        let default = key.default.map(|default| match default {
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        });
        let row = format!("| `{}` | {} |", key.name, default.unwrap_or_else(|| "–".to_owned()));
        if !page.text.contains(&row) {
            findings.push(page.finding(0, format!("there is no row that begins with {row}")));
        }
    }
    assert_none(&findings);
}

#[test]
fn every_metric_is_explained() {
    assert_none(&compare(&file("docs/metrics.md"), METRICS));
}

#[test]
fn the_program_has_the_promised_metrics_and_no_others() {
    let names: Vec<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names, METRICS);
}

#[test]
fn every_room_stands_in_the_architecture() {
    let page = file("ARCHITECTURE.md");
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(top().join("src")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let room = if entry.path().is_dir() { format!("  {name}/") } else { format!("  {name}") };
        if !page.text.contains(&room) {
            findings.push(page.finding(0, format!("src/{name} is not on the list of layers")));
        }
    }
    assert_none(&findings);
    let lines = page.text.lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines: nobody reads that"
    );
}

#[test]
fn every_outcome_is_explained() {
    let page = file("docs/json.md");
    let missing = Outcome::ALL.iter().filter(|o| !page.text.contains(&format!("`{}`", o.word())));
    let findings: Vec<_> =
        missing.map(|o| page.finding(0, format!("`{}` is not documented", o.word()))).collect();
    assert_none(&findings);
}

#[test]
fn every_command_is_explained() {
    let readme = file("README.md");
    let cli = Cli::command();
    // Nobody types a hidden one.
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(clap::Command::get_name);
    let page = file("docs/commands.md");
    let mut findings = Vec::new();
    for name in commands {
        if !readme.text.contains(&format!("| `pilotfish {name}")) {
            findings.push(readme.finding(0, format!("`pilotfish {name}` has no row")));
        }
        if !page.text.contains(&format!("\n## {name}\n")) {
            findings.push(page.finding(0, format!("`pilotfish {name}` has no section")));
        }
    }
    assert_none(&findings);
}

#[test]
fn labels_in_prose_exist() {
    let mut findings = Vec::new();
    for page in files("docs", ".md").into_iter().chain([file("README.md")]) {
        for (index, line) in page.text.lines().enumerate() {
            for (at, _) in line.match_indices(LABEL_PREFIX) {
                let is_letter = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
                let rest = &line[at..];
                let end = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
                let label = rest[..end].trim_end_matches('.');
                let is_file =
                    ["pilotfish.toml", "pilotfish.service", "pilotfish.service.d", "pilotfish.acl"]
                        .contains(&label);
                if label != "pilotfish" && !is_file && !LABELS.contains(&label) {
                    findings.push(page.finding(index + 1, format!("there is no label `{label}`")));
                }
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn these_rules_find_what_breaks_them() {
    let page =
        File::made_up("docs/x.md", "| a | b |\n|---|---|\n| `one`, `two` | x |\n| `old` | y |\n");
    let found: Vec<_> =
        compare(&page, ["one", "two", "three"]).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["docs/x.md:0: `three` is not documented", "docs/x.md:4: the program does not know `old`"]
    );
}
