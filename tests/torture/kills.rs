//! `kill -9` of the agent, and answers that are lost, late or wrong: a spread-out sample of what
//! `make torture` does at every call.

use crate::bench::Bench;
use crate::fault::Fault;
use crate::releases::Kind;
use crate::sweep::{assert_kept, every, lengths};

fn sample(kind: Kind, fault: Fault, stride: usize) {
    let mut bench = Bench::new(&[]);
    let lengths = lengths(&mut bench, &[kind]);
    let cases = every(kind, fault, &lengths, stride);
    assert_kept(bench, cases);
}

#[test]
fn the_agent_is_killed_in_an_update_to_a_good_release() {
    sample(Kind::Good, Fault::Kill, 9);
}

#[test]
fn the_agent_is_killed_in_an_update_to_a_release_that_exits_at_once() {
    sample(Kind::ExitsAtOnce, Fault::Kill, 9);
}
