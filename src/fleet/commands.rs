//! What a command leads to. It obeys windows, refusals and safety, as the same command on the
//! machine itself does: there is no force over MQTT.

use std::collections::BTreeSet;

use crate::agent::{AgentHandle, Allow, RollBack, RollbackEnd, RoundEnd, RoundRequest};
use crate::core::decide::report::Verdict;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::reply::CommandReply;
use crate::core::fleet::topic::CommandKind;
use crate::core::subject::Subject;
use crate::core::update::event::Asker;
use crate::core::update::history::{Outcome, Record};

/// Carries out a command, and says how it ended.
pub(super) async fn carry_out(agent: AgentHandle, command: FleetCommand) -> CommandReply {
    let FleetCommand { kind, id, subject } = command;
    let answer = match (kind, subject) {
        (CommandKind::Check, subject) => check(&agent, subject).await,
        (CommandKind::Update, subject) => update(&agent, subject).await,
        (CommandKind::Rollback, Some(subject)) => roll_back(&agent, subject.to_text()).await,
        (CommandKind::Allow, Some(subject)) => allow(&agent, subject.to_text()).await,
        (CommandKind::Rollback | CommandKind::Allow, None) => {
            Err("the command names no container".to_owned())
        }
    };
    let (ok, detail) = match answer {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    CommandReply { id, ok, detail: Some(detail) }
}

/// What a person reads: what happened, or why not.
type Answered = Result<String, String>;

fn names(subject: Option<Subject>) -> Option<BTreeSet<String>> {
    subject.map(|subject| BTreeSet::from([subject.to_text()]))
}

async fn check(agent: &AgentHandle, subject: Option<Subject>) -> Answered {
    let request = RoundRequest { names: names(subject), dry_run: true, ..RoundRequest::default() };
    let end = agent.ask(Asker::Mqtt, request).await.map_err(|error| error.to_string())?;
    Ok(counted(&end))
}

async fn update(agent: &AgentHandle, subject: Option<Subject>) -> Answered {
    let names = names(subject);
    let tries_at_once = names.is_some();
    let request = RoundRequest { names, tries_at_once, ..RoundRequest::default() };
    let end = agent.ask(Asker::Mqtt, request).await.map_err(|error| error.to_string())?;
    let ended: Vec<_> = end.records.iter().map(sentence).collect();
    let has_failed = end.records.iter().any(|record| record.outcome != Outcome::Updated);
    let detail = if ended.is_empty() { counted(&end) } else { ended.join("; ") };
    if has_failed { Err(detail) } else { Ok(detail) }
}

async fn roll_back(agent: &AgentHandle, container: String) -> Answered {
    match agent.ask(Asker::Mqtt, RollBack { container }).await.map_err(|error| error.to_string())? {
        RollbackEnd::Ended(record) if record.outcome == Outcome::Updated => Ok(sentence(&record)),
        RollbackEnd::Ended(record) => Err(sentence(&record)),
        RollbackEnd::SelfUpdating { container } => Ok(format!("{container} updates itself")),
    }
}

async fn allow(agent: &AgentHandle, container: String) -> Answered {
    let digests =
        agent.ask(Asker::Mqtt, Allow { container }).await.map_err(|error| error.to_string())?;
    Ok(format!("{digests} refused digests are allowed again"))
}

fn sentence(record: &Record) -> String {
    let reason = record.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} {}{reason}", record.subject, record.outcome.word())
}

/// `3 checked: 1 update, 1 held, 0 errors`
fn counted(end: &RoundEnd) -> String {
    let count = |verdict| end.reports.iter().filter(|it| it.verdict == verdict).count();
    let [update, held, errors] = [Verdict::Update, Verdict::Held, Verdict::Error].map(count);
    format!("{} checked: {update} update, {held} held, {errors} errors", end.reports.len())
}
