//! Groups and jobs on a real Engine: two services and a migration that belong together.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::begins_step;
use crate::support::command::{run, wait_until};
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::support::{Pi, WATCHED, text};

const API_PORT: u16 = 8080;
const WEB_PORT: u16 = 8081;

/// The labels of every member.
const GROUP: [&str; 2] = ["--label=pilotfish.group=shop", "--label=pilotfish.group.settle=0s"];

/// A job that ends well, and writes down the version of its image.
const GOOD: &str = "echo \"$TILL_VERSION\" >> /data/ran";

/// A shop with `api` and `web` from images of their own, and the job `migrate` from the image of
/// `api`. The job runs with this machine's programs, and does what `/data/job` says.
struct Shop {
    pi: Pi,
    api: Published,
    web: Published,
}

impl Shop {
    fn new() -> Self {
        Self::with(&[])
    }

    /// A shop whose job has these options as well.
    fn with(of_job: &[&str]) -> Self {
        let pi = Pi::new();
        let data = pi.engine.directory().join("data");
        fs::create_dir_all(&data).expect("a directory");
        let api = pi.registry.publish("api", &Release::new("1"));
        let web = pi.registry.publish("web", &Release::new("1").with("PART", "web"));
        let shop = Self { pi, api, web };
        shop.job(GOOD);
        shop.start_job(of_job);
        let depends = ["--label=pilotfish.depends-on=migrate:completed"];
        shop.start("api", &shop.api, API_PORT, &depends);
        shop.start("web", &shop.web, WEB_PORT, &["--label=pilotfish.depends-on=api"]);
        assert_eq!(shop.ran(), ["1"], "the job ran for the first version");
        shop
    }

    fn start(&self, name: &str, image: &Published, port: u16, options: &[&str]) {
        let options = [&GROUP, options].concat();
        self.pi.start_watched(name, &image.reference, port, &options);
    }

    /// Runs the job for the first time, to its end.
    fn start_job(&self, options: &[&str]) {
        let mut arguments: Vec<String> = ["run", "--name", "migrate"].map(str::to_owned).into();
        arguments.extend(WATCHED.iter().chain(&GROUP).map(|it| (*it).to_owned()));
        arguments.extend(options.iter().map(|it| (*it).to_owned()));
        for path in ["/usr", "/lib", "/lib64"].into_iter().filter(|it| Path::new(it).exists()) {
            arguments.push(format!("--volume={path}:{path}:ro"));
        }
        arguments.push(format!("--volume={}:/data", self.path("").display()));
        arguments.push("--entrypoint=/usr/bin/sh".to_owned());
        arguments.extend([self.api.reference.clone(), "/data/job".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.pi.engine.docker(&arguments);
    }

    /// What the job does from now on.
    fn job(&self, script: &str) {
        fs::write(self.path("job"), script).expect("the job");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pi.engine.directory().join("data").join(name)
    }

    /// The versions for which the job has run to its end.
    fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.path("ran")).unwrap_or_default();
        ran.lines().map(str::to_owned).collect()
    }

    /// Publishes a release of both images.
    fn release(&self, version: &str) -> (Published, Published) {
        let web = Release::new(version).with("PART", "web");
        let api = self.pi.registry.publish("api", &Release::new(version));
        (api, self.pi.registry.publish("web", &web))
    }

    /// Nothing is in flight, and these versions serve.
    #[track_caller]
    fn assert_serves(&self, api: &str, web: &str) {
        let names = ["api running", "migrate exited", "web running"];
        assert_eq!(self.pi.names(), names, "no other container is left");
        self.pi.wait_until_serving(API_PORT);
        self.pi.wait_until_serving(WEB_PORT);
        assert_eq!(self.pi.serving(API_PORT), Some(format!("till {api}")));
        assert_eq!(self.pi.serving(WEB_PORT), Some(format!("till {web}")));
        assert_eq!(self.pi.agent.journals(), Vec::<PathBuf>::new(), "open journals");
        for name in ["api", "web"] {
            let policy = &self.pi.inspect(name)["HostConfig"]["RestartPolicy"]["Name"];
            assert_eq!(policy, "always", "{name}");
        }
    }

    /// The newest record of the group.
    fn record(&self) -> Value {
        self.pi.history("shop").first().expect("a record").clone()
    }

