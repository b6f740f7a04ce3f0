//! What is known of each watched service of a Swarm, and what is decided from it.
//!
//! A look costs two lists, of the services and of the nodes, and one HEAD for each service. The
//! index behind a digest is fetched only if the digest is new.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::resolve::{REGISTRY_TIMEOUT, in_time};
use crate::core::decide::memory::{AssumedDigest, Memory};
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Report;
use crate::core::decide::{Circumstances, No, windows};
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::{Mode, Policy, PolicyDefaults, Selection, service_labels};
use crate::core::service::decision::{self, ServiceCase, ServiceDecision};
use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::{SwarmNode, read_nodes};
use crate::core::service::outline::ServiceOutline;
use crate::core::service::plan::ServiceOffer;
use crate::core::service::task::{TaskCounts, count_wanted, read_tasks};
use crate::core::subject::Subject;
use crate::core::time::schedule::Schedule;
use crate::engine::{EngineError, Services};
use crate::ports::Ports;
use crate::registry::Registry;

/// The input of a look at services.
#[derive(Debug)]
pub struct ServiceScope<'a> {
    pub defaults: &'a PolicyDefaults,
    pub circumstances: &'a Circumstances,
    pub memory: &'a Memory,
    /// The ID of this Engine's node.
    pub own_node: &'a str,
}

/// A service that asks to be watched.
#[derive(Debug, Clone)]
pub struct WatchedService {
    pub facts: ServiceFacts,
    /// The document, raw.
    pub document: Value,
    /// What its labels ask for, or what is wrong with them.
    pub policy: Result<Policy, String>,
}

impl WatchedService {
    /// The name, which is also that of the subject.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Its own schedule; absent: the agent's.
    #[must_use]
    pub fn schedule(&self) -> Option<&Schedule> {
        self.policy.as_ref().ok()?.schedule.as_ref()
    }

