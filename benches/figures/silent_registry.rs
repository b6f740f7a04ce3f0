//! One registry of many accepts connections and never answers: its effect on the others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotfish::core::docker::manifest::OCI_MANIFEST;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::fake_engine::{Papers, serve};
use crate::images::Image;
use crate::real::http;
use crate::scripted::{Scripted, manifest};
use crate::table::{Table, milliseconds};

/// How many registries there are, each with one container.
const REGISTRIES: usize = 30;

/// The schedule of all containers.
const EVERY: Duration = Duration::from_secs(5);

/// How long they are watched: longer than twice the time that the agent waits for the silent
/// registry.
const WATCH: Duration = Duration::from_secs(75);

/// The token of the webhook.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// When each registry was asked.
type AskedAt = Arc<Mutex<BTreeMap<usize, Vec<Instant>>>>;

pub fn measure(binary: &Path, table: &mut Table) {
    Runtime::new().expect("a runtime").block_on(watch(binary, table));
}

async fn watch(binary: &Path, table: &mut Table) {
    let place = tempdir().expect("a directory");
    let (image, asked_at) = (Image::new("same", "linux/arm64"), AskedAt::default());
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut images = vec![format!("{}/app:v1", silent.local_addr().expect("an address"))];
    let hanging = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            kept.push(stream);
        }
    });
    let mut registries = Vec::new();
    for number in 1..REGISTRIES {
        let (served, log) = (image.clone(), asked_at.clone());
        let registry = Scripted::start(move |_| {
            log.lock().expect("the log").entry(number).or_default().push(Instant::now());
            manifest(OCI_MANIFEST, &served.manifest)
        });
        let registry = registry.await;
        images.push(format!("{}/app{number}:v1", registry.registry()));
        registries.push(registry);
    }
    let papers = Papers { images, running: Some(image.digest()), ..Papers::default() };
    let socket = serve(place.path(), papers);
    let port = free_port();
    configure(place.path(), &socket, port);
    let mut command = Command::new(binary);
    command.arg("--config").arg(place.path().join("pilotfish.toml")).arg("run");
    let mut agent = command.stderr(Stdio::null()).stdin(Stdio::null()).spawn().expect("the agent");
    tokio::time::sleep(WATCH).await;
    let times = asked_at.lock().expect("the log").clone();
    let pauses = times.values().flat_map(|times| times.windows(2).map(|it| it[1] - it[0]));
    let off = pauses.map(|pause| pause.abs_diff(EVERY)).max().expect("some rounds");
    let share = 100.0 * off.as_secs_f64() / EVERY.as_secs_f64();
    let what = format!("one silent registry of {REGISTRIES}: furthest from the others' schedule");
    table.add(&what, format!("{share:.1} %"), "≤ 10 %");
    let took = push(port, &asked_at).await;
    table.add("and from a push of another image to its HEAD", milliseconds(took), "< 1 s");
    agent.kill().expect("its end");
    agent.wait().expect("its end");
    hanging.abort();
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn configure(place: &Path, socket: &Path, port: u16) {
    let token = place.join("token");
    fs::write(&token, TOKEN).expect("a file");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("its mode");
    let text = format!(
        "state_dir = {:?}\ndocker_host = \"unix://{}\"\nschedule = {{ every = \"{}s\", jitter = \
         \"0%\" }}\nlisten.address = \"\"\nwebhook = {{ address = \"127.0.0.1:{port}\", token_file \
         = {token:?} }}\n",
        place.join("state"),
        socket.display(),
        EVERY.as_secs(),
    );
    fs::write(place.join("pilotfish.toml"), text).expect("a file");
}

/// The time from a push to its HEAD, in the middle between two rounds.
async fn push(port: u16, asked_at: &AskedAt) -> Duration {
    let count = || asked_at.lock().expect("the log").get(&1).map_or(0, Vec::len);
    let wait = async |before: usize| {
        while count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    wait(count()).await;
    tokio::time::sleep(EVERY / 2).await;
    let before = count();
    let body = r#"{"events":[{"action":"push","target":{"repository":"app1","tag":"v1"}}]}"#;
    let url = format!("http://127.0.0.1:{port}/v1/webhook");
    let begun = Instant::now();
    http().post(url).bearer_auth(TOKEN).body(body).send().await.expect("it listens");
    wait(before).await;
    begun.elapsed()
}
