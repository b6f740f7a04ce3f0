//! A machine on the bench: a service under the agent, a container that nobody touches beside it, a
//! proxy before the Engine. It plays one case after the other.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pilotfish::core::decide::memory::Memory;
use pilotfish::core::docker::reference::Digest;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::disk::{self, LossyDisk, StateDisk};
use crate::fault::{Aim, Deed, Fault, Place};
use crate::judge;
use crate::proxy::{From, Proxy};
use crate::releases::Kind;
use crate::support::agent::{Agent, Running};
use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::images::Release;
use crate::support::registry::{Published, Registry};
use crate::support::{Pi, QUIET};
use crate::watch::{SERVICE_LABEL, SERVICE_LABEL_KEY, Watch};

/// The watched service.
pub const SERVICE: &str = "till";
/// Runs beside it, and is not watched: what happens to it is the Engine's doing.
pub const CONTROL: &str = "control";

/// How often the bench looks up from a running agent for a strike that it has to carry out.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Longer than any agent may take for what is asked of it here: three verifications, waits for the
/// Engine, and the time-out of a call that hangs.
const AGENT_TIMEOUT: Duration = Duration::from_secs(400);

/// I1: how long after the last fault exactly one container may take to run.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// How long an agent may take to end after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);

/// After so many rounds without faults an update has ended, one way or the other.
const ROUNDS_MAX: u32 = 5;

/// The labels of the service. The shortest times that still tell good from bad, so that a night
/// has room for thousands of cases.
const LABELS: [&str; 4] = [
    "--label=pilotfish.enable=true",
    "--label=pilotfish.health.stable=1s",
    "--label=pilotfish.health.timeout=4s",
    "--label=com.example.shelf=3",
];

/// One case: a release, and what goes wrong while it is tried.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub aim: Aim,
    /// A kill in the recovery from it, at this call.
    pub again: Option<Aim>,
}

/// What came of a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The call that was struck; `None` where the update ended before it.
    pub landed: Option<String>,
    /// Whether the kill in the recovery was reached, too.
    pub landed_again: bool,
    /// What the judge found.
    pub findings: Vec<judge::Finding>,
    /// From the start of the recovering agent until exactly one container ran; zero where it did
    /// all the time.
    pub service_back: Duration,
    /// From the start of the recovering agent to its end, with nothing left open.
    pub recovered: Duration,
    /// Whether a good release ended up as refused.
    pub blamed: bool,
    /// What the agents said, the one that was struck and the one that recovered.
    pub log: String,
}

/// A machine on the bench.
pub struct Bench {
    pub watch: Watch,
    pub proxy: Proxy,
    pub pi: Pi,
    flags: Vec<String>,
    disk: Option<LossyDisk>,
    state_disk: Option<StateDisk>,
    terminated_at: Option<Instant>,
    /// What the agent said when it was struck.
    log: String,
    /// What the service runs between two cases.
    pub current: Published,
    /// The service as it was created, for comparison.
    pub original: Value,
    /// The control container when the case began.
    pub control: Value,
    next_version: u32,
}

impl Bench {
    /// Sets one up, with the service running; the flags are dockerd's.
    pub fn new(flags: &[&str]) -> Self {
        Self::on(Engine::start(flags), flags, None, None)
    }

    /// Sets one up whose Engine and agent keep everything on a disk that can be cut.
    pub fn on_lossy_disk(flags: &[&str]) -> Self {
        Self::on_disk(flags, disk::SIZE)
    }

    /// Sets one up whose Engine and agent keep everything on a disk that is filled in a moment.
    pub fn on_small_disk() -> Self {
        Self::on_disk(&[], disk::SMALL_SIZE)
    }

    fn on_disk(flags: &[&str], size: &str) -> Self {
        let mut disk = None;
        let furnish = |directory: &Path| disk = Some(LossyDisk::new(directory, size));
        let engine = Engine::start_in(flags, furnish);
        let bench = Self::on(engine, flags, disk, None);
        bench.disk.as_ref().expect("the disk").flush();
        bench
    }

    /// Sets one up whose agent keeps its state on a disk of its own, which can fail.
    pub fn with_state_disk() -> Self {
        let engine = Engine::start(&[]);
        let disk = StateDisk::new(engine.directory());
        Self::on(engine, &[], None, Some(disk))
    }

