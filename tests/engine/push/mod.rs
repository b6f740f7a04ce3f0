//! Images that a client pushes, without a registry.

pub mod client;
mod lost_layers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::begins_step;
use crate::support::command::{run, wait_until};
use crate::support::images::{Layer, Release, digest_of};
use crate::support::registry::{architecture, is_containerd_store};
use crate::support::shop::{Shop, release};
use crate::support::{Pi, text};
use client::{Client, convert, push_tags, unnamed};

const SOON: Duration = Duration::from_secs(60);

/// A Pi whose `till` runs version 1, from a local tag, without any label.
fn pi() -> Pi {
    let pi = Pi::new();
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.engine.docker(&["pull", "--quiet", &one.reference]);
    pi.engine.docker(&["tag", &one.reference, "till:latest"]);
    pi.start("till", "till:latest", &["--publish=8080:8080"]);
    pi.wait_until_serving(8080);
    pi
}

/// An archive of a release, as `docker save` writes it. No image of it stays on the Engine.
fn archive(pi: &Pi, name: &str, release: &Release) -> PathBuf {
    let published = pi.registry.publish(name, release);
    pi.engine.docker(&["pull", "--quiet", &published.reference]);
    pi.engine.docker(&["tag", &published.reference, "elsewhere:latest"]);
    let path = pi.engine.directory().join(format!("{name}.tar"));
    let to = path.to_str().expect("a path");
    // Another container may use this name: a load must not move it.
    pi.engine.docker(&["save", "--output", to, "elsewhere:latest"]);
    pi.engine.docker(&["rmi", "elsewhere:latest", &published.reference]);
    path
}

fn image_of(pi: &Pi, name: &str) -> String {
    let id = pi.engine.docker(&["image", "inspect", "--format", "{{.Id}}", name]);
    id.trim().to_owned()
}

#[test]
fn a_pushed_image_becomes_the_container_and_its_tag_moves() {
    let pi = pi();
    let (old, tag) = (pi.id("till"), image_of(&pi, "till:latest"));
    let two = archive(&pi, "two", &Release::new("2"));
    pi.engine.docker(&["tag", "till:latest", "elsewhere:latest"]);
    let client = Client::of(&pi);

    let answer = client.push(&two);

    assert_eq!(answer["outcome"], "updated", "{answer}");
    assert_eq!(answer["by"], "dns:ci.example");
    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    assert_ne!(pi.id("till"), old);
    assert_eq!(image_of(&pi, "till:latest"), text(&answer["image"]));
    assert_eq!(image_of(&pi, "elsewhere:latest"), tag, "the load moved a tag");
    assert!(push_tags(&pi).is_empty(), "{:?}", push_tags(&pi));
    assert_eq!(pi.names(), ["till running"]);
    let record = &pi.history("till")[0];
    assert_eq!(record["by"], "dns:ci.example", "{record:#}");
    assert_eq!(client.act("show")["pushed"], "dns:ci.example");
    assert!(client.act("log")["lines"].is_array());

    let again = client.push(&two);

    assert_eq!(again["runs"], answer["image"], "{again}");
    assert!(push_tags(&pi).is_empty());
    assert_eq!(client.act("rollback")["done"], "Ended");
    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    let refused = client.push(&two);
    assert_eq!(refused["refused"], "refused_digest", "{refused}");
    assert!(push_tags(&pi).is_empty() && unnamed(&pi).is_empty());
    assert_eq!(client.act("allow")["done"], "Allowed");
    assert_eq!(client.push(&two)["outcome"], "updated");
}

#[test]
fn a_push_starts_the_new_container_first() {
    let labels =
        ["--label=pilotfish.update.order=start-first", "--label=pilotfish.update.drain=1s"];
    let shop = Shop::open(Pi::new(), &labels);
    let before = image_of(&shop.pi, &shop.one.reference);
    let two = archive(&shop.pi, "two", &release("2"));
    let bad = archive(&shop.pi, "bad", &release("3").with("TILL_UNHEALTHY_AFTER", "0s"));

    let failed = Client::of(&shop.pi).push(&bad);
    let tag = image_of(&shop.pi, &shop.one.reference);
    let answer = Client::of(&shop.pi).push(&two);

    assert_eq!(failed["outcome"], "rolled_back", "{failed}");
    assert_eq!(tag, before, "a bad image moved the tag");
    assert_eq!(answer["outcome"], "updated", "{answer}");
    assert_eq!(image_of(&shop.pi, &shop.one.reference), text(&answer["image"]));
    let record = &shop.pi.history("till")[0];
    assert_eq!((&record["gap_seconds"], &record["by"]), (&json!(0.0), &json!("dns:ci.example")));
    assert!(push_tags(&shop.pi).is_empty() && unnamed(&shop.pi).is_empty());
}

