//! `docs/contract-tests.md`: every promise has its tests, and every named test exists.

use clap::CommandFactory as _;
use pilotfish::cli::Cli;
use pilotfish::config::KEYS;
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::policy::LABELS;
use pilotfish::metrics::catalogue;

use crate::source_tree::{File, Finding, assert_none, file, top};

const PAGE: &str = "docs/contract-tests.md";

/// The possible files of a test with this name, and its function.
fn place(name: &str) -> Option<(Vec<String>, &str)> {
    let (path, function) = name.rsplit_once("::")?;
    let path = path.replace("::", "/");
    let path = if path.starts_with("src/") { path } else { format!("tests/{path}") };
    Some((vec![format!("{path}.rs"), format!("{path}/mod.rs")], function))
}

fn exists(name: &str) -> bool {
    let Some((files, function)) = place(name) else { return false };
    let text = files.iter().find_map(|path| std::fs::read_to_string(top().join(path)).ok());
    let test = format!("#[test]\nfn {function}()");
    let awaited = format!("\nasync fn {function}()");
    // Unit tests are indented, and may have further attributes.
    text.is_some_and(|text| {
        let plain: Vec<_> = text.lines().map(str::trim_start).collect();
        let plain = plain.join("\n");
        plain.contains(&test) || plain.contains(&awaited)
    })
}

/// Promises without a test, and names of tests that do not exist.
fn check(page: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let Some((_, tests)) = line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) else {
            continue;
        };
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && tests != "tests |" {
            findings.push(page.finding(index + 1, "a promise without a test"));
        }
        let missing = names.into_iter().filter(|name| !exists(name));
        findings.extend(
            missing.map(|name| page.finding(index + 1, format!("there is no test `{name}`"))),
        );
    }
    findings
}

#[test]
fn every_named_test_exists() {
    assert_none(&check(&file(PAGE)));
}

#[test]
fn every_command_label_key_metric_and_reason_has_a_row() {
    let page = file(PAGE);
    let cli = Cli::command();
    let commands = cli.get_subcommands().map(clap::Command::get_name);
    let keys = KEYS.iter().map(|key| key.name);
    let metrics = catalogue::ALL.iter().map(|metric| metric.name);
    let reasons = Reason::ALL.iter().map(|reason| reason.word());
    let words = commands.chain(LABELS).chain(keys).chain(metrics).chain(reasons);
    let missing = words.filter(|word| !page.text.contains(&format!("`{word}`")));
    let findings: Vec<_> =
        missing.map(|word| page.finding(0, format!("`{word}` has no row"))).collect();
    assert_none(&findings);
}

#[test]
fn these_rules_find_what_breaks_them() {
    let rows = "| promise | tests |\n|---|---|\n| a | `engine::manual_commands::no_such_test` |\n| b | – |\n\
                | c | `tidy::contract::every_named_test_exists` |\n";
    let found: Vec<_> =
        check(&File::made_up("docs/x.md", rows)).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "docs/x.md:3: there is no test `engine::manual_commands::no_such_test`",
            "docs/x.md:4: a promise without a test",
        ]
    );
}
