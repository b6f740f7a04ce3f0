//! What shows that containers with our names are those of an update, if there is no journal.

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::policy::Selection;
use crate::core::recreate::differences::Inspected;
use crate::core::recreate::equivalence::{check_alike, is_named_by_compose};
use crate::core::recreate::restart_policy;

/// What the Engine reports of one container.
#[derive(Debug, Clone)]
pub struct OwnershipEvidence {
    pub document: Value,
    /// The inspect document of its image; null if the image is gone.
    pub image: Value,
    pub selection: Selection,
}

impl OwnershipEvidence {
    fn name(&self) -> &str {
        inspect::name(&self.document)
    }

    const fn inspected(&self) -> Inspected<'_> {
        Inspected { container: &self.document, image: &self.image }
    }
}

/// Whether these containers belong to one update of a service: each is opted in by its own labels,
/// and the replaced container is like its replacement. A single container is recognized only by the
/// name that Compose once gave it.
///
/// # Errors
/// What is missing, in words that name the container.
pub fn check(
    service: &str,
    holder: Option<&OwnershipEvidence>,
    old: Option<&OwnershipEvidence>,
    new: Option<&OwnershipEvidence>,
) -> Result<(), String> {
    for one in [holder, old, new].into_iter().flatten() {
        check_opted_in(one)?;
    }
    match (old, holder, new) {
        (Some(old), None, None) if is_named_by_compose(&old.document, service) => Ok(()),
        (Some(old), None, None) => {
            Err(format!("no container beside {} shows that an update parked it", old.name()))
        }
        (None, None, Some(new)) => {
            Err(format!("no container beside {} shows that an update created it", new.name()))
        }
        (Some(old), ..) => {
            [holder, new].into_iter().flatten().try_for_each(|it| check_pair(old, it))
        }
        (None, Some(holder), Some(new)) => check_pair(holder, new),
        (None, _, None) => Err("there is no container of an update".to_owned()),
    }
}

fn check_opted_in(one: &OwnershipEvidence) -> Result<(), String> {
    let name = one.name();
    match &one.selection {
        Selection::OptedOut => return Err(format!("{name} is not opted in by a label")),
        Selection::BadLabels(_) => return Err(format!("the labels of {name} are wrong")),
        Selection::Watched(_) => {}
    }
    if !one.image.is_object() {
        return Err(format!("the image of {name} is gone"));
    }
    let policy = restart_policy(&one.document);
    policy.map(|_| ()).map_err(|error| format!("{name}: {error}"))
}

fn check_pair(before: &OwnershipEvidence, after: &OwnershipEvidence) -> Result<(), String> {
    check_alike(before.inspected(), after.inspected())
        .map_err(|path| format!("{} and {} differ in {path}", before.name(), after.name()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::core::policy::{Policy, PolicyDefaults};
    use crate::core::time::window::Windows;

    fn evidence(name: &str, labels: &[(&str, &str)]) -> OwnershipEvidence {
        let defaults = PolicyDefaults {
            opt_in: true,
            update_window: Windows::always(),
            health_timeout: Duration::from_secs(60),
            health_stable: Duration::from_secs(30),
            images_keep: 1,
            watchtower: None,
            trusts_image_labels: false,
            deployments: std::sync::Arc::default(),
        };
        let labels: BTreeMap<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        OwnershipEvidence {
            selection: Policy::from_labels(&labels, &defaults),
            document: json!({
                "Id": "1111111111111111",
                "Name": format!("/{name}"),
                "Config": { "Labels": labels },
                "HostConfig": { "RestartPolicy": { "Name": "no" } },
            }),
            image: json!({ "Config": {} }),
        }
    }

    const WATCHED: [(&str, &str); 1] = [("pilotfish.enable", "true")];

    #[test]
    fn each_of_them_is_opted_in_by_its_own_label() {
        let ours = |name| evidence(name, &WATCHED);
        let (till, old, new) =
            (ours("till"), ours("pilotfish-old-till"), ours("pilotfish-new-till"));
        assert_eq!(check("till", Some(&till), Some(&old), None), Ok(()));
        assert_eq!(check("till", Some(&till), None, Some(&new)), Ok(()));
        assert_eq!(check("till", None, Some(&old), Some(&new)), Ok(()));
        for labels in [&[][..], &[("pilotfish.enable", "false")], &[("pilotfish.mode", "update")]] {
            let strange = evidence("pilotfish-old-till", labels);
            let why = check("till", Some(&till), Some(&strange), None);
            assert_eq!(why, Err("pilotfish-old-till is not opted in by a label".to_owned()));
            let holder = evidence("till", labels);
            assert!(check("till", Some(&holder), Some(&old), None).is_err());
            assert!(check("till", Some(&holder), None, Some(&new)).is_err());
        }
    }

    #[test]
    fn one_that_stands_alone_is_not_known_by_its_name() {
        let old = evidence("pilotfish-old-till", &WATCHED);
        assert!(check("till", None, Some(&old), None).is_err());
        let new = evidence("pilotfish-new-till", &WATCHED);
        assert!(check("till", None, None, Some(&new)).is_err());
        let compose = [
            WATCHED[0],
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "till"),
            ("com.docker.compose.container-number", "1"),
        ];
        let old = evidence("pilotfish-old-shop-till-1", &compose);
        assert_eq!(check("shop-till-1", None, Some(&old), None), Ok(()));
    }

    #[test]
    fn what_cannot_be_compared_is_not_proved() {
        let till = evidence("till", &WATCHED);
        let bare =
            OwnershipEvidence { image: Value::Null, ..evidence("pilotfish-old-till", &WATCHED) };
        let why = check("till", Some(&till), Some(&bare), None);
        assert_eq!(why, Err("the image of pilotfish-old-till is gone".to_owned()));
    }
}
