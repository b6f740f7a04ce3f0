//! A till: the small service that the tests, the demo and the measurements put on a Pi.
//!
//! It serves within milliseconds of its start and exits at once when it gets SIGTERM, SIGINT or
//! SIGQUIT. It can also be a bad release. Variables of the environment, which come from the image,
//! choose all of this, so one static binary makes good and bad images:
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `TILL_VERSION` | `dev` | what `GET /` answers |
//! | `TILL_PORT` | `8080` | where it listens |
//! | `TILL_EXIT_AFTER` | never | it exits by itself after this time, `0s`: before it serves |
//! | `TILL_EXIT_CODE` | `1` | the code of that exit |
//! | `TILL_DIARY` | none | a file to which it adds a line with its version whenever it starts |
//! | `TILL_FAREWELL` | none | a file to which it adds the name of the signal that makes it leave |
//! | `TILL_NEEDS` | nothing | it exits before it serves unless a variable of this name is set |
//! | `TILL_UNHEALTHY_AFTER` | never | `/healthz` fails from then on, `0s`: from the beginning |
//! | `TILL_HEALTHY_AFTER` | `0s` | `/healthz` fails until then |
//! | `TILL_LEDGER` | none | a file to which `till migrate` adds a line at begin and success |
//! | `TILL_JOB_WORKS` | `0s` | how long `till migrate` works |
//! | `TILL_JOB_CODE` | `0` | the exit code of `till migrate`; any other code is a failure |
//!
//! `till migrate` is a job, such as a migration. It can be begun again. Each of its lines is on the
//! disk before it goes on: its version, `begun` or `done`, and the name of its machine. It also
//! ends with exit code 0 when it gets a signal, but then it is not done.
//!
//! `till healthcheck` asks the till on this machine; it is the `HEALTHCHECK` of an image that has
//! no shell. `till sicken` makes it fail from then on, so a test can choose the step of an update
//! instead of a time. Build it for such an image with
//! `cargo rustc --example till -- -C target-feature=+crt-static -C strip=symbols`.
//!
//! `till probe NAME=ADDRESS…` asks tills from outside until its standard input ends, and then
//! prints for each what it answered and how long it was away.

#[expect(dead_code, clippy::expect_used, reason = "it is written for the tests")]
#[path = "../tests/support/probe.rs"]
mod probe;

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long a client may take to send its request, and the health check to get its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longer than any request line that a person types at a till, in bytes.
const REQUEST_LIMIT: usize = 2048;

/// A till that was restarted is away for longer. On a busy machine the probe itself may be late by
/// this time.
const AWAY_MIN: Duration = Duration::from_millis(300);

/// `till sicken` was called.
static IS_SICK: AtomicBool = AtomicBool::new(false);

/// What the environment says.
#[derive(Clone)]
struct Behaviour {
    version: String,
    port: u16,
    exit_after: Option<Duration>,
    exit_code: u8,
    diary: Option<String>,
    farewell: Option<String>,
    needs: Option<String>,
    healthy_after: Duration,
    unhealthy_after: Option<Duration>,
    ledger: Option<String>,
    job_works: Duration,
    job_code: u8,
}

impl Behaviour {
    fn from_environment() -> Result<Self> {
        Ok(Self {
            version: env::var("TILL_VERSION").unwrap_or_else(|_| "dev".to_owned()),
            port: number("TILL_PORT", 8080)?,
            exit_after: duration("TILL_EXIT_AFTER")?,
            exit_code: number("TILL_EXIT_CODE", 1)?,
            diary: env::var("TILL_DIARY").ok(),
            farewell: env::var("TILL_FAREWELL").ok(),
            needs: env::var("TILL_NEEDS").ok(),
            healthy_after: duration("TILL_HEALTHY_AFTER")?.unwrap_or_default(),
            unhealthy_after: duration("TILL_UNHEALTHY_AFTER")?,
            ledger: env::var("TILL_LEDGER").ok(),
            job_works: duration("TILL_JOB_WORKS")?.unwrap_or_default(),
            job_code: number("TILL_JOB_CODE", 0)?,
        })
    }

    /// Writes down that it was started, for tests that count starts.
    fn note_the_start(&self) -> Result<()> {
        append(self.diary.as_deref(), &self.version)?;
        Ok(())
    }

    /// Writes down how far its job has come.
    fn note_the_job(&self, what: &str) -> Result<()> {
        let machine = env::var("HOSTNAME").unwrap_or_default();
        let line = format!("{} {what} {machine}", self.version);
        let ledger = append(self.ledger.as_deref(), &line)?;
        Ok(ledger.map_or(Ok(()), |ledger| ledger.sync_all())?)
    }

    /// Why this till cannot open.
    fn defect(&self) -> Option<String> {
        if self.exit_after == Some(Duration::ZERO) {
            return Some("the cash drawer is missing".to_owned());
        }
        let needed = self.needs.as_ref()?;
        env::var(needed).is_err().then(|| format!("{needed} is not set"))
    }

    fn is_healthy(&self, age: Duration) -> bool {
        !IS_SICK.load(Ordering::Relaxed)
            && age >= self.healthy_after
            && self.unhealthy_after.is_none_or(|limit| age < limit)
    }

