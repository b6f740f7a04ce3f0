//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table. Read
//! `update` and `decide` first: the order of an update and the rules for beginning one are all
//! there. The rest are the words they use.

// --- The update: what is done, in which order, and what to do with one that was cut short.

// The update machine: steps, journal entries, and how an open journal is taken up.
pub mod update;
// One update, decided: no choice is left for its execution.
pub mod plan;
// From an inspect document to the body that creates the container again.
pub mod recreate;
// Whether a new container is well: a verdict from samples.
pub mod health;
// Whose fault it is when the Engine cannot start a container.
pub mod blame;
// Outcome, cause, and the line of history that tells of them.
pub mod history;
// How an update ended, read from its journal.
pub mod ending;
// What bears one of our names although no journal tells of it.
pub mod debris;
// Everything that can be said about an update, once.
pub mod event;

// --- The decision: facts in, a plan or a named "no" out.

// The rules for beginning an update, all of them.
pub mod decide;
// Who waits for a window, and which images that were fetched ahead are still wanted.
pub mod outlook;
// What is known of a watched container.
pub mod observation;
// What a registry offers, and why it could not be asked.
pub mod offer;
// What registries say when something was pushed.
pub mod notification;
// The closed list of reasons for a "no".
pub mod reason;
// A registry's quota, and who may use up what is left of it.
pub mod quota;
// Whether the layers of an image fit on the disk.
pub mod space;
// Refused digests, tries that were cut short, digests known to be what runs.
pub mod memory;
// What a check says of one container: the words of table, JSON and metrics.
pub mod report;
// The agent as it stands.
pub mod snapshot;

// --- What the user asks for.

// Labels over defaults: how one container is treated.
pub mod policy;
// How long a new container is watched, and by what.
pub mod health_policy;
// The probe of a label.
pub mod probe;

// --- When.

// Interval or cron, spread over a fleet.
pub mod schedule;
// Cron, counted by the clock on the wall.
pub mod cron_schedule;
// Times of day at which something may be done.
pub mod window;
// Who is due next.
pub mod timetable;
// What the clock on the wall shows, and when.
pub mod wall_clock;
// Durations as people write them.
pub mod duration;

// --- The words of Docker and OCI.

// Image references, digests, platforms.
pub mod reference;
// Manifests, indexes, image configurations, and which entry fits a platform.
pub mod manifest;
// Questions to an inspect document, which stays raw.
pub mod inspect;
// Names that this program gives to things on the Engine.
pub mod names;
// The version of the Engine's API.
pub mod api_version;
// A login at a registry, which has no way to be printed.
pub mod credentials;

// --- Small tools.

// `HOST:PORT` as a person writes it.
pub mod authority;
// Foreign text in a message, and what was probably meant.
pub mod text;
