//! The definition of a deployment: the create body, in the words of the Engine's API.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::LABEL_DEPLOYMENT;
use crate::core::recreate::{NetworkEndpoint, Recreation, RestartPolicy, restart_policy};

/// Length of the hash in hexadecimal digits: 64 bits are enough to see a change.
const HASH_LENGTH: usize = 16;

/// How many hexadecimal digits the Engine gives to the name of an anonymous volume.
const ANONYMOUS_NAME_LENGTH: usize = 64;

/// How the container of a deployment is created: a body of `POST /containers/create`, in the words
/// of the Engine's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The body without `Image`.
    body: Map<String, Value>,
    /// The image as the user writes it: the name that the pushed image gets at the commit.
    pub image: String,
    /// The same, parsed.
    pub reference: Reference,
}

impl Definition {
    /// Reads a body. Without `Image` the image is named like the deployment: `till:latest`.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn read(deployment: &str, body: Value) -> Result<Self, String> {
        let Value::Object(mut body) = body else {
            return Err("the body is not a JSON object".to_owned());
        };
        let image = match body.remove("Image") {
            None | Some(Value::Null) => format!("{deployment}:latest"),
            Some(Value::String(image)) => image,
            Some(_) => return Err("`Image` is not a text".to_owned()),
        };
        let reference: Reference =
            image.parse().map_err(|error| format!("`Image` is {image:?}: {error}"))?;
        if reference.digest.is_some() {
            return Err(format!("`Image` is {image:?}: a pushed image gets a tag, not a digest"));
        }
        for field in ["HostConfig", "NetworkingConfig", "Labels"] {
            if body.get(field).is_some_and(|value| !value.is_object() && !value.is_null()) {
                return Err(format!("`{field}` is not a JSON object"));
            }
        }
        let removes_itself = body.get("HostConfig").and_then(|host| host.get("AutoRemove"));
        if removes_itself == Some(&Value::Bool(true)) {
            return Err("`AutoRemove` (--rm) is set: the Engine would remove the container when \
                        it stops, and a rollback needs it"
                .to_owned());
        }
        Ok(Self { body, image, reference })
    }

    /// The hash for the label `pilotfish.deployment`: the container was created from exactly this
    /// definition.
    #[must_use]
    pub fn hash(&self) -> String {
        let written = serde_json::to_vec(&(&self.image, &self.body)).unwrap_or_default();
        Digest::of(&written).hex().chars().take(HASH_LENGTH).collect()
    }

    /// The labels of the container.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.body.get("Labels").and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        labels.map(|(label, value)| (label.clone(), text(value))).collect()
    }

    /// The restart policy of the container.
    #[must_use]
    pub fn restart_policy(&self) -> RestartPolicy {
        let body = Value::Object(self.body.clone());
        restart_policy(&body).unwrap_or_else(|_| RestartPolicy::no())
    }

    /// What creates the container. Below API 1.44 create takes only one network; the others are
    /// connected before the start.
    #[must_use]
    pub fn recreation(&self, api: ApiVersion) -> Recreation {
        let mut body = self.body.clone();
        body.insert("Image".to_owned(), json!(self.image));
        let mut labels = take_object(&mut body, "Labels");
        labels.insert(LABEL_DEPLOYMENT.to_owned(), json!(self.hash()));
        body.insert("Labels".to_owned(), Value::Object(labels));
        let host_config = take_object(&mut body, "HostConfig");
        let mode = host_config.get("NetworkMode").and_then(Value::as_str).unwrap_or_default();
        let mut networking = take_object(&mut body, "NetworkingConfig");
        let mut networks = take_object(&mut networking, "EndpointsConfig");
        let mut connect = Vec::new();
        if api < ApiVersion::V1_44 && networks.len() > 1 {
            let first = networks.keys().find(|name| *name == mode).or(networks.keys().next());
            let first = first.cloned().unwrap_or_default();
            let (at_create, later): (Map<_, _>, Map<_, _>) =
                networks.into_iter().partition(|(network, _)| *network == first);
            networks = at_create;
            let endpoint = |(network, config)| NetworkEndpoint { network, config };
            connect = later.into_iter().map(endpoint).collect();
        }
        networking.insert("EndpointsConfig".to_owned(), Value::Object(networks));
        body.insert("NetworkingConfig".to_owned(), Value::Object(networking));
        body.insert("HostConfig".to_owned(), Value::Object(host_config));
        Recreation { body: Value::Object(body), connect, platform: None }
    }

    /// The same in the place of an older container, which keeps its anonymous volumes: without
    /// their names it would get new, empty ones.
    #[must_use]
    pub fn replacing(&self, old: &Recreation, api: ApiVersion) -> Recreation {
        let mut new = self.recreation(api);
        new.platform.clone_from(&old.platform);
        let claimed = targets(&new.body);
        let mounts = old.body.pointer("/HostConfig/Mounts").and_then(Value::as_array);
        let kept = mounts.into_iter().flatten().filter(|mount| {
            let target = mount.get("Target").and_then(Value::as_str).unwrap_or_default();
            is_anonymous(mount) && !claimed.iter().any(|it| it == target)
        });
        let kept: Vec<Value> = kept.cloned().collect();
        if let (false, Some(body)) = (kept.is_empty(), new.body.as_object_mut()) {
            let mut host_config = take_object(body, "HostConfig");
            let own = host_config.remove("Mounts");
            let own = own.as_ref().and_then(Value::as_array).into_iter().flatten().cloned();
            let mounts: Vec<Value> = own.chain(kept).collect();
            host_config.insert("Mounts".to_owned(), json!(mounts));
            body.insert("HostConfig".to_owned(), Value::Object(host_config));
        }
        new
    }
}

