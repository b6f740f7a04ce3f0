//! An Engine that answers wrongly, or never.

use crate::cases::assert_no_findings;
use crate::fault::{Fault, Place, PlannedFault, When};
use crate::proxy::From;
use crate::releases::Kind;
use crate::rig::{Case, Rig, SERVICE};

/// The number of the call that starts the new container, from 1.
fn start_of_new_container(calls: &[String]) -> usize {
    1 + calls.iter().position(|call| call.ends_with("/start")).expect("a start")
}

/// After one wrong answer the agent does not create the old container a second time.
#[test]
fn a_present_container_is_answered_with_404_during_the_rollback() {
    let mut rig = Rig::new(&[]);
    let kind = Kind::ExitsAtOnce;
    let calls = rig.count_calls(kind);
    let start = start_of_new_container(&calls);
    let looks = calls.iter().enumerate().skip(start + 3);
    let looks =
        looks.filter(|(_, call)| call.starts_with("GET /containers/") && call.ends_with("/json"));
    let cases = looks.step_by(2).map(|(index, _)| Case {
        kind,
        aim: PlannedFault {
            fault: Fault::Answer(404),
            place: Place::Call(index + 1, When::Before),
        },
        again: None,
    });
    assert_no_findings(rig, cases.collect());
}

/// The agent waits one minute for a read, then it reads again.
#[test]
fn a_read_is_never_answered() {
    let mut rig = Rig::new(&[]);
    let calls = rig.count_calls(Kind::Good);
    let start = start_of_new_container(&calls);
    let aim = PlannedFault { fault: Fault::Hang, place: Place::Call(start - 1, When::Before) };
    assert_no_findings(rig, vec![Case { kind: Kind::Good, aim, again: None }]);
}

/// A container is inspected when an update is offered for it. If the Engine cannot answer, the
/// agent reports that and asks again.
#[test]
fn a_container_that_cannot_be_inspected_is_an_engine_error() {
    let rig = Rig::new(&[]);
    rig.pi.registry.publish(SERVICE, &Kind::Good.release("1"));
    rig.proxy.set(From::TheBeginning, None);
    assert_eq!(rig.pi.check(SERVICE)["verdict"], "update");
    let calls = rig.proxy.calls();
    let is_a_look = |call: &String| call.starts_with("GET /containers/") && call.ends_with("/json");
    let is_of_one = |call: &String| is_a_look(call) && call != "GET /containers/json";
    let look = calls.iter().position(is_of_one).expect("a look");
    let place = Place::Call(look + 1, When::Before);
    rig.proxy.set(From::TheBeginning, Some(PlannedFault { fault: Fault::Answer(500), place }));

    let row = rig.pi.check(SERVICE);

    assert_eq!((&row["verdict"], &row["reason"]), (&"error".into(), &"engine_error".into()));
    assert_eq!(rig.pi.check(SERVICE)["verdict"], "update");
}