#[test]
fn a_bad_image_is_rolled_back_and_nothing_of_it_stays() {
    let pi = pi();
    let before = image_of(&pi, "till:latest");
    let bad = archive(&pi, "bad", &Release::new("2").with_entrypoint("/missing"));
    let client = Client::of(&pi);

    let answer = client.push(&bad);

    assert_eq!(answer["outcome"], "rolled_back", "{answer}");
    pi.wait_until_serving(8080);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    assert_eq!(image_of(&pi, "till:latest"), before);
    assert!(push_tags(&pi).is_empty() && unnamed(&pi).is_empty());
    let gone = pi.engine.call("GET", &format!("/images/{}/json", text(&answer["image"])));
    assert_eq!(gone.status, 404, "the failed image stays");
    assert_eq!(client.push(&bad)["refused"], "refused_digest");
    assert_eq!(client.act("show")["refused"], 1);
}

/// A place in the layer with the ballast: the Engine does not read a layer that it has.
fn ballast_in(archive: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let size = std::str::from_utf8(&archive[at + 124..at + 135]).expect("digits");
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).expect("a size");
        if (300_000..400_000).contains(&size) {
            return at + 512 + size / 2;
        }
        at += 512 + size.next_multiple_of(512);
    }
}

#[test]
fn an_archive_that_is_no_image_leaves_nothing_and_touches_nothing() {
    let pi = pi();
    let (old, dir) = (pi.id("till"), pi.engine.directory().to_owned());
    let good = archive(&pi, "two", &Release::new("2").with_ballast(300_000));
    let images = pi.engine.docker(&["images", "--all", "--quiet", "--no-trunc"]);
    let bytes = fs::read(&good).expect("the archive");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let packed = dir.join("two.tar.gz");
    convert("gzip", &["-1"], &good, &packed);
    let gzip = fs::read(&packed).expect("the archive");
    let mut flipped = bytes.clone();
    flipped[ballast_in(&bytes)] ^= 0xff;
    let rows = [
        ("garbage", file("garbage", &b"garbage".repeat(1000)), "bad_archive"),
        ("truncated", file("short", &bytes[..bytes.len() / 2]), "bad_archive"),
        ("truncated gzip", file("short.gz", &gzip[..gzip.len() / 2]), "bad_archive"),
        ("no bytes", file("empty", b""), "bad_archive"),
        ("a layer with another content", file("flipped", &flipped), "bad_archive"),
    ];
    // The containerd image store collects what was removed later, and does not read a blob that it
    // still has.
    let counts = |what: &str| !(is_containerd_store() && what.starts_with("a layer"));
    for (what, path, expected) in rows.into_iter().filter(|(what, ..)| counts(what)) {
        let answer = Client::of(&pi).push(&path);
        assert_eq!(answer["refused"], expected, "{what}: {answer}");
    }
    let mut client = Client::of(&pi);
    client.cut = Some(200_000);
    assert_eq!(client.push(&good)["refused"], "bad_archive");
    client = Client::of(&pi);
    client.digest = Some(format!("sha256:{}", "0".repeat(64)));
    assert_eq!(client.push(&good)["refused"], "bad_archive");
    assert_eq!(pi.id("till"), old);
    let after = pi.engine.docker(&["images", "--all", "--quiet", "--no-trunc"]);
    assert_eq!(after, images, "an image stays");
    let journal = fs::read_to_string(pi.agent.state().join("push.json")).expect("the file");
    assert_eq!(journal.trim(), "{}");
    let answer = Client::of(&pi).push(&packed);
    assert_eq!(answer["outcome"], "updated", "{answer}");
}

