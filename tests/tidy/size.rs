//! The size of things, and words that must not stay.

use std::collections::BTreeMap;

use crate::source_tree::{File, Finding, assert_none, code_of, end_of_item, files, without_tests};

/// Lines of a file: what is longer holds more than one idea.
const FILE_LINES_MAX: usize = 405;

/// Lines of a function, signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 55;

/// Lines of a function of a test: a table of cases is read row by row.
const TEST_FUNCTION_LINES_MAX: usize = 70;

/// Characters of a line. Long texts may go on: a message is found best in one piece.
const LINE_LENGTH_MAX: usize = 100;

/// Files that may be longer, each with its reason. Empty is best.
const LONG_FILES: [(&str, &str); 1] = [(
    "src/core/recreate/tests/tables.rs",
    "tables, read row by row; a second file would hide some",
)];

/// Where the library may write to the terminal: everywhere else events and the log speak.
const TERMINAL: [&str; 4] = ["src/main.rs", "src/app", "src/output/", "src/cli"];

/// Macros that write past events and the log.
const PRINTING: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];

/// Macros that say that something is not done yet.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

fn check_file_length(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let is_excused = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    let rule = format!("{lines} lines; a file has at most {FILE_LINES_MAX}");
    (lines > FILE_LINES_MAX && !is_excused).then(|| file.finding(lines, rule))
}

fn check_functions(file: &File) -> Vec<Finding> {
    let code = code_of(&file.text);
    let program = without_tests(&code);
    let is_test = |begin: usize| {
        !file.path.starts_with("src/")
            || file.path.ends_with("tests.rs")
            || file.path.contains("/tests/")
            || !program[begin..].starts_with("fn ")
    };
    let limit = |begin| if is_test(begin) { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
    let is_word = |at: usize| code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let begins = code.match_indices("fn ").map(|(at, _)| at).filter(|at| !is_word(*at));
    let length = |begin: usize| code[begin..end_of_item(&code, begin)].lines().count();
    begins
        .map(|begin| (begin, length(begin)))
        .filter(|(begin, length)| *length > limit(*begin))
        .map(|(begin, length)| {
            let line = 1 + code[..begin].matches('\n').count();
            let rule = format!("{length} lines; this function has at most {}", limit(begin));
            file.finding(line, rule)
        })
        .collect()
}

fn check_line_lengths(file: &File) -> Vec<Finding> {
    let code = code_of(&file.text);
    let is_long = |length: usize| length > LINE_LENGTH_MAX;
    // A line whose code is short is long by a text or by a comment; a comment can be wrapped.
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let lines = file.text.lines().zip(code.lines()).enumerate();
    lines
        .filter(|(_, (text, _))| is_long(text.chars().count()))
        .filter(|(_, (text, code))| is_comment(text) || is_long(length_of_code(text, code)))
        .map(|(index, _)| {
            file.finding(index + 1, format!("a line has at most {LINE_LENGTH_MAX} characters"))
        })
        .collect()
}

/// The length of a line without what stands in its texts.
fn length_of_code(text: &str, code: &str) -> usize {
    let words: Vec<_> = code.split_whitespace().collect();
    text.len() - text.trim_start().len() + words.join(" ").chars().count()
}

fn check_words(file: &File) -> Vec<Finding> {
    let code = code_of(&file.text);
    let lines = |words: &[&'static str], code: &str| -> Vec<(usize, &'static str)> {
        let find = |word: &&'static str| {
            let lines = File::lines_with(code, word).into_iter();
            lines.map(|line| (line, *word)).collect::<Vec<_>>()
        };
        words.iter().flat_map(find).collect()
    };
    let mut findings: Vec<_> = lines(&["#[allow(", "#![allow("], &code)
        .into_iter()
        .map(|(line, _)| file.finding(line, "`#[expect(…, reason = …)]`, never a bare `#[allow]`"))
        .collect();
    findings.extend(lines(&UNFINISHED, &code).into_iter().map(|(line, word)| {
        file.finding(line, format!("`{word}` says that something is not done yet"))
    }));
    let is_library = file.path.starts_with("src/");
    if is_library && !TERMINAL.iter().any(|place| file.path.starts_with(place)) {
        let code = without_tests(&code);
        findings.extend(lines(&PRINTING, &code).into_iter().map(|(line, word)| {
            file.finding(line, format!("`{word}` speaks past events and the log"))
        }));
    }
    findings
}

/// The kinds of items that need a doc comment. Fields and variants do not: their names say it.
const DOCUMENTED: [&str; 8] =
    ["fn ", "async fn ", "const fn ", "struct ", "enum ", "trait ", "const ", "type "];

