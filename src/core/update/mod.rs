//! The update state machine: the steps of an update, what its journal says, and what to do with an
//! unfinished journal.
//!
//! The order of the steps is the product. Nothing of the old container is removed before the new
//! one has proved itself; the journal and the Engine hold enough to continue or to roll back
//! without any registry.

// The steps of an update, in their order.
mod step;
// Facts that become known during an update.
mod note;
// The journal of an update, replayed.
mod progress;
// One decided update. Its execution decides nothing.
pub mod plan;
// What an update needs for itself, so that others may run beside it.
pub mod footprint;
// Whether a new container is healthy: a verdict from samples.
pub mod health;
// The HEALTHCHECK of a container: its times, its command, and what an image may ask for.
pub mod healthcheck;
// How long each step may take as a whole.
pub mod time_limits;
// Whose fault it is when the Engine cannot start a container.
pub mod start_error;
// Outcome, cause, and the line of history.
pub mod history;
// How an unfinished update continues: the state on the Engine, and what to do.
mod resume;
// How an update ended, read from its journal.
pub mod outcome;
// The agent's own update, which the self-update helper carries out.
pub mod self_update;
// Containers with one of our names, but without a journal.
pub mod orphans;
// Whose fault it is that a new container did not start, or failed its trial.
pub mod fault;
// What a rollback takes for its own, and what it gives back.
pub mod rollback;
// What shows that containers are those of an update, if there is no journal.
pub mod ownership;
// All events of an update.
pub mod event;

pub use note::{JobNote, NewImage, Note};
pub use progress::{JournalEntry, JournalLine, JournalProgress};
pub use resume::{ActualState, ContainerState, MemberState, Resume, is_taken_away, resume};
pub use step::{Mark, Step};

/// Most verifications of one update that something other than the image may end.
pub const VERIFY_ATTEMPTS_MAX: u32 = 3;

/// Most switches of one update that a kill or a lost answer may interrupt.
pub const SWITCH_ATTEMPTS_MAX: u32 = 3;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod start_first_tests;
