//! One round: what was left open is finished, then everybody in question is looked at, then
//! whatever was decided is carried out, one container after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Agent;
use super::hooks::Asked;
use super::look::Start;
use crate::core::decide::observation::{Observation, OpenUpdate, Readiness};
use crate::core::decide::quota::Quota;
use crate::core::decide::report::{Report, Verdict};
use crate::core::decide::{Circumstances, Decision, No, decide, originals};
use crate::core::policy::hooks::Moment;
use crate::core::policy::own_labels::PassedOver;
use crate::core::update::event::Event;
use crate::core::update::handover::Task;
use crate::core::update::history::Record;
use crate::core::update::plan::{Header, Outline, Plan};
use crate::engine::{Engine, EngineError, Listed};
use crate::execute::{Ended, Update};
use crate::host::Host;
use crate::journal::JournalError;
use crate::observe::{self, Surroundings};
use crate::recover::{RecoverError, Recovered};
use crate::registry::Registry;
use crate::world::Ports;

/// What a round is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Only these containers; `None`: all that are watched.
    pub names: Option<BTreeSet<String>>,
    /// Not these: they have a schedule of their own.
    pub except: BTreeSet<String>,
    /// Windows and refusals do not hold; safety does.
    pub force: bool,
    /// A person names the containers: a pause after tries that failed does not hold.
    #[serde(default)]
    pub tries_at_once: bool,
    /// Decide, and leave it at that.
    pub dry_run: bool,
    /// With `dry_run`: what was found within the last interval will do, where it still holds.
    pub may_be_known: bool,
}

/// How a round ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundEnd {
    /// When the containers were looked at.
    pub checked_at: DateTime<Utc>,
    /// What was found, by name.
    pub reports: Vec<Report>,
    /// What would be done, by name. Filled by a dry run alone.
    pub outlines: Vec<Outline>,
    /// The updates that were carried out in this round.
    pub records: Vec<Record>,
    /// Earlier updates that had been left open, and ended now.
    pub recovered: Vec<Record>,
    /// What the registries say of their quotas, by registry.
    #[serde(default)]
    pub quotas: BTreeMap<String, Quota>,
    /// Labels of images that do not count.
    #[serde(default)]
    pub passed_over: Vec<PassedOver>,
    /// The agent's own container, where a helper updates it from now on.
    #[serde(default)]
    pub handed_over: Option<String>,
}

/// Why a round could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The Engine did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Names that no watched container has.
    #[error("no watched container is named {}; a container is watched when it has the label pilotfish.enable=true", .0.join(", "))]
    UnknownNames(Vec<String>),
}

impl From<RecoverError> for RoundError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Journal(error) => Self::Journal(error),
            RecoverError::Engine(error) => Self::Engine(error),
        }
    }
}

impl<P: Ports> Agent<P> {
    /// Runs one round, and says in the snapshot how it went.
    ///
    /// # Errors
    /// It could not run at all. What goes wrong with one container is in its report.
    pub async fn round(&mut self, request: &Request) -> Result<RoundEnd, RoundError> {
        self.round_over(None, request).await
    }

    /// The same, over the list that the Engine gave just now, if it did.
    pub(super) async fn round_over(
        &mut self,
        list: Option<Vec<Listed>>,
        request: &Request,
    ) -> Result<RoundEnd, RoundError> {
        let begun = Instant::now();
        let end = self.try_round(request, list).await;
        self.tell(request, &end, begun.elapsed());
        end
    }

    /// A list holds until something is done, so that a round without news costs one. It is asked
    /// for behind recovery, which waits where the Engine is just starting.
    pub(super) async fn try_round(
        &mut self,
        request: &Request,
        list: Option<Vec<Listed>>,
    ) -> Result<RoundEnd, RoundError> {
        let recovered = match request.dry_run {
            true => Recovered::default(),
            false => self.take_up(false).await?,
        };
        let memory = self.ports.state().memory()?;
        let mut list = match list {
            Some(list) if recovered.is_nothing() => list,
            _ => self.list().await?,
        };
        let Recovered { records: recovered, mut open } = recovered;
        if request.dry_run {
            open = self.open_updates().await?;
        }
        self.check_names(request, &list, &open)?;
        self.cache.forget_neighbours();
        let checked_at = self.ports.host().now();
        let mut end = RoundEnd { checked_at, recovered, ..RoundEnd::default() };
        if !request.dry_run && self.sweep(&mut open, &list).await {
            list = self.list().await?;
        }
        self.publish(|snapshot| snapshot.is_ready = true);
        if self.run_hooks(Moment::PreCheck, request).await? {
            list = self.list().await?;
        }
        end.passed_over = self.pass_over(request, &list);
        let circumstances = self.circumstances(request);
        let start = Start { list: &list, memory: &memory, open: &open };
        let observations = self.look(request, &circumstances, start).await?;
        if !request.dry_run {
            self.remember_republished(memory, (&observations, &list), &circumstances)?;
        }
        // Boxed, because it is by far the largest part of whatever waits for a round.
        Box::pin(self.act(request, &circumstances, (observations, &open), &mut end)).await?;
        self.report_missing(request, &open, &mut end.reports)?;
        self.cache.forget_neighbours();
        end.quotas = self.ports.registry().quotas();
        if !request.dry_run {
            self.drop_superseded(&open).await;
        }
        self.run_hooks(Moment::PostCheck, request).await?;
        Ok(end)
    }

