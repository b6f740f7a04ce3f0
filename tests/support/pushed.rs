//! A Pi whose agent takes pushes, with the certificates of the script that users run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::{Finished, METRICS_PORT, Running};
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET};

/// Longer than a push with its update, on a slow machine.
pub const PUSHED: Duration = Duration::from_secs(120);

/// A Pi whose agent takes pushes, the certificates, and archives of images.
pub struct PushedPi {
    pub pi: Pi,
    pub files: PathBuf,
    pub agent: Option<Running>,
}

impl PushedPi {
    /// Runs the agent with these deployments; a client `ci` may do everything.
    pub fn new(deployments: &str, schedule: &str) -> Self {
        Self::on(Pi::with(&[], QUIET), deployments, schedule)
    }

    /// The same on this Pi.
    pub fn on(mut pi: Pi, deployments: &str, schedule: &str) -> Self {
        let files = install(&mut pi, deployments, schedule);
        Self { pi, files, agent: None }
    }

    pub fn run(&mut self) {
        self.agent = Some(self.pi.agent.spawn(&self.pi.engine, &["run"]));
        wait_until("the agent is ready", PUSHED, || is_ready(&self.pi));
    }

    /// See the function `save`.
    pub fn save(&self, release: &Release, name: &str) -> PathBuf {
        save(&self.pi, &self.files, release, name).0
    }

    pub fn push(&self, name: &str, archive: &Path, flags: &[&str]) -> Finished {
        begin_push(&self.pi, &self.files, name, archive, flags).finish()
    }

    /// curl as the client `ci`.
    pub fn client(&self) -> Command {
        let client = self.files.join("certificates/ci");
        let mut curl = self.pi.engine.command("curl");
        curl.args(["-sS", "--max-time", "100", "--cacert"]).arg(client.join("ca.crt"));
        curl.arg("--cert").arg(client.join("client.crt"));
        curl.arg("--key").arg(client.join("client.key"));
        curl
    }

    /// The status and the body.
    pub fn curl(&self, words: &[&str], at: &str) -> (String, String) {
        let mut curl = self.client();
        curl.args(["-w", "\n%{http_code}"]).args(words).arg(address(at));
        let output: Output = curl.output().expect("curl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').expect("a status");
        (status.to_owned(), body.to_owned())
    }

    pub fn show(&self, name: &str) -> Value {
        let (status, body) = self.curl(&[], &format!("/v1/deployments/{name}"));
        assert_eq!(status, "200", "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// A path of the push API as a URL.
pub fn address(path: &str) -> String {
    format!("https://127.0.0.1:9790{path}")
}

/// Writes the certificates, and the settings of the agent with these deployments. Returns the
/// directory with the certificates.
pub fn install(pi: &mut Pi, deployments: &str, schedule: &str) -> PathBuf {
    let files = pi.engine.directory().join("push");
    fs::create_dir_all(&files).expect("a directory");
    for words in [
        &["init"][..],
        &["device", "pi", "localhost", "127.0.0.1"],
        &["client", "ci", "revoked"],
        &["revoke", "revoked"],
    ] {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/push/pki");
        let output = Command::new(script).args(words).current_dir(&files).output();
        let output = output.expect("bash and openssl");
        assert!(output.status.success(), "{output:?}");
    }
    let device = files.join("certificates/pi");
    let device = device.display();
    let settings = format!(
        "{schedule}\n[push]\naddress = \"127.0.0.1:9790\"\ncert_file = \"{device}/server.crt\"\n\
         key_file = \"{device}/server.key\"\nclient_ca_file = \"{device}/client-ca.crt\"\n\
         crl_file = \"{device}/crl.pem\"\n[[push.allow]]\nclient = \"uri:pilotfish://push/ci\"\n\
         deployments = [\"*\"]\nacts = [\"*\"]\n[health]\ntimeout = \"8s\"\nstable = \"1s\"\n\
         {deployments}"
    );
    pi.agent.set(&pi.engine, &settings);
    files
}

/// Whether the running agent is ready.
pub fn is_ready(pi: &Pi) -> bool {
    let pages = Peer::Tcp(pi.engine.address_of(METRICS_PORT));
    pages.get("/readyz").is_ok_and(|answer| answer.status == 200)
}

/// `docker save` of a release, which the Engine then forgets.
pub fn save(pi: &Pi, files: &Path, release: &Release, name: &str) -> (PathBuf, Published) {
    let published = pi.registry.publish("pushed", release);
    let by_digest = format!("{}@{}", published.reference.replace(":latest", ""), published.digest);
    pi.engine.docker(&["pull", "--quiet", &by_digest]);
    let tag = format!("{name}:latest");
    let before = pi.engine.call("GET", &format!("/images/{tag}/json"));
    pi.engine.docker(&["tag", &by_digest, "pushed-by-hand:latest"]);
    let archive = files.join(format!("{name}.tar"));
    pi.engine.docker(&["save", "--output", path(&archive), "pushed-by-hand:latest"]);
    pi.engine.docker(&["image", "rm", "pushed-by-hand:latest"]);
    let _ = pi.engine.call("DELETE", &format!("/images/{by_digest}"));
    assert_eq!(pi.engine.call("GET", &format!("/images/{tag}/json")).status, before.status);
    (archive, published)
}

/// Starts `pilotfish push`, as the client `ci`.
pub fn begin_push(pi: &Pi, files: &Path, name: &str, archive: &Path, flags: &[&str]) -> Running {
    let certificates = files.join("certificates/ci");
    let mut words = vec!["push", name, path(archive), "--to", "https://127.0.0.1:9790"];
    words.extend(["--certificates", path(&certificates)]);
    words.extend(flags);
    pi.agent.spawn(&pi.engine, &words)
}
