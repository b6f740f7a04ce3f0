//! The listen address, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotfish::agent::Heartbeat;
use pilotfish::api::{
    AllowedHosts, ApiError, ApiState, ConnectionLimits, bind, guarded, router, serve,
};
use pilotfish::core::decide::snapshot::{LOOP_OVERDUE_MAX, MISSED_ROUNDS_MAX, Snapshot};
use pilotfish::core::subject::Subject;
use pilotfish::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than any exchange of these tests, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A served listen address, and the agent's side of it.
struct Served {
    address: SocketAddr,
    agent: watch::Sender<Arc<Snapshot>>,
    heart: Heartbeat,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    async fn with(limits: ConnectionLimits) -> Self {
        let listener = bind("listen.address", SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (agent, snapshot) = watch::channel(Arc::new(Snapshot::default()));
        let metrics = Arc::new(Metrics::new().expect("the catalogue is valid"));
        let heart = Heartbeat::default();
        let facts = ApiState { snapshot, heart: heart.clone(), metrics, now: pilotfish::app::now };
        let router = guarded(router(facts), AllowedHosts::new(Some("pi"), &[]));
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        Self { address, agent, heart, shutdown, server }
    }

    async fn new() -> Self {
        Self::with(ConnectionLimits::DEFAULT).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the address is served")
    }

    /// Sends a request; returns the status line and the body.
    async fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = self.connect().await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: pi\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        parts(&rest(stream).await)
    }
}

/// Reads until the other side closes. A reset counts as closed.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(LIMIT, reading).await.expect("the connection is closed");
    String::from_utf8(answer).expect("text")
}

fn parts(answer: &str) -> (String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().expect("a status").to_owned(), body.to_owned())
}

const OK: &str = "HTTP/1.1 200 OK";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable";

#[tokio::test]
async fn an_agent_is_healthy_until_three_due_rounds_could_not_run() {
    let served = Served::new().await;
    for (missed_rounds, status, body) in [
        (0, OK, "ok\n"),
        (MISSED_ROUNDS_MAX - 1, OK, "ok\n"),
        (
            MISSED_ROUNDS_MAX,
            UNAVAILABLE,
            "3 due rounds in a row could not run: the Engine is\\naway\n",
        ),
    ] {
        let error = Some("the Engine is\naway".to_owned());
        let snapshot = Snapshot { missed_rounds, error, ..Snapshot::default() };
        served.agent.send_replace(Arc::new(snapshot));
        assert_eq!(served.ask("GET", "/healthz").await, (status.into(), body.into()));
    }
}

#[tokio::test]
async fn an_agent_whose_loop_hangs_is_unhealthy_and_says_for_how_long() {
    let served = Served::new().await;
    served.heart.beat();
    tokio::time::pause();
    tokio::time::advance(LOOP_OVERDUE_MAX + Duration::from_secs(10)).await;
    tokio::time::resume();
    let (status, body) = served.ask("GET", "/healthz").await;
    assert_eq!(status, UNAVAILABLE);
    assert!(body.starts_with("the loop has not turned for 31"), "{body}");
    served.heart.beat();
    assert_eq!(served.ask("GET", "/healthz").await, (OK.into(), "ok\n".into()));
}

#[tokio::test]
async fn an_agent_is_ready_once_recovery_is_done() {
    let served = Served::new().await;
    let (status, body) = served.ask("GET", "/readyz").await;
    assert_eq!(status, UNAVAILABLE);
    assert_eq!(
        body,
        "the Engine has not answered yet, or interrupted updates are being finished\n"
    );
    served.agent.send_replace(Arc::new(Snapshot { is_ready: true, ..Snapshot::default() }));
    assert_eq!(served.ask("GET", "/readyz").await, (OK.into(), "ok\n".into()));
}

#[tokio::test]
async fn an_agent_whose_loop_has_ended_is_neither_healthy_nor_ready() {
    let mut served = Served::new().await;
    served.agent = watch::channel(Arc::new(Snapshot::default())).0;
    for path in ["/healthz", "/readyz"] {
        let expected = (UNAVAILABLE.to_owned(), "the agent's loop has ended\n".to_owned());
        assert_eq!(served.ask("GET", path).await, expected);
    }
}

