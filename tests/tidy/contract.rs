//! `docs/contract-tests.md`: every promise has its tests, and every named test exists.

use clap::CommandFactory as _;
use pilotfish::cli::Cli;
use pilotfish::config::KEYS;
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::policy::LABELS;
use pilotfish::metrics::catalogue;

use crate::source_tree::{File, Finding, assert_none, file, files, top};

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

/// The tests of a test program by their paths, and whether they are ignored.
fn tests_of(program: &str) -> Vec<(String, bool)> {
    let directory = format!("tests/{program}");
    let mut found = Vec::new();
    for File { path, text } in files(&directory, ".rs") {
        let module = path.trim_start_matches(&directory).trim_end_matches(".rs");
        let module = module.trim_end_matches("/mod").replace('/', "::");
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        for (index, line) in lines.iter().enumerate() {
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            let Some((name, _)) = function.and_then(|it| it.split_once('(')) else { continue };
            let attributes = lines[..index].iter().rev().take_while(|line| line.starts_with('#'));
            let attributes: Vec<_> = attributes.collect();
            if attributes.iter().any(|line| line.contains("test]") || line.contains("test(")) {
                let is_ignored = attributes.iter().any(|line| line.starts_with("#[ignore"));
                found.push((format!("{module}::{name}"), is_ignored));
            }
        }
    }
    found
}

/// Words by which a command chooses tests, and that choose none: cargo then succeeds.
fn check_filters(commands: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in commands.text.lines().enumerate() {
        let Some((_, after)) = line.split_once(" --test ") else { continue };
        let mut words = after.split_whitespace();
        let tests = words.next().map(tests_of).unwrap_or_default();
        let only_ignored = after.contains(" --ignored");
        for word in words {
            let word = word.trim_end_matches([';', ')']);
            let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
            if !is_name || word.is_empty() || word == "true" {
                continue;
            }
            let is_chosen = |(name, is_ignored): &(String, bool)| {
                name.contains(word) && (*is_ignored || !only_ignored)
            };
            if !tests.iter().any(is_chosen) {
                findings.push(commands.finding(index + 1, format!("`{word}` chooses no test")));
            }
        }
    }
    findings
}

#[test]
fn every_command_chooses_tests() {
    for path in ["Makefile", "scripts/test-arm"] {
        assert_none(&check_filters(&file(path)));
    }
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
    let commands = "\tcargo test --test tidy no_such_rule\n\tcargo test --test tidy every_command\n\
                    \tcargo test --test tidy -- --ignored every_command\n";
    let found = check_filters(&File::made_up("Makefile", commands));
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "Makefile:1: `no_such_rule` chooses no test",
            "Makefile:3: `every_command` chooses no test",
        ]
    );
}
