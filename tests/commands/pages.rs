//! The output for scripts: `--json` where it is promised, no colour where it is not wanted, and a
//! reader that closes the pipe early.

use std::process::Stdio;

use pilotfish::core::update::history::Outcome;

use crate::fixture::Fixture;
use crate::golden;
use crate::history::{record, write_history};

#[test]
fn json_is_refused_where_it_is_not_promised() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for words in [
        "run --json",
        "rollback web --json",
        "allow web --json",
        "recover --json",
        "config --json",
        "healthcheck --json",
        "update --json",
    ] {
        page.push_str(&fixture.run_without_changes(words, &mut fixture.command(words)));
        page.push('\n');
    }
    golden::compare("json-refused", &page);
}

#[test]
fn wrong_arguments_are_reported_with_the_usage() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for words in ["chekc", "rollback", "rollback web db", "history web db", "check --wide"] {
        page.push_str(&fixture.run_without_changes(words, &mut fixture.command(words)));
        page.push('\n');
    }
    golden::compare("wrong-words", &page);
}

#[test]
fn a_fleet_needs_a_broker() {
    let fixture = Fixture::new("");
    let mut page = String::new();
    for words in [
        "fleet",
        "fleet go",
        "fleet --url broker.lan stop",
        "fleet --url mqtts://broker.lan --fleet a/b",
        "fleet --json stop",
        "fleet --cert-file client.crt",
        "fleet stop Shop/Till",
    ] {
        page.push_str(&fixture.run_without_changes(words, &mut fixture.command(words)));
        page.push('\n');
    }
    golden::compare("fleet-without-broker", &page);
}

/// The output of the command on a terminal of 80 columns.
fn on_a_terminal(fixture: &Fixture, words: &str, variables: &[(&str, &str)]) -> String {
    let mut script = std::process::Command::new("script");
    let program = fixture.command(words);
    let mut line = format!("stty cols 80; exec {:?}", program.get_program());
    for argument in program.get_args() {
        line.push_str(&format!(" {argument:?}"));
    }
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.envs(variables.iter().copied()).stdin(Stdio::null());
    let output = script.output().expect("script, of util-linux");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn colour_is_only_for_terminals_and_can_be_switched_off() {
    let fixture = Fixture::new("");
    write_history(&fixture, [record("1", Outcome::RolledBack)]);
    let escape = '\u{1b}';
    assert!(on_a_terminal(&fixture, "history", &[]).contains(escape), "no colour on a terminal");
    assert!(!on_a_terminal(&fixture, "history", &[("NO_COLOR", "1")]).contains(escape));
    assert!(!on_a_terminal(&fixture, "history --no-color", &[]).contains(escape));
    assert!(!fixture.run("history").contains(escape), "colour in a pipe");
    assert!(!on_a_terminal(&fixture, "history --json", &[]).contains(escape), "colour in JSON");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let fixture = Fixture::new("");
    write_history(&fixture, [record("1", Outcome::Updated)]);
    for words in ["history", "history --json", "config", "config --check pilotfish.toml", "--help"]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = fixture.command(words).stdout(writer).output().expect("the program");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.as_ref()), (Some(0), ""), "{words}");
    }
}

#[test]
fn an_agent_with_a_closed_log_continues() {
    let fixture = Fixture::new("").with("PILOTFISH_LISTEN_ADDRESS", "");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut agent = fixture.command("run").stderr(writer).spawn().expect("the agent");
    // Without an Engine it already warns at the start.
    let is_well = || fixture.command("healthcheck").stderr(Stdio::null()).status();
    while !is_well().expect("the program").success() {
        let ended = agent.try_wait().expect("the agent's state");
        assert!(ended.is_none(), "the agent ended: {ended:?}");
    }
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("to end it");
    assert!(agent.wait().expect("its end").success());
}

#[test]
fn an_error_with_closed_output_still_sets_the_exit_code() {
    let fixture = Fixture::new("");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = fixture.command("check").stderr(writer).status().expect("the program");
    assert_eq!(status.code(), Some(1));
}
