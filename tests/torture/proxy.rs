//! A proxy between the agent and its Engine: counts the calls, and injects a fault at one of them.
//!
//! Every call has its own connection to the Engine, which closes it after the answer. So answers of
//! any length, streams included, pass unchanged.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::fault::{Fault, Place, PlannedFault, When};
use crate::steer::{Steering, Turn, owner};

/// The delay of a late answer.
const DELAY: Duration = Duration::from_secs(2);

/// How often a call that is held back asks whether it may go on.
const TURN_INTERVAL: Duration = Duration::from_millis(3);

/// The call at which counting begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first call after the beginning of a journal, so the read-only calls before an update are
    /// not counted.
    TheJournal,
    /// The very first call, as in a recovery.
    TheBeginning,
    /// The load of an image.
    ALoad,
}

/// The proxy; its thread ends with the test's process.
pub struct Proxy {
    socket: PathBuf,
    shared: Arc<Shared>,
    reached: Receiver<Sender<()>>,
}

struct Shared {
    engine: PathBuf,
    journals: PathBuf,
    count: Mutex<Count>,
    planned: Sender<Sender<()>>,
    /// Whether every start is refused.
    refuses_starts: AtomicBool,
}

/// The counts since the proxy was set.
struct Count {
    from: From,
    is_counting: bool,
    aim: Option<PlannedFault>,
    calls: Vec<String>,
    landed: Option<String>,
    steering: Option<Steering>,
    /// How often the proxy was set.
    generation: u64,
}

impl Count {
    fn new(from: From, aim: Option<PlannedFault>, generation: u64) -> Self {
        let is_counting = matches!(from, From::TheBeginning);
        let steering = aim.and_then(|aim| match aim.place {
            Place::Steps(pair) => Some(Steering::new(pair)),
            Place::Call(..) | Place::After(_) | Place::InLoad(..) => None,
        });
        let (calls, landed) = (Vec::new(), None);
        Self { from, is_counting, aim, calls, landed, steering, generation }
    }
}

/// The agent ended before the call was made.
struct CaseIsOver;

impl Count {
    /// The fault of a case with two updates, and the number of the case.
    fn steered(&self) -> Option<(u64, Fault, When)> {
        let when = self.steering.as_ref()?.pair.when;
        Some((self.generation, self.aim?.fault, when))
    }

    /// Decides about a call of a case with two updates.
    fn turn(
        &mut self,
        journals: &Path,
        owner: Option<&str>,
        generation: u64,
    ) -> Result<Turn, CaseIsOver> {
        let (Some(steering), Some(aim)) = (&mut self.steering, self.aim) else {
            return Err(CaseIsOver);
        };
        if self.generation != generation {
            return Err(CaseIsOver);
        }
        if self.landed.is_none() {
            return Ok(steering.turn(journals, owner));
        }
        Ok(if aim.fault.ends_agent() { Turn::Waits } else { Turn::Passes })
    }
}

impl Proxy {
    /// Listens at `socket` for calls of the Engine at `engine`; the journals show when an update
    /// begins.
    pub fn start(socket: &Path, engine: &Path, journals: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("the proxy's socket");
        let (planned, reached) = channel();
        let count = Mutex::new(Count::new(From::TheJournal, None, 0));
        let (engine, journals) = (engine.to_owned(), journals.to_owned());
        let refuses_starts = AtomicBool::new(false);
        let shared = Arc::new(Shared { engine, journals, count, planned, refuses_starts });
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = own.clone();
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { socket: socket.to_owned(), shared, reached }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Resets the count, and sets the fault.
    pub fn set(&self, from: From, aim: Option<PlannedFault>) {
        let mut count = self.count();
        *count = Count::new(from, aim, count.generation + 1);
    }

    /// Containers can be started again.
    pub fn let_starts_pass(&self) {
        self.shared.refuses_starts.store(false, Ordering::SeqCst);
    }

    /// The calls that were counted.
    pub fn calls(&self) -> Vec<String> {
        self.count().calls.clone()
    }

    /// The call with the fault, if it was reached.
    pub fn landed(&self) -> Option<String> {
        self.count().landed.clone()
    }

    /// The last counted call, for a fault at a random time.
    pub fn last_call(&self) -> String {
        self.count().calls.last().cloned().unwrap_or_else(|| "before the journal".to_owned())
    }

    /// Waits for a fault that the test injects itself. The call is paused until the returned sender
    /// is dropped.
    pub fn reached(&self, limit: Duration) -> Option<Sender<()>> {
        match self.reached.recv_timeout(limit) {
            Ok(release) => Some(release),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the proxy ended"),
        }
    }

    fn count(&self) -> std::sync::MutexGuard<'_, Count> {
        self.shared.count.lock().expect("no panic in the proxy")
    }
}

