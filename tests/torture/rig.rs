//! A machine of the torture suite: a service under the agent, a control container that nothing
//! touches, and a proxy in front of the Engine. It runs one case after the other.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dependents::Dependent;
use crate::disk::{self, LossyDisk, StateDisk};
use crate::fault::{Fault, PlannedFault};
use crate::group::{self, Group};
use crate::invariants::{self, Judged};
use crate::proxy::{From, Proxy};
use crate::pushes::{self, Pushes};
use crate::releases::Kind;
use crate::second_service::SecondService;
use crate::service::{self, Setup};
use crate::service_watch::{SERVICE_LABEL, Watch};
use crate::support::agent::Agent;
use crate::support::engine::Engine;
use crate::support::images::Release;
use crate::support::registry::{Published, Registry};
use crate::support::{Pi, QUIET};

/// The watched service.
pub const SERVICE: &str = "till";
/// Runs beside it, and is not watched: only the Engine changes it.
pub const CONTROL: &str = "control";

/// The interval at which the test checks a running agent for a fault to inject.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Longer than any agent may take here: three verifications, waits for the Engine, and the timeout
/// of a call that hangs.
pub const AGENT_TIMEOUT: Duration = Duration::from_secs(400);

/// I1: how soon after the last fault exactly one container must run.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// How long an agent may take to end after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);

/// After so many rounds without faults an update must have ended.
pub const ROUNDS_MAX: u32 = 5;

/// One case: a release, and a fault during the update to it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub aim: PlannedFault,
    /// A kill during the recovery, at this call.
    pub again: Option<PlannedFault>,
}

/// The result of a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The kind of machine.
    pub setup: Setup,
    /// The call with the fault; `None` if the update ended before it.
    pub landed: Option<String>,
    /// Whether the kill in the recovery was reached, too.
    pub landed_again: bool,
    /// The violated invariants.
    pub findings: Vec<invariants::Finding>,
    /// From the start of the recovering agent until exactly one container ran; zero if it always
    /// ran.
    pub service_back: Duration,
    /// From the start of the recovering agent to its end, with no update open.
    pub recovered: Duration,
    /// Whether a good release was refused.
    pub refused: bool,
    /// How often the job of a group ran.
    pub job: Value,
    /// The output of both agents: the interrupted one and the recovering one.
    pub log: String,
}

/// A machine of the torture suite.
pub struct Rig {
    /// The running agent, if a client pushes to it. It ends before its Engine does.
    pub pushes: Option<Pushes>,
    pub watch: Watch,
    pub proxy: Proxy,
    pub pi: Pi,
    /// How the service was started.
    pub setup: Setup,
    /// The dependents of the service.
    pub dependents: Vec<Dependent>,
    /// The service that is updated in the same round.
    pub second: Option<SecondService>,
    /// The group of both services.
    pub group: Option<Group>,
    /// The flags of dockerd.
    pub flags: Vec<String>,
    pub disk: Option<LossyDisk>,
    pub state_disk: Option<StateDisk>,
    pub terminated_at: Option<Instant>,
    /// The output of the interrupted agent.
    pub log: String,
    /// The actions of people, and the agents' output after them.
    pub action_log: String,
    /// Commands of people that failed.
    pub failed_commands: Vec<invariants::Finding>,
    /// The containers that a person created during an update.
    pub made: Vec<String>,
    /// The service's image between two cases.
    pub current: Published,
    /// The service as it was created, for comparison.
    pub original: Value,
    /// The control container at the beginning of the case.
    pub control: Value,
    pub next_version: u32,
}

impl Rig {
    /// A machine with the service running. The flags are dockerd's.
    pub fn new(flags: &[&str]) -> Self {
        Self::on(Engine::start(flags), flags, Setup::Alone, None, None)
    }

    /// A machine with another kind of service.
    pub fn with(setup: Setup, flags: &[&str]) -> Self {
        Self::on(Engine::start(flags), flags, setup, None, None)
    }

    /// A machine whose Engine and agent keep everything on a disk that can lose unflushed data.
    pub fn on_lossy_disk(flags: &[&str]) -> Self {
        Self::on_disk(Setup::Alone, flags, disk::SIZE)
    }

    /// The same with another kind of service.
    pub fn on_lossy_disk_with(setup: Setup, flags: &[&str]) -> Self {
        Self::on_disk(setup, flags, disk::SIZE)
    }

    /// A machine whose Engine and agent keep everything on a small disk, which fills quickly.
    pub fn on_small_disk() -> Self {
        Self::on_disk(Setup::Alone, &[], disk::SMALL_SIZE)
    }

