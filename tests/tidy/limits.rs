//! `docs/limits.md`: every limit of the program, with its value and its reason from the code.
//!
//! A limit is a constant whose name has one of [`WORDS`] and whose value is a number or a time. The
//! page is generated from the code: `PILOTFISH_WRITE_LIMITS=1 cargo test --test tidy limits` adds
//! missing rows, and keeps the last column.

use crate::source_tree::{File, Finding, assert_none, code_of, file, files, top, without_tests};

const PAGE: &str = "docs/limits.md";

/// The words in the name of a limit.
const WORDS: [&str; 16] = [
    "MAX", "MIN", "TIMEOUT", "INTERVAL", "TIME", "PAUSE", "MARGIN", "LIMIT", "SLACK", "SPREAD",
    "SILENCE", "LIFE", "ONCE", "RESERVE", "YOUNG", "LINES",
];

/// The types of limits.
const TYPES: [&str; 9] =
    ["Duration", "usize", "u64", "u32", "u16", "i64", "i32", "TimeDelta", "chrono::TimeDelta"];

/// The last column if no setting changes a limit.
const NO_SETTING: &str = "–";

/// One limit, and its place in the code.
#[derive(Debug, PartialEq)]
struct Limit {
    path: String,
    line: usize,
    name: String,
    value: String,
    reason: String,
}

impl Limit {
    /// Its row in the page, without the last column.
    fn row(&self) -> String {
        let place = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        format!("| `{}` in `{place}` | {} | {} |", self.name, self.value, self.reason)
    }
}

/// All limits in a Rust file, without its tests.
fn limits(file: &File) -> Vec<Limit> {
    let code = without_tests(&code_of(&file.text));
    let code: Vec<&str> = code.lines().collect();
    let text: Vec<&str> = file.text.lines().collect();
    (0..code.len()).filter_map(|index| limit(file, &code, &text, index)).collect()
}

