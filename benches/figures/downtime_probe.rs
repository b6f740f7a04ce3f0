//! A client that asks the till all the time, and records when it gets no answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::http::Peer;

/// The pause between two requests.
const PATIENCE: Duration = Duration::from_millis(1);

/// Two answers that are further apart than this have a gap between them. On a busy machine one
/// answer alone can take some milliseconds.
const GAP_MIN: Duration = Duration::from_millis(20);

/// Asks until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Watch {
    /// Begins to ask at that address.
    pub fn begin(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || ask(address, &stopped));
        Self { stop, thread }
    }

    /// All times without service, in order.
    pub fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watching thread")
    }

    /// The total time without service.
    pub fn total(self) -> Duration {
        self.end().into_iter().sum()
    }
}

/// Ends with an answer, so that an open gap is counted completely.
fn ask(address: SocketAddr, stopped: &AtomicBool) -> Vec<Duration> {
    let peer = Peer::Tcp(address);
    let mut gaps = Vec::new();
    let mut answered = Instant::now();
    loop {
        if peer.get("/").is_ok_and(|answer| answer.status == 200) {
            let now = Instant::now();
            let between = now - answered;
            if between >= GAP_MIN {
                gaps.push(between);
            }
            answered = now;
            if stopped.load(Ordering::Relaxed) {
                return gaps;
            }
        }
        thread::sleep(PATIENCE);
    }
}
