//! A registry of one blob, with or without faults. It writes HTTP itself, so that it can end a
//! connection anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pilotfish::core::docker::reference::Digest;
use pilotfish::core::mirror::manifest_tree::BlobDescriptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a peer does with its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The first connections end after so many bytes: their number, and the bytes.
    Cuts(usize, usize),
    /// Every connection ends after so many bytes, and `Range` is not known.
    CutWithoutRange(usize),
    /// Every connection stays open and silent after so many bytes.
    Stall(usize),
    /// Other bytes than the digest says, of the right number.
    Wrong,
    /// The body is chunked and has no end.
    Endless,
    /// As a target: nothing is read of an upload.
    Deaf,
    /// As a target: the connection ends after so many bytes of an upload.
    Breaks(usize),
}

/// The peer. It ends with the test's runtime.
pub struct Peer {
    pub registry: String,
    pub blob: BlobDescriptor,
    /// Bytes of the blob that were sent.
    pub sent: Arc<AtomicU64>,
    /// Requests for the blob.
    pub asked: Arc<AtomicUsize>,
}

/// Bytes without any pattern that repeats within the sizes of buffers.
pub fn content(size: usize) -> Vec<u8> {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*state >> 24) as u8)
    };
    std::iter::repeat_n((), size).scan(7_u32, |state, ()| step(state)).collect()
}

pub fn descriptor(content: &[u8]) -> BlobDescriptor {
    BlobDescriptor { digest: Digest::of(content), size: content.len() as u64 }
}

impl Peer {
    pub async fn start(content: Vec<u8>, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let registry = listener.local_addr().expect("an address").to_string();
        let (sent, asked) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let blob = descriptor(&content);
        let server =
            Server { content: content.into(), fault, sent: sent.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(connection));
            }
        });
        Self { registry, blob, sent, asked }
    }
}

#[derive(Clone)]
struct Server {
    content: Arc<[u8]>,
    fault: Fault,
    sent: Arc<AtomicU64>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn serve(self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
            if head[0] == 0x16 {
                return Ok(()); // A TLS handshake.
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if head.starts_with("post ") {
            let location = "/v2/a/blobs/uploads/1?_state=x";
            let answer = format!("HTTP/1.1 202 Accepted\r\nlocation: {location}\r\n");
            connection.write_all(answer.as_bytes()).await?;
            return connection.write_all(b"content-length: 0\r\nconnection: close\r\n\r\n").await;
        }
        if head.starts_with("put ") {
            return self.take(connection).await;
        }
        self.give(connection, &head).await
    }

    async fn take(&self, mut connection: TcpStream) -> std::io::Result<()> {
        match self.fault {
            Fault::Breaks(after) => {
                let mut some = vec![0; after];
                connection.read_exact(&mut some).await?;
                connection.set_zero_linger()
            }
            _ => std::future::pending().await,
        }
    }

    async fn give(&self, mut connection: TcpStream, head: &str) -> std::io::Result<()> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let range = head.split_once("range: bytes=").and_then(|(_, rest)| rest.split('-').next());
        let begin: usize = range.and_then(|begin| begin.trim().parse().ok()).unwrap_or(0);
        let knows_range = !matches!(self.fault, Fault::CutWithoutRange(_));
        let begin = if knows_range { begin } else { 0 };
        let (rest, size) = (&self.content[begin..], self.content.len());
        let last = size.saturating_sub(1);
        let status = match begin {
            0 => "HTTP/1.1 200 OK\r\n".to_owned(),
            _ => format!("HTTP/1.1 206 Partial\r\ncontent-range: bytes {begin}-{last}/{size}\r\n"),
        };
        connection.write_all(status.as_bytes()).await?;
        if self.fault == Fault::Endless {
            connection.write_all(b"transfer-encoding: chunked\r\n\r\n").await?;
            loop {
                connection.write_all(b"4000\r\n").await?;
                connection.write_all(&[0; 0x4000]).await?;
                connection.write_all(b"\r\n").await?;
                self.sent.fetch_add(0x4000, Ordering::SeqCst);
            }
        }
        let length = format!("content-length: {}\r\nconnection: close\r\n\r\n", rest.len());
        connection.write_all(length.as_bytes()).await?;
        let part = match self.fault {
            Fault::Cuts(times, after) if number < times => &rest[..after.min(rest.len())],
            Fault::CutWithoutRange(after) if number == 0 => &rest[..after.min(rest.len())],
            Fault::Stall(after) => &rest[..after.min(rest.len())],
            _ => rest,
        };
        if self.fault == Fault::Wrong {
            let mut wrong = part.to_vec();
            wrong[size / 2] ^= 1;
            return connection.write_all(&wrong).await;
        }
        connection.write_all(part).await?;
        self.sent.fetch_add(part.len() as u64, Ordering::SeqCst);
        if matches!(self.fault, Fault::Stall(_)) {
            std::future::pending::<()>().await;
        }
        connection.shutdown().await
    }
}