fn limit(file: &File, code: &[&str], text: &[&str], index: usize) -> Option<Limit> {
    let (_, rest) = format!(" {}", code[index].trim())
        .split_once(" const ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let (name, rest) = rest.split_once(": ")?;
    let (kind, _) = rest.split_once('=')?;
    let is_limit =
        TYPES.contains(&kind.trim()) && name.split('_').any(|word| WORDS.contains(&word));
    let statement = code[index..].iter().take(4).copied().collect::<Vec<_>>().join(" ");
    let value = statement.split_once('=')?.1.split_once(';')?.0.to_owned();
    let is_prose = |line: &&&str| line.trim_start().starts_with("///");
    let mut reason: Vec<_> = text[..index].iter().rev().take_while(is_prose).collect();
    reason.reverse();
    let reason = reason.iter().map(|line| line.trim().trim_start_matches("///").trim());
    let reason = reason.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`");
    let (path, name, value) = (file.path.clone(), name.to_owned(), format_value(&value));
    is_limit.then_some(Limit { path, line: index + 1, name, value, reason })
}

/// The value as in the page: `30 s`, `1048576`.
fn format_value(value: &str) -> String {
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    let units = [
        ("secs(", "s"),
        ("millis(", "ms"),
        ("seconds(", "s"),
        ("minutes(", "min"),
        ("days(", "d"),
        ("hours(", "h"),
    ];
    for (call, unit) in units {
        if let Some((_, inside)) = value.split_once(call) {
            return format!("{} {unit}", product(inside.trim_end_matches(')')));
        }
    }
    product(&value)
}

/// The result of a product of whole numbers; any other text as it is written.
fn product(text: &str) -> String {
    let factor = |factor: &str| factor.trim().replace('_', "").parse::<u64>().ok();
    let factors: Option<Vec<u64>> = text.split('*').map(factor).collect();
    factors.map_or_else(|| text.trim().to_owned(), |all| all.iter().product::<u64>().to_string())
}

fn is_row(line: &str) -> bool {
    line.starts_with("| `")
}

/// Limits that are missing in the page, and rows that differ from the code.
fn check(page: &File, limits: &[Limit]) -> Vec<Finding> {
    let rows: Vec<_> = page.text.lines().filter(|line| is_row(line)).collect();
    let mut findings = Vec::new();
    let is_told =
        |it: &Limit| !it.reason.is_empty() && rows.iter().any(|row| row.starts_with(&it.row()));
    for limit in limits.iter().filter(|it| !is_told(it)) {
        let rule = if limit.reason.is_empty() {
            format!("say in a doc comment what `{}` limits, and why it has this value", limit.name)
        } else {
            format!(
                "`{}` is not in {PAGE} like this: run PILOTFISH_WRITE_LIMITS=1 cargo test --test tidy limits",
                limit.name
            )
        };
        findings.push(Finding { path: limit.path.clone(), line: limit.line, rule });
    }
    let is_known = |row: &str| limits.iter().any(|limit| row.starts_with(&limit.row()));
    let lines = page.text.lines().enumerate().filter(|(_, line)| is_row(line) && !is_known(line));
    let rule = "the code has no such limit: PILOTFISH_WRITE_LIMITS=1 cargo test --test tidy limits";
    findings.extend(lines.map(|(index, _)| page.finding(index + 1, rule)));
    findings
}

/// The page with the rows of the code. A row keeps its last column.
fn written(page: &File, limits: &[Limit]) -> String {
    let setting = |limit: &Limit| {
        let begin = limit.row();
        let begin = begin.split(" | ").next().unwrap_or_default();
        let row = page.text.lines().find(|line| line.split(" | ").next() == Some(begin));
        let last = row.and_then(|row| row.trim_end_matches(" |").rsplit(" | ").next());
        last.unwrap_or(NO_SETTING).to_owned()
    };
    let rows: Vec<_> = limits.iter().map(|it| format!("{} {} |", it.row(), setting(it))).collect();
    let mut lines: Vec<&str> = page.text.lines().filter(|line| !is_row(line)).collect();
    let head =
        lines.iter().position(|line| line.starts_with("|---")).map_or(lines.len(), |it| it + 1);
    lines.splice(head..head, rows.iter().map(String::as_str));
    lines.join("\n") + "\n"
}

fn all() -> Vec<Limit> {
    files("src", ".rs").iter().flat_map(limits).collect()
}

#[test]
fn every_limit_is_on_its_page_with_its_value_and_its_reason() {
    let limits = all();
    assert!(limits.len() > 80, "only {} limits were found in src/", limits.len());
    if std::env::var_os("PILOTFISH_WRITE_LIMITS").is_some() {
        std::fs::write(top().join(PAGE), written(&file(PAGE), &limits)).expect("the page");
    }
    assert_none(&check(&file(PAGE), &limits));
}

#[test]
fn these_rules_find_what_breaks_them() {
    let code = "/// Why [`A`].\n/// So.\nconst A_MAX: usize = 16 * 1024;\n/// B.\npub(super) const B_TIMEOUT: Duration =\n    Duration::from_secs(5 * 60);\nconst C: u32 = 1;\nconst D_MAX: &str = \"x\";\n#[cfg(test)]\nmod tests {\n    const E_MAX: u32 = 2;\n}\n";
    let found = limits(&File::made_up("src/a/b.rs", code));
    let rows: Vec<_> = found.iter().map(Limit::row).collect();
    let expected =
        ["| `A_MAX` in `a/b` | 16384 | Why `A`. So. |", "| `B_TIMEOUT` in `a/b` | 300 s | B. |"];
    assert_eq!(rows, expected);
    let text = "# x\n|---|\n| `A_MAX` in `a/b` | 1 | Why `A`. So. | `a.max` |\n| `Z` in `a/b` | 1 | z | – |\nend\n";
    let page = File::made_up(PAGE, text);
    assert_eq!(check(&page, &found).len(), 4);
    let page = File::made_up(PAGE, &written(&page, &found));
    assert!(check(&page, &found).is_empty(), "{}", page.text);
    assert!(
        page.text.contains("So. | `a.max` |") && page.text.ends_with("\nend\n"),
        "{}",
        page.text
    );
}