/// Writes an archive of all files in a directory, with `tar`.
fn archive_of(directory: &Path, to: PathBuf) -> PathBuf {
    run(std::process::Command::new("tar").arg("-cC").arg(directory).arg("-f").arg(&to).arg("."));
    to
}

/// An OCI layout, as skopeo, crane and BuildKit write it.
fn oci_layout(pi: &Pi, name: &str, config: &[u8], layers: &[&Layer]) -> PathBuf {
    let directory = tempfile::tempdir().expect("a directory");
    let blobs = directory.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    let blob = |content: &[u8]| {
        let digest = digest_of(content);
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), content).expect("a blob");
        json!({ "digest": digest, "size": content.len() })
    };
    let mut layers: Vec<_> = layers.iter().map(|layer| blob(&layer.compressed)).collect();
    for layer in &mut layers {
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    }
    let mut config = blob(config);
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
    });
    let mut manifest = blob(manifest.to_string().as_bytes());
    manifest["mediaType"] = json!(media_type);
    manifest["annotations"] = json!({
        "org.opencontainers.image.ref.name": "latest",
        "io.containerd.image.name": "docker.io/library/elsewhere:latest",
    });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    let write = |name: &str, content: &str| {
        fs::write(directory.path().join(name), content).expect("a file");
    };
    write("index.json", &index.to_string());
    write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    archive_of(directory.path(), pi.engine.directory().join(format!("{name}.tar")))
}

/// A docker-archive with compressed layers, as crane writes it.
fn crane_archive(pi: &Pi, name: &str, config: &[u8], layers: &[&Layer]) -> PathBuf {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, content: &[u8]| {
        fs::write(directory.path().join(name), content).expect("a file");
    };
    let mut names = Vec::new();
    for layer in layers {
        let name = format!("{}.tar.gz", digest_of(&layer.compressed).trim_start_matches("sha256:"));
        write(&name, &layer.compressed);
        names.push(name);
    }
    let list = json!([{
        "Config": digest_of(config), "RepoTags": ["elsewhere:latest"], "Layers": names,
    }]);
    write(&digest_of(config), config);
    write("manifest.json", list.to_string().as_bytes());
    archive_of(directory.path(), pi.engine.directory().join(format!("{name}.tar")))
}

#[test]
fn every_form_of_an_archive_is_loaded() {
    let pi = pi();
    pi.engine.docker(&["tag", "till:latest", "elsewhere:latest"]);
    let elsewhere = image_of(&pi, "elsewhere:latest");
    let client = Client::of(&pi);
    let dir = pi.engine.directory().to_owned();
    let (two, three) = (Release::new("2"), Release::new("3").with_ballast(50_000));
    let oci = oci_layout(&pi, "oci", &two.config(), &two.layers());
    let crane = crane_archive(&pi, "crane", &three.config(), &three.layers());
    for (archive, expected) in [(oci, "till 2"), (crane.clone(), "till 3")] {
        let answer = client.push(&archive);
        assert_eq!(answer["outcome"], "updated", "{expected}: {answer}");
        assert_eq!(pi.serving(8080).as_deref(), Some(expected));
        assert_eq!(image_of(&pi, "elsewhere:latest"), elsewhere, "a tag was moved");
    }
    for program in ["bzip2", "xz", "zstd"] {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            continue;
        }
        let packed = dir.join(format!("packed.{program}"));
        convert(program, &["-c"], &crane, &packed);
        let answer = client.push(&packed);
        assert_eq!(answer["refused"], "bad_archive", "{program}: {answer}");
        assert!(text(&answer["detail"]).contains(program), "{answer}");
    }
    let four = Release::new("4");
    let foreign = String::from_utf8(four.config()).expect("JSON");
    let foreign = foreign.replace(&format!("\"{}\"", architecture()), "\"s390x\"");
    for archive in [
        oci_layout(&pi, "foreign", foreign.as_bytes(), &four.layers()),
        crane_archive(&pi, "foreign2", foreign.as_bytes(), &four.layers()),
    ] {
        let answer = client.push(&archive);
        assert_eq!(answer["refused"], "platform_missing", "{answer}");
    }
    assert!(push_tags(&pi).is_empty() && unnamed(&pi).is_empty(), "{:?}", unnamed(&pi));
}