/// Public items without a doc comment, and files without a module comment.
fn check_docs(file: &File) -> Vec<Finding> {
    let code = without_tests(&code_of(&file.text));
    let lines: Vec<&str> = file.text.lines().collect();
    let is_public_item = |line: &str| {
        let item = line.trim_start().strip_prefix("pub ");
        item.is_some_and(|item| DOCUMENTED.iter().any(|kind| item.starts_with(kind)))
    };
    // Attributes stand between the comment and the item; rustfmt may break one over lines.
    let has_doc = |index: usize| {
        let above = lines[..index].iter().rev().map(|line| line.trim_start());
        let ends = |line: &&str| line.is_empty() || (line.ends_with('}') && !line.contains('#'));
        above
            .take_while(|line| !ends(line))
            .any(|line| line.starts_with("///") || line.starts_with("#[doc"))
    };
    let mut findings: Vec<_> = code
        .lines()
        .enumerate()
        .filter(|(index, line)| is_public_item(line) && !has_doc(*index))
        .map(|(index, _)| file.finding(index + 1, "a public item has a doc comment"))
        .collect();
    if !file.text.starts_with("//!") {
        findings.push(file.finding(1, "a file begins with a module comment"));
    }
    findings
}

/// The keywords of a type with a name of its own.
const TYPES: [&str; 4] = ["struct ", "enum ", "trait ", "type "];

/// Names of the types in a file, each with its line. Associated types have the name of their trait,
/// and the types of tests are not counted.
fn types(file: &File) -> Vec<(String, usize)> {
    let is_test = file.path.contains("/tests/") || file.path.ends_with("tests.rs");
    let code = if is_test { String::new() } else { without_tests(&code_of(&file.text)) };
    let name = |(index, line): (usize, &str)| {
        let is_associated = line.starts_with(' ') && line.trim_start().starts_with("type ");
        let item = line.trim_start();
        let item = item.strip_prefix("pub").map_or(item, |rest| {
            let rest =
                rest.strip_prefix('(').and_then(|it| it.split_once(')')).map_or(rest, |it| it.1);
            rest.trim_start()
        });
        let rest = TYPES.iter().find_map(|kind| item.strip_prefix(kind))?;
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        (!is_associated && end > 0).then(|| (rest[..end].to_owned(), index + 1))
    };
    code.lines().enumerate().filter_map(name).collect()
}

/// Types that share their name with another one.
fn check_type_names(files: &[File]) -> Vec<Finding> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files {
        for (name, line) in types(file) {
            if let Some(other) = first.get(&name) {
                findings.push(file.finding(line, format!("`{name}` is also a type in {other}")));
            }
            first.entry(name).or_insert_with(|| file.path.clone());
        }
    }
    findings
}

fn rust() -> Vec<File> {
    ["src", "tests", "examples", "benches"].iter().flat_map(|below| files(below, ".rs")).collect()
}

#[test]
fn a_file_holds_one_idea() {
    assert_none(&files("src", ".rs").iter().filter_map(check_file_length).collect::<Vec<_>>());
}

#[test]
fn a_function_can_be_seen_at_once() {
    assert_none(&rust().iter().flat_map(check_functions).collect::<Vec<_>>());
}

#[test]
fn lines_fit_the_screen() {
    assert_none(&rust().iter().flat_map(check_line_lengths).collect::<Vec<_>>());
}

#[test]
fn nothing_is_unfinished_silenced_or_printed_by_the_way() {
    assert_none(&rust().iter().flat_map(check_words).collect::<Vec<_>>());
}

#[test]
fn public_items_are_documented() {
    assert_none(&files("src", ".rs").iter().flat_map(check_docs).collect::<Vec<_>>());
}

#[test]
fn no_two_types_have_one_name() {
    assert_none(&check_type_names(&files("src", ".rs")));
}

#[test]
fn these_rules_find_what_breaks_them() {
    let file = |text: &str| File::made_up("src/core/x.rs", text);
    assert!(check_file_length(&file(&"\n".repeat(FILE_LINES_MAX + 1))).is_some());
    let long = format!("fn a();\n\nfn b() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX));
    let found = check_functions(&file(&long));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 3);
    assert_eq!(check_functions(&File::made_up("tests/x.rs", &long)).len(), 0);
    let wide = "a ".repeat(LINE_LENGTH_MAX);
    assert_eq!(check_line_lengths(&file(&format!("let a = \"{wide}\";"))).len(), 0);
    assert_eq!(check_line_lengths(&file(&format!("// {wide}"))).len(), 1);
    assert_eq!(check_line_lengths(&file(&format!("{wide};"))).len(), 1);
    let words = "#[allow(dead_code)]\nfn a() { todo!() }\nfn b() { println!() }\n// dbg!()\n";
    let lines: Vec<_> = check_words(&file(words)).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1, 2, 3]);
    let bare = "//! A.\n\n/// B.\n#[derive(Debug)]\npub struct B;\n\npub fn c() {}\n";
    let lines: Vec<_> = check_docs(&file(bare)).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [7]);
    let (one, other) = ("pub struct A;\nimpl B for A {\n    type C = A;\n}\n", "type A = u8;\n");
    let found = check_type_names(&[file(one), file(other)]);
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1]);
}
