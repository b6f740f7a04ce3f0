//! A customer who asks at the till all the time, and knows when nobody answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::http::Peer;

/// Between two questions.
const PATIENCE: Duration = Duration::from_millis(1);

/// Two answers that are further apart than this have a gap between them. On a busy machine one
/// answer can take some milliseconds by itself.
const GAP_MIN: Duration = Duration::from_millis(20);

/// Asks until it is told to stop.
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

    /// All times without service, in their order.
    pub fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watching thread")
    }

    /// The time without service, all together.
    pub fn total(self) -> Duration {
        self.end().into_iter().sum()
    }
}

/// Ends with an answer, so that a gap that is still open is counted in full.
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
