//! ARCHITECTURE.md against the code: its glossary, and its table of what stands where.

use std::collections::{BTreeMap, BTreeSet};

use crate::source_tree::{File, Finding, assert_none, code_of, file, files, top, without_tests};

const PAGE: &str = "ARCHITECTURE.md";

/// The page whose sentences the table "Where is it" quotes.
const QUOTED_PAGE: &str = "docs/how-an-update-works.md";

/// A type of `core` that so many modules name is a word that a newcomer must know.
const MODULES_OF_A_DOMAIN_WORD: usize = 6;

/// Least sentences in the table "Where is it".
const PLACES_MIN: usize = 10;

/// Words of the field itself: Docker, OCI and cron define them. And errors explain themselves.
const KNOWN_TO_THE_FIELD: [&str; 5] =
    ["RestartPolicy", "Healthcheck", "Zone", "Manifest", "Document"];

/// A row of the glossary: `| word | `file` `Type` | sentence |`.
struct Entry {
    line: usize,
    word: String,
    path: String,
    type_name: String,
    sentence: String,
}

/// The rows of the table under a heading, without its head, each with its line.
fn table(page: &File, heading: &str) -> Vec<(usize, Vec<String>)> {
    let lines = page.text.lines().enumerate();
    let section = lines.skip_while(|(_, line)| *line != heading).skip(1);
    let section = section.take_while(|(_, line)| !line.starts_with("## "));
    let rows = section.filter(|(_, line)| line.starts_with("| ")).skip(1);
    rows.map(|(index, line)| (index + 1, cells(line))).collect()
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn entries(page: &File) -> Vec<Entry> {
    let entry = |(line, cells): (usize, Vec<String>)| {
        let mut cells = cells.into_iter();
        let word = cells.next().unwrap_or_default();
        let place = cells.next().unwrap_or_default();
        let mut parts = place.split('`').filter(|part| !part.trim().is_empty());
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (path, type_name) = (part(), part());
        Entry { line, word, path, type_name, sentence: cells.next().unwrap_or_default() }
    };
    table(page, "## Glossary").into_iter().map(entry).collect()
}

/// Whether the code declares this type.
fn declares(code: &str, name: &str) -> bool {
    ["struct", "enum", "trait"].iter().any(|kind| {
        let declaration = format!("{kind} {name}");
        let mut found = code.match_indices(&declaration);
        found.any(|(at, _)| {
            !code[at + declaration.len()..].starts_with(|it: char| it.is_alphanumeric())
        })
    })
}

fn is_one_sentence(text: &str) -> bool {
    text.ends_with('.') && text.matches(['.', '!', '?']).count() == 1
}

/// Rows of the glossary that the code contradicts.
fn check_entries(page: &File, sources: &[File]) -> Vec<Finding> {
    let mut words = BTreeSet::new();
    let mut findings = Vec::new();
    for entry in entries(page) {
        let Entry { line, word, path, type_name, sentence } = entry;
        let mut find = |rule: String| findings.push(page.finding(line, rule));
        if !words.insert(word.clone()) {
            find(format!("`{word}` is explained twice"));
        }
        if !is_one_sentence(&sentence) {
            find(format!("`{word}` needs exactly one sentence"));
        }
        let source = sources.iter().find(|source| source.path == format!("src/{path}"));
        if !source.is_some_and(|source| declares(&code_of(&source.text), &type_name)) {
            find(format!("src/{path} does not declare `{type_name}`"));
        }
    }
    findings
}

/// The public types of `core` with the number of modules that name each.
fn domain_types(sources: &[File]) -> BTreeMap<String, usize> {
    let code = |source: &File| without_tests(&code_of(&source.text));
    let codes: Vec<_> = sources.iter().map(|source| (source.path.as_str(), code(source))).collect();
    let words = |code: &str| -> BTreeSet<String> {
        code.split(|it: char| !it.is_alphanumeric()).map(str::to_owned).collect()
    };
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in &codes {
        // Layer 0 has its own rooms; above it the module is the first folder.
        let depth = if path.starts_with("src/core/") { 3 } else { 2 };
        let module: Vec<_> = path.split('/').take(depth).collect();
        for word in words(code) {
            named.entry(word).or_default().insert(module.join("/"));
        }
    }
    let mut types = BTreeMap::new();
    for (_, code) in codes.iter().filter(|(path, _)| path.starts_with("src/core/")) {
        for kind in ["pub struct ", "pub enum ", "pub trait "] {
            for (_, rest) in code.match_indices(kind).map(|(at, it)| (at, &code[at + it.len()..])) {
                let name: String = rest.chars().take_while(|it| it.is_alphanumeric()).collect();
                let modules = named.get(&name).map_or(0, BTreeSet::len);
                types.insert(name, modules);
            }
        }
    }
    types
}

/// Words that many modules use and the glossary does not explain.
fn check_words(page: &File, sources: &[File]) -> Vec<Finding> {
    let rows = table(page, "## Glossary").into_iter().flat_map(|(_, cells)| cells);
    let glossary = rows.collect::<Vec<_>>().join(" ");
    let is_missing = |(name, modules): &(String, usize)| {
        *modules >= MODULES_OF_A_DOMAIN_WORD
            && !name.ends_with("Error")
            && !KNOWN_TO_THE_FIELD.contains(&name.as_str())
            && !glossary.contains(&format!("`{name}`"))
    };
    let missing = domain_types(sources).into_iter().filter(is_missing);
    let rule = |name, modules| format!("`{name}` is named in {modules} modules: explain it");
    missing.map(|(name, modules)| page.finding(0, rule(name, modules))).collect()
}

/// The text of a page without marks and line ends.
fn plain(text: &str) -> String {
    text.replace(['*', '`'], "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Rows of "Where is it" whose sentence is not in the page, or whose file is not in the tree.
fn check_places(page: &File, quoted: &str, is_file: impl Fn(&str) -> bool) -> Vec<Finding> {
    let quoted = plain(quoted);
    let mut findings = Vec::new();
    let mut sentences = BTreeSet::new();
    for (line, cells) in table(page, "## Where is it") {
        let [sentence, path] = &*cells else { continue };
        let sentence = plain(sentence).trim_matches('"').to_owned();
        if !quoted.contains(&sentence) {
            findings.push(page.finding(line, format!("{QUOTED_PAGE} does not say: {sentence}")));
        }
        let path = path.trim_matches('`');
        if !is_file(path) {
            findings.push(page.finding(line, format!("there is no {path}")));
        }
        sentences.insert(sentence);
    }
    if sentences.len() < PLACES_MIN {
        findings.push(page.finding(0, format!("{} places are few", sentences.len())));
    }
    findings
}

#[test]
fn the_glossary_explains_each_domain_word_once_and_the_code_has_it() {
    let (page, sources) = (file(PAGE), files("src", ".rs"));
    assert!(entries(&page).len() > 20, "only {} words are explained", entries(&page).len());
    assert_none(&check_entries(&page, &sources));
    assert_none(&check_words(&page, &sources));
}

#[test]
fn what_the_docs_say_stands_where_the_table_says() {
    let is_file = |path: &str| top().join(path).is_file();
    assert_none(&check_places(&file(PAGE), &file(QUOTED_PAGE).text, is_file));
}

#[test]
fn the_rules_find_what_breaks_them() {
    let row =
        |word: &str, place: &str, sentence: &str| format!("| {word} | {place} | {sentence} |\n");
    let head = "## Glossary\n\n| word | type | what it is |\n|---|---|---|\n";
    let good = row("plan", "`core/plan.rs` `Plan`", "What is done.");
    let sources: Vec<_> = ["core/plan", "a/mod", "b/mod", "c/mod", "d/mod", "e/mod", "f/mod"]
        .map(|path| {
            let text = if path.starts_with("core") { "pub struct Plan;" } else { "use Plan;" };
            File::made_up(&format!("src/{path}.rs"), text)
        })
        .into();
    let page = |rows: &str| File::made_up(PAGE, &format!("{head}{rows}"));
    let count = |rows: &str| {
        let page = page(rows);
        (check_entries(&page, &sources).len(), check_words(&page, &sources).len())
    };
    assert_eq!(count(&good), (0, 0));
    assert_eq!(count(&format!("{good}{good}")), (1, 0), "twice");
    assert_eq!(count(""), (0, 1), "not explained");
    assert_eq!(count(&row("plan", "`core/plan.rs` `Plan`", "What. Done.")), (1, 0));
    assert_eq!(count(&row("plan", "`a/mod.rs` `Plan`", "What is done.")), (1, 0));
    let place = |sentence: &str, path: &str| {
        let head = "## Where is it\n\n| the page says | the code |\n|---|---|\n";
        let page = File::made_up(PAGE, &format!("{head}| \"{sentence}\" | `{path}` |\n"));
        check_places(&page, "It **pulls**\nfirst.", |path| path == "src/pull.rs").len()
    };
    // One finding is about the number of rows.
    assert_eq!(place("It pulls first.", "src/pull.rs"), 1);
    assert_eq!(place("It pulls last.", "src/pull.rs"), 2);
    assert_eq!(place("It pulls first.", "src/gone.rs"), 2);
}
