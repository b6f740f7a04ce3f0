//! `HEAD` requests without TLS, on connections that cost little.
//!
//! A connection of the HTTP library needs 35 kB, for bodies and for requests that wait in line. A
//! `HEAD` has no body, and nothing waits in line for one of these connections: it needs a tenth of
//! that, so that more of them may be open at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::registry::protocol::error::ExchangeError;
use crate::registry::protocol::tls::{HEADERS_MAX, IDLE_CONNECTION, USER_AGENT};

/// Longest head of an answer, in bytes. Registries send less than one kilobyte.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much room an answer gets at first, in bytes.
const HEAD_BYTES_USUAL: usize = 1024;

/// How long the addresses of a name hold, and why there are none: for the requests of one round.
const ADDRESSES_LIFE: Duration = Duration::from_secs(20);

/// How every answer begins.
const BEGIN: &[u8] = b"HTTP/1.";

/// What came back.
pub(in crate::registry) struct PlainAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Who answered.
    pub peer: SocketAddr,
}

/// Connections that have nothing to do, and where new ones lead.
pub(in crate::registry) struct PlainHeads {
    hosts: Arc<Mutex<HostConnectionTable>>,
    connect_timeout: Duration,
}

#[derive(Default)]
struct HostConnectionTable {
    by_authority: HashMap<String, HostConnections>,
    /// The task that closes what has nothing to do, while there is anything.
    sweeper: JoinSet<()>,
}

#[derive(Default)]
struct HostConnections {
    addresses: Arc<tokio::sync::Mutex<Option<Addresses>>>,
    idle: Vec<(TcpStream, Instant)>,
}

/// Where a name leads, or why it leads nowhere.
struct Addresses {
    since: Instant,
    found: Result<Vec<SocketAddr>, String>,
}

/// Why a connection gave no answer.
#[derive(Debug, PartialEq, Eq)]
enum NoAnswer {
    /// It was closed before the answer began.
    Closed,
    /// It was closed in the middle.
    Cut,
    NotHttp,
}

impl PlainHeads {
    /// No connections yet.
    pub fn new(connect_timeout: Duration) -> Self {
        Self { hosts: Arc::default(), connect_timeout }
    }

    /// Asks `host`. How long the answer may take is the caller's matter.
    pub async fn ask(
        &self,
        host: &str,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<PlainAnswer, ExchangeError> {
        let authority = authority_of(url);
        let authority = authority.as_str();
        let request = request(url, authority, headers);
        if let Some(mut kept) = self.kept(authority) {
            match exchange(&mut kept, &request).await {
                // The server may have closed it at any time.
                Err(NoAnswer::Closed) => {}
                answer => return self.end(authority, kept, answer, host),
            }
        }
        let mut fresh = self.connect(host, authority, url).await?;
        let answer = exchange(&mut fresh, &request).await;
        self.end(authority, fresh, answer, host)
    }

    /// Keeps a connection that may be used again.
    fn end(
        &self,
        authority: &str,
        connection: TcpStream,
        answer: Result<(StatusCode, HeaderMap, bool), NoAnswer>,
        host: &str,
    ) -> Result<PlainAnswer, ExchangeError> {
        let host = || host.to_owned();
        let (status, headers, stays_open) = answer.map_err(|why| match why {
            NoAnswer::Closed | NoAnswer::Cut => ExchangeError::Cut { host: host() },
            NoAnswer::NotHttp => ExchangeError::NotHttp { host: host() },
        })?;
        let peer = connection.peer_addr().map_err(|_| ExchangeError::Cut { host: host() })?;
        if stays_open {
            self.keep(authority, connection);
        }
        Ok(PlainAnswer { status, headers, peer })
    }

    fn kept(&self, authority: &str) -> Option<TcpStream> {
        let mut hosts = lock(&self.hosts);
        let (connection, since) = hosts.by_authority.get_mut(authority)?.idle.pop()?;
        (since.elapsed() < IDLE_CONNECTION).then_some(connection)
    }

    fn keep(&self, authority: &str, connection: TcpStream) {
        let mut hosts = lock(&self.hosts);
        let host = hosts.by_authority.entry(authority.to_owned()).or_default();
        host.idle.push((connection, Instant::now()));
        if hosts.sweeper.is_empty() {
            hosts.sweeper.spawn(sweep(Arc::downgrade(&self.hosts)));
        }
    }

    async fn connect(
        &self,
        host: &str,
        authority: &str,
        url: &Url,
    ) -> Result<TcpStream, ExchangeError> {
        let failed = |problem: String| ExchangeError::Connect { host: host.to_owned(), problem };
        let addresses = self.addresses(authority, url).await.map_err(failed)?;
        let share = self.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut error = failed("its name has no address".to_owned());
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(connection)) => {
                    // A request is one packet, which must not wait for another.
                    let _ = connection.set_nodelay(true);
                    return Ok(connection);
                }
                Ok(Err(problem)) => error = failed(problem.to_string()),
                Err(_) => {
                    let (host, after) = (host.to_owned(), self.connect_timeout);
                    error = ExchangeError::Timeout { host, after };
                }
            }
        }
        Err(error)
    }

    /// Where a name leads, asked for once for all requests of a round.
    async fn addresses(&self, authority: &str, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let slot = {
            let mut hosts = lock(&self.hosts);
            Arc::clone(&hosts.by_authority.entry(authority.to_owned()).or_default().addresses)
        };
        let mut slot = slot.lock().await;
        if let Some(known) = slot.as_ref().filter(|it| it.since.elapsed() < ADDRESSES_LIFE) {
            return known.found.clone();
        }
        let name = url.host_str().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let found = match timeout(self.connect_timeout, lookup_host((name, port))).await {
            Ok(found) => found.map(Iterator::collect).map_err(|error| error.to_string()),
            Err(_) => Err("its name could not be looked up in time".to_owned()),
        };
        *slot = Some(Addresses { since: Instant::now(), found: found.clone() });
        found
    }
}

