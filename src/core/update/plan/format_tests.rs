//! Journals that versions before format 3 left open: they were written by such a version.

use serde_json::json;

use super::super::Plan;
use super::*;
use crate::core::decide::tests::plan;
use crate::core::update::{JournalEntry, JournalProgress};

const FORMAT_1: &str = include_str!("../../../../tests/fixtures/journals/format-1.jsonl");
const FORMAT_2: &str = include_str!("../../../../tests/fixtures/journals/format-2.jsonl");

fn read(journal: &str) -> (Header, JournalProgress) {
    let mut lines = journal.lines();
    let header = serde_json::from_str(lines.next().expect("a header")).expect("a header");
    let entries: Vec<JournalEntry> =
        lines.map(|line| serde_json::from_str(line).expect("an entry")).collect();
    (header, JournalProgress::replay(&entries))
}

#[test]
fn a_journal_of_one_container_is_continued() {
    let (header, progress) = read(FORMAT_1);
    assert_eq!((header.version, &header.plan.subject), (1, &Subject::container("till")));
    let names: Vec<_> = header.plan.names().collect();
    assert_eq!(names, ["till"]);
    let (member, update) = header.plan.first_changed().expect("a new image");
    assert_eq!((member.image.as_str(), update.images_keep), ("shop/till:stable", 1));
    assert_eq!(update.from.image_id, header.old_image(0));
    assert_eq!(header.original_of(0)["Id"], member.old_container.as_str());
    assert_eq!(header.tag_before(0), Some("sha256:before"));
    assert_eq!(progress.known.new_image_of(0), Some("sha256:new"));
    assert!(progress.known.has_fetched(0), "the first entry alone tells it");
    assert_eq!(progress.known.new_containers, ["new"]);
}

#[test]
fn a_journal_with_dependents_is_continued() {
    let (header, progress) = read(FORMAT_2);
    assert_eq!(header.version, 2);
    assert_eq!(header.plan.dependent_names(), ["side"]);
    assert_eq!(header.plan.changed().count(), 1);
    assert_eq!(header.old_image(1), "sha256:side");
    assert_eq!((header.tag_before(1), progress.known.new_image_of(1)), (None, None));
    assert_eq!(progress.known.new_container_of(1), Some("new-side"));
}

fn header(plan: Plan) -> Header {
    let recorded = plan.members.iter().map(|_| Recorded::default()).collect();
    Header {
        version: Header::VERSION,
        started_at: DateTime::UNIX_EPOCH,
        boot_id: "boot".into(),
        plan,
        recorded,
        live_restore: true,
    }
}

#[test]
fn what_is_written_is_read() {
    let header = header(plan());
    let written = serde_json::to_value(&header).expect("JSON");
    assert_eq!(written["plan"]["container"], "till");
    assert_eq!(serde_json::from_value::<Header>(written).expect("a header"), header);
}

#[test]
fn a_newer_format_and_a_header_without_its_containers_are_refused() {
    let refused = |change: fn(&mut Value)| {
        let mut written = serde_json::to_value(header(plan())).expect("JSON");
        change(&mut written);
        serde_json::from_value::<Header>(written).expect_err("refused").to_string()
    };
    assert_eq!(refused(|it| it["version"] = json!(4)), "it has format 4");
    let nothing = refused(|it| it["recorded"] = json!([]));
    assert_eq!(nothing, "it plans 1 containers, and records 0");
    let empty = refused(|it| {
        it["plan"]["members"] = json!([]);
        it["recorded"] = json!([]);
    });
    assert_eq!(empty, "it plans 0 containers, and records 0");
    assert!(refused(|it| it["plan"]["id"] = json!(null)).contains("string"));
}