    /// Reports on everybody, and carries out what was decided.
    async fn act(
        &mut self,
        request: &Request,
        circumstances: &Circumstances,
        (observations, open): (Vec<Observation>, &BTreeMap<String, OpenUpdate>),
        end: &mut RoundEnd,
    ) -> Result<(), RoundError> {
        let mut touched = BTreeSet::new();
        let mut own = None;
        for observation in observations {
            let observation = match touched.is_empty() {
                true => observation,
                false => self.see_anew(observation, &touched, circumstances, open).await?,
            };
            let decision = decide(&observation, circumstances);
            end.reports.push(Report::of(&observation, &decision));
            if request.dry_run {
                if let Decision::Update(plan) | Decision::HandOver(plan) = &decision {
                    end.outlines.push(Outline::of(plan));
                }
                continue;
            }
            self.outlook.note(&observation, &decision);
            if self.stop.is_cancelled() {
                continue;
            }
            match decision {
                Decision::Update(plan) => match self.ask_hooks(&plan).await {
                    Asked::Agreed => {
                        touched.extend(plan.names().map(str::to_owned));
                        end.records.extend(self.update(*plan, observation.readiness).await?);
                    }
                    Asked::Held(no) => self.hold(&observation, no, end),
                    Asked::Unasked => {}
                },
                Decision::HandOver(plan) => own = Some((plan, observation.readiness)),
                Decision::Fetch(fetch) => {
                    touched.insert(observation.name.clone());
                    self.fetch_ahead(&fetch).await;
                }
                Decision::UpToDate | Decision::Republished(_) | Decision::No(_) => {}
            }
        }
        self.report_again(touched, end).await?;
        // The agent itself comes last: nothing else is done until it is back.
        if let Some((plan, Some(readiness))) = own.filter(|_| !self.stop.is_cancelled()) {
            let task = Task::Update { force: request.force };
            self.hand_over(&plan, &readiness.original, task).await;
            end.handed_over = self.is_handed_over.then_some(plan.main.container);
        }
        Ok(())
    }

    /// Reports that it stays as it is after all.
    fn hold(&mut self, observation: &Observation, no: No, end: &mut RoundEnd) {
        let decision = Decision::No(no);
        self.outlook.note(observation, &decision);
        end.reports.pop();
        end.reports.push(Report::of(observation, &decision));
    }

    /// Looks once more at what an update would meet, after another one in the same round. A
    /// container that was recreated with the other one is another container now.
    async fn see_anew(
        &mut self,
        mut observation: Observation,
        touched: &BTreeSet<String>,
        circumstances: &Circumstances,
        open: &BTreeMap<String, OpenUpdate>,
    ) -> Result<Observation, RoundError> {
        if !touched.contains(&observation.name) {
            let surroundings = Surroundings { defaults: &self.settings.defaults, open };
            let cache = &mut self.cache;
            observe::look_again(&*self.ports, cache, &surroundings, &mut observation).await;
            return Ok(observation);
        }
        let names = Some(BTreeSet::from([observation.name.clone()]));
        let Circumstances { force, tries_at_once, .. } = *circumstances;
        let request = Request { names, force, tries_at_once, ..Request::default() };
        let mut open = open.clone();
        open.extend(self.open_updates().await?);
        let memory = self.ports.state().memory()?;
        let start = Start { list: &self.list().await?, memory: &memory, open: &open };
        let mut seen = self.look(&request, circumstances, start).await?;
        Ok(seen.pop().unwrap_or(observation))
    }

