//! Who works on an Engine: one agent, whichever state directory it has.
//!
//! The lock is a volume of the Engine itself, because that is what two agents have in common: its
//! name is taken by the first one, and its labels tell who that is. The Engine leaves a volume that
//! exists as it is when it is asked to create it, so that of several agents one wins.

use std::collections::BTreeMap;

/// The name of the volume.
pub const LOCK_VOLUME: &str = "pilotfish-lock";

/// What the labels of the volume begin with.
const PREFIX: &str = "pilotfish.lock.";

/// A process, told in such a way that another one on the same machine can know it again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: String,
    /// When it began, in ticks since the boot (`starttime` of `proc_pid_stat(5)`): numbers are
    /// given again.
    pub started: String,
    /// The namespace in which that number counts (`/proc/PID/ns/pid`).
    pub namespace: String,
}

/// Who holds an Engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The random ID that stands in its state directory.
    pub owner: String,
    /// Where that is, for people.
    pub state_dir: String,
    /// Device and inode of it, which a copy does not share. They may change with a boot.
    pub directory: String,
    /// The name of its machine, for people.
    pub host: String,
    /// What identifies its machine.
    pub machine: String,
    /// The boot of that machine.
    pub boot_id: String,
    /// The process.
    pub process: ProcessIdentity,
    /// The ID of its container, where that is one of this very Engine.
    pub container: String,
    /// Whether it reaches the Engine by a socket, so that it most likely runs on its machine.
    pub by_socket: bool,
}

impl Holder {
    /// What the volume is labelled with.
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

    /// Who that is by the labels of the volume. One that no agent made names nobody.
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

    /// Whether it is a process of this very boot.
    #[must_use]
    pub fn is_same_boot(&self, other: &Self) -> bool {
        !self.boot_id.is_empty() && self.boot_id == other.boot_id
    }

    /// Who it is, for people, and what to do if it is nobody any more.
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

/// What can be seen of a holder from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HolderStatus {
    /// Whether its process lives; absent where processes of its namespace cannot be seen.
    pub process_lives: Option<bool>,
    /// Whether its container runs; absent where it has none, or the Engine does not tell.
    pub container_runs: Option<bool>,
}

/// What a lock that was found means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is this agent's own, perhaps of an earlier life.
    Ours,
    /// Its holder is shown to be gone.
    Forsaken,
    /// Another agent holds it, or nothing shows that it is gone.
    Others,
}

/// What a lock that was found means for this agent.
///
/// The lock of the state directory keeps two processes of one directory apart, so the ID in it is
/// proof enough; but a directory can be copied, ID included, and the copy is another agent.
#[must_use]
pub fn claim(found: &Holder, own: &Holder, seen: HolderStatus) -> Claim {
    let is_same_boot = found.is_same_boot(own);
    let is_same_directory = !is_same_boot || found.directory == own.directory;
    if found.owner == own.owner && !own.owner.is_empty() && is_same_directory {
        return Claim::Ours;
    }
    if found.owner.is_empty() {
        return Claim::Others;
    }
    match seen.process_lives.filter(|_| is_same_boot) {
        Some(true) => return Claim::Others,
        Some(false) => return Claim::Forsaken,
        None => {}
    }
    match seen.container_runs {
        Some(false) => Claim::Forsaken,
        // Its process is none that can be seen from inside of the same container.
        Some(true) if found.container == own.container => Claim::Forsaken,
        Some(true) => Claim::Others,
        None if was_before_boot(found, own) => Claim::Forsaken,
        None => Claim::Others,
    }
}

/// Whether it lived on this machine, before it was booted. Only a socket ties an agent to the
/// machine of its Engine: over the network, machines made from one image of a disk look alike.
fn was_before_boot(found: &Holder, own: &Holder) -> bool {
    let is_told = !found.boot_id.is_empty() && !own.boot_id.is_empty() && !own.machine.is_empty();
    let are_local = found.by_socket && own.by_socket;
    is_told && are_local && found.machine == own.machine && found.boot_id != own.boot_id
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
    fn another_agent_is_gone_only_where_that_is_shown() {
        use Claim::{Forsaken, Others, Ours};
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
        for (found, seen, expected) in [
            (&own, unseen, Ours),
            (&of_another_boot(own.clone()), unseen, Ours),
            (&other, unseen, Others),
            (&other, process(true), Others),
            (&other, process(false), Forsaken),
            // The number of a process says nothing about another boot.
            (&remote, process(false), Others),
            (&contained, container(true), Others),
            (&contained, container(false), Forsaken),
            // An earlier life of this container, with another state directory.
            (&Holder { container: "c1".into(), ..other.clone() }, container(true), Forsaken),
            (&of_another_boot(other.clone()), unseen, Forsaken),
            (&elsewhere, unseen, Others),
            (&remote, unseen, Others),
            // A copy of the state directory.
            (&copy, process(true), Others),
            (&copy, unseen, Others),
            (&copy, process(false), Forsaken),
            // Somebody's own volume.
            (&Holder::default(), process(false), Others),
        ] {
            assert_eq!(claim(found, &own, seen), expected, "{found:?} {seen:?}");
        }
    }

    #[test]
    fn a_reader_without_an_id_owns_nothing() {
        let reader = Holder { owner: String::new(), ..holder("x") };
        assert_eq!(claim(&holder("own"), &reader, HolderStatus::default()), Claim::Others);
        assert_eq!(claim(&Holder::default(), &reader, HolderStatus::default()), Claim::Others);
    }

    #[test]
    fn the_other_one_is_named() {
        let words = Holder { container: "0123456789abcdef".into(), ..holder("one") }.in_words();
        for part in ["process 7 on pi", "container 0123456789ab,", "/var/lib/pilotfish"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
