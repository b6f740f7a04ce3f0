//! Probes from outside: one connection, one request, no retries.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::core::docker::authority::in_brackets;

/// How much of an answer is read: a status line is short.
const STATUS_BYTES_MAX: usize = 256;

/// Runs a probe with a time limit.
pub async fn within(
    timeout: Duration,
    probe: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let late = || format!("no answer within {}", humantime::format_duration(timeout));
    tokio::time::timeout(timeout, probe).await.unwrap_or_else(|_| Err(late()))
}

/// Connects and closes the connection.
pub async fn tcp(host: &str, port: u16) -> Result<(), String> {
    connect(host, port).await.map(|_| ())
}

/// Sends `GET path` and reads the status line. One plain HTTP/1.1 request written by hand: an HTTP
/// client would bring a pool, redirects and proxies, and a probe may use none of them.
pub async fn http(host: &str, port: u16, path: &str) -> Result<(), String> {
    let mut stream = connect(host, port).await?;
    let authority = authority(host, port);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: pilotfish\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: std::io::Error| format!("{authority}: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    while answer.len() < STATUS_BYTES_MAX && !answer.contains(&b'\n') {
        if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
            break;
        }
    }
    judge(&answer)
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let bare = without_brackets(host);
    let failed = |error| format!("{}: {error}", authority(host, port));
    TcpStream::connect((bare, port)).await.map_err(failed)
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// As in a `Host` header (RFC 9112, 3.2): an IPv6 address in brackets.
fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", in_brackets(Some(without_brackets(host))))
}

fn judge(answer: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or(b""));
    let mut words = line.split_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    match words.next().and_then(|status| status.parse::<u16>().ok()) {
        Some(status) if is_http && (200..400).contains(&status) => Ok(()),
        Some(status) if is_http => Err(format!("answered {status}")),
        _ => Err("the answer is not HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_below_400_passes_the_probe() {
        assert!(judge(b"HTTP/1.1 200 OK\r\n").is_ok());
        assert!(judge(b"HTTP/1.0 302 Found\r\n").is_ok());
        assert_eq!(judge(b"HTTP/1.1 503 Busy\r\n"), Err("answered 503".into()));
        assert!(judge(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(judge(b"").is_err());
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("[::1]", 80), "[::1]:80");
        assert_eq!(authority("127.0.0.1", 80), "127.0.0.1:80");
        assert_eq!(authority("till", 8080), "till:8080");
    }

    #[tokio::test]
    async fn a_server_on_ipv6_is_asked_by_its_address_in_brackets() {
        let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else { return };
        let port = listener.local_addr().expect("its address").port();
        let asked = tokio::spawn(async move { http("::1", port, "/").await });
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut head = [0; 1024];
        let length = client.read(&mut head).await.expect("a request");
        let request = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(request.contains(&format!("Host: [::1]:{port}\r\n")), "{request}");
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
        assert_eq!(asked.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn a_closed_port_fails_the_probe() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        assert!(within(Duration::from_secs(5), tcp("127.0.0.1", port)).await.is_ok());
        drop(listener);
        assert!(within(Duration::from_secs(5), tcp("127.0.0.1", port)).await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let result = within(Duration::from_millis(50), http("127.0.0.1", port, "/")).await;
        assert_eq!(result, Err("no answer within 50ms".into()));
    }
}