impl Shared {
    fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let request = read_request(&mut client)?;
        // Before the fault: a request to an Engine that ends must end with it, and must not reach
        // the next one.
        let mut engine = UnixStream::connect(&self.engine)?;
        let Ok(planned) = self.planned(&request) else { return Ok(()) };
        if let Some((fault, When::Before)) = planned
            && !self.apply(fault, &mut client)?
        {
            return Ok(());
        }
        if request.is_a_start() && self.refuses_starts.load(Ordering::SeqCst) {
            return answer(&mut client, 500, NO_DEVICE);
        }
        engine.write_all(&request.bytes)?;
        if request.is_chunked && !self.pass_archive(&mut client, &mut engine)? {
            return Ok(());
        }
        let Some((fault, When::After)) = planned else { return pass(client, engine) };
        let answer = if request.is_endless() {
            read_head(&mut engine)?
        } else {
            let mut answer = Vec::new();
            engine.read_to_end(&mut answer)?;
            answer
        };
        if self.apply(fault, &mut client)? {
            client.write_all(&answer)?;
            return pass(client, engine);
        }
        Ok(())
    }

    /// Forwards an archive in chunks. Returns whether the call continues.
    fn pass_archive(&self, client: &mut UnixStream, engine: &mut UnixStream) -> io::Result<bool> {
        let mut sent = 0;
        loop {
            let (chunk, length) = read_chunk(client)?;
            sent += length;
            if engine.write_all(&chunk).is_err() {
                // The Engine says why in its answer.
                return Ok(true);
            }
            let is_whole = length == 0;
            if let Some((fault, pause)) = self.in_load(sent, is_whole) {
                thread::sleep(pause);
                return self.apply(fault, client);
            }
            if is_whole {
                return Ok(true);
            }
        }
    }

    /// The fault in the load, if the Engine has enough of the archive.
    fn in_load(&self, sent: u64, is_whole: bool) -> Option<(Fault, Duration)> {
        let mut count = self.count.lock().expect("no panic in the proxy");
        let aim = count.aim.filter(|_| count.is_counting && count.landed.is_none())?;
        let Place::InLoad(bytes, pause) = aim.place else { return None };
        if sent < bytes && !is_whole {
            return None;
        }
        count.landed = Some(format!("POST /images/load, {sent} bytes, {pause:?}"));
        Some((aim.fault, pause))
    }

    /// Waits until the call may go on, and returns its fault, if it has one.
    fn planned(&self, request: &HttpRequest) -> Result<Option<(Fault, When)>, CaseIsOver> {
        let steered = self.count.lock().expect("no panic in the proxy").steered();
        let Some((generation, fault, when)) = steered.filter(|_| !request.is_endless()) else {
            return Ok(self.counted(request));
        };
        let owner = owner(&request.line, &request.target, &self.engine);
        loop {
            let mut count = self.count.lock().expect("no panic in the proxy");
            let turn = count.turn(&self.journals, owner, generation)?;
            match turn {
                Turn::Passes => {
                    drop(count);
                    return Ok(self.counted(request));
                }
                Turn::Waits => drop(count),
                Turn::GetsFault(place) => {
                    count.landed = Some(format!("{}, {place}", request.line));
                    return Ok(Some((fault, when)));
                }
            }
            thread::sleep(TURN_INTERVAL);
        }
    }

    /// Counts the call; returns its fault, if it is the planned call.
    fn counted(&self, request: &HttpRequest) -> Option<(Fault, When)> {
        let mut count = self.count.lock().expect("no panic in the proxy");
        if !count.is_counting && count.from == From::TheJournal {
            let journals = fs::read_dir(&self.journals).into_iter().flatten().flatten();
            let mut names = journals.map(|entry| entry.file_name());
            count.is_counting = names.any(|name| name.to_string_lossy().ends_with(".jsonl"));
        }
        count.is_counting |= count.from == From::ALoad && request.line == LOAD;
        if !count.is_counting {
            return None;
        }
        count.calls.push(request.line.clone());
        let aim = count.aim?;
        let when = aim.at_call(count.calls.len())?;
        count.landed = Some(request.line.clone());
        Some((aim.fault, when))
    }

    /// Injects the fault. Returns whether the call continues.
    fn apply(&self, fault: Fault, client: &mut UnixStream) -> io::Result<bool> {
        match fault {
            Fault::DropReply => Ok(false),
            Fault::Hang => {
                // The client closes the connection by itself, or never.
                drop(client.read(&mut [0]));
                Ok(false)
            }
            Fault::Delay => {
                thread::sleep(DELAY);
                Ok(true)
            }
            Fault::Answer(status) => {
                answer(client, status, "the test proxy answers for the Engine")?;
                Ok(false)
            }
            Fault::StartsFail => {
                self.refuses_starts.store(true, Ordering::SeqCst);
                Ok(true)
            }
            Fault::Kill | Fault::Cut => {
                self.notify_test();
                Ok(false)
            }
            Fault::RestartEngine
            | Fault::KillEngine
            | Fault::Terminate
            | Fault::RegistryGone
            | Fault::State(_)
            | Fault::DiskFull
            | Fault::Person(_) => {
                self.notify_test();
                Ok(true)
            }
        }
    }

    fn notify_test(&self) {
        let (release, done) = channel();
        drop(self.planned.send(release));
        let _ = done.recv();
    }
}

