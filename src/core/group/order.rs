//! The order in which the members of a group start: each after those it depends on.

use crate::core::group::dependency::Dependency;
use crate::core::policy::group::Membership;

/// A member, as far as the order needs it.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The name of its container.
    pub name: &'a str,
    /// The name of its service in the Compose project.
    pub service: Option<&'a str>,
    pub depends_on: &'a [Dependency],
}

impl<'a> Node<'a> {
    /// The node of a container with this membership.
    #[must_use]
    pub fn of(name: &'a str, membership: &'a Membership) -> Self {
        Self { name, service: membership.service.as_deref(), depends_on: &membership.depends_on }
    }

    /// Whether a dependency means this member. Several containers of one service are all meant.
    #[must_use]
    pub fn is_meant_by(&self, dependency: &Dependency) -> bool {
        self.service == Some(dependency.on.as_str()) || self.name == dependency.on
    }
}

/// Members that depend on each other, so that none of them can start first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("they depend on each other: {}", .0.join(" → "))]
pub struct Circle(pub Vec<String>);

/// The positions of the members in the order of their starts. Members that are free of each other
/// keep their order. A dependency on a container outside of the group is ignored. `ties` are
/// further pairs: the first depends on the second.
///
/// # Errors
/// Names the members of a circle.
pub fn start_order(nodes: &[Node<'_>], ties: &[(usize, usize)]) -> Result<Vec<usize>, Circle> {
    let needs: Vec<Vec<usize>> = (0..nodes.len()).map(|it| needed_by(nodes, ties, it)).collect();
    let mut order: Vec<usize> = Vec::new();
    while order.len() < nodes.len() {
        let is_ready = |it: &usize| needs[*it].iter().all(|needed| order.contains(needed));
        let next = (0..nodes.len()).filter(|it| !order.contains(it)).find(is_ready);
        match next {
            Some(next) => order.push(next),
            None => return Err(circle(nodes, &needs, &order)),
        }
    }
    Ok(order)
}

fn needed_by(nodes: &[Node<'_>], ties: &[(usize, usize)], number: usize) -> Vec<usize> {
    let is_needed = |other: &usize| {
        let by_name = nodes[number].depends_on.iter().any(|it| nodes[*other].is_meant_by(it));
        *other != number && (by_name || ties.contains(&(number, *other)))
    };
    (0..nodes.len()).filter(is_needed).collect()
}

/// Walks from a member that cannot start to one that it waits for, until a member comes again.
fn circle(nodes: &[Node<'_>], needs: &[Vec<usize>], ready: &[usize]) -> Circle {
    let waits_for = |it: usize| needs[it].iter().copied().find(|needed| !ready.contains(needed));
    let mut path: Vec<usize> =
        (0..nodes.len()).find(|it| !ready.contains(it)).into_iter().collect();
    while let Some(next) = path.last().and_then(|last| waits_for(*last)) {
        if let Some(begin) = path.iter().position(|it| *it == next) {
            path.drain(..begin);
            path.push(next);
            break;
        }
        path.push(next);
    }
    Circle(path.into_iter().map(|it| nodes[it].name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::group::dependency::Condition;

    /// `api: db cache` as a node with two dependencies.
    fn order(lines: &[&str], ties: &[(usize, usize)]) -> Result<Vec<String>, String> {
        let parsed: Vec<(String, Vec<Dependency>)> = lines
            .iter()
            .map(|line| {
                let (name, on) = line.split_once(':').expect("a colon");
                let on = on.split_whitespace().map(|on| Dependency {
                    on: on.to_owned(),
                    condition: Condition::Started,
                    restarts: false,
                });
                (name.to_owned(), on.collect())
            })
            .collect();
        let nodes: Vec<_> = parsed
            .iter()
            .map(|(name, depends_on)| Node {
                name,
                service: name.strip_prefix("shop-").and_then(|it| it.strip_suffix("-1")),
                depends_on,
            })
            .collect();
        let order = start_order(&nodes, ties).map_err(|circle| circle.to_string())?;
        Ok(order.into_iter().map(|it| nodes[it].name.to_owned()).collect())
    }

    fn names(words: &[&str]) -> Result<Vec<String>, String> {
        Ok(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn each_member_starts_after_those_it_depends_on() {
        assert_eq!(
            order(&["api: db migrate", "db:", "migrate: db", "web: api"], &[]),
            names(&["db", "migrate", "api", "web"])
        );
        assert_eq!(order(&["c:", "b:", "a:"], &[]), names(&["c", "b", "a"]));
        assert_eq!(order(&["api: elsewhere", "db:"], &[]), names(&["api", "db"]));
        assert_eq!(order(&["api: api", "db:"], &[]), names(&["api", "db"]));
        // By the name of the service, and by a tie.
        assert_eq!(
            order(&["shop-api-1: db", "shop-db-1:"], &[]),
            names(&["shop-db-1", "shop-api-1"])
        );
        assert_eq!(order(&["torrent:", "vpn:"], &[(0, 1)]), names(&["vpn", "torrent"]));
    }

    #[test]
    fn a_circle_is_named() {
        let circle = order(&["db:", "web: api", "api: queue", "queue: api"], &[]);
        assert_eq!(circle, Err("they depend on each other: api → queue → api".to_owned()));
        assert_eq!(
            order(&["a: b", "b:"], &[(1, 0)]),
            Err("they depend on each other: a → b → a".to_owned())
        );
    }
}
