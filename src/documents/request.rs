//! What a command asks of a running agent.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::agent::RoundRequest;

/// A request to a running agent. Names are as a person types them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A round: `check` and `update`. The answer is a [`RoundDocument`](super::RoundDocument).
    Round(RoundQuery),
    /// A rollback to the image before. The answer is a
    /// [`RollbackDocument`](super::RollbackDocument).
    RollBack { container: String },
    /// Refused digests are forgotten. The answer is an [`AllowedDocument`](super::AllowedDocument).
    Allow { container: String },
    /// Updates that were left open are finished or undone. The answer is a
    /// [`RecoveryDocument`](super::RecoveryDocument).
    Recover,
}

/// What a round is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoundQuery {
    /// Only these; absent: all that are watched.
    pub names: Option<BTreeSet<String>>,
    /// Ignore windows and refusals, never safety.
    pub force: bool,
    /// Ignore the pause after failed tries: a person names the containers.
    pub tries_at_once: bool,
    /// Decide, and do nothing.
    pub dry_run: bool,
    /// With `dry_run`: what was found within the last interval is enough.
    pub may_be_known: bool,
}

impl From<&RoundRequest> for RoundQuery {
    fn from(request: &RoundRequest) -> Self {
        let RoundRequest { names, force, tries_at_once, dry_run, may_be_known, .. } = request;
        Self {
            names: names.clone(),
            force: *force,
            tries_at_once: *tries_at_once,
            dry_run: *dry_run,
            may_be_known: *may_be_known,
        }
    }
}

impl From<RoundQuery> for RoundRequest {
    fn from(query: RoundQuery) -> Self {
        let RoundQuery { names, force, tries_at_once, dry_run, may_be_known } = query;
        Self { names, force, tries_at_once, dry_run, may_be_known, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_few_words_is_understood() {
        for (text, expected) in [
            (r#"{"round":{}}"#, Request::Round(RoundQuery::default())),
            (
                r#"{"round":{"dry_run":true,"names":["till"],"tomorrow":1}}"#,
                Request::Round(RoundQuery {
                    names: Some(BTreeSet::from(["till".to_owned()])),
                    dry_run: true,
                    ..RoundQuery::default()
                }),
            ),
            (
                r#"{"roll_back":{"container":"till"}}"#,
                Request::RollBack { container: "till".into() },
            ),
            (r#""recover""#, Request::Recover),
        ] {
            assert_eq!(serde_json::from_str::<Request>(text).expect("a request"), expected);
        }
    }

    #[test]
    fn a_round_is_asked_for_as_it_was_meant() {
        let names = Some(BTreeSet::from(["till".to_owned()]));
        let request = RoundRequest {
            names,
            force: true,
            tries_at_once: true,
            dry_run: true,
            may_be_known: true,
            ..RoundRequest::default()
        };
        assert_eq!(RoundRequest::from(RoundQuery::from(&request)), request);
    }
}
