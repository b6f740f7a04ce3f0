//! The story of `make demo-swarm`: a good release, a bad one, and a manager that is killed in the
//! middle of an update. The script fails if anything does not happen.

use std::path::Path;
use std::process::Command;

use crate::support::command::output;
use crate::support::images::static_till;
use crate::support::swarm::only_one;

#[test]
fn the_demo_of_a_swarm_happens_as_it_is_told() {
    let _place = only_one();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-swarm/run");
    let mut command = Command::new(script);
    command.arg(env!("CARGO_BIN_EXE_pilotfish")).arg(static_till()).env("NO_COLOR", "1");

    let output = output(&mut command);

    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for line in [
        "table-1: till 1 -> till 2; away",
        "table-2: till 1 -> till 2; away",
        ": till 2 -> till 3 -> till 2; away",
        // The other table; how long it seemed away is left out, because of busy machines.
        ": till 2; ",
        "held: refused_digest",
        "the update waits for the Swarm",
        "table-1: till 2 -> till 4; away",
        "table-2: till 2 -> till 4; away",
        "Cleaned up",
    ] {
        assert!(out.contains(line), "`{line}` is missing:\n{out}\n{err}");
    }
}
