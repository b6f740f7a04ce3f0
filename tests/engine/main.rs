//! The main job on a real Engine with a real registry. Each test has a Pi of its own: a private
//! Engine in its own network, with a registry beside it and an agent of its own.

#[cfg(test)]
#[expect(dead_code, reason = "other tests use more of their support than this one does")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod bad_releases;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dependents;
#[cfg(test)]
mod enough;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod image;
#[cfg(test)]
mod interruptions;
#[cfg(test)]
mod itself;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod logins;
mod meanwhile;
#[cfg(test)]
mod newer;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod people;
#[cfg(test)]
mod podman;
#[cfg(test)]
mod pulls;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod scrape;
#[cfg(test)]
#[expect(dead_code, reason = "the model draws more from it")]
#[path = "../model/seed.rs"]
mod seed;
#[cfg(test)]
mod socket_proxy;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod watchtower;
#[cfg(test)]
mod windows;
