//! One round over many images of a registry that is far away: how long it takes, and what it costs.
//! Needs neither root nor an Engine.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::certificates::{Authority, Flaw};
use crate::images::Image;
use crate::paper_engine::{Papers, serve};
use crate::real::{Real, Setup, http};
use crate::table::{Table, megabytes, milliseconds};

/// What a request and its answer need on their way, together.
const LATENCY: Duration = Duration::from_millis(40);

/// How many images there are.
const IMAGES: [usize; 2] = [58, 500];

/// Where somebody may have put another program to be measured beside this one:
/// `cargo install freshdock --root target/peers`.
const PEER: &str = "target/peers/bin/freshdock";

/// How often a process is looked at. What it needs at most is kept by the system until then.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The unit of processor times in `/proc` (`USER_HZ`, the same on every Linux that Rust knows).
const TICKS_PER_SECOND: u64 = 100;

/// What one run of a program has cost.
struct Cost {
    wall: Duration,
    processor: Duration,
    memory: u64,
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
        let far = Far::start(&runtime, real.registry.parse().expect("an address"));
        for count in IMAGES {
            let place = tempfile::tempdir_in(directory.path()).expect("a directory");
            let images = (0..count).map(|number| format!("{}/fleet/app:v{number}", far.address));
            let papers =
                Papers { images: images.collect(), running: Some(image.digest()), mirrors: vec![] };
            let socket = runtime.block_on(async { serve(place.path(), papers) });
            let round = Round { place: place.path(), socket: &socket, ca: &ca, far: &far };
            round.measure(binary, &format!("{count} images, {kind}"), table);
        }
    }
}

/// Publishes one image under every tag that is asked for.
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
}

impl Round<'_> {
    fn measure(&self, binary: &Path, what: &str, table: &mut Table) {
        let config = self.place.join("pilotfish.toml");
        let text = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\nregistries.\"{}\".ca_file = {:?}\n",
            self.place.join("state"),
            self.socket.display(),
            self.far.address,
            self.ca,
        );
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(binary);
        command.args([OsStr::new("--config"), config.as_os_str(), OsStr::new("check")]);
        let goal = if what.ends_with("http") { "≤ 320 ms" } else { "" };
        self.run(command, &format!("round over {what}"), goal, table);
        if !Path::new(PEER).exists() {
            return eprintln!("  {PEER} is not there, so nothing is measured beside it");
        }
        let mut command = Command::new(PEER);
        command.arg("check").env("FRESHDOCK_WATCH_ALL", "true").env("SSL_CERT_FILE", self.ca);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        self.run(command, &format!("round over {what}, freshdock"), "", table);
    }

    fn run(&self, command: Command, what: &str, goal: &str, table: &mut Table) {
        *self.far.seen() = Seen::default();
        let cost = run(command, &self.place.join("out"));
        let seen = self.far.seen().clone();
        let out = fs::read_to_string(self.place.join("out")).unwrap_or_default();
        eprintln!("    {}", out.lines().last().unwrap_or("it printed nothing"));
        let (Some(first), Some(last)) = (seen.first, seen.last) else {
            return eprintln!(
                "  {what}: it never came to the registry, so there is nothing to tell"
            );
        };
        table.add(&format!("{what}: whole command"), milliseconds(cost.wall), "");
        table.add(&format!("{what}: at the registry"), milliseconds(last - first), goal);
        table.add(&format!("{what}: processor"), milliseconds(cost.processor), "");
        table.add(&format!("{what}: peak memory"), megabytes(cost.memory), "≤ 10 MB");
        let traffic = format!("{}, {} received", seen.connections, megabytes(seen.bytes));
        table.add(&format!("{what}: connections"), traffic, "");
    }
}

/// Runs a program to its end and looks at it all the while.
fn run(mut command: Command, out: &Path) -> Cost {
    let out = fs::File::create(out).expect("a file");
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("it");
    let process = Path::new("/proc").join(child.id().to_string());
    let mut cost = Cost { wall: Duration::ZERO, processor: Duration::ZERO, memory: 0 };
    loop {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        cost.memory = cost.memory.max(peak.unwrap_or(0) * 1024);
        // An ended process keeps its times until somebody asks for its end.
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

/// A way to a registry that takes its time.
struct Far {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What went this way.
#[derive(Default, Clone)]
struct Seen {
    connections: usize,
    /// Bytes from the registry.
    bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Seen {
    fn connected(&mut self) {
        self.connections += 1;
        self.first = self.first.or(Some(Instant::now()));
    }

    fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
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
                seen.lock().expect("the count").connected();
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
    tokio::spawn(carry(from_client, to_server, Arc::default()));
    carry(from_server, to_client, seen).await;
}

/// Carries bytes, each half of the latency late, however many are on their way.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
    seen: Arc<Mutex<Seen>>,
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
        seen.lock().expect("the count").received(length);
        let arrival = tokio::time::Instant::now() + LATENCY / 2;
        if sender.send((arrival, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}
