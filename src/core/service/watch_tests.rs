//! Verdicts on the documents of a real Swarm.

use super::*;
use crate::core::service::recorded::{TABLES, look};
use crate::core::update::history::Fault;

const STABLE: Duration = Duration::from_secs(5);
const HEALTHY: Duration = Duration::from_secs(20);

fn known(moment: &str) -> BTreeSet<String> {
    look(moment).tasks.into_iter().map(|task| task.id).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The verdict of a new watch that takes this look twice, so long after its beginning.
fn verdict(look: &ServiceLook, known: &BTreeSet<String>, after: Duration) -> ServiceVerdict {
    let mut watch = ServiceWatch::default();
    let image = look.facts.image.clone();
    let target = WatchTarget { image: &image, known, stable: STABLE, healthy: HEALTHY };
    watch.judge(Duration::ZERO, look, target);
    watch.judge(after, look, target)
}

fn cause(verdict: ServiceVerdict) -> Cause {
    let ServiceVerdict::Failed(cause) = verdict else { panic!("not failed: {verdict:?}") };
    cause
}

#[test]
fn every_place_must_run_the_image_for_the_stable_time() {
    let known = known("unpinned");
    let waiting = |text: &str| ServiceVerdict::Waiting(text.into());
    let verdict = |moment, after| verdict(&look(moment), &known, after);
    assert_eq!(verdict("good-middle", seconds(60)), waiting("1 of 2 tasks have proved themselves"));
    assert_eq!(verdict("good-done", seconds(4)), waiting("0 of 2 tasks have proved themselves"));
    assert_eq!(verdict("good-done", STABLE), ServiceVerdict::Healthy);
    assert_eq!(verdict("good-settled", STABLE), ServiceVerdict::Healthy);
}

#[test]
fn a_task_that_was_replaced_begins_anew() {
    let known = known("unpinned");
    let mut look = look("good-done");
    let image = look.facts.image.clone();
    let target = WatchTarget { image: &image, known: &known, stable: STABLE, healthy: HEALTHY };
    let mut watch = ServiceWatch::default();
    assert_ne!(watch.judge(Duration::ZERO, &look, target), ServiceVerdict::Healthy);
    let serving = look.tasks.iter_mut().find(|task| task.is_serving()).expect("a task");
    serving.id = "another".into();
    assert_ne!(watch.judge(STABLE, &look, target), ServiceVerdict::Healthy);
    assert_eq!(watch.judge(STABLE + STABLE, &look, target), ServiceVerdict::Healthy);
}

/// Swarm's own word is `completed` in this look.
#[test]
fn a_task_without_its_ports_is_not_healthy() {
    let look = look("manager-killed");
    let known = known("unpinned");
    // What ended before the update says nothing about it.
    let old = look.tasks.iter().filter(|task| !task.is_serving()).map(|task| task.id.clone());
    let known: BTreeSet<String> = known.into_iter().chain(old).collect();
    let told = verdict(&look, &known, STABLE);
    let ServiceVerdict::PortMissing { slot, detail } = told else { panic!("{told:?}") };
    assert!(matches!(slot, TaskSlot::Node(id) if TABLES.contains(&id.as_str())));
    assert!(detail.starts_with("nothing publishes the ports of its task on vm ("), "{detail}");
    assert!(matches!(verdict(&look, &known, seconds(1)), ServiceVerdict::Waiting(_)));
    assert!(is_restored(&look, &look.facts.image).is_err());
}

#[test]
fn a_failed_task_is_named_and_blamed() {
    let known = known("good-settled");
    let failed = cause(verdict(&look("paused"), &known, Duration::ZERO));
    assert_eq!(failed.fault, Fault::Image);
    assert_eq!(failed.detail, "its task on vm (bxkjm9s) failed: task: non-zero exit (1)");
}

#[test]
fn whose_fault_it_was_is_read_from_the_words_of_the_node() {
    use TaskState::{Complete, Failed, Rejected};
    let rows = [
        (Failed, "task: non-zero exit (1)", Fault::Image),
        (Failed, "task: unhealthy container", Fault::Image),
        (Complete, "", Fault::Image),
        (
            Failed,
            "starting container failed: driver failed programming external connectivity on \
             endpoint till: Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address \
             already in use",
            Fault::Surroundings,
        ),
        (
            Failed,
            "starting container failed: failed to create shim task: OCI runtime create failed: \
             runc create failed: unable to start container process: exec: \"/till\": stat /till: \
             no such file or directory: unknown",
            Fault::Image,
        ),
        (Rejected, "No such image: till:2@sha256:22", Fault::Surroundings),
        (
            Rejected,
            "invalid mount config for type \"bind\": bind source path does not exist: /x",
            Fault::Surroundings,
        ),
    ];
    for (state, error, fault) in rows {
        let mut look = look("good-done");
        let id = look.tasks.iter().find(|task| task.is_serving()).expect("a task").id.clone();
        let task = look.tasks.iter_mut().find(|task| task.id == id).expect("a task");
        (task.state, task.error) = (state, error.into());
        let cause = cause(verdict(&look, &known("unpinned"), Duration::ZERO));
        assert_eq!(cause.fault, fault, "{}", cause.detail);
    }
}

#[test]
fn what_ended_on_a_node_that_was_away_blames_nobody() {
    let known = known("unpinned");
    let mut look = look("good-done");
    let image = look.facts.image.clone();
    let target = WatchTarget { image: &image, known: &known, stable: STABLE, healthy: HEALTHY };
    let mut watch = ServiceWatch::default();
    let set = |look: &mut ServiceLook, state| {
        look.nodes.iter_mut().find(|node| node.id == TABLES[0]).expect("a node").state = state;
    };
    set(&mut look, NodeState::Down);
    watch.judge(Duration::ZERO, &look, target);
    set(&mut look, NodeState::Ready);
    let task = look.tasks.iter_mut().find(|task| task.is_serving() && task.node_id == TABLES[0]);
    task.expect("a task").state = TaskState::Failed;
    assert_eq!(cause(watch.judge(seconds(9), &look, target)).fault, Fault::Interruption);
}

#[test]
fn a_task_that_never_becomes_healthy_has_its_limit() {
    let mut look = look("good-middle");
    let task = look.tasks.iter_mut().find(|task| task.image == look.facts.image);
    task.expect("the new task").state = TaskState::Starting;
    let known = known("unpinned");
    assert!(matches!(verdict(&look, &known, HEALTHY), ServiceVerdict::Waiting(_)));
    let cause = cause(verdict(&look, &known, HEALTHY + seconds(1)));
    assert_eq!(cause.fault, Fault::Image);
    assert!(cause.detail.ends_with("did not become healthy within 20s"), "{}", cause.detail);
}

#[test]
fn a_pause_without_a_task_that_shows_why_is_a_failure() {
    let mut look = look("paused");
    look.tasks.retain(|task| !task.has_ended_by_itself());
    let cause = cause(verdict(&look, &BTreeSet::new(), Duration::ZERO));
    assert_eq!(cause.detail, "Swarm paused the update after a failed task");
}

#[test]
fn nodes_that_cannot_be_reached_are_not_waited_for_but_unclear_ones_are() {
    let known = known("unpinned");
    let mut look = look("good-middle");
    let old = look.tasks.iter().find(|task| task.is_serving() && task.image != look.facts.image);
    let old = old.expect("the old task").node_id.clone();
    let set = |look: &mut ServiceLook, state| {
        look.nodes.iter_mut().find(|node| node.id == old).expect("a node").state = state;
    };
    set(&mut look, NodeState::Down);
    assert_eq!(verdict(&look, &known, STABLE), ServiceVerdict::Healthy);
    set(&mut look, NodeState::Unclear);
    assert!(matches!(verdict(&look, &known, STABLE), ServiceVerdict::Waiting(_)));
    assert!(is_restored(&look, &look.facts.image).is_err());
    look.nodes.iter_mut().for_each(|node| node.state = NodeState::Down);
    let nobody = ServiceVerdict::Waiting("no node may run it now".into());
    assert_eq!(verdict(&look, &known, STABLE), nobody);
}

#[test]
fn replicas_are_counted_by_their_slots() {
    let mut look = look("replicated");
    assert_eq!(look.facts.slots(&look.nodes).len(), 3);
    let none = BTreeSet::new();
    assert_eq!(verdict(&look, &none, STABLE), ServiceVerdict::Healthy);
    let twice = look.tasks.iter().find(|task| task.slot == 1).expect("a task").clone();
    let third = look.tasks.iter_mut().find(|task| task.slot == 3).expect("a task");
    third.slot = twice.slot;
    assert!(matches!(verdict(&look, &none, STABLE), ServiceVerdict::Waiting(_)), "two in one slot");
}

#[test]
fn a_service_is_restored_when_every_place_serves_the_old_image() {
    let restored = |moment: &str| {
        let look = look(moment);
        is_restored(&look, &look.facts.image)
    };
    for (moment, expected) in [
        ("rollback-started", false),
        ("rollback-completed", true),
        ("back-middle", false),
        ("back-done", true),
        ("stuck-rollback", false),
    ] {
        assert_eq!(restored(moment).is_ok(), expected, "{moment}: {:?}", restored(moment));
    }
}

/// A Swarm of a hundred nodes remembers five old tasks of each.
#[test]
fn a_large_swarm_is_judged_task_by_task() {
    let small = look("good-done");
    let template = |is_serving: bool| {
        let found = small.tasks.iter().find(|task| task.is_serving() == is_serving);
        found.expect("a task").clone()
    };
    let (serving, ended, node) = (template(true), template(false), small.nodes[0].clone());
    let id = |number: usize| format!("node{number}");
    let mut large = ServiceLook { tasks: Vec::new(), nodes: Vec::new(), ..small };
    for number in 0..100 {
        let of_node = |task: &SwarmTask, index: usize| SwarmTask {
            id: format!("task{number}-{index}"),
            node_id: id(number),
            ..task.clone()
        };
        large.nodes.push(SwarmNode { id: id(number), ..node.clone() });
        large.tasks.extend((1..6).map(|index| of_node(&ended, index)));
        large.tasks.push(of_node(&serving, 0));
    }
    let none = BTreeSet::new();
    assert_eq!(verdict(&large, &none, STABLE), ServiceVerdict::Healthy);
    large.tasks.last_mut().expect("a task").ports.clear();
    assert!(matches!(verdict(&large, &none, STABLE), ServiceVerdict::PortMissing { .. }));
}