#[tokio::test]
async fn metrics_have_the_format_of_prometheus() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pi\r\n\r\n").await.expect("it reads");
    let answer = rest(stream).await;
    let head = answer.to_lowercase();
    assert!(head.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\n# HELP pilotfish_build_info"), "{answer}");
    assert!(answer.ends_with('\n'), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let served = Served::new().await;
    for (method, path, status) in [
        ("GET", "/", "HTTP/1.1 404 Not Found"),
        ("GET", "/metrics/", "HTTP/1.1 404 Not Found"),
        ("POST", "/healthz", "HTTP/1.1 405 Method Not Allowed"),
        ("DELETE", "/metrics", "HTTP/1.1 405 Method Not Allowed"),
    ] {
        assert_eq!(served.ask(method, path).await.0, status, "{method} {path}");
    }
    let (status, body) = served.ask("HEAD", "/healthz").await;
    assert_eq!((status.as_str(), body.as_str()), (OK, ""));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = Served::new().await;
    let long =
        format!("GET /healthz HTTP/1.1\r\nHost: pi\r\nCookie: {}\r\n\r\n", "x".repeat(20_000));
    let lines: String = (0..100).map(|line| format!("x-{line}: 1\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: pi\r\n{lines}\r\n");
    for request in [long, many] {
        let mut stream = served.connect().await;
        // The rest of a long head may arrive after the connection was closed.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = rest(stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(served.ask("GET", "/healthz").await.0, OK);
}

#[tokio::test]
async fn silent_clients_are_disconnected_to_make_room_for_others() {
    let limits = ConnectionLimits {
        connections: 2,
        head_timeout: Duration::from_millis(200),
        ..ConnectionLimits::DEFAULT
    };
    let served = Served::with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.expect("it listens");
        silent.push(stream);
    }
    let answered = tokio::time::timeout(LIMIT, served.ask("GET", "/healthz")).await;
    assert_eq!(answered.expect("a place becomes free").0, OK);
    for stream in silent {
        let answer = rest(stream).await;
        assert!(!answer.starts_with(OK), "{answer}");
    }
}

/// With the agent's limits, and with all clients on the same address.
#[tokio::test]
async fn two_hundred_slow_clients_do_not_block_others() {
    let served = Served::new().await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = served.connect().await;
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHo").await;
        slow.push(stream);
    }
    let begun = std::time::Instant::now();
    for path in ["/healthz", "/metrics", "/healthz"] {
        assert_eq!(served.ask("GET", path).await.0, OK, "{path}");
    }
    assert!(
        begun.elapsed() < ConnectionLimits::DEFAULT.head_timeout,
        "a slow client delayed the answers"
    );
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused() {
    let served = Served::new().await;
    for (host, is_known) in
        [("pi", true), ("127.0.0.1:9788", true), ("localhost", true), ("evil.example", false)]
    {
        for path in ["/healthz", "/metrics", "/nothing"] {
            let mut stream = served.connect().await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("it reads");
            let (status, body) = parts(&rest(stream).await);
            let is_refused = status == "HTTP/1.1 421 Misdirected Request";
            assert_eq!(is_refused, !is_known, "{host} {path}: {status}");
            assert!(is_known || body.contains("listen.hosts"), "{body}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = ConnectionLimits {
        connections: 1,
        exchange_timeout: Duration::from_millis(200),
        ..ConnectionLimits::DEFAULT
    };
    let served = Served::with(limits).await;
    // More than the buffers of both sides hold, so that the answer cannot be written at once.
    let report = crate::fixtures::report(&"c".repeat(200_000), "i", "one", Some("two"));
    let reports = (0..60).map(|number| {
        let subject = Subject::container(format!("{number}{}", report.subject.name));
        pilotfish::core::decide::report::Report { subject, ..report.clone() }
    });
    let snapshot = Snapshot { reports: reports.collect(), ..Snapshot::default() };
    served.agent.send_replace(Arc::new(snapshot));
    let mut stream = served.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pi\r\n\r\n").await.expect("it reads");
    stream.readable().await.expect("an answer begins");
    let answered = tokio::time::timeout(LIMIT, served.ask("GET", "/healthz")).await;
    assert_eq!(answered.expect("its place becomes free").0, OK);
    drop(stream);
}

#[tokio::test]
async fn shutdown_closes_the_address_and_open_connections() {
    let limits = ConnectionLimits {
        shutdown_timeout: Duration::from_millis(50),
        ..ConnectionLimits::DEFAULT
    };
    let served = Served::with(limits).await;
    let mut silent = served.connect().await;
    silent.write_all(b"GET /he").await.expect("it listens");
    assert_eq!(served.ask("GET", "/healthz").await.0, OK);
    served.shutdown.cancel();
    tokio::time::timeout(LIMIT, served.server).await.expect("it ends").expect("no panic");
    assert_eq!(rest(silent).await, "");
    TcpStream::connect(served.address).await.expect_err("the address is closed");
}

#[tokio::test]
async fn an_address_in_use_names_the_key_to_change() {
    let taken =
        bind("listen.address", SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = taken.local_addr().expect("its address");
    let error = bind("listen.address", address).await.expect_err("it is taken");
    assert!(matches!(error, ApiError::Taken { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{address} is used by another program (`ss -ltnp` shows which): set listen.address \
             to another port, or to \"\" to switch it off"
        )
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9788));
    let error = bind("listen.address", elsewhere).await.expect_err("not ours");
    assert!(matches!(error, ApiError::NotHere { .. }), "{error:?}");
    assert!(error.to_string().contains("listen.address"), "{error}");
}