    fn on(
        engine: Engine,
        flags: &[&str],
        disk: Option<LossyDisk>,
        state_disk: Option<StateDisk>,
    ) -> Self {
        let registry = Registry::start(&engine);
        let mut agent = Agent::install(&engine, QUIET);
        if let Some(disk) = &disk {
            agent.keep_state_in(&disk.state());
            agent.take_boot_id_from(disk.boot_id());
        }
        if let Some(disk) = &state_disk {
            agent.keep_state_in(&disk.state());
        }
        let pi = Pi { registry, agent, engine };
        let socket = pi.engine.directory().join("proxy.sock");
        let proxy = Proxy::start(&socket, &pi.engine.socket(), &pi.agent.state().join("journal"));
        pi.agent.connect_to(proxy.socket());
        let watch = Watch::start(&pi.engine.socket());
        let current = pi.registry.publish(SERVICE, &Kind::Good.release("0"));
        start_service(&pi, &current);
        let control = pi.registry.publish(CONTROL, &Release::new("control"));
        pi.start(CONTROL, &control.reference, &["--volume=ledger-control:/ledger"]);
        let (original, control) = (pi.inspect(SERVICE), pi.inspect(CONTROL));
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self {
            watch,
            proxy,
            pi,
            flags,
            disk,
            state_disk,
            terminated_at: None,
            log: String::new(),
            current,
            original,
            control,
            next_version: 0,
        }
    }

    /// Whether the Engine keeps containers alive without itself.
    pub fn has_live_restore(&self) -> bool {
        self.flags.iter().any(|flag| flag == "--live-restore")
    }

    /// How many calls an update with such a release makes, from its journal on.
    pub fn count_calls(&mut self, kind: Kind) -> Vec<String> {
        let next = self.publish(kind);
        self.proxy.set(From::TheJournal, None);
        self.pi.update(&[]);
        let calls = self.proxy.calls();
        let settled = self.settle(kind, &next);
        assert!(settled.is_ok(), "an update without any fault: {settled:?}");
        calls
    }

    fn publish(&mut self, kind: Kind) -> Published {
        self.next_version += 1;
        self.pi.registry.publish(SERVICE, &kind.release(&self.next_version.to_string()))
    }

    /// Plays one case, from a settled machine to a settled machine.
    pub fn play(&mut self, case: &Case) -> Outcome {
        let next = self.publish(case.kind);
        self.control = self.pi.inspect(CONTROL);
        self.watch.begin();
        let mut outcome = Outcome::default();
        self.proxy.set(From::TheJournal, Some(case.aim));
        let is_struck = self.run_struck(&["update"], &case.aim);
        outcome.findings.extend(self.judge_the_end(case));
        self.mend(case.aim.fault);
        let landed = self.proxy.landed().or_else(|| is_struck.then(|| self.proxy.last_call()));
        outcome.landed = landed.filter(|call| is_possible(case.aim.fault, call));
        if is_struck && case.aim.fault == Fault::Cut {
            outcome.findings.extend(judge::alone(self, case, &next));
        }
        if let Some(again) = case.again {
            self.proxy.set(From::TheBeginning, Some(again));
            outcome.landed_again = self.run_struck(&["recover"], &again);
        }
        self.proxy.set(From::TheJournal, None);
        if matches!(case.aim.fault, Fault::Person(deed) if deed.takes_the_service()) {
            outcome.findings.extend(self.judge_after_people());
            self.begin_anew();
            return outcome;
        }
        self.recover(case, &next, &mut outcome);
        match self.settle(case.kind, &next) {
            Ok(blamed) => outcome.blamed = blamed,
            Err(finding) => outcome.findings.push(finding),
        }
        outcome.findings.extend(judge::settled(self, case, &next));
        outcome.findings.extend(self.judge_starts(case, &next));
        if !outcome.findings.is_empty() {
            self.begin_anew();
        }
        if outcome.landed.is_none() {
            outcome.findings.clear();
        }
        outcome
    }

    /// What an agent that was not killed leaves behind although the fault goes on: the service, and
    /// an end in time where it was asked to end.
    fn judge_the_end(&mut self, case: &Case) -> Vec<judge::Finding> {
        let mut findings = Vec::new();
        let took = self.terminated_at.take().map(|at| at.elapsed()).unwrap_or_default();
        if took > TERMINATE_LIMIT {
            findings.push(judge::Finding::late(format!("it ended {took:?} after SIGTERM")));
        }
        let goes_on =
            matches!(case.aim.fault, Fault::State(_) | Fault::DiskFull | Fault::RegistryGone);
        if goes_on && self.watch.await_one(RECOVERY_LIMIT).is_none() {
            findings.push(judge::lost(self));
        }
        findings
    }

    /// Somebody made of the service what they wanted. It stays so, nothing is left open, and there
    /// are never two.
    fn judge_after_people(&self) -> Vec<judge::Finding> {
        let mut said = String::new();
        for _ in 0..ROUNDS_MAX {
            let finished = self.pi.update(&[]);
            said = finished.out + &finished.err;
        }
        let mut findings = judge::after_people(self);
        if let Some(first) = findings.first_mut() {
            first.what.push_str(&said);
        }
        findings
    }

