//! Which module may import which. The layers are those of ARCHITECTURE.md.

use crate::source_tree::{File, Finding, assert_none, code_of, files, without_tests};

/// The modules of `src/`, layer by layer. A module imports from lower layers, and on its own layer
/// from the modules before it; ports do not import one another.
const LAYERS: [(Kind, &[&str]); 5] = [
    (Kind::Pure, &["core"]),
    (Kind::Ports, &["engine", "registry", "broker", "journal", "host"]),
    (
        Kind::Ordered,
        &[
            "ports",
            "exec",
            "start_requirements",
            "observe",
            "execute",
            "recover",
            "mirror",
            "agent",
        ],
    ),
    (
        Kind::Ordered,
        &[
            "documents",
            "config",
            "cli",
            "control",
            "output",
            "metrics",
            "telemetry",
            "api",
            "fleet",
        ],
    ),
    (Kind::Ordered, &["app", "commands"]),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Pure: decides, without input and output.
    Pure,
    /// Each module accesses one thing outside.
    Ports,
    /// Each module may use those before it.
    Ordered,
}

/// The adapters, which only the composition root may name, each with its port.
const ADAPTERS: [(&str, &str); 5] = [
    ("DockerEngine", "engine"),
    ("HttpRegistry", "registry"),
    ("MqttBroker", "broker"),
    ("RealDisk", "journal"),
    ("RealHost", "host"),
];

/// Forbidden in core: input, output and waiting. Its tests may read fixtures.
const IMPURE: [&str; 18] = [
    "async ",
    ".await",
    "tokio",
    "reqwest",
    "bollard",
    "axum",
    "hyper",
    "tracing",
    "rustix",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "Instant",
    "SystemTime",
    "Utc::now",
    "Local::now",
];

/// Files above all layers, which connect everything.
const TOP_FILES: [&str; 2] = ["src/lib.rs", "src/main.rs"];

fn position_of(module: &str) -> Option<(usize, usize)> {
    let find = |(layer, (_, modules)): (usize, &(Kind, &[&str]))| {
        Some((layer, modules.iter().position(|known| *known == module)?))
    };
    LAYERS.iter().enumerate().find_map(find)
}

/// The module of a file: `src/engine/mod.rs` and `src/engine.rs` are in `engine`.
fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn may_import(module: &str, other: &str) -> Result<(), String> {
    if module == other {
        return Ok(());
    }
    let place = |module: &str| position_of(module).ok_or_else(|| no_layer(module));
    let ((layer, position), (other_layer, other_position)) = (place(module)?, place(other)?);
    if other_layer < layer {
        return Ok(());
    }
    if other_layer > layer {
        return Err(format!("imports go down: `{module}` must not know `{other}` above it"));
    }
    match LAYERS[layer].0 {
        Kind::Ordered if other_position < position => Ok(()),
        Kind::Ordered => Err(format!("`{other}` is after `{module}` on its layer")),
        Kind::Pure | Kind::Ports => {
            Err(format!("ports do not import one another: `{module}` names `{other}`"))
        }
    }
}

fn no_layer(module: &str) -> String {
    format!("`{module}` is in no layer: add it in tests/tidy/layers.rs and ARCHITECTURE.md")
}

/// The modules that a line of code names: `crate::a::b`, and each of `crate::{a, b::c}`.
fn named_modules(code: &str) -> Vec<(usize, String)> {
    let mut modules = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1) + usize::from(code[..at].ends_with('\n'));
        let rest = &code[at + path.len()..];
        let group = rest.strip_prefix('{').map(|rest| first_level(rest));
        let names = group.unwrap_or_else(|| vec![rest]);
        let word = |text: &str| {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
            text[..end.unwrap_or(text.len())].to_owned()
        };
        modules.extend(names.into_iter().map(|name| (line, word(name.trim()))));
    }
    modules.retain(|(_, module)| !module.is_empty());
    modules
}

