//! What comes from outside: the rules of deny.toml that need nothing but Cargo.lock, so that a
//! build without cargo-deny keeps them as well.

use crate::tree::{File, Finding, assert_none, file};

/// Where every crate comes from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The crates that deny.toml bans. That none is missing is checked by name below.
fn banned() -> Vec<String> {
    let deny: toml::Table = file("deny.toml").text.parse().unwrap_or_default();
    let list = deny.get("bans").and_then(|bans| bans.get("deny")).and_then(toml::Value::as_array);
    let name = |entry: &toml::Value| entry.get("crate")?.as_str().map(str::to_owned);
    list.into_iter().flatten().filter_map(name).collect()
}

fn check(lock: &File, banned: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in lock.text.lines().enumerate() {
        let value =
            |key: &str| line.strip_prefix(key)?.strip_prefix(" = ").map(|v| v.trim_matches('"'));
        if let Some(name) = value("name").filter(|name| banned.iter().any(|b| b == name)) {
            findings.push(lock.finding(index + 1, format!("deny.toml bans the crate `{name}`")));
        }
        if let Some(source) = value("source").filter(|source| *source != CRATES_IO) {
            let rule = format!("every crate comes from crates.io, not from {source}");
            findings.push(lock.finding(index + 1, rule));
        }
    }
    findings
}

#[test]
fn no_banned_crate_is_built_and_all_come_from_one_place() {
    assert_none(&check(&file("Cargo.lock"), &banned()));
}

#[test]
fn one_implementation_of_tls_and_no_foreign_compiler() {
    for name in ["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls"] {
        assert!(banned().iter().any(|banned| banned == name), "deny.toml no longer bans {name}");
    }
}

#[test]
fn these_rules_find_what_breaks_them() {
    let text = "name = \"openssl-sys\"\nsource = \"git+https://example.com/x\"\n";
    let lock = File::made_up("Cargo.lock", text);
    assert_eq!(check(&lock, &["openssl-sys".to_owned()]).len(), 2);
}
