//! A configuration that is not valid: the thing is named, with its place and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::Stage;
use crate::golden;

/// What stands in the file, each wrong in its own way.
const WRONG: [&str; 12] = [
    "[schedule]\nevry = \"15m\"\n",
    "interval = \"15m\"\n",
    "[schedule]\nevery = \"soon\"\n",
    "[schedule]\nevery = 15\n",
    "[schedule]\ncron = \"0 25 * * *\"\n",
    "[schedule]\nevery = \"15m\"\ncron = \"@daily\"\n",
    "[update]\nwindow = \"04:00-25:00\"\n",
    "[health]\ntimeout = \"-5s\"\n",
    "time_zone = \"Europe/Berln\"\n",
    "docker_host = \"ssh://pi@kitchen\"\n",
    "[listen]\naddress = \"9788\"\n",
    "[schedule\n",
];

#[test]
fn a_wrong_file_is_named_with_line_and_cure() {
    let stage = Stage::new("");
    let mut page = String::new();
    for text in WRONG {
        stage.configure(text);
        // The Engine's address would be overruled by the variable of the stage.
        let mut command = stage.command("check");
        command.env_remove("DOCKER_HOST");
        page.push_str(text);
        page.push_str(&stage.told_without_a_trace("check", &mut command));
        page.push('\n');
    }
    golden::compare("wrong-file", &page);
}

#[test]
fn a_wrong_file_stops_every_command_the_same_way() {
    let stage = Stage::new("[schedule]\nevry = \"15m\"\n");
    let expected = stage.told("check");
    for words in ["run", "update", "rollback web", "allow web", "history", "status", "recover"] {
        let told = stage.told_without_a_trace(words, &mut stage.command(words));
        assert_eq!(
            told.split_once('\n'),
            expected
                .split_once('\n')
                .map(|(_, rest)| { (told.lines().next().expect("a line"), rest) })
        );
    }
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    let stage = Stage::new("");
    let mut page = String::new();
    for (name, value) in [
        ("PILOTFISH_SCHEDULE_EVRY", "15m"),
        ("PILOTFISH_SCHEDULE_EVERY", "soon"),
        ("DOCKER_HOST", "ssh://pi@kitchen"),
    ] {
        page.push_str(&format!("{name}={value}\n"));
        let mut command = stage.command("check");
        page.push_str(&stage.told_without_a_trace("check", command.env(name, value)));
        page.push('\n');
    }
    let words = "check --log-level loud";
    page.push_str(&stage.told_without_a_trace(words, &mut stage.command(words)));
    golden::compare("wrong-variable", &page);
}

#[test]
fn a_file_that_is_not_there_or_cannot_be_read() {
    let stage = Stage::new("");
    let mut page = String::new();
    for words in ["--config none.toml check", "config --check none.toml"] {
        // Two `--config` would be one too many.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.args(words.split(' ')).current_dir(stage.path(""));
        page.push_str(&stage.told_without_a_trace(words, &mut command));
    }
    let secret = fs::Permissions::from_mode(0o600);
    fs::set_permissions(stage.path("pilotfish.toml"), secret).expect("the file's mode");
    let mut command = stage.command_of_nobody("check");
    page.push_str(&stage.told_without_a_trace("check", &mut command));
    golden::compare("unreadable-file", &page);
}

#[test]
fn config_tells_every_value_and_where_it_came_from() {
    let stage = Stage::new("[schedule]\nevery = \"1h\"\n[images]\nkeep = 2\n")
        .with("PILOTFISH_HEALTH_STABLE", "10s");
    let words = "config --log-level debug";
    let told = stage.told_without_a_trace(words, &mut stage.command(words));
    // How wide a column is depends on the length of the stage's path.
    let narrow = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    golden::compare("config", &told.lines().map(narrow).collect::<String>());
}

#[test]
fn config_check_judges_a_file_by_itself() {
    let stage = Stage::new("").with("PILOTFISH_SCHEDULE_EVERY", "soon");
    let mut page = String::new();
    for (name, text) in
        [("good.toml", "[schedule]\nevery = \"1h\"\n"), ("bad.toml", "\n[log]\nlevel = \"loud\"\n")]
    {
        fs::write(stage.path(name), text).expect("a file");
        let words = format!("config --check {name}");
        page.push_str(&stage.told_without_a_trace(&words, &mut stage.command(&words)));
    }
    golden::compare("config-check", &page);
}

#[test]
fn watchtowers_settings_become_ours() {
    let stage = Stage::new("");
    let inspect = serde_json::json!([{ "Name": "/watchtower", "Config": {
        "Env": ["PATH=/", "TZ=Europe/Berlin", "WATCHTOWER_CLEANUP=true",
                "WATCHTOWER_NOTIFICATION_URL=telegram://secret@telegram"],
        "Cmd": ["--label-enable", "--schedule", "0 0 4 * * *", "--scope=shop"],
    }}]);
    fs::write(stage.path("inspect.json"), inspect.to_string()).expect("a file");
    let mut page = String::new();
    for words in ["config --from-watchtower inspect.json", "config --from-watchtower missing.json"]
    {
        page.push_str(&stage.told_without_a_trace(words, &mut stage.command(words)));
    }
    assert!(!page.contains("secret"));
    golden::compare("config-from-watchtower", &page);
    let mut command = stage.command("config --from-watchtower inspect.json");
    let made = command.output().expect("pilotfish").stdout;
    fs::write(stage.path("made.toml"), made).expect("a file");
    let words = "config --check made.toml";
    let judged = stage.told_without_a_trace(words, &mut stage.command(words));
    assert!(judged.contains("made.toml is valid."), "{judged}\n{page}");
}
