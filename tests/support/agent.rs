//! The agent: the `pilotfish` binary, started in the network of a private Engine with its own
//! configuration and state directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::command::wait_for;
use crate::support::engine::Engine;
use crate::support::http::Peer;

/// The listen port of a running agent in these tests.
pub const METRICS_PORT: u16 = 9788;

/// Longer than any update of the tests: a pull, a stop, `health.timeout`, `health.stable`, and all
/// of it three times.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// Another program to be tested as the agent, such as one for another architecture behind an
/// emulator (`make test-arm`).
pub const OTHER_AGENT: &str = "TEST_AGENT";

/// An installation of the agent: its configuration and its state directory.
pub struct Agent {
    directory: PathBuf,
    state: PathBuf,
    /// The program to start. The measurements put the release binary here.
    pub binary: PathBuf,
    settings: String,
    /// A file with the machine's boot ID, if a test simulates boots.
    boot_id: Option<PathBuf>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

/// A running agent; killed when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Agent {
    /// Installs an agent for the Engine. The settings are appended to the configuration and may
    /// begin with keys of `[schedule]`, its last table.
    pub fn install(engine: &Engine, settings: &str) -> Self {
        Self::install_as("agent", engine, settings)
    }

    /// Installs another agent for the Engine, independent of the others.
    pub fn install_as(name: &str, engine: &Engine, settings: &str) -> Self {
        let directory = engine.directory().join(name);
        fs::create_dir_all(&directory).expect("the agent's directory");
        let other = std::env::var_os(OTHER_AGENT).map(PathBuf::from);
        let binary = other.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pilotfish")));
        let state = directory.join("state");
        let agent = Self { directory, state, binary, settings: settings.to_owned(), boot_id: None };
        agent.connect_to(&engine.socket());
        agent
    }

    /// Writes the configuration, for an Engine at this socket.
    pub fn connect_to(&self, socket: &Path) {
        let configuration = format!(
            "state_dir = {:?}\n\
             time_zone = \"UTC\"\n\
             docker_host = \"unix://{}\"\n\
             [listen]\n\
             address = \"0.0.0.0:{METRICS_PORT}\"\n\
             [schedule]\n\
             {}\n",
            self.state(),
            socket.display(),
            self.settings,
        );
        fs::write(self.directory.join("pilotfish.toml"), configuration).expect("configuration");
    }