    /// Waits until the copy of the job has this state.
    fn wait_until_copy_is(&self, state: &str) {
        let line = format!("pilotfish-new-migrate {state}");
        let is_it = || self.pi.names().contains(&line);
        wait_until(&format!("the copy is {state}"), Duration::from_secs(30), is_it);
    }

    /// Restarts the update after a kill, and lets it end.
    fn recover(&self) {
        self.pi.agent.run(&self.pi.engine, &["recover"]).expect_code(0);
    }
}

#[test]
fn a_release_of_several_images_and_a_migration_is_one_update() {
    let shop = Shop::new();
    let (job, api) = (shop.pi.id("migrate"), shop.pi.id("api"));
    let (two, _) = shop.release("2");

    let agent = &shop.pi.agent;
    let planned = agent.json(&shop.pi.engine, &["update", "--dry-run", "--json"]);
    let job_plan = serde_json::json!(
        {"container": "migrate", "timeout_seconds": 600.0, "meanwhile": "running"}
    );
    let plan = serde_json::json!(
        {"group": "shop", "hooks": [], "jobs": [job_plan], "starts": ["api", "web"]}
    );
    assert_eq!(planned["group_plans"], serde_json::json!([plan]), "{planned:#}");
    assert_eq!(planned["plans"].as_array().map(Vec::len), Some(3), "{planned:#}");
    println!("{}", agent.run(&shop.pi.engine, &["update", "--dry-run"]).expect_code(0).out);

    let output = shop.pi.update(&[]).expect_code(0);
    assert!(output.out.contains("group shop: web: "), "{}", output.out);
    println!("{}", output.out);

    shop.assert_serves("2", "2");
    assert_eq!(shop.ran(), ["1", "2"], "the job ran once, on the new image");
    assert_ne!(shop.pi.id("migrate"), job);
    assert_ne!(shop.pi.id("api"), api);
    assert_eq!(shop.pi.image("migrate"), two.image);
    let record = shop.record();
    assert_eq!(record["group"], "shop");
    assert_eq!(record["outcome"], "updated");
    assert_eq!(record["members"].as_array().map(Vec::len), Some(3), "{record:#}");
    assert_eq!(record["jobs"][0]["container"], "migrate");
    assert_eq!(record["jobs"][0]["exit_code"], 0);
    // The history of each member has it too.
    for name in ["api", "web", "migrate"] {
        assert_eq!(shop.pi.history(name)[0]["id"], record["id"], "{name}");
    }
    // Nothing is left to do.
    let again = shop.pi.update(&[]).expect_code(0);
    assert!(again.out.contains("3 containers: 3 up to date"), "{}", again.out);
    assert_eq!(shop.ran(), ["1", "2"]);
}

#[test]
fn the_old_ones_serve_while_the_job_runs() {
    let shop = Shop::new();
    shop.release("2");
    shop.job(&format!("while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"));
    let running = shop.pi.update_until("run");
    shop.wait_until_copy_is("running");
    assert_eq!(shop.pi.serving(API_PORT).as_deref(), Some("till 1"));
    assert_eq!(shop.pi.serving(WEB_PORT).as_deref(), Some("till 1"));
    fs::write(shop.path("go"), "").expect("a file");
    running.finish().expect_code(0);
    shop.assert_serves("2", "2");
    assert_eq!(shop.ran(), ["1", "2"]);
}

#[test]
fn a_job_that_fails_refuses_its_image_and_touches_nothing() {
    let shop = Shop::new();
    let ids = ["api", "web", "migrate"].map(|name| shop.pi.id(name));
    shop.release("2");
    shop.job("echo there is no column total; exit 3");

    let output = shop.pi.update(&[]).expect_code(3);

    assert!(output.out.contains("the job migrate ended with exit code 3"), "{}", output.out);
    shop.assert_serves("1", "1");
    assert_eq!(["api", "web", "migrate"].map(|name| shop.pi.id(name)), ids);
    let record = shop.record();
    assert_eq!((&record["outcome"], &record["data"]), (&"rolled_back".into(), &"maybe".into()));
    assert!(record["log"].to_string().contains("no column total"), "{record:#}");
    assert_eq!(record["gap_seconds"], Value::Null, "nothing was stopped");
    // The image that did not fail is not refused; its container waits for the others.
    assert_eq!(shop.pi.check("migrate")["reason"], "refused_digest");
    let web = shop.pi.check("web");
    assert_eq!(web["reason"], "group_incomplete", "{web:#}");
    assert!(text(&web["detail"]).contains("refused_digest"), "{web:#}");
    shop.pi.update(&[]).expect_code(0);
    assert_eq!(shop.ran(), ["1"], "it is not tried again");

    // A fixed release goes through.
    shop.job(GOOD);
    shop.release("3");
    shop.pi.update(&[]).expect_code(0);
    shop.assert_serves("3", "3");
    assert_eq!(shop.ran(), ["1", "3"]);
}

