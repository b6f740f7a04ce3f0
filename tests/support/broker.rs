//! A broker of a test: Debian's Mosquitto with the files of `deploy/mosquitto`, and a client for
//! each certificate.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use pilotfish::broker::{
    Broker as _, BrokerAddress, BrokerEvent, BrokerEvents, BrokerLimits, BrokerSettings, Loss,
    Message, MqttBroker, NotTaken, Publication, ReasonCode, RefusedAct, TopicSubscription,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::command::{output, run, wait_until};

/// The broker starts in some milliseconds; this machine may have much else to do.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than anything that a client waits for: some pauses between attempts to connect.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// How often another port is tried: another program may take it before the broker does.
const PORTS_MAX: usize = 5;

/// The roles that have a name of their own in the ACL.
pub const ROLES: [&str; 6] =
    ["bridge", "mirror", "viewer", "operator", "home-assistant", "administrator"];

/// The configurations of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// The shipped configuration with the shipped ACL.
    Shipped,
    /// The shipped configuration with dynamic security in place of the ACL.
    DynamicSecurity,
    /// Without TLS and without names.
    Plain,
    /// Without TLS, with `robot` and the password `opensesame`.
    Password,
}

/// A broker with its certificates. It ends with the test.
pub struct Mosquitto {
    directory: TempDir,
    kind: BrokerKind,
    address: SocketAddr,
    child: Option<Child>,
    /// Lines for the end of the configuration.
    pub more: String,
}