#[test]
fn layers_that_the_device_has_may_be_left_out() {
    let pi = pi();
    let two = archive(&pi, "two", &Release::new("2").with_ballast(2_000_000));
    let client = Client::of(&pi);
    assert_eq!(client.push(&two)["outcome"], "updated");
    let known = client.act("layers");
    if known["containerd"] == true {
        return;
    }
    assert_eq!(known["layers"].as_array().map(Vec::len), Some(2), "{known}");
    let three = archive(&pi, "three", &Release::new("3").with_ballast(2_000));
    let thin = thin(&pi, &three, true);
    let answer = client.push(&thin);
    assert_eq!(answer["outcome"], "updated", "{answer}");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 3"));
    // A layer that is nowhere.
    let four = archive(&pi, "four", &Release::new("4").with_ballast(2_000_000));
    let answer = client.push(&self::thin(&pi, &four, false));
    assert_eq!(answer["refused"], "layers_missing", "{answer}");
    assert!(push_tags(&pi).is_empty() && unnamed(&pi).is_empty());
}

/// An archive without its first layer, or without its last one.
fn thin(pi: &Pi, archive: &Path, first: bool) -> PathBuf {
    let script = "import sys,tarfile,json\n\
        a=tarfile.open(sys.argv[1]); m=json.load(a.extractfile('manifest.json'))[0]\n\
        out=m['Layers'][0 if sys.argv[3]=='first' else -1]\n\
        b=tarfile.open(sys.argv[2],'w')\n\
        for i in a:\n\
        \x20   if i.name!=out: b.addfile(i, a.extractfile(i) if i.isreg() else None)\n\
        b.close()\n";
    let to = pi.engine.directory().join("thin.tar");
    let which = if first { "first" } else { "last" };
    let mut command = std::process::Command::new("python3");
    command.args(["-c", script]).arg(archive).arg(&to).arg(which);
    run(&mut command);
    to
}

