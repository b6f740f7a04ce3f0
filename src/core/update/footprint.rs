//! What a running update needs exclusively. Two updates run at the same time only if neither can
//! change what the other relies on.

use std::collections::BTreeSet;

use crate::core::docker::reference::{Digest, Reference};
use crate::core::update::plan::Plan;

/// What an update, or another action on a container, needs exclusively.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The names of the containers that it may stop, rename, create or remove.
    pub containers: BTreeSet<String>,
    /// The local tags that it may move, and the images that it may tag, pull or remove: the local
    /// tags of the containers that get a new image, and the digests of the images before and after.
    images: BTreeSet<String>,
}

impl Footprint {
    /// The footprint of an update.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut footprint = Self::of_containers(plan.names().map(str::to_owned));
        for (_, _, update) in plan.changed() {
            let digests = [&update.to.manifest, &update.to.config];
            footprint.images.extend(Self::of_image(&update.reference, digests).images);
            footprint.images.insert(update.from.image_id.clone());
        }
        footprint
    }

    /// The footprint of a pull that touches no container: `digests` identify the image.
    #[must_use]
    pub fn of_image<'a>(
        reference: &Reference,
        digests: impl IntoIterator<Item = &'a Digest>,
    ) -> Self {
        let tag = reference.tag.as_deref().unwrap_or_default();
        let mut images = BTreeSet::from([format!("{}:{tag}", reference.full_name())]);
        images.extend(digests.into_iter().map(ToString::to_string));
        Self { containers: BTreeSet::new(), images }
    }

    /// The footprint of an action on these containers that touches no image.
    #[must_use]
    pub fn of_containers(names: impl IntoIterator<Item = String>) -> Self {
        Self { containers: names.into_iter().collect(), images: BTreeSet::new() }
    }

    /// The same with one more container.
    #[must_use]
    pub fn with_container(mut self, name: &str) -> Self {
        self.containers.insert(name.to_owned());
        self
    }

    /// Whether the two must run one after the other. Containers that depend on each other are
    /// members of one plan, so a common member is enough to detect that.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        !self.containers.is_disjoint(&other.containers) || !self.images.is_disjoint(&other.images)
    }
}

/// Things that conflict with each other, each with its position in the given order.
struct Group<T> {
    footprints: Vec<Footprint>,
    things: Vec<(usize, T)>,
}

/// Sorts things into groups: conflicting things are in one group, in the given order. The groups
/// can run at the same time.
#[must_use]
pub fn side_by_side<T>(things: Vec<T>, footprint: impl Fn(&T) -> Footprint) -> Vec<Vec<T>> {
    let mut groups: Vec<Group<T>> = Vec::new();
    for (place, thing) in things.into_iter().enumerate() {
        let mut group = Group { footprints: vec![footprint(&thing)], things: vec![(place, thing)] };
        let own = group.footprints[0].clone();
        let touches =
            |other: &Group<T>| other.footprints.iter().any(|other| other.conflicts_with(&own));
        let (touched, apart) = groups.into_iter().partition::<Vec<_>, _>(touches);
        for other in touched {
            group.footprints.extend(other.footprints);
            group.things.extend(other.things);
        }
        groups = apart;
        groups.push(group);
    }
    let in_order = |mut group: Group<T>| {
        group.things.sort_by_key(|(place, _)| *place);
        group.things.into_iter().map(|(_, thing)| thing).collect()
    };
    groups.into_iter().map(in_order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(containers: &[&str], reference: &str, digests: &[&str]) -> Footprint {
        let reference: Reference = reference.parse().expect("a reference");
        let digests: Vec<_> = digests.iter().map(|text| Digest::of(text.as_bytes())).collect();
        let footprint = Footprint::of_image(&reference, &digests);
        containers.iter().fold(footprint, |footprint, name| footprint.with_container(name))
    }

    /// What two updates have in common, and whether they must run one after the other.
    #[test]
    fn updates_that_share_nothing_run_side_by_side() {
        let till = act(&["till"], "registry:5000/till:v1", &["till 2"]);
        for (what, other, expected) in [
            ("nothing", act(&["web"], "registry:5000/web:v1", &["web 2"]), false),
            ("the container", act(&["till"], "registry:5000/web:v1", &["web 2"]), true),
            ("a dependent", act(&["web", "till"], "registry:5000/web:v1", &["web 2"]), true),
            ("the local tag", act(&["till2"], "registry:5000/till:v1", &["till 3"]), true),
            ("the repository", act(&["till2"], "registry:5000/till:v2", &["till 3"]), false),
            ("the image", act(&["till2"], "registry:5000/till:v2", &["till 2"]), true),
        ] {
            assert_eq!(till.conflicts_with(&other), expected, "{what}");
            assert_eq!(other.conflicts_with(&till), expected, "{what}, the other way round");
        }
    }

    #[test]
    fn what_conflicts_is_in_one_group_in_its_order() {
        let things = vec![
            act(&["till"], "till", &["1"]),
            act(&["web"], "web", &["2"]),
            act(&["till"], "kiosk", &["3"]),
            act(&["door"], "door", &["4"]),
            act(&["web", "till"], "lamp", &["5"]),
        ];
        let numbered: Vec<_> = things.into_iter().enumerate().collect();
        let groups = side_by_side(numbered, |(_, footprint)| footprint.clone());
        let numbers = |group: Vec<(usize, Footprint)>| group.into_iter().map(|(it, _)| it);
        let groups: Vec<Vec<_>> = groups.into_iter().map(|it| numbers(it).collect()).collect();
        assert_eq!(groups, [vec![3], vec![0, 1, 2, 4]]);
    }

    #[test]
    fn an_act_on_containers_alone_conflicts_by_their_names() {
        let till = act(&["till"], "till", &["2"]);
        assert!(till.conflicts_with(&Footprint::of_containers(["till".to_owned()])));
        assert!(!till.conflicts_with(&Footprint::of_containers(["web".to_owned()])));
        assert!(!till.conflicts_with(&Footprint::default()));
    }
}
