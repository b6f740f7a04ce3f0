//! A hostile registry: it offers a new digest each second, each an image of 24,000 layers. The
//! agent's memory must not grow. Needs neither root nor an Engine.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use pilotfish::core::docker::manifest::OCI_MANIFEST;
use pilotfish::core::docker::reference::Digest;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::fake_engine::{Papers, serve};
use crate::registry::memory;
use crate::table::Table;

/// How many layers each of its images has.
const LAYERS: usize = 24_000;

/// How long the agent runs with it, in seconds, unless this variable is set.
const SECONDS: (&str, u64) = ("HOSTILE_SECONDS", 60);

/// How many of its images it still has.
const KNOWN: usize = 8;

pub fn measure(binary: &Path, table: &mut Table) {
    let seconds = std::env::var(SECONDS.0).ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS.1);
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let (address, asked) = runtime.block_on(hostile());
    let papers = Papers { images: vec![format!("{address}/a/b:v1")], ..Papers::default() };
    let socket = runtime.block_on(async { serve(directory.path(), papers) });
    let config = directory.path().join("pilotfish.toml");
    let text = format!(
        "state_dir = {:?}\ndocker_host = \"unix://{}\"\nlisten.address = \"\"\n\
         schedule = {{ every = \"1s\", jitter = \"0%\" }}\n",
        directory.path().join("state"),
        socket.display(),
    );
    fs::write(&config, text).expect("a configuration");
    let mut agent = Command::new(binary);
    let agent = agent.arg("--config").arg(config).arg("run").stdin(Stdio::null());
    let mut agent = agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent");
    thread::sleep(Duration::from_secs(seconds));
    let seen = memory(&Path::new("/proc").join(agent.id().to_string()));
    agent.kill().and_then(|()| agent.wait()).expect("its end");
    let what = format!("a hostile registry for {seconds} s: peak memory of the agent");
    table.add(&what, seen, "≤ 16 MB");
    let count = *asked.lock().expect("the count");
    let what = format!("images of {LAYERS} layers that it was asked for");
    table.add(&what, count.to_string(), "");
}

/// The registry, and how many of its images were requested.
async fn hostile() -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let known = Arc::<Mutex<VecDeque<(Digest, Arc<Vec<u8>>)>>>::default();
    let asked = Arc::<Mutex<usize>>::default();
    let count = asked.clone();
    let router = Router::new().fallback(move |request: Request| {
        let (known, count) = (known.clone(), count.clone());
        async move {
            let path = request.uri().path().to_owned();
            let mut known = known.lock().expect("what it knows");
            if path.ends_with("/v1") {
                let (digest, body) = image(known.len() + *count.lock().expect("the count"));
                known.push_back((digest.clone(), body));
                if known.len() > KNOWN {
                    known.pop_front();
                }
                return answer(&digest, Vec::new());
            }
            *count.lock().expect("the count") += 1;
            let found = known.iter().find(|(digest, _)| path.ends_with(digest.as_str()));
            match found {
                Some((digest, body)) => answer(digest, body.to_vec()),
                None => Response::builder().status(404).body(Body::empty()).expect("an answer"),
            }
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

/// An image with very many layers, different ones each time.
fn image(number: usize) -> (Digest, Arc<Vec<u8>>) {
    let layer = |at: usize| {
        let digest = Digest::of(format!("{number} {at}").as_bytes());
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1000}}"#)
    };
    let layers: Vec<String> = (0..LAYERS).map(layer).collect();
    let config = format!(r#"{{"digest":"{}","size":1000}}"#, Digest::of(b"config"));
    let layers = layers.join(",");
    let body = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    let body = body.into_bytes();
    (Digest::of(&body), Arc::new(body))
}

fn answer(digest: &Digest, body: Vec<u8>) -> Response<Body> {
    let response = Response::builder().header("content-type", OCI_MANIFEST);
    let response = response.header("docker-content-digest", digest.as_str());
    response.body(Body::from(body)).expect("an answer")
}
