//! Intervals and cron, times of day, and the wall clock, which changes twice a year. Pure: the
//! caller passes the time.

// Intervals or cron, spread over a fleet.
pub mod schedule;
// Cron in wall-clock time.
pub mod cron_schedule;
// Times of day at which something may be done.
pub mod window;
// Which containers are due next.
pub mod timetable;
// Time zones.
pub mod zone;
// The time on the wall clock, and its instants.
pub mod wall_clock;
// Durations as people write them.
pub mod duration;
