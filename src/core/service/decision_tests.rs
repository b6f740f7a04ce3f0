//! What is done with a service, case by case, on the documents of a real Swarm.

use chrono::TimeDelta;

use super::*;
use crate::core::decide::memory::Refusal;
use crate::core::docker::reference::Platform;
use crate::core::service::node::{Availability, NodeState};
use crate::core::service::recorded::{MANAGER, TABLES, look, nodes};

const SECOND: u64 = 1_000_000_000;

fn digest(digit: &str) -> Digest {
    format!("sha256:{}", digit.repeat(64)).parse().expect("a digest")
}

fn offer(digit: &str) -> ServiceOffer {
    ServiceOffer { digest: digest(digit), manifests: BTreeSet::new(), platforms: None }
}

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".into(), architecture: architecture.into(), variant: String::new() }
}

/// The facts of a case, with everything else as on the leader of that Swarm.
struct Given {
    facts: ServiceFacts,
    nodes: Vec<SwarmNode>,
    assumed: Option<Digest>,
    memory: Memory,
    now: DateTime<Utc>,
}

impl Given {
    fn of(moment: &str) -> Self {
        // Some moments have the settings of a rollback.
        let facts = ServiceFacts { update_config: None, ..look(moment).facts };
        let (assumed, memory) = (Some(digest("1")), Memory::default());
        Self { facts, nodes: nodes(), assumed, memory, now: DateTime::UNIX_EPOCH }
    }

    fn case<'a>(&'a self, own_node: &'a str) -> ServiceCase<'a> {
        ServiceCase {
            facts: &self.facts,
            nodes: &self.nodes,
            own_node,
            assumed: self.assumed.as_ref(),
            memory: &self.memory,
            stable: Duration::from_secs(30),
            healthy: Duration::from_secs(60),
            now: self.now,
        }
    }

    fn decide(&self, offer: &ServiceOffer) -> ServiceDecision {
        decide(self.case(MANAGER), offer)
    }

    fn no(&self, offer: &ServiceOffer) -> (Reason, String) {
        match self.decide(offer) {
            ServiceDecision::No(no) => (no.reason, no.detail),
            other => panic!("no reason: {other:?}"),
        }
    }

    fn plan(&self, offer: &ServiceOffer) -> ServicePlan {
        match self.decide(offer) {
            ServiceDecision::Update(plan) => *plan,
            other => panic!("no plan: {other:?}"),
        }
    }

    fn node(&mut self, id: &str) -> &mut SwarmNode {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a node")
    }
}

#[test]
fn only_the_leader_acts() {
    let given = Given::of("unpinned");
    for own_node in [TABLES[0], "", "unknown"] {
        let decision = decide(given.case(own_node), &offer("2"));
        let ServiceDecision::No(no) = decision else { panic!("{decision:?}") };
        assert_eq!(no.reason, Reason::NotLeader);
    }
}

#[test]
fn an_image_without_a_digest_is_followed_from_the_first_look_on() {
    let mut given = Given::of("unpinned");
    assert_eq!(given.decide(&offer("1")), ServiceDecision::UpToDate);
    let plan = given.plan(&offer("2"));
    assert_eq!(plan.image, "10.78.0.1:5000/till:1");
    assert_eq!(plan.new_image, format!("10.78.0.1:5000/till:1@{}", digest("2")));
    assert_eq!(plan.old_image, format!("10.78.0.1:5000/till:1@{}", digest("1")));
    assert!(!plan.is_pinned());
    assert_eq!(plan.update_config["FailureAction"], "pause");
    assert_eq!(plan.update_config["Delay"], 30 * SECOND);
    given.assumed = None;
    assert_eq!(given.decide(&offer("2")), ServiceDecision::UpToDate, "the first look");
}

#[test]
fn an_image_with_tag_and_digest_is_followed() {
    let given = Given::of("good-settled");
    let running = given.facts.pinned_digest().expect("a digest");
    let same = ServiceOffer { digest: running.clone(), ..offer("1") };
    assert_eq!(given.decide(&same), ServiceDecision::UpToDate);
    let index = ServiceOffer { manifests: BTreeSet::from([running.clone()]), ..offer("5") };
    assert_eq!(given.decide(&index), ServiceDecision::UpToDate, "an index around it");
    let plan = given.plan(&offer("2"));
    assert!(plan.is_pinned());
    assert_eq!((&plan.from, &plan.old_image), (&running, &given.facts.image));
    assert_eq!(plan.update_config["FailureAction"], "rollback");
    assert_eq!(plan.platforms, None);
}

#[test]
fn a_change_that_is_not_ours_is_left_alone() {
    let rows = [
        ("good-middle", Some(Reason::ServiceUpdating)),
        ("rollback-started", Some(Reason::ServiceUpdating)),
        ("paused", Some(Reason::ServicePaused)),
        ("back-done", None),
        ("rollback-completed", None),
    ];
    for (moment, expected) in rows {
        let reason = match Given::of(moment).decide(&offer("2")) {
            ServiceDecision::No(no) => Some(no.reason),
            _ => None,
        };
        assert_eq!(reason, expected, "{moment}");
    }
}

