//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table. Read
//! `update` and `decide` first: the order of an update and the rules for beginning one are all
//! there. The rest are the words they use.

// The update: what is done, in which order, and what to do with one that was cut short.
pub mod update;
// The decision: facts in, a plan or a named "no" out.
pub mod decide;
// From an inspect document to the body that creates the container again.
pub mod recreate;
// What the user asks for: labels over defaults.
pub mod policy;
// When: schedules, windows, and the clock on the wall.
pub mod time;
// The words of Docker and OCI.
pub mod docker;
// Which modes a file with a secret may have.
pub mod secret_file;
// Foreign text in a message, and what was probably meant.
pub mod text;
