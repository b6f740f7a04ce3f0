//! What scripts rely on: `--json` where it is promised, no colour where it is not wanted, and a
//! reader who leaves early.

use std::process::Stdio;

use pilotfish::core::update::history::Outcome;

use crate::fixture::Stage;
use crate::golden;
use crate::history::{record, remember};

#[test]
fn json_is_refused_where_it_is_not_promised() {
    let stage = Stage::new("");
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
        page.push_str(&stage.told_without_a_trace(words, &mut stage.command(words)));
        page.push('\n');
    }
    golden::compare("json-refused", &page);
}

#[test]
fn wrong_words_are_named_with_the_usage() {
    let stage = Stage::new("");
    let mut page = String::new();
    for words in ["chekc", "rollback", "rollback web db", "history web db", "check --wide"] {
        page.push_str(&stage.told_without_a_trace(words, &mut stage.command(words)));
        page.push('\n');
    }
    golden::compare("wrong-words", &page);
}

/// What the command prints on a terminal of 80 columns.
fn on_a_terminal(stage: &Stage, words: &str, variables: &[(&str, &str)]) -> String {
    let mut script = std::process::Command::new("script");
    let program = stage.command(words);
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
fn colour_is_for_terminals_alone_and_for_nobody_who_does_not_want_it() {
    let stage = Stage::new("");
    remember(&stage, [record("1", Outcome::RolledBack)]);
    let escape = '\u{1b}';
    assert!(on_a_terminal(&stage, "history", &[]).contains(escape), "no colour on a terminal");
    assert!(!on_a_terminal(&stage, "history", &[("NO_COLOR", "1")]).contains(escape));
    assert!(!on_a_terminal(&stage, "history --no-color", &[]).contains(escape));
    assert!(!stage.told("history").contains(escape), "colour in a pipe");
    assert!(!on_a_terminal(&stage, "history --json", &[]).contains(escape), "colour in JSON");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let stage = Stage::new("");
    remember(&stage, [record("1", Outcome::Updated)]);
    for words in ["history", "history --json", "config", "config --check pilotfish.toml", "--help"]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = stage.command(words).stdout(writer).output().expect("the program");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.as_ref()), (Some(0), ""), "{words}");
    }
}

#[test]
fn an_agent_whose_log_nobody_reads_goes_on() {
    let stage = Stage::new("").with("PILOTFISH_LISTEN_ADDRESS", "");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut agent = stage.command("run").stderr(writer).spawn().expect("the agent");
    // Without an Engine it warns at the start already.
    let is_well = || stage.command("healthcheck").stderr(Stdio::null()).status();
    while !is_well().expect("the program").success() {
        let ended = agent.try_wait().expect("the agent's state");
        assert!(ended.is_none(), "the agent ended: {ended:?}");
    }
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("to end it");
    assert!(agent.wait().expect("its end").success());
}

#[test]
fn an_error_that_nobody_reads_is_still_its_exit_code() {
    let stage = Stage::new("");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = stage.command("check").stderr(writer).status().expect("the program");
    assert_eq!(status.code(), Some(1));
}
