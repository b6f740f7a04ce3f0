//! A private Engine: its own root, its own network namespace, its own socket.
//!
//! `PILOTFISH_TEST_ENGINE_SOCKET` names the socket of a disposable Engine that already runs, to
//! try another version; otherwise `dockerd` is started and stopped again.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use pilotfish::core::docker::api_version::ApiVersion;

/// How long an Engine may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a starting Engine is asked whether it answers.
const START_POLL: Duration = Duration::from_millis(50);

/// An Engine that only this test uses.
pub struct Engine {
    socket: PathBuf,
    /// The version that requests carry: at most the last one that tells configured MAC addresses.
    pub api: ApiVersion,
    /// What it calls itself.
    pub version: String,
    daemon: Option<Daemon>,
}

/// The process and the directory of an Engine that was started here.
struct Daemon {
    process: Child,
    directory: tempfile::TempDir,
}

impl Engine {
    /// Starts an Engine, or finds the one that the environment names.
    pub fn start() -> Self {
        if let Some(socket) = std::env::var_os("PILOTFISH_TEST_ENGINE_SOCKET") {
            return Self::at(PathBuf::from(socket), None);
        }
        let directory = tempfile::Builder::new().prefix("fidelity").tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = fs::File::create(path("log")).expect("a log file");
        // In a mount namespace of its own, what the Engine leaves mounted goes when it goes.
        let process = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "sh",
                "-c",
                "ip link set lo up && exec dockerd \"$@\"",
                "dockerd",
            ])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid"), "--host", &format!("unix://{}", path("s"))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd can be started: it takes root and Debian's docker.io");
        let socket = directory.path().join("s");
        Self::at(socket, Some(Daemon { process, directory }))
    }

    fn at(socket: PathBuf, daemon: Option<Daemon>) -> Self {
        let api = ApiVersion::V1_41;
        let mut engine = Self { socket, api, version: String::new(), daemon };
        let deadline = Instant::now() + START_TIMEOUT;
        let version = loop {
            match engine.try_request("GET", "/version", None) {
                Ok((200, version)) => break version,
                _ if Instant::now() > deadline => panic!("no Engine: {}", engine.log()),
                _ => std::thread::sleep(START_POLL),
            }
        };
        let text = |key: &str| version[key].as_str().expect("a text").to_owned();
        let newest: ApiVersion = text("ApiVersion").parse().expect("a version");
        engine.api = newest.min(ApiVersion::V1_51);
        engine.version = text("Version");
        engine
    }

    fn log(&self) -> String {
        let log = self.daemon.as_ref().map(|daemon| daemon.directory.path().join("log"));
        log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default()
    }

    /// Sends a request; the answer is null where it is not JSON.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.try_request(method, path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Sends a request that must succeed.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        match self.request(method, path, body) {
            (200..=304, answer) => Ok(answer),
            (status, answer) => Err(format!("{method} {path}: {status} {answer}")),
        }
    }

    /// HTTP/1.0, so that the answer ends where the connection does.
    fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = UnixStream::connect(&self.socket)?;
        write!(
            stream,
            "{method} /v{}{path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.api,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, serde_json::from_str(body).unwrap_or_default()))
    }

    /// Runs the `docker` command against this Engine.
    pub fn docker<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        Command::new("docker")
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .args(arguments)
            .output()
            .expect("the docker command can be run")
    }

    /// Runs the `docker` command, which must succeed; what it printed.
    ///
    /// An option that the Engine says it discarded is a failure too: nothing was tried.
    pub fn try_docker<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, String> {
        let output = self.docker(arguments);
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() && !error.contains("discarded") {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        Err(format!("docker {}: {error}", words.join(" ")))
    }

    /// Builds an image from a directory with a Dockerfile.
    pub fn build(&self, tag: &str, context: &Path, dockerfile: &str) {
        let file = context.join("Dockerfile");
        fs::write(&file, dockerfile).expect("the Dockerfile can be written");
        let context = context.display().to_string();
        let built = self.try_docker(&["build", "--quiet", "--tag", tag, &context]);
        built.unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        // SIGTERM stops its containers and its containerd as well.
        if let Some(pid) = i32::try_from(daemon.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = daemon.process.wait();
    }
}
