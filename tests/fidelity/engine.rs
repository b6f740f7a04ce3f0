//! The Engine of the table: a private one (see `scripts/private-engine`), and requests to it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

use pilotfish::core::docker::api_version::ApiVersion;

use crate::support::engine::Engine as Private;
use crate::support::registry::is_containerd_store;

/// An Engine that only this test uses.
pub struct Engine {
    /// The API version of requests: at most the last one that shows configured MAC addresses.
    pub api: ApiVersion,
    /// The Engine's name, version and image store, for the page.
    pub title: String,
    /// Whether it is Podman, which has Docker's API without `update`.
    pub is_podman: bool,
    /// Held while a tag moves: Podman rewrites the tag lists of both images, and loses concurrent
    /// changes of another worker.
    names: Mutex<()>,
    /// The Engine itself, with its network.
    pub private: Private,
}

impl Engine {
    /// Starts the Engine that the environment names.
    pub fn start() -> Self {
        let private = Private::start(&[]);
        let (api, title, is_podman) = (ApiVersion::V1_41, String::new(), false);
        let mut engine = Self { api, title, is_podman, names: Mutex::default(), private };
        let version = engine.call("GET", "/version", None).expect("a version");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let newest: ApiVersion = text(&version["ApiVersion"]).parse().expect("a version");
        engine.api = newest.min(ApiVersion::V1_51);
        engine.is_podman = version["Components"][0]["Name"] == "Podman Engine";
        let name = if engine.is_podman { "Podman" } else { "Docker" };
        let store = if is_containerd_store() { ", containerd image store" } else { "" };
        let number = text(&version["Version"]);
        let number = number.split('+').next().unwrap_or_default();
        engine.title = format!("{name} {number} (API {}{store})", engine.api);
        engine
    }

    /// Sends a request; an answer that is no JSON is null.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let path = format!("/v{}{path}", self.api);
        self.try_request(method, &path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Sends a request that must succeed.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        match self.request(method, path, body) {
            (200..=304, answer) => Ok(answer),
            (status, answer) => Err(format!("{method} {path}: {status} {answer}")),
        }
    }

    /// A request to Podman's own API, which returns more than its Docker API.
    pub fn call_podman(&self, path: &str) -> Result<Value, String> {
        let path = format!("/v4.0.0/libpod{path}");
        match self.try_request("GET", &path, None).map_err(|error| error.to_string())? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(format!("{path}: {status} {answer}")),
        }
    }

    /// HTTP/1.0, so that the answer ends with the connection.
    fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = UnixStream::connect(self.private.socket())?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, serde_json::from_str(body).unwrap_or_default()))
    }

    /// Runs the `docker` command against this Engine.
    pub fn docker<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        Command::new("docker")
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_HOST", self.private.host())
            .args(arguments)
            .output()
            .expect("the docker command can be run")
    }

    /// Runs the `docker` command, which must succeed; returns its output.
    ///
    /// If the Engine says that it discarded an option, that is a failure too, because nothing was
    /// tried.
    pub fn try_docker<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, String> {
        let output = self.docker(arguments);
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() && !error.contains("discarded") {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        Err(format!("docker {}: {error}", words.join(" ")))
    }

    /// Tags an image.
    pub fn tag(&self, image: &str, name: &str) -> Result<(), String> {
        let _names = self.names.lock().map_err(|error| error.to_string())?;
        self.try_docker(&["tag", image, name]).map(drop)
    }

    /// Builds an image from a directory with a Dockerfile.
    pub fn build(&self, tag: &str, context: &Path, dockerfile: &str) {
        let file = context.join("Dockerfile");
        fs::write(&file, dockerfile).expect("the Dockerfile can be written");
        let context = context.display().to_string();
        let built = self.try_docker(&["build", "--quiet", "--tag", tag, &context]);
        built.unwrap_or_else(|error| panic!("{error}"));
    }
}
