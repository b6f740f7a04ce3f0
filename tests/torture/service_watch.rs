//! Hears from the Engine itself how many containers of a service run, all the time.

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

/// The label by which containers of the service are known, whatever their names.
pub const SERVICE_LABEL: &str = "torture.service=till";
pub const SERVICE_LABEL_KEY: &str = "torture.service";

/// How often an Engine that is away is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Listens as long as it lives.
pub struct Watch {
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    label: String,
    ended: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

struct Seen {
    running: BTreeSet<String>,
    most: usize,
    /// When it last became exactly one.
    one_since: Option<Instant>,
    /// When it first was exactly one, since somebody asked for that.
    first_one: Option<Instant>,
    hears: bool,
}

impl Watch {
    /// Listens for the containers with this label.
    pub fn start(engine: &Path, label: &str) -> Self {
        let running = BTreeSet::new();
        let seen = Seen { running, most: 0, one_since: None, first_one: None, hears: false };
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            label: label.to_owned(),
            ended: AtomicBool::new(false),
            seen: Mutex::new(seen),
            changed: Condvar::new(),
        });
        let own = shared.clone();
        thread::spawn(move || {
            while !own.ended.load(Ordering::Relaxed) {
                drop(own.listen());
                own.change(|seen| {
                    seen.hears = false;
                    seen.running.clear();
                });
                thread::sleep(RETRY);
            }
        });
        Self { shared }
    }

    /// Counts anew how many ran at the same time.
    pub fn begin(&self) {
        self.shared.change(|seen| seen.most = seen.running.len());
    }

    /// The most containers that ran at the same time since `begin`.
    pub fn most(&self) -> usize {
        self.shared.seen.lock().expect("the watch lives").most
    }

    /// From now on the first moment is looked for in which exactly one runs.
    pub fn look_for_one(&self) {
        self.shared.change(|seen| seen.first_one = None);
    }

    /// That moment.
    pub fn first_one(&self) -> Option<Instant> {
        self.shared.seen.lock().expect("the watch lives").first_one
    }

    /// Waits until exactly one runs; gives the moment since when. `None` after `limit`.
    pub fn await_one(&self, limit: Duration) -> Option<Instant> {
        let seen = self.shared.seen.lock().expect("the watch lives");
        let is_not_one = |seen: &mut Seen| !(seen.hears && seen.one_since.is_some());
        let waited = self.shared.changed.wait_timeout_while(seen, limit, is_not_one);
        waited.expect("the watch lives").0.one_since
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock().expect("the watch lives");
        change(&mut seen);
        seen.most = seen.most.max(seen.running.len());
        seen.one_since = match (seen.running.len(), seen.one_since) {
            (1, None) => Some(Instant::now()),
            (1, since) => since,
            _ => None,
        };
        seen.first_one = seen.first_one.or_else(|| seen.one_since.map(|_| Instant::now()));
        self.changed.notify_all();
    }

    /// Begins to listen, then asks what runs, then goes on listening until the Engine goes away.
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
        self.change(|seen| (seen.running, seen.hears) = (ids, true));
        for line in lines {
            if let Ok(event) = serde_json::from_str(&line?) {
                self.receive(&event);
            }
        }
        Ok(())
    }

    fn receive(&self, event: &Value) {
        let id = event["Actor"]["ID"].as_str().unwrap_or_default().to_owned();
        match event["Action"].as_str() {
            Some("start") => self.change(|seen| _ = seen.running.insert(id)),
            Some("die") => self.change(|seen| _ = seen.running.remove(&id)),
            _ => {}
        }
    }
}

/// The few characters of a filter that a URL does not take.
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
