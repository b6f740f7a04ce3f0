//! Groups: containers that are updated together, with one journal and one verdict. And jobs:
//! one-shots of a group, such as migrations, that run before anything is replaced.

// One member depends on another one.
pub mod dependency;
// The order in which members start.
pub mod order;
// The offered digests must have stood still before a group is updated.
pub mod settle;
// Which one-shots run, and what the state of a job's copy means.
pub mod job;
// Whether a group can be updated now, and for which member it waits.
pub mod readiness;
