//! The source tree as text: files, findings, and Rust code without comments and strings.

use std::fmt;
use std::path::{Path, PathBuf};

/// One file, with its path in the repository.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub path: String,
    /// From 1; 0 means the whole file.
    pub line: usize,
    pub rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

impl File {
    /// A made-up file for a test.
    pub fn made_up(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn finding(&self, line: usize, rule: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, rule: rule.into() }
    }

    /// The lines of the code that contain this text, from 1.
    pub fn lines_with(code: &str, text: &str) -> Vec<usize> {
        let has = |(index, line): (usize, &str)| line.contains(text).then_some(index + 1);
        code.lines().enumerate().filter_map(has).collect()
    }
}

/// Fails with all findings at once.
#[track_caller]
pub fn assert_none(findings: &[Finding]) {
    let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", all.join("\n"));
}

/// The root of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders that git ignores, and git's own.
const SKIPPED_FOLDERS: [&str; 2] = ["target", ".git"];

/// Every file below a folder whose name ends like this, sorted.
pub fn files(below: &str, ending: &str) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&top().join(below), &mut paths);
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// A file of the repository that must exist.
pub fn file(path: &str) -> File {
    read(&top().join(path)).unwrap_or_else(|| panic!("{path} is missing, or is not text"))
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if SKIPPED_FOLDERS.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// `None` for a file that is not text.
fn read(path: &Path) -> Option<File> {
    let text = std::fs::read_to_string(path).ok()?;
    let path = path.strip_prefix(top()).unwrap_or(path).to_string_lossy().into_owned();
    Some(File { path, text })
}

/// Rust code without comments and string contents. Both become blanks and line ends stay, so the
/// line numbers are those of the file.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_text(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// The end of the comment, string or character that begins here; `at` if none begins.
fn end_of_text(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + length_of_block(rest),
        ['"', ..] => at + length_of_text(rest),
        ['r', '"' | '#', ..] if !is_word(chars, at) => at + length_of_raw(rest),
        ['\'', '\\', ..] => at + 3 + rest[3..].iter().take_while(|c| **c != '\'').count() + 1,
        ['\'', _, '\'', ..] => at + 3,
        _ => at,
    }
}

/// Whether the letter here continues a word.
fn is_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| chars.get(before));
    before.is_some_and(|c| (c.is_alphanumeric() && *c != 'b') || *c == '_')
}

fn length_of_block(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn length_of_text(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`; nothing for `r#word`.
fn length_of_raw(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    let begin = 1 + hashes;
    if rest.get(begin) != Some(&'"') {
        return 0;
    }
    let is_end = |at: usize| {
        rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    let end = (begin + 1..rest.len()).find(|at| is_end(*at));
    end.map_or(rest.len(), |end| end + 1 + hashes)
}

/// The code without its unit tests: `#[cfg(test)] mod … { … }` becomes blank lines.
pub fn without_tests(code: &str) -> String {
    let mut rest = code.to_owned();
    while let Some(begin) = rest.find("#[cfg(test)]") {
        let end = end_of_item(&rest, begin);
        let blank: String =
            rest[begin..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        rest.replace_range(begin..end, &blank);
    }
    rest
}

/// The end of the item that begins here: its last brace, or a semicolon before the first.
pub fn end_of_item(code: &str, begin: usize) -> usize {
    let mut depth = 0_usize;
    let mut nesting = 0_usize;
    for (at, letter) in code[begin..].char_indices() {
        match letter {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.saturating_sub(1),
            '{' => depth += 1,
            '}' if depth <= 1 => return begin + at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 && nesting == 0 => return begin + at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn prose_is_blanked_and_code_stays() {
    let text =
        "let a = \"crate::b\"; // crate::c\nlet d = r#\"x\"y\"#; /* a /* b */ c */ 'e' b\"f\"";
    let code = code_of(text);
    assert!(!code.contains("crate"), "{code}");
    assert!(!["x", "y", "/", "c */", "'e'", "f"].iter().any(|gone| code.contains(gone)), "{code}");
    assert_eq!(code.lines().count(), 2);
    assert_eq!(code_of("fn f<'a>(a: &'a str) {}"), "fn f<'a>(a: &'a str) {}");
    assert_eq!(code_of(r"['\'', '\\', '\u{7f}', 'a'] b"), "[    ,     ,         ,    ] b");
    assert_eq!(code_of("r#type var\"\"; \"a\\\"b\" c"), "r#type var  ;        c");
}

#[test]
fn tests_are_left_out() {
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
    let rest = without_tests(code);
    assert!(rest.contains("fn a") && rest.contains("fn c") && !rest.contains("fn b"), "{rest}");
    assert_eq!(rest.lines().count(), code.lines().count());
    let tasks = without_tests("#[cfg(test)]\n#[path = \"x\"]\nmod tests;\nfn d() {}");
    assert!(tasks.contains("fn d") && !tasks.contains("mod tests"), "{tasks}");
}
