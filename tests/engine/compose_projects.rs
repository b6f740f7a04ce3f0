//! A project of the real `docker-compose` with a migration, and what Compose does to it in the
//! middle of its update: the installed one, or the one in `TEST_COMPOSE`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::agent::begins_step;
use crate::support::command::{run, wait_until};
use crate::support::compose::{compose_2, docker_compose, race_with};
use crate::support::images::Release;
use crate::support::{Pi, text};

const API_PORT: u16 = 8080;
const WEB_PORT: u16 = 8081;

/// The steps at which a person runs Compose.
const STEPS: [&str; 4] = ["create", "run", "switch", "verify"];

/// The steps at which the most can go wrong.
const DEAREST_STEPS: [&str; 2] = ["run", "switch"];

struct Project {
    pi: Pi,
}

impl Project {
    fn new() -> Self {
        let pi = Pi::new();
        let data = pi.engine.directory().join("data");
        fs::create_dir_all(&data).expect("a directory");
        let project = Self { pi };
        fs::write(data.join("job"), "sleep 1; echo \"$TILL_VERSION\" >> /data/ran").expect("a job");
        project.release("1");
        fs::write(project.file(), project.text()).expect("the compose file");
        run(&mut project.compose(&["up", "--detach"]));
        project.pi.wait_until_serving(API_PORT);
        project.pi.wait_until_serving(WEB_PORT);
        project
    }

    fn release(&self, version: &str) {
        self.pi.registry.publish("api", &Release::new(version));
        self.pi.registry.publish("web", &Release::new(version).with("PART", "web"));
    }

    fn file(&self) -> PathBuf {
        self.pi.engine.directory().join("docker-compose.yml")
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = docker_compose(&self.pi.engine, "shop", &self.file());
        command.args(arguments);
        command
    }

    /// Compose 2 writes `depends_on` into a label; for Compose 1.29 Pilotfish's own labels say it.
    fn text(&self) -> String {
        let labels = |more: &str| {
            format!(
                "{{pilotfish.enable: \"true\", pilotfish.group: project, \
                 pilotfish.group.settle: 0s, pilotfish.health.stable: 2s, \
                 pilotfish.health.timeout: 8s{more}}}"
            )
        };
        let host = ["/usr", "/lib", "/lib64"].into_iter().filter(|it| Path::new(it).exists());
        let host: Vec<_> = host.map(|it| format!("\"{it}:{it}:ro\"")).collect();
        let data = self.pi.engine.directory().join("data");
        format!(
            "services:\n  \
             migrate:\n    image: 127.0.0.1:5000/api:latest\n    restart: \"no\"\n    \
             entrypoint: [/usr/bin/sh, /data/job]\n    \
             volumes: [{}, \"{}:/data\"]\n    labels: {}\n  \
             api:\n    image: 127.0.0.1:5000/api:latest\n    restart: always\n    \
             ports: [\"{API_PORT}:8080\"]\n    \
             depends_on: {{migrate: {{condition: service_completed_successfully}}}}\n    \
             labels: {}\n  \
             web:\n    image: 127.0.0.1:5000/web:latest\n    restart: always\n    \
             ports: [\"{WEB_PORT}:8080\"]\n    depends_on: [api]\n    labels: {}\n",
            host.join(", "),
            data.display(),
            labels(", pilotfish.job: before"),
            labels(", pilotfish.depends-on: \"migrate:completed\""),
            labels(", pilotfish.depends-on: api"),
        )
    }

    /// The containers of a service, as `NAME STATE`.
    fn containers(&self) -> Vec<String> {
        self.pi.names()
    }

    /// Each service has one container, no copy is left, and one version serves.
    #[track_caller]
    fn assert_whole(&self, when: &str) {
        let names = self.containers();
        assert_eq!(names.len(), 3, "{when}: {names:?}");
        assert!(names.iter().all(|name| !name.starts_with("pilotfish-")), "{when}: {names:?}");
        self.pi.wait_until_serving(API_PORT);
        self.pi.wait_until_serving(WEB_PORT);
        let (api, web) = (self.pi.serving(API_PORT), self.pi.serving(WEB_PORT));
        assert_eq!(api, web, "{when}: two versions serve");
        assert_eq!(self.pi.agent.journals(), Vec::<PathBuf>::new(), "{when}: open journals");
    }

    /// The IDs of all containers.
    fn ids(&self) -> Vec<String> {
        let names = self.containers();
        let names = names.iter().filter_map(|it| it.split(' ').next());
        names.map(|name| self.pi.id(name)).collect()
    }

