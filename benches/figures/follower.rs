//! An updater that follows a container behind which nothing is new: the agent, or another one.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::support::Pi;
use crate::support::images::Release;

/// What looks every second and asks nothing for so long will not ask.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How the Engine calls itself before a registry.
const ENGINE_AGENT: &str = "\"docker/";

/// An updater while it follows a container behind which nothing is new.
pub struct Follower {
    /// What its rows begin with; nothing for the agent itself, which alone has goals.
    pub name: &'static str,
    pub process: Pid,
    /// Ends the process when it is dropped, before the machine goes.
    pub _running: Box<dyn Any + Send>,
    pub pi: Pi,
}

impl Follower {
    /// Waits until the registry was asked so often what is behind the tag, which is what a round
    /// is; `false`, and said, once it is asked nothing any more. The Engine's own question, at a
    /// pull, is none.
    pub fn makes_rounds(&self, count: u64) -> bool {
        let is_a_round = |line: &&String| {
            line.starts_with("HEAD /v2/till/manifests/") && !line.contains(ENGINE_AGENT)
        };
        let made = || self.pi.registry.requests().iter().filter(is_a_round).count() as u64;
        let (mut seen, mut since) = (made(), Instant::now());
        while seen < count && since.elapsed() < SILENCE_MAX {
            thread::sleep(Duration::from_secs(1));
            let now = made();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
        if seen < count {
            eprintln!("  {}: it asks the registry nothing after {seen} rounds", self.name);
        }
        seen >= count
    }
}

/// Starts a container that follows a tag behind which nothing is new. Its registry speaks TLS, as
/// the other updater asks no other, under an authority that the Engine trusts; gives its file.
pub fn follow(pi: &mut Pi, labels: &[&str]) -> PathBuf {
    pi.registry.publish("till", &Release::new("1"));
    let registry = pi.registry.serve_tls(&pi.engine);
    pi.start("till", &format!("{registry}/till:latest"), labels);
    Path::new("/etc/docker/certs.d").join(registry).join("ca.crt")
}
