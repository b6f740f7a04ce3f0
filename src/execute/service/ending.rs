//! The end of the update of a service: the memory, the line of history, and the removal of the
//! journal.

use crate::core::service::outcome;
use crate::core::service::progress::ServiceStep;
use crate::core::update::event::Event;
use crate::core::update::history::Record;
use crate::execute::UpdateContext;
use crate::host::Host;
use crate::journal::{JournalError, ServiceJournal};
use crate::ports::Ports;

/// Remembers why an update is rolled back, as far as the next round needs it. `is_news` is false if
/// an earlier process may have remembered it.
pub(super) fn remember_failure(
    ports: &impl Ports,
    journal: &ServiceJournal,
    is_news: bool,
) -> Result<(), JournalError> {
    let (plan, progress) = (&journal.header.plan, &journal.progress);
    let Some(cause) = &progress.failed else { return Ok(()) };
    let was_outage = progress.begun >= Some(ServiceStep::Update);
    let failed = plan.failed_try(cause.detail.clone(), ports.host().now(), was_outage);
    let mut memory = ports.state().memory()?;
    if memory.note_failure(&plan.subject(), cause.fault, failed, is_news) {
        ports.state().remember(&memory)?;
    }
    Ok(())
}

/// Remembers that the service runs another image; a later rollback by hand leads to the one before.
pub(super) fn remember_success(
    ports: &impl Ports,
    journal: &ServiceJournal,
) -> Result<(), JournalError> {
    let plan = &journal.header.plan;
    let mut memory = ports.state().memory()?;
    memory.succeed(&plan.subject(), &plan.digests, &plan.old_image);
    ports.state().remember(&memory)
}

/// The line of history for a journal.
pub(super) fn record(ports: &impl Ports, journal: &ServiceJournal) -> Record {
    outcome::record(&journal.header, &journal.progress, ports.host().now())
}

/// The history is written first, then the journal is removed: after a power cut between them the
/// record is found again.
pub(super) fn close<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &ServiceJournal,
) -> Result<(), JournalError> {
    let record = record(context.ports, journal);
    context.ports.state().record(&record)?;
    context.ports.state().close_service(journal)?;
    context.listener.receive(&Event::UpdateEnded(Box::new(record)));
    Ok(())
}
