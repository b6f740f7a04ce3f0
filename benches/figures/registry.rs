//! One round over many images of a registry that is far away: its duration and its cost. Needs
//! neither root nor an Engine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use pilotfish::core::docker::manifest::ACCEPTED;
use reqwest::Certificate;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::certificates::{Authority, Flaw};
use crate::fake_engine::{Papers, serve};
use crate::images::Image;
use crate::real::{Real, Setup, http};
use crate::table::{Table, megabytes, milliseconds};

/// The delay of a request and its answer together.
pub const LATENCY: Duration = Duration::from_millis(40);

/// How many images there are.
const IMAGES: [usize; 2] = [58, 500];

/// Where a person can install another program to be measured as well: `cargo install freshdock
/// --root target/peers`.
const PEER: &str = "target/peers/bin/freshdock";

/// How often a process is sampled. The system keeps its peak memory until then.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The unit of processor times in `/proc` (`USER_HZ`, the same on every Linux that Rust knows).
const TICKS_PER_SECOND: u64 = 100;

/// A round is over when no request reaches the registry for this time.
const QUIET: Duration = Duration::from_millis(500);

/// How many clients ask the registry itself at once.
const ASKED_AT_ONCE: usize = 64;

/// Eight times the latency.
const GOAL: &str = "≤ 320 ms";

/// The cost of one run of a program.
#[derive(Default)]
pub struct Cost {
    pub wall: Duration,
    processor: Duration,
    /// In words.
    pub memory: String,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let image = Image::new("fleet", "linux/arm64");
    let storage = directory.path().join("registry");
    let plain = Real::plain(&storage);
    let authority = Authority::new("fleet");
    let files = authority.issue(directory.path(), "registry", Flaw::None);
    let tls = Real::start(&storage, &Setup { tls: Some(&files), ..Setup::default() });
    let ca = directory.path().join("ca.crt");
    authority.write(&ca);
    runtime.block_on(publish(&plain, &image));
    for (kind, real) in [("plain http", &plain), ("TLS", &tls)] {
        table.add(&format!("{kind}, the registry itself"), itself(&runtime, real, &ca), "");
        let far = Far::start(&runtime, real.registry.parse().expect("an address"));
        for count in IMAGES {
            let place = tempfile::tempdir_in(directory.path()).expect("a directory");
            let images = (0..count).map(|number| format!("{}/fleet/app:v{number}", far.address));
            let (images, running) = (images.collect(), Some(image.digest()));
            let papers = Papers { images, running, ..Papers::default() };
            let socket = runtime.block_on(async { serve(place.path(), papers) });
            let round =
                Round { place: place.path(), socket: &socket, ca: &ca, far: &far, real, count };
            round.measure(binary, &format!("{count} images, {kind}"), table);
        }
    }
}

/// How long this registry needs for as many requests if it is near and many clients ask at once: no
/// client can be faster.
fn itself(runtime: &Runtime, real: &Real, ca: &Path) -> String {
    let scheme = if http_is_spoken(runtime, real) { "http" } else { "https" };
    let authority = Certificate::from_pem(&fs::read(ca).expect("the authority"));
    let client = reqwest::Client::builder().add_root_certificate(authority.expect("the authority"));
    let client = client.build().expect("a client");
    let ask = |number: usize| {
        let url = format!("{scheme}://{}/v2/fleet/app/manifests/v{number}", real.registry);
        client.head(url).header(ACCEPT, ACCEPTED.join(", ")).send()
    };
    let begun = Instant::now();
    let asked = stream::iter((0..IMAGES[1]).map(ask)).buffer_unordered(ASKED_AT_ONCE);
    runtime.block_on(asked.for_each(async |answer| assert!(answer.is_ok(), "{answer:?}")));
    format!("{} for {} heads", milliseconds(begun.elapsed()), IMAGES[1])
}

fn http_is_spoken(runtime: &Runtime, real: &Real) -> bool {
    let asked = http().get(format!("http://{}/v2/", real.registry)).send();
    runtime.block_on(asked).is_ok_and(|answer| answer.status().is_success())
}

/// Publishes one image under every requested tag.
async fn publish(registry: &Real, image: &Image) {
    registry.push_image("fleet/app", image).await;
    let client = http();
    for number in 0..IMAGES[1] {
        let url = format!("http://{}/v2/fleet/app/manifests/v{number}", registry.registry);
        let put = client.put(url).header(CONTENT_TYPE, image.media_type);
        let done = put.body(image.manifest.clone()).send().await.expect("a push");
        assert_eq!(done.status(), 201);
    }
}

/// What a round needs.
struct Round<'a> {
    place: &'a Path,
    socket: &'a Path,
    ca: &'a Path,
    far: &'a Far,
    real: &'a Real,
    /// How many images there are.
    count: usize,
}

