//! Debian's `docker-registry`, the usual registry program on a Pi.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use pilotfish::core::docker::reference::Digest;
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, LOCATION};

use crate::certificates::Files;
use crate::images::Image;

/// Distribution 2.8.
const PROGRAM: &str = "/usr/bin/docker-registry";

/// Names another one, such as distribution 3.1: `make test-registries`.
const OTHER_PROGRAM: &str = "TEST_REGISTRY";

/// A log that says nothing for this time is complete.
const QUIET: Duration = Duration::from_millis(200);

/// The registry program of these tests.
pub fn program() -> PathBuf {
    let program = std::env::var_os(OTHER_PROGRAM).map_or_else(|| PROGRAM.into(), PathBuf::from);
    assert!(
        program.exists(),
        "{} is missing: install it with `apt-get install docker-registry`",
        program.display()
    );
    program
}

/// The setup of a registry.
#[derive(Default)]
pub struct Setup<'a> {
    pub tls: Option<&'a Files>,
    /// The authority of the accepted client certificates.
    pub client_authority: Option<&'a Path>,
    /// A line of `htpasswd -B`.
    pub htpasswd: Option<&'a str>,
    /// The address of its webhook, and the token.
    pub webhook: Option<(&'a str, &'a str)>,
    /// Further settings below `storage`, each with its indentation.
    pub storage: &'a str,
}

/// A running registry. It ends with the test.
pub struct Real {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub registry: String,
    /// The number of requests in its log.
    pub answered: Arc<AtomicUsize>,
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself; then there is no process to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Real {
    /// Starts a registry over the storage in `directory`, on a free port.
    pub fn start(directory: &Path, setup: &Setup<'_>) -> Self {
        let config = write_config(directory, setup);
        let mut child = Command::new(program())
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a registry starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
        let registry = log.by_ref().map_while(Result::ok).find_map(|line| listening_on(&line));
        let answered = Arc::<AtomicUsize>::default();
        let count = answered.clone();
        // An unread log would block the registry at its next line.
        thread::spawn(move || {
            let requests =
                log.map_while(Result::ok).filter(|line| line.contains("response completed"));
            for _ in requests {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let registry = registry.expect("the registry says where it listens");
        Self { child, registry, answered }
    }

    /// A registry without TLS and login.
    pub fn plain(directory: &Path) -> Self {
        Self::start(directory, &Setup::default())
    }

    /// The number of requests so far. The log is a little late, so this waits until it says nothing
    /// new.
    pub fn settled(&self) -> usize {
        loop {
            let before = self.answered.load(Ordering::Relaxed);
            thread::sleep(QUIET);
            if self.answered.load(Ordering::Relaxed) == before {
                return before;
            }
        }
    }

    /// Pushes the content of an image, and its manifest by digest.
    pub async fn push_image(&self, repository: &str, image: &Image) {
        self.push_blob(repository, &image.config).await;
        self.push_blob(repository, &image.layer).await;
        let digest = image.digest();
        self.push_manifest(repository, digest.as_str(), image.media_type, &image.manifest).await;
    }

    pub async fn push_blob(&self, repository: &str, content: &[u8]) {
        let client = http();
        let uploads = format!("http://{}/v2/{repository}/blobs/uploads/", self.registry);
        let begun = client.post(uploads).send().await.expect("an upload");
        let location = begun.headers()[LOCATION].to_str().expect("text").to_owned();
        let put = client.put(location).query(&[("digest", Digest::of(content).as_str())]);
        let done = put.body(content.to_vec()).send().await.expect("an upload");
        assert_eq!(done.status(), 201);
    }

    pub async fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        content: &[u8],
    ) -> Digest {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.registry);
        let put = http().put(url).header(CONTENT_TYPE, media_type);
        let done = put.body(content.to_vec()).send().await.expect("a push");
        let status = done.status();
        assert_eq!(status, 201, "{}", done.text().await.expect("a body"));
        Digest::of(content)
    }
}

/// A client for pushes, with its TLS provider installed.
pub fn http() -> Client {
    // At the second call the provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

/// `listening on 127.0.0.1:41373, tls`, somewhere in a line of the log.
fn listening_on(line: &str) -> Option<String> {
    let rest = line.split_once("listening on ")?.1;
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

fn write_config(directory: &Path, setup: &Setup<'_>) -> PathBuf {
    fs::create_dir_all(directory).expect("a directory");
    let storage = directory.join("storage");
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n{}\
         http:\n  addr: 127.0.0.1:0\n",
        storage.display(),
        setup.storage
    );
    let mut add = |line: String| writeln!(text, "{line}").expect("writing to a String");
    if let Some(files) = setup.tls {
        add(format!("  tls:\n    certificate: {}", files.certificate.display()));
        add(format!("    key: {}", files.key.display()));
        if let Some(authority) = setup.client_authority {
            add(format!("    clientcas:\n      - {}", authority.display()));
        }
    }
    if let Some(htpasswd) = setup.htpasswd {
        let file = directory.join("htpasswd");
        fs::write(&file, format!("{htpasswd}\n")).expect("a file");
        add(format!("auth:\n  htpasswd:\n    realm: pilotfish\n    path: {}", file.display()));
    }
    if let Some((url, token)) = setup.webhook {
        add(format!("notifications:\n  endpoints:\n    - name: pilotfish\n      url: {url}"));
        add(format!("      headers:\n        Authorization: [Bearer {token}]"));
        add("      timeout: 1s\n      threshold: 5\n      backoff: 1s".to_owned());
    }
    let config = directory.join(format!("registry-{}.yml", name_of(setup)));
    fs::write(&config, text).expect("a file");
    config
}

/// Several registries over one storage need different configuration files.
fn name_of(setup: &Setup<'_>) -> String {
    let word = |is: bool, word: &'static str| if is { word } else { "no" };
    format!(
        "{}-{}-{}-{}",
        word(setup.tls.is_some(), "tls"),
        word(setup.client_authority.is_some(), "clients"),
        word(setup.htpasswd.is_some(), "login"),
        word(!setup.storage.is_empty(), "storage"),
    )
}
