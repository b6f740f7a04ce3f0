//! Docker's own client as a translator: `docker create` at a socket that only records. No Engine is
//! asked, and nothing is created.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

/// How long the client may take: at the start of a Pi its program comes from a slow card.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest request in bytes: the body of a create with 256 arguments.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of the client's error that are shown.
const ERROR_BYTES_MAX: u64 = 400;

/// Most header lines of a request.
const HEADERS_MAX: usize = 32;

/// Where programs are looked for: not where the environment of the agent says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the client sent no body.
#[derive(Debug, thiserror::Error)]
pub enum DockerCliError {
    #[error("Docker's client is not installed (`docker`): install docker-cli, or use `create`")]
    Missing,
    #[error("Docker's client cannot be run: {0}")]
    Run(io::Error),
    #[error("Docker's client did not answer within {} s", CLIENT_TIMEOUT.as_secs())]
    Timeout,
    #[error("Docker's client says: {0}")]
    Refused(String),
}

/// The body that `docker create` with these arguments sends to an Engine with this API version.
/// `directory` is an empty one of this process.
///
/// # Errors
/// There is no client, or it does not understand the arguments.
pub async fn record_create(
    directory: &Path,
    api_version: &str,
    arguments: &[String],
) -> Result<Vec<u8>, DockerCliError> {
    let socket = directory.join("s");
    let listener = UnixListener::bind(&socket).map_err(DockerCliError::Run)?;
    let client = run(directory, &socket, arguments);
    let recorded = async {
        tokio::select! {
            body = record(&listener, api_version) => body.map_err(DockerCliError::Run),
            error = client => Err(error),
        }
    };
    tokio::time::timeout(CLIENT_TIMEOUT, recorded).await.unwrap_or(Err(DockerCliError::Timeout))
}

/// Runs the client to its end; it ends only with an error, because the recorder is dropped before.
async fn run(directory: &Path, socket: &Path, arguments: &[String]) -> DockerCliError {
    let mut command = Command::new("docker");
    command.arg("create").args(arguments);
    // An empty configuration, so that no proxy and no plugin of a person changes the body.
    command.env_clear().env("PATH", PATH).env("HOME", directory).env("DOCKER_CONFIG", directory);
    command.env("DOCKER_HOST", format!("unix://{}", socket.display())).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return DockerCliError::Missing,
        Err(error) => return DockerCliError::Run(error),
    };
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(ERROR_BYTES_MAX).read_to_end(&mut said).await;
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    DockerCliError::Refused(said.to_owned())
}

/// Answers the client until it sends the body.
async fn record(listener: &UnixListener, api_version: &str) -> io::Result<Vec<u8>> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        while let Some((target, body)) = read_request(&mut stream).await? {
            if target.contains("/containers/create") {
                return Ok(body);
            }
            let answer = if target.contains("/_ping") {
                format!(
                    "HTTP/1.1 200 OK\r\nApi-Version: {api_version}\r\nOSType: linux\r\n\
                     Content-Length: 0\r\n\r\n"
                )
            } else {
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\
                 Content-Length: 2\r\n\r\n{}"
                    .to_owned()
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

/// The target and the body of the next request; `None` at the end of the connection.
async fn read_request(stream: &mut UnixStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&bytes).map_err(|error| io::Error::other(error.to_string()))?;
        if let httparse::Status::Complete(head) = parsed {
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
                .unwrap_or(0);
            if bytes.len() - head >= length {
                let target = request.path.unwrap_or_default().to_owned();
                return Ok(Some((target, bytes[head..head + length].to_vec())));
            }
        }
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(io::Error::other("a request without an end"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn recorded(arguments: &[&str]) -> Result<Value, DockerCliError> {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let body = record_create(directory.path(), "1.41", &arguments).await?;
        let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").collect();
        assert_eq!(left.len(), 1, "only the socket: {left:?}");
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    /// Needs Docker's client, as the tests with a real Engine do.
    #[tokio::test]
    async fn dockers_client_translates_its_arguments() {
        let arguments = ["-it", "-p", "80:8000", "-v", "/a:/b:ro", "-e", "A=1", "web:1", "serve"];
        let body = recorded(&arguments).await.expect("Docker's client");
        assert_eq!(body["Image"], "web:1");
        assert_eq!(body["Cmd"], json!(["serve"]));
        assert_eq!(body["Env"], json!(["A=1"]));
        assert_eq!(body["Tty"], true);
        assert_eq!(body["HostConfig"]["Binds"], json!(["/a:/b:ro"]));
        assert_eq!(body["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"], "80");
    }

    #[tokio::test]
    async fn what_dockers_client_does_not_understand_is_its_own_error() {
        let error = recorded(&["--colour", "red", "web:1"]).await.expect_err("an error");
        assert!(error.to_string().contains("--colour"), "{error}");
    }
}
