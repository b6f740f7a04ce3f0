//! HAProxy in front of a service on a network of Docker. It runs inside the network of a container
//! and follows the Engine's DNS.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::clients::Target;

/// Whether the proxy tries another server when a connection fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It gives up.
    No,
    /// It tries another server once.
    Once,
}

impl fmt::Display for Retry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::No => "behind HAProxy without a retry",
            Self::Once => "behind HAProxy with one retry",
        })
    }
}

/// A proxy that runs; ended when dropped.
pub struct Haproxy {
    process: Child,
    port: u16,
    client: u32,
}

impl Haproxy {
    /// Starts a proxy for the service, at this port of the client's network. It asks the DNS each
    /// second, and each server each second.
    pub fn start(directory: &Path, service: &Target, port: u16, retry: Retry) -> Self {
        let retries = match retry {
            Retry::No => "retries 0",
            Retry::Once => {
                "retries 1\n    option redispatch 1\n    retry-on conn-failure empty-response"
            }
        };
        let Target { process: client, name, port: of_service } = service;
        let settings = format!(
            "global\n    maxconn 200\n\
             defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    \
             timeout server 5s\n    {retries}\n\
             resolvers docker\n    nameserver docker 127.0.0.11:53\n    hold valid 1s\n    \
             hold obsolete 0s\n    timeout resolve 1s\n    timeout retry 1s\n\
             frontend in\n    bind 127.0.0.1:{port}\n    default_backend service\n\
             backend service\n    option httpchk GET /\n    default-server check inter 1s fall 1 \
             rise 1 resolvers docker init-addr none\n    \
             server-template s 3 {name}:{of_service}\n"
        );
        let file = directory.join(format!("haproxy-{port}.cfg"));
        fs::write(&file, settings).expect("the settings of the proxy");
        let process = Command::new("nsenter")
            .arg(format!("--net=/proc/{client}/ns/net"))
            .args(["haproxy", "-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy");
        Self { process, port, client: *client }
    }

    /// Where clients ask it.
    pub fn target(&self) -> Target {
        Target { process: self.client, name: "127.0.0.1".to_owned(), port: self.port }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
