//! A server that answers as a test's script says, and records the requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorization: Option<String>,
    pub accept: Option<String>,
    pub host: Option<String>,
    pub body: String,
}

impl RecordedRequest {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The last component of the repository, and the tag or digest of a manifest or blob path.
    pub fn image(&self) -> (&str, &str) {
        let mut parts = self.path().rsplit('/');
        let target = parts.next().unwrap_or_default();
        (parts.nth(1).unwrap_or_default(), target)
    }
}

pub type Reply = Response<Body>;

/// The server. It ends with the test.
pub struct Scripted {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// Answers every request with the result of `script`.
    pub async fn start<F>(script: F) -> Self
    where
        F: Fn(&RecordedRequest) -> Reply + Send + Sync + 'static,
    {
        Self::start_slow(move |asked| {
            let reply = script(&asked);
            async move { reply }
        })
        .await
    }

    /// Answers every request after `script` has completed.
    pub async fn start_slow<F, R>(script: F) -> Self
    where
        F: Fn(RecordedRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
        let (script, log) = (Arc::new(script), asked.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (script, log) = (script.clone(), log.clone());
            async move {
                let asked = read(request).await;
                log.lock().expect("not poisoned").push(asked.clone());
                script(asked).await
            }
        });
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self { address, asked, task }
    }

    /// `127.0.0.1:PORT`.
    pub fn registry(&self) -> String {
        self.address.to_string()
    }

    pub fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// Method and path of every request so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path())).collect()
    }
}

async fn read(request: Request) -> RecordedRequest {
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    RecordedRequest {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        authorization: header("authorization"),
        accept: header("accept"),
        host: header("host"),
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

/// An answer with headers and a body.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("a response")
}

/// A registry's answer with a manifest.
pub fn manifest(media_type: &str, body: &[u8]) -> Reply {
    let digest = pilotfish::core::docker::reference::Digest::of(body);
    let headers = [("content-type", media_type), ("docker-content-digest", digest.as_str())];
    reply(200, &headers, body.to_vec())
}