#[test]
fn a_deployment_without_a_container_gets_its_first_one() {
    let pi = Pi::new();
    let (one, bad) = (Release::new("1"), Release::new("0").with_entrypoint("/missing"));
    let (one, bad) = (archive(&pi, "one", &one), archive(&pi, "bad", &bad));
    let body = json!({
        "ExposedPorts": { "8080/tcp": {} },
        "HostConfig": {
            "PortBindings": { "8080/tcp": [{ "HostPort": "8080" }] },
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    });
    let mut client = Client::of(&pi);
    assert_eq!(client.push(&one)["refused"], "no_such_container");
    client.definition = Some(body.clone());

    let failed = client.push(&bad);

    assert_eq!(failed["outcome"], "failed", "{failed}");
    assert!(pi.names().is_empty() && push_tags(&pi).is_empty() && unnamed(&pi).is_empty());
    let answer = client.push(&one);
    assert_eq!(answer["outcome"], "updated", "{answer}");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    let document = pi.inspect("till");
    assert_eq!(document["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    assert_eq!(document["Config"]["Image"], "till:latest");
    assert_eq!(image_of(&pi, "till:latest"), text(&answer["image"]));
    assert!(push_tags(&pi).is_empty());

    // The same image with another definition.
    let mut changed = body;
    changed["Env"] = json!(["GREETING=hello"]);
    client.definition = Some(changed);
    assert_eq!(client.act("show")["new_definition"], true);
    assert_eq!(client.act("restart")["done"], "Ended");
    let environment = pi.inspect("till")["Config"]["Env"].to_string();
    assert!(environment.contains("GREETING=hello"), "{environment}");
    assert_eq!(client.act("show")["new_definition"], false);
    assert_eq!(client.act("restart")["done"], "Done");
    let two = archive(&pi, "two", &Release::new("2"));
    assert_eq!(client.push(&two)["outcome"], "updated");
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}

#[test]
fn a_stopped_container_stays_stopped_until_a_client_starts_it() {
    let pi = pi();
    let two = archive(&pi, "two", &Release::new("2"));
    let client = Client::of(&pi);
    assert_eq!(client.act("stop")["done"], "Done");
    assert_eq!(client.act("show")["stopped"], "dns:ci.example");
    let refused = client.push(&two);
    assert_eq!(refused["refused"], "not_running", "{refused}");
    assert!(text(&refused["detail"]).contains("stopped by dns:ci.example"), "{refused}");
    assert_eq!(pi.inspect("till")["State"]["Running"], false);
    assert_eq!(client.act("start")["done"], "Done");
    assert_eq!(client.act("show")["stopped"], Value::Null);
    assert_eq!(client.push(&two)["outcome"], "updated");
}

/// Killed at these steps, the next agent ends the update, and one image serves.
fn kills_at(steps: &[&str]) {
    let pi = pi();
    for (number, step) in steps.iter().enumerate() {
        let name = format!("r{number}");
        let archive = archive(&pi, &name, &Release::new(&format!("{}", number + 2)));
        let client = Client::of(&pi);
        let mut child = client.spawn("load", &archive);
        wait_until(&format!("the push comes to {step}"), SOON, || {
            pi.agent.entries().iter().any(|entry| begins_step(entry, step))
                || child.try_wait().expect("a child").is_some()
        });
        child.kill().expect("to kill it");
        let _ = child.wait_with_output();
        // The next agent ends it before it answers.
        wait_until("the update ends", SOON, || {
            client.act("show");
            pi.agent.journals().is_empty()
        });
        pi.wait_until_serving(8080);
        assert_eq!(pi.names(), ["till running"], "{step}");
        assert!(push_tags(&pi).is_empty(), "{step}: {:?}", push_tags(&pi));
        assert!(unnamed(&pi).is_empty(), "{step}: {:?}", unnamed(&pi));
        let running = text(&pi.inspect("till")["Image"]);
        assert_eq!(image_of(&pi, "till:latest"), running, "{step}: the tag");
    }
}

/// The model kills at every call. On a real Engine a kill before, in and after the gap is enough.
#[test]
fn a_kill_around_the_switch_leaves_one_service() {
    kills_at(&["create", "start", "commit"]);
}

#[ignore = "takes a minute: make torture"]
#[test]
fn a_kill_at_any_step_leaves_one_service() {
    kills_at(&["pull", "sync", "create", "switch", "start", "verify", "commit", "clean"]);
}

/// Killed so many milliseconds after a load began, nothing stays.
fn kills_after(pauses: &[u64], megabytes: usize) {
    let pi = pi();
    let archive = archive(&pi, "two", &Release::new("2").with_ballast(megabytes * 1_000_000));
    let client = Client::of(&pi);
    for pause in pauses {
        let mut child = client.spawn("load", &archive);
        wait_until("the load begins", SOON, || {
            let open = fs::read_to_string(pi.agent.state().join("push.json"));
            open.is_ok_and(|open| open.contains("unnamed"))
                || child.try_wait().expect("a child").is_some()
        });
        std::thread::sleep(Duration::from_millis(*pause));
        child.kill().expect("to kill it");
        let _ = child.wait_with_output();
        wait_until("nothing is open", SOON, || {
            client.act("show");
            pi.agent.journals().is_empty()
        });
        assert!(push_tags(&pi).is_empty(), "{pause}: {:?}", push_tags(&pi));
        // The Engine may have had the whole archive, and finish the load without a client.
        wait_until("nothing without a name stays", SOON, || {
            client.act("show");
            unnamed(&pi).is_empty()
        });
        pi.wait_until_serving(8080);
        assert_eq!(pi.names(), ["till running"]);
    }
}

#[test]
fn a_kill_in_the_middle_of_a_load_leaves_no_image() {
    kills_after(&[0, 60, 250], 10);
}

#[ignore = "takes a minute: make torture"]
#[test]
fn a_kill_at_many_moments_of_a_load_leaves_no_image() {
    kills_after(&[0, 20, 60, 120, 250, 400, 700, 1000], 30);
}

/// The archive is three times as large as the limit. `make bench` measures 200 MB.
#[test]
fn the_memory_of_a_load_does_not_grow_with_the_image() {
    let pi = pi();
    let large = archive(&pi, "large", &Release::new("2").with_ballast(24_000_000));
    let answer = Client::of(&pi).push(&large);
    assert_eq!(answer["outcome"], "updated", "{answer}");
    let grown = answer["grown_kb"].as_u64().expect("a number");
    assert!(grown < 8_000, "{grown} kB");
}
