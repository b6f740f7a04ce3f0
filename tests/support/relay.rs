//! Stands between an Engine and its registry, and lets a pull come so far and no further.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// An answer that is longer than this is a layer with ballast: it is struck here, in the middle.
const STRIKE_AT: usize = 512 * 1024;

/// How much is passed on at a time, in bytes.
const PIECE: usize = 16 * 1024;

/// What happens in the middle of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing more comes, and the connection stays.
    Stall,
    /// The connection ends, this time and every time.
    Truncate,
    /// The rest is something else.
    Falsify,
}

/// The relay; its threads end with the test's process.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    registry: SocketAddr,
    mishap: Mutex<(Option<Mishap>, usize)>,
    struck: Condvar,
}

impl Relay {
    /// Begins to listen, on every address of this machine.
    pub fn start(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port for the relay");
        let address = listener.local_addr().expect("the relay's port");
        let (mishap, struck) = (Mutex::new((None, 0)), Condvar::new());
        let shared = Arc::new(Shared { registry, mishap, struck });
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = own.clone();
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Has this happen to every layer with ballast from now on; `None`: nothing.
    pub fn set(&self, mishap: Option<Mishap>) {
        *self.shared.mishap.lock().expect("no panic in the relay") = (mishap, 0);
        self.shared.struck.notify_all();
    }

    /// Waits until it has happened.
    pub fn await_strike(&self, limit: Duration) {
        let guard = self.shared.mishap.lock().expect("no panic in the relay");
        let waited = self.shared.struck.wait_timeout_while(guard, limit, |(_, count)| *count == 0);
        assert!(!waited.expect("no panic").1.timed_out(), "no layer was fetched in {limit:?}");
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut registry = TcpStream::connect(self.registry)?;
        let (mut from_client, mut to_registry) = (client.try_clone()?, registry.try_clone()?);
        thread::spawn(move || {
            drop(io::copy(&mut from_client, &mut to_registry));
            drop(to_registry.shutdown(Shutdown::Both));
        });
        let mut piece = vec![0; PIECE];
        let mut passed = 0;
        loop {
            let length = registry.read(&mut piece)?;
            if length == 0 {
                return client.shutdown(Shutdown::Both);
            }
            passed += length;
            if passed > STRIKE_AT {
                match self.strike() {
                    Some(Mishap::Truncate) => return client.shutdown(Shutdown::Both),
                    Some(Mishap::Falsify) => piece[..length].fill(0),
                    Some(Mishap::Stall) => self.await_another(Mishap::Stall),
                    None => {}
                }
            }
            client.write_all(&piece[..length])?;
        }
    }

    fn strike(&self) -> Option<Mishap> {
        let mut mishap = self.mishap.lock().expect("no panic in the relay");
        mishap.1 += 1;
        self.struck.notify_all();
        mishap.0
    }

    fn await_another(&self, present: Mishap) {
        let guard = self.mishap.lock().expect("no panic in the relay");
        drop(self.struck.wait_while(guard, |(mishap, _)| *mishap == Some(present)));
    }
}