#[test]
fn a_job_that_hangs_ends_with_its_time() {
    let shop = Shop::with(&["--label=pilotfish.job.timeout=2s"]);
    shop.release("2");
    shop.job("exec sleep 1000");
    let output = shop.pi.update(&[]).expect_code(3);
    assert!(output.out.contains("the job migrate did not end within 2s"), "{}", output.out);
    shop.assert_serves("1", "1");
    assert_eq!(shop.record()["data"], "maybe");
    assert_eq!(shop.pi.check("migrate")["reason"], "refused_digest");
}

#[test]
fn a_second_member_that_fails_takes_all_of_them_back() {
    let shop = Shop::new();
    let two = shop.pi.registry.publish("api", &Release::new("2"));
    shop.pi.registry.publish("web", &Release::new("2").with("TILL_EXIT_AFTER", "0s"));

    let output = shop.pi.update(&[]).expect_code(3);
    println!("{}", output.out);

    shop.assert_serves("1", "1");
    let record = shop.record();
    assert_eq!(record["outcome"], "rolled_back", "{record:#}");
    assert_eq!(record["data"], "migrated", "{record:#}");
    assert_eq!(shop.ran(), ["1", "2"]);
    assert_ne!(shop.pi.image("api"), two.image);
    // Only the image that failed is refused.
    assert_eq!(shop.pi.check("web")["reason"], "refused_digest");
    let api = shop.pi.check("api");
    assert_eq!(api["reason"], "group_incomplete", "{api:#}");
    assert!(text(&api["detail"]).contains("waits for web"), "{api:#}");
}

#[test]
fn an_agent_that_was_killed_waits_for_the_job_that_runs() {
    let shop = Shop::new();
    shop.release("2");
    shop.job(&format!("while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"));
    let running = shop.pi.update_until("run");
    shop.wait_until_copy_is("running");
    running.kill();
    fs::write(shop.path("go"), "").expect("a file");
    shop.recover();
    shop.assert_serves("2", "2");
    assert_eq!(shop.ran(), ["1", "2"], "it ran once");
}

#[test]
fn a_job_that_ended_while_no_agent_ran_is_not_run_again() {
    let shop = Shop::new();
    shop.release("2");
    shop.job(&format!("while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"));
    let running = shop.pi.update_until("run");
    shop.wait_until_copy_is("running");
    running.kill();
    fs::write(shop.path("go"), "").expect("a file");
    shop.wait_until_copy_is("exited");
    shop.recover();
    shop.assert_serves("2", "2");
    assert_eq!(shop.ran(), ["1", "2"], "it ran once");
}

#[test]
fn a_person_who_removes_the_copy_ends_the_update_without_blame() {
    let shop = Shop::new();
    shop.release("2");
    shop.job("exec sleep 1000");
    let running = shop.pi.update_until("run");
    shop.wait_until_copy_is("running");
    shop.pi.engine.docker(&["rm", "--force", "pilotfish-new-migrate"]);
    running.finish();
    shop.assert_serves("1", "1");
    let record = shop.record();
    assert_eq!(record["outcome"], "interrupted", "{record:#}");
    assert_eq!(shop.pi.check("migrate")["verdict"], "update");
}

