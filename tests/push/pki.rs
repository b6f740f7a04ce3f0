//! `deploy/push/pki`, the script that makes the certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pilotfish::api::push::PushTls;

fn pki(directory: &Path, words: &[&str]) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/push/pki");
    let mut pki = Command::new(script);
    pki.args(words).current_dir(directory).output().expect("bash and openssl")
}

/// The certificates that a server reads, and the names in those of its clients.
#[test]
fn the_shipped_script_makes_certificates_that_work() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let run = |words: &[&str]| {
        let output = pki(path, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["init"]);
    run(&["device", "pi", "pi.local", "192.168.1.20"]);
    run(&["client", "ci", "owner"]);
    let device = path.join("certificates/pi");
    let files = pilotfish::config::PushFiles {
        cert_file: device.join("server.crt"),
        key_file: device.join("server.key"),
        client_ca_file: device.join("client-ca.crt"),
        crl_file: Some(device.join("crl.pem")),
    };
    PushTls::read(&files, true).expect("a server reads them");
    run(&["renew", "ci"]);
    run(&["renew", "pi"]);
    let before = std::fs::read(device.join("crl.pem")).expect("a file");
    run(&["revoke", "ci"]);
    assert_ne!(std::fs::read(device.join("crl.pem")).expect("a file"), before);
    PushTls::read(&files, true).expect("a server reads the new list");
    let list = run(&["list"]);
    let states: Vec<_> = list.lines().skip(1).map(|line| line.contains("revoked")).collect();
    assert_eq!(states.iter().filter(|is_revoked| **is_revoked).count(), 2, "{list}");
    for (words, complaint) in [
        (&["init"][..], "nothing is overwritten"),
        (&["client", "owner"], "nothing is overwritten"),
        (&["client", "../x"], "is not a name"),
        (&["revoke", "ci"], "is revoked, or was never made"),
        (&["device", "pi2", "a b"], "neither a host name nor an address"),
    ] {
        let output = pki(path, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(complaint), "{words:?}: {said}");
    }
}
