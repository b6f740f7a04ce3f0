//! Runs other programs, and waits for conditions.

use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// The poll interval for conditions without an event. The shortest step of an update takes three
/// milliseconds, and tests want to hit it.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Runs the command to its end; returns its standard output without the last newline. If the
/// command fails or is missing, the test fails with its error output.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs the command to its end, whatever its exit code.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Waits until the closure returns a value. Fails the test with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until the condition holds. Fails the test with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, limit, || holds().then_some(()));
}
