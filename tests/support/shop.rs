//! A service without published ports, on a network of its own, with clients of all kinds: two that
//! go through HAProxy, and three that ask the Engine's DNS themselves.

use std::thread;
use std::time::Duration;

use crate::support::clients::{Client, ClientKind, Requests, Target, ask_once};
use crate::support::command::wait_until;
use crate::support::haproxy::{Haproxy, Retry};
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED};

/// The name by which clients find the service.
pub const ALIAS: &str = "till-api";

/// How often the HEALTHCHECK runs.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// How long a proxy may take to find the service.
const PROXY_TIMEOUT: Duration = Duration::from_secs(20);

/// A service on a network of its own, with its clients.
pub struct Shop {
    pub pi: Pi,
    pub one: Published,
    /// The service, as a client finds it.
    pub target: Target,
    proxies: Vec<(Retry, Haproxy)>,
    clients: Vec<(String, Client)>,
}

/// A release with a HEALTHCHECK.
pub fn release(version: &str) -> Release {
    Release::new(version).with_healthcheck(CHECK_INTERVAL, 2)
}

impl Shop {
    /// Starts the service with these options of `docker run`; nobody asks it yet.
    pub fn open(pi: Pi, options: &[&str]) -> Self {
        let one = pi.registry.publish("till", &release("1"));
        pi.engine.docker(&["network", "create", "shop"]);
        pi.start("client", &one.reference, &["--network=shop"]);
        let alias = format!("--network-alias={ALIAS}");
        let all = [&WATCHED[..], &["--network=shop", &alias], options].concat();
        pi.start("till", &one.reference, &all);
        let process = pi.inspect("client")["State"]["Pid"].as_u64().expect("a process");
        let process = u32::try_from(process).expect("a process");
        let target = Target { process, name: ALIAS.to_owned(), port: 8080 };
        wait_until("the service answers", PROXY_TIMEOUT, || ask_once(&target).is_ok());
        Self { pi, one, target, proxies: Vec::new(), clients: Vec::new() }
    }

    /// Clients of all kinds begin to ask.
    pub fn ask(&mut self) {
        if self.proxies.is_empty() {
            let start = |port, retry| {
                let directory = self.pi.engine.directory();
                (retry, Haproxy::start(directory, &self.target, port, retry))
            };
            self.proxies = vec![start(8091, Retry::No), start(8092, Retry::Once)];
        }
        for (_, proxy) in &self.proxies {
            let target = proxy.target();
            wait_until("the proxy answers", PROXY_TIMEOUT, || ask_once(&target).is_ok());
        }
        let direct = ClientKind::ALL.map(|kind| (kind.to_string(), kind, self.target.clone()));
        let proxied = self
            .proxies
            .iter()
            .map(|(retry, proxy)| (retry.to_string(), ClientKind::TakesFirst, proxy.target()));
        let all = direct.into_iter().chain(proxied);
        self.clients =
            all.map(|(name, kind, target)| (name, Client::start(kind, target))).collect();
        thread::sleep(Duration::from_millis(300));
    }

    /// The clients ask for this time more, and say what they have seen, each by its kind.
    pub fn close(&mut self, after: Duration) -> Vec<(String, Requests)> {
        thread::sleep(after);
        self.clients.drain(..).map(|(name, client)| (name, client.stop())).collect()
    }
}
