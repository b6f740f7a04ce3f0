//! The lock of an Engine: one agent works on it, independent of the state directory that it uses.
//!
//! The lock is a volume of the Engine, because the Engine is the only thing that two agents share.
//! The first agent creates the volume, and the labels of the volume name that agent. When an agent
//! asks the Engine to create a volume that exists, the Engine leaves it unchanged. So of several
//! agents exactly one gets the lock.

use std::collections::BTreeMap;

/// The name of the lock volume.
pub const LOCK_VOLUME: &str = "pilotfish-lock";

/// The prefix of the volume's labels.
const PREFIX: &str = "pilotfish.lock.";

/// A process, described so that another process on the same machine can find it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub pid: String,
    /// Start time in ticks since the boot (`starttime` of `proc_pid_stat(5)`), because process IDs
    /// are reused.
    pub started: String,
    /// The PID namespace in which the number is valid (`/proc/PID/ns/pid`).
    pub namespace: String,
}

/// The agent that holds an Engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The random ID stored in the agent's state directory.
    pub owner: String,
    /// The path of the state directory, for people.
    pub state_dir: String,
    /// Device and inode of the state directory. A copy has other ones. They may change with a boot.
    pub directory: String,
    /// The host name, for people.
    pub host: String,
    /// The machine ID.
    pub machine: String,
    pub boot_id: String,
    pub process: ProcessIdentity,
    /// The ID of the agent's container, if that container is one of this Engine.
    pub container: String,
    /// Whether the agent reaches the Engine by a socket, so that it most likely runs on the
    /// Engine's machine.
    pub by_socket: bool,
}

impl Holder {
    /// The labels of the volume.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let by_socket = self.by_socket.to_string();
        let pairs = [
            ("owner", &self.owner),
            ("state-dir", &self.state_dir),
            ("directory", &self.directory),
            ("host", &self.host),
            ("machine", &self.machine),
            ("boot", &self.boot_id),
            ("pid", &self.process.pid),
            ("started", &self.process.started),
            ("pid-namespace", &self.process.namespace),
            ("container", &self.container),
            ("by-socket", &by_socket),
        ];
        pairs.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone())).collect()
    }

    /// Reads the holder from the labels of the volume. All fields are empty if no agent created it.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| labels.get(&format!("{PREFIX}{key}")).cloned().unwrap_or_default();
        Self {
            owner: text("owner"),
            state_dir: text("state-dir"),
            directory: text("directory"),
            host: text("host"),
            machine: text("machine"),
            boot_id: text("boot"),
            process: ProcessIdentity {
                pid: text("pid"),
                started: text("started"),
                namespace: text("pid-namespace"),
            },
            container: text("container"),
            by_socket: text("by-socket") == "true",
        }
    }

    /// Whether both are of the same boot of the same machine.
    #[must_use]
    pub fn is_same_boot(&self, other: &Self) -> bool {
        !self.boot_id.is_empty() && self.boot_id == other.boot_id
    }

    /// Who the holder is, for people, and what to do if that agent no longer exists.
    #[must_use]
    pub fn in_words(&self) -> String {
        if self.owner.is_empty() {
            return format!(
                "there is a volume {LOCK_VOLUME} that no agent made; this agent needs that name: \
                 remove or rename the volume"
            );
        }
        let container = match self.container.get(..12) {
            Some(short) => format!(", container {short}"),
            None => String::new(),
        };
        let Self { host, state_dir, process: ProcessIdentity { pid, .. }, .. } = self;
        format!(
            "another agent works on this Engine: process {pid} on {host}{container}, state \
             directory {state_dir}; if it is gone for good, `docker volume rm {LOCK_VOLUME}`"
        )
    }
}

/// What this agent can see of a holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HolderStatus {
    /// Whether the holder's process runs; absent if processes of its namespace are not visible.
    pub process_lives: Option<bool>,
    /// Whether the holder's container runs; absent if it has none, or if the Engine does not say.
    pub container_runs: Option<bool>,
    /// Whether this agent has ever begun to create or to remove the lock.
    pub has_changed_lock: bool,
}

/// What an existing lock means for this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The lock belongs to this agent, perhaps to an earlier process of it.
    Own,
    /// The holder is shown to be gone.
    Abandoned,
    /// It names no agent, and this agent left it: the end of the Engine or the machine took the
    /// labels.
    Remnant,
    /// Another agent holds the lock, or nothing shows that its holder is gone.
    Foreign,
}

