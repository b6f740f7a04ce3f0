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
        Self { pi, files, agent: None }
    }

    pub fn run(&mut self) {
        self.agent = Some(self.pi.agent.spawn(&self.pi.engine, &["run"]));
        let pages = self.pi.engine.address_of(METRICS_PORT);
        let is_ready = || Peer::Tcp(pages).get("/readyz").is_ok_and(|answer| answer.status == 200);
        wait_until("the agent is ready", PUSHED, is_ready);
    }

    /// `docker save` of a release, which the Engine then forgets.
    pub fn save(&self, release: &Release, name: &str) -> PathBuf {
        let published = self.pi.registry.publish("pushed", release);
        let by_digest =
            format!("{}@{}", published.reference.replace(":latest", ""), published.digest);
        self.pi.engine.docker(&["pull", "--quiet", &by_digest]);
        let tag = format!("{name}:latest");
        let before = self.pi.engine.call("GET", &format!("/images/{tag}/json"));
        self.pi.engine.docker(&["tag", &by_digest, "pushed-by-hand:latest"]);
        let archive = self.files.join(format!("{name}.tar"));
        self.pi.engine.docker(&["save", "--output", path(&archive), "pushed-by-hand:latest"]);
        self.pi.engine.docker(&["image", "rm", "pushed-by-hand:latest"]);
        let _ = self.pi.engine.call("DELETE", &format!("/images/{by_digest}"));
        assert_eq!(
            self.pi.engine.call("GET", &format!("/images/{tag}/json")).status,
            before.status
        );
        archive
    }

    pub fn push(&self, name: &str, archive: &Path, flags: &[&str]) -> Finished {
        let certificates = self.files.join("certificates/ci");
        let mut words = vec!["push", name, path(archive), "--to", "https://127.0.0.1:9790"];
        words.extend(["--certificates", path(&certificates)]);
        words.extend(flags);
        self.pi.agent.run(&self.pi.engine, &words)
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
