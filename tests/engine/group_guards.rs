//! A member of a group that does not change has its say: its pre-update hook and its lock.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, text};

const API_PORT: u16 = 8080;
const DATABASE_PORT: u16 = 8081;

const GROUP: [&str; 2] = ["--label=pilotfish.group=shop", "--label=pilotfish.group.settle=0s"];

/// A database that keeps its image, and an API that gets a new one.
struct Shop {
    pi: Pi,
    data: PathBuf,
    two: Published,
}

impl Shop {
    /// The options are those of the database, which has this machine's programs and `/data`.
    fn with(options: &[&str]) -> Self {
        let pi = Pi::new();
        let data = pi.engine.directory().join("database");
        fs::create_dir_all(&data).expect("a directory");
        let mount = format!("--volume={}:/data", data.display());
        let mut all = [&GROUP, options, &[mount.as_str()]].concat();
        let programs = ["/usr", "/lib", "/lib64"].into_iter().filter(|it| Path::new(it).exists());
        let programs: Vec<_> = programs.map(|it| format!("--volume={it}:{it}:ro")).collect();
        all.extend(programs.iter().map(String::as_str));
        let database = pi.registry.publish("db", &Release::new("15"));
        pi.start_watched("db", &database.reference, DATABASE_PORT, &all);
        let api = pi.registry.publish("api", &Release::new("1"));
        pi.start_watched("api", &api.reference, API_PORT, &GROUP);
        let two = pi.registry.publish("api", &Release::new("2"));
        Self { pi, data, two }
    }
}

#[test]
fn a_database_that_keeps_its_image_makes_its_backup_before_the_group_changes() {
    let hook = "--label=pilotfish.hook.pre-update=/usr/bin/mkdir /data/backup/1";
    let shop = Shop::with(&[hook]);
    let database = shop.pi.id("db");

    // There is no directory for it yet.
    let held = shop.pi.update(&[]).expect_code(0);
    assert!(held.out.contains("the pre-update hook of db failed"), "{}", held.out);
    assert_eq!(shop.pi.serving(API_PORT).as_deref(), Some("till 1"));

    fs::create_dir(shop.data.join("backup")).expect("a directory");
    shop.pi.update(&[]).expect_code(0);
    shop.pi.assert_settled("api", &shop.two, 2);
    assert!(shop.data.join("backup/1").is_dir(), "the backup was made");
    assert_eq!(shop.pi.id("db"), database, "the database was not touched");
}

#[test]
fn a_lock_in_a_member_that_keeps_its_image_holds_the_group() {
    let shop = Shop::with(&["--label=pilotfish.update.lock=/data/lock"]);
    fs::write(shop.data.join("lock"), "").expect("a lock");

    shop.pi.update(&["--force"]).expect_code(0);
    let row = shop.pi.check("api");
    assert_eq!(row["reason"], "update_locked", "{row:#}");
    assert!(text(&row["detail"]).starts_with("db: /data/lock exists"), "{row:#}");
    assert_eq!(shop.pi.serving(API_PORT).as_deref(), Some("till 1"));

    fs::remove_file(shop.data.join("lock")).expect("the lock");
    shop.pi.update(&[]).expect_code(0);
    shop.pi.assert_settled("api", &shop.two, 2);
}
