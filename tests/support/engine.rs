//! A private Engine: see `scripts/private-engine`, which starts and describes it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{run, wait_until};
use crate::support::http::{Answer, Peer};

/// An Engine stops its containers before it ends, ten seconds each at worst.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A private Engine in its own network. Dropping it removes everything. So does the death of the
/// test's process, because a keeper process waits for both.
pub struct Engine {
    directory: PathBuf,
    address: IpAddr,
    keeper: Child,
}

impl Engine {
    /// Starts an Engine. The flags are dockerd's.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(flags, |_| {})
    }

    /// Starts an Engine whose directory is prepared before, such as with its own disk.
    pub fn start_in(flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        assert!(rustix::process::geteuid().is_root(), "tests with a real Engine need root");
        let directory = empty_directory();
        let keeper = keep(&directory);
        prepare(&directory);
        run(script("up", &directory).args(flags));
        let address = fs::read_to_string(directory.join("address")).expect("address of the Engine");
        let address = address.trim().parse().expect("an address");
        Self { directory, address, keeper }
    }

    /// The Engine's directory, where tests may put their files too.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `unix://…`, as in `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// The address of a port in the Engine's network, as seen from the test.
    pub fn address_of(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// The address of this machine, as seen from the Engine's network.
    pub fn gateway(&self) -> IpAddr {
        let route = run(self.command("ip").args(["route", "show", "default"]));
        let gateway = route.split(' ').nth(2).expect("a default route");
        gateway.parse().expect("an address")
    }

    /// A command that will run inside the Engine's network.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = script("run", &self.directory);
        command.arg(program.as_ref());
        command
    }

    /// Runs the `docker` command; returns its output.
    pub fn docker(&self, arguments: &[&str]) -> String {
        run(Command::new("docker").env("DOCKER_HOST", self.host()).args(arguments))
    }

    /// One call of the Engine's API.
    pub fn call(&self, method: &str, path: &str) -> Answer {
        let answer = Peer::Unix(self.socket()).request(method, path, &[], b"");
        answer.unwrap_or_else(|error| panic!("{method} {path}: the Engine is gone: {error}"))
    }

    /// The inspect document of a container, by ID or exact name, if there is one.
    pub fn inspect(&self, container: &str) -> Option<Value> {
        let answer = self.call("GET", &format!("/containers/{container}/json"));
        (answer.status != 404).then(|| answer.succeeded("inspect").json())
    }

    /// Every container, stopped ones too, from the Engine's list.
    pub fn containers(&self) -> Vec<Value> {
        let list = self.call("GET", "/containers/json?all=1").succeeded("list").json();
        list.as_array().expect("a list").clone()
    }

    /// Stops the Engine like `systemctl stop docker`, and waits for its end.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills only the Engine, with `kill -9`. Its containers and their shims keep running.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Kills the Engine, its containers and everything it started at once: a power cut.
    pub fn cut(&self) {
        run(&mut script("cut", &self.directory));
    }

    /// Starts the Engine again after `stop`, `kill` or `cut`.
    pub fn start_again(&self, flags: &[&str]) {
        run(script("start", &self.directory).args(flags));
    }

    /// The Engine's containerd ends with it. A new Engine that finds the old containerd as a zombie
    /// would consider it alive, so its pid file is removed too.
    fn signal(&self, signal: Signal) {
        let engine = self.directory.join("engine.pid");
        let containerd = self.directory.join("exec/containerd/containerd.pid");
        let pids = [pid_in(&engine), pid_in(&containerd)];
        kill_process(pids[0], signal).expect("to signal the Engine");
        wait_until("the Engine ends", STOP_TIMEOUT, || pids.into_iter().all(has_ended));
        drop(fs::remove_file(engine));
        drop(fs::remove_file(containerd));
    }

    /// The last errors in the Engine's log, for a failed test.
    pub fn last_errors(&self) -> String {
        let log = fs::read_to_string(self.directory.join("engine.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Removes a file or directory outside the Engine's own together with the Engine.
    pub fn remove_on_drop(&self, path: &Path) {
        let list = self.directory.join("remove");
        let mut list = OpenOptions::new().append(true).create(true).open(list).expect("list");
        writeln!(list, "{}", path.display()).expect("list");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

fn pid_in(file: &Path) -> Pid {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    text.trim().parse().ok().and_then(Pid::from_raw).expect("a process id")
}

/// A zombie, whose parent has not waited for it yet, counts as ended.
pub fn has_ended(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    status.is_err() || status.is_ok_and(|text| text.contains(") Z "))
}

/// Below /var/tmp, because /tmp may be in memory, and short, because it will hold a socket.
fn empty_directory() -> PathBuf {
    TempDir::with_prefix_in("pf-", "/var/tmp").expect("a directory below /var/tmp").keep()
}

/// Starts the keeper, which will remove the Engine, in its own process group, so that Ctrl-C does
/// not reach it.
fn keep(directory: &Path) -> Child {
    script("keep", directory)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("scripts/private-engine")
}

fn script(what: &str, directory: &Path) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/private-engine");
    let mut command = Command::new(path);
    command.arg(what).arg(directory);
    command
}
