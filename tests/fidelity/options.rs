//! No option and no field is forgotten: the table is compared with `docker create --help` and with
//! real Engines.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::Engine;
use crate::table::{rows, words};

/// Options without a row, with the reason.
const OPTIONS: &str = include_str!("options.txt");

/// Fields of the API, each with a row that sets it.
const FIELDS: &str = include_str!("fields.txt");

/// The two columns of a list.
fn pairs(list: &'static str) -> Vec<(&'static str, &'static str)> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(" | ").expect("two columns")).collect()
}

/// The long options: a line of the help begins with `  -x, --name` or `      --name`.
fn options_of(help: &str) -> BTreeSet<&str> {
    const INDENT: usize = "  -x, ".len();
    let names = help.lines().filter_map(|line| line.get(INDENT..)?.strip_prefix("--"));
    names.filter_map(|rest| rest.split(' ').next()).collect()
}

#[test]
fn every_option_of_docker_create_has_a_row_or_a_reason() {
    let help = std::process::Command::new("docker").args(["create", "--help"]).output();
    let help = String::from_utf8(help.expect("the docker command").stdout).expect("text");
    let options = options_of(&help);
    assert!(options.len() > 90, "the help is read wrongly: {options:?}");
    let mut known: BTreeSet<String> = pairs(OPTIONS).iter().map(|(name, _)| bare(name)).collect();
    for row in rows() {
        known.extend(words(&row.create).iter().chain(&words(&row.name)).map(|word| bare(word)));
    }
    let forgotten: Vec<_> = options.iter().filter(|option| !known.contains(**option)).collect();
    assert!(forgotten.is_empty(), "options without a row: {forgotten:?}");
}

/// `--init=false` and `--init,` are both `init`.
fn bare(word: &str) -> String {
    let name = word.trim_start_matches('-').split(['=', ',']).next();
    name.unwrap_or_default().to_owned()
}

#[test]
fn every_field_of_the_api_has_a_row() {
    let names: BTreeSet<String> = rows().into_iter().map(|row| row.name).collect();
    let wrong: Vec<_> =
        pairs(FIELDS).into_iter().filter(|(_, row)| !names.contains(*row)).collect();
    assert!(wrong.is_empty(), "no such rows: {wrong:?}");
}

#[test]
fn no_two_rows_have_the_same_name() {
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = rows().into_iter().filter(|row| !seen.insert(row.name.clone())).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Asserts that all fields of a container on this Engine are in the list. A newer Engine may have
/// more.
pub fn assert_known(engine: &Engine) {
    let known: BTreeSet<&str> = pairs(FIELDS).into_iter().map(|(field, _)| field).collect();
    let shown = engine.call("GET", "/containers/anchor/json", None).expect("the anchor");
    for part in ["Config", "HostConfig"] {
        let fields = shown[part].as_object().into_iter().flat_map(serde_json::Map::keys);
        let unknown: Vec<_> =
            fields.filter(|field| !known.contains(format!("{part}.{field}").as_str())).collect();
        assert!(unknown.is_empty(), "{part} has fields without a row: {unknown:?}");
    }
    assert!(shown["Id"] != Value::Null, "no container: {shown}");
}
