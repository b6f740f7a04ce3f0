//! The files of `deploy/registry`: a registry with them, and a mirror that fills it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::mirror_rules::Pair;

/// The longest start of a registry.
const START_MAX: Duration = Duration::from_secs(20);

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry").join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(shipped(name)).expect("a shipped file")
}

/// Runs `pki`; the error is what it prints.
fn pki(directory: &Path, words: &str) -> Result<String, String> {
    let mut command = Command::new("sh");
    command.arg(shipped("pki")).args(words.split(' ')).current_dir(directory);
    let Output { status, stdout, stderr } = command.output().expect("sh, of every system");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

/// A registry with the shipped configuration, on a port of its own. It ends with the test.
struct Shipped {
    child: Child,
}

impl Shipped {
    fn start(directory: &Path, port: u16, variable: Option<&str>) -> Self {
        let own = |name: &str| directory.join(name).display().to_string();
        let mut text = text_of("config.yml");
        for (from, to) in [
            ("addr: :443", format!("addr: 127.0.0.1:{port}")),
            ("/var/lib/docker-registry", own("images")),
            ("/etc/docker/registry/registry.crt", own("certificates/registry/registry.crt")),
            ("/etc/docker/registry/registry.key", own("certificates/registry/registry.key")),
        ] {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, &to);
        }
        let file = directory.join("config.yml");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("/usr/bin/docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(variable.and_then(|pair| pair.split_once('=')));
        let child = command.spawn().expect("`apt-get install docker-registry`");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < START_MAX, "the registry does not start");
            sleep(Duration::from_millis(20));
        }
        Self { child }
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variable by which `collect-garbage` makes a registry read-only.
fn read_only_variable() -> String {
    let script = text_of("collect-garbage").replace('\\', "");
    let rest = script.split_once("Environment='").expect("the line of the unit").1;
    rest.split_once('\'').expect("its end").0.to_owned()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn a_mirror_fills_the_shipped_registry_and_stops_while_it_is_read_only() {
    let pair = Pair::start();
    let directory = pair.directory.path();
    pki(directory, "init localhost").expect("an authority");
    let port = free_port();
    let registry = Shipped::start(directory, port, None);
    let mirror = |to: &str| {
        let text = format!(
            "state_dir = {:?}\n[registries.\"localhost:{port}\"]\nca_file = {:?}\n\
             [[mirror]]\nfrom = \"{}\"\nto = \"localhost:{port}/{to}\"\ntags = [\"v1\"]\n",
            directory.join(to),
            directory.join("certificates/ca.crt"),
            pair.rule.from
        );
        let file = directory.join(format!("{to}.toml"));
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
        command.arg("--config").arg(file).args(["mirror", "--once"]);
        let output = command.env("DOCKER_CONFIG", directory).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    pair.publish("v1").await;
    let page = mirror("till");
    assert!(page.ends_with("1 tag: 1 copied\n"), "{page}");
    drop(registry);
    let variable = read_only_variable();
    let registry = Shipped::start(directory, port, Some(&variable));
    let page = mirror("till");
    assert!(page.ends_with("1 tag: 1 up to date\n"), "it can be read: {page}");
    let page = mirror("other");
    assert!(page.contains("is not copied: target_readonly"), "{page}");
    drop(registry);
    let _registry = Shipped::start(directory, port, None);
    let page = mirror("other");
    assert!(page.ends_with("1 tag: 1 copied\n"), "{page}");
}

#[test]
fn the_container_is_made_read_only_by_the_same_variable() {
    let (name, value) = {
        let variable = read_only_variable();
        let (name, value) = variable.split_once('=').expect("a variable");
        (name.to_owned(), value.to_owned())
    };
    let value = value.replace("true", "${REGISTRY_READONLY:-false}");
    assert!(text_of("compose.yaml").contains(&format!("{name}: '{value}'")), "{name}={value}");
}

#[test]
fn pki_takes_names_and_addresses_and_overwrites_nothing() {
    let directory = TempDir::new().expect("a directory");
    let pki = |words: &str| pki(directory.path(), words);
    for (words, error) in [
        ("renew", "pki: there is no authority in certificates/authority: `pki init` makes it\n"),
        (
            "init",
            "pki: init takes one name or more: those by which the devices call the registry\n",
        ),
        ("init registry:443", "pki: `registry:443` has a port: a certificate is for a name\n"),
        ("--days 0 init registry", "pki: --days 0 is not a number of days\n"),
        ("make registry", "pki: unknown command make; see `pki --help`\n"),
    ] {
        assert_eq!(pki(words), Err(error.to_owned()), "{words}");
    }
    for name in ["süd", "-x", ".x", "a/b", "a,DNS:b", "a;b", "*"] {
        let said = pki(&format!("init -- {name}")).expect_err(name);
        let expected = format!(
            "pki: `{name}` is neither a host name nor an address; write it without a port\n"
        );
        assert_eq!(said, expected);
    }
    let said = pki("init registry registry.lan 192.168.1.10 fd00::1").expect("an authority");
    let names = "DNS:registry,DNS:registry.lan,IP:192.168.1.10,IP:fd00::1";
    assert!(
        said.starts_with(&format!("certificates/registry: the files of the registry, for {names}"))
    );
    let again = "pki: certificates/authority exists: nothing is overwritten; see `pki renew`\n";
    assert_eq!(pki("init registry"), Err(again.to_owned()));
    let file = |name: &str| directory.path().join("certificates").join(name);
    let key = fs::read(file("registry/registry.key")).expect("a key");
    let before = fs::read(file("registry/registry.crt")).expect("a certificate");
    pki("renew").expect("a certificate");
    assert_ne!(fs::read(file("registry/registry.crt")).expect("a certificate"), before);
    assert_eq!(fs::read(file("registry/registry.key")).expect("a key"), key);
    for (name, expected) in [
        ("authority/ca.key", 0o600),
        ("registry/registry.key", 0o600),
        ("registry/registry.crt", 0o644),
        ("ca.crt", 0o644),
        ("authority", 0o700),
    ] {
        let mode = fs::metadata(file(name)).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{name}");
    }
}
