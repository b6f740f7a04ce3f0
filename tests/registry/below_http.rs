//! Servers that do not speak HTTP at all: silence, resets, a slow drip.

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
use crate::support::{Observed, client, error_text, platform, reference, settings, short_limits};

/// What the server does with a plain HTTP connection.
#[derive(Clone, Copy)]
enum Misbehaviour {
    Silent,
    Close,
    Reset,
    Drip,
    Rubbish,
    HalfBody,
}

/// A server that closes TLS connections, and misbehaves on plain HTTP.
async fn misbehaving_server(what: Misbehaviour) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(misbehave(connection, what));
        }
    });
    address.to_string()
}

async fn misbehave(mut connection: TcpStream, what: Misbehaviour) -> std::io::Result<()> {
    let mut start = [0; 1];
    connection.read_exact(&mut start).await?;
    if start[0] == 0x16 {
        return Ok(()); // A TLS handshake.
    }
    let mut rest = [0; 4096];
    let _ = connection.read(&mut rest).await?;
    match what {
        Misbehaviour::Close => {}
        Misbehaviour::Reset => connection.set_zero_linger()?,
        Misbehaviour::Silent => std::future::pending().await,
        Misbehaviour::Rubbish => connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await?,
        Misbehaviour::Drip => {
            connection.write_all(b"HTTP/1.1 200 OK\r\nx-drip: ").await?;
            loop {
                connection.write_all(b"x").await?;
                // The case under test: an answer that never pauses and never ends.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Misbehaviour::HalfBody => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{";
            connection.write_all(head).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_failure_below_http_has_a_reason() {
    let directory = tempdir().expect("a directory");
    let limits = Limits { request_timeout: Duration::from_millis(400), ..short_limits() };
    let timeout = "registry_unreachable: HOST did not answer within 0.4 s";
    let cut = "registry_unreachable: HOST broke the connection off";
    let table = [
        (Misbehaviour::Silent, timeout, "timeout"),
        (Misbehaviour::Close, cut, "error"),
        (Misbehaviour::Reset, cut, "error"),
        (
            Misbehaviour::Rubbish,
            "registry_error: HOST answered with something that is not HTTP",
            "error",
        ),
        (Misbehaviour::Drip, timeout, "timeout"),
    ];
    for (what, expected, code) in table {
        let host = misbehaving_server(what).await;
        let observed = Arc::new(Observed::default());
        let settings = settings(directory.path());
        let client = HttpRegistry::with_limits(settings, observed.clone(), limits).expect("good");
        let result = client.head(&reference(&host, "a:1")).await;
        assert_eq!(error_text(result, &host), expected);
        assert_eq!(observed.codes().pop().as_deref(), Some(code));
    }
    let host = misbehaving_server(Misbehaviour::HalfBody).await;
    let client = HttpRegistry::with_limits(
        settings(directory.path()),
        Arc::new(Observed::default()),
        limits,
    )
    .expect("good settings");
    let digest = Digest::of(b"x");
    let half = client.resolve(&reference(&host, "a:1"), &digest, &platform("linux/arm64")).await;
    assert_eq!(error_text(half, &host), cut);
}

#[tokio::test]
async fn a_silent_host_is_not_asked_again_after_three_timeouts() {
    let directory = tempdir().expect("a directory");
    let host = misbehaving_server(Misbehaviour::Silent).await;
    let limits = Limits {
        request_timeout: Duration::from_millis(200),
        pause_first: Duration::from_secs(60),
        ..Limits::default()
    };
    let observed = Arc::new(Observed::default());
    let client = HttpRegistry::with_limits(settings(directory.path()), observed.clone(), limits)
        .expect("good settings");
    for number in 0..10 {
        let result = client.head(&reference(&host, &format!("a{number}:1"))).await;
        assert_eq!(result.map_err(|error| error.reason), Err(Reason::RegistryUnreachable));
    }
    let timeouts = observed.codes().iter().filter(|code| *code == "timeout").count();
    assert_eq!(timeouts, 3);
}

#[tokio::test]
async fn a_silent_host_delays_no_other_host() {
    let directory = tempdir().expect("a directory");
    let silent = misbehaving_server(Misbehaviour::Silent).await;
    let good = Scripted::start(|_| {
        let digest = Digest::of(b"x").to_string();
        reply(200, &[("docker-content-digest", &digest), ("content-type", OCI_MANIFEST)], "")
    })
    .await;
    let client = client(&settings(directory.path()));
    let (at_silent, at_good) = (reference(&silent, "a:1"), reference(&good.registry(), "a:1"));
    tokio::select! {
        biased;
        answer = client.head(&at_silent) => panic!("the silent registry answered first: {answer:?}"),
        answer = client.head(&at_good) => assert_eq!(answer, Ok(Digest::of(b"x"))),
    }
}