/// What an existing lock means for this agent.
///
/// The lock of the state directory keeps two processes of one directory apart, so the ID in it is
/// enough to identify the agent. But a person can copy a directory together with its ID, and the
/// copy is another agent.
#[must_use]
pub fn claim(found: &Holder, own: &Holder, seen: HolderStatus) -> Claim {
    let is_same_boot = found.is_same_boot(own);
    let is_same_directory = !is_same_boot || found.directory == own.directory;
    if found.owner == own.owner && !own.owner.is_empty() && is_same_directory {
        return Claim::Own;
    }
    if found.owner.is_empty() {
        return if seen.has_changed_lock { Claim::Remnant } else { Claim::Foreign };
    }
    match seen.process_lives.filter(|_| is_same_boot) {
        Some(true) => return Claim::Foreign,
        Some(false) => return Claim::Abandoned,
        None => {}
    }
    match seen.container_runs {
        Some(false) => Claim::Abandoned,
        // Processes of an earlier start of this container are not visible from inside it.
        Some(true) if found.container == own.container => Claim::Abandoned,
        Some(true) => Claim::Foreign,
        None if was_before_boot(found, own) => Claim::Abandoned,
        None => Claim::Foreign,
    }
}

/// Whether the holder ran on this machine before its last boot. Only a socket ties an agent to the
/// machine of its Engine: over the network, machines made from one disk image look alike.
fn was_before_boot(found: &Holder, own: &Holder) -> bool {
    let is_known = !found.boot_id.is_empty() && !own.boot_id.is_empty() && !own.machine.is_empty();
    let are_local = found.by_socket && own.by_socket;
    is_known && are_local && found.machine == own.machine && found.boot_id != own.boot_id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(owner: &str) -> Holder {
        Holder {
            owner: owner.into(),
            state_dir: "/var/lib/pilotfish".into(),
            directory: format!("1:{owner}"),
            host: "pi".into(),
            machine: "m".into(),
            boot_id: "b1".into(),
            process: ProcessIdentity {
                pid: "7".into(),
                started: "99".into(),
                namespace: "n".into(),
            },
            container: String::new(),
            by_socket: true,
        }
    }

    #[test]
    fn labels_say_who_it_is() {
        let holder = Holder { container: "c".repeat(64), ..holder("one") };
        assert_eq!(Holder::of(&holder.labels()), holder);
        assert_eq!(Holder::of(&BTreeMap::new()), Holder::default());
    }

    #[test]
    fn another_agent_counts_as_gone_only_with_proof() {
        use Claim::{Abandoned, Foreign, Own, Remnant};
        let own = Holder { container: "c1".into(), ..holder("own") };
        let other = holder("other");
        let contained = Holder { container: "c2".into(), ..holder("other") };
        let of_another_boot = |holder: Holder| Holder { boot_id: "b0".into(), ..holder };
        let remote = Holder { by_socket: false, ..of_another_boot(holder("other")) };
        let elsewhere = Holder { machine: "m2".into(), ..of_another_boot(holder("other")) };
        let copy = Holder { directory: "1:copy".into(), ..own.clone() };
        let process =
            |lives| HolderStatus { process_lives: Some(lives), ..HolderStatus::default() };
        let container =
            |runs| HolderStatus { container_runs: Some(runs), ..HolderStatus::default() };
        let unseen = HolderStatus::default();
        let changing = HolderStatus { has_changed_lock: true, ..unseen };
        for (found, seen, expected) in [
            (&own, unseen, Own),
            (&of_another_boot(own.clone()), unseen, Own),
            (&other, unseen, Foreign),
            (&other, process(true), Foreign),
            (&other, process(false), Abandoned),
            // A process ID says nothing about another boot.
            (&remote, process(false), Foreign),
            (&contained, container(true), Foreign),
            (&contained, container(false), Abandoned),
            // An earlier start of this container, with another state directory.
            (&Holder { container: "c1".into(), ..other.clone() }, container(true), Abandoned),
            (&of_another_boot(other.clone()), unseen, Abandoned),
            (&elsewhere, unseen, Foreign),
            (&remote, unseen, Foreign),
            // A copy of the state directory.
            (&copy, process(true), Foreign),
            (&copy, unseen, Foreign),
            (&copy, process(false), Abandoned),
            // A volume that a person created.
            (&Holder::default(), process(false), Foreign),
            // The power was cut while this agent created or removed the lock.
            (&Holder::default(), changing, Remnant),
            (&other, changing, Foreign),
        ] {
            assert_eq!(claim(found, &own, seen), expected, "{found:?} {seen:?}");
        }
    }

    #[test]
    fn an_agent_without_an_id_owns_no_lock() {
        let reader = Holder { owner: String::new(), ..holder("x") };
        assert_eq!(claim(&holder("own"), &reader, HolderStatus::default()), Claim::Foreign);
        assert_eq!(claim(&Holder::default(), &reader, HolderStatus::default()), Claim::Foreign);
    }

    #[test]
    fn the_other_one_is_named() {
        let words = Holder { container: "0123456789abcdef".into(), ..holder("one") }.in_words();
        for part in ["process 7 on pi", "container 0123456789ab,", "/var/lib/pilotfish"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
