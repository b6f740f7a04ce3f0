//! Processes of this machine, from `/proc`.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::core::decide::engine_lock::ProcessIdentity;

/// This process.
pub(super) fn own() -> ProcessIdentity {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let started = read(&stat).map(|(_, started)| started.to_owned()).unwrap_or_default();
    ProcessIdentity { pid: std::process::id().to_string(), started, namespace: namespace() }
}

/// The PID namespace of this process. Without it the ID of another process means nothing here.
fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid");
    link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether the process runs: a process with this ID and this start time exists and has not ended.
pub(super) fn lives(process: &ProcessIdentity) -> Option<bool> {
    let is_seen = !process.namespace.is_empty() && process.namespace == namespace();
    let pid = process.pid.parse().ok().and_then(Pid::from_raw).filter(|_| is_seen)?;
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", process.pid)) else {
        // If /proc hides the processes of other users (`hidepid`), the system call still works.
        return (test_kill_process(pid) == Err(Errno::SRCH)).then_some(false);
    };
    let (state, started) = read(&stat)?;
    Some(started == process.started && !matches!(state, "Z" | "X"))
}

/// State and start time in a line of `/proc/PID/stat`. The name of the program before them, in
/// brackets, may contain anything.
fn read(stat: &str) -> Option<(&str, &str)> {
    const STARTED: usize = 19;
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(STARTED - 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_beginning() {
        let own = own();
        assert!(own.started.parse::<u64>().is_ok(), "{own:?}");
        assert_eq!(lives(&own), Some(true));
        assert_eq!(lives(&ProcessIdentity { started: "1".into(), ..own.clone() }), Some(false));
        assert_eq!(lives(&ProcessIdentity { namespace: "pid:[1]".into(), ..own.clone() }), None);
        assert_eq!(lives(&ProcessIdentity { namespace: String::new(), ..own }), None);
        assert_eq!(lives(&ProcessIdentity::default()), None);
    }

    #[test]
    fn one_that_has_ended_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = child.id().to_string();
        child.wait().expect("its end");
        assert_eq!(lives(&ProcessIdentity { pid, ..own() }), Some(false));
    }

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let fields: Vec<_> = (4..=24).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) b (c) S {}", fields.join(" "));
        assert_eq!(read(&stat), Some(("S", "22")));
        assert_eq!(read("7 (a) S 1"), None);
        assert_eq!(read(""), None);
    }
}
