//! A peer that answers every connection with the same bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotfish::broker::{BrokerAddress, BrokerSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::broker::short_limits;

/// CONNACK of MQTT 5 without properties: the client is accepted.
pub const ACCEPTED: [u8; 5] = [0x20, 0x03, 0x00, 0x00, 0x00];

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// What a peer does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    Reads,
    Closes,
}

/// A running peer. It ends with the runtime of its test.
pub struct FakePeer {
    pub address: SocketAddr,
    attempts: Arc<Mutex<Vec<Instant>>>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl FakePeer {
    /// A peer that reads the first packet, says this, and then reads on or closes.
    pub async fn start(answer: Vec<u8>, afterwards: Afterwards) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = Self { address, attempts: Arc::default(), heard: Arc::default() };
        let (attempts, heard) = (peer.attempts.clone(), peer.heard.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                attempts.lock().expect("not poisoned").push(Instant::now());
                let (answer, heard) = (answer.clone(), heard.clone());
                tokio::spawn(async move {
                    let said = serve(stream, &answer, afterwards).await;
                    heard.lock().expect("not poisoned").push(said);
                });
            }
        });
        peer
    }

    /// The pauses between the connections so far.
    pub fn pauses(&self) -> Vec<Duration> {
        let attempts = self.attempts.lock().expect("not poisoned");
        attempts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// What the client sent after the answer, for each connection that has ended.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().expect("not poisoned").clone()
    }

    /// The settings of a client of this peer.
    pub fn settings(&self) -> BrokerSettings {
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        let mut settings =
            BrokerSettings::new(BrokerAddress { host, port, has_tls: false }, "device");
        settings.limits = short_limits();
        settings
    }
}

async fn serve(mut stream: TcpStream, answer: &[u8], afterwards: Afterwards) -> Vec<u8> {
    let mut connect = [0; 1024];
    // The client may be gone already.
    let _ = stream.read(&mut connect).await;
    let _ = stream.write_all(answer).await;
    let mut said = Vec::new();
    if afterwards == Afterwards::Reads {
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await;
    }
    said
}
