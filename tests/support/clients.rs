//! Clients of a service on a network of Docker: each asks again and again, inside the network of a
//! container, with the Engine's DNS. They count the requests that failed.
//!
//! Programs differ in what they do with several addresses of one name. Browsers, curl, Go and
//! Python try one after the other; many simple clients take the first one; and some keep an answer
//! for a while. So there are clients of all kinds.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the Engine's DNS listens in the network of each container.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// The pause between two requests.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long the DNS or a connection may take. A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long an answer may take. It is longer, because a proxy may try two servers for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the client that keeps answers of the DNS keeps one.
pub const CACHE_TIME: Duration = Duration::from_secs(30);

/// What a client does with the addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// It tries each address until one answers.
    TriesAll,
    /// It tries the first address only.
    TakesFirst,
    /// It takes the first address, and keeps it for [`CACHE_TIME`].
    Caches,
}

impl ClientKind {
    pub const ALL: [Self; 3] = [Self::TriesAll, Self::TakesFirst, Self::Caches];
}

impl fmt::Display for ClientKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TriesAll => "tries all addresses",
            Self::TakesFirst => "takes the first address",
            Self::Caches => "keeps an address for 30 s",
        })
    }
}

/// A client that runs.
pub struct Client {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Requests>,
}

/// What a client has seen.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    pub count: usize,
    /// The failed requests: when, and why.
    pub failed: Vec<(Duration, String)>,
    /// The different answers, in the order of their first.
    pub answers: Vec<String>,
    /// The longest time of a request that was answered.
    pub slowest: Duration,
}

impl fmt::Display for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} failed", self.failed.len(), self.count)
    }
}

/// The service that a client asks.
#[derive(Debug, Clone)]
pub struct Target {
    /// A process in the network of the client.
    pub process: u32,
    /// The name of the service, or an address.
    pub name: String,
    pub port: u16,
}

impl Client {
    /// Asks `GET /` until it is stopped.
    pub fn start(kind: ClientKind, target: Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            enter_network_of(target.process);
            let mut asking = Asking { kind, target, kept: None };
            let (mut requests, begin) = (Requests::default(), Instant::now());
            while !until.load(Ordering::Relaxed) {
                let at = begin.elapsed();
                let answer = asking.ask();
                requests.take(at, begin.elapsed() - at, answer);
                thread::sleep(INTERVAL);
            }
            requests
        });
        Self { stop, thread }
    }

    /// Ends it; returns what it has seen.
    pub fn stop(self) -> Requests {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client")
    }
}

impl Requests {
    fn take(&mut self, at: Duration, took: Duration, answer: Result<String, String>) {
        self.count += 1;
        match answer {
            Ok(answer) => {
                self.slowest = self.slowest.max(took);
                if !self.answers.contains(&answer) {
                    self.answers.push(answer);
                }
            }
            Err(why) => self.failed.push((at, why)),
        }
    }
}

/// Moves this thread into the network of a process.
fn enter_network_of(process: u32) {
    let network = File::open(format!("/proc/{process}/ns/net")).expect("the client's network");
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("to enter the client's network");
}

/// One request, from inside the network of the client.
pub fn ask_once(target: &Target) -> Result<String, String> {
    let target = target.clone();
    let ask = thread::spawn(move || {
        enter_network_of(target.process);
        Asking { kind: ClientKind::TakesFirst, target, kept: None }.ask()
    });
    ask.join().expect("the client")
}

struct Asking {
    kind: ClientKind,
    target: Target,
    /// The kept address, and since when.
    kept: Option<(IpAddr, Instant)>,
}

impl Asking {
    fn ask(&mut self) -> Result<String, String> {
        let addresses = self.addresses()?;
        let mut last = Err("no address".to_owned());
        for address in addresses {
            last = ask(SocketAddr::new(address, self.target.port));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn addresses(&mut self) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = self.target.name.parse() {
            return Ok(vec![address]);
        }
        if let Some((address, since)) = self.kept.filter(|_| self.kind == ClientKind::Caches)
            && since.elapsed() < CACHE_TIME
        {
            return Ok(vec![address]);
        }
        let mut addresses = resolve(&self.target.name)?;
        let first = addresses.first().copied().ok_or("the name has no address")?;
        if self.kind != ClientKind::TriesAll {
            self.kept = Some((first, Instant::now()));
            addresses.truncate(1);
        }
        Ok(addresses)
    }
}

/// The body of an answer to `GET /`.
fn ask(address: SocketAddr) -> Result<String, String> {
    let in_words = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(in_words)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(in_words)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(in_words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(in_words)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end")?;
    let is_ok = head.lines().next().is_some_and(|line| line.contains(" 200 "));
    if is_ok { Ok(body.trim().to_owned()) } else { Err(format!("{address}: {head}")) }
}

/// The IPv4 addresses of a name, in the order of the answer (RFC 1035).
fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let in_words = |error: std::io::Error| format!("the DNS: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(in_words)?;
    socket.set_read_timeout(Some(TIMEOUT)).map_err(in_words)?;
    socket.send_to(&question(name), DNS).map_err(in_words)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).map_err(in_words)?;
    Ok(addresses_in(&answer[..length]))
}

/// A question for the addresses of a name: header, labels, type A, class IN.
fn question(name: &str) -> Vec<u8> {
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a short label"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// The addresses in an answer. Docker writes each name as a pointer or in full, and each record
/// ends with its length and its data.
fn addresses_in(packet: &[u8]) -> Vec<IpAddr> {
    let number = |at: usize| {
        packet.get(at..at + 2).map_or(0, |bytes| usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    };
    let after_name = |mut at: usize| loop {
        match packet.get(at).copied().unwrap_or_default() {
            0 => return at + 1,
            pointer if pointer >= 0xc0 => return at + 2,
            length => at += usize::from(length) + 1,
        }
    };
    let mut at = after_name(12) + 4;
    let mut addresses = Vec::new();
    for _ in 0..number(6) {
        let record = after_name(at);
        let (kind, length) = (number(record), number(record + 8));
        if let (1, Some(&[a, b, c, d])) = (kind, packet.get(record + 10..record + 10 + length)) {
            addresses.push(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
        }
        at = record + 10 + length;
    }
    addresses
}
