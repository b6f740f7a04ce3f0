//! What a power cut in the middle of a load leaves: layers that the Engine has noted, and whose
//! files were lost. `make torture` cuts the power for this; here the same state is made by hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{Client, push_tags, unnamed};
use super::{archive, pi};
use crate::support::Pi;
use crate::support::images::Release;
use crate::support::registry::is_containerd_store;

/// The Engine has the image of this archive without a name, and the agent has an open load of it.
struct Left {
    id: String,
    /// The directory of its layer with the program.
    layer: PathBuf,
}

fn leave(pi: &Pi, archive: &Path) -> Left {
    pi.engine.docker(&["load", "--input", archive.to_str().expect("a path")]);
    let document = pi.engine.call("GET", "/images/elsewhere:latest/json").json();
    let id = document["Id"].as_str().expect("an ID").to_owned();
    let repositories = pi.engine.directory().join("data/image/overlay2/repositories.json");
    let data = &document["GraphDriver"]["Data"];
    let layers = format!("{}:{}", data["UpperDir"], data["LowerDir"]).replace('"', "");
    let program = layers.split(':').map(|layer| Path::new(layer).join("own-till"));
    let program = program.into_iter().find(|file| file.exists()).expect("a layer with a program");
    let layer = program.parent().and_then(Path::parent).expect("a directory").to_owned();
    pi.engine.stop();
    let mut names: Value =
        serde_json::from_slice(&fs::read(&repositories).expect("the names")).expect("JSON");
    names["Repositories"].as_object_mut().expect("names").remove("elsewhere");
    fs::write(&repositories, names.to_string()).expect("the names");
    let open = json!({ "load": {
        "container": "till", "by": "dns:ci.example", "at": "2026-01-01T00:00:00Z", "unnamed": [],
        "config": id, "diff_ids": document["RootFS"]["Layers"],
    } });
    fs::create_dir_all(pi.agent.state()).expect("the state");
    fs::write(pi.agent.state().join("push.json"), open.to_string()).expect("an open load");
    Left { id, layer }
}

impl Left {
    /// The power was cut before the Engine noted the image, and before the files were there.
    fn lose_files(&self, pi: &Pi) {
        let hex = self.id.trim_start_matches("sha256:");
        let images = pi.engine.directory().join("data/image/overlay2/imagedb/content/sha256");
        fs::remove_file(images.join(hex)).expect("the image");
        fs::write(self.layer.join("diff/own-till"), "").expect("an empty file");
    }
}

/// After a boot the same image is pushed again.
fn assert_pushed_again(pi: &Pi, archive: &Path) {
    pi.engine.start_again(&[]);
    pi.wait_until_serving(8080);
    let client = Client::of(pi);
    client.act("show");
    assert!(unnamed(pi).is_empty(), "{:?}", unnamed(pi));

    let answer = client.push(archive);

    assert_eq!(answer["outcome"], "updated", "{answer}");
    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert!(push_tags(pi).is_empty() && unnamed(pi).is_empty());
}

#[test]
fn a_layer_that_lost_its_files_is_loaded_anew() {
    let pi = pi();
    if is_containerd_store() {
        return;
    }
    let two = archive(&pi, "two", &Release::new("2").with_own_till());
    let left = leave(&pi, &two);
    left.lose_files(&pi);
    assert_pushed_again(&pi, &two);
}

#[test]
fn an_image_that_the_engine_cannot_describe_is_removed() {
    let pi = pi();
    if is_containerd_store() {
        return;
    }
    let two = archive(&pi, "two", &Release::new("2").with_own_till());
    let left = leave(&pi, &two);
    fs::write(left.layer.join("lower"), "").expect("an empty file");
    assert_pushed_again(&pi, &two);
}

/// The same after a pull: the agent was killed in it, and then the power was cut.
#[test]
fn a_layer_that_lost_its_files_is_pulled_anew() {
    let pi = Pi::new();
    if is_containerd_store() {
        return;
    }
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let release = Release::new("2").with_own_till();
    let two = pi.registry.publish("till", &release);
    pi.update_until("pull").kill();
    pi.engine.call("DELETE", &format!("/images/{}?force=1", two.image));
    let left = leave(&pi, &archive(&pi, "two", &release));
    fs::remove_file(pi.agent.state().join("push.json")).expect("no load");
    left.lose_files(&pi);
    pi.engine.start_again(&[]);
    pi.wait_until_serving(8080);

    pi.update(&[]).expect_code(0);

    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"), "{:?}", pi.history("till"));
}