impl Round<'_> {
    fn measure(&self, binary: &Path, what: &str, table: &mut Table) {
        let goal = if what.ends_with("500 images, plain http") { GOAL } else { "" };
        self.run(self.pilotfish(binary, &["check"]), &format!("{what}, first round"), goal, table);
        self.later_round(binary, &format!("{what}, later round"), goal, table);
        if !Path::new(PEER).exists() {
            return eprintln!("  {PEER} is not there, so nothing is measured beside it");
        }
        if what.ends_with("http") {
            return eprintln!("  freshdock speaks no plain http");
        }
        let mut command = Command::new(PEER);
        command.arg("check").env("FRESHDOCK_WATCH_ALL", "true").env("SSL_CERT_FILE", self.ca);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        self.run(command, &format!("{what}, freshdock"), "", table);
    }

    /// The program with its own state directory.
    fn pilotfish(&self, binary: &Path, words: &[&str]) -> Command {
        let config = self.place.join("pilotfish.toml");
        let text = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\nlisten.address = \"\"\n\
             schedule = {{ every = \"1000h\", jitter = \"0%\" }}\n\
             registries.\"{}\".ca_file = {:?}\n",
            self.place.join("state"),
            self.socket.display(),
            self.far.address,
            self.ca,
        );
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(binary);
        command.arg("--config").arg(config).args(words);
        command
    }

    /// Whether the registry has had no request for a while.
    fn is_quiet(&self) -> bool {
        self.far.seen().last.is_some_and(|last| last.elapsed() > QUIET)
    }

    /// A later round of an agent.
    fn later_round(&self, binary: &Path, what: &str, goal: &str, table: &mut Table) {
        *self.far.seen() = Seen::default();
        self.real.answered.store(0, Ordering::Relaxed);
        let mut agent = self.pilotfish(binary, &["run"]);
        let out = self.place.join("agent");
        let out = fs::File::create(out).expect("a file");
        let err = out.try_clone().expect("the file");
        let mut agent = agent.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("it");
        while self.real.answered.load(Ordering::Relaxed) < self.count || !self.is_quiet() {
            thread::sleep(LOOK_INTERVAL);
        }
        self.run(self.pilotfish(binary, &["check", "--fresh"]), what, goal, table);
        let process = Path::new("/proc").join(agent.id().to_string());
        table.add(&format!("{what}: peak memory of the agent"), memory(&process), "≤ 10 MB");
        agent.kill().and_then(|()| agent.wait()).expect("its end");
    }

    fn run(&self, command: Command, what: &str, goal: &str, table: &mut Table) {
        *self.far.seen() = Seen::default();
        self.real.answered.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let cost = run(command, &self.place.join("out"));
        let seen = self.far.seen().clone();
        let out = fs::read_to_string(self.place.join("out")).unwrap_or_default();
        eprintln!("    {}", out.lines().last().unwrap_or("it printed nothing"));
        let (Some(first), Some(last)) = (seen.first, seen.last) else {
            return eprintln!(
                "  {what}: it never came to the registry, so there is nothing to tell"
            );
        };
        // Its log is a little late.
        thread::sleep(QUIET);
        let whole =
            format!("{}, {} processor", milliseconds(cost.wall), milliseconds(cost.processor));
        table.add(&format!("{what}: whole command"), whole, "");
        table.add(&format!("{what}: before the registry"), milliseconds(first - begun), "");
        table.add(&format!("{what}: at the registry"), milliseconds(last - first), goal);
        table.add(&format!("{what}: peak memory of the command"), cost.memory, "≤ 10 MB");
        let requests = self.real.answered.load(Ordering::Relaxed);
        let traffic = format!("{requests}, {} connections", seen.connections);
        table.add(&format!("{what}: requests"), traffic, "");
    }
}

/// The peak memory of a process, and how much of its present memory is its own and not a part of
/// the program's file.
pub fn memory(process: &Path) -> String {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    match (of("VmHWM:"), of("RssAnon:")) {
        (Some(peak), Some(own)) => {
            format!("{} ({} own)", megabytes(peak * 1024), megabytes(own * 1024))
        }
        _ => String::new(),
    }
}

/// Runs a program to its end and samples it all the time.
pub fn run(mut command: Command, out: &Path) -> Cost {
    let out = fs::File::create(out).expect("a file");
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("it");
    let process = Path::new("/proc").join(child.id().to_string());
    let mut cost = Cost::default();
    loop {
        // A process that has ended has no memory any more.
        let seen = memory(&process);
        if !seen.is_empty() {
            cost.memory = seen;
        }
        // An ended process keeps its times until its parent waits for it.
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        cost.wall = begun.elapsed();
        let (_, rest) = stat.rsplit_once(") ").expect("the process");
        if rest.starts_with('Z') {
            let ticks =
                rest.split(' ').skip(11).take(2).filter_map(|text| text.parse::<u64>().ok());
            let milliseconds = ticks.sum::<u64>() * 1000 / TICKS_PER_SECOND;
            cost.processor = Duration::from_millis(milliseconds);
            break;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    child.wait().expect("its end");
    cost
}

/// A slow connection to a registry.
struct Far {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// The bytes on this connection.
#[derive(Default, Clone)]
struct Seen {
    connections: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Seen {
    fn asked(&mut self) {
        self.first = self.first.or(Some(Instant::now()));
    }

    fn answered(&mut self) {
        self.last = Some(Instant::now() + LATENCY / 2);
    }
}

impl Far {
    fn start(runtime: &Runtime, near: SocketAddr) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Seen>>::default();
        let far = Self { address, seen: seen.clone() };
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                seen.lock().expect("the count").connections += 1;
                tokio::spawn(pass(client, near, seen.clone()));
            }
        });
        far
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the count")
    }
}

async fn pass(client: TcpStream, near: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let Ok(server) = TcpStream::connect(near).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(carry(from_client, to_server, seen.clone(), Seen::asked));
    carry(from_server, to_client, seen, Seen::answered).await;
}

/// Passes bytes on, each delayed by half of the latency, for any number of bytes in transit.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
    seen: Arc<Mutex<Seen>>,
    note: fn(&mut Seen),
) {
    let (sender, mut under_way) = mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        while let Some((arrival, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(arrival).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    });
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        note(&mut seen.lock().expect("the count"));
        let arrival = tokio::time::Instant::now() + LATENCY / 2;
        if sender.send((arrival, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}
