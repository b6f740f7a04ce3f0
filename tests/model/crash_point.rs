//! Counts every point at which something can go wrong, and says when it does.

use crate::fault::Fault;

/// What is thrown through the agent when it is killed; only a session catches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash;

/// A line of points, one behind the other, and what happens at some of them.
#[derive(Debug, Clone, Default)]
pub struct CrashPoints {
    /// How many points were passed.
    pub passed: usize,
    /// What happens at which point.
    pub armed: Vec<(usize, Fault)>,
    /// Whether calls that only ask are points as well. A crash around a question leaves what a
    /// crash before the next act leaves, so the pairs go without them.
    pub counts_questions: bool,
}

impl CrashPoints {
    /// One more point is passed. Gives what happens here.
    pub fn pass(&mut self) -> Option<Fault> {
        let here = self.passed;
        self.passed += 1;
        let position = self.armed.iter().position(|(point, _)| *point == here)?;
        Some(self.armed.swap_remove(position).1)
    }
}