    /// The complete answer to one request.
    fn answer(&self, request: &[u8], age: Duration) -> String {
        let (status, body) = if request.starts_with(b"GET /healthz ") {
            if self.is_healthy(age) {
                ("200 OK", "well".to_owned())
            } else {
                ("503 Service Unavailable", "not well".to_owned())
            }
        } else if request.starts_with(b"GET / ") {
            ("200 OK", format!("till {}", self.version))
        } else if request.starts_with(b"GET /sicken ") {
            IS_SICK.store(true, Ordering::Relaxed);
            ("200 OK", "not well from now on".to_owned())
        } else {
            ("404 Not Found", "only /, /healthz and /sicken".to_owned())
        };
        let length = body.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}\n"
        )
    }
}

/// Adds a line to a file, if there is a file, and returns the file.
fn append(path: Option<&str>, line: &str) -> Result<Option<File>> {
    let Some(path) = path else { return Ok(None) };
    let file = File::options().append(true).create(true).open(path);
    let mut file = file.with_context(|| format!("cannot open {path}"))?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(Some(file))
}

fn number<N>(name: &str, default: N) -> Result<N>
where
    N: std::str::FromStr<Err = std::num::ParseIntError>,
{
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}

fn duration(name: &str) -> Result<Option<Duration>> {
    match env::var(name) {
        Ok(text) => {
            let parsed = humantime::parse_duration(&text);
            parsed.map(Some).with_context(|| format!("{name}={text} is no duration"))
        }
        Err(_) => Ok(None),
    }
}

fn main() -> Result<ExitCode> {
    let behaviour = Behaviour::from_environment()?;
    match env::args().nth(1).as_deref() {
        Some("healthcheck") => return ask_this_machine(behaviour.port, "/healthz"),
        Some("sicken") => return ask_this_machine(behaviour.port, "/sicken"),
        Some("probe") => return watch_from_outside(env::args().skip(2)),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match env::args().nth(1).as_deref() {
        Some("migrate") => runtime.block_on(migrate(behaviour)),
        _ => runtime.block_on(work(behaviour)),
    }
}

/// Works as a job, until its end or a signal.
async fn migrate(behaviour: Behaviour) -> Result<ExitCode> {
    let leaving = farewell()?;
    behaviour.note_the_job("begun")?;
    tokio::select! {
        _ = leaving => return Ok(ExitCode::SUCCESS),
        () = tokio::time::sleep(behaviour.job_works) => {}
    }
    if behaviour.job_code == 0 {
        behaviour.note_the_job("done")?;
    } else {
        eprintln!("till {}: there is no such column", behaviour.version);
    }
    Ok(ExitCode::from(behaviour.job_code))
}

/// Serves until a signal, or until the time to fail.
async fn work(behaviour: Behaviour) -> Result<ExitCode> {
    behaviour.note_the_start()?;
    println!("till {} opens", behaviour.version);
    if let Some(defect) = behaviour.defect() {
        eprintln!("till {}: {defect}", behaviour.version);
        return Ok(ExitCode::from(behaviour.exit_code));
    }
    let leaving = farewell()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, behaviour.port))
        .await
        .with_context(|| format!("cannot listen on port {}", behaviour.port))?;
    tokio::select! {
        name = leaving => {
            append(behaviour.farewell.as_deref(), name)?;
            println!("till {} closes", behaviour.version);
            Ok(ExitCode::SUCCESS)
        }
        () = lifetime(behaviour.exit_after) => {
            eprintln!("till {}: out of change", behaviour.version);
            Ok(ExitCode::from(behaviour.exit_code))
        }
        failure = serve(&listener, &behaviour) => failure,
    }
}

/// Listens from now on; returns the name of the signal that ends the till.
fn farewell() -> Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
        }
    })
}

async fn lifetime(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Answers each connection in its own task, and ends only if the listener breaks.
async fn serve(listener: &TcpListener, behaviour: &Behaviour) -> Result<ExitCode> {
    let opened = Instant::now();
    loop {
        let (mut client, _) = listener.accept().await.context("cannot accept a client")?;
        let behaviour = behaviour.clone();
        tokio::spawn(tokio::time::timeout(CLIENT_TIMEOUT, async move {
            let mut request = [0; REQUEST_LIMIT];
            let length = client.read(&mut request).await?;
            let answer = behaviour.answer(&request[..length], opened.elapsed());
            client.write_all(answer.as_bytes()).await?;
            client.shutdown().await
        }));
    }
}

/// Asks the till on this machine, without a runtime: the Engine starts it every few seconds.
fn ask_this_machine(port: u16, path: &str) -> Result<ExitCode> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = TcpStream::connect_timeout(&address, CLIENT_TIMEOUT)?;
    connection.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: till\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let well = answer.starts_with("HTTP/1.1 200 ");
    println!("{}", answer.lines().last().unwrap_or_default());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the tills `NAME=ADDRESS` until the standard input ends.
fn watch_from_outside(tills: impl Iterator<Item = String>) -> Result<ExitCode> {
    let mut probes = Vec::new();
    for till in tills {
        let (name, address) = till.split_once('=').context("expected NAME=ADDRESS")?;
        probes.push((name.to_owned(), probe::Probe::start(address.parse()?)));
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for (name, probe) in probes {
        let seen = probe.stop();
        let gaps: Vec<_> = seen
            .gaps
            .iter()
            .filter(|gap| **gap >= AWAY_MIN)
            .map(|gap| format!("{:.1} s", gap.as_secs_f64()))
            .collect();
        let away = if gaps.is_empty() {
            "never away".to_owned()
        } else {
            format!("away {}", gaps.join(" + "))
        };
        println!("{name}: {}; {away}", seen.answers.join(" -> "));
    }
    Ok(ExitCode::SUCCESS)
}
