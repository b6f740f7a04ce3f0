//! Output for people, compared as a whole.

use std::time::Duration;

use pilotfish::agent::RoundEnd;
use pilotfish::core::decide::report::Report;
use pilotfish::core::policy::group::Meanwhile;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::history::Outcome;
use pilotfish::core::update::plan::{ChangeOutline, JobOutline, Outline, Strategy};
use pilotfish::documents::{
    CheckDocument, HistoryDocument, PlanRow, RoundDocument, ServicePlanRow, UpdateRow,
};
use pilotfish::output::{
    Screen, check, check_json, dry_run, dry_run_json, history, history_json, update_summary,
};
use serde_json::Value;

use crate::fixtures::{berlin, digest, no, record, records, report, reports, rows, time};
use crate::golden::{compare, compare_within};

const fn screen(width: usize) -> Screen {
    Screen { width: Some(width), colour: false }
}

#[test]
fn check_into_a_pipe_has_full_width() {
    compare("check-pipe", &check(&rows(&reports()), Screen::NONE));
}

#[test]
fn check_fits_every_terminal() {
    for width in [120, 80, 60, 40] {
        compare_within(&format!("check-{width}"), &check(&rows(&reports()), screen(width)), width);
    }
}

#[test]
fn check_with_colour_says_the_same() {
    let colourful = check(&rows(&reports()), Screen { width: Some(120), colour: true });
    compare("check-colour", &colourful);
    let mut plain = colourful;
    for code in ["0", "1", "2", "31", "32", "33", "36"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, check(&rows(&reports()), screen(120)));
}

#[test]
fn check_has_singular_and_zero_forms() {
    let one = [report("till", "shop/till:1", "one", Some("one"))];
    assert!(check(&rows(&one), Screen::NONE).ends_with("\n1 container: 1 up to date\n"));
    assert_eq!(
        check(&[], Screen::NONE),
        "No container is watched. Start one with the label pilotfish.enable=true.\n"
    );
}

#[test]
fn check_shows_text_from_others_on_one_line() {
    use pilotfish::core::decide::reason::Reason;
    let hostile = no(
        report("till", "evil\x1b[2J:1", "one", None),
        Reason::RegistryError,
        "the registry said\r\n\x1b]0;owned\x07 200",
    );
    let page = check(&rows(&[hostile]), Screen::NONE);
    assert!(!page.contains(['\x1b', '\r', '\x07']), "{page:?}");
    assert!(page.contains(r"the registry said\r\n\u{1b}]0;owned\u{7} 200"), "{page}");
}

#[test]
fn check_for_scripts_is_the_documented_document() {
    let checked_at = time("2026-11-20T12:00:00.123456789Z");
    let end = RoundEnd { checked_at, reports: reports(), ..RoundEnd::default() };
    let page = check_json(&CheckDocument::from(&end)).expect("JSON");
    compare("check-json", &page);
    let document: Value = serde_json::from_str(&page).expect("JSON");
    let fields: Vec<_> =
        document["containers"][0].as_object().expect("an object").keys().cloned().collect();
    let mut documented =
        ["container", "image", "running", "offered", "verdict", "reason", "detail", "advice"];
    documented.sort_unstable();
    assert_eq!(fields, documented);
    assert_eq!(document["containers"][0]["running"], digest("till-1").as_str());
    assert_eq!(document["containers"][0]["reason"], Value::Null);
    assert_eq!(
        serde_json::from_str::<CheckDocument>(&page).expect("a check"),
        CheckDocument::from(&end)
    );
}

fn updates() -> Vec<UpdateRow> {
    HistoryDocument::from(records().as_slice()).updates
}

#[test]
fn history_into_a_pipe_has_full_width() {
    compare("history-pipe", &history(&updates(), None, &berlin(), Screen::NONE));
}

#[test]
fn history_fits_every_terminal() {
    for width in [100, 80, 50] {
        let page = history(&updates(), None, &berlin(), screen(width));
        compare_within(&format!("history-{width}"), &page, width);
    }
}

#[test]
fn history_before_the_first_update_says_so() {
    assert_eq!(history(&[], None, &berlin(), Screen::NONE), "No update has been tried yet.\n");
    let of_web = history(&[], Some("web"), &berlin(), Screen::NONE);
    assert_eq!(of_web, "No update of web has been tried yet.\n");
}

#[test]
fn history_for_scripts_is_the_documented_document() {
    let page = history_json(&HistoryDocument::from(records().as_slice())).expect("JSON");
    compare("history-json", &page);
    let document: Value = serde_json::from_str(&page).expect("JSON");
    let fields: Vec<_> =
        document["updates"][0].as_object().expect("an object").keys().cloned().collect();
    let mut documented = [
        "id",
        "container",
        "image",
        "from",
        "to",
        "started_at",
        "finished_at",
        "outcome",
        "tries",
        "reason",
        "gap_seconds",
        "log",
    ];
    documented.sort_unstable();
    assert_eq!(fields, documented);
}

#[test]
fn an_update_ends_with_the_result_of_every_container() {
    let mut failed = record("web", Outcome::RolledBack, Some("exited with code 1"));
    failed.gap_seconds = Some(1.25);
    compare_within(
        "update",
        &update_summary(&[UpdateRow::from(&failed)], &rows(&reports()), screen(80)),
        80,
    );
    assert_eq!(update_summary(&[], &[], Screen::NONE), "No container is watched.\n");
}

