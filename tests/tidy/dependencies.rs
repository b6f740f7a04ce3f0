//! The dependencies: bans, sources and licences of deny.toml are also checked here, without
//! cargo-deny. Only its advisories need cargo-deny, and a database.

use crate::source_tree::{File, Finding, assert_none, file};

/// The source of every crate.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The crates that deny.toml bans. The most important ones are also checked by name below.
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
fn no_banned_crate_is_built_and_all_come_from_one_source() {
    assert_none(&check(&file("Cargo.lock"), &banned()));
}

/// The licences that deny.toml allows.
fn allowed() -> Vec<String> {
    let deny: toml::Table = file("deny.toml").text.parse().unwrap_or_default();
    let list = deny.get("licenses").and_then(|licenses| licenses.get("allow"));
    let list = list.and_then(toml::Value::as_array).into_iter().flatten();
    list.filter_map(|licence| licence.as_str().map(str::to_owned)).collect()
}

/// Whether the allowed licences satisfy an SPDX expression. `MIT/Apache-2.0` is an old form of
/// `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    let is_one = |licence: &str| allowed.iter().any(|it| it == licence.trim());
    plain.split(" AND ").all(|part| part.split(" OR ").any(is_one))
}

/// Cargo's metadata of every crate in this build, without a network.
#[test]
fn every_crate_has_a_licence_that_is_allowed() {
    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--offline", "--format-version=1"]);
    command
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .current_dir(crate::source_tree::top());
    let output = command.output().expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let built: Vec<_> =
        list(&graph["resolve"]["nodes"]).iter().map(|it| it["id"].clone()).collect();
    let allowed = allowed();
    let packages = list(&graph["packages"]);
    let packages: Vec<_> = packages.iter().filter(|it| built.contains(&it["id"])).collect();
    assert!(packages.len() > 100, "only {} crates were found", packages.len());
    let lock = file("Cargo.lock");
    let finding = |package: &&serde_json::Value| {
        let licence = package["license"].as_str().unwrap_or_default();
        let rule = format!("deny.toml does not allow {licence:?} of {}", package["name"]);
        (!is_allowed(licence, &allowed)).then(|| lock.finding(0, rule))
    };
    assert_none(&packages.iter().filter_map(finding).collect::<Vec<_>>());
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for (expression, is_met) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("(MIT OR Apache-2.0) AND Apache-2.0 WITH LLVM-exception", true),
        ("MIT AND GPL-3.0", false),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), is_met, "{expression}");
    }
}

#[test]
fn one_tls_implementation_and_no_foreign_compiler() {
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
