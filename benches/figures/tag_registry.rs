//! A registry without TLS that has one digest for every tag and does no work, so that only its
//! client is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Serves on a port of this machine. Each answer comes `latency` after its request; `on_request` is
/// called for each request when it has arrived.
pub async fn serve_tags(
    digest: Digest,
    latency: Duration,
    on_request: impl Fn() + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: 0\r\n\
         Docker-Content-Digest: {digest}\r\n\r\n"
    );
    let (answer, on_request): (Arc<str>, _) = (answer.into(), Arc::new(on_request));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(answer_requests(client, answer.clone(), latency, on_request.clone()));
        }
    });
    address
}

/// Answers the requests of one client. Anything that is not a request gets the answer of Go's
/// server to a client that speaks TLS.
async fn answer_requests(
    mut client: TcpStream,
    answer: Arc<str>,
    latency: Duration,
    on_request: Arc<impl Fn()>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut length = 0;
    loop {
        let more = client.read(&mut buffer[length..]).await?;
        let begun = Instant::now();
        length += more;
        if more == 0 {
            return Ok(());
        }
        if !buffer[0].is_ascii_uppercase() {
            sleep_until(begun + latency).await;
            return client.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here").await;
        }
        if buffer[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            on_request();
            sleep_until(begun + latency).await;
            client.write_all(answer.as_bytes()).await?;
        }
    }
}
