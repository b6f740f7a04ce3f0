//! Tests of the labels of groups and jobs.

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn membership(pairs: &[(&str, &str)]) -> Membership {
    read(&labels(pairs)).expect("right labels").expect("a group")
}

/// What is wrong with these labels.
fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = read(&labels(pairs)).expect_err("wrong labels");
    errors.into_iter().map(|error| error.to_string()).collect()
}

#[test]
fn a_container_without_these_labels_is_in_no_group() {
    assert_eq!(read(&labels(&[])), Ok(None));
    let compose = [(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "api")];
    assert_eq!(read(&labels(&compose)), Ok(None));
}

#[test]
fn a_group_has_a_name_or_is_the_compose_project() {
    assert_eq!(membership(&[(LABEL_GROUP, "shop")]).group, "shop");
    let project = membership(&[
        (LABEL_GROUP, "project"),
        (COMPOSE_PROJECT, "till"),
        (COMPOSE_SERVICE, "api"),
        ("com.docker.compose.depends_on", "db:service_healthy:true"),
    ]);
    assert_eq!((project.group.as_str(), project.service.as_deref()), ("till", Some("api")));
    assert_eq!(project.depends_on.len(), 1);
    assert!(errors(&[(LABEL_GROUP, "project")])[0].contains("Compose did not create"));
    for wrong in ["", "-shop", "my shop", "shop/api", "läden", &"x".repeat(65)] {
        assert!(errors(&[(LABEL_GROUP, wrong)])[0].contains("is not a name"), "{wrong:?}");
    }
}

#[test]
fn dependencies_of_the_label_come_behind_those_of_compose() {
    use Condition::{Completed, Healthy, Started};
    let member = membership(&[
        (LABEL_GROUP, "shop"),
        (LABEL_DEPENDS_ON, "db, cache:healthy,migrate:completed,x:service_completed_successfully"),
        ("com.docker.compose.depends_on", "queue:service_started:true"),
    ]);
    let read: Vec<_> =
        member.depends_on.iter().map(|it| (it.on.as_str(), it.condition, it.restarts)).collect();
    let expected = [
        ("queue", Started, true),
        ("db", Started, false),
        ("cache", Healthy, false),
        ("migrate", Completed, false),
        ("x", Completed, false),
    ];
    assert_eq!(read, expected);
    let wrong = |value: &str| errors(&[(LABEL_GROUP, "shop"), (LABEL_DEPENDS_ON, value)]).remove(0);
    assert!(wrong("db,,cache").contains("missing"));
    assert!(wrong("db:helthy").contains("did you mean `healthy`?"));
    assert!(wrong(&"db,".repeat(200)).contains("more than 100"));
}

#[test]
fn a_job_has_a_time_and_says_what_the_others_do() {
    let plain = membership(&[(LABEL_GROUP, "shop")]);
    assert_eq!((plain.is_job, plain.meanwhile), (false, Meanwhile::Serving));
    assert_eq!(plain.job_timeout, JOB_TIMEOUT_DEFAULT);
    let job = membership(&[
        (LABEL_GROUP, "shop"),
        (LABEL_GROUP_SETTLE, "2m"),
        (LABEL_JOB, "before"),
        (LABEL_JOB_TIMEOUT, "30m"),
        (LABEL_JOB_MEANWHILE, "stopped"),
    ]);
    assert_eq!((job.is_job, job.meanwhile), (true, Meanwhile::Stopped));
    assert_eq!(job.job_timeout, Duration::from_secs(1800));
    assert_eq!(job.settle, Some(Duration::from_secs(120)));
    for (label, wrong) in [
        (LABEL_JOB, "after"),
        (LABEL_JOB_TIMEOUT, "2h"),
        (LABEL_JOB_TIMEOUT, "10"),
        (LABEL_JOB_TIMEOUT, "0s"),
        (LABEL_JOB_MEANWHILE, "stoped"),
        (LABEL_GROUP_SETTLE, "25h"),
        (LABEL_GROUP_SETTLE, "soon"),
    ] {
        assert_eq!(errors(&[(LABEL_GROUP, "shop"), (label, wrong)]).len(), 1, "{label}={wrong}");
    }
    assert_eq!(
        membership(&[(LABEL_GROUP, "a"), (LABEL_GROUP_SETTLE, "0s")]).settle,
        Some(Duration::ZERO)
    );
}

#[test]
fn a_label_without_its_group_is_an_error() {
    for (label, value) in [
        (LABEL_GROUP_SETTLE, "1m"),
        (LABEL_DEPENDS_ON, "db"),
        (LABEL_JOB, "before"),
        (LABEL_JOB_TIMEOUT, "1m"),
        (LABEL_JOB_MEANWHILE, "running"),
    ] {
        let found = errors(&[(label, value)]);
        assert_eq!(found.len(), 1, "{label}");
        assert!(found[0].contains("there is no label `pilotfish.group`"), "{found:?}");
    }
}
