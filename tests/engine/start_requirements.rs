//! What only a start needs: while it is missing, the service runs on and is not stopped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// A Pi on which containers run version 1 of `till`. Version 2 is published when all of them run.
struct Stage {
    pi: Pi,
    image: String,
}

impl Stage {
    fn new() -> Self {
        let pi = Pi::new();
        let image = pi.registry.publish("till", &Release::new("1")).reference;
        fs::create_dir(pi.engine.directory().join("srv")).expect("a directory");
        Self { pi, image }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pi.engine.directory().join("srv").join(name)
    }

    /// A path of the machine, as an option names it.
    fn option(&self, before: &str, name: &str, after: &str) -> String {
        format!("{before}{}{after}", self.path(name).display())
    }

    fn start(&self, name: &str, options: &[&str]) {
        let mut all = WATCHED.to_vec();
        all.extend(options);
        self.pi.start(name, &self.image, &all);
    }

    /// An update that is held for this reason, forced or not, with a detail that names the thing,
    /// while the same life of the container goes on.
    #[track_caller]
    fn is_held(&self, name: &str, reason: &str, what: &str) {
        let before = self.pi.inspect(name);
        for words in [&[name][..], &[name, "--force"]] {
            let told = self.pi.update(words).expect_code(0);
            assert!(told.out.contains(&format!("{name} is held: {reason}")), "{}", told.out);
        }
        let row = self.pi.check(name);
        assert_eq!((&row["verdict"], &row["reason"]), (&"held".into(), &reason.into()), "{row}");
        let detail = row["detail"].as_str().expect("a detail");
        assert!(detail.contains(what) && detail.contains("could not be started again"), "{detail}");
        let after = self.pi.inspect(name);
        assert_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"]);
        assert_eq!(after["State"]["Running"], true);
    }
}

#[test]
fn a_device_or_a_directory_that_only_a_start_needs_is_looked_at_before_the_stop() {
    let stage = Stage::new();
    // As udev makes it: a link that goes with the stick.
    let plug_in = || symlink("/dev/null", stage.path("ttyUSB0")).expect("a link");
    plug_in();
    fs::create_dir(stage.path("data")).expect("a directory");
    fs::create_dir(stage.path("conf")).expect("a directory");
    fs::create_dir(stage.path("snd")).expect("a directory");
    symlink("/dev/zero", stage.path("snd/control")).expect("a link");
    let device = stage.option("--device=", "ttyUSB0", ":/dev/ttyUSB0");
    stage.start("radio", &[&device]);
    stage.start("files", &[&stage.option("--volume=", "data", ":/data")]);
    let mount = stage.option("--mount=type=bind,source=", "conf", ",target=/conf");
    stage.start("strict", &[&mount]);
    fs::create_dir(stage.path("disk")).expect("a directory");
    let disk = stage.option("--opt=device=", "disk", "");
    let options = ["volume", "create", "--opt=type=none", "--opt=o=bind", &disk, "disk"];
    stage.pi.engine.docker(&options);
    stage.start("volume", &["--volume=disk:/disk"]);
    let two = stage.pi.registry.publish("till", &Release::new("2"));
    fs::remove_file(stage.path("ttyUSB0")).expect("to pull it out");
    fs::remove_dir(stage.path("data")).expect("to remove it");
    fs::remove_dir(stage.path("conf")).expect("to remove it");
    fs::rename(stage.path("disk"), stage.path("away")).expect("to take it away");

    stage.is_held("radio", "device_missing", "ttyUSB0 is not there");
    stage.is_held("files", "start_would_fail", "srv/data, which it mounts, is not there");
    stage.is_held("strict", "start_would_fail", "srv/conf, which it mounts, is not there");
    stage.is_held("volume", "start_would_fail", "srv/disk, which it mounts, is not there");

    assert!(!stage.path("data").exists(), "a look made an empty directory of it");
    fs::write(stage.path("ttyUSB0"), "").expect("a file");
    stage.is_held("radio", "device_missing", "ttyUSB0 is no device");
    fs::remove_file(stage.path("ttyUSB0")).expect("to remove it");
    plug_in();
    stage.pi.update(&["radio"]).expect_code(0);
    assert_eq!(stage.pi.image("radio"), two.image);
    assert_eq!(stage.pi.history("radio").len(), 1, "it was tried before");
}

#[test]
fn what_a_container_joins_must_run_and_its_network_must_be_there() {
    let stage = Stage::new();
    let pi = &stage.pi;
    let other = pi.registry.publish("vpn", &Release::new("vpn"));
    pi.engine.docker(&["run", "--detach", "--name=vpn", &other.reference]);
    pi.engine.docker(&["network", "create", "shop"]);
    pi.engine.docker(&["network", "create", "yard"]);
    stage.start("joined", &["--network=container:vpn", "--env=TILL_PORT=8081"]);
    stage.start("lonely", &["--network=shop"]);
    pi.engine.docker(&["network", "connect", "yard", "lonely"]);
    pi.registry.publish("till", &Release::new("2"));
    pi.engine.docker(&["kill", "vpn"]);
    pi.engine.docker(&["network", "disconnect", "--force", "shop", "lonely"]);
    pi.engine.docker(&["network", "rm", "shop"]);

    stage.is_held("joined", "start_would_fail", "shares the network of vpn, which does not run");
    stage.is_held("lonely", "start_would_fail", "its network shop is not there");
    pi.engine.docker(&["rm", "vpn"]);
    stage.is_held("joined", "start_would_fail", "which is not there");

    pi.engine.docker(&["network", "create", "shop"]);
    pi.update(&["lonely"]).expect_code(0);
    assert_eq!(pi.check("lonely")["verdict"], "up_to_date");
}

#[test]
fn what_the_new_image_has_no_place_for_is_tried_before_the_stop() {
    let stage = Stage::new();
    let pi = &stage.pi;
    fs::create_dir(stage.path("data")).expect("a directory");
    stage.start("till", &[&stage.option("--volume=", "data", ":/ballast")]);
    let before = pi.inspect("till");
    // A directory cannot be mounted over a file.
    pi.registry.publish("till", &Release::new("2").with_ballast(1));

    pi.update(&[]).expect_code(1);

    let after = pi.inspect("till");
    assert_eq!(after["Id"], before["Id"]);
    assert_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"], "it was stopped");
    assert_eq!(pi.names(), ["till running"]);
    let record = &pi.history("till")[0];
    assert_eq!(record["outcome"], "failed", "{record}");
    let reason = record["reason"].as_str().expect("a reason");
    assert!(reason.contains("cannot mount what the new container mounts"), "{reason}");
    assert_eq!(pi.check("till")["reason"], "update_failing", "the image was refused");
}
