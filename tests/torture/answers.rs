//! An Engine that answers wrongly, or never.

use crate::cases::assert_kept;
use crate::fault::{Aim, Fault, Place, When};
use crate::proxy::From;
use crate::releases::Kind;
use crate::rig::{Case, Rig, SERVICE};

/// The number of the call that starts the new container, from 1.
fn start_of_the_new_one(calls: &[String]) -> usize {
    1 + calls.iter().position(|call| call.ends_with("/start")).expect("a start")
}

/// One wrong answer does not have the old container made a second time.
#[test]
fn a_container_that_is_there_is_denied_on_the_way_back() {
    let mut rig = Rig::new(&[]);
    let kind = Kind::ExitsAtOnce;
    let calls = rig.count_calls(kind);
    let start = start_of_the_new_one(&calls);
    let looks = calls.iter().enumerate().skip(start + 3);
    let looks =
        looks.filter(|(_, call)| call.starts_with("GET /containers/") && call.ends_with("/json"));
    let cases = looks.step_by(2).map(|(index, _)| Case {
        kind,
        aim: Aim { fault: Fault::Answer(404), place: Place::Call(index + 1, When::Before) },
        again: None,
    });
    assert_kept(rig, cases.collect());
}

/// The agent's patience with a question is one minute; then it looks again.
#[test]
fn a_question_is_never_answered() {
    let mut rig = Rig::new(&[]);
    let calls = rig.count_calls(Kind::Good);
    let start = start_of_the_new_one(&calls);
    let aim = Aim { fault: Fault::Hang, place: Place::Call(start - 1, When::Before) };
    assert_kept(rig, vec![Case { kind: Kind::Good, aim, again: None }]);
}

/// What the Engine cannot tell is named, and asked again.
#[test]
fn a_container_that_cannot_be_looked_at_is_an_engine_error() {
    let rig = Rig::new(&[]);
    rig.proxy.set(From::TheBeginning, None);
    assert_eq!(rig.pi.check(SERVICE)["verdict"], "up_to_date");
    let calls = rig.proxy.calls();
    let is_a_look = |call: &String| call.starts_with("GET /containers/") && call.ends_with("/json");
    let is_of_one = |call: &String| is_a_look(call) && call != "GET /containers/json";
    let look = calls.iter().position(is_of_one).expect("a look");
    let place = Place::Call(look + 1, When::Before);
    rig.proxy.set(From::TheBeginning, Some(Aim { fault: Fault::Answer(500), place }));

    let row = rig.pi.check(SERVICE);

    assert_eq!((&row["verdict"], &row["reason"]), (&"error".into(), &"engine_error".into()));
    assert_eq!(rig.pi.check(SERVICE)["verdict"], "up_to_date");
}
