//! Every field of the public JSON stands in its page, and the page has no field that the program
//! does not write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::DateTime;
use pilotfish::agent::RoundEnd;
use pilotfish::core::decide::report::Verdict;
use pilotfish::core::decide::snapshot::Snapshot;
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::policy::group::Meanwhile;
use pilotfish::core::policy::own_labels::IgnoredFor;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::history::{DataState, GroupRecord, JobRecord, MemberRecord, Outcome};
use pilotfish::documents::{
    CheckDocument, ContainerRow, FleetDocument, GroupPlanRow, HistoryDocument, IgnoredLabelsRow,
    InFlightRow, JobRow, MirrorDocument, MirrorFailure, MirrorOutcome, MirrorRuleRow, MirrorTagRow,
    PlanRow, RoundDocument, ServicePlanRow, StatusDocument, UpdateRow,
};

use crate::documented::compare;
use crate::source_tree::{assert_none, file};

/// A fleet with everything in it.
fn fleet() -> FleetDocument {
    let rest = serde_json::json!({
        "fleet": "", "missing": 0, "ignored": 0,
        "stop": {"references": [], "why": null, "by": null},
        "devices": [{
            "device": "", "online": null, "version": null, "last_check": null, "error": null,
            "containers": [{"container": "", "image": "", "verdict": "update", "busy": false}],
        }],
        "rollouts": [{
            "reference": "", "digest": format!("sha256:{}", "0".repeat(64)), "runs": 0,
            "updating": 0, "waiting": 0, "refused": 0, "ok": 0, "bad": 0, "stopped": false,
        }],
    });
    serde_json::from_value(rest).unwrap_or_else(|error| panic!("{error}"))
}

/// A run of a mirror with one rule, whose tag failed.
fn mirror() -> MirrorDocument {
    let failure = || {
        Some(MirrorFailure { reason: String::new(), detail: String::new(), advice: String::new() })
    };
    let tag = MirrorTagRow {
        tag: String::new(),
        outcome: MirrorOutcome::Failed,
        digest: None,
        is_whole: true,
        missing_bytes: None,
        pulls: None,
        failure: failure(),
    };
    let rule = MirrorRuleRow {
        rule: String::new(),
        from: String::new(),
        to: String::new(),
        tags: vec![tag],
        deleted: Vec::new(),
        failure: failure(),
    };
    MirrorDocument::new(DateTime::UNIX_EPOCH, vec![rule], &BTreeMap::new())
}

/// An update with everything in it.
fn update() -> UpdateRow {
    UpdateRow {
        by: Some(String::new()),
        id: String::new(),
        subject: Subject::container(""),
        image: String::new(),
        from: None,
        to: None,
        started_at: DateTime::UNIX_EPOCH,
        finished_at: DateTime::UNIX_EPOCH,
        outcome: Outcome::Updated,
        tries: 1,
        reason: None,
        gap_seconds: None,
        log: Vec::new(),
        dependents: vec![String::new()],
        group: GroupRecord {
            members: vec![MemberRecord {
                container: String::new(),
                image: String::new(),
                from: None,
                to: None,
            }],
            jobs: vec![JobRecord {
                container: String::new(),
                runs: 1,
                exit_code: None,
                log: vec![String::new()],
            }],
            data: Some(DataState::Maybe),
        },
    }
}

fn plan_of_a_container(digest: &Digest) -> PlanRow {
    PlanRow {
        container: String::new(),
        group: Some(String::new()),
        image: String::new(),
        from: None,
        to: digest.clone(),
        layers: 0,
        bytes: 0,
        order: String::new(),
        drain: Duration::ZERO,
        stop_timeout: Duration::ZERO,
        stop_signal: Some(String::new()),
        images_keep: 0,
        hooks: vec![String::new()],
        dependents: vec![String::new()],
    }
}

fn plan_of_a_service(digest: &Digest) -> ServicePlanRow {
    ServicePlanRow {
        subject: Subject::service(""),
        image: String::new(),
        from: digest.clone(),
        to: digest.clone(),
        nodes: Vec::new(),
        order: String::new(),
        parallelism: 0,
        delay: Duration::ZERO,
        stable: Duration::ZERO,
        swarm_goes_back: true,
    }
}

/// A dry run with everything in it.
fn dry_run() -> RoundDocument {
    let job =
        JobRow { container: String::new(), timeout: Duration::ZERO, meanwhile: Meanwhile::Serving };
    let group = GroupPlanRow {
        group: String::new(),
        hooks: Vec::new(),
        jobs: vec![job],
        starts: Vec::new(),
    };
    let digest = Digest::of(b"");
    RoundDocument {
        plans: vec![plan_of_a_container(&digest)],
        group_plans: vec![group],
        service_plans: vec![plan_of_a_service(&digest)],
        ..RoundDocument::from(&RoundEnd::default())
    }
}

/// Field names as serde writes them, from documents with everything in them.
fn fields_of_the_json() -> BTreeSet<String> {
    let row = ContainerRow {
        subject: Subject::container(""),
        image: String::new(),
        running: None,
        offered: None,
        verdict: Verdict::UpToDate,
        reason: None,
        detail: None,
        advice: None,
        no_rollback: Some(String::new()),
        drops: vec![String::new()],
    };
    let ignored_labels = IgnoredLabelsRow {
        container: String::new(),
        labels: BTreeMap::new(),
        watched: false,
        because: IgnoredFor::OwnHook,
    };
    let update = update();
    let in_flight = InFlightRow { subject: Subject::container(""), step: None };
    let fleet = fleet();
    let mirror = mirror();
    let dry_run = dry_run();
    let frame = CheckDocument {
        checked_at: DateTime::UNIX_EPOCH,
        containers: Vec::new(),
        ignored_labels: Vec::new(),
    };
    let frames = [
        serde_json::to_value(frame),
        serde_json::to_value(HistoryDocument { updates: Vec::new() }),
        serde_json::to_value(StatusDocument::new("", 0, &Snapshot::default())),
        serde_json::to_value(&fleet),
        serde_json::to_value(&fleet.stop),
        serde_json::to_value(&mirror),
        serde_json::to_value(&dry_run),
    ];
    let rows = [
        serde_json::to_value(row),
        serde_json::to_value(ignored_labels),
        serde_json::to_value(update),
        serde_json::to_value(in_flight),
        serde_json::to_value(&fleet.devices[0]),
        serde_json::to_value(&fleet.devices[0].containers[0]),
        serde_json::to_value(&fleet.rollouts[0]),
        serde_json::to_value(&mirror.rules[0]),
        serde_json::to_value(&mirror.rules[0].tags[0]),
        serde_json::to_value(&dry_run.plans[0]),
        serde_json::to_value(&dry_run.group_plans[0]),
        serde_json::to_value(&dry_run.group_plans[0].jobs[0]),
        serde_json::to_value(&dry_run.service_plans[0]),
    ];
    let fields = |document: serde_json::Value| document.as_object().cloned().unwrap_or_default();
    let documents = frames.into_iter().chain(rows).filter_map(Result::ok);
    documents.flat_map(|document| fields(document).into_iter().map(|(name, _)| name)).collect()
}

#[test]
fn every_field_of_the_json_is_explained() {
    let fields = fields_of_the_json();
    assert_none(&compare(&file("docs/json.md"), fields.iter().map(String::as_str)));
}
