//! Services of a real Swarm: one manager and two workers, private Engines in networks of their own.

#[cfg(test)]
#[expect(dead_code, reason = "other test programs use more of the support code")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod agent;
#[cfg(test)]
mod bad_images;
#[cfg(test)]
mod behind_proxy;
#[cfg(test)]
mod good_updates;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod smoke;
#[cfg(test)]
mod story;
#[cfg(test)]
mod tables;
