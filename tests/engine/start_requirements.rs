//! Things that only a start needs: while one is missing, the service keeps running and is not
//! stopped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// A Pi on which containers run version 1 of `till`. Version 2 is published after all of them run.
struct Fixture {
    pi: Pi,
    image: String,
}

impl Fixture {
    fn new() -> Self {
        let pi = Pi::new();
        let image = pi.registry.publish("till", &Release::new("1")).reference;
        fs::create_dir(pi.engine.directory().join("srv")).expect("a directory");
        Self { pi, image }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pi.engine.directory().join("srv").join(name)
    }

    /// A path of the machine, as part of an option.
    fn option(&self, before: &str, name: &str, after: &str) -> String {
        format!("{before}{}{after}", self.path(name).display())
    }

    fn start(&self, name: &str, options: &[&str]) {
        let mut all = WATCHED.to_vec();
        all.extend(options);
        self.pi.start(name, &self.image, &all);
    }

    /// The update is held for this reason, with and without `--force`, with a detail that names the
    /// missing thing. The container is not restarted.
    #[track_caller]
    fn assert_held(&self, name: &str, reason: &str, what: &str) {
        let before = self.pi.inspect(name);
        for words in [&[name][..], &[name, "--force"]] {
            let output = self.pi.update(words).expect_code(0);
            assert!(output.out.contains(&format!("{name} is held: {reason}")), "{}", output.out);
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
fn devices_and_directories_for_the_start_are_checked_before_the_stop() {
    let fixture = Fixture::new();
    // As udev creates it: a link that disappears with the stick.
    let plug_in = || symlink("/dev/null", fixture.path("ttyUSB0")).expect("a link");
    plug_in();
    fs::create_dir(fixture.path("data")).expect("a directory");
    fs::create_dir(fixture.path("conf")).expect("a directory");
    fs::create_dir(fixture.path("snd")).expect("a directory");
    symlink("/dev/zero", fixture.path("snd/control")).expect("a link");
    let device = fixture.option("--device=", "ttyUSB0", ":/dev/ttyUSB0");
    fixture.start("radio", &[&device]);
    fixture.start("files", &[&fixture.option("--volume=", "data", ":/data")]);
    let mount = fixture.option("--mount=type=bind,source=", "conf", ",target=/conf");
    fixture.start("strict", &[&mount]);
    fs::create_dir(fixture.path("disk")).expect("a directory");
    let disk = fixture.option("--opt=device=", "disk", "");
    let options = ["volume", "create", "--opt=type=none", "--opt=o=bind", &disk, "disk"];
    fixture.pi.engine.docker(&options);
    fixture.start("volume", &["--volume=disk:/disk"]);
    let two = fixture.pi.registry.publish("till", &Release::new("2"));
    fs::remove_file(fixture.path("ttyUSB0")).expect("to pull it out");
    fs::remove_dir(fixture.path("data")).expect("to remove it");
    fs::remove_dir(fixture.path("conf")).expect("to remove it");
    fs::rename(fixture.path("disk"), fixture.path("away")).expect("to take it away");

    fixture.assert_held("radio", "device_missing", "ttyUSB0 is not there");
    fixture.assert_held("files", "start_would_fail", "srv/data, which it mounts, is not there");
    fixture.assert_held("strict", "start_would_fail", "srv/conf, which it mounts, is not there");
    fixture.assert_held("volume", "start_would_fail", "srv/disk, which it mounts, is not there");

    assert!(!fixture.path("data").exists(), "the check created an empty directory");
    fs::write(fixture.path("ttyUSB0"), "").expect("a file");
    fixture.assert_held("radio", "device_missing", "ttyUSB0 is no device");
    fs::remove_file(fixture.path("ttyUSB0")).expect("to remove it");
    plug_in();
    fixture.pi.update(&["radio"]).expect_code(0);
    assert_eq!(fixture.pi.image("radio"), two.image);
    assert_eq!(fixture.pi.history("radio").len(), 1, "there was an earlier try");
}

#[test]
fn a_joined_container_must_run_and_a_network_must_exist() {
    let fixture = Fixture::new();
    let pi = &fixture.pi;
    let other = pi.registry.publish("vpn", &Release::new("vpn"));
    pi.engine.docker(&["run", "--detach", "--name=vpn", &other.reference]);
    pi.engine.docker(&["network", "create", "shop"]);
    pi.engine.docker(&["network", "create", "yard"]);
    fixture.start("joined", &["--network=container:vpn", "--env=TILL_PORT=8081"]);
    fixture.start("lonely", &["--network=shop"]);
    pi.engine.docker(&["network", "connect", "yard", "lonely"]);
    pi.registry.publish("till", &Release::new("2"));
    pi.engine.docker(&["kill", "vpn"]);
    pi.engine.docker(&["network", "disconnect", "--force", "shop", "lonely"]);
    pi.engine.docker(&["network", "rm", "shop"]);

    fixture.assert_held(
        "joined",
        "start_would_fail",
        "shares the network of vpn, which does not run",
    );
    fixture.assert_held("lonely", "start_would_fail", "its network shop is not there");
    pi.engine.docker(&["rm", "vpn"]);
    fixture.assert_held("joined", "start_would_fail", "which is not there");

    pi.engine.docker(&["network", "create", "shop"]);
    pi.update(&["lonely"]).expect_code(0);
    assert_eq!(pi.check("lonely")["verdict"], "up_to_date");
}

#[test]
fn mounts_on_the_new_image_are_tried_before_the_stop() {
    let fixture = Fixture::new();
    let pi = &fixture.pi;
    fs::create_dir(fixture.path("data")).expect("a directory");
    fixture.start("till", &[&fixture.option("--volume=", "data", ":/ballast")]);
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
