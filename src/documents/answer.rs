//! What a running agent answers to a request.

use serde::{Deserialize, Serialize};

use super::{EventRow, UpdateRow};
use crate::agent::{RecoverEnd, RollbackEnd};
use crate::core::subject::{self, Subject};

/// One line of the agent's answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerLine {
    /// The request waits for the updates of these.
    Waiting(#[serde(with = "subject::list")] Vec<Subject>),
    /// An event that belongs to the request, or to a container that it names.
    Event(EventRow),
    /// The answer, whose type follows from the request; the last line.
    Answer(serde_json::Value),
    /// Why there is no answer; the last line.
    Failed(String),
}

/// How a rollback by hand ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackDocument {
    /// It ended, one way or the other.
    Ended(Box<UpdateRow>),
    /// The self-update helper carries it out: it is the agent's own container.
    SelfUpdating { container: String },
}

impl From<&RollbackEnd> for RollbackDocument {
    fn from(end: &RollbackEnd) -> Self {
        match end {
            RollbackEnd::Ended(record) => Self::Ended(Box::new(UpdateRow::from(&**record))),
            RollbackEnd::SelfUpdating { container } => {
                Self::SelfUpdating { container: container.clone() }
            }
        }
    }
}

/// The refused digests of a container are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedDocument {
    /// How many there were.
    pub digests: usize,
}

impl From<&usize> for AllowedDocument {
    fn from(digests: &usize) -> Self {
        Self { digests: *digests }
    }
}

/// What became of the updates that were left open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryDocument {
    /// The updates that ended now.
    pub updates: Vec<UpdateRow>,
    /// Those whose update could still not be finished or undone.
    #[serde(with = "subject::list")]
    pub open: Vec<Subject>,
}

impl From<&RecoverEnd> for RecoveryDocument {
    fn from(RecoverEnd { records, open }: &RecoverEnd) -> Self {
        Self {
            updates: records.iter().map(UpdateRow::from).collect(),
            open: open.iter().map(Subject::container).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for (line, written) in [
            (
                AnswerLine::Waiting(vec![Subject::container("till"), Subject::service("web")]),
                json!({"waiting": ["till", "service/web"]}),
            ),
            (AnswerLine::Answer(json!({"digests": 2})), json!({"answer": {"digests": 2}})),
            (AnswerLine::Failed("no".into()), json!({"failed": "no"})),
        ] {
            assert_eq!(serde_json::to_value(&line).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<AnswerLine>(written).expect("a line"), line);
        }
    }
}