/// Takes out a field that is an object; empty if it was absent or null.
fn take_object(body: &mut Map<String, Value>, field: &str) -> Map<String, Value> {
    match body.remove(field) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// The paths in the container that a body mounts something at.
fn targets(body: &Value) -> Vec<String> {
    let list = |field: &str| body.pointer(field).and_then(Value::as_array).into_iter().flatten();
    let binds = list("/HostConfig/Binds").filter_map(Value::as_str);
    let of_bind = |bind: &str| bind.split(':').nth(1).unwrap_or(bind).to_owned();
    let mounts = list("/HostConfig/Mounts").filter_map(|mount| mount.get("Target")?.as_str());
    let tmpfs = body.pointer("/HostConfig/Tmpfs").and_then(Value::as_object).into_iter().flatten();
    let mounts = mounts.chain(tmpfs.map(|(path, _)| path.as_str()));
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    binds.map(|bind| plain(&of_bind(bind))).chain(mounts.map(plain)).collect()
}

fn is_anonymous(mount: &Value) -> bool {
    let text = |field: &str| mount.get(field).and_then(Value::as_str).unwrap_or_default();
    let name = text("Source");
    text("Type") == "volume"
        && name.len() == ANONYMOUS_NAME_LENGTH
        && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(body: Value) -> Definition {
        Definition::read("till", body).expect("a definition")
    }

    #[test]
    fn the_hash_follows_every_change() {
        let one = definition(json!({ "Cmd": ["/app"], "Env": ["A=1"] }));
        let same = definition(json!({ "Env": ["A=1"], "Image": "till:latest", "Cmd": ["/app"] }));
        let other = definition(json!({ "Cmd": ["/app"], "Env": ["A=2"] }));
        let renamed = definition(json!({ "Cmd": ["/app"], "Env": ["A=1"], "Image": "till:v2" }));
        assert_eq!(one.hash(), same.hash());
        assert_ne!(one.hash(), other.hash());
        assert_ne!(one.hash(), renamed.hash());
        assert_eq!(one.recreation(ApiVersion::V1_41).body["Labels"][LABEL_DEPLOYMENT], one.hash());
    }

    #[test]
    fn wrong_bodies_are_refused_with_their_field() {
        for (body, expected) in [
            (json!([]), "not a JSON object"),
            (json!({ "Image": 1 }), "`Image`"),
            (json!({ "Image": "Till" }), "`Image`"),
            (json!({ "Image": format!("till@sha256:{}", "a".repeat(64)) }), "digest"),
            (json!({ "HostConfig": [] }), "`HostConfig`"),
            (json!({ "HostConfig": { "AutoRemove": true } }), "AutoRemove"),
        ] {
            let error = Definition::read("till", body).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn networks_that_create_does_not_take_are_connected_later() {
        let body = json!({
            "HostConfig": { "NetworkMode": "b" },
            "NetworkingConfig": { "EndpointsConfig": { "a": {}, "b": { "Aliases": ["x"] } } },
        });
        let old = definition(body.clone()).recreation(ApiVersion::V1_41);
        let at_create = &old.body["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(*at_create, json!({ "b": { "Aliases": ["x"] } }));
        assert_eq!(old.connect, [NetworkEndpoint { network: "a".into(), config: json!({}) }]);
        let new = definition(body).recreation(ApiVersion::V1_44);
        assert!(new.connect.is_empty());
    }

    #[test]
    fn anonymous_volumes_stay_where_the_new_definition_mounts_nothing() {
        let volume = |target: &str, letter: &str| json!({ "Type": "volume", "Source": letter.repeat(64), "Target": target });
        let named = json!({ "Type": "volume", "Source": "data", "Target": "/named" });
        let mounts = json!([volume("/a", "a"), volume("/b", "b"), volume("/c", "c"), named]);
        let old = Recreation {
            body: json!({ "HostConfig": { "Mounts": mounts } }),
            connect: Vec::new(),
            platform: None,
        };
        let binds = json!({ "HostConfig": { "Binds": ["/host:/b:ro"], "Tmpfs": { "/c/": "" } } });
        let new = definition(binds).replacing(&old, ApiVersion::V1_41);
        assert_eq!(new.body["HostConfig"]["Mounts"], json!([volume("/a", "a")]));
    }
}
