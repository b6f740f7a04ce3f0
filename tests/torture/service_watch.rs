//! Counts the running containers of a service by the Engine's events, all the time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::Peer;

/// The label of the service's containers, whatever their names.
pub const SERVICE_LABEL: &str = "torture.service=till";
pub const SERVICE_LABEL_KEY: &str = "torture.service";

/// The label of the containers of a service.
pub fn label_of(service: &str) -> String {
    format!("{SERVICE_LABEL_KEY}={service}")
}

/// How often a connection to an unreachable Engine is retried.
const RETRY: Duration = Duration::from_millis(20);

/// Listens until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    label: String,
    ended: AtomicBool,
    counts: Mutex<Counts>,
    changed: Condvar,
}

struct Counts {
    running: BTreeSet<String>,
    most: usize,
    least: usize,
    /// When the number last became exactly one.
    one_since: Option<Instant>,
    /// When it was exactly one for the first time since `look_for_one`.
    first_one: Option<Instant>,
    is_listening: bool,
}

impl Watch {
    /// Listens for the containers with this label.
    pub fn start(engine: &Path, label: &str) -> Self {
        let running = BTreeSet::new();
        let counts = Counts {
            running,
            most: 0,
            least: 0,
            one_since: None,
            first_one: None,
            is_listening: false,
        };
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            label: label.to_owned(),
            ended: AtomicBool::new(false),
            counts: Mutex::new(counts),
            changed: Condvar::new(),
        });
        let own = shared.clone();
        thread::spawn(move || {
            while !own.ended.load(Ordering::Relaxed) {
                drop(own.listen());
                own.change(|counts| {
                    counts.is_listening = false;
                    counts.running.clear();
                });
                thread::sleep(RETRY);
            }
        });
        Self { shared }
    }

    /// Resets the numbers of containers that ran at the same time.
    pub fn begin(&self) {
        self.shared.change(|counts| {
            (counts.most, counts.least) = (counts.running.len(), counts.running.len());
        });
    }

    /// The fewest containers that ran at the same time since `begin`.
    pub fn least(&self) -> usize {
        self.shared.counts.lock().expect("the watch lives").least
    }

    /// The most containers that ran at the same time since `begin`.
    pub fn most(&self) -> usize {
        self.shared.counts.lock().expect("the watch lives").most
    }

    /// Starts to look for the first moment at which exactly one runs.
    pub fn look_for_one(&self) {
        self.shared.change(|counts| counts.first_one = None);
    }

    /// The moment that `look_for_one` looks for.
    pub fn first_one(&self) -> Option<Instant> {
        self.shared.counts.lock().expect("the watch lives").first_one
    }

    /// Waits until exactly one runs; returns since when. `None` after `limit`.
    pub fn await_one(&self, limit: Duration) -> Option<Instant> {
        let counts = self.shared.counts.lock().expect("the watch lives");
        let is_not_one = |counts: &mut Counts| !(counts.is_listening && counts.one_since.is_some());
        let waited = self.shared.changed.wait_timeout_while(counts, limit, is_not_one);
        waited.expect("the watch lives").0.one_since
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().expect("the watch lives");
        change(&mut counts);
        counts.most = counts.most.max(counts.running.len());
        counts.least = counts.least.min(counts.running.len());
        counts.one_since = match (counts.running.len(), counts.one_since) {
            (1, None) => Some(Instant::now()),
            (1, since) => since,
            _ => None,
        };
        counts.first_one = counts.first_one.or_else(|| counts.one_since.map(|_| Instant::now()));
        self.changed.notify_all();
    }

    /// Begins to listen, then lists the running containers, then listens until the Engine closes
    /// the stream.
    fn listen(&self) -> std::io::Result<()> {
        let mut stream = UnixStream::connect(&self.engine)?;
        let label = &self.label;
        let filters = format!(r#"{{"type":["container"],"label":["{label}"]}}"#);
        let filters = escape(&filters);
        let request = format!("GET /events?filters={filters} HTTP/1.0\r\nHost: engine\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut lines = BufReader::new(stream).lines();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let filters = escape(&format!(r#"{{"label":["{label}"]}}"#));
        let running = Peer::Unix(self.engine.clone())
            .get(&format!("/containers/json?filters={filters}"))?
            .json();
        let running = running.as_array().into_iter().flatten();
        let ids = running.filter_map(|it| it["Id"].as_str().map(str::to_owned)).collect();
        self.change(|counts| (counts.running, counts.is_listening) = (ids, true));
        for line in lines {
            if let Ok(event) = serde_json::from_str(&line?) {
                self.count_event(&event);
            }
        }
        Ok(())
    }

    fn count_event(&self, event: &Value) {
        let id = event["Actor"]["ID"].as_str().unwrap_or_default().to_owned();
        match event["Action"].as_str() {
            Some("start") => self.change(|counts| _ = counts.running.insert(id)),
            Some("die") => self.change(|counts| _ = counts.running.remove(&id)),
            _ => {}
        }
    }
}

/// Escapes the few characters of a filter that a URL does not allow.
fn escape(text: &str) -> String {
    let plain = |c: char| match c {
        '{' => "%7B".to_owned(),
        '}' => "%7D".to_owned(),
        '"' => "%22".to_owned(),
        '[' => "%5B".to_owned(),
        ']' => "%5D".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(plain).collect()
}
