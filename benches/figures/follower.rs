//! An updater that follows a container without a new image: the agent, or another program.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::support::Pi;
use crate::support::images::Release;

/// An updater that checks every second and asks nothing for this time will not ask any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The Engine's name in a request to a registry.
const ENGINE_AGENT: &str = "\"docker/";

/// An updater while it follows a container without a new image.
pub struct Follower {
    /// The beginning of its rows; empty for the agent itself, which alone has goals.
    pub name: &'static str,
    pub process: Pid,
    /// Ends the process before its machine is removed.
    pub _running: Box<dyn Any + Send>,
    pub pi: Pi,
}

impl Follower {
    /// Waits until the registry was asked this often for the manifest of the tag, once per round.
    /// Returns `false`, with a message, if the registry is not asked any more. The Engine's own
    /// request, in a pull, does not count.
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

/// Starts a container that follows a tag without a new image. Its registry speaks TLS, because the
/// other updater asks no other registry, with an authority that the Engine trusts. Returns the file
/// of the authority.
pub fn follow(pi: &mut Pi, labels: &[&str]) -> PathBuf {
    pi.registry.publish("till", &Release::new("1"));
    let registry = pi.registry.serve_tls(&pi.engine);
    pi.start("till", &format!("{registry}/till:latest"), labels);
    Path::new("/etc/docker/certs.d").join(registry).join("ca.crt")
}