#[test]
fn a_dry_run_shows_the_steps_and_hides_the_environment() {
    let plan = plan();
    let plans = PlanRow::all_of(&Outline::of(&plan));
    let page = dry_run(&dry_round(reports(), plans, Vec::new()), screen(80));
    assert!(!page.contains("hunter2"), "{page}");
    compare_within("dry-run", &page, 80);
}

#[test]
fn a_dry_run_shows_the_order_of_a_group_with_a_job() {
    let change = |name: &str, image: &str| ChangeOutline {
        container: name.to_owned(),
        image: image.to_owned(),
        from: Some(digest(&format!("{image}-1"))),
        to: digest(&format!("{image}-2")),
        layers: 3,
        bytes: 12_300_000,
        stop_timeout: Duration::from_secs(10),
        stop_signal: None,
        images_keep: 1,
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let group = |name: &str, meanwhile| Outline {
        subject: Subject::group(name),
        jobs: vec![JobOutline {
            container: "shop_migrate_1".to_owned(),
            timeout: Duration::from_secs(600),
            meanwhile,
        }],
        strategy: Strategy::StopFirst,
        hooks: names(&["shop_db_1"]),
        starts: names(&["shop_api_1", "shop_log_1", "shop_web_1"]),
        dependents: names(&["shop_log_1"]),
        changes: vec![
            change("shop_migrate_1", "shop/api:latest"),
            change("shop_api_1", "shop/api:latest"),
            change("shop_web_1", "shop/web:latest"),
        ],
    };
    let alone = Outline {
        subject: Subject::container("kiosk"),
        strategy: Strategy::StartFirst { drain: Duration::from_secs(15) },
        hooks: names(&["kiosk"]),
        jobs: Vec::new(),
        starts: names(&["kiosk"]),
        dependents: Vec::new(),
        changes: vec![change("kiosk", "kiosk:latest")],
    };
    let outlines =
        vec![group("shop", Meanwhile::Serving), group("other", Meanwhile::Stopped), alone];
    let end = RoundEnd { outlines, ..RoundEnd::default() };
    let round = RoundDocument::from(&end);
    compare_within("dry-run-group", &dry_run(&round, screen(80)), 80);
    compare("dry-run-group-json", &dry_run_json(&round).expect("JSON"));
}

#[test]
fn a_dry_run_shows_how_swarm_would_go_from_task_to_task() {
    let row = |name: &str, swarm_goes_back, parallelism| ServicePlanRow {
        subject: Subject::service(name),
        image: "registry.example:5000/tableservice:latest".to_owned(),
        from: digest("table-1"),
        to: digest("table-2"),
        nodes: vec!["table-1 (d57hk19)".to_owned(), "table-2 (w1tikdk)".to_owned()],
        order: "stop-first".to_owned(),
        parallelism,
        delay: Duration::from_secs(30),
        stable: Duration::from_secs(30),
        swarm_goes_back,
    };
    let offered = |name: &str| {
        let from = Some(digest("table-1"));
        let to = Some(digest("table-2"));
        let image = "registry.example:5000/tableservice:latest";
        Report::of_digests(Subject::service(name), image, from, to).with_update()
    };
    let plans = vec![row("tableservice", true, 1), row("unpinned", false, 0)];
    let round = dry_round(vec![offered("tableservice"), offered("unpinned")], Vec::new(), plans);
    compare_within("dry-run-service", &dry_run(&round, screen(80)), 80);
}

fn dry_round(
    reports: Vec<Report>,
    plans: Vec<PlanRow>,
    service_plans: Vec<ServicePlanRow>,
) -> RoundDocument {
    let end = RoundEnd { reports, ..RoundEnd::default() };
    RoundDocument { plans, service_plans, ..RoundDocument::from(&end) }
}

fn plan() -> pilotfish::core::update::plan::Plan {
    let layer = |seed: &str, size: u64| serde_json::json!({"digest": digest(seed), "size": size});
    let update = serde_json::json!({
        "reference": {
            "registry": "docker.io", "repository": "library/nginx", "tag": "1.27", "digest": null
        },
        "from": {"image_id": "sha256:1", "digest": digest("web-1"), "digests": []},
        "to": {
            "index": digest("web-2"), "manifest": digest("m"), "config": digest("c"),
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
            "layers": [layer("a", 30_000_000), layer("b", 4_200_000)],
            "diff_ids": [],
        },
        "images_keep": 1,
    });
    let member = serde_json::json!({
        "container": "web", "old_container": "0a", "image": "nginx:1.27",
        "change": {"to": update},
        "recreation": {"body": {"Env": ["PASSWORD=hunter2"]}, "connect": [], "platform": null},
        "restart_policy": {"Name": "always", "MaximumRetryCount": 0},
        "health": {
            "timeout": null, "default_timeout": {"secs": 60, "nanos": 0},
            "stable": {"secs": 30, "nanos": 0}, "probe": null
        },
        "stop_timeout": {"secs": 10, "nanos": 0},
    });
    let plan = serde_json::json!({"id": "1", "container": "web", "members": [member]});
    serde_json::from_value(plan).expect("a plan")
}
