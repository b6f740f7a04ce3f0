//! The shipped files agree with each other: two Dockerfiles, and the target platforms.

use crate::source_tree::{File, Finding, assert_none, file};

/// The common part of the two Dockerfiles begins with the image's labels.
const SHARED_BEGINS: &str = "LABEL ";

fn shared(dockerfile: &File) -> &str {
    let text = &dockerfile.text;
    text.find(SHARED_BEGINS).map_or("", |begin| &text[begin..])
}

fn check_images(one: &File, other: &File) -> Vec<Finding> {
    if shared(one).is_empty() || shared(one) != shared(other) {
        vec![other.finding(0, format!("differs from {} below `{SHARED_BEGINS}`", one.path))]
    } else {
        Vec::new()
    }
}

/// Every target that is linked for a Pi is named in each file that builds or packs one.
fn check_targets(cargo: &File, places: &[File]) -> Vec<Finding> {
    let headings = cargo.text.lines().filter_map(|line| line.strip_prefix("[target."));
    let targets: Vec<_> = headings.map(|heading| heading.trim_end_matches(']')).collect();
    assert!(targets.len() >= 3, "{targets:?}");
    let lacks = |place: &File, target: &str| {
        let rule = format!("does not know the target `{target}`");
        (!place.text.contains(target)).then(|| place.finding(0, rule))
    };
    let all = |place| targets.iter().filter_map(move |target| lacks(place, target));
    places.iter().flat_map(all).collect()
}

#[test]
fn both_dockerfiles_make_the_same_image() {
    let prebuilt = file("deploy/prebuilt.Dockerfile");
    assert_none(&check_images(&file("deploy/Dockerfile"), &prebuilt));
}

#[test]
fn every_target_is_built_packed_and_permitted() {
    let places = ["scripts/dist", "scripts/deb", "deploy/Dockerfile", "deny.toml"].map(file);
    assert_none(&check_targets(&file(".cargo/config.toml"), &places));
}

#[test]
fn the_rules_find_differences() {
    let one = File::made_up("Dockerfile", "FROM a\nLABEL x=y\nCMD [\"run\"]\n");
    let other = File::made_up("other", "FROM b\nLABEL x=y\nCMD [\"check\"]\n");
    assert_eq!(check_images(&one, &other).len(), 1);
    assert!(check_images(&one, &one).is_empty());
    let cargo = File::made_up("config.toml", "[target.a]\n[target.b]\n[target.c]\n");
    assert_eq!(check_targets(&cargo, &[File::made_up("script", "a, b")]).len(), 1);
}
