//! The main job on a real Engine with a real registry. Each test has its own Pi: a private Engine
//! in its own network, with its own registry and agent.

#[cfg(test)]
#[expect(dead_code, reason = "other test programs use more of the support code")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod bad_releases;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dependents;
#[cfg(test)]
mod time_limits;
#[cfg(test)]
mod state_loss;
#[cfg(test)]
mod smoke;
#[cfg(test)]
mod image;
#[cfg(test)]
mod group_guards;
mod hooks;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod interruptions;
#[cfg(test)]
mod self_update;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod logins;
mod concurrent_changes;
#[cfg(test)]
mod future_engine;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod manual_commands;
#[cfg(test)]
mod podman;
#[cfg(test)]
mod name_collisions;
#[cfg(test)]
mod compose_projects;
#[cfg(test)]
mod projects;
#[cfg(test)]
mod pulls;
#[cfg(test)]
mod push;
#[cfg(test)]
mod push_api;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod scrape;
#[cfg(test)]
#[expect(dead_code, reason = "the model uses more of it")]
#[path = "../model/seed.rs"]
mod seed;
#[cfg(test)]
mod second_agent;
#[cfg(test)]
mod side_by_side;
#[cfg(test)]
mod socket_proxy;
#[cfg(test)]
mod start_errors;
#[cfg(test)]
mod start_first;
#[cfg(test)]
mod start_requirements;
#[cfg(test)]
mod update_lock;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod watchtower;
#[cfg(test)]
mod windows;
#[cfg(test)]
mod docker_parity;