/// The members of a group in braces, without those of inner groups.
fn first_level(rest: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut members = Vec::new();
    let mut begin = 0;
    for (at, letter) in rest.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&rest[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&rest[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    members
}

fn check_imports(file: &File) -> Vec<Finding> {
    if TOP_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let module = module_of(&file.path);
    if position_of(module).is_none() {
        return vec![file.finding(0, no_layer(module))];
    }
    let named = named_modules(&code_of(&file.text)).into_iter();
    named
        .filter_map(|(line, other)| Some(file.finding(line, may_import(module, &other).err()?)))
        .collect()
}

fn check_adapters(file: &File) -> Vec<Finding> {
    let module = module_of(&file.path);
    if module == "app" || TOP_FILES.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let code = without_tests(&code_of(&file.text));
    let foreign = ADAPTERS.iter().filter(|(_, port)| *port != module);
    let rule = |name: &str| format!("only src/app.rs names the adapter `{name}`");
    foreign
        .flat_map(|(name, _)| {
            File::lines_with(&code, name).into_iter().map(move |line| (line, name))
        })
        .map(|(line, name)| file.finding(line, rule(name)))
        .collect()
}

fn check_purity(file: &File) -> Vec<Finding> {
    let code = without_tests(&code_of(&file.text));
    let rule = |word: &str| format!("core is pure: no `{}` here", word.trim());
    IMPURE
        .iter()
        .flat_map(|word| File::lines_with(&code, word).into_iter().map(move |line| (line, word)))
        .map(|(line, word)| file.finding(line, rule(word)))
        .collect()
}

/// Imports are at the top of a file, or at the top of a module of tests.
fn check_place_of_uses(file: &File) -> Vec<Finding> {
    let code = without_tests(&code_of(&file.text));
    let lines = File::lines_with(&code, "use crate::");
    let is_inside = |line: &usize| {
        code.lines().nth(line - 1).is_some_and(|text| text.starts_with(char::is_whitespace))
    };
    let inside = lines.into_iter().filter(is_inside);
    inside.map(|line| file.finding(line, "`use crate::…` belongs at the top of a file")).collect()
}

#[test]
fn imports_go_down_and_never_between_ports() {
    assert_none(&files("src", ".rs").iter().flat_map(check_imports).collect::<Vec<_>>());
}

#[test]
fn adapters_are_named_only_in_the_composition_root() {
    assert_none(&files("src", ".rs").iter().flat_map(check_adapters).collect::<Vec<_>>());
}

#[test]
fn core_is_pure() {
    let is_test = |file: &File| file.path.contains("/tests/") || file.path.ends_with("_tests.rs");
    let core = files("src/core", ".rs").into_iter().filter(|file| !is_test(file));
    assert_none(&core.flat_map(|file| check_purity(&file)).collect::<Vec<_>>());
}

#[test]
fn imports_are_at_the_top() {
    assert_none(&files("src", ".rs").iter().flat_map(check_place_of_uses).collect::<Vec<_>>());
}

#[test]
fn these_rules_find_what_breaks_them() {
    let found = |path: &str, text: &str| check_imports(&File::made_up(path, text));
    let up = found("src/core/decide/mod.rs", "//! crate::agent\n\nuse crate::engine::Engine;\n");
    assert_eq!(up.len(), 1);
    assert_eq!(
        up[0].to_string(),
        "src/core/decide/mod.rs:3: imports go down: `core` must not know `engine` above it"
    );
    assert_eq!(found("src/engine/mod.rs", "use crate::{core::a, host::{Host, x}};").len(), 1);
    assert_eq!(found("src/observe/mod.rs", "fn a() { crate::execute::b() }").len(), 1);
    assert_eq!(found("src/recover/mod.rs", "use crate::execute::Update;").len(), 0);
    assert_eq!(found("src/attic.rs", "").len(), 1);
    let adapter = File::made_up("src/agent/mod.rs", "use crate::engine::docker::DockerEngine;");
    assert_eq!(check_adapters(&adapter).len(), 1);
    let clock =
        File::made_up("src/core/update/plan.rs", "fn now() { Utc::now() }\nasync fn b() {}\n");
    assert_eq!(check_purity(&clock).len(), 2);
    let late = File::made_up("src/core/update/plan.rs", "fn a() {\n    use crate::core::b;\n}");
    assert_eq!(check_place_of_uses(&late).len(), 1);
}
