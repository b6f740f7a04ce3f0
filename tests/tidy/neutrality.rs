//! The texts of the repository apply on any machine and at any time.

use crate::source_tree::{File, Finding, assert_none, files, top};

/// The file types with prose.
const PROSE: [&str; 5] = [".md", ".rs", ".toml", ".service", ".yaml"];

/// Paths that exist only on one person's machine.
const PRIVATE_PATHS: [&str; 4] = ["/home/", "/Users/", "/work/", "../shared"];

/// The topics of the fleet `home`, the default, look like such a path.
const TOPICS: [&str; 2] = ["pilotfish/1/home/", "pilotfish/2/home/"];

/// Words that refer to the moment of writing.
const MOMENTS: [&str; 2] = ["this session", "as discussed"];

fn check_words(file: &File) -> Vec<Finding> {
    let text = TOPICS.iter().fold(file.text.clone(), |text, topics| text.replace(topics, ""));
    let find = |words: &'static [&str], rule: &'static str| {
        let text = &text;
        words.iter().flat_map(move |word| {
            let lines = File::lines_with(text, word).into_iter();
            lines.map(move |line| file.finding(line, format!("`{word}`: {rule}")))
        })
    };
    find(&PRIVATE_PATHS, "a path of one machine")
        .chain(find(&MOMENTS, "words about the moment of writing"))
        .collect()
}

/// Links to missing files of this repository.
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
            findings.push(file.finding(index + 1, format!("the link to {target} has no target")));
        }
    }
    findings
}

fn prose() -> Vec<File> {
    let all = PROSE.iter().flat_map(|ending| files("", ending));
    all.filter(|file| file.path != "tests/tidy/neutrality.rs").collect()
}

#[test]
fn no_text_refers_to_one_machine_or_one_moment() {
    assert_none(&prose().iter().flat_map(check_words).collect::<Vec<_>>());
}

#[test]
fn links_have_targets() {
    assert_none(&files("", ".md").iter().flat_map(check_links).collect::<Vec<_>>());
}

#[test]
fn these_rules_find_what_breaks_them() {
    let file = File::made_up(
        "docs/x.md",
        "see /home/me/x\npilotfish/1/home/stop\n[here](no-such.md#a), [there](#b)\n",
    );
    assert_eq!(check_words(&file).len(), 1);
    let links = check_links(&file);
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].to_string(), "docs/x.md:3: the link to no-such.md#a has no target");
}
