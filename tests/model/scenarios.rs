//! `tests/scenarios/*.txt`: a script and its expected transcript, compared as a whole.
//!
//! The script is above the line `---`, the expected transcript below it. `PILOTFISH_BLESS=1` writes
//! the present transcript; read the difference before you commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilotfish::agent::{RoundEnd, RoundRequest};
use pilotfish::core::decide::report::Report;

use crate::engine::documents::word;
use crate::invariants::Leniency;
use crate::machine::Machine;
use crate::script::{Command, command};
use crate::session::{End, Job, live};

const RULE: &str = "\n---\n";

#[tokio::test(start_paused = true)]
async fn every_scenario_has_its_expected_transcript() {
    let mut wrong = Vec::new();
    for path in scenarios() {
        let text = fs::read_to_string(&path).expect("a scenario");
        let (script, expected) = text.split_once(RULE).unwrap_or((text.trim_end(), ""));
        let got = play(script).await;
        if std::env::var_os("PILOTFISH_BLESS").is_some() {
            fs::write(&path, format!("{script}{RULE}{got}")).expect("written");
        } else if got != expected {
            wrong.push(format!("{}\n{}", path.display(), difference(expected, &got)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn scenarios() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(directory).expect("the scenarios");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no scenarios");
    paths
}

/// The first lines that differ, with their context.
fn difference(expected: &str, got: &str) -> String {
    let same = expected.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| -> String {
        let lines = text.lines().skip(same.saturating_sub(3)).take(9);
        lines.map(|line| format!("    {line}\n")).collect()
    };
    format!("  expected:\n{}  got:\n{}", around(expected), around(got))
}

async fn play(script: &str) -> String {
    let machine = Machine::new();
    let mut leniency = Leniency::default();
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("allow ") {
            Some(words) => leniency = parse_leniency(words),
            None => execute(&machine, command(line)).await,
        }
    }
    for violation in machine.invariants(leniency) {
        machine.log(format!("VIOLATION {violation}"));
    }
    let mut text = machine.lock().log.join("\n");
    text.push('\n');
    text
}

fn parse_leniency(words: &str) -> Leniency {
    Leniency {
        may_be_down: words.contains("may-be-down"),
        no_history: words.contains("no-history"),
        is_stuck: words.contains("stuck"),
        is_replaced: words.contains("replaced"),
        may_have_our_policy: words.contains("may-have-our-policy"),
        may_be_old: words.contains("may-be-old"),
    }
}

async fn execute(machine: &Arc<Machine>, command: Command) {
    match command {
        Command::ContainerdStore => machine.lock().engine.containerd_store = true,
        Command::LiveRestore => machine.lock().engine.live_restore = true,
        Command::AnotherDisk => machine.lock().shares_a_disk = false,
        Command::Free(bytes) => machine.lock().free_bytes = bytes,
        Command::Image(image) => machine.lock().registry.built(*image),
        Command::Run(command) => machine.run_service(&command),
        Command::Build(tag, image) => machine.build(&tag, &image),
        Command::Hook(hook) => machine.lock().hooks.push(hook),
        Command::AtStep(step, after, fault) => machine.lock().at_steps.push((step, after, fault)),
        Command::Now(fault) => machine.inject(fault),
        Command::Wait(time) => wait(machine, time).await,
        Command::Agent(time) => log_end(machine, live(machine, Job::Run(time)).await),
        Command::Round { force, by_name, dry_run } => {
            let request =
                RoundRequest { force, tries_at_once: by_name, dry_run, ..RoundRequest::default() };
            log_end(machine, live(machine, Job::Round(request)).await);
        }
        Command::Show => show(machine),
    }
}

/// Time passes without an agent.
async fn wait(machine: &Machine, time: Duration) {
    tokio::time::sleep(time).await;
    machine.with(|_, _| {});
}

fn log_end(machine: &Machine, end: End) {
    match end {
        End::Over => machine.log("the agent ends"),
        End::Round(Ok(end)) => log_round(machine, &end),
        End::Round(Err(error)) => machine.log(format!("the round could not run: {error}")),
        End::Refused(error) => machine.log(format!("the agent cannot begin: {error}")),
        // The transcript already names the fault.
        End::Pushed(end) => machine.log(end),
        End::Crash(_) => {}
    }
}

fn log_round(machine: &Machine, end: &RoundEnd) {
    for plan in &end.outlines {
        machine.log(format!("{} would be updated", plan.subject));
    }
    for report in &end.reports {
        machine.log(in_words(report));
    }
}

fn in_words(report: &Report) -> String {
    let mut text = format!("{} is {}", report.subject, report.verdict.word());
    if let Some(reason) = report.reason {
        // Writing to a String cannot fail.
        let _ = write!(text, " ({reason})");
    }
    if let Some(detail) = &report.detail {
        let _ = write!(text, ": {detail}");
    }
    text
}

/// Prints the state of the Engine and the disk.
fn show(machine: &Machine) {
    let (containers, images, files) = machine.with(|state, _| {
        let engine = &state.engine;
        let mut containers: Vec<_> = engine
            .containers()
            .map(|it| {
                let image = &engine.stored.images[&it.image].spec.name;
                let (name, phase, policy) = (&it.name, word(it.phase), &it.policy.name);
                format!("= {name} is {} on {image}, {phase}, restart {policy}", it.alias)
            })
            .collect();
        containers.sort();
        let mut images: Vec<_> = engine
            .stored
            .images
            .values()
            .map(|image| {
                let tags: Vec<_> = image.tags.keys().cloned().collect();
                format!("= image {}: {}", image.spec.name, engine.in_words(&tags.join(" ")))
            })
            .collect();
        images.sort();
        let files = state.files.paths().map(|path| format!("= file {}", path.display()));
        (containers, images, files.collect::<Vec<_>>())
    });
    for line in containers.into_iter().chain(images).chain(files) {
        machine.log(line);
    }
}
