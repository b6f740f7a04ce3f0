//! A path in a container that holds its updates, on a real Engine. The image has no shell.

use std::fs::{self, FileTimes};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, QUIET};
use crate::watchtower::Hooked;

const LOCK: &str = "--label=pilotfish.update.lock=/data/lock";

/// A till with a volume for its lock, and its next version.
struct Lockable {
    pi: Pi,
    one: Published,
    two: Published,
    lock: PathBuf,
}

impl Lockable {
    fn new(options: &[&str]) -> Self {
        Self::on(Pi::with(&[], QUIET), options)
    }

    fn on(pi: Pi, options: &[&str]) -> Self {
        let one = pi.registry.publish("till", &Release::new("1"));
        let data = pi.engine.directory().join("lockable");
        fs::create_dir_all(&data).expect("a directory");
        let volume = format!("--volume={}:/data", data.display());
        let all = [&[volume.as_str()], options].concat();
        pi.start_watched("till", &one.reference, 8080, &all);
        let two = pi.registry.publish("till", &Release::new("2"));
        Self { pi, one, two, lock: data.join("lock") }
    }

    /// The update is locked: nothing was touched, the image was pulled once, and no force helps.
    #[track_caller]
    fn assert_locked(&self) {
        let id = self.pi.id("till");
        for arguments in [&["update"][..], &["update", "--force", "till"]] {
            let output = self.pi.agent.run(&self.pi.engine, arguments).expect_code(0);
            assert!(output.out.contains("update_locked"), "{output:?}");
            assert!(output.out.contains("/data/lock exists since"), "{output:?}");
        }
        assert_eq!(self.pi.id("till"), id);
        self.pi.assert_settled("till", &self.one, 1);
        assert_eq!(self.pi.history("till"), Vec::<serde_json::Value>::new());
        assert_eq!(self.pi.check("till")["reason"], "update_locked");
        let pulled = self.pi.engine.docker(&["images", "--quiet", "pilotfish-next/till"]);
        assert_eq!(pulled.lines().count(), 1, "the pull goes on: {pulled}");
    }

    #[track_caller]
    fn assert_updated(&self) {
        self.pi.update(&[]).expect_code(0);
        self.pi.assert_settled("till", &self.two, 1);
    }
}

#[test]
fn a_lock_holds_the_update_while_it_exists() {
    let lockable = Lockable::new(&[LOCK]);
    fs::write(&lockable.lock, "").expect("a lock");
    lockable.assert_locked();
    fs::remove_file(&lockable.lock).expect("the lock");
    lockable.assert_updated();
}

#[test]
fn a_link_without_a_target_and_a_directory_are_locks_too() {
    let lockable = Lockable::new(&[LOCK]);
    symlink("/nowhere", &lockable.lock).expect("a link");
    lockable.assert_locked();
    fs::remove_file(&lockable.lock).expect("the link");
    fs::create_dir(&lockable.lock).expect("a directory");
    lockable.assert_locked();
    fs::remove_dir(&lockable.lock).expect("the directory");
    lockable.assert_updated();
}

#[test]
fn a_lock_whose_directory_is_missing_is_no_lock() {
    let lockable = Lockable::new(&["--label=pilotfish.update.lock=/nowhere/at/all"]);
    lockable.assert_updated();
}

#[test]
fn a_lock_behind_a_link_to_its_directory_is_seen() {
    let lockable = Lockable::new(&["--label=pilotfish.update.lock=/data/run/lock"]);
    let data = lockable.lock.parent().expect("a directory").to_owned();
    fs::create_dir(data.join("real")).expect("a directory");
    // The link is absolute inside the container.
    symlink("/data/real", data.join("run")).expect("a link");
    fs::write(data.join("real/lock"), "").expect("a lock");
    assert_eq!(lockable.pi.check("till")["reason"], "update_locked");
    fs::remove_file(data.join("real/lock")).expect("the lock");
    lockable.assert_updated();
}

#[test]
fn a_lock_that_appears_between_pull_and_switch_is_seen() {
    let labels = [
        "--label=pilotfish.hook.pre-update=/usr/bin/touch /hook_log/lock",
        "--label=pilotfish.update.lock=/hook_log/lock",
    ];
    let hooked = Hooked::with_labels(Pi::new(), labels.map(str::to_owned).to_vec());
    let two = hooked.pi.registry.publish("till", &Release::new("2"));
    let old = hooked.pi.id("till");

    let output = hooked.pi.update(&[]);

    println!("{} {} {}", output.code(), output.out, output.err);
    hooked.pi.assert_settled("till", &hooked.one, 1);
    assert_eq!(hooked.pi.id("till"), old);
    let record = &hooked.pi.history("till")[0];
    assert_eq!(record["outcome"], "interrupted");
    assert_eq!(record["reason"], "the container locked its update: /hook_log/lock exists");
    assert_eq!(record["gap_seconds"], serde_json::Value::Null);
    assert_eq!(hooked.pi.check("till")["reason"], "update_locked");
    // Nothing is refused, and there is no pause.
    hooked.pi.engine.docker(&["exec", "till", "/usr/bin/rm", "/hook_log/lock"]);
    let running = hooked.pi.check("till");
    assert_eq!(running["verdict"], "update", "{running}");
    drop(two);
}

#[test]
fn a_lock_that_lasts_too_long_is_reported_and_kept() {
    let lockable = Lockable::new(&[LOCK, "--label=pilotfish.update.lock.max=1h"]);
    let lock = fs::File::create(&lockable.lock).expect("a lock");
    let since = SystemTime::now() - Duration::from_secs(2 * 3600);
    lock.set_times(FileTimes::new().set_modified(since)).expect("a time");
    let output = lockable.pi.update(&[]).expect_code(0);
    println!("{} {}", output.out, output.err);
    let log = format!("{}{}", output.out, output.err);
    assert!(log.contains("its update is locked: /data/lock exists since"), "{log}");
    let detail = lockable.pi.check("till")["detail"].to_string();
    assert!(detail.contains("which is longer than 1h"), "{detail}");
    lockable.assert_locked();
    assert!(lockable.lock.exists());
}

#[test]
fn a_lock_on_a_tmpfs_is_an_error_because_the_engine_cannot_see_it() {
    let lockable = Lockable::new(&["--tmpfs=/run", "--label=pilotfish.update.lock=/run/lock"]);
    lockable.pi.update(&[]).expect_code(4);
    lockable.pi.assert_settled("till", &lockable.one, 1);
    assert_eq!(lockable.pi.check("till")["reason"], "bad_label");
}

#[test]
fn a_rollback_by_hand_waits_for_the_lock_too() {
    let lockable = Lockable::new(&[LOCK]);
    lockable.assert_updated();
    fs::write(&lockable.lock, "").expect("a lock");
    let output = lockable.pi.agent.run(&lockable.pi.engine, &["rollback", "till"]);
    assert_ne!(output.code(), 0, "{output:?}");
    assert!(format!("{}{}", output.out, output.err).contains("/data/lock exists"), "{output:?}");
    lockable.pi.assert_settled("till", &lockable.two, 1);
    fs::remove_file(&lockable.lock).expect("the lock");
    lockable.pi.agent.run(&lockable.pi.engine, &["rollback", "till"]).expect_code(0);
    lockable.pi.assert_settled("till", &lockable.one, 1);
}