    /// The time of the last change of its document.
    fn changed_at(&self) -> &str {
        self.document.get("UpdatedAt").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A service after a look.
#[derive(Debug, Clone)]
pub struct ObservedService {
    pub service: WatchedService,
    pub report: Report,
    pub decision: ServiceDecision,
    /// What the decided update would do.
    pub outline: Option<ServiceOutline>,
    /// Its tasks; none if the Swarm did not tell.
    pub tasks: TaskCounts,
    /// The digest of this look at a tag of which nobody knows what runs; it counts as the running
    /// one from now on.
    pub assumed: Option<AssumedDigest>,
}

/// The services that ask to be watched, in the order of their names.
///
/// # Errors
/// The Engine does not answer, or is no manager of a Swarm.
pub async fn watched_services<P: Ports>(
    ports: &P,
    defaults: &PolicyDefaults,
) -> Result<Vec<WatchedService>, EngineError> {
    let watched = |document: Value| {
        let facts = ServiceFacts::read(&document)?;
        let policy = match service_labels::read(&facts.labels, defaults) {
            Selection::OptedOut => return None,
            Selection::Watched(policy) => Ok(policy),
            Selection::BadLabels(errors) => {
                Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        };
        Some(WatchedService { facts, document, policy })
    };
    let mut all: Vec<_> =
        ports.engine().services().await?.into_iter().filter_map(watched).collect();
    all.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
    Ok(all)
}

/// Looks at services and decides, all at the same time.
///
/// # Errors
/// The Engine does not answer.
pub async fn observe_services<P: Ports>(
    ports: &P,
    services: Vec<WatchedService>,
    scope: &ServiceScope<'_>,
) -> Result<Vec<ObservedService>, EngineError> {
    let nodes = read_nodes(&ports.engine().nodes().await?);
    let looks = services.into_iter().map(|service| observe(ports, service, &nodes, scope));
    Ok(join_all(looks).await)
}

async fn observe<P: Ports>(
    ports: &P,
    service: WatchedService,
    nodes: &[SwarmNode],
    scope: &ServiceScope<'_>,
) -> ObservedService {
    let look = ServiceLookup { ports, nodes, scope, service: &service };
    let Found { running, offered, assumed, decision } = look.run().await;
    let tasks = ports.engine().tasks(&service.facts.id).await.unwrap_or_default();
    let tasks = count_wanted(&read_tasks(&tasks));
    let subject = Subject::service(service.name());
    let mut report = Report::of_digests(subject, &service.facts.image, running, offered);
    report = match &decision {
        ServiceDecision::UpToDate => report,
        ServiceDecision::Update(_) => report.with_update(),
        ServiceDecision::No(no) => report.with_no(no.reason, &no.detail),
    };
    if report.detail.is_none() && service.facts.pinned_digest().is_none() {
        report.detail = running_is_assumed(&report);
    }
    let away = service.facts.nodes_away(nodes);
    if report.detail.is_none() && !away.is_empty() {
        report.detail = Some(format!("nodes that no update reaches now: {}", away.join(", ")));
    }
    let outline = match &decision {
        ServiceDecision::Update(plan) => Some(ServiceOutline::of(plan, &service.facts, nodes)),
        ServiceDecision::UpToDate | ServiceDecision::No(_) => None,
    };
    ObservedService { service, report, decision, outline, tasks, assumed }
}

/// Without a digest in the specification every node resolves the tag for itself.
fn running_is_assumed(report: &Report) -> Option<String> {
    let running = report.running.as_ref()?.short();
    Some(format!(
        "the running digest {running} is assumed: the specification names none, so the digest of the \
         agent's first look counts"
    ))
}

/// What was found about a service.
struct Found {
    running: Option<Digest>,
    offered: Option<Digest>,
    assumed: Option<AssumedDigest>,
    decision: ServiceDecision,
}

struct ServiceLookup<'a, P> {
    ports: &'a P,
    nodes: &'a [SwarmNode],
    scope: &'a ServiceScope<'a>,
    service: &'a WatchedService,
}

impl<P: Ports> ServiceLookup<'_, P> {
    async fn run(&self) -> Found {
        let facts = &self.service.facts;
        let subject = Subject::service(&facts.name);
        let known = self.scope.memory.assumed.get(&subject);
        let known = known.filter(|it| it.is_of(&facts.image, self.service.changed_at()));
        let running = facts.pinned_digest().or_else(|| known.map(|it| it.digest.clone()));
        let found = |offered, decision| Found {
            running: running.clone(),
            offered,
            assumed: None,
            decision,
        };
        let policy = match &self.service.policy {
            Ok(policy) => policy,
            Err(why) => return found(None, no(Reason::BadLabel, why.clone())),
        };
        let Circumstances { now, force, tries_at_once, .. } = *self.scope.circumstances;
        // A person who names the service does not wait for the pause after a failed try.
        let memory = match (force, tries_at_once, self.scope.memory) {
            (true, _, _) => Cow::Owned(Memory::default()),
            (false, true, all) => Cow::Owned(Memory { failing: BTreeMap::new(), ..all.clone() }),
            (false, false, all) => Cow::Borrowed(all),
        };
        let case = ServiceCase {
            facts,
            nodes: self.nodes,
            own_node: self.scope.own_node,
            assumed: known.map(|it| &it.digest),
            memory: &memory,
            stable: policy.health.stable,
            healthy: policy.health.effective_timeout(facts.healthcheck.as_ref()),
            now,
        };
        let reference = match decision::check(case) {
            Ok(reference) => Reference { digest: None, ..reference },
            Err(no) => return found(None, ServiceDecision::No(no)),
        };
        let deadline = Instant::now() + REGISTRY_TIMEOUT;
        let registry = self.ports.registry();
        let offered = match in_time(deadline, &reference, registry.head(&reference)).await {
            Ok(digest) => digest,
            Err(error) => return found(None, no(error.reason, error.detail)),
        };
        let Some(running) = &running else { return self.assume(offered) };
        if offered == *running {
            return found(Some(offered), ServiceDecision::UpToDate);
        }
        let index = in_time(deadline, &reference, registry.document(&reference, &offered)).await;
        let offer = index.and_then(|bytes| ServiceOffer::read(offered.clone(), &bytes));
        let decision = match offer {
            Ok(offer) => self.hold(policy, decision::decide(case, &offer)),
            Err(error) => no(error.reason, error.detail),
        };
        found(Some(offered), decision)
    }

    /// Nobody knows what runs, so the first look counts.
    fn assume(&self, offered: Digest) -> Found {
        let changed_at = self.service.changed_at().to_owned();
        let (image, digest) = (self.service.facts.image.clone(), offered.clone());
        Found {
            running: Some(offered.clone()),
            offered: Some(offered),
            assumed: Some(AssumedDigest { image, changed_at, digest }),
            decision: ServiceDecision::UpToDate,
        }
    }

    /// An update that the labels hold.
    fn hold(&self, policy: &Policy, decision: ServiceDecision) -> ServiceDecision {
        let Circumstances { now, zone, force, .. } = self.scope.circumstances;
        if !matches!(decision, ServiceDecision::Update(_)) || *force {
            return decision;
        }
        if policy.mode == Mode::Notify {
            return no(Reason::NotifyOnly, "");
        }
        if policy.update_window.contains(*now, zone) {
            return decision;
        }
        let (what, window) = ("the update window", &policy.update_window);
        ServiceDecision::No(windows::closed(self.scope.circumstances, what, window))
    }
}

fn no(reason: Reason, detail: impl Into<String>) -> ServiceDecision {
    ServiceDecision::No(No::new(reason, detail))
}

/// The services that one of these names means: `web` or `service/web`.
#[must_use]
pub fn is_named(names: &BTreeSet<String>, service: &str) -> bool {
    names.contains(service) || names.contains(&Subject::service(service).to_text())
}