    /// Writes the configuration with other settings.
    pub fn set(&mut self, engine: &Engine, settings: &str) {
        settings.clone_into(&mut self.settings);
        self.connect_to(&engine.socket());
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// Sets another state directory, from the next `connect_to` on.
    pub fn keep_state_in(&mut self, directory: &Path) {
        directory.clone_into(&mut self.state);
    }

    /// Runs a command to its end.
    pub fn run(&self, engine: &Engine, arguments: &[&str]) -> Finished {
        self.spawn(engine, arguments).finish()
    }

    /// Runs a command to its end, with these variables in its environment.
    pub fn run_with(
        &self,
        engine: &Engine,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Finished {
        let mut command = engine.command(&self.binary);
        command.envs(variables.iter().copied());
        command.arg("--config").arg(self.directory.join("pilotfish.toml")).args(arguments);
        Running::start(command, &self.directory).finish()
    }

    /// Starts a command and returns while it runs.
    pub fn spawn(&self, engine: &Engine, arguments: &[&str]) -> Running {
        let mut command = match &self.boot_id {
            None => engine.command(&self.binary),
            Some(boot_id) => self.after_another_boot(engine, boot_id),
        };
        command.arg("--config").arg(self.directory.join("pilotfish.toml")).args(arguments);
        Running::start(command, &self.directory)
    }

    /// From now on this file has the machine's boot ID.
    pub fn read_boot_id_from(&mut self, file: &Path) {
        self.boot_id = Some(file.to_owned());
    }

    /// The agent in its own mount namespace, in which it reads that boot ID.
    fn after_another_boot(&self, engine: &Engine, boot_id: &Path) -> Command {
        let mut command = engine.command("unshare");
        let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(boot_id).arg(&self.binary);
        command
    }

    /// Runs a command that prints JSON. Exit codes that only describe containers are accepted.
    pub fn json(&self, engine: &Engine, arguments: &[&str]) -> Value {
        let finished = self.run(engine, arguments);
        serde_json::from_str(&finished.out)
            .unwrap_or_else(|error| panic!("no JSON ({error}) from {arguments:?}: {finished:?}"))
    }

    /// The row of a container in `check --json`.
    pub fn check(&self, engine: &Engine, container: &str) -> Value {
        let document = self.json(engine, &["check", "--json"]);
        let rows = document["containers"].as_array().expect("containers");
        let row = rows.iter().find(|row| row["container"] == container);
        row.unwrap_or_else(|| panic!("{container} is missing in {document:#}")).clone()
    }

    /// The records of a container in `history --json`, newest first.
    pub fn history(&self, engine: &Engine, container: &str) -> Vec<Value> {
        let document = self.json(engine, &["history", container, "--json"]);
        document["updates"].as_array().expect("updates").clone()
    }

    /// The files of the journals of updates in flight.
    pub fn journals(&self) -> Vec<PathBuf> {
        journals_in(&self.state().join("journal"))
    }

    /// The entries of the journal of the update in flight, oldest first, without the header.
    pub fn entries(&self) -> Vec<Value> {
        self.journals().first().map(|journal| read_journal(journal).1).unwrap_or_default()
    }

    /// The entries of every open journal, by each container that its header names.
    pub fn entries_by_container(&self) -> BTreeMap<String, Vec<Value>> {
        open_journals(&self.state().join("journal"))
    }
}

/// The entries of every journal in a directory, by the container that its header names, or by
/// each member if it is that of a group.
pub fn open_journals(directory: &Path) -> BTreeMap<String, Vec<Value>> {
    let journals = journals_in(directory).into_iter().map(|journal| read_journal(&journal));
    let named = journals.flat_map(|(header, entries)| {
        let plan = &header["plan"];
        let members = plan["members"].as_array().filter(|_| plan["group"].is_string());
        let members = members.into_iter().flatten().map(|member| &member["container"]);
        let names = members.chain([&plan["container"]]).filter_map(Value::as_str);
        names.map(|name| (name.to_owned(), entries.clone())).collect::<Vec<_>>()
    });
    named.collect()
}

fn journals_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect()
}

/// The header of a journal, and its entries, oldest first. A torn line is left out.
fn read_journal(path: &Path) -> (Value, Vec<Value>) {
    let journal = fs::read_to_string(path).unwrap_or_default();
    let mut lines = journal.lines();
    let header = lines.next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    (header, lines.filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Whether the journal's entry says that the step has begun.
pub fn begins_step(entry: &Value, step: &str) -> bool {
    entry["step"] == step && entry["mark"] == "started"
}

impl Running {
    fn start(mut command: Command, directory: &Path) -> Self {
        let files = tempfile::tempdir_in(directory).expect("a directory for output").keep();
        let (out, err) = (files.join("out"), files.join("err"));
        command.stdout(File::create(&out).expect("out")).stderr(File::create(&err).expect("err"));
        let child = command.spawn().expect("the agent");
        Self { child, out, err }
    }

    /// The process itself, because the command that starts it calls `exec`.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// `kill -9`; returns after the process is gone. Returns whether it was still running.
    pub fn kill(mut self) -> bool {
        drop(self.child.kill());
        let status = self.child.wait().expect("the agent's end");
        status.signal() == Some(Signal::KILL.as_raw())
    }

    /// SIGTERM, as systemd and Docker send it; returns the result.
    pub fn terminate(self) -> Finished {
        kill_process(self.pid(), Signal::TERM).expect("to signal the agent");
        self.finish()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the agent's state").is_none()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Its output and its log so far.
    pub fn all_output(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default() + &self.log()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        let status = wait_for("the agent ends", COMMAND_TIMEOUT, || {
            self.child.try_wait().expect("the agent's state")
        });
        let out = fs::read_to_string(&self.out).expect("out");
        Finished { status, out, err: self.log() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Finished {
    /// The exit code; an agent that was ended by a signal fails the test.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Fails the test, with the output, unless the exit code is this one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code() == code, "exit code {code} was expected:\n{}{}", self.out, self.err);
        self
    }
}

/// The page of the Engine's running agent at a path, such as `/metrics`, once it answers.
pub fn scrape(engine: &Engine, path: &str) -> String {
    let peer = Peer::Tcp(engine.address_of(METRICS_PORT));
    let answer = wait_for("the agent answers", COMMAND_TIMEOUT, || peer.get(path).ok());
    answer.succeeded(path).text()
}
