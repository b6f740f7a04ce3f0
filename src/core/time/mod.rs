//! When: intervals and cron, times of day at which something may be done, and the clock on the wall
//! that is set twice a year. Pure: whoever asks brings the time.

// Interval or cron, spread over a fleet.
pub mod schedule;
// Cron, counted by the clock on the wall.
pub mod cron_schedule;
// Times of day at which something may be done.
pub mod window;
// Who is due next.
pub mod timetable;
// The zones of the world.
pub mod zone;
// What the clock on the wall shows, and when.
pub mod wall_clock;
// Durations as people write them.
pub mod duration;
