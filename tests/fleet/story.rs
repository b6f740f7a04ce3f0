//! The story of `make demo-fleet`: three tables, a push that comes through the mirror, a bad
//! release, a stolen certificate and a broker that is killed. The script fails if anything does not
//! happen.

use std::path::Path;
use std::process::Command;

use crate::support::command::output;
use crate::support::images::static_till;

#[test]
fn the_demo_of_a_fleet_happens_as_it_is_told() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-fleet/run");
    let mut command = Command::new(script);
    command.arg(env!("CARGO_BIN_EXE_pilotfish")).arg(static_till()).env("NO_COLOR", "1");

    let output = output(&mut command);

    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for line in [
        "1 tag: 1 due; a run sends ",
        "1 tag: 1 copied",
        "(same digest at the hub and at registry:443)",
        "At the hub version 2 costs one pull for all of them",
        "running everywhere",
        "the image failed on 1 of 1 devices that tried it",
        "the certificate of this device is revoked",
        "all tables still serve: till 2, till 2, till 2",
        "Cleaned up",
    ] {
        assert!(out.contains(line), "`{line}` is missing:\n{out}\n{err}");
    }
}