    /// What was updated or fetched, or was meant to be, is reported as it stands afterwards.
    async fn report_again(
        &mut self,
        touched: BTreeSet<String>,
        end: &mut RoundEnd,
    ) -> Result<(), RoundError> {
        if touched.is_empty() || self.stop.is_cancelled() {
            return Ok(());
        }
        let request = Request { names: Some(touched), ..Request::default() };
        let circumstances = self.circumstances(&request);
        let open = self.open_updates().await?;
        let memory = self.ports.state().memory()?;
        let start = Start { list: &self.list().await?, memory: &memory, open: &open };
        for observation in self.look(&request, &circumstances, start).await? {
            let decision = decide(&observation, &circumstances);
            self.outlook.note(&observation, &decision);
            let report = Report::of(&observation, &decision);
            end.reports.retain(|earlier| earlier.container != report.container);
            end.reports.push(report);
        }
        end.reports.sort_by(|a, b| a.container.cmp(&b.container));
        Ok(())
    }

    pub(super) async fn update(
        &mut self,
        plan: Plan,
        readiness: Option<Box<Readiness>>,
    ) -> Result<Option<Record>, RoundError> {
        let Some(readiness) = readiness else { return Ok(None) };
        let container = plan.main.container.clone();
        let header = self.header(plan, *readiness).await?;
        self.publish(|snapshot| snapshot.in_flight = Some(container));
        let update = Update::begin(&*self.ports, &*self.listener, &self.stop, header)?;
        // Boxed, because it is by far the largest part of whatever waits for an update.
        let ended = Box::pin(update.run()).await;
        self.publish(|snapshot| snapshot.in_flight = None);
        match ended {
            Ended::Finished(record) => Ok(Some(*record)),
            Ended::Left => Ok(None),
            Ended::Unfinished(journal, trouble) => {
                let (ports, listener) = (&*self.ports, &*self.listener);
                self.recovery.failed(ports, listener, &journal, &trouble).await;
                let open = self.open_updates().await?;
                self.show_stuck(&open);
                Ok(None)
            }
        }
    }

    /// Everything that going back needs, so that it never needs the registry.
    async fn header(&self, plan: Plan, readiness: Readiness) -> Result<Header, EngineError> {
        let engine = self.ports.engine();
        let tag = plan.reference.tag.as_deref().unwrap_or_default();
        let local = format!("{}:{tag}", plan.reference.familiar_name());
        let before = engine.inspect_image(&local).await?;
        let id = before.as_ref().map(|image| crate::core::docker::inspect::id(image).to_owned());
        Ok(Header {
            version: Header::version_of(&plan),
            started_at: self.ports.host().now(),
            boot_id: self.ports.host().boot_id(),
            dependents: originals(&plan, &readiness),
            plan,
            original: readiness.original,
            tag_before: id,
            live_restore: self.engine_info().await?.live_restore,
        })
    }

    /// What the snapshot and the metrics say of a round.
    fn tell(&self, request: &Request, end: &Result<RoundEnd, RoundError>, took: Duration) {
        let end = match end {
            Ok(end) => end,
            Err(RoundError::UnknownNames(_)) => return,
            Err(error) => {
                self.rounds.round(false, took);
                self.publish(|snapshot| {
                    snapshot.missed_rounds = snapshot.missed_rounds.saturating_add(1);
                    snapshot.trouble = Some(error.to_string());
                });
                self.warn(format!("this round could not run: {error}"));
                return;
            }
        };
        let succeeded = end.reports.iter().all(|report| report.verdict != Verdict::Error);
        self.rounds.round(succeeded, took);
        let news = news(&self.snapshot.borrow().reports, &end.reports);
        self.show(request, &end.reports);
        self.publish(|snapshot| {
            snapshot.last_check = Some(end.checked_at);
            if succeeded {
                snapshot.last_success = Some(end.checked_at);
            }
            snapshot.missed_rounds = 0;
            snapshot.trouble = None;
            snapshot.quotas.clone_from(&end.quotas);
        });
        let containers = end.reports.len();
        self.listener.hear(&Event::RoundEnded { containers, news, took });
    }
}

/// The reports that say something else than before. A container that is seen for the first time
/// and is up to date is no news.
fn news(before: &[Report], now: &[Report]) -> Vec<Report> {
    let is_news = |report: &&Report| {
        let earlier = before.iter().find(|earlier| earlier.container == report.container);
        earlier.map_or(report.verdict != Verdict::UpToDate, |earlier| {
            (earlier.verdict, earlier.reason) != (report.verdict, report.reason)
        })
    };
    now.iter().filter(is_news).cloned().collect()
}
