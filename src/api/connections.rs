//! Connections, each with limits.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tls::ServerTls;

/// The pause after the system could not accept a connection, usually because file descriptors are
/// missing: they return when something is closed, and asking sooner does not help.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Limits for time and memory of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at a time: a Prometheus needs one. The next one replaces another.
    pub connections: usize,
    /// Connections of one client at a time. The next one replaces its oldest.
    pub connections_of_one: usize,
    /// Header lines of a request. A browser sends twenty.
    pub headers: usize,
    /// Bytes of a request's head; the minimum of the HTTP library.
    pub head_bytes: usize,
    /// How long a client may take to send the head of its request.
    pub head_timeout: Duration,
    /// How long a whole exchange may take. Prometheus gives up after ten seconds by default.
    pub exchange_timeout: Duration,
    /// How long exchanges may continue when the agent ends.
    pub shutdown_timeout: Duration,
}

impl ConnectionLimits {
    /// The limits that the agent uses.
    pub const DEFAULT: Self = Self {
        connections: 32,
        connections_of_one: 8,
        headers: 64,
        head_bytes: 8 * 1024,
        head_timeout: Duration::from_secs(5),
        exchange_timeout: Duration::from_secs(10),
        shutdown_timeout: Duration::from_secs(1),
    };
}

/// The client of a connection, for the limits. A network gives each customer a whole /64 of IPv6
/// (RFC 6177), and this machine has all of 127.0.0.0/8.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

/// The open connections, the oldest first.
#[derive(Default)]
pub(super) struct ConnectionSlots(VecDeque<(IpAddr, AbortHandle)>);

impl ConnectionSlots {
    /// Makes room for one more connection of this client. A slow client loses its own oldest
    /// connections to its next ones; if all slots are taken, the client with the most of them loses
    /// the oldest. A request that is sent at once is answered long before it is the oldest.
    pub(super) fn make_room(&mut self, client: IpAddr, limits: ConnectionLimits) {
        self.0.retain(|(_, exchange)| !exchange.is_finished());
        if self.count(client) >= limits.connections_of_one {
            self.end_oldest_of(client);
        }
        if self.0.len() >= limits.connections {
            let most = self.0.iter().map(|(client, _)| *client).max_by_key(|it| self.count(*it));
            self.end_oldest_of(most.unwrap_or(client));
        }
    }

    /// Takes a slot.
    pub(super) fn enter(&mut self, client: IpAddr, exchange: AbortHandle) {
        self.0.push_back((client, exchange));
    }

    fn count(&self, client: IpAddr) -> usize {
        self.0.iter().filter(|(other, _)| *other == client).count()
    }

    fn end_oldest_of(&mut self, client: IpAddr) {
        let oldest = self.0.iter().position(|(other, _)| *other == client);
        if let Some((_, exchange)) = oldest.and_then(|index| self.0.remove(index)) {
            exchange.abort();
        }
    }
}

/// Serves until `shutdown`. One request per connection: a scrape every few seconds gains nothing
/// from a kept connection, and an idle connection would take a slot.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
) {
    serve_tls(listener, router, limits, None, shutdown).await;
}

/// Serves as [`serve`] does, with TLS if there is a certificate.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    tls: Option<ServerTls>,
    shutdown: CancellationToken,
) {
    let mut exchanges = JoinSet::new();
    let mut places = ConnectionSlots::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // The exchange has already reported its panic, and it concerns no other.
            Some(_) = exchanges.join_next() => {}
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, from)) => {
                        let client = network_of(from.ip());
                        places.make_room(client, limits);
                        let tls = tls.as_ref().map(ServerTls::acceptor);
                        let served = serve_one(stream, tls, router.clone(), limits);
                        let exchange = exchanges.spawn(served.boxed());
                        places.enter(client, exchange);
                    }
                    Err(error) => cannot_accept(&error).await,
                }
            }
        }
    }
    drop(listener);
    let rest = async { while exchanges.join_next().await.is_some() {} };
    // Exchanges that are not done by then are aborted with the set.
    let _ = tokio::time::timeout(limits.shutdown_timeout, rest).await;
}

/// A stream with or without TLS.
pub(super) trait ServerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ServerStream for S {}

/// One connection; a handshake must end in the time for the head of a request.
async fn serve_one(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: ConnectionLimits,
) {
    let Some(tls) = tls else { return exchange(Box::new(stream), router, limits).await };
    match tokio::time::timeout(limits.head_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => exchange(Box::new(stream), router, limits).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a client took too long for its TLS handshake"),
    }
}

/// One exchange. Both kinds of stream are one type here, so that the HTTP server is in the program
/// once.
async fn exchange(stream: Box<dyn ServerStream>, router: Router, limits: ConnectionLimits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.exchange_timeout, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an exchange on the listen address failed"),
        Err(_) => tracing::debug!("a client of the listen address took too long"),
    }
}

/// A client that left while it waited is no problem; everything else is a problem of the system.
pub(super) async fn cannot_accept(error: &std::io::Error) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "this address cannot accept a connection now");
    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_address_or_its_network() {
        let client = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(client("127.0.0.1"), client("127.9.9.9"));
        assert_eq!(client("127.0.0.1"), client("::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[tokio::test]
    async fn the_client_with_most_connections_loses_one() {
        let mut tasks = JoinSet::new();
        let mut places = ConnectionSlots::default();
        let limits =
            ConnectionLimits { connections: 5, connections_of_one: 3, ..ConnectionLimits::DEFAULT };
        let mut enter = |name: &str| {
            let client = network_of(name.parse().expect("an address"));
            places.make_room(client, limits);
            places.0.push_back((client, tasks.spawn(std::future::pending::<()>())));
            let count = |name: &str| places.count(network_of(name.parse().expect("an address")));
            (count("192.0.2.1"), count("192.0.2.2"), count("127.0.0.1"))
        };
        for expected in [(1, 0, 0), (2, 0, 0), (3, 0, 0), (3, 0, 0)] {
            assert_eq!(enter("192.0.2.1"), expected);
        }
        assert_eq!(enter("192.0.2.2"), (3, 1, 0));
        assert_eq!(enter("192.0.2.2"), (3, 2, 0));
        assert_eq!(enter("127.0.0.1"), (2, 2, 1));
    }
}