#[test]
fn the_members_stand_still_while_a_job_runs_that_asks_for_it() {
    let shop = Shop::with(&["--label=pilotfish.job.meanwhile=stopped"]);
    shop.release("2");
    shop.job(&format!("while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"));
    let running = shop.pi.update_until("run");
    shop.wait_until_copy_is("running");
    let names = shop.pi.names();
    for name in ["api exited", "web exited"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    fs::write(shop.path("go"), "").expect("a file");
    running.finish().expect_code(0);
    shop.assert_serves("2", "2");

    // A job that fails brings them back.
    shop.release("3");
    shop.job("exit 1");
    shop.pi.update(&[]).expect_code(3);
    shop.assert_serves("2", "2");
    assert_eq!(shop.record()["outcome"], "rolled_back");
}

#[test]
fn an_engine_that_ends_during_a_job_runs_it_again() {
    let shop = Shop::new();
    shop.release("2");
    shop.job(&format!(
        "trap 'exit 0' TERM; echo begun >> /data/begun; while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"
    ));
    let running = shop.pi.update_until("run");
    let has_begun = || fs::read_to_string(shop.path("begun")).is_ok();
    wait_until("the job has begun", Duration::from_secs(20), has_begun);
    // The Engine stops the job, which ends with exit code 0 although it is not done.
    shop.pi.engine.stop();
    shop.pi.engine.start_again(&[]);
    fs::write(shop.path("go"), "").expect("a file");
    running.finish().expect_code(0);
    shop.assert_serves("2", "2");
    assert_eq!(shop.ran(), ["1", "2"]);
    let begun = fs::read_to_string(shop.path("begun")).expect("it has begun");
    assert_eq!(begun.lines().count(), 2, "the run that was cut off did not count");
}

/// The update was killed in the steps that run a job, replace the members and end the update.
#[test]
fn a_group_is_updated_as_a_whole_or_not_at_all() {
    kill_in(&["run", "switch", "commit"]);
}

#[test]
#[ignore = "takes a minute: make torture"]
fn a_group_is_updated_as_a_whole_or_not_at_all_in_each_step() {
    kill_in(&["pull", "create", "run", "switch", "start", "verify", "commit", "clean"]);
}

/// Kills an update in each of these steps; the next agent ends it: all or none.
fn kill_in(steps: &[&str]) {
    for step in steps {
        let shop = Shop::new();
        shop.release("2");
        let running = shop.pi.update_until(step);
        running.kill();
        let reached: Vec<_> = shop.pi.agent.entries();
        shop.recover();
        let api = shop.pi.serving(API_PORT);
        let version = if api.as_deref() == Some("till 2") { "2" } else { "1" };
        println!("killed at {step} ({} entries): {version}", reached.len());
        shop.assert_serves(version, version);
        shop.pi.update(&[]).expect_code(0);
        shop.assert_serves("2", "2");
        let after_run = reached.iter().any(|entry| begins_step(entry, "switch"));
        let runs = shop.ran().iter().filter(|it| *it == "2").count();
        assert!(runs == 1 || !after_run || version == "1", "killed at {step}: {runs} runs");
    }
}

/// Puts SQLite and its libraries beside the data, because the root directory of the Engine may be
/// another one than that of this test. The job calls it as `/data/sqlite3`.
fn put_sqlite(shop: &Shop) {
    let program = run(Command::new("which").arg("sqlite3"));
    let libraries = run(Command::new("ldd").arg(program.trim()));
    let paths: Vec<&str> = libraries.split_whitespace().filter(|it| it.starts_with('/')).collect();
    let loader = paths.iter().find(|path| path.contains("/ld-")).expect("the loader");
    for path in paths.iter().copied().chain([program.trim()]) {
        let name = Path::new(path).file_name().expect("a name");
        let to = shop.path("lib").join(name);
        fs::create_dir_all(shop.path("lib")).expect("a directory");
        fs::copy(path, to).expect("to copy a part of SQLite");
    }
    let loader = Path::new(loader).file_name().expect("a name").to_string_lossy();
    let libraries = "/data/lib";
    let call = format!(
        "#!/usr/bin/sh\nexec {libraries}/{loader} --library-path {libraries} \
         {libraries}/sqlite3 \"$@\"\n"
    );
    fs::write(shop.path("sqlite3"), call).expect("a script");
    fs::set_permissions(shop.path("sqlite3"), Permissions::from_mode(0o755)).expect("its mode");
}

/// The value of a file of SQLite.
fn sql(shop: &Shop, statement: &str) -> String {
    run(Command::new("sqlite3").arg(shop.path("shop.db")).arg(statement)).trim().to_owned()
}

#[test]
fn a_database_on_a_volume_is_migrated_before_the_switch() {
    let shop = Shop::new();
    put_sqlite(&shop);
    sql(&shop, "create table sale (sum integer); insert into sale values (42);");
    let migration = |statement: &str| {
        format!("set -e; /data/sqlite3 -bail /data/shop.db '{statement}'; {GOOD}")
    };
    // It fails in the middle of its transaction: nothing has changed.
    shop.release("2");
    shop.job(&migration(
        "begin; alter table sale add column cents integer; select no_such_function(); commit;",
    ));
    shop.pi.update(&[]).expect_code(3);
    shop.assert_serves("1", "1");
    assert!(!sql(&shop, ".schema sale").contains("cents"));

    // It succeeds, and the new code follows.
    shop.release("3");
    shop.job(&migration(
        "begin; alter table sale add column cents integer; update sale set cents = 0; commit;",
    ));
    shop.pi.update(&[]).expect_code(0);
    shop.assert_serves("3", "3");
    assert_eq!(sql(&shop, "select sum, cents from sale"), "42|0");

    // It is killed in its first run, and begun anew.
    shop.release("4");
    shop.job(&format!(
        "set -e; echo begun >> /data/begun; /data/sqlite3 -bail /data/shop.db \
         'create table if not exists refund (sum integer);'; \
         while [ ! -e /data/go ]; do sleep 0.1; done; {GOOD}"
    ));
    let running = shop.pi.update_until("run");
    wait_until("it has begun", Duration::from_secs(20), || shop.path("begun").exists());
    shop.pi.engine.kill();
    shop.pi.engine.start_again(&[]);
    fs::write(shop.path("go"), "").expect("a file");
    running.finish().expect_code(0);
    shop.assert_serves("4", "4");
    assert_eq!(sql(&shop, "select count(*) from refund"), "0");
    assert_eq!(sql(&shop, "pragma integrity_check"), "ok");
}

#[test]
fn a_group_is_rolled_back_as_a_whole_and_its_job_does_not_run() {
    let shop = Shop::new();
    shop.release("2");
    shop.pi.update(&["shop"]).expect_code(0);
    shop.assert_serves("2", "2");

    let output = shop.pi.agent.run(&shop.pi.engine, &["rollback", "shop"]).expect_code(0);
    println!("{}", output.out);

    shop.assert_serves("1", "1");
    assert_eq!(shop.ran(), ["1", "2"], "a rollback moves no data");
    let record = shop.record();
    assert_eq!((&record["outcome"], &record["data"]), (&"updated".into(), &"migrated".into()));
    for name in ["api", "web"] {
        assert_eq!(shop.pi.check(name)["reason"], "refused_digest", "{name}");
    }
    shop.pi.update(&[]).expect_code(0);
    shop.assert_serves("1", "1");
    shop.pi.agent.run(&shop.pi.engine, &["allow", "shop"]).expect_code(0);
    shop.pi.update(&[]).expect_code(0);
    shop.assert_serves("2", "2");
    // A group that was never updated has nothing to go back to.
    let none = shop.pi.agent.run(&shop.pi.engine, &["rollback", "group/elsewhere"]);
    assert_eq!(none.code(), 1, "{none:?}");
}

#[test]
fn a_group_waits_until_its_digests_have_stood_still() {
    let shop = Shop::with(&["--label=pilotfish.group.settle=6s"]);
    shop.pi.registry.publish("api", &Release::new("2"));
    let row = shop.pi.check("api");
    assert_eq!(row["reason"], "group_incomplete", "{row:#}");
    assert!(text(&row["detail"]).contains("must have stood still for 6s"), "{row:#}");
    let running = shop.pi.agent.spawn(&shop.pi.engine, &["update"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(shop.pi.serving(API_PORT).as_deref(), Some("till 1"));
    shop.release("3");
    running.finish().expect_code(0);
    shop.assert_serves("3", "3");
    assert_eq!(shop.ran(), ["1", "3"], "the half of a release was never tried");
    let history = shop.pi.history("shop");
    assert_eq!(history.len(), 1, "{history:#?}");
}

#[test]
fn a_pre_update_hook_of_a_member_holds_the_whole_group() {
    let shop = Shop::new();
    let hook = "--label=pilotfish.hook.pre-update=/till no-such-command";
    shop.pi.engine.docker(&["rm", "--force", "web"]);
    shop.start("web", &shop.web, WEB_PORT, &[hook, "--label=pilotfish.depends-on=api"]);
    shop.release("2");
    let output = shop.pi.update(&[]).expect_code(0);
    assert!(output.out.contains("held_by_hook"), "{}", output.out);
    assert!(output.out.contains("group_incomplete"), "{}", output.out);
    shop.assert_serves("1", "1");
    assert_eq!(shop.ran(), ["1"], "nothing was touched");
}