#[test]
fn what_cannot_be_updated_is_named() {
    type Change = fn(&mut Given);
    let with = |change: Change| {
        let mut given = Given::of("unpinned");
        change(&mut given);
        given.no(&offer("2"))
    };
    let rows: [(Change, Reason, &str); 8] = [
        (|it| it.facts.mode = ServiceMode::Job, Reason::IsAJob, "run the job"),
        (|it| it.facts.mode = ServiceMode::Other, Reason::CannotUpdateService, "containers"),
        (
            |it| it.facts.mode = ServiceMode::Replicated(0),
            Reason::CannotUpdateService,
            "0 replicas",
        ),
        (
            |it| it.facts.image = format!("till@{}", digest("1")),
            Reason::PinnedByDigest,
            "without a tag",
        ),
        (|it| it.facts.image = "1".repeat(64), Reason::PinnedByDigest, "no reference"),
        (|it| it.facts.state = UpdateState::Unknown, Reason::ServiceUpdating, "not known"),
        (
            |it| TABLES.iter().for_each(|id| it.node(id).availability = Availability::Drain),
            Reason::CannotUpdateService,
            "no node",
        ),
        (
            |it| it.facts.update_config = Some(json!({ "FailureAction": "continue" })),
            Reason::CannotUpdateService,
            "continue",
        ),
    ];
    for (change, reason, words) in rows {
        let (found, detail) = with(change);
        assert_eq!(found, reason, "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
}

#[test]
fn a_refused_image_stays_refused_under_another_index() {
    let mut given = Given::of("unpinned");
    let refusal = Refusal {
        digests: BTreeSet::from([digest("2"), digest("7")]),
        at: DateTime::UNIX_EPOCH,
        detail: "its task failed".into(),
    };
    given.memory.refuse(&Subject::service("tableservice"), refusal);
    assert_eq!(given.no(&offer("2")), (Reason::RefusedDigest, "its task failed".into()));
    let index = ServiceOffer { manifests: BTreeSet::from([digest("7")]), ..offer("8") };
    assert_eq!(given.no(&index).0, Reason::RefusedDigest);
    assert_eq!(given.plan(&offer("9")).to, digest("9"));
}

#[test]
fn a_pull_that_failed_is_tried_again_after_a_pause() {
    let mut given = Given::of("unpinned");
    let plan = given.plan(&offer("2"));
    let failed = |was_outage| plan.failed_try("vm: No such image".into(), given.now, was_outage);
    let (pull, outage) = (failed(false), failed(true));
    let subject = plan.subject();
    given.memory.fail(&subject, pull);
    let (reason, detail) = given.no(&offer("2"));
    assert_eq!(reason, Reason::PrepullFailed);
    assert!(detail.starts_with("vm: No such image; the next try is at"), "{detail}");
    given.now += TimeDelta::minutes(2);
    assert_eq!(given.plan(&offer("2")).to, digest("2"));
    given.now -= TimeDelta::minutes(2);
    given.memory.fail(&subject, outage);
    assert_eq!(given.no(&offer("2")).0, Reason::UpdateFailing);
}

#[test]
fn every_node_of_a_global_service_needs_its_platform() {
    let with = |architectures: &[&str]| ServiceOffer {
        platforms: Some(architectures.iter().map(|it| platform(it)).collect()),
        ..offer("2")
    };
    let mut given = Given::of("unpinned");
    given.node(TABLES[1]).architecture = "armv7l".into();
    let (reason, detail) = given.no(&with(&["amd64", "arm64"]));
    assert_eq!(reason, Reason::PlatformMissing);
    assert!(detail.contains("vm (roh8kel), which is linux/armv7l"), "{detail}");
    // Only where the service names platforms are they written.
    assert_eq!(given.plan(&with(&["amd64", "arm"])).platforms, None);
    given.facts.platforms =
        vec![PlacedPlatform { os: "linux".into(), architecture: "amd64".into() }];
    let plan = given.plan(&with(&["amd64", "arm"]));
    let expected = json!([{ "Architecture": "amd64", "OS": "linux" }, { "OS": "linux" }]);
    assert_eq!(plan.platforms, Some(expected));
    // A lone image says nothing, so the platforms of the service count.
    assert_eq!(given.no(&offer("2")).0, Reason::PlatformMissing);
    given.facts.mode = ServiceMode::Replicated(2);
    assert_eq!(given.plan(&offer("2")).platforms, None);
    given.facts.platforms.clear();
    given.facts.mode = ServiceMode::Global;
    assert_eq!(given.plan(&offer("2")).platforms, None, "a lone image on any node");
}

#[test]
fn nodes_that_are_away_are_told_and_hold_nothing() {
    let mut given = Given::of("worker-away");
    given.nodes = look("worker-away").nodes;
    assert_eq!(given.facts.nodes_away(&given.nodes), ["vm (roh8kel) is not reachable"]);
    assert_eq!(given.plan(&offer("2")).to, digest("2"));
    given.node(TABLES[0]).availability = Availability::Pause;
    assert_eq!(given.facts.nodes_away(&given.nodes).len(), 2);
    assert_eq!(given.no(&offer("2")).0, Reason::CannotUpdateService);
    given.node(TABLES[0]).availability = Availability::Drain;
    given.node(TABLES[1]).state = NodeState::Ready;
    assert_eq!(given.facts.nodes_away(&given.nodes), Vec::<String>::new());
}
