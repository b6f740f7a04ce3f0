//! Servers that do not even speak HTTP: silence, resets, a slow drip.

use std::sync::Arc;
use std::time::Duration;

use pilotfish::core::decide::reason::Reason;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::Digest;
use pilotfish::registry::{HttpRegistry, Limits, Registry as _};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted::{Scripted, reply};
use crate::support::{Observed, client, impatient, platform, reference, settings, told};

/// What a server below HTTP does with a connection that speaks plain http to it.
#[derive(Clone, Copy)]
enum Below {
    Silent,
    Close,
    Reset,
    Drip,
    Rubbish,
    HalfBody,
}

/// A server that hangs up on TLS, and does as it pleases with plain http.
async fn below_http(what: Below) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(misbehave(connection, what));
        }
    });
    address.to_string()
}

async fn misbehave(mut connection: TcpStream, what: Below) -> std::io::Result<()> {
    let mut start = [0; 1];
    connection.read_exact(&mut start).await?;
    if start[0] == 0x16 {
        return Ok(()); // A TLS handshake.
    }
    let mut rest = [0; 4096];
    let _ = connection.read(&mut rest).await?;
    match what {
        Below::Close => {}
        Below::Reset => connection.set_zero_linger()?,
        Below::Silent => std::future::pending().await,
        Below::Rubbish => connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await?,
        Below::Drip => {
            connection.write_all(b"HTTP/1.1 200 OK\r\nx-drip: ").await?;
            loop {
                connection.write_all(b"x").await?;
                // The very thing under test: an answer that never stands still and never ends.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Below::HalfBody => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{";
            connection.write_all(head).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_happens_below_http_has_a_reason_too() {
    let directory = tempdir().expect("a directory");
    let limits = Limits { request_timeout: Duration::from_millis(400), ..impatient() };
    let timeout = "registry_unreachable: HOST did not answer within 0.4 s";
    let cut = "registry_unreachable: HOST broke the connection off";
    let table = [
        (Below::Silent, timeout, "timeout"),
        (Below::Close, cut, "error"),
        (Below::Reset, cut, "error"),
        (Below::Rubbish, "registry_error: HOST answered with something that is not HTTP", "error"),
        (Below::Drip, timeout, "timeout"),
    ];
    for (what, expected, code) in table {
        let host = below_http(what).await;
        let heard = Arc::new(Observed::default());
        let settings = settings(directory.path());
        let client = HttpRegistry::with_limits(settings, heard.clone(), limits).expect("good");
        let result = client.head(&reference(&host, "a:1")).await;
        assert_eq!(told(result, &host), expected);
        assert_eq!(heard.codes().pop().as_deref(), Some(code));
    }
    let host = below_http(Below::HalfBody).await;
    let client = HttpRegistry::with_limits(
        settings(directory.path()),
        Arc::new(Observed::default()),
        limits,
    )
    .expect("good settings");
    let digest = Digest::of(b"x");
    let half = client.resolve(&reference(&host, "a:1"), &digest, &platform("linux/arm64")).await;
    assert_eq!(told(half, &host), cut);
}

#[tokio::test]
async fn a_host_that_stays_silent_is_left_alone_after_three() {
    let directory = tempdir().expect("a directory");
    let host = below_http(Below::Silent).await;
    let limits = Limits {
        request_timeout: Duration::from_millis(200),
        pause_first: Duration::from_secs(60),
        ..Limits::default()
    };
    let heard = Arc::new(Observed::default());
    let client = HttpRegistry::with_limits(settings(directory.path()), heard.clone(), limits)
        .expect("good settings");
    for number in 0..10 {
        let result = client.head(&reference(&host, &format!("a{number}:1"))).await;
        assert_eq!(result.map_err(|error| error.reason), Err(Reason::RegistryUnreachable));
    }
    let timeouts = heard.codes().iter().filter(|code| *code == "timeout").count();
    assert_eq!(timeouts, 3);
}

#[tokio::test]
async fn a_host_that_stays_silent_holds_no_other_host_up() {
    let directory = tempdir().expect("a directory");
    let silent = below_http(Below::Silent).await;
    let good = Scripted::start(|_| {
        let digest = Digest::of(b"x").to_string();
        reply(200, &[("docker-content-digest", &digest), ("content-type", OCI_MANIFEST)], "")
    })
    .await;
    let client = client(&settings(directory.path()));
    let (at_silent, at_good) = (reference(&silent, "a:1"), reference(&good.registry(), "a:1"));
    tokio::select! {
        biased;
        answer = client.head(&at_silent) => panic!("the silent one answered first: {answer:?}"),
        answer = client.head(&at_good) => assert_eq!(answer, Ok(Digest::of(b"x"))),
    }
}
