//! Signatures of the real cosign, version 2 (a tag) and version 3 (a bundle among the referrers),
//! verified on the copy.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::mirror_program::{Program, rule};
use crate::mirror_rules::Pair;

/// Where `make test-registries` installs them.
const PEERS: &str = "target/peers/bin";

fn cosign(version: u32, directory: &Path, words: &str) -> Output {
    let program: PathBuf = Path::new(PEERS).join(format!("cosign{version}"));
    let program = program.canonicalize().expect("make test-registries installs cosign");
    let mut command = Command::new(program);
    command.current_dir(directory).env("COSIGN_PASSWORD", "").args(words.split_whitespace());
    command.output().expect("cosign")
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "takes cosign: make test-registries"]
async fn signatures_of_the_real_cosign_verify_on_the_copy() {
    for version in [2, 3] {
        let pair = Pair::start();
        let directory = pair.directory.path();
        let digest = pair.publish("v1").await;
        let source = format!("{}@{digest}", pair.rule.from);
        let copy = format!("{}:v1", pair.rule.to);
        let verify = format!(
            "verify --key cosign.pub --insecure-ignore-tlog --allow-http-registry {} {copy}",
            if version == 3 { "--new-bundle-format=true" } else { "" }
        );
        succeed(&cosign(2, directory, "generate-key-pair"));
        let program = Program::new(&pair, &rule(&pair, "tags = [\"v1\"]"));
        // Not signed yet: copied, but not verified.
        let (done, code) = program.json("--once");
        assert_eq!(code, Some(0), "{done}");
        assert!(!cosign(version, directory, &verify).status.success());
        let sign = match version {
            2 => "--tlog-upload=false",
            _ => "--use-signing-config=false --tlog-upload=false --new-bundle-format=true",
        };
        let sign = format!("sign --key cosign.key {sign} --allow-http-registry -y {source}");
        succeed(&cosign(version, directory, &sign));
        let required = rule(&pair, "tags = [\"v1\"]\nsignatures = \"required\"");
        // Another memory, so that it looks for signatures now.
        std::fs::remove_dir_all(directory.join("program")).expect("a directory");
        let (done, code) = Program::new(&pair, &required).json("--once");
        let outcome = done["rules"][0]["tags"][0]["outcome"].as_str();
        assert_eq!((outcome, code), (Some("documents_copied"), Some(0)), "{done}");
        succeed(&cosign(version, directory, &verify));
    }
}
