//! Connections of the push API. A connection has a place only after its client has proved itself,
//! so that programs without a certificate cannot take the places of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tls::{PushTls, client_of};
use super::{Caller, Placement};
use crate::api::connections::{
    ConnectionLimits, ConnectionSlots, ServerStream, cannot_accept, network_of,
};
use crate::core::push::client::PushClient;
use crate::metrics::Metrics;

/// Limits of the connections of the push API.
#[derive(Debug, Clone, Copy)]
pub struct PushLimits {
    /// Limits until the client has proved itself, and of the head of its request.
    pub handshakes: ConnectionLimits,
    /// Requests of all clients at a time.
    pub requests: usize,
    /// Requests of one client at a time: a load, its look at the layers, and a person who looks.
    pub requests_of_one: usize,
    /// How long one request may take: the largest archive over a slow line, and its update.
    pub exchange_timeout: Duration,
    /// How many bytes of a body are read at once, and the longest head of a request. With the 8 kB
    /// of other servers an archive would come in eight times as many parts.
    pub read_bytes: usize,
    /// How long and how much is read of a body that is refused, so that the client reads the
    /// answer: a system that closes a connection with unread data resets it.
    pub refused_body_timeout: Duration,
    pub refused_body_bytes: u64,
    /// How long a client may take for each [`progress_bytes`](Self::progress_bytes) of an archive.
    /// The time in which the Engine writes does not count.
    pub progress_timeout: Duration,
    pub progress_bytes: u64,
}

impl PushLimits {
    /// The limits that the agent uses. The slowest line brings 17 kB/s.
    pub const DEFAULT: Self = Self {
        handshakes: ConnectionLimits::DEFAULT,
        requests: 32,
        requests_of_one: 4,
        exchange_timeout: Duration::from_secs(24 * 3600),
        read_bytes: 64 * 1024,
        refused_body_timeout: Duration::from_secs(5),
        refused_body_bytes: 64_000_000,
        progress_timeout: Duration::from_secs(60),
        progress_bytes: 1_000_000,
    };
}

/// A client that has proved itself, and its connection.
struct Proven {
    stream: Box<dyn ServerStream>,
    client: Arc<PushClient>,
    from: SocketAddr,
}

/// Serves until `shutdown`. One request per connection.
pub async fn serve_push(
    listener: TcpListener,
    router: Router,
    limits: PushLimits,
    (tls, metrics): (PushTls, Arc<Metrics>),
    shutdown: CancellationToken,
) {
    let mut handshakes: JoinSet<Option<Proven>> = JoinSet::new();
    let mut slots = ConnectionSlots::default();
    let mut requests = Requests::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // A request has already reported its panic, and it concerns no other.
            Some(_) = requests.tasks.join_next() => {}
            Some(ended) = handshakes.join_next() => match ended {
                Ok(Some(proven)) => requests.begin(proven, router.clone(), limits),
                Ok(None) => metrics.push_request("", "", "unauthenticated"),
                // A newer connection took its place.
                Err(_) => {}
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let network = network_of(from.ip());
                    slots.make_room(network, limits.handshakes);
                    let handshake = shake_hands(stream, from, tls.acceptor(), limits.handshakes);
                    slots.enter(network, handshakes.spawn(handshake.boxed()));
                }
                Err(error) => cannot_accept(&error).await,
            },
        }
    }
    drop(listener);
    let rest = async { while requests.tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits.handshakes.shutdown_timeout, rest).await;
}

/// `None` if the client did not prove itself.
async fn shake_hands(
    stream: TcpStream,
    from: SocketAddr,
    tls: TlsAcceptor,
    limits: ConnectionLimits,
) -> Option<Proven> {
    let stream = match tokio::time::timeout(limits.head_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%from, "the push API refuses a client: {}", in_words(&error));
            return None;
        }
        Err(_) => {
            tracing::info!(%from, "a client of the push API took too long for its TLS handshake");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let client = Arc::new(client_of(certificate)?);
    Some(Proven { stream: Box::new(stream), client, from })
}

/// Why a handshake failed, with the cause that a person can do something about.
fn in_words(error: &std::io::Error) -> String {
    use rustls::CertificateError;
    use rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::NoCertificatesPresented) => "it has no certificate".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::Revoked)) => {
            "its certificate is revoked".to_owned()
        }
        Some(Error::InvalidCertificate(
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. },
        )) => "push.crl_file is out of date, so all clients are refused: renew it".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownRevocationStatus)) => {
            "push.crl_file has no list of its authority".to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is not of the authority in push.client_ca_file".to_owned()
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

/// The requests of proven clients. Their tasks have the type of those of the other servers, so
/// that the runtime's code for them is in the program once.
#[derive(Default)]
struct Requests {
    tasks: JoinSet<()>,
    /// The fingerprints of their clients.
    clients: Vec<(String, AbortHandle)>,
}

impl Requests {
    /// Begins a request; without a free place, its answer says so.
    fn begin(&mut self, proven: Proven, router: Router, limits: PushLimits) {
        self.clients.retain(|(_, request)| !request.is_finished());
        let fingerprint = proven.client.fingerprint.clone();
        let own = self.clients.iter().filter(|(other, _)| *other == fingerprint).count();
        let is_full = own >= limits.requests_of_one || self.clients.len() >= limits.requests;
        let placement = if is_full { Placement::Full } else { Placement::Placed };
        // The answer to a client without a place is short. Beyond that, nothing is answered.
        if own >= 2 * limits.requests_of_one || self.clients.len() >= 2 * limits.requests {
            return;
        }
        let caller = Caller { client: proven.client, from: proven.from.to_string(), placement };
        let router = router.layer(Extension(caller));
        let task = self.tasks.spawn(exchange(proven.stream, router, limits).boxed());
        self.clients.push((fingerprint, task));
    }
}

/// One exchange. Afterwards the rest of a refused body is read, within limits. The stream has the
/// type that the other servers use, so that the HTTP server is in the program once.
async fn exchange(stream: Box<dyn ServerStream>, router: Router, limits: PushLimits) {
    let ConnectionLimits { headers, head_timeout, .. } = limits.handshakes;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(headers)
        .max_buf_size(limits.read_bytes)
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.exchange_timeout, connection.without_shutdown()).await {
        Ok(Ok(parts)) => {
            let closing = close(parts.io.into_inner(), limits.refused_body_bytes);
            let _ = tokio::time::timeout(limits.refused_body_timeout, closing).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a request of the push API failed"),
        Err(_) => tracing::debug!("a request of the push API took too long"),
    }
}

/// Says that nothing more comes, and reads until the client says the same.
async fn close(mut stream: Box<dyn ServerStream>, bytes_max: u64) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(bytes_max);
        let mut buffer = [0; 4096];
        while rest.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }
}
