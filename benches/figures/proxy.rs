//! A proxy before the Engine's socket that counts the calls.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// The end of the first line of each request.
const REQUEST_LINE_END: &[u8] = b" HTTP/1.1\r\n";

/// Listens until the process ends.
pub struct Proxy {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens at `socket`, and passes everything on to the Engine at `engine`.
    pub fn start(socket: &Path, engine: PathBuf) -> Self {
        let listener = UnixListener::bind(socket).expect("the proxy's socket");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let counted = Arc::clone(&calls);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (engine, counted) = (engine.clone(), Arc::clone(&counted));
                thread::spawn(move || pass(&client, &engine, &counted));
            }
        });
        Self { calls }
    }

    /// The calls since the last time, such as `GET /v1.41/info`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().expect("the count"))
    }
}

fn pass(client: &UnixStream, engine: &Path, calls: &Mutex<Vec<String>>) -> io::Result<()> {
    let engine = UnixStream::connect(engine)?;
    let (mut answers, mut back) = (engine.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut answers, &mut back));
        drop(back.shutdown(Shutdown::Write));
    });
    let (mut requests, mut onward) = (client, &engine);
    let mut buffer = [0; 65536];
    loop {
        let length = requests.read(&mut buffer)?;
        if length == 0 {
            return engine.shutdown(Shutdown::Both);
        }
        count(&buffer[..length], calls);
        onward.write_all(&buffer[..length])?;
    }
}

/// A client writes the head of a request at once, so its first line is never split.
fn count(bytes: &[u8], calls: &Mutex<Vec<String>>) {
    let ends = bytes.windows(REQUEST_LINE_END.len()).enumerate();
    for (end, _) in ends.filter(|(_, window)| *window == REQUEST_LINE_END) {
        let line = bytes[..end].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        calls.lock().expect("the count").push(line);
    }
}
