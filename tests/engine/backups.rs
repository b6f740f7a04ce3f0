//! The stories of `docs/hooks.md`: a backup of a real database before each update.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::Pi;
use crate::support::command::{run, wait_until};
use crate::support::images::Release;
use crate::support::registry::Published;

/// The programs of PostgreSQL on this machine.
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";

/// The backup of PostgreSQL, as the page has it. The finished file takes the place of the old one.
const PG_DUMP: &str =
    "sh:pg_dump --format=custom shop > /backup/shop.part && mv /backup/shop.part /backup/shop.dump";

/// The backup of SQLite, as the page has it.
const SQLITE: &str = "sqlite3 /data/shop.db \".backup /backup/shop.db\"";

/// A container that runs with this machine's programs, and a directory for its backups.
struct Backups {
    pi: Pi,
    directory: PathBuf,
}

impl Backups {
    fn new() -> Self {
        let pi = Pi::new();
        let directory = pi.engine.directory().join("database");
        for name in ["data", "backup"] {
            fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        Self { pi, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts the container `db` with these options, and publishes its next version.
    fn start(&self, options: &[String]) -> (Published, Published) {
        let one = self.pi.registry.publish("db", &Release::new("1"));
        let mut all: Vec<String> = crate::support::WATCHED.map(str::to_owned).to_vec();
        for path in ["/usr", "/lib", "/lib64", "/etc/passwd"] {
            if Path::new(path).exists() {
                all.push(format!("--volume={path}:{path}:ro"));
            }
        }
        for name in ["data", "backup"] {
            all.push(format!("--volume={}:/{name}", self.path(name).display()));
        }
        all.extend_from_slice(options);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.pi.start("db", &one.reference, &all);
        let two = self.pi.registry.publish("db", &Release::new("2"));
        (one, two)
    }

    fn sql(&self, statement: &str) -> String {
        self.pi.engine.docker(&["exec", "db", "psql", "-Atc", statement, "shop"])
    }

    /// Creates a database cluster with a table `till`, and returns the options of its container.
    fn postgres(&self) -> Vec<String> {
        let id = |flag: &str| run(Command::new("id").args([flag, "postgres"])).trim().to_owned();
        let (user, group) = (id("-u"), id("-g"));
        for name in ["data", "backup"] {
            let (user, group) = (user.parse().ok(), group.parse().ok());
            chown(self.path(name), user, group).expect("an owner");
        }
        let data = self.path("data");
        let mut initdb = Command::new("setpriv");
        initdb.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
        initdb.arg(format!("{POSTGRES}/initdb")).args(["--no-sync", "--pgdata"]).arg(&data);
        run(&mut initdb);
        let settings = "listen_addresses = ''\nunix_socket_directories = '/tmp'\nfsync = off\n";
        fs::write(data.join("postgresql.auto.conf"), settings).expect("settings");
        let mut options = vec![format!("--entrypoint={POSTGRES}/postgres")];
        options.push(format!("--user={user}:{group}"));
        options.push("--tmpfs=/tmp".to_owned());
        let path = format!("PATH={POSTGRES}:/usr/bin");
        options.extend(["PGDATA=/data", "PGHOST=/tmp", &path].map(|it| format!("--env={it}")));
        options.push(format!("--label=pilotfish.hook.pre-update={PG_DUMP}"));
        options
    }
}

#[test]
fn postgresql_is_dumped_before_its_update() {
    let backups = Backups::new();
    let (one, two) = backups.start(&backups.postgres());
    let pi = &backups.pi;
    let is_ready = || {
        let mut ask = Command::new("docker");
        ask.env("DOCKER_HOST", pi.engine.host()).args(["exec", "db", "createdb", "shop"]);
        ask.output().is_ok_and(|it| it.status.success())
    };
    wait_until("PostgreSQL is ready", Duration::from_secs(60), is_ready);
    backups.sql("create table till as select 42 as sum");

    // A backup that fails holds the update.
    fs::create_dir(backups.path("backup/shop.part")).expect("a directory in the way");
    let held = pi.update(&[]).expect_code(0);
    println!("{}", held.out);
    assert!(held.out.contains("the pre-update hook of db failed (exit code 2)"), "{held:?}");
    pi.assert_settled("db", &one, 1);

    fs::remove_dir(backups.path("backup/shop.part")).expect("it is empty");
    let updated = pi.update(&[]).expect_code(0);
    println!("{}{}", updated.out, updated.err);
    pi.assert_settled("db", &two, 1);
    assert_eq!(backups.sql("select sum from till"), "42");
    let dump = backups.path("backup/shop.dump");
    let mut restore = Command::new(format!("{POSTGRES}/pg_restore"));
    let script = run(restore.arg("--file=-").arg(&dump));
    assert!(script.contains("CREATE TABLE public.till"), "{script}");
    assert!(script.contains("\n42\n"), "{script}");
}

#[test]
fn sqlite_on_a_volume_is_copied_before_its_update() {
    let backups = Backups::new();
    let sql = |file: &str, statement: &str| {
        run(Command::new("sqlite3").arg(backups.path(file)).arg(statement)).trim().to_owned()
    };
    sql("data/shop.db", "create table till (sum); insert into till values (42);");
    let (_, two) = backups.start(&[format!("--label=pilotfish.hook.pre-update={SQLITE}")]);

    backups.pi.update(&[]).expect_code(0);

    backups.pi.assert_settled("db", &two, 1);
    sql("data/shop.db", "update till set sum = 43");
    assert_eq!(sql("backup/shop.db", "select sum from till"), "42");
    assert_eq!(sql("backup/shop.db", "pragma integrity_check"), "ok");
}
