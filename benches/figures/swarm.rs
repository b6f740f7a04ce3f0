//! Updates of a service on two tables of a real Swarm: the gap at each table beside that of Swarm's
//! own update with the image already on the nodes, and rollbacks of an image that exits at once.

use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::images::Release;
use crate::support::probe::{Probe, Service, ask};
use crate::support::swarm::Swarm;
use crate::table::{Table, median};

/// How often each is measured, alternating.
const PAIRS: u32 = 5;

/// How many bad images are rolled back; `SWARM_ROLLBACKS` asks for another number.
const ROLLBACKS: u32 = 10;

/// How long an update may take.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(180);

/// How often the tables forget their neighbours.
const FORGET_INTERVAL: Duration = Duration::from_millis(30);

const SETTINGS: &str =
    "every = \"1000h\"\njitter = \"0%\"\n[health]\nstable = \"4s\"\ntimeout = \"12s\"";

pub fn measure(binary: &Path, table: &mut Table) {
    let tables = Tables::start(binary);
    let (mut own, mut ours) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        own.extend(tables.watch(|| tables.update_by_swarm(&format!("{}", 2 * pair + 1))));
        ours.extend(tables.watch(|| tables.update_by_agent(&format!("{}", 2 * pair + 2), 0)));
        eprintln!("    {:.2?} and {:.2?}", totals(&own), totals(&ours));
    }
    let gaps = |seen: &[Service]| median(seen.iter().map(Service::total).collect());
    let (own, ours) = (gaps(&own), gaps(&ours));
    table.add("Swarm's own update, image present: gap at a table", seconds(own), "");
    table.add("good update: gap at a table", seconds(ours), "");
    let ratio = ours.as_secs_f64() / own.as_secs_f64();
    table.add("ratio of the two, medians of 10 tables", format!("{ratio:.2}"), "≤ 1.1");
    let (mut canaries, mut others) = (Vec::new(), Vec::new());
    let count = env::var("SWARM_ROLLBACKS").ok().and_then(|it| it.parse().ok());
    let count = count.unwrap_or(ROLLBACKS);
    for number in 0..count {
        let seen = tables.watch(|| tables.roll_back(number));
        let mut totals: Vec<_> = seen.iter().map(Service::total).collect();
        totals.sort_unstable();
        others.push(totals[0]);
        canaries.push(totals[1]);
    }
    let worst = |all: &[Duration]| seconds(all.iter().copied().max().unwrap_or_default());
    let what = |text: &str| format!("{count} images that exit at once: {text}");
    table.add(&what("first table away, worst"), worst(&canaries), "≤ 15 s");
    table.add(&what("first table away, median"), seconds(median(canaries)), "");
    table.add(&what("other table away, worst"), worst(&others), "0 s");
}

fn forget_neighbours(table: &Engine, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut flush = table.command("ip");
        // The command fails if there is nothing to forget.
        drop(flush.args(["neigh", "flush", "all"]).output());
        thread::sleep(FORGET_INTERVAL);
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn totals(seen: &[Service]) -> Vec<Duration> {
    seen.iter().rev().take(2).map(Service::total).collect()
}

/// A Swarm with the service on its two tables, and the agent on its manager.
struct Tables {
    swarm: Swarm,
    agent: Agent,
}

impl Tables {
    fn start(binary: &Path) -> Self {
        let swarm = Swarm::start();
        let mut agent = Agent::install(&swarm.manager, SETTINGS);
        binary.clone_into(&mut agent.binary);
        let image = swarm.registry.publish("till", &Release::new("0"));
        let image = format!("{}@{}", swarm.reference(&image), image.digest);
        swarm.create_tableservice(&image);
        let this = Self { swarm, agent };
        this.wait_for("till 0");
        this
    }

    fn wait_for(&self, answer: &str) {
        for table in &self.swarm.tables {
            wait_until(&format!("a table answers {answer}"), UPDATE_TIMEOUT, || {
                ask(table.address_of(80)).as_deref() == Some(answer)
            });
        }
    }

    /// What a probe at each table sees of this.
    ///
    /// A new container often has an address that another one had before, and the kernel asks for
    /// its neighbour only after a second (ARP). That second comes or not by chance, so the tables
    /// forget their neighbours all the time.
    fn watch(&self, act: impl FnOnce()) -> Vec<Service> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for table in &self.swarm.tables {
                scope.spawn(|| forget_neighbours(table, &stop));
            }
            let address = |table: &Engine| table.address_of(80);
            let probes: Vec<_> = self.swarm.tables.iter().map(address).map(Probe::start).collect();
            act();
            thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::Relaxed);
            probes.into_iter().map(Probe::stop).collect()
        })
    }

    fn update_by_swarm(&self, version: &str) {
        let image = self.swarm.registry.publish("till", &Release::new(version));
        let image = format!("{}@{}", self.swarm.reference(&image), image.digest);
        for table in &self.swarm.tables {
            table.docker(&["pull", "--quiet", &image]);
        }
        let update = ["service", "update", "--quiet", "--no-resolve-image", "--image", &image];
        self.swarm.manager.docker(&[&update[..], &["tableservice"]].concat());
        self.wait_for(&format!("till {version}"));
        self.wait_until_settled();
    }

    fn update_by_agent(&self, version: &str, code: i32) {
        self.swarm.registry.publish("till", &Release::new(version));
        self.agent.run(&self.swarm.manager, &["update", "tableservice"]).expect_code(code);
        self.wait_until_settled();
    }

    fn roll_back(&self, number: u32) {
        let bad = Release::new(&format!("bad{number}")).with("TILL_EXIT_AFTER", "0s");
        self.swarm.registry.publish("till", &bad);
        self.agent.run(&self.swarm.manager, &["update", "tableservice"]).expect_code(3);
        self.wait_until_settled();
    }

    /// Swarm watches a change for a few seconds longer than its clients.
    fn wait_until_settled(&self) {
        let begun = Instant::now();
        loop {
            let service = self.swarm.service("tableservice").expect("the service");
            let state = service["UpdateStatus"]["State"].as_str().unwrap_or_default();
            if !matches!(state, "updating" | "rollback_started") || begun.elapsed() > UPDATE_TIMEOUT
            {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}