    fn job_has_ended(&self) -> bool {
        let names = self.containers();
        names.iter().any(|name| name.contains("migrate") && name.ends_with("exited"))
            && names.iter().all(|name| !name.contains("migrate") || !name.ends_with("running"))
    }
}

#[test]
fn a_compose_project_is_updated_as_one_and_compose_finds_nothing_to_do() {
    let project = Project::new();
    project.release("2");
    wait_until("the job has ended", Duration::from_secs(20), || project.job_has_ended());
    let output = project.pi.update(&[]).expect_code(0);
    println!("{}", output.out);
    assert!(output.out.contains("group shop: run"), "{}", output.out);
    project.assert_whole("after the update");
    assert_eq!(project.pi.serving(API_PORT).as_deref(), Some("till 2"));
    // The hash of Compose 1.29 contains the image, so its `up` recreates everything once more.
    if compose_2().is_some() {
        let before = project.ids();
        run(&mut project.compose(&["up", "--detach"]));
        assert_eq!(before, project.ids(), "`up` recreates nothing");
    }
}

fn in_the_middle(arguments: &[&str], steps: &[&str]) {
    for step in steps {
        let project = Project::new();
        project.release("2");
        wait_until("the job has ended", Duration::from_secs(20), || project.job_has_ended());
        let running = project.pi.update_until(step);
        let (composed, updated) = race_with(|| project.compose(arguments), running);
        let reached = project.pi.agent.entries().iter().any(|entry| begins_step(entry, step));
        println!(
            "{arguments:?} at {step}: compose {}, update {} (open: {reached})\n{}",
            composed.status,
            updated.code(),
            updated.out
        );
        project.pi.agent.run(&project.pi.engine, &["recover"]).expect_code(0);
        if arguments.contains(&"down") {
            // A person runs it again if it lost the race.
            run(&mut project.compose(arguments));
            let names = project.containers();
            assert!(names.iter().all(|name| !name.ends_with("running")), "{step}: {names:?}");
            assert_eq!(project.pi.agent.journals(), Vec::<PathBuf>::new(), "{step}");
            continue;
        }
        wait_until("the job has ended", Duration::from_secs(30), || project.job_has_ended());
        let row = project.pi.update(&[]);
        println!("{}", row.out);
        project.assert_whole(&format!("the update after {arguments:?} at {step}"));
        assert_eq!(project.pi.serving(API_PORT).as_deref(), Some("till 2"));
    }
}

#[test]
fn compose_up_in_the_middle_of_an_update_of_its_project() {
    in_the_middle(&["up", "--detach"], &DEAREST_STEPS);
}

#[test]
fn compose_up_force_recreate_in_the_middle_of_an_update_of_its_project() {
    in_the_middle(&["up", "--detach", "--force-recreate"], &["switch"]);
}

#[test]
fn compose_down_in_the_middle_of_an_update_of_its_project() {
    in_the_middle(&["down"], &["switch"]);
}

#[test]
#[ignore = "takes four minutes: make torture"]
fn compose_in_the_middle_of_each_step() {
    in_the_middle(&["up", "--detach"], &STEPS);
    in_the_middle(&["up", "--detach", "--force-recreate"], &STEPS);
    in_the_middle(&["down"], &STEPS);
}

#[test]
fn compose_run_in_the_middle_of_an_update_of_its_project() {
    let project = Project::new();
    project.release("2");
    wait_until("the job has ended", Duration::from_secs(20), || project.job_has_ended());
    let running = project.pi.update_until("run");
    let script = "echo one-off >> /data/one-off";
    let arguments =
        ["run", "--rm", "--no-deps", "--entrypoint", "/usr/bin/sh", "migrate", "-c", script];
    // Compose takes the copy for surplus, and removes it: the update leaves the field to it.
    println!("{:?}", race_with(|| project.compose(&arguments), running));
    // Its list of containers may be older than the end of the update, so that the job is gone.
    run(&mut project.compose(&["up", "--detach"]));
    wait_until("the job has ended", Duration::from_secs(20), || project.job_has_ended());
    project.assert_whole("after `run`");
    let one_off = fs::read_to_string(project.pi.engine.directory().join("data/one-off"));
    assert_eq!(one_off.ok().as_deref(), Some("one-off\n"));
    let outcome = text(&project.pi.history("shop")[0]["outcome"]);
    assert!(["updated", "interrupted"].contains(&outcome.as_str()), "{outcome}");
    project.pi.update(&[]).expect_code(0);
    project.assert_whole("after the next update");
    assert_eq!(project.pi.serving(API_PORT).as_deref(), Some("till 2"));
}
