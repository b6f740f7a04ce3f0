//! A relay between an Engine and its registry, which interrupts a pull in the middle.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// A longer answer is a layer with ballast; the fault happens at this position, in its middle.
const FAULT_AT: usize = 512 * 1024;

/// The size of one chunk, in bytes.
const CHUNK: usize = 16 * 1024;

/// The fault in the middle of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayFault {
    /// No more data comes, and the connection stays open.
    Stall,
    /// The connection ends, at every try.
    Truncate,
    /// The rest of the layer is wrong.
    Falsify,
}

/// The relay; its threads end with the test's process.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    registry: SocketAddr,
    fault: Mutex<(Option<RelayFault>, usize)>,
    fault_happened: Condvar,
}

impl Relay {
    /// Starts to listen, on all addresses of this machine.
    pub fn start(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port for the relay");
        let address = listener.local_addr().expect("the relay's port");
        let (fault, fault_happened) = (Mutex::new((None, 0)), Condvar::new());
        let shared = Arc::new(Shared { registry, fault, fault_happened });
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

    /// Sets the fault for every layer with ballast; `None`: no fault.
    pub fn set(&self, fault: Option<RelayFault>) {
        *self.shared.fault.lock().expect("no panic in the relay") = (fault, 0);
        self.shared.fault_happened.notify_all();
    }

    /// Waits until the fault has happened.
    pub fn wait_for_fault(&self, limit: Duration) {
        let guard = self.shared.fault.lock().expect("no panic in the relay");
        let waited =
            self.shared.fault_happened.wait_timeout_while(guard, limit, |(_, count)| *count == 0);
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
        let mut piece = vec![0; CHUNK];
        let mut passed = 0;
        loop {
            let length = registry.read(&mut piece)?;
            if length == 0 {
                return client.shutdown(Shutdown::Both);
            }
            passed += length;
            if passed > FAULT_AT {
                match self.fault_at_this_point() {
                    Some(RelayFault::Truncate) => return client.shutdown(Shutdown::Both),
                    Some(RelayFault::Falsify) => piece[..length].fill(0),
                    Some(RelayFault::Stall) => self.wait_for_other_fault(RelayFault::Stall),
                    None => {}
                }
            }
            client.write_all(&piece[..length])?;
        }
    }

    fn fault_at_this_point(&self) -> Option<RelayFault> {
        let mut fault = self.fault.lock().expect("no panic in the relay");
        fault.1 += 1;
        self.fault_happened.notify_all();
        fault.0
    }

    fn wait_for_other_fault(&self, present: RelayFault) {
        let guard = self.fault.lock().expect("no panic in the relay");
        drop(self.fault_happened.wait_while(guard, |(fault, _)| *fault == Some(present)));
    }
}
