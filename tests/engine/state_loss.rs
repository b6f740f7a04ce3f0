//! A state directory that lost data or cannot be written while a service is down. The rollback
//! needs no new bytes, and no journal line after a damaged one is trusted.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Pi;
use crate::support::command::run;
use crate::support::images::Release;

/// A mount at a directory; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn mount(words: &[&str], point: &Path) -> Self {
        run(Command::new("mount").args(words).arg(point));
        Self(point.to_owned())
    }

    /// The same directory, mounted read-only.
    fn read_only(point: &Path) -> Self {
        let this = Self::mount(&["--bind", &point.to_string_lossy()], point);
        run(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(point));
        this
    }

    /// A small file system.
    fn small(point: &Path) -> Self {
        fs::create_dir_all(point).expect("a directory");
        Self::mount(&["-t", "tmpfs", "-o", "size=128k,mode=700", "tmpfs"], point)
    }

    fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).expect("the filler");
        let mut piece = vec![0; 4096];
        while !piece.is_empty() {
            if filler.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// The agent is killed during a verification, and then the new container stops: nothing serves.
fn killed_in_the_gap(pi: &Pi) {
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &["--label=pilotfish.health.stable=8s"]);
    pi.registry.publish("till", &Release::new("2"));
    assert!(pi.update_until("verify").kill(), "the agent was killed during verification");
    pi.engine.docker(&["stop", "--time=1", "till"]);
    assert_eq!(pi.serving(8080), None);
}

/// Without writing a byte: the service is restored, the error is reported, and no other update
/// begins.
fn assert_restored(pi: &Pi) {
    let output = pi.agent.run(&pi.engine, &["recover"]);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"), "{}{}", output.out, output.err);
    let log = format!("{}{}", output.out, output.err);
    let is_said = ["nothing can be remembered in", "No space left"].map(|it| log.contains(it));
    assert!(is_said.contains(&true), "{log}");
    pi.registry.publish("till", &Release::new("3"));
    pi.agent.run(&pi.engine, &["update"]);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert!(!pi.names().iter().any(|name| name.contains("pilotfish-new")), "{:?}", pi.names());
}

/// Once the disk works again, the open update is closed and the next release is applied.
fn assert_next_update_succeeds(pi: &Pi) {
    pi.update(&[]).expect_code(0);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 3"));
    assert!(pi.agent.journals().is_empty());
}

#[test]
fn a_state_directory_that_became_read_only_in_the_gap_keeps_no_service_down() {
    let pi = Pi::new();
    killed_in_the_gap(&pi);
    let mounted = Mounted::read_only(&pi.agent.state());
    assert_restored(&pi);
    drop(mounted);
    assert_next_update_succeeds(&pi);
}

#[test]
fn a_state_directory_that_is_full_in_the_gap_keeps_no_service_down() {
    let mut pi = Pi::new();
    let point = pi.agent.state().with_file_name("small");
    let mounted = Mounted::small(&point);
    pi.agent.keep_state_in(&point);
    pi.agent.connect_to(&pi.engine.socket());
    killed_in_the_gap(&pi);
    mounted.fill();
    assert_restored(&pi);
    fs::remove_file(point.join("filler")).expect("room again");
    assert_next_update_succeeds(&pi);
}

#[test]
fn a_journal_damaged_in_the_middle_causes_a_rollback_and_foreign_files_stay() {
    let pi = Pi::new();
    killed_in_the_gap(&pi);
    let journal = pi.agent.journals().pop().expect("an open journal");
    let mut lines: Vec<Vec<u8>> =
        fs::read(&journal).expect("it").split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let middle = lines.len() / 2;
    lines[middle].fill(0);
    fs::write(&journal, lines.join(&b'\n')).expect("the damage");
    let foreign = journal.with_file_name("notes.jsonl");
    fs::write(&foreign, "mine\n").expect("a foreign file");
    let mode = || fs::metadata(&foreign).expect("it stays").permissions();
    let mode_before = mode();

    pi.agent.run(&pi.engine, &["recover"]).expect_code(0);

    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    let history = pi.history("till");
    assert_eq!(history[0]["outcome"], "interrupted", "{history:?}");
    assert!(history[0]["reason"].as_str().unwrap_or_default().contains("damaged"), "{history:?}");
    assert_eq!(fs::read_to_string(&foreign).expect("it stays"), "mine\n");
    assert_eq!(mode(), mode_before);
    assert!(!journal.exists());
}
