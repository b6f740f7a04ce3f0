//! The same figures for freshdock, another updater, in the same run, for comparison.
//!
//! It runs as its users run it, `freshdock run`, on the same kind of Pi with the same container and
//! the same registry, and is observed only from outside.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::Pid;

use crate::follower::{Follower, follow};
use crate::support::{Pi, QUIET};

/// The variable with the path of the program.
const PROGRAM: &str = "FRESHDOCK";

/// The beginning of its rows.
pub const NAME: &str = "freshdock";

/// What opts a container in, with updates at once.
const WATCHED: [&str; 2] = ["--label=freshdock.enable=true", "--label=freshdock.mode=live"];

/// Its default: between two polls it checks this often whether anything is due.
const TICK: &str = "60";

/// Its shortest interval, in seconds. A poll that is not quite due waits for one more interval, so
/// its rounds come every second or every other second.
const SHORTEST: &str = "1";

/// Longer than the measurement, in seconds.
const NEVER: &str = "3600000";

/// freshdock while it runs; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The program, if it is installed.
pub fn program() -> Option<PathBuf> {
    let program = env::var_os(PROGRAM).map(PathBuf::from).filter(|path| path.exists());
    if program.is_none() {
        eprintln!("  {NAME} is not measured: {PROGRAM} names no program");
    }
    program
}

/// One that has nothing to do after its first round.
pub fn at_rest(program: &Path) -> Follower {
    start(program, NEVER, TICK)
}

/// One that runs rounds as fast as it can.
pub fn at_work(program: &Path) -> Follower {
    start(program, SHORTEST, SHORTEST)
}

/// On its own Pi, where it trusts the registry's authority.
fn start(program: &Path, interval: &str, tick: &str) -> Follower {
    let mut pi = Pi::with(&[], QUIET);
    let authority = follow(&mut pi, &WATCHED);
    let mut command = pi.engine.command(program);
    command.args(["--no-color", "run", "--interval", interval, "--tick", tick]);
    command.env("DOCKER_HOST", pi.engine.host()).env("SSL_CERT_FILE", authority).current_dir("/");
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().expect(NAME));
    let process = Pid::from_child(&running.0);
    Follower { name: NAME, process, _running: Box::new(running), pi }
}