    /// The agent comes back, and has nothing to fear any more.
    fn recover(&self, case: &Case, next: &Published, outcome: &mut Outcome) {
        self.watch.look_for_one();
        let begun = Instant::now();
        let finished = self.pi.agent.run(&self.pi.engine, &["recover"]);
        outcome.log = format!("{}\n--- recover:\n{}{}", self.log, finished.out, finished.err);
        outcome.recovered = begun.elapsed();
        if self.watch.await_one(RECOVERY_LIMIT).is_none() {
            outcome.findings.push(judge::lost(self));
        }
        let first_one = self.watch.first_one().unwrap_or(begun);
        outcome.service_back = first_one.saturating_duration_since(begun);
        outcome.findings.extend(judge::recovered(self, case, next, &finished));
    }

    /// Lets rounds pass until the release runs, or is refused. Tells whether a good one is refused.
    fn settle(&mut self, kind: Kind, next: &Published) -> Result<bool, judge::Finding> {
        for _ in 0..ROUNDS_MAX {
            if self.is_refused(next) {
                return Ok(kind.is_good());
            }
            let service = self.pi.engine.inspect(SERVICE).unwrap_or_default();
            if service["Image"] == next.image.as_str() && self.pi.agent.journals().is_empty() {
                self.current = next.clone();
                return Ok(false);
            }
            self.pi.update(&[]);
        }
        let row = self.pi.check(SERVICE);
        Err(judge::Finding::debris(format!("after {ROUNDS_MAX} rounds it is still open: {row}")))
    }

    /// Whether the agent's memory, on disk, refuses the release.
    fn is_refused(&self, release: &Published) -> bool {
        let Ok(memory) = fs::read(self.pi.agent.state().join("memory.json")) else { return false };
        let memory: Memory = serde_json::from_slice(&memory).expect("memory.json");
        let digest = release.digest.parse::<Digest>().expect("a digest");
        memory.refusal(SERVICE, &digest).is_some()
    }

    /// Runs the agent to its end, and carries out what the proxy leaves to the bench. Tells whether
    /// that was asked for.
    fn run_struck(&mut self, arguments: &[&str], aim: &Aim) -> bool {
        let mut agent = self.pi.agent.spawn(&self.pi.engine, arguments);
        let begun = Instant::now();
        let mut is_struck = false;
        while agent.is_running() {
            assert!(begun.elapsed() < AGENT_TIMEOUT, "the agent does not end:\n{}", agent.log());
            let release = self.proxy.struck(LOOK_INTERVAL);
            let is_time = matches!(aim.place, Place::After(time) if begun.elapsed() >= time);
            if release.is_none() && (!is_time || is_struck) {
                continue;
            }
            is_struck = true;
            self.log = agent.said();
            match self.carry_out(aim.fault, agent) {
                Some(lives) => agent = lives,
                None => return true,
            }
        }
        self.log = agent.said();
        is_struck
    }

