//! Who may do what with which deployment.

use std::collections::BTreeSet;

use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::push::client::{ClientPattern, PushClient};

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushAct {
    /// Push an image, and ask which layers it may leave out.
    Load,
    Start,
    Stop,
    Restart,
    Rollback,
    /// Forget refused images.
    Allow,
    /// See the state and the log.
    Read,
}

impl PushAct {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Load,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Rollback,
        Self::Allow,
        Self::Read,
    ];

    /// The word in the configuration, in the audit and in the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Rollback => "rollback",
            Self::Allow => "allow",
            Self::Read => "read",
        }
    }
}

/// The deployments of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermittedNames {
    /// Also those that do not exist, so that such a client is told so.
    All,
    These(BTreeSet<String>),
}

/// One rule, `[[push.allow]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub client: ClientPattern,
    pub names: PermittedNames,
    pub acts: Vec<PushAct>,
}

/// All rules. Without a rule nothing is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(pub Vec<Permission>);

impl Permissions {
    /// Whether a client may do this with a deployment of that name.
    ///
    /// # Errors
    /// `not_allowed`, which is the same for a name that exists and for one that does not; or
    /// `no_such_deployment`, for a client that may do it with all of them.
    pub fn check(
        &self,
        client: &PushClient,
        act: PushAct,
        name: &str,
        exists: bool,
    ) -> Result<(), PushRefusal> {
        let rules = || self.of(client, act);
        let is_named = |rule: &Permission| match &rule.names {
            PermittedNames::All => true,
            PermittedNames::These(names) => names.contains(name),
        };
        match (rules().any(is_named), exists) {
            (true, true) => Ok(()),
            (true, false) if rules().any(|rule| rule.names == PermittedNames::All) => {
                Err(PushRefusal::no_such_deployment(name))
            }
            _ => Err(not_allowed(client, act)),
        }
    }

    /// Which of these names a client may see.
    pub fn readable<'a>(
        &self,
        client: &PushClient,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let is_readable = |name: &&str| self.check(client, PushAct::Read, name, true).is_ok();
        names.filter(is_readable).map(str::to_owned).collect()
    }

    /// Whether a rule knows this client at all.
    #[must_use]
    pub fn know(&self, client: &PushClient) -> bool {
        self.0.iter().any(|rule| rule.client.matches(client))
    }

    /// Whether a rule names a client by its serial number, which only one authority gives once.
    #[must_use]
    pub fn use_serials(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.client, ClientPattern::Serial(_)))
    }

    fn of<'a>(
        &'a self,
        client: &'a PushClient,
        act: PushAct,
    ) -> impl Iterator<Item = &'a Permission> {
        self.0.iter().filter(move |rule| rule.acts.contains(&act) && rule.client.matches(client))
    }
}

/// A client without a rule for this act on this name.
fn not_allowed(client: &PushClient, act: PushAct) -> PushRefusal {
    let (act, name) = (act.word(), client.name());
    let detail = format!(
        "no [[push.allow]] lets {name} {act} a deployment of this name; it also has \
         serial:{} and sha256:{}",
        client.serial, client.fingerprint
    );
    PushRefusal::new(RefusalWord::NotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(client: &str, names: &[&str], acts: &[PushAct]) -> Permission {
        let these = names.iter().map(|&name| name.to_owned()).collect();
        let names = if names == ["*"] { PermittedNames::All } else { PermittedNames::These(these) };
        Permission { client: client.parse().expect("a pattern"), names, acts: acts.to_vec() }
    }

    fn client(uri: &str) -> PushClient {
        PushClient { uris: vec![uri.to_owned()], ..PushClient::new(&[1], &[2]) }
    }

    fn answer(rules: &Permissions, uri: &str, act: PushAct, name: &str) -> Result<(), String> {
        let exists = ["till", "web"].contains(&name);
        rules.check(&client(uri), act, name, exists).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_may_do_what_a_rule_says_and_nothing_else() {
        let rules = Permissions(vec![
            rule("uri:a", &["till"], &[PushAct::Load, PushAct::Restart]),
            rule("uri:a", &["web"], &[PushAct::Read]),
            rule("uri:b", &["*"], &PushAct::ALL),
        ]);
        for (uri, act, name, expected) in [
            ("a", PushAct::Load, "till", ""),
            ("a", PushAct::Restart, "till", ""),
            ("a", PushAct::Read, "till", "not_allowed"),
            ("a", PushAct::Load, "web", "not_allowed"),
            ("a", PushAct::Load, "none", "not_allowed"),
            ("a", PushAct::Load, "Till", "not_allowed"),
            ("b", PushAct::Allow, "web", ""),
            ("b", PushAct::Load, "none", "no_such_deployment"),
            ("c", PushAct::Load, "till", "not_allowed"),
            ("c", PushAct::Load, "none", "not_allowed"),
        ] {
            let word = answer(&rules, uri, act, name).err().unwrap_or_default();
            let word = word.split(':').next().unwrap_or_default();
            assert_eq!(word, expected, "{uri} {act:?} {name}");
        }
        assert_eq!(rules.readable(&client("a"), ["till", "web"].into_iter()), ["web"]);
        assert_eq!(rules.readable(&client("b"), ["till", "web"].into_iter()), ["till", "web"]);
        assert!(rules.know(&client("a")) && !rules.know(&client("c")));
    }

    #[test]
    fn a_name_that_exists_and_one_that_does_not_get_the_same_answer() {
        let rules = Permissions(vec![rule("uri:a", &["till", "gone"], &[PushAct::Load])]);
        for act in PushAct::ALL {
            assert_eq!(answer(&rules, "c", act, "till"), answer(&rules, "c", act, "none"));
            assert_eq!(answer(&rules, "a", act, "web"), answer(&rules, "a", act, "none"));
            // Also one that a rule names, and that exists no more.
            assert_eq!(answer(&rules, "a", act, "web"), answer(&rules, "a", act, "gone"));
        }
    }

    #[test]
    fn a_rule_with_a_star_for_another_act_tells_no_names() {
        let rules = Permissions(vec![rule("uri:a", &["*"], &[PushAct::Read])]);
        assert_eq!(
            answer(&rules, "a", PushAct::Load, "till"),
            answer(&rules, "a", PushAct::Load, "none")
        );
    }
}
