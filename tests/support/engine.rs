//! A private Engine: see `scripts/private-engine`, which does the work and says how.

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

/// An Engine of the test's own, in a network of its own. Dropping it removes everything; so does
/// the death of the test's process, because a keeper waits for either.
pub struct Engine {
    directory: PathBuf,
    address: IpAddr,
    keeper: Child,
}

impl Engine {
    /// Starts one. The flags are dockerd's.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(flags, |_| {})
    }

    /// Starts one whose directory is furnished beforehand, such as with a disk of its own.
    pub fn start_in(flags: &[&str], furnish: impl FnOnce(&Path)) -> Self {
        assert!(rustix::process::geteuid().is_root(), "tests with a real Engine need root");
        let directory = empty_directory();
        let keeper = keep(&directory);
        furnish(&directory);
        run(script("up", &directory).args(flags));
        let address = fs::read_to_string(directory.join("address")).expect("address of the Engine");
        let address = address.trim().parse().expect("an address");
        Self { directory, address, keeper }
    }

    /// Where the Engine keeps itself, and where tests may keep what belongs to it.
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

    /// A port of the Engine's network, as it is reached from the test.
    pub fn reach(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// This machine, as it is reached from the Engine's network.
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

    /// The `docker` command; gives what it printed.
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

    /// Every container, stopped ones too, as the Engine lists them.
    pub fn containers(&self) -> Vec<Value> {
        let list = self.call("GET", "/containers/json?all=1").succeeded("list").json();
        list.as_array().expect("a list").clone()
    }

    /// Asks the Engine to end, as `systemctl stop docker` would, and waits until it has.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the Engine alone, by `kill -9`. Its containers and their shims live on.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends the Engine, its containers and everything it started at once: a power cut.
    pub fn cut(&self) {
        run(&mut script("cut", &self.directory));
    }

    /// Starts the Engine again after `stop`, `kill` or `cut`.
    pub fn start_again(&self, flags: &[&str]) {
        run(script("start", &self.directory).args(flags));
    }

    /// The Engine's containerd ends with it. An Engine that starts while the old one's containerd
    /// is still a zombie takes it for alive, so its pid file goes too.
    fn signal(&self, signal: Signal) {
        let engine = self.directory.join("engine.pid");
        let containerd = self.directory.join("exec/containerd/containerd.pid");
        let pids = [pid_in(&engine), pid_in(&containerd)];
        kill_process(pids[0], signal).expect("to signal the Engine");
        wait_until("the Engine ends", STOP_TIMEOUT, || pids.into_iter().all(has_ended));
        drop(fs::remove_file(engine));
        drop(fs::remove_file(containerd));
    }

    /// What the Engine last complained about, for a test that failed.
    pub fn complaints(&self) -> String {
        let log = fs::read_to_string(self.directory.join("engine.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Has a file or directory outside of the Engine's own removed together with it.
    pub fn remove_in_the_end(&self, path: &Path) {
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

/// Ended processes whose parent has not asked yet (zombies) count as ended.
pub fn has_ended(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    status.is_err() || status.is_ok_and(|text| text.contains(") Z "))
}

/// Below /var/tmp, because /tmp may be in memory, and short, because it will hold a socket.
fn empty_directory() -> PathBuf {
    TempDir::with_prefix_in("pf-", "/var/tmp").expect("a directory below /var/tmp").keep()
}

/// Starts what will remove the Engine. In a process group of its own: Ctrl-C is not for it.
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
