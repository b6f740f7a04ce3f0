//! Pilotfish's own hooks in the model: the command `hook MOMENT CODE` takes a while and ends with
//! this exit code. Every crash point of an update with hooks, and then of the recovery from it.
//!
//! The lock of an update appears during its pull, and goes minutes later.
//!
//! A hook may run twice, because a killed agent does not know how far it came. It must not be
//! left out.

use std::time::Duration;

use pilotfish::engine::EngineError;

use crate::crashes::{APP, crash_pairs_with_stride, machine_before_update};
use crate::engine::FakeEngine;
use crate::images::Behaviour;
use crate::invariants::CONTROL;
use crate::machine::{Machine, MachineState};
use crate::service::RunOptions;

/// How long a hook of the model takes.
const TAKES: Duration = Duration::from_secs(5);

/// When the lock appears: the pull takes two seconds.
const LOCKED_FROM: Duration = Duration::from_secs(1);

/// When the lock goes. The next round is later.
const LOCKED_UNTIL: Duration = Duration::from_secs(5 * 60);

/// Every n-th point of a recovery gets a second crash, as with dependents.
const STRIDE: usize = 1021;

/// A command of a label that ran in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelHook {
    pub container: String,
    pub moment: String,
    code: i64,
    /// Whether it ran to its end.
    has_ended: bool,
}

impl LabelHook {
    /// The hook that a command is, if it is one.
    pub fn read(container: &str, command: &[String]) -> Option<Self> {
        let [program, moment, code] = command else { return None };
        let (moment, code) = (moment.clone(), code.parse().ok()?);
        let container = container.to_owned();
        (program == "hook").then_some(Self { container, moment, code, has_ended: false })
    }
}

impl FakeEngine {
    /// Runs a hook. It begins at once, and ends later.
    pub async fn run_label_hook(
        &self,
        hook: LabelHook,
        timeout: Duration,
    ) -> Result<i64, EngineError> {
        let LabelHook { container, moment, code, .. } = hook.clone();
        let until = self.act("hook", &format!("exec {moment} in {container}"), |state, at| {
            match state.find(&container).is_some_and(|it| it.is_running()) {
                true => Ok(at.now + TAKES.min(timeout)),
                false => Err(EngineError::Conflict { message: "it does not run".into() }),
            }
        })?;
        self.0.lock().label_hooks.push(hook.clone());
        self.wait("hook", until).await?;
        self.0.lock().label_hooks.push(LabelHook { has_ended: true, ..hook });
        self.0.point("hook ended", true);
        Ok(code)
    }
}

impl Machine {
    /// An old container is not stopped before its pre-stop hook began, nor while its lock exists.
    pub fn check_pre_stop(&self, container: &str) {
        let now = self.now();
        let mut state = self.lock();
        if state.lock_lasts.as_ref().is_some_and(|it| it.contains(&now)) {
            state.violations.push(format!("{container} was stopped although it is locked"));
        }
        let is_old = state.image_of(container).is_some_and(|image| image == "v1");
        let is_asked = is_old && state.hook_label(container, "pre-stop").is_some();
        if is_asked && !state.has_begun(container, "pre-stop") {
            state.violations.push(format!("{container} was stopped without its pre-stop hook"));
        }
    }
}

impl MachineState {
    /// Whether images are pulled ahead of updates: for hooks, or because of a lock.
    pub fn needs_another_round(&self) -> bool {
        !self.label_hooks.is_empty() || self.lock_lasts.is_some()
    }

    fn has_begun(&self, container: &str, moment: &str) -> bool {
        self.label_hooks.iter().any(|hook| hook.container == container && hook.moment == moment)
    }

    fn has_ended(&self, container: &str, moment: &str) -> bool {
        let is_it = |hook: &&LabelHook| hook.container == container && hook.moment == moment;
        self.label_hooks.iter().filter(is_it).any(|hook| hook.has_ended)
    }

    fn image_of(&self, container: &str) -> Option<&str> {
        let container = self.engine.find(container)?;
        Some(&self.engine.stored.images.get(&container.image)?.spec.name)
    }

    fn hook_label(&self, service: &str, moment: &str) -> Option<String> {
        let name = &self.engine.find(service)?.name;
        let service = self.services.iter().find(|it| it.name != CONTROL && name == &it.name)?;
        let label = &service.body["Labels"][format!("pilotfish.hook.{moment}")];
        label.as_str().map(str::to_owned)
    }

    /// The hooks of the serving containers that should have run, and did not.
    pub fn label_hooks_missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for service in self.services.iter().filter(|service| service.name != CONTROL) {
            let Some(container) = self.engine.find(&service.name) else { continue };
            let id = &container.id;
            let moment = match self.image_of(id) {
                Some("v2") => "post-update",
                // Its update failed for good: the image is refused.
                Some("v1") if !self.history().is_empty() => "post-rollback",
                _ => continue,
            };
            if self.hook_label(id, moment).is_some() && !self.has_ended(id, moment) {
                missing.push(format!("{}: the {moment} hook did not run", service.name));
            }
        }
        missing
    }
}

/// A machine before an update whose container has all hooks; this is the exit code of the required
/// post-update hook, or none is required.
fn machine_with_hooks(next: Behaviour, required: Option<i64>) -> MachineState {
    let begin = machine_before_update(next, &[], "always");
    let machine = Machine::from(begin);
    machine.lock().registry.push(APP, "v1");
    let mut options = RunOptions::new("till", APP, "always");
    for moment in ["pre-update", "pre-stop", "post-update", "post-rollback"] {
        let code = if moment == "post-update" { required.unwrap_or(0) } else { 0 };
        let label = (format!("pilotfish.hook.{moment}"), format!("hook {moment} {code}"));
        options.labels.push(label);
    }
    if required.is_some() {
        let label = "pilotfish.hook.post-update.required";
        options.labels.push((label.to_owned(), "true".to_owned()));
    }
    machine.run_service(&options);
    machine.lock().registry.push(APP, "v2");
    machine.copy()
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_with_hooks() {
    let begin = machine_with_hooks(Behaviour::Good, None);
    crash_pairs_with_stride("hooks", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_with_a_required_hook() {
    let begin = machine_with_hooks(Behaviour::Good, Some(0));
    crash_pairs_with_stride("a required hook", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_a_rollback_with_hooks() {
    let begin = machine_with_hooks(Behaviour::Dies(Duration::from_secs(3)), None);
    crash_pairs_with_stride("hooks, rollback", begin, STRIDE).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_in_an_update_that_is_locked_before_its_switch() {
    let machine = Machine::from(machine_before_update(Behaviour::Good, &[], "always"));
    machine.lock().registry.push(APP, "v1");
    let mut options = RunOptions::new("till", APP, "always");
    options.labels.push(("pilotfish.update.lock".to_owned(), "/data/lock".to_owned()));
    machine.run_service(&options);
    machine.lock().registry.push(APP, "v2");
    let mut begin = machine.copy();
    begin.lock_lasts = Some(begin.since + LOCKED_FROM..begin.since + LOCKED_UNTIL);
    crash_pairs_with_stride("a lock", begin, 2 * STRIDE).await;
}