fn lock(hosts: &Mutex<HostConnectionTable>) -> MutexGuard<'_, HostConnectionTable> {
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes connections that have had nothing to do for a while, until there are none.
async fn sweep(hosts: Weak<Mutex<HostConnectionTable>>) {
    loop {
        tokio::time::sleep(IDLE_CONNECTION).await;
        let Some(hosts) = hosts.upgrade() else { return };
        let mut hosts = lock(&hosts);
        for host in hosts.by_authority.values_mut() {
            host.idle.retain(|(_, since)| since.elapsed() < IDLE_CONNECTION);
        }
        hosts.by_authority.retain(|_, host| !host.idle.is_empty());
        if hosts.by_authority.is_empty() {
            *hosts = HostConnectionTable::default();
            return;
        }
    }
}

/// `HOST`, or `HOST:PORT` where the port is not the usual one.
fn authority_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn request(url: &Url, authority: &str, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let first = format!("HEAD {}{query} HTTP/1.1\r\n", url.path());
    let mut text = format!("{first}host: {authority}\r\nuser-agent: {USER_AGENT}\r\n").into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// One request and its answer, and whether the connection may be used again.
async fn exchange(
    connection: &mut TcpStream,
    request: &[u8],
) -> Result<(StatusCode, HeaderMap, bool), NoAnswer> {
    connection.write_all(request).await.map_err(|_| NoAnswer::Closed)?;
    let mut head = Vec::with_capacity(HEAD_BYTES_USUAL);
    loop {
        let seen = head.len();
        let more = connection.read_buf(&mut head).await.unwrap_or(0);
        if more == 0 {
            return Err(if head.is_empty() { NoAnswer::Closed } else { NoAnswer::Cut });
        }
        let begin = head.len().min(BEGIN.len());
        if head[..begin] != BEGIN[..begin] || head.len() > HEAD_BYTES_MAX {
            return Err(NoAnswer::NotHttp);
        }
        let Some(end) = end_of_head(&head, seen) else { continue };
        let (status, headers, stays_open) = parse(&head[..end])?;
        if status.is_informational() {
            return Err(NoAnswer::NotHttp);
        }
        return Ok((status, headers, stays_open && end == head.len()));
    }
}

/// Where the head ends, if it does. What was `seen` before is not looked at again.
fn end_of_head(head: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    let ends = |at: usize| head[at..].starts_with(b"\n\r\n") || head[at..].starts_with(b"\n\n");
    let at = (from..head.len()).find(|at| ends(*at))?;
    Some(at + if head[at + 1] == b'\r' { 3 } else { 2 })
}

fn parse(head: &[u8]) -> Result<(StatusCode, HeaderMap, bool), NoAnswer> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut lines);
    if !answer.parse(head).is_ok_and(|end| end.is_complete()) {
        return Err(NoAnswer::NotHttp);
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(NoAnswer::NotHttp)?;
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    for line in answer.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NoAnswer::NotHttp)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| NoAnswer::NotHttp)?;
        headers.append(name, value);
    }
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    let stays_open = answer.version == Some(1) && !headers.get_all(CONNECTION).iter().any(closes);
    Ok((status, headers, stays_open))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX: y\r\n\r\n";

    /// What comes of two requests to a server that answers each of its connections like this, one
    /// answer for each request; and how many connections it had.
    async fn two_requests(answers: &'static [&'static str]) -> (Vec<Result<u16, String>>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v2/a?b=c", listener.local_addr().expect("an address"));
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                *counted.lock().expect("the count") += 1;
                let mut buffer = [0; 4096];
                for answer in answers {
                    let length = client.read(&mut buffer).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    assert!(length == 0 || text.starts_with("HEAD /v2/a?b=c HTTP/1.1\r\nhost: "));
                    for piece in answer.as_bytes().chunks(9) {
                        let _ = client.write_all(piece).await;
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        let heads = PlainHeads::new(Duration::from_secs(1));
        let url = url.parse().expect("a URL");
        let mut results = Vec::new();
        for _ in 0..2 {
            let answer = heads.ask("it", &url, &[]).await;
            results.push(answer.map(|it| it.status.as_u16()).map_err(|error| error.to_string()));
        }
        let count = *count.lock().expect("the count");
        (results, count)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_where_it_may_be() {
        assert_eq!(two_requests(&[GOOD, GOOD]).await, (vec![Ok(200), Ok(200)], 1));
        // One that was closed in the meantime is not a failure.
        assert_eq!(two_requests(&[GOOD]).await, (vec![Ok(200), Ok(200)], 2));
        for other in [
            "HTTP/1.1 404 Not Found\r\nConnection: Close\r\n\r\n",
            "HTTP/1.0 404 Not Found\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n\r\na body that a HEAD may not have",
        ] {
            let answers: &'static [&'static str] = Box::leak(Box::new([other, GOOD]));
            assert_eq!(two_requests(answers).await, (vec![Ok(404), Ok(404)], 2), "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said() {
        let cut = "it broke the connection off".to_owned();
        let not_http = "it answered with something that is not HTTP".to_owned();
        for (answer, error) in [
            ("", &cut),
            ("HTTP/1.1 200 OK\r\nX", &cut),
            ("SSH-2.0-x\r\n", &not_http),
            ("HTTP/1.1 abc\r\n\r\n", &not_http),
            ("HTTP/1.1 200 OK\r\nno header\r\n\r\n", &not_http),
        ] {
            let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
            let (results, _) = two_requests(answers).await;
            assert_eq!(results, [Err(error.clone()), Err(error.clone())], "{answer}");
        }
        let heads = PlainHeads::new(Duration::from_secs(1));
        let url = "http://127.0.0.1:1/".parse().expect("a URL");
        let refused = heads.ask("it", &url, &[]).await.map(|it| it.status);
        assert!(matches!(refused, Err(ExchangeError::Connect { .. })), "{refused:?}");
    }

    #[test]
    fn the_end_of_a_head_is_found_across_pieces() {
        for head in [&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..], b"HTTP/1.1 200\nA: b\n\n"] {
            for seen in 0..head.len() {
                assert_eq!(end_of_head(&head[..seen], 0), None);
                assert_eq!(end_of_head(head, seen), Some(head.len()), "{seen}");
            }
        }
    }
}