    /// Gives the agent back if it lives on.
    fn carry_out(&mut self, fault: Fault, agent: Running) -> Option<Running> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let engine = &self.pi.engine;
        match fault {
            Fault::Kill => {
                agent.kill();
                return None;
            }
            Fault::Cut => {
                let disk = self.disk.as_mut().expect("a bench with a disk that can be cut");
                disk.cut();
                agent.kill();
                engine.cut();
                disk.mount_again();
                engine.start_again(&flags);
                return None;
            }
            Fault::RestartEngine => {
                engine.stop();
                engine.start_again(&flags);
            }
            Fault::KillEngine => {
                engine.kill();
                engine.start_again(&flags);
            }
            Fault::Terminate => {
                // Of an agent that has just ended by itself there is nobody to signal.
                let _ = kill_process(agent.pid(), Signal::TERM);
                self.terminated_at = Some(Instant::now());
            }
            Fault::RegistryGone => self.pi.registry.stop(),
            Fault::State(failure) => self.state_disk().fail(failure),
            Fault::DiskFull => self.disk.as_ref().expect("a bench with a small disk").fill(),
            Fault::Person(deed) => self.meddle(deed),
            Fault::DropReply | Fault::Delay | Fault::Hang | Fault::Answer(_) => {}
        }
        Some(agent)
    }

    /// What failed for as long as the agent ran is well again.
    fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::RegistryGone => {
                self.pi.registry.stop();
                self.pi.registry.start_again(&self.pi.engine);
            }
            Fault::State(_) => self.state_disk().mend(),
            Fault::DiskFull => self.disk.as_ref().expect("a bench with a small disk").make_room(),
            _ => {}
        }
    }

    fn state_disk(&self) -> &StateDisk {
        self.state_disk.as_ref().expect("a bench with a disk for the state")
    }

    /// What `docker compose up` does to containers of one service, which it knows by labels.
    fn compose_up(&self, keeps_the_newer: bool) {
        let mut all = self.pi.engine.containers();
        all.retain(|it| it["Labels"][SERVICE_LABEL_KEY].is_string());
        all.sort_by_key(|it| it["Created"].as_i64());
        let ids: Vec<&str> = all.iter().filter_map(|it| it["Id"].as_str()).collect();
        let kept = if keeps_the_newer { ids.last() } else { ids.first() };
        for id in ids.iter().filter(|id| Some(*id) != kept) {
            self.pi.engine.call("DELETE", &format!("/containers/{id}?force=1"));
        }
        if let Some(kept) = kept {
            self.pi.engine.call("POST", &format!("/containers/{kept}/start"));
        }
    }

    fn meddle(&self, deed: Deed) {
        let mut docker = std::process::Command::new("docker");
        docker.env("DOCKER_HOST", self.pi.engine.host());
        match deed {
            Deed::Remove => docker.args(["rm", "--force", SERVICE]),
            Deed::Restart => docker.args(["restart", "--time=1", SERVICE]),
            Deed::Rename => docker.args(["rename", SERVICE, "mine"]),
            Deed::Prune => docker.args(["system", "prune", "--force"]),
            Deed::AnotherAgent => {
                let other = Agent::install_as("another", &self.pi.engine, QUIET);
                other.run(&self.pi.engine, &["update"]);
                return;
            }
            Deed::ComposeUp => return self.compose_up(false),
            Deed::ComposeUpNewer => return self.compose_up(true),
        };
        // There may be nothing of that name at the moment.
        drop(docker.output());
    }

    /// I8: a bad release is started once, and once more for each fault that may have spoilt the
    /// verdict; and once it is refused, another round does not start it.
    fn judge_starts(&self, case: &Case, next: &Published) -> Option<judge::Finding> {
        if case.kind.is_good() || !self.is_refused(next) {
            return None;
        }
        let version = self.next_version.to_string();
        let before = self.starts_of(&version);
        self.pi.update(&[]);
        let after = self.starts_of(&version);
        let chances = 2 + usize::from(case.again.is_some());
        let what = format!("version {version} was started {before} times, {after} in the end");
        (before > chances || after > before).then(|| judge::Finding::revived(what))
    }

    /// How often a version was started, as the tills themselves wrote it down.
    fn starts_of(&self, version: &str) -> usize {
        let diary = self.pi.engine.directory().join("diary/starts");
        let diary = fs::read_to_string(diary).unwrap_or_default();
        diary.lines().filter(|line| *line == version).count()
    }

    /// After a finding: everything away, and a new service, so that the next case begins whole.
    fn begin_anew(&mut self) {
        let ids = self.pi.engine.containers();
        let ids: Vec<_> = ids.iter().filter_map(|it| it["Id"].as_str()).collect();
        for id in ids.iter().filter(|id| self.control["Id"] != **id) {
            self.pi.engine.call("DELETE", &format!("/containers/{id}?force=1"));
        }
        drop(fs::remove_dir_all(self.pi.agent.state()));
        let good = self.publish(Kind::Good);
        self.pi.engine.docker(&["pull", "--quiet", &good.reference]);
        start_service(&self.pi, &good);
        self.pi.engine.docker(&["image", "prune", "--force", "--all"]);
        self.original = self.pi.inspect(SERVICE);
        self.current = good;
    }
}

/// An Engine may forget, but it does not say of what it has that it has it not.
fn is_possible(fault: Fault, call: &str) -> bool {
    fault != Fault::Answer(404) || !call.starts_with("DELETE /containers")
}

fn start_service(pi: &Pi, image: &Published) {
    let diary = pi.engine.directory().join("diary");
    fs::create_dir_all(&diary).expect("the diary");
    let diary = format!("--volume={}:/diary", diary.display());
    let service = format!("--label={SERVICE_LABEL}");
    let mut options = LABELS.to_vec();
    options.extend([service.as_str(), &diary, "--env=TILL_DIARY=/diary/starts"]);
    options.extend(["--env=SHELF=3", "--volume=ledger:/ledger", "--volume=/receipts"]);
    options.extend(["--hostname=till-3", "--memory=64m", "--stop-timeout=5"]);
    pi.start(SERVICE, &image.reference, &options);
    wait_until("the service runs", RECOVERY_LIMIT, || {
        pi.names().contains(&format!("{SERVICE} running"))
    });
}
