//! Which containers wait, and which of the fetched images stay.

use super::*;
use crate::core::decide::offer::LookupError;
use crate::core::decide::tests::{observation, offer};
use crate::core::decide::{Fetch, No};
use crate::core::docker::reference::Digest;

fn no(reason: Reason, opens: Option<DateTime<Utc>>) -> No {
    No { opens, ..No::new(reason, "") }
}

fn held(reason: Reason) -> Decision {
    Decision::No(no(reason, None))
}

fn waits(opens: DateTime<Utc>) -> Decision {
    Decision::No(no(Reason::OutsideWindow, Some(opens)))
}

fn fetch(opens: DateTime<Utc>) -> Decision {
    Decision::Fetch(Box::new(Fetch {
        container_id: "1".into(),
        container: "till".into(),
        reference: "shop/till:stable".parse().expect("a reference"),
        offer: offer("two"),
        waits: no(Reason::OutsideWindow, Some(opens)),
    }))
}

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
}

fn openings(pending: &PendingUpdates) -> Vec<DateTime<Utc>> {
    pending.openings().map(|(_, at)| at).collect()
}

#[test]
fn a_container_waits_for_its_window_until_it_is_decided_again() {
    let mut pending = PendingUpdates::default();
    let till = observation("");
    pending.note(&till, &fetch(at(4)));
    assert_eq!(openings(&pending), [at(4)]);
    pending.note(&till, &waits(at(28)));
    assert_eq!(openings(&pending), [at(28)]);
    pending.note(&till, &held(Reason::RegistryUnreachable));
    assert_eq!(openings(&pending), [at(28)], "an error says nothing about windows");
    pending.note(&till, &held(Reason::RefusedDigest));
    assert!(openings(&pending).is_empty());
    pending.note(&till, &waits(at(28)));
    pending.note(&till, &Decision::UpToDate);
    assert!(openings(&pending).is_empty());
    pending.note(&till, &waits(at(28)));
    pending.retain(&BTreeSet::new());
    assert!(openings(&pending).is_empty());
}

#[test]
fn an_opening_without_an_answer_is_tried_again_a_few_times() {
    let mut pending = PendingUpdates::default();
    pending.wait("till", at(4));
    pending.put_off(at(3));
    assert_eq!(openings(&pending), [at(4)], "its time has not come");
    let mut now = at(4);
    for _ in 0..RETRIES_MAX {
        pending.put_off(now);
        assert_eq!(openings(&pending), [now + RETRY_INTERVAL]);
        now += RETRY_INTERVAL;
    }
    pending.put_off(now);
    assert!(openings(&pending).is_empty());
}

fn ahead(container: &str, image: &Digest) -> PrefetchedImage {
    let name = names::next_name(container, image.as_str());
    PrefetchedImage { name, image_id: image.as_str().to_owned() }
}

/// Which of two images of the till, the newest last, are superseded after this decision.
fn superseded(offered: Offered, decision: Option<&Decision>) -> Vec<PrefetchedImage> {
    let mut pending = PendingUpdates::default();
    let mut till = observation("");
    till.offered = offered;
    if let Some(decision) = decision {
        pending.note(&till, decision);
    }
    let images = vec![ahead("till", &offer("old").config), ahead("till", &offer("two").config)];
    pending.superseded(images, &BTreeSet::from(["till".to_owned()]))
}

#[test]
fn only_the_newest_image_stays() {
    let newest = || Offered::Image(Box::new(offer("two")));
    let digest = || Offered::Digest(offer("two").index);
    let unknown = || Offered::Unknown(LookupError::new(Reason::RegistryUnreachable, "no answer"));
    let refused = held(Reason::RefusedDigest);
    let rows = [
        (newest(), Some(fetch(at(4))), 1),
        (newest(), Some(waits(at(4))), 1),
        (newest(), Some(held(Reason::DiskFull)), 1),
        (newest(), Some(refused.clone()), 2),
        (digest(), Some(refused), 2),
        (newest(), Some(held(Reason::NotifyOnly)), 2),
        (digest(), Some(Decision::UpToDate), 2),
        (unknown(), Some(held(Reason::RegistryUnreachable)), 0),
        (Offered::Unasked, Some(held(Reason::NotRunning)), 0),
        (newest(), None, 0),
    ];
    for (offered, decision, count) in rows {
        let found = superseded(offered.clone(), decision.as_ref());
        assert_eq!(found.len(), count, "{offered:?} {decision:?}");
        if count == 1 {
            assert_eq!(found, [ahead("till", &offer("old").config)]);
        }
    }
}

#[test]
fn on_the_containerd_image_store_an_id_is_an_index_or_a_manifest() {
    let mut pending = PendingUpdates::default();
    pending.note(&observation(""), &waits(at(4)));
    let owners = BTreeSet::from(["till".to_owned()]);
    let two = offer("two");
    let images = vec![ahead("till", &two.index), ahead("till", &two.manifest)];
    assert_eq!(pending.superseded(images, &owners), []);
}

#[test]
fn images_of_containers_that_are_gone_are_superseded() {
    let pending = PendingUpdates::default();
    let owners = BTreeSet::from(["till".to_owned(), "Till".to_owned()]);
    let image = offer("two").config;
    let of = |container: &str| ahead(container, &image);
    let images = vec![of("till"), of("Till"), of("tills"), of("TILL")];
    assert_eq!(pending.superseded(images, &owners), [of("tills"), of("TILL")]);
}