    fn on_disk(setup: Setup, flags: &[&str], size: &str) -> Self {
        let mut disk = None;
        let create_disk = |directory: &Path| disk = Some(LossyDisk::new(directory, size));
        let engine = Engine::start_in(flags, create_disk);
        let rig = Self::on(engine, flags, setup, disk, None);
        rig.disk.as_ref().expect("the disk").flush();
        rig
    }

    /// A machine whose agent keeps its state on its own disk, which can fail.
    pub fn with_state_disk() -> Self {
        let engine = Engine::start(&[]);
        let disk = StateDisk::new(engine.directory());
        Self::on(engine, &[], Setup::Alone, None, Some(disk))
    }

    fn on(
        engine: Engine,
        flags: &[&str],
        setup: Setup,
        disk: Option<LossyDisk>,
        state_disk: Option<StateDisk>,
    ) -> Self {
        let registry = Registry::start(&engine);
        let mut agent = Agent::install(&engine, QUIET);
        if let Some(disk) = &disk {
            agent.keep_state_in(&disk.state());
            agent.read_boot_id_from(disk.boot_id());
        }
        if let Some(disk) = &state_disk {
            agent.keep_state_in(&disk.state());
        }
        let mut pi = Pi { registry, agent, engine };
        let pushes = Pushes::of(&mut pi, setup);
        let socket = pi.engine.directory().join("proxy.sock");
        let proxy = Proxy::start(&socket, &pi.engine.socket(), &pi.agent.state().join("journal"));
        pi.agent.connect_to(proxy.socket());
        let watch = Watch::start(&pi.engine.socket(), SERVICE_LABEL);
        let current = pi.registry.publish(SERVICE, &Kind::Good.release("0"));
        setup.start(&pi, &current);
        let control = pi.registry.publish(CONTROL, &Release::new("control"));
        let control = service::start_control(&pi, &control);
        let (original, dependents) = (pi.inspect(SERVICE), Dependent::all(&pi));
        let (second, group) = (SecondService::of(&pi, setup), Group::of(&pi, setup));
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self {
            watch,
            proxy,
            pi,
            setup,
            dependents,
            second,
            group,
            pushes,
            flags,
            disk,
            state_disk,
            terminated_at: None,
            log: String::new(),
            action_log: String::new(),
            failed_commands: Vec::new(),
            made: Vec::new(),
            current,
            original,
            control,
            next_version: 0,
        }
    }

    /// Whether containers keep running without the Engine.
    pub fn has_live_restore(&self) -> bool {
        self.flags.iter().any(|flag| flag == "--live-restore")
    }

    /// The calls of an update to such a release, from its journal on.
    pub fn count_calls(&mut self, kind: Kind) -> Vec<String> {
        if self.pushes.is_some() {
            return pushes::count_calls(self, kind);
        }
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
        if let Some(second) = &mut self.second {
            second.publish(&self.pi, kind);
        }
        self.pi.registry.publish(SERVICE, &kind.release(&self.next_version.to_string()))
    }

    /// Runs one case, from a settled machine to a settled machine.
    pub fn run_case(&mut self, case: &Case) -> Outcome {
        if self.pushes.is_some() {
            return pushes::run_case(self, case);
        }
        let next = self.publish(case.kind);
        self.control = self.pi.inspect(CONTROL);
        self.watches().for_each(Watch::begin);
        self.dependents.iter().for_each(Dependent::begin);
        self.group = self.group.take().map(|group| group.next(&self.pi));
        let mut outcome = Outcome { setup: self.setup, ..Outcome::default() };
        self.proxy.set(From::TheJournal, Some(case.aim));
        let is_injected = self.run_with_fault(&["update"], &case.aim);
        outcome.findings.extend(self.check_end_of_agent(case));
        self.mend(case.aim.fault);
        let landed = self.proxy.landed().or_else(|| is_injected.then(|| self.proxy.last_call()));
        let is_valid = landed.as_ref().is_none_or(|call| is_possible(case.aim.fault, call));
        outcome.landed = landed.filter(|_| is_valid);
        if is_injected && case.aim.fault == Fault::Cut {
            outcome.findings.extend(invariants::alone(self, &self.judged(case.kind, &next)));
        }
        if let (Some(group), Some(second)) = (&mut self.group, &self.second) {
            group.note_fault(&self.pi, &second.version());
        }
        if let Some(again) = case.again {
            self.proxy.set(From::TheBeginning, Some(again));
            outcome.landed_again = self.run_with_fault(&["recover"], &again);
        }
        self.proxy.set(From::TheJournal, None);
        if let Fault::Person(user_action) = case.aim.fault
            && user_action.changes_ownership()
        {
            outcome.findings.extend(self.check_after_action(
                user_action,
                &next,
                outcome.landed.is_some(),
            ));
            outcome.log = format!("{}\n{}", self.log, std::mem::take(&mut self.action_log));
            self.reset();
            return outcome;
        }
        self.recover(case, &next, &mut outcome);
        match self.settle(case.kind, &next) {
            Ok(refused) => outcome.refused = refused,
            Err(finding) => outcome.findings.push(finding),
        }
        if outcome.refused && matches!(self.setup, Setup::SideBySide(_) | Setup::Group) {
            let what = "one fault refused a good release".to_owned();
            outcome.findings.push(invariants::Finding::changed(what));
        }
        let services = self.judged(case.kind, &next);
        outcome.findings.extend(invariants::settled(self, case, &services));
        outcome.findings.extend(self.check_starts(case, &services));
        outcome.findings.extend(group::settled(self, case, &next));
        outcome.findings.extend(group::check_another_round(self));
        outcome.job = group::summary(self);
        if !outcome.findings.is_empty() {
            self.reset();
        }
        if !is_valid {
            outcome.findings.clear();
        }
        outcome
    }

