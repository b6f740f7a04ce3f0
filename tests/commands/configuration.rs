//! Invalid configurations: the error names the key, its place and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::Fixture;
use crate::golden;

/// Contents of the file, each with its own error.
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
fn a_wrong_file_is_reported_with_line_and_advice() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for text in WRONG {
        fixture.configure(text);
        // The fixture's variable would override the Engine's address in the file.
        let mut command = fixture.command("check");
        command.env_remove("DOCKER_HOST");
        page.push_str(text);
        page.push_str(&fixture.run_without_changes("check", &mut command));
        page.push('\n');
    }
    golden::compare("wrong-file", &page);
}

#[test]
fn a_wrong_file_stops_every_command_the_same_way() {
    let fixture = Fixture::new("[schedule]\nevry = \"15m\"\n");
    let expected = fixture.run("check");
    for words in ["run", "update", "rollback web", "allow web", "history", "status", "recover"] {
        let output = fixture.run_without_changes(words, &mut fixture.command(words));
        assert_eq!(
            output.split_once('\n'),
            expected
                .split_once('\n')
                .map(|(_, rest)| { (output.lines().next().expect("a line"), rest) })
        );
    }
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for (name, value) in [
        ("PILOTFISH_SCHEDULE_EVRY", "15m"),
        ("PILOTFISH_SCHEDULE_EVERY", "soon"),
        ("DOCKER_HOST", "ssh://pi@kitchen"),
    ] {
        page.push_str(&format!("{name}={value}\n"));
        let mut command = fixture.command("check");
        page.push_str(&fixture.run_without_changes("check", command.env(name, value)));
        page.push('\n');
    }
    let words = "check --log-level loud";
    page.push_str(&fixture.run_without_changes(words, &mut fixture.command(words)));
    golden::compare("wrong-variable", &page);
}

#[test]
fn a_file_that_is_not_there_or_cannot_be_read() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for words in ["--config none.toml check", "config --check none.toml"] {
        // The command line may have only one `--config`.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.args(words.split(' ')).current_dir(fixture.path(""));
        page.push_str(&fixture.run_without_changes(words, &mut command));
    }
    let secret = fs::Permissions::from_mode(0o600);
    fs::set_permissions(fixture.path("pilotfish.toml"), secret).expect("the file's mode");
    let mut command = fixture.command_as_nobody("check");
    page.push_str(&fixture.run_without_changes("check", &mut command));
    golden::compare("unreadable-file", &page);
}

#[test]
fn config_shows_every_value_and_its_source() {
    let fixture = Fixture::new("[schedule]\nevery = \"1h\"\n[images]\nkeep = 2\n")
        .with("PILOTFISH_HEALTH_STABLE", "10s");
    let words = "config --log-level debug";
    let output = fixture.run_without_changes(words, &mut fixture.command(words));
    // The width of a column depends on the length of the fixture's path.
    let narrow = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    golden::compare("config", &output.lines().map(narrow).collect::<String>());
}

#[test]
fn config_check_validates_only_the_given_file() {
    let fixture = Fixture::new("").with("PILOTFISH_SCHEDULE_EVERY", "soon");
    let mut page = String::new();
    for (name, text) in
        [("good.toml", "[schedule]\nevery = \"1h\"\n"), ("bad.toml", "\n[log]\nlevel = \"loud\"\n")]
    {
        fs::write(fixture.path(name), text).expect("a file");
        let words = format!("config --check {name}");
        page.push_str(&fixture.run_without_changes(&words, &mut fixture.command(&words)));
    }
    golden::compare("config-check", &page);
}

#[test]
fn watchtowers_settings_become_ours() {
    let fixture = Fixture::new("");
    let inspect = serde_json::json!([{ "Name": "/watchtower", "Config": {
        "Env": ["PATH=/", "TZ=Europe/Berlin", "WATCHTOWER_CLEANUP=true",
                "WATCHTOWER_NOTIFICATION_URL=telegram://secret@telegram"],
        "Cmd": ["--label-enable", "--schedule", "0 0 4 * * *", "--scope=shop"],
    }}]);
    fs::write(fixture.path("inspect.json"), inspect.to_string()).expect("a file");
    let mut page = String::new();
    for words in ["config --from-watchtower inspect.json", "config --from-watchtower missing.json"]
    {
        page.push_str(&fixture.run_without_changes(words, &mut fixture.command(words)));
    }
    assert!(!page.contains("secret"));
    golden::compare("config-from-watchtower", &page);
    let mut command = fixture.command("config --from-watchtower inspect.json");
    let made = command.output().expect("pilotfish").stdout;
    fs::write(fixture.path("made.toml"), made).expect("a file");
    let words = "config --check made.toml";
    let output = fixture.run_without_changes(words, &mut fixture.command(words));
    assert!(output.contains("made.toml is valid."), "{output}\n{page}");
}