impl Mosquitto {
    /// Starts a broker on 127.0.0.1. The names get certificates: those of [`ROLES`] for that role,
    /// all others for a device.
    pub fn start(kind: BrokerKind, names: &[&str]) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), kind, names)
    }

    /// Starts a broker on another address of this machine.
    pub fn start_at(ip: IpAddr, kind: BrokerKind, names: &[&str]) -> Self {
        let mut broker = Self::stopped(ip, kind, names);
        broker.start_again();
        broker
    }

    /// A broker that does not run yet.
    pub fn stopped(ip: IpAddr, kind: BrokerKind, names: &[&str]) -> Self {
        let directory = TempDir::with_prefix("broker").expect("a directory");
        let address = SocketAddr::new(ip, 0);
        let broker = Self { directory, kind, address, child: None, more: String::new() };
        fs::create_dir(broker.path("data")).expect("a directory");
        broker.pki(&["init", "--broker", &ip.to_string(), "--broker", "localhost"]);
        for name in names {
            match ROLES.contains(name) {
                true => broker.pki(&[name]),
                false => broker.pki(&["device", name]),
            };
        }
        broker
    }

    /// Runs `deploy/mosquitto/pki`.
    pub fn pki(&self, arguments: &[&str]) -> String {
        run(Command::new(shipped("pki"))
            .arg("--directory")
            .arg(self.path("certificates"))
            .args(arguments))
    }

    /// A file of this broker.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the broker after its end, on its port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let is_new = self.address.port() == 0;
        for _ in 0..PORTS_MAX {
            if is_new {
                self.address.set_port(free_port(self.address.ip()));
            }
            self.write_configuration();
            if self.try_start() {
                return;
            }
            assert!(is_new, "the broker does not start:\n{}", self.log());
        }
        panic!("the broker does not start:\n{}", self.log());
    }

    /// Whether it listens now.
    fn try_start(&mut self) -> bool {
        let log = File::options().append(true).create(true).open(self.path("log")).expect("a log");
        // The kernel ends the broker with the thread of the test, which may be killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "/usr/sbin/mosquitto", "-c"])
            .arg(self.path("mosquitto.conf"))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("setpriv, of Debian's util-linux");
        let mut is_up = false;
        wait_until("the broker listens or ends", START_TIMEOUT, || {
            let is_over = child.try_wait().expect("the state of the broker").is_some();
            is_up = !is_over && TcpStream::connect(self.address).is_ok();
            is_up || is_over
        });
        self.child = Some(child);
        if !is_up {
            self.kill();
        }
        is_up
    }

    fn write_configuration(&self) {
        let (ip, port) = (self.address.ip(), self.address.port());
        let own = |text: String| self.with_own_paths(&text);
        let mut text = match self.kind {
            BrokerKind::Shipped | BrokerKind::DynamicSecurity => {
                let text = fs::read_to_string(shipped("mosquitto.conf")).expect("a configuration");
                own(replaced(&text, "listener 8883", &format!("listener {port} {ip}")))
            }
            BrokerKind::Plain => format!("listener {port} {ip}\nallow_anonymous true\n"),
            BrokerKind::Password => {
                let passwords = self.path("passwords");
                let mut command = Command::new("mosquitto_passwd");
                run(command.arg("-b").arg("-c").arg(&passwords).args(["robot", "opensesame"]));
                format!("listener {port} {ip}\npassword_file {}\n", passwords.display())
            }
        };
        if self.kind == BrokerKind::DynamicSecurity {
            text = replaced(&text, "\nacl_file", "\n#acl_file");
            text = replaced(&text, "#plugin ", "plugin ");
            text = replaced(&text, "#plugin_opt", "plugin_opt");
            let grants = self.path("data/dynamic-security.json");
            if !grants.exists() {
                fs::write(grants, self.pki(&["dynamic-security"])).expect("grants");
            }
        }
        // Root would become the user `mosquitto`, who may not read the files of the test.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        fs::write(self.path("mosquitto.conf"), format!("{text}\n{}{user}", self.more))
            .expect("a configuration");
        let acl = self.path("pilotfish.acl");
        if !acl.exists() {
            fs::copy(shipped("pilotfish.acl"), acl).expect("an ACL");
        }
    }

    fn with_own_paths(&self, text: &str) -> String {
        let own = |name: &str| format!("{}/", self.path(name).display());
        let text = replaced(text, "/etc/mosquitto/broker/", &own("certificates/broker"));
        let text = replaced(&text, "/var/lib/mosquitto/", &own("data"));
        replaced(
            &text,
            "/etc/mosquitto/pilotfish.acl",
            &own("pilotfish.acl").replace("acl/", "acl"),
        )
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// SIGTERM; returns after its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let child = self.child.take();
        drop(child.expect("a running broker").wait());
    }

    /// SIGHUP; returns after the files were read again.
    pub fn reload(&self) {
        let count = || self.log().matches("Reloading config").count();
        let before = count();
        self.signal(Signal::HUP);
        wait_until("the broker reads its files", START_TIMEOUT, || count() > before);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running broker");
        kill_process(Pid::from_child(child), signal).expect("to signal the broker");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The files of a name: `ca.crt`, `client.crt` or `client.key`.
    pub fn file_of(&self, name: &str, file: &str) -> PathBuf {
        self.path("certificates").join(name).join(file)
    }

    /// The settings of a client with the certificate of that name; without TLS, the name is the
    /// client ID.
    pub fn settings(&self, name: &str) -> BrokerSettings {
        let has_tls = matches!(self.kind, BrokerKind::Shipped | BrokerKind::DynamicSecurity);
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        let mut settings = BrokerSettings::new(BrokerAddress { host, port, has_tls }, name);
        settings.limits = short_limits();
        if has_tls {
            let file = |file| self.file_of(name, file);
            settings.ca_file = Some(file("ca.crt"));
            settings.identity = Some((file("client.crt"), file("client.key")));
        }
        settings
    }

    /// The settings of a client that subscribes, too.
    pub fn subscriber(&self, name: &str, filters: &[&str]) -> BrokerSettings {
        let mut settings = self.settings(name);
        settings.subscriptions = filters.iter().map(|filter| subscription(filter)).collect();
        settings
    }

    /// Runs one of Mosquitto's programs as a name, to its end, and returns all that it prints.
    pub fn run_client(&self, program: &str, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        for (option, file) in
            [("--cafile", "ca.crt"), ("--cert", "client.crt"), ("--key", "client.key")]
        {
            command.arg(option).arg(self.file_of(name, file));
        }
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        command.args(["-h", &host, "-p", &port, "-i", name]).args(arguments);
        let output = output(&mut command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
        self.kill();
    }
}

/// Times for tests: dead peers show after a second, and pauses between attempts are short.
pub fn short_limits() -> BrokerLimits {
    BrokerLimits {
        connect: Duration::from_secs(5),
        pause: Duration::from_millis(50),
        good_life: Duration::ZERO,
        ..BrokerLimits::default()
    }
}

pub fn subscription(filter: &str) -> TopicSubscription {
    TopicSubscription { filter: filter.to_owned(), shows_retain_flag: true }
}

/// A file that is shipped.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto").join(name)
}