    /// Checks an agent that was not killed, while the fault continues: the service runs, and after
    /// SIGTERM the agent ends in time.
    fn check_end_of_agent(&mut self, case: &Case) -> Vec<invariants::Finding> {
        let mut findings = Vec::new();
        let took = self.terminated_at.take().map(|at| at.elapsed()).unwrap_or_default();
        if took > TERMINATE_LIMIT {
            findings.push(invariants::Finding::late(format!("it ended {took:?} after SIGTERM")));
        }
        let goes_on =
            matches!(case.aim.fault, Fault::State(_) | Fault::DiskFull | Fault::RegistryGone);
        if goes_on && self.watch.await_one(RECOVERY_LIMIT).is_none() {
            findings.push(invariants::lost(self, &self.watch));
        }
        findings
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        [&self.watch].into_iter().chain(self.second.as_ref().map(|second| &second.watch))
    }

    /// The services, as the invariants see them.
    fn judged<'a>(&'a self, kind: Kind, next: &'a Published) -> Vec<Judged<'a>> {
        let first = Judged {
            name: SERVICE,
            watch: &self.watch,
            current: &self.current,
            original: &self.original,
            kind,
            next,
            version: self.next_version.to_string(),
        };
        let second = self.second.as_ref().map(SecondService::judged);
        [first].into_iter().chain(second).collect()
    }

    /// Starts an agent again, without a fault.
    fn recover(&self, case: &Case, next: &Published, outcome: &mut Outcome) {
        self.watches().for_each(Watch::look_for_one);
        let begun = Instant::now();
        let finished = self.pi.agent.run(&self.pi.engine, &["recover"]);
        outcome.log = format!("{}\n--- recover:\n{}{}", self.log, finished.out, finished.err);
        outcome.recovered = begun.elapsed();
        let late = self.watches().filter(|watch| watch.await_one(RECOVERY_LIMIT).is_none());
        outcome.findings.extend(late.map(|watch| invariants::lost(self, watch)));
        let first_one = self.watches().filter_map(Watch::first_one).max().unwrap_or(begun);
        outcome.service_back = first_one.saturating_duration_since(begun);
        let services = self.judged(case.kind, next);
        outcome.findings.extend(invariants::recovered(self, case, &services, &finished));
        outcome.findings.extend(group::recovered(self, case, next));
    }

    /// After a finding: removes everything and starts a new service, so that the next case begins
    /// in a clean state.
    pub fn reset(&mut self) {
        let ids = self.pi.engine.containers();
        let ids: Vec<_> = ids.iter().filter_map(|it| it["Id"].as_str()).collect();
        for id in ids.iter().filter(|id| self.control["Id"] != **id) {
            self.pi.engine.call("DELETE", &format!("/containers/{id}?force=1"));
        }
        drop(fs::remove_dir_all(self.pi.agent.state()));
        let good = self.publish(Kind::Good);
        self.pi.engine.docker(&["pull", "--quiet", &good.reference]);
        self.setup.start(&self.pi, &good);
        self.pi.engine.docker(&["image", "prune", "--force", "--all"]);
        self.original = self.pi.inspect(SERVICE);
        self.dependents = Dependent::all(&self.pi);
        self.current = good;
        if let Some(second) = &mut self.second {
            second.reset(&self.pi);
        }
        self.group = Group::of(&self.pi, self.setup);
    }
}

/// An Engine does not answer 404 to the removal of a container that it has.
fn is_possible(fault: Fault, call: &str) -> bool {
    fault != Fault::Answer(404) || !call.starts_with("DELETE /containers")
}
