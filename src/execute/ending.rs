//! The end of an update: the memory, the line of history, and the removal of the journal.

use super::UpdateContext;
use crate::core::subject::Subject;
use crate::core::update::event::Event;
use crate::core::update::history::Record;
use crate::core::update::outcome;
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// Remembers why an update is rolled back, as far as the next round needs it. `is_news` is false if
/// an earlier process may have remembered it.
pub(super) fn remember_failure(
    ports: &impl Ports,
    journal: &UpdateJournal,
    is_news: bool,
) -> Result<(), JournalError> {
    let (plan, progress) = (&journal.header.plan, &journal.progress);
    let Some(cause) = &progress.failed else { return Ok(()) };
    let (at, was_outage) = (ports.host().now(), progress.old_may_be_down());
    let mut memory = ports.state().memory()?;
    let mut has_changed = false;
    // The images that did not fail are not refused.
    for (_, member, update) in plan.changed().filter(|(number, ..)| cause.concerns(*number)) {
        let failed = member.failed_try(update, cause.detail.clone(), at, was_outage);
        let subject = Subject::container(&member.container);
        has_changed |= memory.note_failure(&subject, cause.fault, failed, is_news);
    }
    if has_changed { ports.state().remember(&memory) } else { Ok(()) }
}

/// The line of history for a journal.
pub(super) fn record(ports: &impl Ports, journal: &UpdateJournal) -> Record {
    outcome::record(&journal.header, &journal.progress, ports.host().now())
}

/// The history is written first, then the journal is removed: after a power cut between them the
/// record is found again.
pub(super) fn close<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &UpdateJournal,
) -> Result<(), JournalError> {
    let record = record(context.ports, journal);
    context.ports.state().record(&record)?;
    context.ports.state().close(journal)?;
    context.listener.receive(&Event::UpdateEnded(Box::new(record)));
    Ok(())
}
