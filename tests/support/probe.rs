//! A client that asks a service again and again, from outside: it measures how long the service is
//! away, whatever the Engine says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pause between two requests.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);

/// A shorter time without an answer is not counted: a busy machine answers late.
const GAP_MIN: Duration = Duration::from_millis(100);

/// A probe that runs.
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Service>,
}

/// What a probe has seen of a service.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// The times without an answer.
    pub gaps: Vec<Duration>,
    /// The different answers, in their order; each as long as it lasted.
    pub answers: Vec<String>,
}

impl Service {
    /// The longest time without an answer.
    pub fn longest(&self) -> Duration {
        self.gaps.iter().copied().max().unwrap_or_default()
    }

    /// All times without an answer.
    pub fn total(&self) -> Duration {
        self.gaps.iter().sum()
    }

    fn take(&mut self, answer: String, since: Duration) {
        if since >= GAP_MIN {
            self.gaps.push(since);
        }
        if self.answers.last() != Some(&answer) {
            self.answers.push(answer);
        }
    }
}

impl Probe {
    /// Asks `GET /` at this address until it is stopped.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut service, mut last) = (Service::default(), Instant::now());
            while !until.load(Ordering::Relaxed) {
                if let Some(answer) = ask(address) {
                    service.take(answer, last.elapsed());
                    last = Instant::now();
                }
                thread::sleep(INTERVAL);
            }
            if last.elapsed() >= GAP_MIN {
                service.gaps.push(last.elapsed());
            }
            service
        });
        Self { stop, thread }
    }

    /// Ends it; returns what it has seen.
    pub fn stop(self) -> Service {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the probe")
    }
}

/// The body of an answer to `GET /`.
pub fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.trim().to_owned())
}