/// The call that loads an image.
const LOAD: &str = "POST /images/load";

/// Docker's message if a device of a container is missing.
const NO_DEVICE: &str =
    "error gathering device information while adding custom device: no such file or directory";

/// Answers instead of the Engine.
fn answer(client: &mut UnixStream, status: u16, message: &str) -> io::Result<()> {
    let body = serde_json::json!({ "message": message }).to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Struck\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// One complete request.
struct HttpRequest {
    /// `POST /containers/…/stop`, without the API version and the query.
    line: String,
    /// The path with its query.
    target: String,
    bytes: Vec<u8>,
    /// Whether its body follows in chunks, and is not in `bytes`.
    is_chunked: bool,
}

impl HttpRequest {
    /// Whether it starts a container.
    fn is_a_start(&self) -> bool {
        self.line.starts_with("POST /containers/") && self.line.ends_with("/start")
    }

    /// Whether its answer ends only when one side closes the connection.
    fn is_endless(&self) -> bool {
        self.line.ends_with("/events")
    }
}

/// Reads a request, and asks the Engine to close the connection after its answer.
fn read_request(client: &mut UnixStream) -> io::Result<HttpRequest> {
    let head = read_head(client)?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
    let header = |wanted: &str| {
        let mut lines = rest.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let is_chunked = header("transfer-encoding").is_some();
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    let close = if header("upgrade").is_some() { "" } else { "Connection: close\r\n" };
    let mut bytes = format!("{first}\r\n{close}{rest}").into_bytes();
    bytes.extend(body);
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let line = in_short(first);
    assert!(!is_chunked || line == LOAD, "the agent sends a body in chunks: {text}");
    Ok(HttpRequest { line, target, bytes, is_chunked })
}

fn in_short(first: &str) -> String {
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let is_version = |part: &&str| part.starts_with("v1.");
    let parts = path.split('/').filter(|part| !part.is_empty() && !is_version(part));
    let parts: Vec<&str> = parts.map(|part| part.get(..12).unwrap_or(part)).collect();
    format!("{method} /{}", parts.join("/"))
}

/// A chunk of a body, with its size and its end, and how many bytes of the body it has.
fn read_chunk(client: &mut UnixStream) -> io::Result<(Vec<u8>, u64)> {
    let mut chunk = read_to(client, b"\r\n")?;
    let size = String::from_utf8_lossy(&chunk);
    let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
    let begin = chunk.len();
    chunk.resize(begin + size + 2, 0);
    client.read_exact(&mut chunk[begin..])?;
    Ok((chunk, size as u64))
}

/// Everything up to the empty line, byte by byte, so that the body stays unread.
fn read_head(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    read_to(stream, b"\r\n\r\n")
}

fn read_to(stream: &mut UnixStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(end) {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Forwards everything in both directions, until one side closes the connection.
fn pass(mut client: UnixStream, mut engine: UnixStream) -> io::Result<()> {
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut from_client, &mut to_engine));
        drop(to_engine.shutdown(Shutdown::Both));
    });
    drop(io::copy(&mut engine, &mut client));
    client.shutdown(Shutdown::Both)
}
