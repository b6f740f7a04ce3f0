//! Connections, each with a limit on everything.

use std::io::ErrorKind;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long to wait after the system could not give a connection, most likely for want of file
/// descriptors: they come back when something is closed, and not sooner for asking.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How much of one client's patience and this machine's memory a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. More wait in the system's queue: a Prometheus needs one.
    pub connections: usize,
    /// Header lines of a request. A browser sends twenty.
    pub headers: usize,
    /// Bytes of a request's head; the least that the HTTP library takes.
    pub head_bytes: usize,
    /// How long a client may take to send the head of its request.
    pub head_timeout: Duration,
    /// How long a whole exchange may take. Prometheus gives up after ten seconds by default.
    pub exchange_timeout: Duration,
    /// How long exchanges may go on when the agent ends.
    pub shutdown_timeout: Duration,
}

impl Limits {
    /// What the agent uses.
    pub const DEFAULT: Self = Self {
        connections: 32,
        headers: 64,
        head_bytes: 8 * 1024,
        head_timeout: Duration::from_secs(5),
        exchange_timeout: Duration::from_secs(10),
        shutdown_timeout: Duration::from_secs(1),
    };
}

/// Serves until `shutdown`. One request a connection: a scrape every few seconds gains nothing
/// from keeping one, and an idle connection would take a place.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // A panic in an exchange was reported by its own message and concerns no other.
            Some(_) = exchanges.join_next() => {}
            accepted = listener.accept(), if exchanges.len() < limits.connections => {
                match accepted {
                    Ok((stream, _)) => {
                        exchanges.spawn(exchange(stream, router.clone(), limits));
                    }
                    Err(error) => cannot_accept(&error).await,
                }
            }
        }
    }
    drop(listener);
    let rest = async { while exchanges.join_next().await.is_some() {} };
    // Whoever is not done by then is cut off with the end of the set.
    let _ = tokio::time::timeout(limits.shutdown_timeout, rest).await;
}

async fn exchange(stream: TcpStream, router: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.exchange_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the listen address went wrong"),
        Err(_) => tracing::debug!("a client of the listen address took too long"),
    }
}

/// A client that left while it waited concerns nobody; everything else is the system's trouble.
async fn cannot_accept(error: &std::io::Error) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "the listen address can take no connection now");
    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
}
