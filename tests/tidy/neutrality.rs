//! The tree speaks of Pilotfish to anybody who reads it, on any machine.

use crate::source_tree::{File, Finding, assert_none, files, top};

/// Where prose stands.
const PROSE: [&str; 5] = [".md", ".rs", ".toml", ".service", ".yaml"];

/// Paths that exist on the machine of one person alone.
const ONES_OWN: [&str; 4] = ["/home/", "/Users/", "/work/", "../shared"];

/// Words for the moment in which something was written; a reader comes later.
const MOMENTS: [&str; 2] = ["this session", "as discussed"];

fn check_words(file: &File) -> Vec<Finding> {
    let find = |words: &'static [&str], rule: &'static str| {
        words.iter().flat_map(move |word| {
            let lines = File::lines_with(&file.text, word).into_iter();
            lines.map(move |line| file.finding(line, format!("`{word}`: {rule}")))
        })
    };
    find(&ONES_OWN, "a path that others do not have")
        .chain(find(&MOMENTS, "a reader was not there"))
        .collect()
}

/// Links to files of this tree that do not exist.
fn check_links(file: &File) -> Vec<Finding> {
    let folder = top().join(&file.path).parent().map(std::path::Path::to_owned).unwrap_or_default();
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || folder.join(path).exists() {
                continue;
            }
            findings.push(file.finding(index + 1, format!("the link to {target} leads nowhere")));
        }
    }
    findings
}

fn prose() -> Vec<File> {
    let all = PROSE.iter().flat_map(|ending| files("", ending));
    all.filter(|file| file.path != "tests/tidy/neutrality.rs").collect()
}

#[test]
fn nothing_points_at_one_machine_or_one_moment() {
    assert_none(&prose().iter().flat_map(check_words).collect::<Vec<_>>());
}

#[test]
fn links_lead_somewhere() {
    assert_none(&files("", ".md").iter().flat_map(check_links).collect::<Vec<_>>());
}

#[test]
fn these_rules_find_what_breaks_them() {
    let file = File::made_up("docs/x.md", "see /home/me/x\n[here](no-such.md#a), [there](#b)\n");
    assert_eq!(check_words(&file).len(), 1);
    let links = check_links(&file);
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].to_string(), "docs/x.md:2: the link to no-such.md#a leads nowhere");
}