#[track_caller]
fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the shipped configuration lacks `{old}`");
    text.replace(old, new)
}

fn free_port(ip: IpAddr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A client of the port under test.
pub struct BrokerClient {
    pub broker: MqttBroker,
    events: BrokerEvents,
    /// Messages that came before the answer to the subscriptions.
    early: VecDeque<Message>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl BrokerClient {
    /// Begins to connect.
    pub fn start(settings: BrokerSettings) -> Self {
        let (broker, task, events) = MqttBroker::new(settings);
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        Self { broker, events, early: VecDeque::new(), stop, task }
    }

    /// Connects, and waits for the answer to its subscriptions.
    pub async fn connect(settings: BrokerSettings) -> Self {
        let mut is_subscribed = settings.subscriptions.is_empty();
        let mut client = Self::start(settings);
        assert_eq!(client.next().await, BrokerEvent::Connected);
        while !is_subscribed {
            match client.next().await {
                BrokerEvent::Subscribed => is_subscribed = true,
                BrokerEvent::Message(message) => client.early.push_back(message),
                other => panic!("{other:?}"),
            }
        }
        client
    }

    /// The next event.
    pub async fn next(&mut self) -> BrokerEvent {
        let event = timeout(EVENT_TIMEOUT, self.events.next()).await.expect("an event in time");
        event.expect("a connection that was not stopped")
    }

    /// The next event within a time.
    pub async fn next_within(&mut self, limit: Duration) -> Option<BrokerEvent> {
        timeout(limit, self.events.next()).await.ok().flatten()
    }

    /// Waits for an event of a kind, and ignores the others.
    pub async fn wait_for<T>(&mut self, mut find: impl FnMut(BrokerEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = find(self.next().await) {
                return found;
            }
        }
    }

    /// Why there is no connection.
    pub async fn loss(&mut self) -> Loss {
        self.wait_for(|event| match event {
            BrokerEvent::Lost(loss) => Some(loss),
            _ => None,
        })
        .await
    }

    /// Waits for the next connection.
    pub async fn connected(&mut self) {
        self.wait_for(|event| (event == BrokerEvent::Connected).then_some(())).await;
    }

    /// The next message.
    pub async fn message(&mut self) -> Message {
        if let Some(early) = self.early.pop_front() {
            return early;
        }
        self.wait_for(|event| match event {
            BrokerEvent::Message(message) => Some(message),
            _ => None,
        })
        .await
    }

    /// The next refusal.
    pub async fn refusal(&mut self) -> (RefusedAct, String, ReasonCode) {
        self.wait_for(|event| match event {
            BrokerEvent::Refused { act, topic, reason } => Some((act, topic, reason)),
            _ => None,
        })
        .await
    }

    /// Publishes, and waits for the broker's answer.
    pub async fn publish(&self, topic: &str, payload: &str) -> Result<(), NotTaken> {
        self.publish_as(topic, payload, false).await
    }

    /// The same for a message that the broker keeps.
    pub async fn retain(&self, topic: &str, payload: &str) -> Result<(), NotTaken> {
        self.publish_as(topic, payload, true).await
    }

    async fn publish_as(&self, topic: &str, payload: &str, retain: bool) -> Result<(), NotTaken> {
        let receipt = self.broker.publish(Publication {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            is_retained: retain,
            expiry: None,
        });
        timeout(EVENT_TIMEOUT, receipt).await.expect("an answer in time")
    }

    /// Disconnects in good order.
    pub async fn leave(self) {
        self.stop.cancel();
        timeout(EVENT_TIMEOUT, self.task).await.expect("an end in time").expect("no panic");
    }

    /// Disappears: the connection ends without a word.
    pub async fn vanish(self) {
        self.task.abort();
        drop(self.task.await);
    }
}
